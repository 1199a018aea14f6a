"""Each two subjects beside each other on the reports that both labelled: who is better, and on which findings."""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

from teachback.store.quality.f1 import PairedReport, paired_difference
from teachback.store.quality.subjects import Compared, Subject

__all__ = ["Pair", "compare_pairs"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two subjects on the same reports.

    Attributes:
        better: The one with the higher micro-F1.
        other: The other one.
        gain: What `better` gains over `other`: wins are the findings on which it is better beyond chance.
    """

    better: Subject
    other: Subject
    gain: PairedReport

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values; undefined figures are None."""
        return {"better": self.better.name, "other": self.other.name, **self.gain.as_dict()}


def compare_pairs(compared: Compared, *, n_boot: int = 2000, seed: int = 0, level: float = 0.95) -> list[Pair]:
    """Compare each two subjects by paired bootstrap, both on the same resamples of the same patients.

    Args:
        compared: Who is judged, on what.
        n_boot: Resamples behind the intervals.
        seed: Seed of the resamples.
        level: Coverage of the intervals.

    Returns:
        The pairs that have reports in common, the largest gains in micro-F1 first.
    """
    pairs = []
    for first, second in combinations(compared.masks, 2):
        both = compared.masks[first] & compared.masks[second]
        if not both.any():
            continue
        truth = compared.truth.take(both)
        codes = [compared.codes[subject][both] for subject in (first, second)]
        boot: dict[str, Any] = {"n_boot": n_boot, "seed": seed, "level": level, "positive": compared.positive}
        gain = paired_difference(truth.codes, codes[1], codes[0], truth.clusters, **boot)
        if gain.micro.value < 0:
            gain = paired_difference(truth.codes, codes[0], codes[1], truth.clusters, **boot)
            first, second = second, first
        pairs.append(Pair(first, second, gain))
    return sorted(pairs, key=lambda pair: -pair.gain.micro.value)
