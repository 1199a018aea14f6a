"""Students of folds: what a report's teacher left unread may come back from a student that never saw that report.

Where the teacher has labelled all of `train` there is no pool to feed back from, but a teacher of impressions has not
read the findings sections. So the taught reports are cut into k folds by their text, equal texts together; for each a
student is trained from the base on the rows of the others alone, calibrated and certified on `calibration` by itself,
and what it is sure of where that report's teacher has not read may come back (cross-fitting).

What the teacher said stands: nothing comes back against its own label, and nothing that is decided by a section that it
read, where the student would only repeat, or overrule, the teacher that it learnt from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teachback.distill.assemble import TrainingRow
from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen, TaughtLabel
from teachback.distill.noise_folds import part_of
from teachback.distill.pseudo import Offer, budget_of, feed, summarise
from teachback.distill.round import Round, Scored
from teachback.distill.routing import Opinion, objections
from teachback.distill.select import Selection
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.report import Report, Scope

__all__ = ["AGAINST_OWN", "READ", "Fold", "cut_folds", "feed_fold", "summarise_fold", "vetoes_on_fold"]

READ = "refused: its teacher has read what decides it"
AGAINST_OWN = "refused: the report's teacher says otherwise"
_SILENT = "unmentioned"


@dataclass(frozen=True, slots=True)
class Fold:
    """A part of the taught reports, and all that the student that reads it is trained on.

    Attributes:
        name: Such as `fold 1 of 3`.
        frozen: The campaign's inputs as this student has them: the fold is its pool, and no label of it is known.
        rows: The rows of the other folds and of the pool.
    """

    name: str
    frozen: Frozen
    rows: tuple[TrainingRow, ...]


def cut_folds(rows: Sequence[TrainingRow], frozen: Frozen, settings: CampaignSettings) -> list[Fold]:
    """Cut the taught reports into folds; one that would leave nothing to train on is no fold.

    Args:
        rows: What the round before was trained on.
        frozen: The campaign's inputs.
        settings: `select.folds`; below two there are none.
    """
    k = settings.select.folds
    if k < 2:
        return []
    number_of = part_of(k, settings.seed)
    numbers = {report.report_id: number_of(report) for report in frozen.reports["train"]}
    folds = []
    for n in range(k):
        others = tuple(row for row in rows if numbers.get(row.label.report_id) != n)
        mine = tuple(report for report in frozen.reports["train"] if numbers[report.report_id] == n)
        if mine and any(row.selected for row in others):
            folds.append(Fold(f"fold {n + 1} of {k}", _without(mine, frozen), others))
    return folds


def feed_fold(
    student: Round,
    fold: Fold,
    frozen: Frozen,
    settings: CampaignSettings,
    truth: NDArray[np.int8],
    opinions: Sequence[Opinion] = (),
) -> tuple[Selection, list[TrainingRow]]:
    """Select pseudo-labels from what a fold's student says of its fold.

    Args:
        student: The student of the other folds.
        fold: The fold.
        frozen: The campaign's inputs, with what the teacher and people say of the fold.
        settings: Error, confidence, weights and caps.
        truth: (N, 13) curated codes of the calibration split.
        opinions: What teachers say of the fold (`fetch_opinions`); the sure ones keep contradictions out.

    Returns:
        The selection and a row for every prediction; those that are taken name their fold in the reason.
    """
    pool = student.scored["pool"]
    vetoes = vetoes_on_fold(pool, fold, frozen, settings, opinions)
    everyone = np.ones(len(pool.report_ids), bool)
    offer = Offer(everyone, vetoes, budget_of(frozen, settings, len(pool.report_ids)))
    selection, rows = feed(student, fold.frozen, settings, truth, offer)
    named = [
        replace(row, reason=f"{row.reason}, by the student without {fold.name}") if row.selected else row
        for row in rows
    ]
    return selection, named


def vetoes_on_fold(
    pool: Scored, fold: Fold, frozen: Frozen, settings: CampaignSettings, opinions: Sequence[Opinion]
) -> NDArray[np.object_]:
    """Return (N, 13) why predictions on a fold may not be fed back; empty text where there is no reason."""
    decided = [
        Opinion(c.report_id, c.target, c.status, None, "curated") for c in frozen.curated if c.task == "findings"
    ]
    vetoes = objections([*opinions, *decided], pool.report_ids, pool.codes, settings.select.objection)
    reports = {report.report_id: report for report in fold.frozen.reports["pool"]}
    said = {(label.report_id, label.target): label for label in frozen.taught if label.task == "findings"}
    for i, report_id in enumerate(pool.report_ids):
        evidence = pool.evidence(i)
        for f, finding in enumerate(FINDINGS):
            label = said.get((report_id, finding))
            if label is not None and not vetoes[i, f]:
                sections = {e.section for e in evidence[f]} or _sections(reports[report_id], settings.scope)
                status = STATUSES[pool.codes[i, f]]
                vetoes[i, f] = _veto(label, status, sections <= _sections(reports[report_id], label.scope))  # type: ignore[arg-type]
    return vetoes


def summarise_fold(selection: Selection, fold: Fold, pool: Scored, truth: NDArray[np.int8]) -> dict[str, Any]:
    """Say of one fold what came back, and how right it was where curated labels can tell; as `pseudo.summarise`."""
    told = summarise(selection, pool, truth)
    kept = ("predictions", "selected", "known", "wrong", "realised_error", "realised_interval", "certified_classes")
    return {"name": fold.name} | {key: told[key] for key in (*kept, "reports", "refused")}


def _veto(label: TaughtLabel, status: str, read: bool) -> str:
    if label.status not in (_SILENT, status):
        return f"{AGAINST_OWN} ({label.decided_by}: {label.status})"
    return READ if read else ""


def _sections(report: Report, scope: Scope) -> set[str]:
    return {section for section, _ in report.scoped(scope)}


def _without(mine: Sequence[Report], frozen: Frozen) -> Frozen:
    """Return a campaign's inputs without the labels of some reports, which are the pool; nothing is judged by it."""
    ids = {report.report_id for report in mine}
    others = tuple(report for report in frozen.reports["train"] if report.report_id not in ids)
    reports = {**frozen.reports, "train": (*others, *frozen.reports["pool"]), "pool": tuple(mine), "gate": ()}
    taught = tuple(label for label in frozen.taught if label.report_id not in ids)
    curated = tuple(label for label in frozen.curated if label.report_id not in ids)
    return replace(frozen, taught=taught, curated=curated, reports=reports)
