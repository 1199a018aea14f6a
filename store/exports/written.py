"""How files of an export come to be: under another name first, so that a name never stands for half an export."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from teachback.errors import SettingError

__all__ = ["Exported", "Tick", "copy_to", "replacing", "sql_path"]

TICK_S = 0.2  # how often the progress callback is told

Tick = Callable[[float], None]  # told the share that is done, 0 to 1


@dataclass
class Exported:
    """What an export came to.

    Attributes:
        files: File name to the number of its rows.
        reports: Reports in it.
        left_out: Why reports were left out, to how many.
        notes: What else a user should know.
    """

    files: dict[str, int] = field(default_factory=dict)
    reports: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@contextmanager
def replacing(path: Path, *, force: bool) -> Iterator[Path]:
    """Give the name under which to write a file or folder; afterwards it has its own.

    Raises:
        SettingError: It exists already, and `force` is not set; or its folder does not exist.
    """
    if path.exists() and not force:
        raise SettingError(f"{path} exists already", "use --force to replace it, or another --out")
    if not path.absolute().parent.is_dir():
        raise SettingError(f"there is no folder {path.absolute().parent}", "make it, or use another --out")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def copy_to(connection: duckdb.DuckDBPyConnection, query: str, path: Path, options: str, tick: Tick) -> int:
    """Let DuckDB write a query's rows to a file; it streams them.

    Args:
        connection: The connection.
        query: The rows.
        path: The file.
        options: DuckDB's options of COPY, such as `FORMAT parquet`.
        tick: Told how far it is.

    Returns:
        The number of rows.
    """
    done = threading.Event()

    def watch() -> None:
        while not done.wait(TICK_S):
            tick(max(0.0, connection.query_progress()) / 100)

    connection.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        row = connection.execute(f"COPY ({query}) TO {sql_path(path)} ({options})").fetchone()
    finally:
        done.set()
        watching.join()
    return int(row[0]) if row else 0


def sql_path(path: Path) -> str:
    """Return a path as an SQL string."""
    return "'" + str(path).replace("'", "''") + "'"
