"""Rows of a CSV, JSONL or Parquet file, each with its number; a bad row is named, a bad file refused.

CSV and JSONL may be gzipped. Cells come as the file has them: strings from CSV, JSON values from JSONL, Python values
from Parquet. The header of a CSV is row 1, the first line of a JSONL and the first row of a Parquet file likewise.
"""

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from teachback.errors import InputError
from teachback.store.corpora.imported import Skipped, refuse_damage

__all__ = ["FORMATS", "Row", "read_rows"]

FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")

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
    form = _format(path)
    if form == ".parquet":
        yield from _parquet_rows(path, required)
        return
    with refuse_damage(path, "a whole gzip file" if path.suffix == ".gz" else "a readable file"), _open(path) as stream:
        if form in (".jsonl", ".ndjson"):
            yield from _json_rows(path, stream, required)
        else:
            yield from _csv_rows(path, stream, required, "\t" if form == ".tsv" else ",")


def _format(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"there is no file {path}", "check the path")
    name = path.name.lower().removesuffix(".gz")
    for form in FORMATS:
        if name.endswith(form):
            return form
    raise InputError(f"{path} is none of {', '.join(FORMATS)} (.gz allowed)", "convert it to one of these")


def _open(path: Path) -> IO[str]:
    # Bytes that are not UTF-8 become lone surrogates, so that the row can be named instead of the file refused.
    binary: Any = gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")  # noqa: SIM115 - the caller closes it
    return io.TextIOWrapper(binary, encoding="utf-8-sig", errors="surrogateescape", newline="")


def _csv_rows(path: Path, stream: IO[str], required: Sequence[str], delimiter: str) -> Iterator[Row | Skipped]:
    csv.field_size_limit(_MAX_CELL_CHARS)
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise InputError(f"{path} is not a CSV file: {error}", "check the file") from error
    _require(path, header, required)
    number, line = 1, 0
    while True:
        number, line = number + 1, reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end" in str(
                error
            ):  # everything behind the quote is one cell: nobody can tell the rows apart
                raise InputError(
                    f"{path}: the quote that opens in row {number} (line {line}) is never closed", "close it or cut it"
                ) from error
            yield Skipped(path.name, number, "not readable as CSV", f"line {line}: {error}")
            continue
        if not cells:
            number -= 1  # a blank line is no row
        elif len(cells) != len(header):
            yield Skipped(path.name, number, "wrong number of cells", f"{len(cells)} under {len(header)} columns")
        else:
            yield number, dict(zip(header, cells, strict=True))


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
