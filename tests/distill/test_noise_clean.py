"""Labels that students who never saw them find wrong: pruned or listed, each with its reason."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from teachback.cli import app
from teachback.distill.assemble import TrainingRow, assemble
from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen, TaughtLabel, freeze
from teachback.distill.judge import Bench, align
from teachback.distill.noise_clean import SUSPECTED, Doubt, doubts
from teachback.distill.noise_folds import part_of, probabilities_out_of_fold
from teachback.distill.noise_table import tabulate
from teachback.distill.questions import Questions
from teachback.distill.record import round_rows
from teachback.distill.round import run_round
from teachback.store.database import Store
from teachback.store.report import Report
from teachback.store.rows import labeler_row

# Sixty reports in which every word but one is the report's own; the teacher errs on six of them.
WORDS = {"present": "Large effusion there", "absent": "Pleural spaces clear here"}
STATUSES = [("present", "absent")[i % 2] for i in range(60)]
FLIPPED = (4, 9, 20, 33, 42, 57)
OWN = [first + second for first in "bcdfghjklm" for second in "aeiouy"]
REPORTS = tuple(Report(f"r{i:02}", "c", {"impression": f"{WORDS[s]} {OWN[i]}."}) for i, s in enumerate(STATUSES))
OTHER = {"present": "absent", "absent": "present"}
GIVEN = [OTHER[s] if i in FLIPPED else s for i, s in enumerate(STATUSES)]
TAUGHT = tuple(
    TaughtLabel(f"r{i:02}", "findings", "Pleural Effusion", s, None, "impression", f"l{i:02}", "rule")
    for i, s in enumerate(GIVEN)
)
SETTINGS = CampaignSettings(student="x", tasks=["findings"])
PRUNE = SETTINGS.model_copy(update={"noise": "prune"})


def frozen(curated: tuple[TaughtLabel, ...] = ()) -> Frozen:
    return Frozen("cmp", "t", TAUGHT, curated, {"train": REPORTS, "pool": ()}, frozenset())


def test_pruned_labels_stay_in_the_rows_with_their_reason() -> None:
    pytest.importorskip("sklearn")
    rows = assemble(frozen(), PRUNE)
    pruned = [row for row in rows if not row.selected]
    assert [row.label.label_id for row in pruned] == [f"l{i:02}" for i in FLIPPED]
    assert all(row.reason.startswith(f"refused: {SUSPECTED} (") and row.weight == 0 for row in pruned)
    assert len(rows) == len(TAUGHT)


def test_nothing_changes_by_default_and_what_a_person_decided_is_never_doubted() -> None:
    pytest.importorskip("sklearn")
    assert all(row.selected and row.weight == 1 for row in assemble(frozen(), SETTINGS))
    decided = TaughtLabel("r04", "findings", "Pleural Effusion", "absent", None, "full", "h", "curated")
    by_id = {row.label.label_id: row for row in assemble(frozen((decided,)), PRUNE)}
    assert by_id["h"].selected
    assert by_id["h"].weight == 2
    assert not by_id["l09"].selected


def test_equal_texts_are_read_by_one_student_that_saw_neither() -> None:
    part = part_of(5, 0)
    same = Report("s", "c", {"impression": "Large EFFUSION there  BA."})
    assert part(same) == part(REPORTS[0])
    assert len({part(report) for report in REPORTS}) == 5


def test_what_students_cannot_read_is_not_doubted() -> None:
    silent = TaughtLabel("r00", "findings", "Edema", "absent", None, "full", "d", "rule")
    rows = [TrainingRow(silent, "pseudo", 1.0, ""), TrainingRow(silent, "teacher", 1.0, "", selected=False)]
    assert np.isnan(probabilities_out_of_fold(rows, frozen(), SETTINGS)).all()
    assert doubts(rows, np.full((2, 4), np.nan)) == [None, None]


def test_the_table_says_how_often_a_suspicion_is_right() -> None:
    rows = assemble(frozen(), SETTINGS)
    doubt = Doubt("present", 0.1, 0.9)
    suspected = [doubt if i in (4, 9, 5) else None for i in range(len(rows))]
    truth = {(f"r{i:02}", "Pleural Effusion"): STATUSES[i] for i in range(30)}
    table = tabulate(rows, suspected, truth)
    # Of three suspects, all known, 4 and 9 are flipped; of the 30 known labels 4, 9 and 20 are.
    total = table.total
    assert (total.labels, total.suspected, total.known, total.wrong) == (60, 3, 3, 2)
    assert total.precision is not None
    assert total.precision[0] == pytest.approx(2 / 3)
    assert (total.recall, total.error) == (pytest.approx(2 / 3), pytest.approx(3 / 30))
    # 4 is truly present, so given absent; 5 is truly absent and given so; 9 is truly absent, given present.
    assert {(c.finding, c.status): (c.suspected, c.wrong) for c in table.classes} == {
        ("Pleural Effusion", "present"): (1, 1),
        ("Pleural Effusion", "absent"): (2, 1),
    }
    manual = {key: "present" if status == "present" else "unmentioned" for key, status in truth.items()}
    assert tabulate(rows, suspected, manual, positives_only=True).total.wrong_labels == 3


def test_an_auditor_gets_the_table_and_a_file_of_suspects(labelled: Path, tmp_path: Path, torch: object) -> None:
    file = tmp_path / "suspects.csv"
    ran = CliRunner().invoke(app, ["audit", "suspects", str(labelled), "--parts", "2", "--csv", str(file), "--json"])
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    assert told["total"]["labels"] == 40 * 13
    assert told["total"]["known_labels"] == 40 * 13
    assert told["total"]["suspected"] == len(told["suspects"]) == len(file.read_text().splitlines()) - 1
    assert sum(of["suspected"] for of in told["classes"]) == told["total"]["suspected"]
    again = CliRunner().invoke(app, ["audit", "suspects", str(labelled), "--csv", str(file)])
    assert again.exit_code == 2 or "there already" in str(again.exception)


def test_why_a_label_was_left_out_stands_in_the_store(
    store_path: Path, tmp_path: Path, settle: Callable[..., CampaignSettings], ask: Callable[..., Questions]
) -> None:
    settings = settle(tasks=["findings"], noise="prune", noise_folds=2, corpus="synthetic")
    with Store(store_path) as store:
        inputs = freeze(store.connection, settings)
        rows = assemble(inputs, settings)
        calibration = Bench(store.connection, "calibration", "synthetic", inputs.teacher_id)
        truth = align(
            [report.report_id for report in inputs.reports["calibration"]],
            calibration.truth.report_ids,
            calibration.truth.codes,
        )
        round_ = run_round(
            inputs, settings, rows, ask(), truth, tmp_path, number=1, arm="linear", steps=0, progress=lambda *_: None
        )
        store.write({"labelers": [labeler_row(round_.labeler)]})
        store.write(round_rows(round_, rows, None, inputs, settings, "run_1"))
        written = store.connection.execute(
            "SELECT label_id, reason, weight FROM training_rows WHERE NOT selected ORDER BY label_id"
        ).fetchall()
    pruned = sorted((row.label.label_id, row.reason, row.weight) for row in rows if not row.selected)
    assert written == pruned
    assert pruned
    assert all(reason.startswith(f"refused: {SUSPECTED}") for _, reason, _ in pruned)
