"""Write synthetic reports as a table, row by row: JSONL, CSV or Parquet, told by the file's name.

The columns are those that `teachback import table` reads: `report_id`, `subject_id`, `sex`, `age`, the sections,
`text` (the whole report), one column a finding with CheXpert's value (1, 0, -1, blank), and `diseases` as a JSON list.
The file appears whole or not at all.
"""

import csv
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from teachback.errors import SettingError
from teachback.store.corpora.synthetic.truth import SyntheticReport
from teachback.store.label import FINDINGS, Status, to_chexpert

__all__ = ["COLUMNS", "FORMATS", "TableTotals", "as_row", "write_table"]

_SLICES = ("sex", "age")
_SECTIONS = ("indication", "comparison", "findings", "impression")
COLUMNS: tuple[str, ...] = ("report_id", "subject_id", *_SLICES, *_SECTIONS, "text", *FINDINGS, "diseases")
FORMATS: tuple[str, ...] = (".jsonl", ".csv", ".parquet")

_GROUP = 5_000  # rows in one Parquet row group, all that is held in memory


@dataclass(frozen=True, slots=True)
class TableTotals:
    """What was written.

    Attributes:
        reports: Number of rows.
        subjects: Number of different subjects.
        words: Words in all findings, impressions and unsectioned texts.
        statuses: (finding, status) to number of reports.
        diseases: Disease to number of reports that assert it.
    """

    reports: int
    subjects: int
    words: int
    statuses: Counter[tuple[str, Status]]
    diseases: Counter[str]


def as_row(written: SyntheticReport) -> dict[str, Any]:
    """Return the report as one row, None where it has no such section or no status."""
    report = written.report
    row: dict[str, Any] = {"report_id": report.report_id, "subject_id": report.subject_id}
    row |= {name: report.slices.get(name) for name in _SLICES}
    row |= {section: report.sections.get(section) for section in _SECTIONS}
    row["text"] = written.text
    row |= {finding: to_chexpert(written.statuses[finding]) for finding in FINDINGS}
    row["diseases"] = json.dumps([asdict(disease) for disease in written.diseases])
    return row


def write_table(
    path: Path, reports: Iterable[SyntheticReport], *, force: bool = False, on_row: Callable[[], None] | None = None
) -> TableTotals:
    """Write the reports as they come.

    Args:
        path: The file to make; `.jsonl`, `.csv` or `.parquet`.
        reports: What to write.
        force: Whether a file that is there may be replaced.
        on_row: Called after each row.

    Raises:
        SettingError: The format is unknown, the folder is missing, or the file is there and `force` is not given.
    """
    _check(path, force)
    statuses: Counter[tuple[str, Status]] = Counter()
    diseases: Counter[str] = Counter()
    subjects: set[str | None] = set()
    words = count = 0
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with _writer(partial, path.suffix) as write:
            for written in reports:
                write(as_row(written))
                statuses.update(written.statuses.items())
                diseases.update(disease.name for disease in written.diseases)
                subjects.add(written.report.subject_id)
                words += sum(len(text.split()) for _, text in written.report.scoped("full"))
                count += 1
                if on_row is not None:
                    on_row()
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return TableTotals(count, len(subjects), words, statuses, diseases)


def _check(path: Path, force: bool) -> None:
    if path.suffix not in FORMATS:
        raise SettingError(f"{path}: cannot tell the format", f"end the name in one of {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise SettingError(f"{path.parent} is not a folder", "make it first, or name another file")
    if path.is_dir():
        raise SettingError(f"{path} is a folder", "name a file")
    if path.exists() and not force:
        raise SettingError(f"{path} is already there", "name another file, or add --force to replace it")


@contextmanager
def _writer(path: Path, suffix: str) -> Iterator[Callable[[dict[str, Any]], None]]:
    if suffix == ".parquet":
        with _parquet_writer(path) as write:
            yield write
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        if suffix == ".jsonl":
            yield lambda row: _write_line(file.write, row)
        else:
            table = csv.DictWriter(file, COLUMNS)
            table.writeheader()
            yield table.writerow


def _write_line(write: Callable[[str], int], row: dict[str, Any]) -> None:
    write(json.dumps(row, ensure_ascii=False) + "\n")


@contextmanager
def _parquet_writer(path: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = set(FINDINGS)
    schema = pa.schema([(name, pa.float32() if name in numbers else pa.string()) for name in COLUMNS])
    rows: list[dict[str, Any]] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as file:

        def write(row: dict[str, Any]) -> None:
            rows.append(row)
            if len(rows) == _GROUP:
                flush()

        def flush() -> None:
            if rows:
                file.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows.clear()

        yield write
        flush()
