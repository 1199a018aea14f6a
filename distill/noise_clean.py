"""What becomes of teacher labels that look wrong to students that were not trained on them.

`prune` leaves suspects out, `downweight` lets each count as much as a student still believes it, and `soften` shares
its target between the status given and the one suggested, as the student believes them (bootstrapping: Reed et al.
2014, arXiv 1412.6596, of suspects alone); all three suspect what confident learning does (`noise_confident`). By
sentences a suspected silence is left out instead: no words are quoted that could be taught otherwise.

`coteach` is after Han et al. 2018 (arXiv 1804.06872): two students by seed each teach the other the labels of small
loss. Departures: they exchange mini-batches in one training; ours, each of one half of the reports, exchange once, and
the students proper are then trained on what both passed. How many labels of a finding are kept is not a schedule but
the share that confident learning takes for right.

Every row stays in `training_rows`, those that were left out or count less with their reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from teachback.distill.assemble import TrainingRow
from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen
from teachback.distill.noise_confident import Audit, audit
from teachback.distill.noise_folds import audited, probabilities_out_of_fold
from teachback.distill.noise_votes import Share
from teachback.store.label import FINDINGS, STATUSES

__all__ = ["LARGE_LOSS", "SUSPECTED", "Doubt", "clean", "doubts", "treat"]

SUSPECTED = "suspected by confident learning"
LARGE_LOSS = "refused: large loss to the student of the other half"


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
    """Leave out, or weigh less, the teacher's labels that are most likely wrong.

    Args:
        rows: A round's rows without pseudo-labels.
        frozen: The campaign's inputs.
        settings: `noise`, `noise_folds`.
    """
    if settings.noise == "none":
        return list(rows)
    if settings.noise == "coteach":
        return _coteach(rows, frozen, settings)
    return treat(rows, doubts(rows, probabilities_out_of_fold(rows, frozen, settings)), settings)


def doubts(rows: Sequence[TrainingRow], probabilities: NDArray[np.floating]) -> list[Doubt | None]:
    """Return why each row is suspected; None where it is not.

    Args:
        rows: N rows.
        probabilities: (N, 4) by students that were not trained on them, NaN where none can tell. A calibrated
            champion's do as well, of reports that it was not trained on.
    """
    found: list[Doubt | None] = [None] * len(rows)
    for members, given, audit_ in _by_finding(rows, probabilities):
        for n, i in enumerate(members):
            if audit_.suggested[n] >= 0:
                p = probabilities[i]
                other = int(audit_.suggested[n])
                found[i] = Doubt(STATUSES[other], float(p[given[n]]), float(p[other]))
    return found


def treat(
    rows: Sequence[TrainingRow], suspected: Sequence[Doubt | None], settings: CampaignSettings
) -> list[TrainingRow]:
    """Prune, downweight or soften suspected rows, with their reason."""
    return [
        row if doubt is None else _treated(row, doubt, settings) for row, doubt in zip(rows, suspected, strict=True)
    ]


def _treated(row: TrainingRow, doubt: Doubt, settings: CampaignSettings) -> TrainingRow:
    why = f"{SUSPECTED} ({doubt.suggested} {doubt.other:.2f}, {row.label.status} {doubt.given:.2f})"
    label, evidence = row.label, row.label.evidence
    if settings.noise == "soften" and (evidence or settings.unit == "report"):
        sure = doubt.given / (doubt.given + doubt.other)
        shares = Share(label.status, sure, evidence), Share(doubt.suggested, 1 - sure, evidence)
        return replace(row, label=replace(label, shares=shares), reason=f"{row.reason}; shared: {why}")
    if settings.noise in ("prune", "soften"):
        return replace(row, selected=False, weight=0.0, reason=f"refused: {why}")
    return replace(row, weight=row.weight * doubt.given, reason=f"{row.reason}; counts less: {why}")


def _coteach(rows: Sequence[TrainingRow], frozen: Frozen, settings: CampaignSettings) -> list[TrainingRow]:
    halves = settings.model_copy(update={"noise_folds": 2})
    probabilities = probabilities_out_of_fold(rows, frozen, halves)
    out = list(rows)
    for members, given, audit_ in _by_finding(rows, probabilities):
        losses = -np.log(probabilities[members, given].clip(1e-6))
        most = round(audit_.noise * len(members))
        for n in np.argsort(-losses, kind="stable")[:most]:
            row = rows[members[n]]
            out[members[n]] = replace(
                row, selected=False, weight=0.0, reason=f"{LARGE_LOSS} ({losses[n]:.2f} for {row.label.status})"
            )
    return out


def _by_finding(
    rows: Sequence[TrainingRow], probabilities: NDArray[np.floating]
) -> list[tuple[list[int], NDArray[np.int64], Audit]]:
    """Audit finding by finding; return the rows of each with their given statuses."""
    found = []
    for finding in FINDINGS:
        members = [
            i
            for i, row in enumerate(rows)
            if audited(row) and row.label.target == finding and np.isfinite(probabilities[i]).all()
        ]
        if members:
            given = np.array([STATUSES.index(rows[i].label.status) for i in members], dtype=np.int64)
            found.append((members, given, audit(given, probabilities[members])))
    return found
