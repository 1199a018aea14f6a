"""The reports that prompts are compared on: some of a split's curated ones, in an order that the seed decides."""

import hashlib
from dataclasses import dataclass

import duckdb
import numpy as np

from teachback.errors import SettingError, StoreError
from teachback.store.quality.statuses import StatusMatrix, fetch_curated
from teachback.store.report import Report, Scope
from teachback.store.rows import fetch_reports

__all__ = ["Sample", "check_split", "draw_sample"]

DEVELOPMENT = ("calibration", "train")


@dataclass(frozen=True)
class Sample:
    """Some curated reports of a split.

    Attributes:
        split: The split.
        asked: How many were asked for.
        available: How many there are.
        reports: The reports, in the order of their ids.
        truth: Their curated statuses, in the same order.
        unreadable: Curated reports that were left out because they have no section of the scope.
    """

    split: str
    asked: int
    available: int
    reports: tuple[Report, ...]
    truth: StatusMatrix
    unreadable: int


def check_split(split: str | None, final: bool) -> str:
    """Return the split to compare on: `calibration` unless told otherwise, `test` for a final comparison.

    Raises:
        SettingError: The split is kept for something else.
    """
    if final:
        if split not in (None, "test"):
            raise SettingError(f"--final opens test, and --split says {split}", "leave out one of the two")
        return "test"
    if split in (None, *DEVELOPMENT):
        return split or DEVELOPMENT[0]
    if split == "test":
        remedy = "choose on calibration, then open test once: leave out --split and add --final"
        raise SettingError("test is kept until a prompt is chosen", remedy)
    if split == "gate":
        remedy = "use calibration, which is the default"
        raise SettingError("gate is kept for deciding whether a round's student is promoted", remedy)
    raise SettingError(f"--split {split} is not known", f"choose one of {', '.join(DEVELOPMENT)}")


def draw_sample(
    connection: duckdb.DuckDBPyConnection, split: str, size: int, *, scope: Scope, seed: int, corpus: str | None = None
) -> Sample:
    """Draw curated reports of a split; a larger sample of the same seed holds the smaller one.

    Args:
        connection: A store or a snapshot.
        split: The split.
        size: How many reports; all, where there are fewer.
        scope: What the labelers read; a report without such a section is left out.
        seed: Decides which ones.
        corpus: Only reports of this corpus.

    Raises:
        StoreError: There is none.
    """
    truth = fetch_curated(connection, split, corpus)
    wanted = "report_id IN (SELECT unnest(?::VARCHAR[]))"
    found = {report.report_id: report for report in fetch_reports(connection, wanted, [list(truth.report_ids)])}
    readable = [report_id for report_id in truth.report_ids if found[report_id].scoped(scope)]
    if not readable:
        where = f"{split}{f' of corpus {corpus}' if corpus else ''}"
        raise StoreError(
            f"no report of {where} has curated labels", "import a corpus that has some: `teachback import --help`"
        )
    chosen = set(sorted(readable, key=lambda report_id: _place(seed, report_id))[:size])
    drawn = truth.take(np.array([report_id in chosen for report_id in truth.report_ids], dtype=bool))
    reports = tuple(found[report_id] for report_id in drawn.report_ids)
    return Sample(split, size, len(readable), reports, drawn, len(truth) - len(readable))


def _place(seed: int, report_id: str) -> str:
    return hashlib.md5(f"{seed}:{report_id}".encode(), usedforsecurity=False).hexdigest()
