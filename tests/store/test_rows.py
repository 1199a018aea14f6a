from pathlib import Path

import pytest

from teachback.store.database import Store
from teachback.store.label import Evidence, Label, Labeler
from teachback.store.report import Report
from teachback.store.rows import fetch_reports, label_row, labeler_row, report_row

REPORTS = [
    Report("r2", "c", {"findings": "Clear lungs.", "impression": "Normal."}, subject_id="p1"),
    Report("r1", "c", {"text": "Größe normal; Δ 3 mm.\n\nNo effusion."}),
    Report("r3", "d", {"indication": "Cough.", "comparison": "None.", "findings": ""}),
]


def test_reports_come_back_as_they_went_in_ordered_by_id(tmp_path: Path) -> None:
    with Store(tmp_path / "a.duckdb") as store:
        store.write({"reports": [report_row(report, "file.csv") for report in REPORTS]})
        assert fetch_reports(store.connection) == sorted(REPORTS, key=lambda report: report.report_id)


@pytest.mark.parametrize(("where", "parameters"), [("corpus = ?", ["d"]), ("corpus = $corpus", {"corpus": "d"})])
def test_reports_are_chosen_by_place_or_by_name(tmp_path: Path, where: str, parameters: list[str]) -> None:
    with Store(tmp_path / "a.duckdb") as store:
        store.write({"reports": [report_row(report) for report in REPORTS]})
        assert [report.report_id for report in fetch_reports(store.connection, where, parameters)] == ["r3"]


def test_a_labels_row_keeps_evidence_and_the_whole_distribution(tmp_path: Path) -> None:
    spans = (Evidence("findings", 0, 5, "Clear", "clear"), Evidence("impression", -1, -1, "unseen"))
    label = Label(
        "r1",
        "findings",
        "Edema",
        "absent",
        "lab_x",
        "full",
        confidence=0.75,
        confidence_source="logprob",
        probs={"absent": 0.75, "present": 0.25},
        evidence=spans,
    )
    with Store(tmp_path / "a.duckdb") as store:
        store.write({"labels": [label_row(label, "run_1")]})
        stored = store.connection.execute(
            "SELECT label_id, confidence, probs, evidence, run_id, confidence_note, icd10 FROM labels"
        ).fetchone()
    assert stored == (
        label.label_id,
        0.75,
        {"present": 0.25, "absent": 0.75, "uncertain": 0.0, "unmentioned": 0.0},
        [
            {"section": "findings", "start": 0, "end": 5, "quote": "Clear", "cue": "clear"},
            {"section": "impression", "start": -1, "end": -1, "quote": "unseen", "cue": ""},
        ],
        "run_1",
        None,
        None,
    )


def test_a_label_without_a_distribution_has_none(tmp_path: Path) -> None:
    label = Label("r1", "diseases", "gout", "present", "lab_x", "full", icd10="M10.9")
    with Store(tmp_path / "a.duckdb") as store:
        store.write({"labels": [label_row(label)]})
        stored = store.connection.execute("SELECT confidence, probs, evidence, icd10, run_id FROM labels").fetchone()
    assert stored == (None, None, [], "M10.9", None)


def test_a_labelers_parameters_are_json_in_a_fixed_order() -> None:
    row = labeler_row(Labeler("llm", "m", "1", model="gpt", parameters={"b": 1, "a": [2]}))
    assert row["parameters"] == '{"a": [2], "b": 1}'
    assert row["model"] == "gpt"
