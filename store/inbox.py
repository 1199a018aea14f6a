"""Rows for a store that another process holds: a folder beside it, from which its writer takes them in.

DuckDB lets one process write. What somebody decides on the review page while a labeling runs is put into the folder
`labels.duckdb.inbox`, one file a submission, and is durable from then on. Every writer empties the folder while it
works; when nobody writes, whoever has something to say opens the store for a moment (`deliver`). A file is deleted
once its rows are committed, so a crash in between leaves it to be taken in again, which is a no-op: rows that may be
posted have keys.
"""

import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from teachback.errors import StoreError

__all__ = ["Posted", "inbox_path", "post", "posted", "refuse", "remove"]

SUFFIX = ".json"
REFUSED = ".refused"  # a file that could not be taken in; kept for a person to look at

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Posted:
    """Rows that wait.

    Attributes:
        path: Their file.
        rows: Table name to rows, moments as `datetime`.
    """

    path: Path
    rows: dict[str, list[dict[str, Any]]]


def inbox_path(store: Path | str) -> Path:
    """Return the folder of what waits for a store's writer."""
    path = Path(store)
    return path.with_name(f"{path.name}.inbox")


def post(store: Path | str, rows: Rows) -> Path:
    """Leave rows for a store's writer; they are on disk when this returns.

    Args:
        store: Path of the store.
        rows: Table name to rows, of tables that have a key; values as JSON has them, and moments as `datetime`.

    Returns:
        The file that holds them until they are taken in.
    """
    folder = inbox_path(store)
    folder.mkdir(exist_ok=True)
    name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"
    path, temporary = folder / f"{name}{SUFFIX}", folder / f".{name}"
    with temporary.open("w", encoding="utf-8") as file:
        json.dump({table: list(given) for table, given in rows.items()}, file, default=_moment, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    _sync_folder(folder)
    return path


def posted(store: Path | str) -> Iterator[Posted]:
    """Yield what waits for a store's writer, in the order in which it was posted.

    A file that cannot be read is set aside and left out: it must not keep the others from being taken in.
    """
    folder = inbox_path(store)
    if not folder.is_dir():
        return
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            given = json.loads(path.read_text(encoding="utf-8"))
            rows = {table: [_row(row) for row in entries] for table, entries in given.items()}
        except OSError:  # taken in meanwhile, or not to be read by us
            continue
        except (ValueError, AttributeError, TypeError) as error:
            refuse(path, str(error))
            continue
        yield Posted(path, rows)


def remove(entry: Posted) -> None:
    """Take rows out that are in the store now."""
    with suppress(FileNotFoundError):
        entry.path.unlink()


def refuse(path: Path, reason: str) -> None:
    """Set a file aside that cannot be taken in, with the reason beside it."""
    with suppress(FileNotFoundError):
        path.with_suffix(".reason.txt").write_text(f"{reason}\n", encoding="utf-8")
        os.replace(path, path.with_suffix(REFUSED))


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: datetime.fromisoformat(value) if name.endswith("_at") else value for name, value in row.items()}


def _moment(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise StoreError(f"{value!r} cannot be posted", "this is a bug: report it")


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
