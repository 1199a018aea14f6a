"""From a champion's selection to the rows of the next round, and what those rows are worth where truth is known.

No report is pseudo-labelled by a student that trained on it. The pool is what the teacher has not labelled; each
feedback round has a part of it of its own, in which reports with one text stay together; and of a text that is trained
on already, nothing is fed back. (Of a patient whose other report is trained on, something may be.)
"""

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teachback.distill.assemble import TrainingRow
from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen, TaughtLabel
from teachback.distill.labeler import labels_of
from teachback.distill.round import Round, Scored
from teachback.distill.routing import Opinion, objections
from teachback.distill.select import Certificate, Selection, certify, class_shares, select, wrong
from teachback.store.label import FINDINGS, STATUSES, Label
from teachback.store.near_duplicates import normalise
from teachback.store.quality.statuses import cluster_codes
from teachback.store.report import Report
from teachback.store.review.intervals import binomial_interval

__all__ = ["UNTAUGHT", "Offer", "budget_of", "feed", "feed_back", "student_labels", "summarise", "vetoes_on"]

UNTAUGHT = "refused: silence, of a report of which no sentence is taught"
KNOWN_TEXT = "refused: the student trained on a report with this text"
_Certificates = dict[tuple[int, int], Certificate]
_NUMBERS = re.compile(r"\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Offer:
    """What a student may be asked to label.

    Attributes:
        eligible: (N,) which of the pool's reports; the others are kept for another round.
        vetoes: (N, 13) why a prediction may not be fed back, however sure; empty text where there is no reason.
        budget: The most labels to take.
    """

    eligible: NDArray[np.bool_]
    vetoes: NDArray[np.object_]
    budget: int


def feed_back(
    champion: Round,
    frozen: Frozen,
    settings: CampaignSettings,
    truth: NDArray[np.int8],
    number: int,
    opinions: Sequence[Opinion] = (),
) -> tuple[Selection, list[TrainingRow]]:
    """Select pseudo-labels from the champion's predictions on the pool.

    Args:
        champion: The round whose predictions may come back; it has never trained on its part of the pool.
        frozen: The campaign's inputs.
        settings: Error, confidence, weights and caps.
        truth: (N, 13) curated codes of the calibration split.
        number: The round to feed. Each feedback round has a part of the pool of its own, so that no champion labels
            reports that it trained on.
        opinions: What other teachers say of the pool (`fetch_opinions`); the sure ones keep contradictions out.

    Returns:
        The selection and a row for every prediction, refused ones with their reason.
    """
    pool = champion.scored["pool"]
    eligible = _part(frozen, pool, number, max(1, settings.rounds - 1))
    budget = budget_of(frozen, settings, len(pool.report_ids))
    return feed(champion, frozen, settings, truth, Offer(eligible, vetoes_on(frozen, pool, opinions, settings), budget))


def feed(
    student: Round, frozen: Frozen, settings: CampaignSettings, truth: NDArray[np.int8], offer: Offer
) -> tuple[Selection, list[TrainingRow]]:
    """Select from a student's predictions on its pool what the offer leaves; as `feed_back`."""
    calibration, pool = student.scored["calibration"], student.scored["pool"]
    clusters = cluster_codes(_together(frozen.reports["calibration"], calibration.report_ids))
    certificates = certify(calibration.probabilities, calibration.codes, truth, settings.select, clusters)
    prior = _prior([label for label in frozen.taught if label.task == "findings"], truth)
    choose = _select_by_sentence if settings.unit == "sentence" else _select_by_report
    selection = choose(pool, certificates, prior, offer)
    rows = []
    for label, (i, f) in zip(student_labels(student, pool), np.ndindex(pool.codes.shape), strict=True):
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
    return replace(selection, promise=settings.select), rows


def _select_by_report(pool: Scored, certificates: _Certificates, prior: NDArray[np.float64], offer: Offer) -> Selection:
    return select(pool.probabilities, pool.codes, certificates, prior, offer.budget, offer.eligible, offer.vetoes)


def _select_by_sentence(
    pool: Scored, certificates: _Certificates, prior: NDArray[np.float64], offer: Offer
) -> Selection:
    """Select what sentences say, and of their reports what is certainly unmentioned, which is taught beside it.

    Silence has no sentence of its own, so it takes nothing of the budget, and none of it comes back alone.
    """
    silent = pool.codes == STATUSES.index("unmentioned")
    free = offer.vetoes == ""
    given = pool.probabilities, pool.codes, certificates, prior
    said = select(*given, offer.budget, offer.eligible, np.where(silent & free, UNTAUGHT, offer.vetoes))
    told = np.asarray(said.selected.any(axis=1), np.bool_)
    beside = select(*given, silent.size, told, np.where(silent, offer.vetoes, UNTAUGHT))
    here = silent & told[:, None]
    reasons = np.where(here, beside.reasons, said.reasons)
    return replace(said, selected=said.selected | (here & beside.selected), reasons=reasons)


def budget_of(frozen: Frozen, settings: CampaignSettings, offered: int) -> int:
    """Return the most labels to take from reports: of a round's share, theirs among all that are offered."""
    findings = sum(label.task == "findings" for label in frozen.taught)
    taught = len(frozen.reports["train"]) if settings.select.folds > 1 else 0
    return int(settings.select.share * findings * offered / max(1, len(frozen.reports["pool"]) + taught))


def student_labels(round_: Round, scored: Scored) -> list[Label]:
    """Return a round's predictions on a split as labels, 13 for each report, in the order of its reports."""
    by_report = labels_of(round_.labeler.labeler_id, scored, round_.round_id)
    return [label for labels in by_report for label in labels]


def summarise(
    selection: Selection,
    pool: Scored,
    truth: NDArray[np.int8],
    held_out: tuple[Scored, NDArray[np.int8]] | None = None,
) -> dict[str, Any]:
    """Say what was fed back, why the rest was not, and how right it was where curated labels can tell.

    Args:
        selection: From `feed_back`.
        pool: The champion's predictions.
        truth: (N, 13) curated codes of the pool's reports, -1 where unknown. They are read for this table alone.
        held_out: The champion's predictions on curated reports that neither trained nor certified it, with their
            (N, 13) codes: a pool often has no curated label at all.

    Returns:
        Counts in all, by reason and by class; the realised error with its exact 95 % interval (of independent
        predictions) beside what was promised, and the same of what the certificates let through of `held_out`.
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
                "calibration_clusters": certificate.clusters,
                "together_with": [finding for finding in certificate.group if finding != certificate.finding],
                "candidates": int(chosen.sum()),
                "selected": int((selection.selected[:, f] & chosen).sum()),
                "known": int((known[:, f] & chosen).sum()),
                "wrong": int((mistakes[:, f] & chosen).sum()),
            }
        )
    refused = selection.reasons[~selection.selected]
    promise = selection.promise
    reasons = Counter(_NUMBERS.sub("#", str(reason).split("(")[0].strip()) for reason in refused)
    return {
        "predictions": int(selection.selected.size),
        "selected": int(selection.selected.sum()),
        **_realised(known, mistakes),
        "held_out": held_out and _held_out(selection, *held_out),
        "promise": promise and promise.model_dump(include={"error", "confidence", "promise", "rare"}),
        "certified_classes": sum(certificate.threshold is not None for certificate in selection.certificates),
        "reports": int(selection.selected.any(axis=1).sum()),
        "refused": dict(reasons.most_common()),
        "classes": classes,
    }


def _realised(known: NDArray[np.bool_], mistakes: NDArray[np.bool_]) -> dict[str, Any]:
    """Return how many of the labels taken are known, how many of those are wrong, and what error that is."""
    share = binomial_interval(int((mistakes & known).sum()), int(known.sum()))
    return {
        "known": int(known.sum()),
        "wrong": int((mistakes & known).sum()),
        "realised_error": share.value if known.any() else None,
        "realised_interval": [share.low, share.high] if known.any() else None,
    }


def _held_out(selection: Selection, scored: Scored, truth: NDArray[np.int8]) -> dict[str, Any]:
    """Return the error of all that the certificates let through, without caps or budget."""
    certificates = {(FINDINGS.index(c.finding), STATUSES.index(c.status)): c for c in selection.certificates}
    passing = select(
        scored.probabilities, scored.codes, certificates, np.ones((len(FINDINGS), len(STATUSES))), scored.codes.size
    )
    return {"reports": len(truth)} | _realised(passing.selected & (truth >= 0), wrong(scored.codes, truth))


def _prior(findings: Iterable[TaughtLabel], truth: NDArray[np.int8]) -> NDArray[np.float64]:
    """Return (13, 4), how large each class may be among what is fed back."""
    counts = Counter((label.target, label.status) for label in findings)
    prior = np.array([[counts[f, s] for s in STATUSES] for f in FINDINGS], float)
    return class_shares(prior / np.maximum(prior.sum(axis=1, keepdims=True), 1), truth)


def _part(frozen: Frozen, pool: Scored, number: int, parts: int) -> NDArray[np.bool_]:
    """Return (N,) which reports of the pool are this round's."""
    texts = {report.report_id: _text(report) for report in frozen.reports["pool"]}
    drawn = (zlib.crc32(texts[report_id].encode()) for report_id in pool.report_ids)
    return np.array([number_drawn % parts == (number - 2) % parts for number_drawn in drawn], bool)


def vetoes_on(
    frozen: Frozen, pool: Scored, opinions: Sequence[Opinion], settings: CampaignSettings
) -> NDArray[np.object_]:
    """Return (N, 13) why predictions may not be fed back, however sure: others object, or the text is known."""
    decided = [
        Opinion(c.report_id, c.target, c.status, None, "curated") for c in frozen.curated if c.task == "findings"
    ]
    vetoes = objections([*opinions, *decided], pool.report_ids, pool.codes, settings.select.objection)
    texts = {report.report_id: _text(report) for split in ("train", "pool") for report in frozen.reports[split]}
    trained_on = {texts[label.report_id] for label in (*frozen.taught, *frozen.curated) if label.report_id in texts}
    known = np.array([texts[report_id] in trained_on for report_id in pool.report_ids], bool)
    vetoes[known[:, None] & (vetoes == "")] = KNOWN_TEXT
    return vetoes


def _together(reports: Iterable[Report], report_ids: Sequence[str]) -> list[str]:
    """Name the patient of each report, or its text where no patients are known."""
    names = {r.report_id: f"{r.corpus} {r.subject_id}" if r.subject_id else _text(r) for r in reports}
    return [names[report_id] for report_id in report_ids]


def _text(report: Report) -> str:
    return normalise(report.text("full"))
