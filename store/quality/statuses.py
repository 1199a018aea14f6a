"""Statuses of many reports as one array of codes, read from a store or a snapshot in one query.

A code is the index of the status in `STATUSES`; -1 is no label. Columns follow `FINDINGS`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from teachback.store.label import FINDINGS, STATUSES

__all__ = [
    "NO_LABEL",
    "StatusMatrix",
    "cluster_codes",
    "fetch_cells",
    "fetch_curated",
    "fetch_labeler",
    "fetch_labelled",
    "fetch_labelled_by",
    "fetch_taught",
    "fetch_teacher",
    "knows_positives_only",
]

NO_LABEL = -1

_CODE = "CASE status " + " ".join(f"WHEN '{s}' THEN {i}" for i, s in enumerate(STATUSES)) + " END::TINYINT"
_COLUMN = "CASE target " + " ".join(f"WHEN '{f}' THEN {i}" for i, f in enumerate(FINDINGS)) + " END::TINYINT"


@dataclass(frozen=True, slots=True)
class StatusMatrix:
    """The findings' statuses of some reports.

    Attributes:
        report_ids: The reports, N of them, in the order of their ids.
        clusters: Number of the group that a report was split by (its subject, or its near-duplicates), shape `(N,)`.
        codes: Index into `STATUSES`, -1 for no label, shape `(N, 13)`.
    """

    report_ids: tuple[str, ...]
    clusters: npt.NDArray[np.int64]
    codes: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.report_ids)

    def take(self, mask: npt.NDArray[np.bool_]) -> "StatusMatrix":
        """Return the reports where the mask, shape `(N,)`, is true."""
        kept = tuple(report_id for report_id, keep in zip(self.report_ids, mask, strict=True) if keep)
        return replace(self, report_ids=kept, clusters=self.clusters[mask], codes=self.codes[mask])


def fetch_curated(
    connection: duckdb.DuckDBPyConnection, split: str | None = None, corpus: str | None = None
) -> StatusMatrix:
    """Read the curated statuses of all reports that have any.

    Args:
        connection: A store or a snapshot.
        split: Only reports of this split.
        corpus: Only reports of this corpus.
    """
    return _matrix(connection, "curated_labels", "true", (), split, corpus)


def fetch_labelled(
    connection: duckdb.DuckDBPyConnection, labeler_id: str, split: str | None = None, corpus: str | None = None
) -> StatusMatrix:
    """Read one labeler's own statuses of all reports that it labelled, like `fetch_curated`."""
    return _matrix(connection, "labels", "labeler_id = ?", (labeler_id,), split, corpus)


def fetch_labelled_by(
    connection: duckdb.DuckDBPyConnection,
    labeler_ids: Sequence[str],
    split: str | None = None,
    corpus: str | None = None,
) -> StatusMatrix:
    """Read the reports that any of some labelers labelled, without statuses, like `fetch_curated`."""
    return _reports(connection, "labels", "labeler_id IN (SELECT unnest(?::VARCHAR[]))", (labeler_ids,), split, corpus)


def fetch_taught(
    connection: duckdb.DuckDBPyConnection, teacher_id: str, split: str | None = None, corpus: str | None = None
) -> StatusMatrix:
    """Read a teacher's statuses of all reports that it is done with, like `fetch_curated`."""
    return _matrix(connection, "teacher_labels", "teacher_id = ?", (teacher_id,), split, corpus)


def fetch_labeler(
    connection: duckdb.DuckDBPyConnection, labeler_id: str, report_ids: Sequence[str]
) -> npt.NDArray[np.int8]:
    """Read one labeler's own statuses of some reports, its newest where it gave several.

    Args:
        connection: A store or a snapshot.
        labeler_id: Whose labels.
        report_ids: The reports, N of them.

    Returns:
        Codes, shape `(N, 13)`.
    """
    return _codes(connection, "labels", "labeler_id = ?", (labeler_id,), report_ids)


def fetch_teacher(
    connection: duckdb.DuckDBPyConnection, teacher_id: str, report_ids: Sequence[str]
) -> npt.NDArray[np.int8]:
    """Read what a teacher says of some reports, its adjudicator's verdicts included (view `teacher_labels`).

    Args:
        connection: A store or a snapshot.
        teacher_id: Which teacher.
        report_ids: The reports, N of them.

    Returns:
        Codes, shape `(N, 13)`.
    """
    return _codes(connection, "teacher_labels", "teacher_id = ?", (teacher_id,), report_ids)


def cluster_codes(groups: Sequence[str]) -> npt.NDArray[np.int64]:
    """Number groups by their names: equal names, equal numbers."""
    _, codes = np.unique(np.asarray(groups, dtype=object), return_inverse=True)
    return codes.astype(np.int64)


def knows_positives_only(truth: npt.NDArray[np.int8]) -> bool:
    """Whether curated codes, shape `(N, 13)`, name neither an absent nor an uncertain finding, as manual codes do."""
    return not np.isin(truth, (STATUSES.index("absent"), STATUSES.index("uncertain"))).any()


def _matrix(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    condition: str,
    parameters: Sequence[Any],
    split: str | None,
    corpus: str | None,
) -> StatusMatrix:
    reports = _reports(connection, source, condition, parameters, split, corpus)
    return replace(reports, codes=_codes(connection, source, condition, parameters, reports.report_ids))


def _reports(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    condition: str,
    parameters: Sequence[Any],
    split: str | None,
    corpus: str | None,
) -> StatusMatrix:
    rows = connection.execute(
        "SELECT r.report_id, coalesce(s.group_id, r.subject_id, r.report_id) FROM reports r "
        "LEFT JOIN splits s ON s.report_id = r.report_id "
        f"WHERE r.report_id IN (SELECT report_id FROM {source} WHERE {condition} AND task = 'findings') "
        f"AND {'true' if split is None else 's.split = ?'} AND {'true' if corpus is None else 'r.corpus = ?'} "
        "ORDER BY r.report_id",
        [*parameters, *(name for name in (split, corpus) if name is not None)],
    ).fetchall()
    codes = np.full((len(rows), len(FINDINGS)), NO_LABEL, dtype=np.int8)
    return StatusMatrix(tuple(row[0] for row in rows), cluster_codes([row[1] for row in rows]), codes)


def fetch_cells(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    column: str,
    named: str,
    report_ids: Sequence[str],
    expression: str,
    cells: npt.NDArray[Any],
) -> None:
    """Fill an array with something of each label of a labeler or teacher, such as its confidence.

    Args:
        connection: A store or a snapshot.
        source: The table or view of the labels, such as `labels`; of a labeler's own the newest of a target counts.
        column: Its column that names whose labels they are.
        named: Whose.
        report_ids: The reports, N of them.
        expression: What of a label, in SQL; NULL leaves the cell as it is.
        cells: Shape `(N, 13)`, changed in place.
    """
    _fill(connection, source, f"{column} = ?", (named,), report_ids, expression, cells)


def _fill(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    condition: str,
    parameters: Sequence[Any],
    report_ids: Sequence[str],
    expression: str,
    cells: npt.NDArray[Any],
) -> None:
    if not report_ids:
        return
    # The views hold one label a target; of a labeler's own labels the newest counts.
    newest = "QUALIFY row_number() OVER (PARTITION BY w.place, target ORDER BY created_at DESC, label_id) = 1"
    wanted = pa.table({"report_id": list(report_ids), "place": np.arange(len(report_ids), dtype=np.int64)})
    connection.register("wanted_reports", wanted)
    try:
        found = connection.execute(
            f"SELECT place, finding, cell FROM (SELECT w.place, {_COLUMN} AS finding, {expression} AS cell "
            f"FROM {source} l JOIN wanted_reports w USING (report_id) "
            f"WHERE {condition} AND task = 'findings' AND target IN ({', '.join('?' * len(FINDINGS))}) "
            f"{newest if source == 'labels' else ''}) WHERE cell IS NOT NULL",
            [*parameters, *FINDINGS],
        ).fetchnumpy()
    finally:
        connection.unregister("wanted_reports")
    cells[found["place"], found["finding"]] = found["cell"]


def _codes(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    condition: str,
    parameters: Sequence[Any],
    report_ids: Sequence[str],
) -> npt.NDArray[np.int8]:
    codes = np.full((len(report_ids), len(FINDINGS)), NO_LABEL, dtype=np.int8)
    _fill(connection, source, condition, parameters, report_ids, _CODE, codes)
    return codes
