"""What is known of patients and origins beside their reports: a table of sex, age, site, year or the like.

A row is of one report (`report_id`) or of all of a patient's (`subject_id`), such as MIMIC-IV's `patients.csv.gz`. A
slice is told once: a report that has it keeps it.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from teachback.errors import InputError, SettingError
from teachback.store.corpora.imported import Skipped
from teachback.store.corpora.rows_file import Row, read_rows
from teachback.store.corpora.table import SLICES
from teachback.store.database import Store

__all__ = ["TakenSlices", "take_slices"]

AT_ONCE = 20_000  # rows a transaction
SHOWN = 10  # rows left out that are kept for people to see
_KEYS = ("report_id", "subject_id")


@dataclass
class TakenSlices:
    """What came in.

    Attributes:
        read: Rows read, good or bad.
        reports: Reports of the store that a row was about.
        slices: Slice to the number of reports that have it now and had it not before.
        skipped: Why rows were left out, to how many.
        first_skipped: The first few that were left out.
    """

    read: int = 0
    reports: int = 0
    slices: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    first_skipped: list[Skipped] = field(default_factory=list)


def take_slices(
    store: Store, file: Path | str, columns: Sequence[str] = (), on_progress: Callable[[int], None] = lambda _: None
) -> TakenSlices:
    """Write a table's slices into a store.

    Args:
        store: The store, open for writing.
        file: CSV, TSV, JSONL (also `.gz`) or Parquet, with a column `report_id` or `subject_id`.
        columns: The columns to take, each `name` or `name=slice`; those of `SLICES` that are there when empty.
        on_progress: Called with the number of rows read.

    Raises:
        InputError: The file has no such key, or none of its rows is about a report of the store.
        SettingError: A named column is not there.
    """
    path = Path(file)
    key, named = _survey(path, columns)
    reports = _reports(store, key)
    summary, about = TakenSlices(), set[str]()
    rows = read_rows(path, required=(key,))
    before = _counts(store)
    while batch := list(islice(rows, AT_ONCE)):
        summary.read += len(batch)
        found = [slice_row for read in batch for slice_row in _slices(path, read, key, named, reports, summary)]
        about.update(row["report_id"] for row in found)
        store.write({"slices": found})
        on_progress(summary.read)
    if not about:
        why = (
            f"; the first: row {summary.first_skipped[0].row}: {summary.first_skipped[0].why}"
            if summary.skipped
            else ""
        )
        raise InputError(f"{path}: no row is about a report of {store.path}{why}", f"check its column {key}")
    summary.reports = len(about)
    summary.slices = Counter({name: n for name, n in (_counts(store) - before).items() if n})
    return summary


def _survey(path: Path, columns: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Return the key column, and each column to take with the name of its slice."""
    first = next((read for read in read_rows(path) if not isinstance(read, Skipped)), None)
    if first is None:
        raise InputError(f"{path}: no row can be read", "check the file")
    found = list(first[1])
    key = next((name for name in _KEYS if name in found), None)
    if key is None:
        raise InputError(f"{path} has neither report_id nor subject_id; it has: {', '.join(found[:20])}", "name one so")
    named = {left: right or left for left, _, right in (column.partition("=") for column in columns)}
    named = named or {name: name for name in SLICES if name in found}
    missing = [name for name in named if name not in found]
    if missing or not named:
        what = f"no column {', '.join(missing)}" if missing else f"none of {', '.join(SLICES)}"
        raise SettingError(f"{path} has {what}; it has: {', '.join(found[:20])}", "name columns with --column")
    return key, named


def _reports(store: Store, key: str) -> dict[str, list[str]]:
    """Map each report or patient of the store to its reports."""
    of: dict[str, list[str]] = {}
    for report_id, name in store.connection.execute(f"SELECT report_id, {key} FROM reports").fetchall():
        if name is not None:
            of.setdefault(name, []).append(report_id)
    return of


def _slices(
    path: Path,
    read: Row | Skipped,
    key: str,
    named: Mapping[str, str],
    reports: Mapping[str, Sequence[str]],
    summary: TakenSlices,
) -> Iterator[dict[str, str]]:
    if isinstance(read, Skipped):
        _leave_out(summary, read)
        return
    number, cells = read
    name = _text(cells.get(key))
    if name not in reports:
        _leave_out(summary, Skipped(path.name, number, f"no report of this {key} in the store", name))
        return
    for column, slice_name in named.items():
        if value := _text(cells.get(column)):
            yield from ({"report_id": report_id, "slice": slice_name, "value": value} for report_id in reports[name])


def _leave_out(summary: TakenSlices, skipped: Skipped) -> None:
    summary.skipped[skipped.reason] += 1
    if len(summary.first_skipped) < SHOWN:
        summary.first_skipped.append(skipped)


def _counts(store: Store) -> Counter[str]:
    return Counter(dict(store.connection.execute("SELECT slice, count(*) FROM slices GROUP BY 1").fetchall()))


def _text(cell: Any) -> str:
    if cell is None or cell != cell:  # NaN, as pandas writes an empty cell to Parquet
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()
