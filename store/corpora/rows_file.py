"""Rows of a CSV, JSONL or Parquet file, each with its number; a bad row is named, a bad file refused.

CSV and JSONL may be gzipped. Cells come as the file has them: strings from CSV, JSON values from JSONL, Python values
from Parquet. The header of a CSV is row 1, the first line of a JSONL and the first row of a Parquet file likewise.
"""

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from teachback.errors import InputError
from teachback.store.corpora.imported import Skipped, refuse_damage

if TYPE_CHECKING:
    import _csv

__all__ = ["DELIMITERS", "FORMATS", "Row", "format_of", "read_column", "read_rows"]

FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
DELIMITERS = {".csv": ",", ".tsv": "\t"}

# Characters in one cell. Past it Python's csv module gives up on the file; far past any report.
_MAX_CELL_CHARS = 64_000_000
_PARQUET_BATCH = 2_000  # rows held in memory at once

Row = tuple[int, Mapping[str, Any]]


def read_rows(path: Path, required: Sequence[str] = ()) -> Iterator[Row | Skipped]:
    """Yield each row as (number, column to cell), or the reason why it cannot be read.

    Args:
        path: The file; its name tells the format.
        required: Columns without which the file is not what it claims.

    Raises:
        InputError: The file is of another format, damaged, or lacks a required column.
    """
    form = format_of(path)
    if form == ".parquet":
        yield from _parquet_rows(path, required)
        return
    with _open(path) as stream:
        if form in DELIMITERS:
            yield from _csv_rows(path, stream, required, DELIMITERS[form])
        else:
            yield from _json_rows(path, stream, required)


def read_column(path: Path) -> Iterator[tuple[int, str] | Skipped]:
    """Yield each cell of a CSV without header that has one column, as (number, cell); the first row is row 1.

    Raises:
        InputError: The file is no CSV or TSV, is damaged, or a row has several columns.
    """
    form = format_of(path)
    if form not in DELIMITERS:
        raise InputError(f"{path} has names for its columns: only a CSV or TSV may lack a header", "drop --no-header")
    with _open(path) as stream:
        for read in _records(path, _reader(stream, DELIMITERS[form]), first=1):
            if isinstance(read, Skipped):
                yield read
                continue
            number, cells = read
            if len(cells) > 1:
                raise InputError(
                    f"{path}, row {number}: {len(cells)} columns, but a file without header holds one, the report",
                    'put each report in quotes ("..."), or drop --no-header if the first row names the columns',
                )
            yield number, cells[0]


def format_of(path: Path) -> str:
    """Return which of `FORMATS` a file has by its name.

    Raises:
        InputError: There is no such file, or it has none of them.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}", "check the path")
    name = path.name.lower().removesuffix(".gz")
    for form in FORMATS:
        if name.endswith(form):
            return form
    raise InputError(f"{path} is none of {', '.join(FORMATS)} (.gz allowed)", "convert it to one of these")


@contextmanager
def _open(path: Path) -> Iterator[IO[str]]:
    zipped = path.suffix.lower() == ".gz"
    with refuse_damage(path, "a whole gzip file" if zipped else "a readable file"):
        # Bytes that are not UTF-8 become lone surrogates, so that the row can be named instead of the file refused.
        binary: Any = gzip.open(path) if zipped else path.open("rb")  # noqa: SIM115 - closed with the text around it
        with io.TextIOWrapper(binary, encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            yield stream


def _csv_rows(path: Path, stream: IO[str], required: Sequence[str], delimiter: str) -> Iterator[Row | Skipped]:
    reader = _reader(stream, delimiter)
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise InputError(f"{path} is not a CSV file: {error}", "check the file") from error
    _require(path, header, required)
    for read in _records(path, reader, first=2):
        if isinstance(read, Skipped):
            yield read
        elif len(read[1]) != len(header):
            number, cells = read
            yield Skipped(path.name, number, "wrong number of cells", f"{len(cells)} under {len(header)} columns")
        else:
            yield read[0], dict(zip(header, read[1], strict=True))


def _reader(stream: IO[str], delimiter: str) -> "_csv.Reader":
    csv.field_size_limit(_MAX_CELL_CHARS)
    return csv.reader(stream, delimiter=delimiter, strict=True)


def _records(path: Path, reader: "_csv.Reader", first: int) -> Iterator[tuple[int, list[str]] | Skipped]:
    """Yield each further row of a CSV as (number, cells), counted from `first`; a blank line is no row."""
    number, line = first - 1, 0
    while True:
        number, line = number + 1, reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # Everything behind an open quote is one cell: nobody can tell the rows apart.
            if "unexpected end" in str(error):
                raise InputError(
                    f"{path}: the quote that opens in row {number} (line {line}) is never closed", "close it or cut it"
                ) from error
            yield Skipped(path.name, number, "not readable as CSV", f"line {line}: {error}")
            continue
        if cells:
            yield number, cells
        else:
            number -= 1


def _json_rows(path: Path, stream: IO[str], required: Sequence[str]) -> Iterator[Row | Skipped]:
    understood = 0
    lacking: set[str] = set(required)
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except ValueError as error:
            yield Skipped(path.name, number, "not JSON", str(error))
            continue
        if isinstance(cells, dict):
            understood += 1
            lacking -= cells.keys()
            yield number, cells
        else:
            yield Skipped(path.name, number, "not a JSON object", type(cells).__name__)
    if not understood:
        raise InputError(f"{path} is not JSONL: no line is a JSON object", "write one JSON object a line")
    _require(path, [name for name in required if name not in lacking], required)


def _parquet_rows(path: Path, required: Sequence[str]) -> Iterator[Row | Skipped]:
    import pyarrow as pa

    file = _parquet(path)
    _require(path, file.schema_arrow.names, required)
    number = 0
    try:
        for batch in file.iter_batches(batch_size=_PARQUET_BATCH):
            for cells in batch.to_pylist():
                number += 1
                yield number, cells
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is damaged behind row {number}: {error}", "write the file again") from error


def _parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is not a Parquet file: {error}", "write the file again") from error


def _require(path: Path, columns: Sequence[str], required: Sequence[str]) -> None:
    if doubled := sorted({name for name in columns if columns.count(name) > 1 and name}):
        raise InputError(f"{path} has two columns {', '.join(doubled)}", "rename one of them")
    if missing := [name for name in required if name not in columns]:
        has = ", ".join(columns[:20]) or "none"
        raise InputError(f"{path} has no column {', '.join(missing)}; it has: {has}", "name the columns by options")
