"""A trained student votes in the teacher graph, as the labeler that its round was."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.synthetic_stores import copied
from typer.testing import CliRunner

from teachback.agents.labeler import ManyLabeler
from teachback.agents.lineup import LabelerRef, parse_lineup
from teachback.cli import app
from teachback.distill.config import CampaignSettings
from teachback.distill.labeler import CARD, load_student_labeler
from teachback.errors import InputError, SettingError, TrainingError
from teachback.store.corpora.synthetic import generate
from teachback.store.database import open_snapshot
from teachback.store.report import Report
from teachback.store.rows import fetch_reports

Finished = tuple[Path, CampaignSettings, dict[str, Any], Path, list[str]]


@pytest.fixture
def adapter(finished: Finished) -> Path:
    return next(path for path in sorted(finished[3].glob("1-feedback-*")))


def test_it_says_what_its_round_said(finished: Finished, adapter: Path) -> None:
    labeler = load_student_labeler(adapter)
    assert isinstance(labeler, ManyLabeler)
    connection, _ = open_snapshot(finished[0])
    with connection:
        rows = connection.execute(
            "SELECT label_id, report_id, status FROM labels WHERE labeler_id = ?", [labeler.spec.labeler_id]
        ).fetchall()
        gate = fetch_reports(connection, "report_id IN (SELECT report_id FROM splits WHERE split = 'gate')")[:4]
    stored = {label_id for label_id, _, _ in rows}
    said = asyncio.run(labeler.label_many(gate))
    assert [len(labels) for labels in said] == [13] * 4
    assert {label.label_id for labels in said for label in labels} <= stored
    assert labeler.label(gate[0]) == said[0]


def test_a_report_without_its_scope_gets_no_label(adapter: Path) -> None:
    labeler = load_student_labeler(adapter / "adapter")
    unread, read = Report("u", "c", {"indication": "Cough."}), Report("r", "c", {"findings": "Clear lungs."})
    said = asyncio.run(labeler.label_many([unread, read]))
    assert [len(labels) for labels in said] == [0, 13]
    assert labeler.label(unread) == []


def test_it_votes_beside_the_rules(finished: Finished, adapter: Path, tmp_path: Path) -> None:
    store = copied(finished[0], tmp_path / "copy")
    words = ["label", str(store), "--labelers", f"rule,student:{adapter}", "--llm", "none", "--split", "gate", "--json"]
    ended = CliRunner().invoke(app, words, catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    connection, _ = open_snapshot(store)
    with connection:
        members = connection.execute(
            "SELECT b.kind, b.labeler_id FROM committed c JOIN teacher_members m USING (teacher_id) "
            "JOIN labelers b USING (labeler_id) JOIN runs r ON r.run_id = c.run_id "
            "WHERE r.started_at = (SELECT max(started_at) FROM runs) GROUP BY ALL ORDER BY 1"
        ).fetchall()
        doubled = connection.execute("SELECT count(*) - count(DISTINCT label_id) FROM labels").fetchall()
    assert [kind for kind, _ in members] == ["rule", "student"]
    assert members[1][1] == load_student_labeler(adapter).spec.labeler_id
    assert doubled == [(0,)]


def test_the_card_says_all_that_it_needs(adapter: Path) -> None:
    card = json.loads((adapter / "adapter" / CARD).read_text())
    assert set(card) == {"labeler", "student", "quantize", "unit", "scope", "prompt", "max_length", "calibration"}


def test_what_is_no_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no adapter with its teachback\.json"):
        load_student_labeler(tmp_path)


def test_students_are_named_by_their_folder() -> None:
    assert parse_lineup("rule,student:runs/1-feedback") == (
        LabelerRef("rule"),
        LabelerRef("student", "runs/1-feedback"),
    )
    for wrong in ("student", "student:a@prompt"):
        with pytest.raises(SettingError, match="is no labeler"):
            parse_lineup(wrong)


def test_a_student_that_lists_diseases_gives_them_with_evidence_and_confidence(adapter: Path, tmp_path: Path) -> None:
    pytest.importorskip("llguidance")
    folder = tmp_path / "adapter"
    shutil.copytree(adapter / "adapter", folder)
    card = json.loads((folder / CARD).read_text())
    verification = {"slope": 0.5, "shift": 0.25, "fitted_on": 40}
    card |= {"max_length": 160, "diseases": {"verification": verification}}
    (folder / CARD).write_text(json.dumps(card))
    labeler, plain = load_student_labeler(folder), load_student_labeler(adapter)
    assert labeler.spec.labeler_id != plain.spec.labeler_id
    reports = [entry.report for entry in generate(8, seed=3)]
    *of, nothing = asyncio.run(labeler.label_many([*reports, Report("u", "c", {"indication": "Cough."})]))
    assert nothing == []
    assert [[label.task for label in labels[:13]] for labels in of] == [["findings"] * 13] * 8
    diseases = [label for labels in of for label in labels[13:]]
    assert diseases
    for label in diseases:
        assert label.task == "diseases"
        assert label.labeler_id == labeler.spec.labeler_id
        assert label.evidence[0].grounded
        assert label.confidence_source == "logprob"
        assert 0 <= (-1 if label.confidence is None else label.confidence) <= 1
        assert label.confidence_note.startswith("yes or no, calibrated on 40 listed diseases")


def test_without_vllm_a_student_says_what_is_missing(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHBACK_BACKEND", "vllm")
    monkeypatch.setenv("TEACHBACK_VLLM_PYTHON", "nowhere/python")
    with pytest.raises(TrainingError, match="cannot start nowhere/python"):
        load_student_labeler(adapter).label(Report("r", "c", {"findings": "Clear lungs."}))
