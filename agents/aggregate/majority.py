"""Weighted majority: each labeler's vote counts as much as it has proved reliable."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from teachback.agents.aggregate.patterns import collapse
from teachback.store.label import STATUSES

__all__ = ["Majority", "majority", "tally"]

_TIE = 1e-9  # sums of the same weights in another order differ by less


@dataclass(frozen=True)
class Majority:
    """What the majority says of N items.

    Attributes:
        codes: Index into the statuses, -1 where nobody voted, shape `(N,)`.
        posteriors: Each status's share of the weight that voted, shape `(N, S)`; even where nobody voted.
    """

    codes: npt.NDArray[np.int8]
    posteriors: npt.NDArray[np.float64]


def majority(
    codes: npt.NDArray[np.int8],
    *,
    weights: npt.NDArray[np.float64] | None = None,
    groups: npt.NDArray[np.integer] | None = None,
    n_statuses: int = len(STATUSES),
) -> Majority:
    """Take the status with most weight behind it.

    Where statuses tie, the later labeler's vote among them wins: that is the order of precedence of the store's view
    `teacher_labels` too, where rules stand before models.

    Args:
        codes: Votes, shape `(N, V)`, -1 for none.
        weights: The weight of each labeler, shape `(V,)`, or in each group, shape `(G, V)`; positive. Equal when not
            given.
        groups: Each item's group, such as its finding, shape `(N,)`.
        n_statuses: S.
    """
    found = collapse(codes, n_statuses, groups)
    sums = tally(found.codes, n_statuses, weights, found.groups)
    best = sums >= sums.max(axis=1, keepdims=True) - _TIE
    chosen = np.full(len(sums), -1, dtype=np.int8)
    rows = np.arange(len(sums))
    for votes in found.codes.T:
        chosen = np.where((votes >= 0) & best[rows, votes], votes, chosen)
    total = sums.sum(axis=1, keepdims=True)
    shares = np.divide(sums, total, out=np.full_like(sums, 1 / n_statuses), where=total > 0)
    return Majority(chosen[found.index], shares[found.index])


def tally(
    codes: npt.NDArray[np.int8],
    n_statuses: int,
    weights: npt.NDArray[np.float64] | None = None,
    groups: npt.NDArray[np.integer] | None = None,
) -> npt.NDArray[np.float64]:
    """Return the weight behind each status, shape `(N, S)`; arguments as for `majority`."""
    sums = np.zeros((len(codes), n_statuses))
    for voter, votes in enumerate(codes.T):
        rows = np.flatnonzero(votes >= 0)
        if weights is None:
            weight: npt.NDArray[np.float64] | float = 1.0
        elif weights.ndim == 1 or groups is None:
            weight = float(weights[voter])
        else:
            weight = weights[groups[rows], voter]
        sums[rows, votes[rows]] += weight
    return sums
