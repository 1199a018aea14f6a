"""A table of reports labelled by rules into CheXpert's format, row by row and without a store.

The output has `report_id` and CheXpert's 14 observations as 1.0, 0.0, -1.0 or blank (Irvin et al. 2019,
arXiv 1901.07031). It appears whole or not at all: it is written beside its place and then moved there.

For those who come from chexpert-labeler (https://github.com/stanfordmlgroup/chexpert-labeler), its input is read as
well, a CSV without header that holds one report a row, and its output can be written, with `Reports`, the text, in
place of `report_id`. Departure: a cell without text gets blank labels, where chexpert-labeler stops.
"""

import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import IO, Any, Literal, get_args

from teachback.agents.rule_labeler import RuleLabeler
from teachback.errors import InputError
from teachback.store.corpora.imported import Skipped
from teachback.store.corpora.rows_file import DELIMITERS, format_of, read_column, read_rows
from teachback.store.label import CHEXPERT_OBSERVATIONS, Status, derive_no_finding, to_chexpert
from teachback.store.report import SECTIONS, Report

__all__ = ["LAYOUTS", "Layout", "TableSummary", "label_table"]

Layout = Literal["teachback", "chexpert-labeler"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

ID_COLUMN = "report_id"
# chexpert-labeler's name for the column of the text.
REPORTS_COLUMN = "Reports"
# At least one of these must be there; the other sections are taken along where they are.
TEXT_COLUMNS = ("findings", "impression", "text")
# Rows between two calls of `on_progress`.
PROGRESS_EVERY = 500
# Characters shown of a column's name; without a header row it is a report.
MOST_NAME_CHARS = 60

_QUOTABLE = re.compile(r'[",\r\n]')


@dataclass(slots=True)
class TableSummary:
    """What became of a table.

    Attributes:
        reports: Reports written.
        without_text: Of these, reports without text in the scope: all their labels are blank.
        skipped: Rows that could not be read, by reason.
        first_skipped: The first few of them, as (row, why).
        present: Reports in which each observation is present.
        seconds: Wall time.
    """

    reports: int = 0
    without_text: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    first_skipped: list[tuple[int | None, str]] = field(default_factory=list)
    present: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def reports_per_second(self) -> float:
        """Reports written in a second."""
        return self.reports / self.seconds if self.seconds else 0.0


def label_table(
    source: Path,
    target: Path,
    labeler: RuleLabeler,
    on_progress: Callable[[int], None] | None = None,
    *,
    header: bool = True,
    layout: Layout = "teachback",
) -> TableSummary:
    """Label every report of a table (CSV, TSV, JSONL or Parquet) and write CheXpert's CSV.

    Args:
        source: Has `report_id` and `text`, `findings` or `impression`; other columns are ignored.
        target: The CSV to write; replaced when it exists.
        labeler: Who labels.
        on_progress: Called with the number of reports so far.
        header: Whether the source names its columns. If not, it is a CSV or TSV with one column, the text, and the
            ids are `0`, `1`, ...: the row's number less one.
        layout: What stands before the observations: `teachback` writes `report_id`, `chexpert-labeler` writes
            `Reports`, the text as read (findings and impression where the table has no text).

    Raises:
        InputError: A column is missing or too many, an id is empty or stands twice, or the text is not UTF-8; nothing
            is written.
    """
    summary, started = TableSummary(), time.perf_counter()
    if not target.parent.is_dir():
        raise InputError(f"there is no folder {target.parent}", "make it first")
    handle, beside = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            _write(stream, _reports(source, summary, header), labeler, summary, on_progress, layout)
        if not summary.reports:
            expected = (
                "a header row (else --no-header) and then one report a row are" if header else "one report a row is"
            )
            raise InputError(f"{source} holds no report", f"{expected} expected")
        _open_as_others(beside)
        os.replace(beside, target)
    finally:
        Path(beside).unlink(missing_ok=True)
    summary.seconds = time.perf_counter() - started
    return summary


def _write(
    stream: IO[str],
    reports: Iterator[Report],
    labeler: RuleLabeler,
    summary: TableSummary,
    on_progress: Callable[[int], None] | None,
    layout: Layout,
) -> None:
    with_text = layout == "chexpert-labeler"
    stream.write(_csv_line([REPORTS_COLUMN if with_text else ID_COLUMN, *CHEXPERT_OBSERVATIONS]))
    for report in reports:
        verdicts = labeler.verdicts(report)
        summary.reports += 1
        statuses: dict[str, Status] = {}
        if verdicts is None:
            summary.without_text += 1
        else:
            statuses = {finding: status for finding, (status, _) in verdicts.items()}
            statuses["No Finding"] = derive_no_finding(statuses)
            summary.present.update(name for name, status in statuses.items() if status == "present")
        first = _whole_text(report) if with_text else report.report_id
        stream.write(_csv_line([first, *(_cell(statuses.get(name)) for name in CHEXPERT_OBSERVATIONS)]))
        if on_progress is not None and summary.reports % PROGRESS_EVERY == 0:
            on_progress(summary.reports)


def _reports(source: Path, summary: TableSummary, header: bool) -> Iterator[Report]:
    """Yield the reports of a table; rows that cannot be read are counted."""
    for read in _named_reports(source) if header else _numbered_reports(source):
        if isinstance(read, Skipped):
            summary.skipped[read.reason] += 1
            if len(summary.first_skipped) < 5:
                summary.first_skipped.append((read.row, read.why))
        else:
            yield read


def _named_reports(source: Path) -> Iterator[Report | Skipped]:
    """Yield the reports of a table that has a column of ids."""
    rows: dict[str, int] = {}
    checked = False
    for read in read_rows(source):
        if isinstance(read, Skipped):
            yield read
            continue
        number, cells = read
        if not checked:
            _check_columns(source, cells)
            checked = True
        report_id = _text(cells.get(ID_COLUMN)).strip()
        if not report_id:
            raise InputError(f"{source}, row {number}: {ID_COLUMN} is empty", "give every report an id")
        if report_id in rows:
            raise InputError(
                f"{source}, row {number}: {ID_COLUMN} {report_id!r} stands in row {rows[report_id]} too",
                "give every report an id of its own",
            )
        rows[report_id] = number
        sections: dict[str, str] = {name: _text(cells.get(name)) for name in SECTIONS if cells.get(name)}
        _check_encoding(source, number, {ID_COLUMN: report_id, **sections})
        yield Report(report_id, source.name, sections)


def _numbered_reports(source: Path) -> Iterator[Report | Skipped]:
    """Yield the reports of a file without header: one column, the text."""
    for read in read_column(source):
        if isinstance(read, Skipped):
            yield read
            continue
        number, text = read
        _check_encoding(source, number, {"text": text})
        yield Report(str(number - 1), source.name, {"text": text})


def _check_columns(source: Path, columns: Mapping[str, Any]) -> None:
    has = ", ".join(shorten(name, MOST_NAME_CHARS, placeholder="...") for name in list(columns)[:20]) or "none"
    if ID_COLUMN not in columns:
        remedy = f"name the id column {ID_COLUMN}"
        if len(columns) == 1 and format_of(source) in DELIMITERS:
            remedy += "; if the file has no header and each row is a report, add --no-header"
        raise InputError(f"{source} has no column {ID_COLUMN}; it has: {has}", remedy)
    if not any(name in columns for name in TEXT_COLUMNS):
        raise InputError(
            f"{source} has none of the columns {', '.join(TEXT_COLUMNS)}; it has: {has}",
            "name the column with the report `text`, or its sections `findings` and `impression`",
        )


def _check_encoding(source: Path, row: int, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        if text.isascii():
            continue
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise InputError(f"{source}, row {row}: {name} is not UTF-8", "save the file as UTF-8") from None


def _whole_text(report: Report) -> str:
    return report.sections.get("text") or report.text("full")


def _text(cell: Any) -> str:
    return cell if isinstance(cell, str) else "" if cell is None else str(cell)


def _cell(status: Status | None) -> str:
    value = to_chexpert(status) if status is not None else None
    return "" if value is None else str(value)


def _csv_line(cells: Iterable[str]) -> str:
    # Before Python 3.13, csv.writer leaves a lone carriage return bare, and it ends the row for whoever reads it.
    quoted = ('"' + cell.replace('"', '""') + '"' if _QUOTABLE.search(cell) else cell for cell in cells)
    return ",".join(quoted) + "\n"


def _open_as_others(path: str) -> None:
    """Give a temporary file, which only its owner may read, the rights that any new file would get."""
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(path, 0o666 & ~mask)
