"""What students that were not trained on a label make of its text: probabilities out of fold.

Reports are cut into k parts by their text, so that equal texts stay together; each part is read by a bag-of-words
student (`linear`) of the others. It learns from a few hundred reports in seconds, and makes mistakes of other kinds
than those that a labeler repeats word for word, which a large student learns by heart.
"""

import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from teachback.distill.assemble import TrainingRow
from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen
from teachback.distill.lessons import write_lessons
from teachback.distill.linear import fit_linear
from teachback.distill.passages import Score, read_by_sentence
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.near_duplicates import normalise
from teachback.store.report import Report

__all__ = ["Part", "audited", "part_of", "probabilities_out_of_fold"]

Part = Callable[[Report], int]


def audited(row: TrainingRow) -> bool:
    """Say whether a row may be doubted: a teacher's label of a finding. What people decided stands."""
    return row.selected and row.source == "teacher" and row.label.task == "findings"


def part_of(parts: int, seed: int) -> Part:
    """Return what tells a report's part, the same for equal texts."""
    return lambda report: zlib.crc32(f"{seed} {normalise(report.text('full'))}".encode()) % parts


def probabilities_out_of_fold(
    rows: Sequence[TrainingRow], frozen: Frozen, settings: CampaignSettings
) -> NDArray[np.float32]:
    """Return (N, 4) probabilities of each row's statuses, read in its own scope; NaN where no student can tell.

    Args:
        rows: N rows; those that `audited` leaves out are taught but not read.
        frozen: The campaign's inputs.
        settings: Unit, weights and number of parts.
    """
    out = np.full((len(rows), len(STATUSES)), np.nan, np.float32)
    number_of = part_of(settings.noise_folds, settings.seed)
    parts = {report.report_id: number_of(report) for report in frozen.reports["train"]}
    taught = [row for row in rows if row.selected and row.label.task == "findings"]
    for number in range(settings.noise_folds):
        others = [row for row in taught if parts.get(row.label.report_id) != number]
        lessons = write_lessons(others, frozen, settings)
        if lessons and len(others) < len(taught):
            here = [i for i, row in enumerate(rows) if audited(row) and parts[row.label.report_id] == number]
            score = fit_linear(lessons, seed=settings.seed)
            out[here] = _read_rows([rows[i] for i in here], frozen, settings, score)
    return out


def _read_rows(
    rows: Sequence[TrainingRow], frozen: Frozen, settings: CampaignSettings, score: Score
) -> NDArray[np.float32]:
    """Return (N, 4) what a student makes of the findings and texts of N rows."""
    reports = {report.report_id: report for report in frozen.reports["train"]}
    scopes: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        if reports[row.label.report_id].text(row.label.scope):  # type: ignore[arg-type]
            scopes[row.label.scope].append(i)
    out = np.full((len(rows), len(STATUSES)), np.nan, np.float32)
    for scope, members in scopes.items():
        ids = sorted({rows[i].label.report_id for i in members})
        place = {report_id: n for n, report_id in enumerate(ids)}
        asked = [reports[report_id] for report_id in ids]
        if settings.unit == "sentence":
            read = read_by_sentence(asked, scope, score).probabilities  # type: ignore[arg-type]
        else:
            read = score([report.text(scope) for report in asked])  # type: ignore[arg-type]
        at = [(place[rows[i].label.report_id], FINDINGS.index(rows[i].label.target)) for i in members]
        out[members] = read[[n for n, _ in at], [f for _, f in at]]
    return out
