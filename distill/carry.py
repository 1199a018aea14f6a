"""A finding said again: labels are carried over to the sentence of another section that speaks of the same finding.

A teacher that reads impressions never labels the words of findings sections; what a student makes of them it guessed
from words that it was taught. But both sections are of one report: where the impression says that the heart is enlarged
and just one sentence of the findings section is about the heart, that sentence most likely says so too, in other words,
which are just what the student lacks. Here it is not asked what that sentence says, only what it is about, and the
label decides the rest: two views of one case that teach each other (co-training: Blum & Mitchell 1998,
doi:10.1145/279943.279962). What a student is sure of anyway teaches it nothing new.

Carried are labels of the teacher and certified pseudo-labels that call a finding present or absent; how sure a report
sounds differs from section to section ("possible effusion" there is "small effusion" here), so nothing is carried to or
from a hedge; and nothing where no sentence, or more than one, is about the finding. The section's other sentences are
then taught to say nothing of it: without that contrast a student learns that whatever is new to it speaks of something.

Off unless asked for. On the synthetic corpus it helps a bag of words (+.025 micro-F1 on `test`). A tiny Llama that
reads almost all right anyway needs as many more steps as there are more sentences (`plan.steps_of`): then it is level
in micro-F1 and not below in macro-F1; with the steps of round 1 it loses.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teachback.distill.assemble import TrainingRow
from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen
from teachback.distill.passages import passages_of
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.report import Report
from teachback.store.review.intervals import binomial_interval

__all__ = ["carry", "sentences_to_read", "summarise_carried"]

_UNMENTIONED, _UNCERTAIN = STATUSES.index("unmentioned"), STATUSES.index("uncertain")
_POLAR = ("present", "absent")
_HEDGED = 0.2  # a sentence that is uncertain with this probability is a hedge


def sentences_to_read(frozen: Frozen, settings: CampaignSettings) -> list[str]:
    """Return the different sentences of the reports that a round may train on, in a fixed order."""
    reports = (report for split in ("train", "pool") for report in frozen.reports[split])
    return sorted({passage.text for report in reports for passage in passages_of(report, settings.scope)})


def carry(
    rows: Sequence[TrainingRow],
    frozen: Frozen,
    settings: CampaignSettings,
    sentences: Sequence[str],
    probabilities: NDArray[Any],
    reader: str,
) -> list[TrainingRow]:
    """Carry labels over to the one sentence elsewhere in their report that is about their finding.

    Args:
        rows: A round's rows.
        frozen: The campaign's inputs.
        settings: `select.carry`, how surely a sentence must be about a finding; None carries nothing.
        sentences: M sentences, from `sentences_to_read`.
        probabilities: (M, 13, 4) what the champion makes of them.
        reader: The champion's name, for the reason that is stored.

    Returns:
        The rows in their order; those that were carried say so in their reason.
    """
    if settings.select.carry is None:
        return list(rows)
    about = 1 - np.asarray(probabilities[..., _UNMENTIONED], np.float64) >= settings.select.carry
    hedged = probabilities[..., _UNCERTAIN] >= _HEDGED
    place = {text: i for i, text in enumerate(sentences)}
    reports = {report.report_id: report for split in ("train", "pool") for report in frozen.reports[split]}
    return [_carried(row, reports[row.label.report_id], settings, place, about, hedged, reader) for row in rows]


def summarise_carried(
    rows: Sequence[TrainingRow],
    truth: dict[tuple[str, str], str],
    sentences: Sequence[str],
    probabilities: NDArray[Any],
    frozen: Frozen,
) -> dict[str, Any]:
    """Say how many labels were carried, how often the champion read the sentence otherwise, and how right they are.

    Args:
        rows: From `carry`.
        truth: Curated status by report and finding, where known; read for this table alone.
        sentences: M sentences.
        probabilities: (M, 13, 4) what the champion makes of them.
        frozen: The campaign's inputs.
    """
    carried = [row for row in rows if row.carried]
    place = {text: i for i, text in enumerate(sentences)}
    reports = {report.report_id: report for split in ("train", "pool") for report in frozen.reports[split]}
    otherwise = 0
    for row in carried:
        section, start, end = row.carried[0]
        text = dict(reports[row.label.report_id].sections)[section][start:end]
        read = STATUSES[int(probabilities[place[text], FINDINGS.index(row.label.target)].argmax())]
        otherwise += read != row.label.status
    known = [
        (truth[key], row.label.status) for row in carried if (key := (row.label.report_id, row.label.target)) in truth
    ]
    wrong = sum(true != status for true, status in known)
    share = binomial_interval(wrong, len(known))
    return {
        "labels": len(carried),
        "read_otherwise": otherwise,
        "known": len(known),
        "wrong": wrong,
        "realised_error": share.value if known else None,
        "realised_interval": [share.low, share.high] if known else None,
    }


def _carried(
    row: TrainingRow,
    report: Report,
    settings: CampaignSettings,
    place: dict[str, int],
    about: NDArray[np.bool_],
    hedged: NDArray[np.bool_],
    reader: str,
) -> TrainingRow:
    label = row.label
    if not row.selected or label.task != "findings" or label.status not in _POLAR or not label.evidence:
        return row
    # A teacher has read all of its scope; a student's label stands on the sentence that decided it.
    read = {section for section, _, _ in label.evidence}
    if row.source != "pseudo":
        read |= {section for section, _ in report.scoped(label.scope)}  # type: ignore[arg-type]
    finding = FINDINGS.index(label.target)
    again = [
        p
        for p in passages_of(report, settings.scope)
        if p.section not in read and p.text in place and about[place[p.text], finding]
    ]
    if len(again) != 1 or hedged[place[again[0].text], finding]:
        return row
    only = again[0]
    reason = f"{row.reason}; also on the sentence of {only.section} that {reader} finds to be about it"
    return replace(row, reason=reason, carried=((only.section, only.start, only.end),))
