"""Dawid and Skene's model: who errs how is learnt from the votes alone, without knowing the truth.

A. P. Dawid, A. M. Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm", Applied
Statistics 28(1), 1979, doi:10.2307/2346806. Item i has a true status z; labeler v says k with probability
`confusion[v, z, k]`, independently of the others:

    P(z = j | votes) is proportional to priors[j] * product over the voters v of confusion[v, j, vote of v]

EM starts from the majority, then alternates (M) priors and confusion from the posteriors and (E) posteriors from
priors and confusion. A missing vote is left out of the product.

Departures. Equal rows are collapsed first, so a step costs what the different rows cost. Counts are smoothed by one
vote of a decent labeler, so a status that nobody gives means nothing in particular. With `groups` (one for each
finding) each has a model of its own, whose counts are filled up with votes as all groups together give them: a rare
finding leans on the others. Known truths can be held fast.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from teachback.agents.aggregate.majority import tally
from teachback.agents.aggregate.patterns import Patterns, collapse
from teachback.store.label import STATUSES

__all__ = ["DawidSkene", "Fit", "dawid_skene"]

PRIOR_ACCURACY = 0.8  # of the labeler whose votes smooth the counts
LEAST_COUNT = 1e-10  # keeps the logarithm of a vote that never occurs finite, where nothing is smoothed


@dataclass(frozen=True)
class DawidSkene:
    """How the model is fitted.

    Attributes:
        iterations: EM steps at most.
        tolerance: Stop when no posterior changes by more; a negative one takes every step.
        smoothing: Votes that are added to each row of each confusion matrix, and items to the priors.
        shrinkage: Votes of all groups together that are added to each row of a group's own, and items to its priors.
    """

    iterations: int = 100
    tolerance: float = 1e-6
    smoothing: float = 1.0
    shrinkage: float = 20.0


@dataclass(frozen=True)
class Fit:
    """The fitted model of G groups, V labelers and S statuses, and what it says of N items.

    Attributes:
        posteriors: Probability of each status, shape `(N, S)`.
        priors: How frequent each status is, shape `(G, S)`.
        confusion: Probability that a labeler says k where j is true, shape `(G, V, S, S)`, indexed `[g, v, j, k]`.
        accuracies: Probability that a labeler's vote is right, implied by the above, shape `(V,)`.
        iterations: EM steps that were taken.
        converged: Whether the last one changed no posterior by more than the tolerance.
    """

    posteriors: npt.NDArray[np.float64]
    priors: npt.NDArray[np.float64]
    confusion: npt.NDArray[np.float64]
    accuracies: npt.NDArray[np.float64]
    iterations: int
    converged: bool


def dawid_skene(
    codes: npt.NDArray[np.int8],
    *,
    n_statuses: int = len(STATUSES),
    groups: npt.NDArray[np.integer] | None = None,
    known: npt.NDArray[np.int8] | None = None,
    weights: npt.NDArray[np.float64] | None = None,
    model: DawidSkene | None = None,
) -> Fit:
    """Fit the model to a table of votes.

    Args:
        codes: Votes, shape `(N, V)`, -1 for none.
        n_statuses: S.
        groups: Each item's group, from 0, shape `(N,)`; one group when not given.
        known: Truths that are held fast, shape `(N,)`, -1 for unknown.
        weights: Weights of the majority that EM starts from, as for `majority`.
        model: How it is fitted.
    """
    model = model or DawidSkene()
    found = collapse(codes, n_statuses, groups, known)
    steps = _Steps(found, n_statuses, model)
    shares = tally(found.codes, n_statuses, weights, found.groups) + LEAST_COUNT
    posteriors = steps.hold(shares / shares.sum(axis=1, keepdims=True))
    priors, confusion = steps.maximise(posteriors)
    change, taken = np.inf, 0
    while taken < model.iterations and change > model.tolerance:
        expected = steps.expect(priors, confusion)
        change, taken = float(np.abs(expected - posteriors).max(initial=0.0)), taken + 1
        posteriors = expected
        priors, confusion = steps.maximise(posteriors)
    items = steps.items / max(steps.items.sum(), 1)
    right = np.einsum("gvjj,gj->gv", confusion, priors)
    return Fit(posteriors[found.index], priors, confusion, items @ right, taken, change <= model.tolerance)


class _Steps:
    """The two steps on patterns of votes. A vote table is kept as 0 and 1, so that both are products of matrices."""

    def __init__(self, found: Patterns, n_statuses: int, model: DawidSkene) -> None:
        self._found, self._model, self._n_statuses = found, model, n_statuses
        n, self._n_voters = found.codes.shape
        said = found.codes[:, :, None] == np.arange(n_statuses, dtype=np.int8)
        self._said = said.reshape(n, self._n_voters * n_statuses).astype(np.float64)
        n_groups = int(found.groups.max(initial=0)) + 1
        bounds = np.searchsorted(found.groups, np.arange(n_groups + 1))
        self._slices = [slice(start, end) for start, end in pairwise(bounds)]
        self._known = np.flatnonzero(found.known >= 0)
        self.items = np.bincount(found.groups, weights=found.weights, minlength=n_groups)

    def hold(self, posteriors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Put the known truths in, in place."""
        posteriors[self._known] = 0.0
        posteriors[self._known, self._found.known[self._known]] = 1.0
        return posteriors

    def maximise(self, posteriors: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return priors `(G, S)` and confusion `(G, V, S, S)`."""
        mass = posteriors * self._found.weights[:, None]
        shape = (self._n_statuses, self._n_voters, self._n_statuses)
        classes = np.stack([mass[part].sum(axis=0) for part in self._slices])
        counts = np.stack([(mass[part].T @ self._said[part]).reshape(shape) for part in self._slices]).swapaxes(1, 2)
        decent = np.full((self._n_statuses, self._n_statuses), (1 - PRIOR_ACCURACY) / (self._n_statuses - 1))
        np.fill_diagonal(decent, PRIOR_ACCURACY)
        smoothing, shrinkage = self._model.smoothing, self._model.shrinkage
        priors = _shares(classes.sum(axis=0) + smoothing / self._n_statuses)
        confusion = _shares(counts.sum(axis=0) + smoothing * decent)
        if len(self._slices) == 1:
            return priors[None], confusion[None]
        return _shares(classes + shrinkage * priors), _shares(counts + shrinkage * confusion)

    def expect(self, priors: npt.NDArray[np.float64], confusion: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the posteriors `(P, S)`."""
        votes = np.log(confusion).swapaxes(2, 3).reshape(len(priors), -1, self._n_statuses)
        log_prior = np.log(priors)
        logs = np.concatenate(
            [self._said[part] @ votes[group] + log_prior[group] for group, part in enumerate(self._slices)]
        )
        likelihoods = np.exp(logs - logs.max(axis=1, keepdims=True))
        return self.hold(likelihoods / likelihoods.sum(axis=1, keepdims=True))


def _shares(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    counts = np.maximum(counts, LEAST_COUNT)
    counts /= counts.sum(axis=-1, keepdims=True)
    return counts
