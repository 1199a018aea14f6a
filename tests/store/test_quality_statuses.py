"""Statuses read from a real store as one array, and figures written back as rows."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from teachback.store.database import Store
from teachback.store.label import FINDINGS, Label, Labeler, Status
from teachback.store.quality.agreement import agreement
from teachback.store.quality.diseases import evaluate_diseases, fetch_diseases
from teachback.store.quality.f1 import evaluate_statuses, paired_difference
from teachback.store.quality.statuses import (
    cluster_codes,
    fetch_curated,
    fetch_labeler,
    fetch_labelled,
    fetch_taught,
    fetch_teacher,
)
from teachback.store.quality.tables import evaluation_rows
from teachback.store.report import Report
from teachback.store.rows import label_row, labeler_row, report_row

HUMAN = Labeler("human", "reader", "1")
RULE = Labeler("rule", "rule", "1")
LLM = Labeler("llm", "llm:stand-in", "1")
JUDGE = Labeler("adjudicator", "judge", "1")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def finding(report_id: str, target: int, status: Status, labeler: Labeler, days: int = 0) -> dict[str, object]:
    label = Label(report_id, "findings", FINDINGS[target], status, labeler.labeler_id, "full")
    return {**label_row(label), "created_at": LONG_AGO + timedelta(days=days)}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "labels.duckdb") as opened:
        opened.write(
            {
                "corpora": [{"corpus": c, "egress": "any"} for c in ("one", "two")],
                "reports": [
                    report_row(Report(f"r{i}", "two" if i == 3 else "one", {"text": "Clear."}, f"s{i // 2}"))
                    for i in range(5)
                ],
                "labelers": [labeler_row(x) for x in (HUMAN, RULE, LLM, JUDGE)],
                "splits": [
                    {"report_id": f"r{i}", "split": "gate" if i < 2 else "test", "group_id": f"g{i // 2}", "seed": 0}
                    for i in range(4)
                ],
                "teachers": [{"teacher_id": "tch_1"}],
                "teacher_members": [
                    {"teacher_id": "tch_1", "labeler_id": member.labeler_id, "seat": seat, "place": place}
                    for place, (member, seat) in enumerate(
                        [(RULE, "labeler"), (LLM, "labeler"), (JUDGE, "adjudicator")]
                    )
                ],
                "committed": [{"report_id": "r0", "teacher_id": "tch_1", "run_id": "run_1"}],
                "labels": [
                    finding("r0", 0, "absent", HUMAN),
                    finding("r0", 0, "present", HUMAN, days=1),  # the reader's second thought supersedes
                    finding("r1", 12, "uncertain", HUMAN),
                    finding("r3", 1, "unmentioned", HUMAN),
                    finding("r0", 0, "absent", RULE),
                    finding("r0", 1, "absent", RULE),
                    finding("r0", 2, "absent", RULE, days=2),
                    finding("r0", 2, "present", RULE, days=1),
                    finding("r1", 1, "present", RULE),
                    finding("r0", 0, "uncertain", LLM),
                    finding("r0", 1, "absent", LLM),
                    finding("r0", 0, "present", JUDGE),
                    label_row(Label("r0", "diseases", "rib break", "present", LLM.labeler_id, "full", icd10="S22.3")),
                    label_row(Label("r0", "diseases", "edema", "absent", LLM.labeler_id, "full")),
                    label_row(Label("r1", "diseases", "COPD", "present", HUMAN.labeler_id, "full", icd10="J44.9")),
                ],
            }
        )
        yield opened


def test_curated_statuses_with_their_clusters(store: Store) -> None:
    matrix = fetch_curated(store.connection)
    assert matrix.report_ids == ("r0", "r1", "r3")
    assert matrix.codes.shape == (3, 13)
    assert (matrix.codes[0, 0], matrix.codes[1, 12], matrix.codes[2, 1]) == (0, 2, 3)
    assert (matrix.codes >= 0).sum() == 3
    assert matrix.clusters[0] == matrix.clusters[1] != matrix.clusters[2]


def test_curated_statuses_of_a_split_and_a_corpus(store: Store) -> None:
    assert fetch_curated(store.connection, split="gate").report_ids == ("r0", "r1")
    assert fetch_curated(store.connection, corpus="two").report_ids == ("r3",)
    assert fetch_curated(store.connection, split="gate", corpus="two").codes.shape == (0, 13)


def test_a_labelers_newest_statuses_in_the_order_asked_for(store: Store) -> None:
    codes = fetch_labeler(store.connection, RULE.labeler_id, ["r4", "r1", "r0"])
    assert (codes[0] == -1).all()
    assert codes[1, 1] == 0
    assert codes[2, :4].tolist() == [1, 1, 1, -1]
    assert fetch_labeler(store.connection, RULE.labeler_id, []).shape == (0, 13)
    assert fetch_labelled(store.connection, RULE.labeler_id, split="gate").report_ids == ("r0", "r1")


def test_a_teachers_statuses_hold_the_verdict_and_only_committed_reports(store: Store) -> None:
    codes = fetch_teacher(store.connection, "tch_1", ["r0", "r1"])
    assert codes[0, :3].tolist() == [0, 1, 1]  # the verdict, the common vote, the rules alone
    assert (codes[1] == -1).all()  # labelled by the rules, but not committed
    assert fetch_taught(store.connection, "tch_1").report_ids == ("r0",)


def test_taking_some_reports(store: Store) -> None:
    matrix = fetch_curated(store.connection)
    part = matrix.take(np.array([False, True, True]))
    assert part.report_ids == ("r1", "r3")
    assert len(part) == len(part.codes) == len(part.clusters) == 2


def test_diseases_of_a_labeler_and_of_the_curated_labels(store: Store) -> None:
    assert fetch_diseases(store.connection, ["r1", "r0"], LLM.labeler_id) == [(), (("rib break", "S22.3"),)]
    assert fetch_diseases(store.connection, ["r1", "r0"]) == [(("COPD", "J44.9"),), ()]


def test_cluster_codes() -> None:
    assert cluster_codes(["b", "a", "b"]).tolist() == [1, 0, 1]
    assert cluster_codes([]).tolist() == []


def test_evaluation_rows_are_written_once(store: Store) -> None:
    matrix = fetch_curated(store.connection)
    rule = fetch_labeler(store.connection, RULE.labeler_id, matrix.report_ids)
    report = evaluate_statuses(matrix.codes, rule, matrix.clusters, n_boot=10)
    rows = evaluation_rows(report, subject="rule", split="all", labeler_id=RULE.labeler_id)
    assert len(rows) == 5 + 3 * 13
    assert store.write({"evaluations": rows}) == {"evaluations": 44}
    assert store.write({"evaluations": rows}) == {"evaluations": 0}
    found = store.connection.execute(
        "SELECT n, positives, value FROM evaluations WHERE metric = 'micro_f1' AND target = 'all'"
    ).fetchone()
    assert found == (3, 1, 0.0)  # the one positive, r0's finding 0, is called absent by the rules
    undefined = store.connection.execute(
        "SELECT value, low FROM evaluations WHERE metric = 'f1' AND target = ?", [FINDINGS[5]]
    ).fetchone()
    assert undefined == (None, None)


def test_rows_of_the_other_figures(store: Store) -> None:
    matrix = fetch_curated(store.connection)
    paired = paired_difference(matrix.codes, matrix.codes, matrix.codes, matrix.clusters, n_boot=10)
    rows = evaluation_rows(paired, subject="round 2 feedback", split="gate", round_id="rnd_2", note="minus round 1")
    assert {row["metric"] for row in rows} == {"delta_micro_f1", "delta_macro_f1", "delta_f1"}
    agreed = agreement(matrix.codes, matrix.codes, matrix.clusters, n_boot=10)
    assert len(evaluation_rows(agreed, subject="rule", split="gate")) == 2 * 14
    diseases = evaluate_diseases([[("edema", None)]], [[]], np.zeros(1, dtype=int))
    rows += evaluation_rows(diseases, subject="rule", split="gate")
    assert {row["task"] for row in rows} == {"findings", "diseases"}
    assert store.write({"evaluations": rows})["evaluations"] == len(rows)
