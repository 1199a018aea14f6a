"""What was run, with what, and how it ended: one `runs` row at the start, one `run_ends` row at the end.

A run without an end is one that was killed.
"""

import asyncio
import json
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from teachback.store.writer import Writer

__all__ = ["Run", "git_revision", "recorded_run"]


@dataclass
class Run:
    """One run while it runs.

    Attributes:
        run_id: Its id, unlike any other.
        begin: Hands its row to the writer, once; to be called before any row of the run, as rows are written in turn.
        summary: What it comes to; stored when it ends.
    """

    run_id: str
    begin: Callable[[], Future[dict[str, int]]]
    summary: dict[str, Any] = field(default_factory=dict)


@contextmanager
def recorded_run(
    writer: Writer, command: str, config: Mapping[str, Any], seed: int | None = None, *, later: bool = False
) -> Iterator[Run]:
    """Record a run around a block: `finished`, `interrupted` (Ctrl-C) or `failed`, and then the error goes on.

    Args:
        writer: The store's writer.
        command: What was asked for, such as `label`.
        config: Every setting that it ran with; JSON-serialisable, and without keys.
        seed: Its seed.
        later: Whether the block says when it begins, by `begin`.
    """
    run_id = f"run_{uuid.uuid4().hex[:24]}"

    @cache
    def begin() -> Future[dict[str, int]]:
        started = {
            "run_id": run_id,
            "command": command,
            "config": json.dumps(dict(config), sort_keys=True),
            "version": _package_version(),
            "git_revision": git_revision(),
            "seed": seed,
        }
        return writer.submit({"runs": [started]})

    run = Run(run_id, begin)
    if not later:
        begin()
    status = "failed"
    try:
        yield run
        begin().result()
        status = "finished"
    except (KeyboardInterrupt, asyncio.CancelledError):  # asyncio hands Ctrl-C on as a cancelled task
        status = "interrupted"
        raise
    except BaseException as error:
        run.summary.setdefault("error", str(error) or type(error).__name__)
        raise
    finally:
        begin()
        writer.write({"run_ends": [{"run_id": run.run_id, "status": status, "summary": json.dumps(run.summary)}]})


def git_revision(folder: Path | None = None) -> str | None:
    """Return the commit that the code was run from, `-dirty` added when it was changed since; None outside git.

    Args:
        folder: A folder of the checkout; this file's when not given.
    """
    where = folder or Path(__file__).resolve().parent
    command = ["git", "-C", str(where), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        described = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None if described.returncode == 0 else None


def _package_version() -> str | None:
    try:
        return version("teachback")
    except PackageNotFoundError:
        return None
