"""Learn-then-Test for reports that hang together: how far may a threshold fall before its error is in doubt?

Angelopoulos et al. 2021 (arXiv 2110.01052), fixed-sequence testing: thresholds are tested from strict to lax, each for
"the error is above the bound", until one test fails; the last that passed is certified. Three things depart from the
textbook.

**Clusters.** Reports of one patient, or with one text, are right or wrong together, and a binomial test counts each of
them as news. Here a test asks how seldom so few errors are seen where each cluster is wrong as a whole, or right as a
whole: `P(sum of N_g B_g <= errors)`, with `N_g` the accepted predictions of cluster g and `B_g` independent coins that
show "wrong" with the bound's probability. Of all ways in which errors can gather within clusters this spreads their
sum the most (in convex order; Shaked and Shanthikumar 2007, doi:10.1007/978-0-387-34675-5). Where every cluster has one
prediction it is the binomial test to the digit. What is exact: independent predictions, and clusters that err as a
whole. What is an approximation: clusters that err in part (the order of the sums is proven, that of their lower tails
is what is seen far below the mean, where tests pass), and error rates that differ with a cluster's size.

**Where to begin.** A sequence that begins at the strictest threshold that 59 errorless predictions could certify ends
there by one unlucky error. It begins instead where, if errors came as often as the student's own probabilities say, the
test would pass with the greatest chance. That looks at probabilities and clusters, never at what is right, so the
guarantee stands however wrong the probabilities are; only the yield suffers.

**Thresholds** are quantiles of the scores at hand, not values fixed beforehand. Given the threshold, the scores above
it are a sample as good as any; what is lost is that the first threshold that deserves to fail is a little random.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ladder", "Rung", "climb_down", "fewest_clusters", "lower_tail", "plan_ladder"]

GRID = 40  # thresholds of a ladder, at quantiles of its scores


@dataclass(frozen=True, slots=True)
class Rung:
    """One threshold of a ladder.

    Attributes:
        threshold: Scores from here on are accepted.
        accepted: How many that are.
        sizes: How many clusters have 1, 2, ... accepted predictions.
    """

    threshold: float
    accepted: int
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ladder:
    """The thresholds that will be tested, strict to lax; fixed before a look at what is right.

    Attributes:
        scores: (N,) scores, highest first.
        order: (N,) places of the scores in what was given.
        rungs: The thresholds; none where there are too few clusters to certify anything.
        clusters: Clusters among all N.
    """

    scores: NDArray[np.float64]
    order: NDArray[np.int64]
    rungs: tuple[Rung, ...]
    clusters: int


def fewest_clusters(error: float, delta: float) -> int:
    """Return how many clusters without an error certify the bound: 59 for 5 % at a delta of 5 %."""
    return int(np.ceil(np.log(delta) / np.log1p(-error)))


def lower_tail(sizes: Sequence[int], errors: int, error: float) -> float:
    """Return the probability of so few errors where each cluster is wrong as a whole with probability `error`.

    Args:
        sizes: How many clusters have 1, 2, ... predictions.
        errors: At most so many are wrong.
        error: Probability with which a cluster is wrong.
    """
    if errors < 0:
        return 0.0
    return float(min(1.0, _sum_law(sizes, errors, error).sum()))


def plan_ladder(
    scores: NDArray[np.float64],
    doubts: NDArray[np.float64],
    clusters: NDArray[np.int64],
    error: float,
    delta: float,
) -> Ladder:
    """Choose the thresholds to test, and the one to begin with.

    Args:
        scores: (N,) what predictions are accepted by, the higher the surer.
        doubts: (N,) probability that each is wrong, as far as the student knows.
        clusters: (N,) which predictions belong together.
        error: The bound.
        delta: Probability with which the certificate may be wrong.
    """
    order = np.argsort(-scores, kind="stable").astype(np.int64)
    ranked, (_, first, members) = scores[order], np.unique(clusters[order], return_index=True, return_inverse=True)
    seen = np.zeros(len(order), bool)
    seen[first] = True
    so_many = seen.cumsum()
    enough = int(np.searchsorted(so_many, fewest_clusters(error, delta))) + 1  # predictions until there are so many
    count = int(so_many[-1]) if len(order) else 0
    if enough > len(order):
        return Ladder(ranked, order, (), count)
    ends = np.unique(np.linspace(enough, len(order), GRID).astype(int))
    # Equal scores are taken together or not at all.
    ends = np.unique([np.searchsorted(-ranked, -ranked[end - 1], side="right") for end in ends])
    rungs = [Rung(float(ranked[end - 1]), int(end), _sizes(members[:end])) for end in ends]
    expected = doubts[order].cumsum()[ends - 1] / ends
    chances = [_chance(rung, float(rate), error, delta) for rung, rate in zip(rungs, expected, strict=True)]
    return Ladder(ranked, order, tuple(rungs[int(np.argmax(chances)) :]), count)


def climb_down(ladder: Ladder, wrong: NDArray[np.bool_], error: float, delta: float) -> list[int]:
    """Test a ladder's rungs until one fails.

    Args:
        ladder: The thresholds.
        wrong: (N,) which predictions are wrong, in the order in which the scores were given.
        error: The bound.
        delta: Probability with which the certificate may be wrong.

    Returns:
        The errors at each rung that passed.
    """
    mistakes = np.concatenate([[0], wrong[ladder.order].cumsum()]) if len(ladder.order) else np.zeros(1, int)
    passed: list[int] = []
    for rung in ladder.rungs:
        errors = int(mistakes[rung.accepted])
        if lower_tail(rung.sizes, errors, error) > delta:
            break
        passed.append(errors)
    return passed


def _chance(rung: Rung, rate: float, error: float, delta: float) -> float:
    """Return the probability that a rung passes if predictions are wrong at this rate; 0 where that is no hope."""
    if rate >= error:
        return 0.0
    return lower_tail(rung.sizes, _most_errors(rung.sizes, error, delta), max(rate, 1e-9))


def _sizes(members: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(np.bincount(np.bincount(members))[1:].tolist())


def _most_errors(sizes: Sequence[int], error: float, delta: float) -> int:
    """Return the most errors with which a test would pass; -1 where none would do."""
    predictions = sum(size * count for size, count in enumerate(sizes, 1))
    law = _sum_law(sizes, int(error * predictions), error)
    return int(np.searchsorted(law.cumsum(), delta, side="right")) - 1


def _sum_law(sizes: Sequence[int], most: int, error: float) -> NDArray[np.float64]:
    """Return the probabilities of 0, 1, ..., `most` errors: one binomial for each size, convolved."""
    law = np.zeros(most + 1)
    law[0] = 1.0
    for size, count in enumerate(sizes, 1):
        if count:
            spread = np.zeros(most + 1)
            hits = min(count, most // size)
            spread[: hits * size + 1 : size] = _binomial(hits, count, error)
            law = np.convolve(law, spread)[: most + 1]
    return law


def _binomial(most: int, n: int, error: float) -> NDArray[np.float64]:
    """Return the probabilities of 0, 1, ..., `most` hits in n."""
    hits = np.arange(1, most + 1)
    ratios = np.log((n - hits + 1) / hits) + np.log(error / (1 - error))
    density: NDArray[np.float64] = np.exp(n * np.log1p(-error) + np.concatenate([[0.0], ratios.cumsum()]))
    return density
