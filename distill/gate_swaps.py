"""Tests by swapping: would champion and candidate differ so much if it were a coin's toss which of them is which?

If two students are equally good, swapping all that they say of one patient changes nothing but luck. So the difference
is taken again with the two swapped in each patient or not, at random, many times; the p-value is the share of draws
that differ at least as much (approximate randomisation: Noreen 1989; for F1, Yeh 2000, arXiv cs/0008005). Unlike a
bootstrap it stays honest with few differing reports: one report says nothing (p = 1/2), five of five p = 1/32.
Patients, not reports, are swapped, because a patient's reports are misread together.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from teachback.store.quality.bootstrap import Counts, Floats

__all__ = ["Compared", "F1Sums", "compare_by_swapping", "f1_of", "flip_signs"]

SWAPS = 10_000  # smallest p-value 1e-4: small enough for Holm over some 14 tests at 5 %
_SLACK = 1e-12  # equal differences must count as equal however they were summed


@dataclass(frozen=True, slots=True)
class F1Sums:
    """Counts of each cluster that F1 is made of, for G groups of findings (a single one, several, or all).

    Attributes:
        hits: (C, 2, G) true positives of the champion and of the candidate.
        called: (C, 2, G) what each calls present.
        positives: (C, G) curated positives.
    """

    hits: Floats
    called: Floats
    positives: Floats

    def pooled(self, groups: npt.NDArray[np.bool_]) -> "F1Sums":
        """Add findings up to groups: (13, G) which finding belongs to which group."""
        belongs = groups.astype(np.float64)
        return F1Sums(self.hits @ belongs, self.called @ belongs, self.positives @ belongs)


@dataclass(frozen=True, slots=True)
class Compared:
    """Differences of F1, candidate minus champion, with their p-values.

    Attributes:
        gain: (G,) the differences.
        better: (G,) p-value against "it is not better".
        worse: (G,) p-value against "it is not worse".
    """

    gain: Floats
    better: Floats
    worse: Floats


def f1_of(hits: Floats, called: Floats, positives: Floats) -> Floats:
    """Return F1; 1 where there is nothing to find and nothing is called, so that the first false alarm counts."""
    bottom = called + positives
    out: Floats = np.ones(bottom.shape)
    return np.divide(2 * hits, bottom, out=out, where=bottom > 0)


def compare_by_swapping(sums: F1Sums, *, seed: int = 0, swaps: int = SWAPS) -> Compared:
    """Test whether candidate and champion have the same F1, in each group.

    Args:
        sums: Counts by cluster.
        seed: Seed of the draws.
        swaps: Number of draws, B.
    """
    hits, called, positives = (x.sum(axis=0) for x in (sums.hits, sums.called, sums.positives))
    gain = f1_of(hits[1], called[1], positives) - f1_of(hits[0], called[0], positives)
    halves = np.concatenate([sums.hits[:, 1] - sums.hits[:, 0], sums.called[:, 1] - sums.called[:, 0]], axis=1) / 2
    swing_hits, swing_called = np.split(flip_signs(halves, seed, swaps), 2, axis=1)
    middle_hits, middle_called = hits.mean(axis=0), called.mean(axis=0)
    drawn = f1_of(middle_hits + swing_hits, middle_called + swing_called, positives)
    drawn -= f1_of(middle_hits - swing_hits, middle_called - swing_called, positives)
    return Compared(
        gain, _share((drawn >= gain - _SLACK).sum(axis=0), swaps), _share((drawn <= gain + _SLACK).sum(axis=0), swaps)
    )


def flip_signs(values: Floats, seed: int, swaps: int = SWAPS) -> Floats:
    """Sum each column with random signs by row, many times: (C, K) -> (B, K)."""
    moving = values[(values != 0).any(axis=1)]
    signs = np.random.default_rng(seed).integers(0, 2, size=(swaps, len(moving)), dtype=np.int8)
    sums: Floats = (2.0 * signs - 1.0) @ moving
    return sums


def _share(beyond: Counts, swaps: int) -> Floats:
    """The draw that was observed counts among the draws, so that no p-value is 0."""
    return np.asarray((beyond + 1) / (swaps + 1))
