"""What a labeler's silence is worth in sections that it did not read: `unmentioned` as positive-unlabelled.

A labeler of impressions that gives no status to a finding has said nothing of the findings section. With `scope` each
label is taught on the text of its own scope, and nothing is said of the rest. The other three teach labels on all that
the student reads, and differ in what silence is there:

`negative`: unmentioned, as if all had been read. `unlabelled`: nothing; a silent label of a whole report is refused,
and by sentences this is what `scope` does. `pu`: unlabelled text is of each status in part (Elkan & Noto 2008,
doi:10.1145/1401890.1401920). A student that was taught silence as unmentioned gives g_s, how likely a text is
*labelled* s. With c_s, the mean of g_s where s was given, an unlabelled text is s with weight
(1 - c_s) / c_s * g_s / g_unmentioned, and unmentioned with the rest. g is by students that were not trained on the
report, so nothing confirms itself. Unlike nnPU (Kiryo et al. 2017, arXiv 1703.00593) this needs no class prior from
elsewhere and no negative weights.

What is assumed: that which section a status stands in does not hang on its words. An impression repeats what matters,
so it is only roughly so, and c_s is of each finding and status, of all findings where it was given too rarely.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teachback.distill.assemble import TrainingRow
from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen
from teachback.distill.noise_confident import FEWEST
from teachback.distill.noise_folds import audited, probabilities_out_of_fold, read_out_of_fold
from teachback.distill.noise_votes import LEAST, Share
from teachback.distill.passages import Passage, passages_of, touched
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.report import Report

__all__ = ["UNREAD", "chances", "read_everywhere", "weigh"]

UNREAD = "refused: silence of a labeler that did not read all of the text"
_SILENT = STATUSES.index("unmentioned")


def read_everywhere(rows: Sequence[TrainingRow], frozen: Frozen, settings: CampaignSettings) -> list[TrainingRow]:
    """Teach the teacher's labels on all that the student reads, as `settings.unmentioned` says.

    Args:
        rows: A round's rows without pseudo-labels.
        frozen: The campaign's inputs.
        settings: `unmentioned`, `unit`, `scope`.
    """
    if settings.unmentioned == "scope" or (settings.unmentioned == "unlabelled" and settings.unit == "sentence"):
        return list(rows)
    reports = {report.report_id: report for report in frozen.reports["train"]}
    short = [audited(row) and bool(unread(reports[row.label.report_id], row, settings)) for row in rows]
    wide = [_widen(row, settings) if part else row for row, part in zip(rows, short, strict=True)]
    if settings.unmentioned == "negative":
        return wide
    silent = [part and row.label.status == "unmentioned" for row, part in zip(rows, short, strict=True)]
    if settings.unmentioned == "unlabelled":
        return [_refused(row) if here else row for row, here in zip(wide, silent, strict=True)]
    if settings.unit == "report":
        return _share_reports(wide, silent, frozen, settings)
    return _share_sentences(rows, wide, short, frozen, settings)


def unread(report: Report, row: TrainingRow, settings: CampaignSettings) -> list[Passage]:
    """Return the sentences that the student reads and the label's labeler did not."""
    read = {section for section, _ in report.scoped(row.label.scope)}  # type: ignore[arg-type]
    return [passage for passage in passages_of(report, settings.scope) if passage.section not in read]


def chances(given: NDArray[np.int64], findings: NDArray[np.int64], labelled: NDArray[Any]) -> NDArray[np.float64]:
    """Return (13, 4) c, how likely a text of a status is labelled so.

    Args:
        given: (N,) statuses of labelled texts.
        findings: (N,) their findings.
        labelled: (N, 4) how likely they are labelled with each status, by students that were not trained on them.
    """
    out = np.ones((len(FINDINGS), len(STATUSES)))
    for s in range(len(STATUSES)):
        of_status = given == s
        common = float(labelled[of_status, s].mean()) if of_status.any() else 1.0
        for f in range(len(FINDINGS)):
            here = of_status & (findings == f)
            out[f, s] = float(labelled[here, s].mean()) if here.sum() >= FEWEST else common
    return out.clip(0.05, 1.0)


def weigh(labelled: NDArray[Any], chance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (..., 4) what unlabelled texts are, from how likely each is labelled; sums to 1.

    Args:
        labelled: (..., 4) probabilities of being labelled with each status.
        chance: (..., 4) or what broadcasts to it, from `chances`.
    """
    silent = np.maximum(labelled[..., _SILENT : _SILENT + 1], 1e-6)
    weights: NDArray[np.float64] = (1 - chance) / chance * labelled / silent
    weights[..., _SILENT] = 0.0
    total = weights.sum(axis=-1, keepdims=True)
    weights = weights / np.maximum(total, 1.0)
    weights[weights < LEAST] = 0.0
    weights[..., _SILENT] = 1 - weights.sum(axis=-1)
    return weights


def _widen(row: TrainingRow, settings: CampaignSettings) -> TrainingRow:
    return replace(
        row,
        label=replace(row.label, scope=settings.scope),
        reason=f"{row.reason}; from {row.label.scope}, on all that the student reads",
    )


def _refused(row: TrainingRow) -> TrainingRow:
    return replace(row, selected=False, weight=0.0, reason=UNREAD)


def _share_reports(
    rows: Sequence[TrainingRow], silent: Sequence[bool], frozen: Frozen, settings: CampaignSettings
) -> list[TrainingRow]:
    """Give each silent label of a whole report the shares of what its text may be."""
    labelled = probabilities_out_of_fold(rows, frozen, settings)
    told = [i for i, row in enumerate(rows) if audited(row) and not silent[i] and row.label.status != "unmentioned"]
    told = [i for i in told if np.isfinite(labelled[i]).all()]
    chance = chances(
        np.array([STATUSES.index(rows[i].label.status) for i in told], np.int64),
        np.array([FINDINGS.index(rows[i].label.target) for i in told], np.int64),
        labelled[told],
    )
    out = list(rows)
    for i in (i for i, here in enumerate(silent) if here and np.isfinite(labelled[i]).all()):
        shares = weigh(labelled[i].astype(float), chance[FINDINGS.index(rows[i].label.target)])
        out[i] = _shared(rows[i], [Share(s, float(p)) for s, p in zip(STATUSES, shares, strict=True) if p > 0])
    return out


def _share_sentences(
    rows: Sequence[TrainingRow],
    wide: Sequence[TrainingRow],
    short: Sequence[bool],
    frozen: Frozen,
    settings: CampaignSettings,
) -> list[TrainingRow]:
    """Give each label the shares of what the sentences that its labeler did not read may say of its finding."""
    reports = {report.report_id: report for report in frozen.reports["train"]}
    told: list[tuple[int, int, NDArray[Any]]] = []
    unsaid: list[tuple[int, list[Passage], NDArray[Any]]] = []
    for members, score in read_out_of_fold(wide, frozen, settings):
        texts = sorted({p.text for r in members for p in passages_of(reports[r], settings.scope)})
        read = dict(zip(texts, score(texts), strict=True))
        for i, row in enumerate(rows):
            if row.label.report_id not in members or not audited(row):
                continue
            f, report = FINDINGS.index(row.label.target), reports[row.label.report_id]
            passages = passages_of(report, row.label.scope)  # type: ignore[arg-type]
            status = STATUSES.index(row.label.status)
            told += [
                (f, status, read[t][f])
                for n in touched(passages, row.label.evidence)
                if (t := passages[n].text) in read
            ]
            if short[i]:
                others = unread(report, row, settings)
                unsaid.append((i, others, np.array([read[p.text][f] for p in others], float)))
    chance = chances(
        np.array([s for _, s, _ in told], np.int64),
        np.array([f for f, _, _ in told], np.int64),
        np.array([p for _, _, p in told]).reshape(-1, len(STATUSES)),
    )
    out = list(wide)
    for i, passages, labelled in unsaid:
        label = rows[i].label
        weights = weigh(labelled, chance[FINDINGS.index(label.target)])
        own = label.shares or (Share(label.status, 1.0, label.evidence),)
        more = [
            Share(STATUSES[s], float(weights[n, s]), ((p.section, p.start, p.end),))
            for n, p in enumerate(passages)
            for s in np.flatnonzero(weights[n] > 0)
            if s != _SILENT
        ]
        if more:
            out[i] = _shared(wide[i], [*own, *more])
    return out


def _shared(row: TrainingRow, shares: Sequence[Share]) -> TrainingRow:
    return replace(
        row,
        label=replace(row.label, shares=tuple(shares)),
        reason=f"{row.reason}; silence there is of each status in part",
    )
