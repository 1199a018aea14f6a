"""From a champion's selection to the rows of the next round, and what those rows are worth where truth is known."""

import re
import zlib
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teachback.distill.assemble import TrainingRow
from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen, TaughtLabel
from teachback.distill.round import Round, Scored
from teachback.distill.select import Selection, certify, select, wrong
from teachback.store.label import FINDINGS, STATUSES, Label

__all__ = ["feed_back", "student_labels", "summarise"]

_NUMBERS = re.compile(r"\d+(\.\d+)?")


def feed_back(
    champion: Round, frozen: Frozen, settings: CampaignSettings, truth: NDArray[np.int8], number: int
) -> tuple[Selection, list[TrainingRow]]:
    """Select pseudo-labels from the champion's predictions on the pool.

    Args:
        champion: The round whose predictions may come back; it has never trained on the pool.
        frozen: The campaign's inputs.
        settings: Error, confidence, weights and caps.
        truth: (N, 13) curated codes of the calibration split.
        number: The round to feed. Each feedback round has a part of the pool of its own, so that no champion labels
            reports that it trained on.

    Returns:
        The selection and a row for every prediction, refused ones with their reason.
    """
    calibration, pool = champion.scored["calibration"], champion.scored["pool"]
    certificates = certify(calibration.probabilities, calibration.codes, truth, settings.select)
    findings = [label for label in frozen.taught if label.task == "findings"]
    counts = Counter((label.target, label.status) for label in findings)
    prior = np.array([[counts[f, s] for s in STATUSES] for f in FINDINGS], float)
    prior /= np.maximum(prior.sum(axis=1, keepdims=True), 1)
    budget = int(settings.select.share * len(findings))
    parts = max(1, settings.rounds - 1)
    mine = np.array([zlib.crc32(r.encode()) % parts == (number - 2) % parts for r in pool.report_ids], bool)
    selection = select(pool.probabilities, pool.codes, certificates, prior, budget, mine)
    rows = []
    for label, (i, f) in zip(student_labels(champion, pool, settings), np.ndindex(pool.codes.shape), strict=True):
        taken = bool(selection.selected[i, f])
        weight = settings.select.weight * float(label.confidence or 0.0) if taken else 0.0
        taught = TaughtLabel(
            label.report_id,
            label.task,
            label.target,
            label.status,
            None,
            label.scope,
            label.label_id,
            "student",
            tuple((e.section, e.start, e.end) for e in label.evidence),
        )
        rows.append(TrainingRow(taught, "pseudo", weight, str(selection.reasons[i, f]), taken))
    return selection, rows


def student_labels(round_: Round, scored: Scored, settings: CampaignSettings) -> list[Label]:
    """Return a round's predictions on a split as labels, 13 for each report, in the order of its reports."""
    labeler_id = round_.labeler.labeler_id
    return [
        Label(
            report_id=report_id,
            task="findings",
            target=finding,
            status=STATUSES[scored.codes[i, f]],
            labeler_id=labeler_id,
            scope=settings.scope,
            confidence=round(min(1.0, float(scored.probabilities[i, f, scored.codes[i, f]])), 6),
            confidence_source="logprob",
            confidence_note="calibrated",
            probs=dict(zip(STATUSES, map(float, scored.probabilities[i, f]), strict=True)),
            evidence=evidence,
            round_id=round_.round_id,
        )
        for i, report_id in enumerate(scored.report_ids)
        for f, (finding, evidence) in enumerate(zip(FINDINGS, scored.evidence(i), strict=True))
    ]


def summarise(selection: Selection, pool: Scored, truth: NDArray[np.int8]) -> dict[str, Any]:
    """Say what was fed back, why the rest was not, and how right it was where curated labels can tell.

    Args:
        selection: From `feed_back`.
        pool: The champion's predictions.
        truth: (N, 13) curated codes of the pool's reports, -1 where unknown. They are read for this table alone.
    """
    known = selection.selected & (truth >= 0)
    mistakes = wrong(pool.codes, truth) & known
    classes = []
    for certificate in selection.certificates:
        f, s = FINDINGS.index(certificate.finding), STATUSES.index(certificate.status)
        chosen = pool.codes[:, f] == s
        classes.append(
            {
                "finding": certificate.finding,
                "status": certificate.status,
                "threshold": certificate.threshold,
                "calibration_accepted": certificate.accepted,
                "calibration_errors": certificate.errors,
                "candidates": int(chosen.sum()),
                "selected": int((selection.selected[:, f] & chosen).sum()),
                "known": int((known[:, f] & chosen).sum()),
                "wrong": int((mistakes[:, f] & chosen).sum()),
            }
        )
    refused = selection.reasons[~selection.selected]
    reasons = Counter(_NUMBERS.sub("#", str(reason).split("(")[0].strip()) for reason in refused)
    return {
        "predictions": int(selection.selected.size),
        "selected": int(selection.selected.sum()),
        "known": int(known.sum()),
        "wrong": int(mistakes.sum()),
        "realised_error": float(mistakes.sum() / known.sum()) if known.any() else None,
        "reports": int(selection.selected.any(axis=1).sum()),
        "refused": dict(reasons.most_common()),
        "classes": classes,
    }
