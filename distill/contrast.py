"""A sentence that comes back is taught whole: also what it says nothing of.

A sentence of the teacher's is taught about all 13 findings, of which it says nothing about twelve or so. A sentence
that is fed back is certain of one, and of the silence that its whole report keeps about some others. Of findings that
its report speaks of elsewhere, which are the frequent ones, mostly mentions were taught, hardly any silence, and a
student learnt to find more than there is (seed 100 of `benchmarks/noisy_teacher.py`, gate split, against the control
arm: recall .91 for .89, precision .85 for .93).

Here the champion reads the sentences that are to be taught something. Where it is as good as sure that one of them is
silent about a finding, it is taught so, at a pseudo-label's weight, whatever the report says elsewhere. Certificates do
not cover this: they are about reports. What is taught is what the champion is sure of already, and it holds the student
where it is; new to it is what the sentence says.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teachback.distill.assemble import TrainingRow
from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen
from teachback.distill.passages import Passage, passages_of, touched
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.report import Report

__all__ = ["add_silence", "taught_sentences"]

_SILENT = "unmentioned"


def taught_sentences(
    rows: Sequence[TrainingRow], frozen: Frozen, settings: CampaignSettings
) -> dict[str, set[Passage]]:
    """Return, by report, the sentences that are taught in part: what is fed back decided them, or was carried there."""
    reports = _reports(frozen)
    found: dict[str, set[Passage]] = defaultdict(set)
    for row in rows:
        if row.selected and row.label.task == "findings" and (row.source == "pseudo" or row.carried):
            found[row.label.report_id] |= _places(row, reports[row.label.report_id], settings)
    return found


def add_silence(
    rows: Sequence[TrainingRow],
    frozen: Frozen,
    settings: CampaignSettings,
    sentences: Sequence[str],
    probabilities: NDArray[Any],
    reader: str,
) -> list[TrainingRow]:
    """Have the sentences that are taught in part be taught what they are silent about.

    Args:
        rows: A round's rows, refused ones among them: the silence of a sentence may be taught where what its report
            says of the finding is not.
        frozen: The campaign's inputs.
        settings: `select.silence`, how surely a sentence must be silent; None leaves the rows as they are.
        sentences: M sentences, those of `taught_sentences` among them.
        probabilities: (M, 13, 4) what the champion makes of them.
        reader: The champion's name, for the reason that is stored.

    Returns:
        The rows in their order; those of which a sentence's silence is taught say so in their reason.
    """
    if settings.select.silence is None:
        return list(rows)
    sure = np.asarray(probabilities[..., STATUSES.index(_SILENT)], np.float64) >= settings.select.silence
    place = {text: i for i, text in enumerate(sentences)}
    taught = taught_sentences(rows, frozen, settings)
    reports = _reports(frozen)
    completed = []
    for row in rows:
        label = row.label
        if label.task != "findings" or label.report_id not in taught or (row.selected and label.status == _SILENT):
            completed.append(row)
            continue
        finding = FINDINGS.index(label.target)
        already = _places(row, reports[label.report_id], settings) if row.selected else set()
        spans = tuple(
            sorted(
                (p.section, p.start, p.end)
                for p in taught[label.report_id] - already
                if p.text in place and sure[place[p.text], finding]
            )
        )
        reason = f"{row.reason}; sentences silent about it, as {reader} reads them: {len(spans)}"
        completed.append(replace(row, silent=spans, reason=reason) if spans else row)
    return completed


def _places(row: TrainingRow, report: Report, settings: CampaignSettings) -> set[Passage]:
    """Return the sentences that a row says something of: those of its evidence, if it is fed back, and carried ones."""
    own = passages_of(report, row.label.scope)  # type: ignore[arg-type]  # a scope that the store's CHECK let in
    places = {own[i] for i in touched(own, row.label.evidence)} if row.source == "pseudo" else set()
    others = passages_of(report, settings.scope) if row.carried else []
    return places | {others[i] for i in touched(others, row.carried)}


def _reports(frozen: Frozen) -> dict[str, Report]:
    return {report.report_id: report for split in ("train", "pool") for report in frozen.reports[split]}
