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
        sizes: Accepted predictions of each cluster that has any.
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
        sizes: Predictions of each cluster.
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
    ranked, members = scores[order], clusters[order]
    seen = np.zeros(len(order), bool)
    seen[np.unique(members, return_index=True)[1]] = True
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
    chances = [
        lower_tail(rung.sizes, _most_errors(rung.sizes, error, delta), float(np.clip(rate, 1e-6, 0.5)))
        for rung, rate in zip(rungs, expected, strict=True)
    ]
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


def _sizes(members: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(np.unique(members, return_counts=True)[1].tolist())


def _most_errors(sizes: Sequence[int], error: float, delta: float) -> int:
    """Return the most errors with which a test would pass; -1 where none would do."""
    law = _sum_law(sizes, int(error * sum(sizes)), error)
    return int(np.searchsorted(law.cumsum(), delta, side="right")) - 1


def _sum_law(sizes: Sequence[int], most: int, error: float) -> NDArray[np.float64]:
    """Return the probabilities of 0, 1, ..., `most` errors: one binomial for each size, convolved."""
    law = np.zeros(most + 1)
    law[0] = 1.0
    for size, count in zip(*np.unique(np.asarray(sizes, int), return_counts=True), strict=True):
        spread = np.zeros(most + 1)
        hits = np.arange(min(int(count), most // int(size)) + 1)
        spread[hits * int(size)] = _binomial(hits, int(count), error)
        law = spread if law[0] == 1.0 else np.convolve(law, spread)[: most + 1]
    return law


def _binomial(hits: NDArray[np.int64], n: int, error: float) -> NDArray[np.float64]:
    from scipy.special import gammaln

    log = gammaln(n + 1) - gammaln(hits + 1) - gammaln(n - hits + 1)
    density: NDArray[np.float64] = np.exp(log + hits * np.log(error) + (n - hits) * np.log1p(-error))
    return density
