"""What a student reads at a time: a whole report, or sentence after sentence.

A label's own scope is not the section that it was made from but the words: those that the labeler quotes as evidence.
So with unit `sentence` a label is taught on the sentences that hold its evidence, the others of its scope say nothing
of the finding, and a report is read sentence by sentence. A student that was taught on impressions thereby reads
findings sections too: their sentences look like others, where a text of a hundred words looks like nothing it has seen.

A report's distribution follows from its sentences' in CheXpert's order (present, uncertain, absent, unmentioned). It is
present as surely as its surest sentence; what is left is uncertain as surely as any sentence is among what it does not
call present; and so on (the maximum, not a noisy-or: sentences of one report repeat each other).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teachback.agents.rules.words import sentences
from teachback.store.label import STATUSES
from teachback.store.report import Report, Scope

__all__ = ["Passage", "Reading", "Score", "combine", "passages_of", "read_by_sentence", "touched"]

Score = Callable[[Sequence[str]], NDArray[np.float32]]
Span = tuple[str, int, int]

# CheXpert's order of aggregation; what no sentence says is unmentioned.
_ORDER = tuple(STATUSES.index(status) for status in ("present", "uncertain", "absent"))
_UNMENTIONED = STATUSES.index("unmentioned")


@dataclass(frozen=True, slots=True)
class Passage:
    """A sentence of a report.

    Attributes:
        section: The section that it stands in.
        start: Where it starts there.
        end: Where it ends there.
        text: Its words.
    """

    section: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a student makes of N reports, read sentence by sentence.

    Attributes:
        probabilities: (N, 13, 4), each distribution sums to 1.
        deciding: (N, 13, 4) index of the report's passage that has each status most surely.
    """

    probabilities: NDArray[np.float32]
    deciding: NDArray[np.int16]


def passages_of(report: Report, scope: Scope) -> list[Passage]:
    """Return the sentences of a report's scope; none where it has no such section."""
    found = [
        Passage(section, start, end, text[start:end])
        for section, text in report.scoped(scope)
        for start, end in sentences(text)
    ]
    # A section of signs alone has no sentence, and is read whole.
    return found or [Passage(section, 0, len(text), text) for section, text in report.scoped(scope)]


def touched(passages: Sequence[Passage], evidence: Iterable[Span]) -> list[int]:
    """Return the indices of the passages that hold a part of some evidence, given as (section, start, end)."""
    spans = list(evidence)
    return [
        i
        for i, p in enumerate(passages)
        if any(section == p.section and start < p.end and end > p.start for section, start, end in spans if start >= 0)
    ]


def read_by_sentence(reports: Sequence[Report], scope: Scope, score: Score) -> Reading:
    """Let a student read reports sentence by sentence; equal sentences are read once.

    Args:
        reports: N reports with text in the scope.
        scope: The sections to read.
        score: M texts to (M, 13, 4) probabilities.
    """
    by_report = [passages_of(report, scope) for report in reports]
    texts = sorted({passage.text for passages in by_report for passage in passages})
    places = {text: i for i, text in enumerate(texts)}
    scored = score(texts)
    combined = [combine(scored[[places[p.text] for p in passages]]) for passages in by_report]
    return Reading(
        np.stack([probabilities for probabilities, _ in combined]),
        np.stack([deciding for _, deciding in combined]),
    )


def combine(scored: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """Combine the distributions of a report's passages.

    Args:
        scored: (P, 13, 4) probabilities of P passages.

    Returns:
        The report's (13, 4) probabilities, and (13, 4) the passage that has each status most surely.
    """
    left = np.ones(scored.shape[1], np.float64)
    rest = np.ones(scored.shape[:2], np.float64)  # of each passage, what is not yet given to a status
    out = np.zeros(scored.shape[1:], np.float64)
    for status in _ORDER:
        given = scored[..., status].astype(np.float64)
        share = (given / np.maximum(rest, 1e-12)).clip(0, 1).max(axis=0)
        out[:, status] = left * share
        left -= out[:, status]
        rest -= given
    out[:, _UNMENTIONED] = left.clip(min=0)
    return (out / out.sum(-1, keepdims=True)).astype(np.float32), scored.argmax(axis=0).astype(np.int16)
