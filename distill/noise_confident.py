"""Confident learning: which labels are most likely wrong, from what a student makes of them that never saw them.

Northcutt, Jiang and Chuang 2021 (JAIR 70, doi:10.1613/jair.1.12125). For one finding:

1. A status's threshold is the mean probability of it among the labels that were given it.
2. A label counts as confidently of another status when that status reaches its threshold, the likeliest of those that
   do. Counted by given and true status, and scaled to the given statuses' counts, that is their joint distribution.
3. Of each pair of given and true status, as many labels are suspected as the joint says, those with the widest margin
   between the two probabilities ("prune by noise rate").

Departures: a status that was given fewer than five times is neither accused nor suggested, as its threshold would be
one label's probability; and a label is suspected only where a student finds another status likelier than its own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEWEST", "Audit", "audit", "joint", "thresholds"]

FEWEST = 5  # labels of a status from which its threshold is taken


@dataclass(frozen=True, slots=True)
class Audit:
    """What confident learning finds among N labels of K statuses.

    Attributes:
        suggested: (N,) the status that a label more likely is; -1 where it is not suspected.
        joint: (K, K) share of labels by given and true status.
    """

    suggested: NDArray[np.int64]
    joint: NDArray[np.float64]


def audit(given: NDArray[np.int64], probabilities: NDArray[np.floating]) -> Audit:
    """Find the labels of one finding that are most likely wrong.

    Args:
        given: (N,) index of the status that a label gives.
        probabilities: (N, K) of each status, by a student that was not trained on the label.
    """
    estimated = joint(given, probabilities)
    suggested = np.full(len(given), -1)
    widest = np.zeros(len(given))
    for i, j in np.argwhere(estimated > 0):
        if i == j:
            continue
        members = np.flatnonzero(given == i)
        margin = probabilities[members, j] - probabilities[members, i]
        most = round(float(estimated[i, j]) * len(given))
        for n in members[np.argsort(-margin, kind="stable")[:most]]:
            wide = float(probabilities[n, j] - probabilities[n, i])
            if wide > widest[n]:
                suggested[n], widest[n] = j, wide
    return Audit(suggested, estimated)


def joint(given: NDArray[np.int64], probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Estimate (K, K) the share of labels by given and true status; rows sum to the given statuses' shares."""
    n, k = probabilities.shape
    likely = np.where(probabilities >= thresholds(given, probabilities), probabilities, -1.0)
    true, confident = likely.argmax(axis=1), likely.max(axis=1) >= 0
    counts = np.zeros((k, k))
    np.add.at(counts, (given[confident], true[confident]), 1)
    of_status = np.bincount(given, minlength=k)
    counts[of_status < FEWEST] = 0
    empty = counts.sum(axis=1) == 0
    counts[empty, empty.nonzero()[0]] = 1  # nothing is known against them
    scaled: NDArray[np.float64] = counts / counts.sum(axis=1, keepdims=True) * of_status[:, None] / max(1, n)
    return scaled


def thresholds(given: NDArray[np.int64], probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (K,) the mean probability of each status where it was given; infinite where it hardly was."""
    k = probabilities.shape[1]
    return np.array(
        [float(probabilities[given == j, j].mean()) if (given == j).sum() >= FEWEST else np.inf for j in range(k)]
    )
