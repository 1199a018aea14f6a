"""Suspected label errors as an auditor reads them: by finding and status, and how often the suspicion is right.

Where curated labels of the audited reports are known, they say what share of the suspects is wrong, beside the share of
all labels that is: suspicion that finds errors no more often than chance is worth nothing. They are read for this table
alone; nothing is trained on them.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from teachback.distill.assemble import TrainingRow
from teachback.distill.noise_clean import Doubt
from teachback.distill.noise_folds import audited
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.review.intervals import binomial_interval

__all__ = ["SuspectClass", "Suspects", "tabulate"]

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class SuspectClass:
    """The labels of one finding and status, or of all.

    Attributes:
        finding: The finding; `all` for the sum.
        status: The status that the teacher gave; `all` for the sum.
        labels: Labels of it that were audited.
        suspected: Those that are suspected.
        known: Suspects of which the truth is known.
        wrong: Known suspects that are wrong.
        known_labels: Labels of which the truth is known, suspected or not.
        wrong_labels: Those of them that are wrong.
    """

    finding: str
    status: str
    labels: int
    suspected: int
    known: int
    wrong: int
    known_labels: int
    wrong_labels: int

    @property
    def precision(self) -> tuple[float, float, float] | None:
        """Share of known suspects that are wrong, with its exact 95 % interval; None where none is known."""
        if not self.known:
            return None
        share = binomial_interval(self.wrong, self.known)
        return share.value, share.low, share.high

    @property
    def recall(self) -> float | None:
        """Share of the known wrong labels that are suspected; None where none is wrong."""
        return self.wrong / self.wrong_labels if self.wrong_labels else None

    @property
    def error(self) -> float | None:
        """Share of the known labels that are wrong; None where none is known."""
        return self.wrong_labels / self.known_labels if self.known_labels else None

    def as_dict(self) -> dict[str, Any]:
        """Return counts and shares as plain values."""
        return asdict(self) | {"precision": self.precision, "recall": self.recall, "error": self.error}


@dataclass(frozen=True, slots=True)
class Suspects:
    """Suspected labels.

    Attributes:
        classes: By finding and given status, those that have labels.
        total: Of all of them.
        items: Row and doubt of each suspect, the least believed first.
    """

    classes: tuple[SuspectClass, ...]
    total: SuspectClass
    items: tuple[tuple[TrainingRow, Doubt], ...]


def tabulate(
    rows: Sequence[TrainingRow],
    suspected: Sequence[Doubt | None],
    truth: Mapping[Key, str],
    *,
    positives_only: bool = False,
) -> Suspects:
    """Count suspects by finding and status.

    Args:
        rows: N rows, from `assemble` without treatment.
        suspected: From `doubts`.
        truth: Report and finding to curated status, where known.
        positives_only: Whether curated labels tell present from the rest alone, as manual codes do.
    """
    counts: dict[Key, list[int]] = defaultdict(lambda: [0] * 6)
    for row, doubt in zip(rows, suspected, strict=True):
        if not audited(row):
            continue
        label = row.label
        true = truth.get((label.report_id, label.target))
        known = true is not None
        wrong = known and _differs(label.status, str(true), positives_only)
        doubted = doubt is not None
        seen = (1, doubted, doubted and known, doubted and wrong, known, wrong)
        for key in ((label.target, label.status), ("all", "all")):
            counts[key] = [count + int(more) for count, more in zip(counts[key], seen, strict=True)]
    classes = tuple(SuspectClass(f, s, *counts[f, s]) for f in FINDINGS for s in STATUSES if (f, s) in counts)
    items = [(row, doubt) for row, doubt in zip(rows, suspected, strict=True) if doubt is not None]
    items.sort(key=lambda item: (item[1].given - item[1].other, item[0].label.label_id))
    return Suspects(classes, SuspectClass("all", "all", *counts["all", "all"]), tuple(items))


def _differs(given: str, true: str, positives_only: bool) -> bool:
    return (given == "present") != (true == "present") if positives_only else given != true
