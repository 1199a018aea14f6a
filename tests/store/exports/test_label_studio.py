"""Tasks for Label Studio and what comes back, checked with Label Studio's own SDK in an environment of its own.

The SDK wants versions of libraries that ours do not, so it is asked in another process.
"""

import json
import subprocess
import sys
import venv
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.store.exports.sample import ODD, REPORTS
from tests.store.exports.test_tables import silent

from teachback.errors import InputError
from teachback.store.corpora.imported import Skipped
from teachback.store.exports.chosen import Chosen
from teachback.store.exports.label_studio import CONTROLS, labeling_config, layout, write_label_studio
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.report import SECTIONS, Report
from teachback.store.review.decisions import Decision
from teachback.store.review.label_studio import read_label_studio

SDK = "label-studio-sdk==2.1.2"
ASK = """
import json, sys, pathlib
from label_studio_sdk.label_interface import LabelInterface
from label_studio_sdk.converter import Converter
config, tasks, out = map(pathlib.Path, sys.argv[1:])
interface = LabelInterface(config.read_text())
interface.validate()
told = json.loads(tasks.read_text())
good = [interface.validate_task({"data": t["data"]}) for t in told]
predictions = [interface.validate_prediction(p) for t in told for p in t.get("predictions", [])]
annotations = [interface.validate_annotation(a) for t in told for a in t.get("annotations", [])]
if annotations:
    converter = Converter(config.read_text(), project_dir=str(out), download_resources=False)
    converter.convert_to_json_min(str(tasks), str(out))
print(json.dumps([all(good), all(predictions), all(annotations), len(predictions), len(annotations)]))
"""


@pytest.fixture(scope="session")
def sdk() -> str:
    """Return a Python that has the SDK; made once beside the tests' own environment."""
    folder = Path(sys.prefix) / "label-studio"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True)
        made = subprocess.run([python, "-m", "pip", "install", "-q", SDK], capture_output=True, text=True, check=False)
        if made.returncode:
            pytest.skip(f"{SDK} cannot be installed here: {made.stderr.strip()[-200:]}")
        (folder / "ready").touch()
    return str(python)


def asked(sdk: str, config: Path, tasks: Path, out: Path) -> list[Any]:
    said = subprocess.run(
        [sdk, "-c", ASK, str(config), str(tasks), str(out)], capture_output=True, text=True, check=False, timeout=200
    )
    assert said.returncode == 0, said.stderr[-2000:]
    return list(json.loads(said.stdout.splitlines()[-1]))


def annotated(task: dict[str, Any], completed_by: object, **more: Any) -> dict[str, Any]:
    """Return an annotation as Label Studio exports it, of somebody who accepted a pre-annotation."""
    accepted = task["predictions"][0]["result"]
    moment = "2026-02-03T04:05:06.789012Z"
    base = {"id": 7, "completed_by": completed_by, "was_cancelled": False, "ground_truth": False, "lead_time": 26.0}
    return {**base, "created_at": moment, "updated_at": moment, "result": accepted, **more}


@pytest.mark.slow
def test_label_studio_takes_the_tasks_and_what_comes_back_is_the_same(
    sdk: str, by_rules: Chosen, tmp_path: Path
) -> None:
    write_label_studio(by_rules, tmp_path / "out", silent)
    tasks_file, config = tmp_path / "out" / "tasks.json", tmp_path / "out" / "config.xml"
    assert asked(sdk, config, tasks_file, tmp_path) == [True, True, True, REPORTS + 1, 0]
    tasks = json.loads(tasks_file.read_text())
    for task in tasks:
        task["annotations"] = [annotated(task, {"id": 3, "email": "ann@x.org"})]
    exported = tmp_path / "exported.json"
    exported.write_text(json.dumps(tasks))
    (tmp_path / "min").mkdir()
    assert asked(sdk, config, exported, tmp_path / "min")[2:] == [True, REPORTS + 1, REPORTS + 1]
    converted = json.loads((tmp_path / "min" / "result.json").read_text())
    read = [entry[0] for entry in read_label_studio(exported) if not isinstance(entry, Skipped)]
    came = {(decision.report_id, decision.target): decision for decision in read}
    for row in converted:
        for finding, control in CONTROLS.items():
            assert came[row["report_id"], finding].status == row[control]


def test_every_status_and_span_comes_back(by_rules: Chosen, snapshot: Any, tmp_path: Path) -> None:
    write_label_studio(by_rules, tmp_path / "out", silent)
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text())
    for task in tasks:
        task["annotations"] = [annotated(task, 12)]
    (tmp_path / "back.json").write_text(json.dumps(tasks))
    decisions = [entry[0] for entry in read_label_studio(tmp_path / "back.json") if not isinstance(entry, Skipped)]
    assert {decision.reviewer for decision in decisions} == {"label-studio-12"}
    assert {decision.decided_at for decision in decisions} == {datetime(2026, 2, 3, 4, 5, 6, 789012, UTC)}
    assert {decision.seconds for decision in decisions} == {2.0}  # 26 s over 13 findings
    found = {
        (d.report_id, d.target): (d.status, {(e.section, e.start, e.end, e.quote) for e in d.evidence})
        for d in decisions
    }
    rows = snapshot.execute(
        "SELECT report_id, target, status, evidence FROM labels JOIN labelers USING (labeler_id) WHERE name = 'rule'"
    ).fetchall()
    wanted = {
        (report_id, target): (status, {(e["section"], e["start"], e["end"], e["quote"]) for e in evidence})
        for report_id, target, status, evidence in rows
    }
    assert found == wanted
    assert len({decision.review_id for decision in decisions}) == len(decisions)
    again = [entry[0] for entry in read_label_studio(tmp_path / "back.json") if not isinstance(entry, Skipped)]
    assert [d.review_id for d in again] == [d.review_id for d in decisions]


def back(tmp_path: Path, task: dict[str, Any], reviewer: str | None = None) -> list[tuple[Decision, Skipped] | Skipped]:
    (tmp_path / "one.json").write_text(json.dumps([task]))
    return list(read_label_studio(tmp_path / "one.json", reviewer))


def a_task(*annotations: dict[str, Any]) -> dict[str, Any]:
    text, places = layout(ODD)
    return {"data": {"report_id": ODD.report_id, "text": text, "sections": places}, "annotations": list(annotations)}


def chosen(finding: str, status: str) -> dict[str, Any]:
    return {"from_name": CONTROLS[finding], "to_name": "report", "type": "choices", "value": {"choices": [status]}}


def test_diseases_and_notes_come_back(tmp_path: Path) -> None:
    said = {"from_name": "diseases", "value": {"text": ["Apical pneumothorax (J93.9)\n\nscar"]}}
    note = {"from_name": "note", "value": {"text": ["look again"]}}
    read = back(tmp_path, a_task({"completed_by": 1, "result": [said, note]}))
    decisions = [entry[0] for entry in read if not isinstance(entry, Skipped)]
    assert [(d.task, d.target, d.icd10, d.note) for d in decisions] == [
        ("diseases", "apical pneumothorax", "J93.9", "look again"),
        ("diseases", "scar", None, "look again"),
    ]


@pytest.mark.parametrize(
    ("annotations", "reason"),
    [
        ([], "task that nobody annotated"),
        ([{"was_cancelled": True, "completed_by": 1, "result": []}], "annotation that was skipped"),
        ([{"completed_by": 1, "result": []}], "annotation without a status"),
        ([{"completed_by": 1, "result": [chosen("Edema", "maybe")]}], "annotation that cannot be read"),
        ([{"result": [chosen("Edema", "absent")]}], "annotation that cannot be read"),
        ([{"completed_by": 1, "updated_at": "noon", "result": [chosen("Edema", "absent")]}], "annotation that cannot"),
    ],
)
def test_what_is_no_decision_is_named(tmp_path: Path, annotations: list[dict[str, Any]], reason: str) -> None:
    (left_out,) = back(tmp_path, a_task(*annotations))
    assert isinstance(left_out, Skipped)
    assert left_out.reason.startswith(reason)
    assert left_out.report_id == ODD.report_id


def test_each_annotator_decides_for_himself(tmp_path: Path) -> None:
    two = [{"completed_by": n, "result": [chosen("Edema", status)]} for n, status in ((1, "absent"), (2, "present"))]
    said = [(e[0].reviewer, e[0].status) for e in back(tmp_path, a_task(*two)) if not isinstance(e, Skipped)]
    assert said == [("label-studio-1", "absent"), ("label-studio-2", "present")]
    named = [e[0].reviewer for e in back(tmp_path, a_task(*two), "Dr. Who") if not isinstance(e, Skipped)]
    assert named == ["Dr. Who", "Dr. Who"]


@pytest.mark.parametrize("text", ["", "{", "{}", "[1]", '[{"id": 1}]'])
def test_what_is_no_export_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(InputError, match=r"bad\.json"):
        list(read_label_studio(tmp_path / "bad.json"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(SECTIONS), st.text(min_size=1, max_size=80), min_size=1))
def test_every_section_stands_where_the_layout_says(sections: dict[str, str]) -> None:
    text, places = layout(Report("r", "c", sections))
    assert {place["name"]: text[place["start"] : place["end"]] for place in places} == sections


def test_the_config_has_a_choice_for_each_finding_and_status() -> None:
    config = labeling_config()
    assert all(f'name="{CONTROLS[finding]}"' in config for finding in FINDINGS)
    assert all(config.count(f'<Choice value="{status}"/>') == len(FINDINGS) for status in STATUSES)
