"""The vote of several answers to the same question (self-consistency, Wang et al. 2022, arXiv 2203.11171).

Per finding the status that most answers give, the earliest answer's where two have as many; the shares of the votes are
its probabilities. A disease counts when at least half of the answers list it.
"""

from collections import Counter
from collections.abc import Sequence

from teachback.store.label import STATUSES, Label

__all__ = ["vote"]

QUORUM = 0.5  # share of the answers that must list a disease


def vote(answers: Sequence[Sequence[Label]], note: str = "") -> list[Label]:
    """Return the labels that the answers agree on most.

    Each label's evidence, code and call are those of the first answer that says the same; a disease's code is the one
    most often given.

    Args:
        answers: The labels of each answer, in the order in which they were asked for; at least one.
        note: What is to be said of every confidence, such as that an answer failed.

    Returns:
        One label a finding, in the first answer's order, then the diseases in the order in which they come up.
    """
    findings = [[label for label in answer if label.task == "findings"] for answer in answers]
    diseases = [{label.target: label for label in answer if label.task == "diseases"} for answer in answers]
    elected = [_elected(labels, len(answers), note) for labels in zip(*findings, strict=True)]
    for phrase in dict.fromkeys(phrase for answer in diseases for phrase in answer):
        named = [answer[phrase] for answer in diseases if phrase in answer]
        if len(named) >= QUORUM * len(answers):
            label = _elected(named, len(answers), note)
            code = _coded(named)
            elected.append(label.changed(icd10=code.icd10, icd10_check=code.icd10_check, probs=None))
    return elected


def _elected(votes: Sequence[Label], answers: int, note: str) -> Label:
    # `Counter` keeps the order of arrival, and `most_common` that order among equals.
    counts = Counter(label.status for label in votes)
    status, most = counts.most_common(1)[0]
    first = next(label for label in votes if label.status == status)
    return first.changed(
        confidence=most / answers,
        confidence_source="vote",
        confidence_note=note,
        probs={status: counts[status] / answers for status in STATUSES},
    )


def _coded(named: Sequence[Label]) -> Label:
    code, _ = (
        Counter(label.icd10 for label in named if label.icd10).most_common(1)[0]
        if any(label.icd10 for label in named)
        else (None, 0)
    )
    return next(label for label in named if label.icd10 == code or code is None)
