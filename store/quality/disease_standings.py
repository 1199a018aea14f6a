"""Every labeler's lists of diseases against the curated ones, by each matching rule.

Who names diseases anywhere, and gave any label of a report, has looked for diseases there, although it may have found
none: such reports count for both sides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from teachback.errors import StoreError
from teachback.store.quality.diseases import DiseaseReport, evaluate_diseases, fetch_diseases
from teachback.store.quality.statuses import cluster_codes

__all__ = ["DiseaseStanding", "rank_disease_lists"]


@dataclass(frozen=True, slots=True)
class DiseaseStanding:
    """One labeler's figures.

    Attributes:
        name: The labeler's name.
        labeler_id: The labeler.
        figures: By each rule.
    """

    name: str
    labeler_id: str
    figures: DiseaseReport

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values; undefined figures are None."""
        return {"labeler": self.name, "labeler_id": self.labeler_id, **self.figures.as_dict()}


def rank_disease_lists(
    connection: duckdb.DuckDBPyConnection,
    *,
    split: str | None = None,
    corpus: str | None = None,
    only: Sequence[str] = (),
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> list[DiseaseStanding]:
    """Judge every labeler that names diseases.

    A student is judged on `test` only when `test` is asked for by name.

    Args:
        connection: A store or a snapshot.
        split: Only reports of this split; None for all.
        corpus: Only reports of this corpus.
        only: Names, or beginnings of names or ids, of the labelers to judge; all when empty.
        n_boot: Resamples behind the intervals.
        seed: Seed of the resamples.
        level: Coverage of the intervals.

    Raises:
        StoreError: There are no curated diseases, or nobody else names any.
    """
    namers = connection.execute(
        "SELECT labeler_id, name, kind FROM labelers WHERE labeler_id IN "
        "(SELECT labeler_id FROM labels WHERE task = 'diseases') ORDER BY created_at, labeler_id"
    ).fetchall()
    people = [labeler_id for labeler_id, _, kind in namers if kind == "human"]
    judged = [n for n in namers if n[2] != "human" and (not only or any(_is(n, one) for one in only))]
    if not people:
        raise StoreError("no person named a disease: there is nothing to compare with", "import curated diseases first")
    if not judged:
        raise StoreError("no labeler names diseases", "`teachback label STORE --tasks findings,diseases` asks for them")
    names = [name for _, name, _ in judged]
    found = []
    for labeler_id, name, kind in judged:
        reports = _fetch_reports(connection, people, labeler_id, split, corpus, test=kind != "student")
        if reports:
            ids = [report_id for report_id, _ in reports]
            truth, said = fetch_diseases(connection, ids), fetch_diseases(connection, ids, labeler_id)
            clusters = cluster_codes([group for _, group in reports])
            figures = evaluate_diseases(truth, said, clusters, n_boot=n_boot, seed=seed, level=level)
            unique = name if names.count(name) == 1 else f"{name} ({labeler_id[4:10]})"
            found.append(DiseaseStanding(unique, labeler_id, figures))
    if not found:
        raise StoreError("no labeler that names diseases labelled these reports", "use `--split all`")
    return found


def _is(namer: tuple[str, str, str], wanted: str) -> bool:
    return namer[0].startswith(wanted) or namer[1].startswith(wanted)


def _fetch_reports(
    connection: duckdb.DuckDBPyConnection,
    people: Sequence[str],
    labeler_id: str,
    split: str | None,
    corpus: str | None,
    *,
    test: bool,
) -> list[tuple[str, str]]:
    """Read the reports in which both looked, each with its group of the splits."""
    return connection.execute(
        "SELECT r.report_id, coalesce(s.group_id, r.subject_id, r.report_id) FROM reports r "
        "LEFT JOIN splits s USING (report_id) "
        "WHERE r.report_id IN (SELECT report_id FROM labels WHERE labeler_id IN (SELECT unnest($people::VARCHAR[]))) "
        "AND r.report_id IN (SELECT report_id FROM labels WHERE labeler_id = $labeler) "
        "AND ($split IS NULL AND ($test OR s.split IS DISTINCT FROM 'test') OR s.split = $split) "
        "AND ($corpus IS NULL OR r.corpus = $corpus) ORDER BY r.report_id",
        {"people": people, "labeler": labeler_id, "split": split, "corpus": corpus, "test": test},
    ).fetchall()
