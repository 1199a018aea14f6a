"""Teacher labels that look wrong to students that were not trained on them, left out: `noise: prune`.

Suspected is what confident learning suspects (`noise_confident`). Every row stays in `training_rows`, with its reason.

Off unless asked for: it is not shown to help any student that is taught (docs/decisions/0014), for a suspicion falls
on rare wording as often as on mistakes. It finds mistakes all the same where labelers err at random, which is what
`teachback audit suspects` lists for people.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from teachback.distill.assemble import TrainingRow
from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen
from teachback.distill.noise_confident import audit
from teachback.distill.noise_folds import audited, probabilities_out_of_fold
from teachback.store.label import FINDINGS, STATUSES

__all__ = ["SUSPECTED", "Doubt", "clean", "doubts", "prune"]

SUSPECTED = "suspected by confident learning"


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a label is suspected.

    Attributes:
        suggested: The status that it more likely is.
        given: Probability of the status that it gives.
        other: Probability of the suggested one.
    """

    suggested: str
    given: float
    other: float


def clean(rows: Sequence[TrainingRow], frozen: Frozen, settings: CampaignSettings) -> list[TrainingRow]:
    """Leave out the teacher's labels that are most likely wrong.

    Args:
        rows: A round's rows without pseudo-labels.
        frozen: The campaign's inputs.
        settings: Unit and `noise_folds`.
    """
    return prune(rows, doubts(rows, probabilities_out_of_fold(rows, frozen, settings)))


def doubts(rows: Sequence[TrainingRow], probabilities: NDArray[np.floating]) -> list[Doubt | None]:
    """Return why each row is suspected; None where it is not.

    Args:
        rows: N rows.
        probabilities: (N, 4) by students that were not trained on them, NaN where none can tell. A calibrated
            champion's do as well, of reports that it was not trained on.
    """
    found: list[Doubt | None] = [None] * len(rows)
    for finding in FINDINGS:
        members = [
            i
            for i, row in enumerate(rows)
            if audited(row) and row.label.target == finding and np.isfinite(probabilities[i]).all()
        ]
        if not members:
            continue
        given = np.array([STATUSES.index(rows[i].label.status) for i in members], dtype=np.int64)
        suggested = audit(given, probabilities[members]).suggested
        for n in np.flatnonzero(suggested >= 0):
            p, other = probabilities[members[n]], int(suggested[n])
            found[members[n]] = Doubt(STATUSES[other], float(p[given[n]]), float(p[other]))
    return found


def prune(rows: Sequence[TrainingRow], suspected: Sequence[Doubt | None]) -> list[TrainingRow]:
    """Refuse suspected rows, with their reason."""
    return [
        row if doubt is None else replace(row, selected=False, weight=0.0, reason=f"refused: {_why(row, doubt)}")
        for row, doubt in zip(rows, suspected, strict=True)
    ]


def _why(row: TrainingRow, doubt: Doubt) -> str:
    return f"{SUSPECTED} ({doubt.suggested} {doubt.other:.2f}, {row.label.status} {doubt.given:.2f})"
