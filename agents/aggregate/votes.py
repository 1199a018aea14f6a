"""The votes of a teacher's labelers as one table: a row an item (one finding of one report), a column a labeler.

Only the closed-set task is voted on: diseases are named by language models in words of their own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from teachback.errors import SettingError
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.report import SCOPES

__all__ = [
    "FULL",
    "NO_VOTE",
    "UNMENTIONED",
    "NewestLabels",
    "Votes",
    "code_of",
    "fetch_newest",
    "fetch_votes",
    "registered",
]

NO_VOTE = -1  # the code of a labeler that did not vote

UNMENTIONED, FULL = STATUSES.index("unmentioned"), SCOPES.index("full")

# A report of which the scope `full` holds more than the others do.
_LONGER = r"""
    CASE WHEN regexp_matches(coalesce(findings, ''), '\S') OR regexp_matches(coalesce(impression, ''), '\S')
    THEN regexp_matches(coalesce(findings, ''), '\S') AND regexp_matches(coalesce(impression, ''), '\S')
    ELSE regexp_matches(text, '\S\s*\n\n\s*\S') END"""


@dataclass(frozen=True)
class NewestLabels:
    """Some labelers' newest labels of some reports, the findings only. V labelers; one row for each labelled finding.

    Attributes:
        reports: Index of each row's report among those asked for, shape `(N,)`.
        findings: Index into `FINDINGS`, shape `(N,)`.
        codes: Index into `STATUSES`, `NO_VOTE` for no label, shape `(N, V)`.
        scopes: Index into `SCOPES`, -1 for no label, shape `(N, V)`.
        confidences: NaN where there is none, shape `(N, V)`.
        label_rows: The label's rowid in the table `labels`, -1 for no label, shape `(N, V)`.
        longer: Whether the scope `full` holds more of the report than the other scopes do, shape `(N,)`.
    """

    reports: npt.NDArray[np.int32]
    findings: npt.NDArray[np.int8]
    codes: npt.NDArray[np.int8]
    scopes: npt.NDArray[np.int8]
    confidences: npt.NDArray[np.float64]
    label_rows: npt.NDArray[np.int64]
    longer: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.reports)

    def silence(self, read_in_full: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Tell the labels that object to nothing: `unmentioned`, from less of the report than somebody has read.

        Args:
            read_in_full: Whether somebody labelled the item from the scope `full`, shape `(N,)`.

        Returns:
            Shape `(N, V)`.
        """
        silent: npt.NDArray[np.bool_] = (self.codes == UNMENTIONED) & (self.scopes != FULL)
        silent &= (self.longer & read_in_full)[:, None]
        return silent


@dataclass(frozen=True)
class Votes:
    """The votes on N items by V labelers.

    Attributes:
        labeler_ids: The labelers, in the order of their places.
        report_ids: The reports, in the order of their ids.
        reports: Index of each item's report, shape `(N,)`.
        findings: Index of each item's target in `FINDINGS`, shape `(N,)`.
        codes: Index into `STATUSES`, `NO_VOTE` where a labeler did not vote or only kept silent, shape `(N, V)`.
        scopes: Index into `SCOPES` of each vote, silent ones included, shape `(N, V)`.
        label_rows: The rowid of each vote in the table `labels`, shape `(N, V)`.
        silent: How many votes were silence.
    """

    labeler_ids: tuple[str, ...]
    report_ids: tuple[str, ...]
    reports: npt.NDArray[np.int32]
    findings: npt.NDArray[np.int8]
    codes: npt.NDArray[np.int8]
    scopes: npt.NDArray[np.int8]
    label_rows: npt.NDArray[np.int64]
    silent: int

    def __len__(self) -> int:
        return len(self.reports)

    def take(self, items: npt.NDArray[np.int64]) -> "Votes":
        """Return some of the items."""
        columns = {
            name: getattr(self, name)[items] for name in ("reports", "findings", "codes", "scopes", "label_rows")
        }
        return replace(self, **columns)

    def item(self, row: int) -> tuple[str, str]:
        """Return the report and the target of an item."""
        return self.report_ids[self.reports[row]], FINDINGS[self.findings[row]]


def fetch_votes(connection: duckdb.DuckDBPyConnection, teacher_id: str) -> Votes:
    """Read the votes of a teacher's labelers on the reports that it is done with, the newest of each.

    `unmentioned` from less of a report than another voter has read is silence, no vote: the words may stand in the
    part that was not read. It is so whatever the other says, else a narrow labeler would count where it agrees only.

    Raises:
        SettingError: The store knows no such teacher.
    """
    members = connection.execute(
        "SELECT labeler_id FROM teacher_members WHERE teacher_id = ? AND seat = 'labeler' ORDER BY place", [teacher_id]
    ).fetchall()
    if not members:
        raise SettingError(f"the store knows no teacher {teacher_id}", "label with it first: `teachback label`")
    labeler_ids = tuple(row[0] for row in members)
    done = connection.execute(
        "SELECT DISTINCT report_id FROM committed WHERE teacher_id = ? ORDER BY report_id", [teacher_id]
    ).fetchnumpy()
    report_ids = tuple(done["report_id"].tolist())
    newest = fetch_newest(connection, labeler_ids, report_ids)
    silent = newest.silence((newest.scopes == FULL).any(axis=1))
    codes = np.where(silent, np.int8(NO_VOTE), newest.codes)
    where = (newest.reports, newest.findings)
    return Votes(labeler_ids, report_ids, *where, codes, newest.scopes, newest.label_rows, int(silent.sum()))


def fetch_newest(
    connection: duckdb.DuckDBPyConnection, labeler_ids: Sequence[str], report_ids: Sequence[str]
) -> NewestLabels:
    """Read each labeler's newest label of each finding of some reports.

    Args:
        connection: A store or a snapshot.
        labeler_ids: The labelers, V of them: the columns.
        report_ids: The reports, each once.
    """
    wanted = pa.table({"report_id": pa.array(report_ids, pa.string()), "place": np.arange(len(report_ids))})
    voters = pa.table({"labeler_id": pa.array(labeler_ids, pa.string()), "voter": np.arange(len(labeler_ids))})
    with registered(connection, wanted_reports=wanted, wanted_labelers=voters):
        found = connection.execute(
            f"SELECT w.place, v.voter, {code_of('target', FINDINGS)} AS finding, {code_of('status')} AS code, "
            f"{code_of('scope', SCOPES)} AS scope, coalesce(confidence, 'nan'::DOUBLE) AS confidence, "
            "l.rowid AS label_row, epoch_us(created_at) AS created "
            "FROM labels l JOIN wanted_reports w USING (report_id) JOIN wanted_labelers v USING (labeler_id) "
            f"WHERE task = 'findings' AND target IN ({', '.join('?' * len(FINDINGS))})",
            list(FINDINGS),
        ).fetchnumpy()
        longer = connection.execute(
            "SELECT w.place FROM wanted_reports w LEFT JOIN reports r USING (report_id) "
            f"WHERE coalesce({_LONGER}, true)"
        ).fetchnumpy()["place"]
    items = found["place"] * len(FINDINGS) + found["finding"]
    cells = items * len(labeler_ids) + found["voter"]
    order = _oldest_first(connection, cells, found["created"], found["label_row"])
    labelled = np.zeros(len(report_ids) * len(FINDINGS), dtype=bool)
    labelled[items] = True
    rows, place = np.flatnonzero(labelled), (np.cumsum(labelled) - 1)[items[order]]

    def fill(column: str, missing: float, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        table = np.full((len(rows), len(labeler_ids)), missing, dtype=dtype)
        table[place, found["voter"][order]] = found[column][order]
        return table

    reports = rows // len(FINDINGS)
    return NewestLabels(
        reports.astype(np.int32),
        (rows % len(FINDINGS)).astype(np.int8),
        fill("code", NO_VOTE, np.int8),
        fill("scope", -1, np.int8),
        fill("confidence", np.nan, np.float64),
        fill("label_row", -1, np.int64),
        np.isin(reports, longer),
    )


def code_of(column: str, values: Sequence[str] = STATUSES) -> str:
    """Return SQL for the index of a column's value among some values."""
    return f"CASE {column} " + " ".join(f"WHEN '{value}' THEN {i}" for i, value in enumerate(values)) + " END::TINYINT"


@contextmanager
def registered(connection: duckdb.DuckDBPyConnection, **tables: pa.Table) -> Iterator[None]:
    """Let queries of a block read Arrow tables by name."""
    for name, table in tables.items():
        connection.register(name, table)
    try:
        yield
    finally:
        for name in tables:
            connection.unregister(name)


def _oldest_first(
    connection: duckdb.DuckDBPyConnection,
    cells: npt.NDArray[np.int64],
    created: npt.NDArray[np.int64],
    label_rows: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Order labels so that the one that counts comes last in its cell: the newest, as in the store's views."""
    times = np.bincount(cells, minlength=1)
    if times.max() <= 1:
        return np.arange(len(cells))
    doubled = times[cells] > 1
    rows = np.flatnonzero(doubled)
    with registered(connection, wanted_rows=pa.table({"label_row": label_rows[rows], "place": np.arange(len(rows))})):
        ranks = connection.execute(
            "SELECT place, row_number() OVER (ORDER BY label_id DESC) AS rank "
            "FROM labels l JOIN wanted_rows w ON l.rowid = w.label_row"
        ).fetchnumpy()
    rank = np.empty(len(rows), dtype=np.int64)
    rank[ranks["place"]] = ranks["rank"]
    return np.concatenate([np.flatnonzero(~doubled), rows[np.lexsort((rank, created[rows]))]])
