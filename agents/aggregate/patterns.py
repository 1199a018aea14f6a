"""Equal votes are one pattern with a weight: labelers repeat themselves, so millions of items are a few thousand."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Patterns", "collapse"]

_DENSE = 1 << 22  # numbers below this are told apart by counting, others by sorting


@dataclass(frozen=True)
class Patterns:
    """The different rows among N items, P of them, ordered by group.

    Attributes:
        codes: Each labeler's vote, shape `(P, V)`, -1 for none.
        groups: Each pattern's group, shape `(P,)`.
        known: The truth where it is known, else -1, shape `(P,)`.
        weights: How many items have the pattern, shape `(P,)`.
        index: Each item's pattern, shape `(N,)`.
    """

    codes: npt.NDArray[np.int8]
    groups: npt.NDArray[np.int64]
    known: npt.NDArray[np.int8]
    weights: npt.NDArray[np.float64]
    index: npt.NDArray[np.int64]


def collapse(
    codes: npt.NDArray[np.int8],
    n_statuses: int,
    groups: npt.NDArray[np.integer] | None = None,
    known: npt.NDArray[np.int8] | None = None,
) -> Patterns:
    """Find the different rows of a table of votes.

    Args:
        codes: Votes, shape `(N, V)`, -1 for none, else below `n_statuses`.
        n_statuses: S.
        groups: Items of different groups are never the same, shape `(N,)`, from 0; all are of group 0 when not given.
        known: Items of different truths neither, shape `(N,)`, -1 for unknown; all unknown when not given.
    """
    n = len(codes)
    group = np.zeros(n, dtype=np.int64) if groups is None else groups.astype(np.int64)
    truth = np.full(n, -1, dtype=np.int8) if known is None else known
    number, size = group, int(group.max(initial=0)) + 1
    for column in (truth, *codes.T):
        if size > np.iinfo(np.int64).max // (n_statuses + 1):
            _, number = np.unique(number, return_inverse=True)  # keeps the order, so groups stay together
            size = int(number.max(initial=0)) + 1
        number = number * (n_statuses + 1) + (column + 1)
        size *= n_statuses + 1
    if size <= max(_DENSE, n):
        seen = np.bincount(number, minlength=size)
        numbers = np.flatnonzero(seen)
        place = np.empty(size, dtype=np.int64)
        place[numbers] = np.arange(len(numbers))
        index, weights = place[number], seen[numbers]
    else:
        numbers, index, weights = np.unique(number, return_inverse=True, return_counts=True)
    first = np.empty(len(numbers), dtype=np.int64)
    first[index] = np.arange(n)  # any item of the pattern shows it
    return Patterns(codes[first], group[first], truth[first], weights.astype(np.float64), index)
