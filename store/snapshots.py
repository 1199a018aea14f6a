"""Snapshots: a copy of the store's file that is made while the store goes on being written.

After a checkpoint, what is committed goes into the write-ahead log, and the blocks that the file's header knows stay as
they are until the next checkpoint. So the file may be copied meanwhile, as long as no checkpoint happens: rows that are
too many for the log go into blocks that the header does not know, and are no part of the copy.

The copy is made by a child process: closing any descriptor of a file drops all of a process's POSIX locks on it, so
copying the open store inside the writing process would let a second writer in (seen on DuckDB 2.0.0).
"""

import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from teachback.errors import StoreError

__all__ = ["Copying", "collect_leftovers", "snapshot_path"]

_LEFTOVER = re.compile(r"\..+\.(\d+)(-\w+)?")


class Copying:
    """A snapshot on its way.

    Args:
        store: The store; checkpointed a moment ago, and not again until this is done.
    """

    def __init__(self, store: Path) -> None:
        self.target = snapshot_path(store)
        self.started = time.monotonic()
        self._moment = time.time()
        self._temporary = self.target.with_name(f".{self.target.name}.{os.getpid()}")
        with suppress(FileNotFoundError):
            self._temporary.unlink()
        self._child = subprocess.Popen(
            _command(store, self._temporary), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    @property
    def done(self) -> bool:
        """Whether the copy has ended, well or not."""
        return self._child.poll() is not None

    def publish(self) -> None:
        """Wait for the copy, and put it in the place of the snapshot before it.

        Raises:
            StoreError: It could not be made; the snapshot before it stays.
        """
        _, said = self._child.communicate()
        try:
            if self._child.returncode:
                raise OSError(said.strip() or f"the copy ended with {self._child.returncode}")
            # A snapshot is as old as what it holds, however long the copy took.
            os.utime(self._temporary, (self._moment, self._moment))
            os.replace(self._temporary, self.target)
        except OSError as error:
            with suppress(OSError):
                self._temporary.unlink()
            raise StoreError(
                f"cannot publish {self.target}: {error}", "free some disk space and run it again"
            ) from error


def snapshot_path(store: Path | str) -> Path:
    """Return where the store's published snapshot lies: `labels.duckdb` -> `labels.snapshot.duckdb`."""
    path = Path(store)
    return path.with_name(f"{path.stem}.snapshot{path.suffix}")


def collect_leftovers(store: Path) -> int:
    """Remove what processes that are gone have left of snapshots; return how many files.

    A snapshot that was replaced is gone by itself once its last reader closes it.
    """
    target = snapshot_path(store)
    removed = 0
    for path in target.parent.glob(f".{target.name}.*"):
        match = _LEFTOVER.fullmatch(path.name)
        if match and not _alive(int(match[1])):
            with suppress(OSError):
                path.unlink()
                removed += 1
    return removed


def _alive(process: int) -> bool:
    if process == os.getpid():
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it is somebody else's
    return True


def _command(source: Path, target: Path) -> list[str]:
    if shutil.which("cp"):
        # Where the filesystem can share blocks between files, the copy costs nothing.
        shared = ["--reflink=auto"] if sys.platform == "linux" else []
        return ["cp", *shared, "--", str(source), str(target)]
    # Windows: slower, the same effect.
    return [sys.executable, "-c", "import shutil, sys; shutil.copyfile(*sys.argv[1:])", str(source), str(target)]
