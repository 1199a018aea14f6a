"""How many labels to judge, so that an error rate is known within a margin.

The usual formula is z^2 p (1 - p) / m^2 (Cochran 1977, Sampling Techniques, chapter 4) with a correction for finite
populations. Here the number is sought for which the very interval that is given afterwards (`intervals`) has the
margin as half its width, if the expected share turns out wrong: it is some ten percent larger for small rates.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

from teachback.store.review.intervals import Counted, exact_interval, stratified_interval

__all__ = ["expected_margin", "labels_needed", "labels_needed_together", "spread_over", "zero_error_minimum"]


@lru_cache(maxsize=4096)
def labels_needed(population: int, error_rate: float, margin: float, level: float = 0.95) -> int:
    """Return how many labels of one stratum to judge.

    Args:
        population: Labels that there are.
        error_rate: Expected share of wrong ones.
        margin: Half of the width that the interval may have.
        level: Coverage of the interval.
    """
    return _fewest(population, lambda judged: expected_margin([population], [judged], [error_rate], level) <= margin)


def labels_needed_together(
    populations: Sequence[int],
    shares: Sequence[float],
    error_rates: Sequence[float],
    margin: float,
    level: float = 0.95,
) -> list[int]:
    """Return how many labels of each of several strata to judge, so that their common error rate is known.

    Args:
        populations: Labels that each stratum has.
        shares: How the judged ones are to be divided among them; any positive numbers.
        error_rates: Expected share of wrong ones in each.
        margin: Half of the width that the interval of the common rate may have.
        level: Coverage of the interval.
    """

    def suffices(judged: int) -> bool:
        return expected_margin(populations, spread_over(judged, populations, shares), error_rates, level) <= margin

    return spread_over(_fewest(sum(populations), suffices), populations, shares)


def expected_margin(
    populations: Sequence[int], judged: Sequence[int], error_rates: Sequence[float], level: float = 0.95
) -> float:
    """Return half of the width that the interval of strata's common rate will have, if the expected share is wrong."""
    strata = [
        Counted(population, n, n * rate) for population, n, rate in zip(populations, judged, error_rates, strict=True)
    ]
    return stratified_interval(strata, level).half_width


def spread_over(judged: int, populations: Sequence[int], shares: Sequence[float]) -> list[int]:
    """Divide labels among strata by shares: one each at least, none more than it has, and what is over to the others.

    Args:
        judged: Labels to judge in all.
        populations: Labels that each stratum has.
        shares: How to divide them; any positive numbers.
    """
    open_strata, rest = set(range(len(populations))), float(judged)
    while open_strata:  # a stratum that is too small for its share is judged whole, and leaves the rest more
        per_share = rest / sum(shares[i] for i in open_strata)
        full = {i for i in open_strata if shares[i] * per_share >= populations[i]}
        if not full:
            break
        open_strata -= full
        rest -= sum(populations[i] for i in full)
    return [
        max(1, min(population, math.ceil(shares[i] * per_share - 1e-9))) if i in open_strata else population
        for i, population in enumerate(populations)
    ]


@lru_cache(maxsize=4096)
def zero_error_minimum(population: int, margin: float, level: float = 0.95) -> int:
    """Return how many labels without an error show that fewer than a margin of all are wrong.

    About 3 / margin at the level 0.95, fewer where that is a good part of all: the rule of three (Hanley and
    Lippman-Hand 1983, doi:10.1001/jama.1983.03330370053031).

    Args:
        population: Labels that there are.
        margin: Share of wrong ones that is to be ruled out.
        level: One-sided confidence.
    """
    return _fewest(
        population, lambda judged: exact_interval(Counted(population, judged, 0), 2 * level - 1).high <= margin
    )


def _fewest(most: int, suffices: Callable[[int], bool]) -> int:
    """Return the fewest that suffice, by doubling and then halving; all of them always do."""
    low, high = 1, 1
    while high < most and not suffices(high):
        low, high = high + 1, min(2 * high, most)
    while low < high:
        middle = (low + high) // 2
        if suffices(middle):
            high = middle
        else:
            low = middle + 1
    return high
