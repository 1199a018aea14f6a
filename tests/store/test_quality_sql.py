"""The measures in SQL say what those in Python say."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.store.judged_store import judged_store

from teachback.store.database import open_snapshot
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.quality.agreement import agreement
from teachback.store.quality.breakdown import break_down
from teachback.store.quality.consensus import fetch_consensus
from teachback.store.quality.disease_standings import rank_disease_lists
from teachback.store.quality.drift import fetch_drift
from teachback.store.quality.f1 import evaluate_statuses
from teachback.store.quality.reliability import judge_confidence
from teachback.store.quality.subjects import Compared, fetch_compared


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    path: Path = judged_store(tmp_path_factory.mktemp("judged"))
    opened, _ = open_snapshot(path)
    with opened:
        yield opened


@pytest.fixture(scope="module")
def compared(connection: duckdb.DuckDBPyConnection) -> Compared:
    """Split gate: in SQL students are judged on everything."""
    return fetch_compared(connection, split="gate")


def ask(connection: duckdb.DuckDBPyConnection, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    return connection.execute(query, parameters).fetchall()


def near(*figures: float) -> Any:
    """Equal, where Python's NaN is SQL's NULL."""
    return tuple(None if figure != figure else pytest.approx(figure) for figure in figures)


def test_scores(connection: duckdb.DuckDBPyConnection, compared: Compared) -> None:
    rows = ask(
        connection,
        'SELECT labeler_id, target, n, positives, called, "precision", recall, f1 FROM scores(?) WHERE "group" = ?',
        "split",
        "gate",
    )
    found = {(labeler_id, target): rest for labeler_id, target, *rest in rows}
    assert len(found) == len(rows) == 4 * (13 + 3)
    for subject in compared.masks:
        part, said = compared.part(subject)
        figures = evaluate_statuses(part.codes, said, part.clusters, n_boot=0)
        for f in figures.findings:
            got = found[subject.subject_id, f.finding]
            assert tuple(got[:3]) == (f.n, f.positives, f.predicted_positives)
            assert tuple(got[3:]) == near(f.precision.value, f.recall.value, f.f1.value)
        micro = found[subject.subject_id, "micro"]
        assert tuple(micro[3:]) == near(figures.precision.value, figures.recall.value, figures.micro.value)
        assert found[subject.subject_id, "macro"][5] == pytest.approx(figures.macro.value)
        assert found[subject.subject_id, "weighted"][5] == pytest.approx(figures.weighted.value)


@pytest.mark.parametrize("by", ["corpus", "scope", "sex", "age"])
def test_scores_in_groups(connection: duckdb.DuckDBPyConnection, by: str) -> None:
    among = fetch_compared(connection)
    rows = ask(
        connection, "SELECT labeler_id, \"group\", n, positives, called, f1 FROM scores(?) WHERE target = 'micro'", by
    )
    found = {(labeler_id, group): rest for labeler_id, group, *rest in rows}
    for group in break_down(connection, among, by, n_boot=0):
        if group.subject.kind != "student":  # kept off test
            n, positives, called, f1 = found[group.subject.subject_id, group.group]
            assert (n, positives, called) == (group.n, group.positives, group.called)
            assert f1 == pytest.approx(group.micro.value)


def test_confusion(connection: duckdb.DuckDBPyConnection, compared: Compared) -> None:
    rows = ask(
        connection,
        "SELECT labeler_id, target, curated, status, n FROM status_confusion('split') WHERE \"group\" = 'gate'",
    )
    found = {tuple(row[:4]): row[4] for row in rows}
    for subject in compared.masks:
        part, said = compared.part(subject)
        for f in agreement(part.codes, said, part.clusters, n_boot=0).findings:
            for i, curated in enumerate(STATUSES):
                for j, status in enumerate(STATUSES):
                    assert found.get((subject.subject_id, f.finding, curated, status), 0) == f.confusion[i][j]


def test_calibration(connection: duckdb.DuckDBPyConnection) -> None:
    among = fetch_compared(connection)
    rows = ask(
        connection, 'SELECT labeler_id, target, n, confidence, "right", ece, brier FROM calibration_scores(bins := 7)'
    )
    found = {(labeler_id, target): tuple(rest) for labeler_id, target, *rest in rows}
    subject = next(s for s in among.masks if s.kind == "llm")
    for finding in (None, *FINDINGS):
        m = judge_confidence(connection, among, subject, finding=finding, bins=7, n_boot=0)
        assert m is not None
        n, *figures = found[subject.subject_id, finding or "all"]
        assert n == m.n
        assert figures == pytest.approx([m.confidence, m.right, m.ece.value, m.brier.value], abs=1e-6)


def test_agreement(connection: duckdb.DuckDBPyConnection) -> None:
    consensus = fetch_consensus(connection, n_boot=0)
    kappas = {
        row[:3]: row[3:] for row in ask(connection, "SELECT first_id, second_id, target, n, equal, kappa FROM kappas")
    }
    for a, b, agreed in consensus.pairs:
        ids = tuple(sorted((a.subject_id, b.subject_id)))
        n, equal, kappa = kappas[*ids, "all"]
        assert n == agreed.n_cells
        assert (equal, kappa) == near(agreed.accuracy.value, agreed.kappa.value)
        for f in agreed.findings:
            assert kappas[*ids, f.finding][2] == pytest.approx(f.kappa.value)
    assert len(kappas) == 10 * 14  # of five labelers each two
    alphas = {row[0]: row[1:] for row in ask(connection, "SELECT target, cells, alpha FROM alphas")}
    assert alphas["all"] == (consensus.alpha.n_cells, pytest.approx(consensus.alpha.overall.value))
    for finding, expected in zip(FINDINGS, consensus.alpha.findings, strict=True):
        assert alphas[finding][1] == pytest.approx(expected.value)


def test_drift(connection: duckdb.DuckDBPyConnection) -> None:
    (drift,) = fetch_drift(connection, n_boot=0)
    rows = ask(connection, "SELECT target, n, present_before, present_now, changed, divergence FROM round_drift")
    found = {row[0]: row[1:] for row in rows}
    assert len(found) == 13
    for f in drift.findings:
        assert found[f.finding] == (f.n, *near(f.before, f.now, f.changed.value, f.divergence))


def test_diseases(connection: duckdb.DuckDBPyConnection) -> None:
    (standing,) = rank_disease_lists(connection, n_boot=0)
    rows = ask(connection, 'SELECT "rule", tp, fp, fn, "precision", recall, f1 FROM disease_scores')
    assert len(rows) == 4
    for rule, tp, fp, fn, *figures in rows:
        of = standing.figures.by(rule)
        assert (tp, fp, fn) == (of.tp, of.fp, of.fn)
        assert tuple(figures) == near(of.precision.value, of.recall.value, of.f1.value)
