"""Intervals of an error rate, from labels that were drawn without replacement and judged.

One stratum: Clopper and Pearson's interval (1934, doi:10.1093/biomet/26.4.404) with the hypergeometric law in place of
the binomial (Wright 1991, Exact Confidence Bounds when Sampling from Small Finite Universes), so that it shrinks to a
point when the whole stratum has been judged. Its coverage is never below the level; of approximate intervals, Wilson's
(1927, doi:10.2307/2276774) is on average shorter and at some rates below it (Brown, Cai and DasGupta 2001,
doi:10.1214/ss/1009213286).

Several strata: the rate is the sum of their rates weighted by their sizes (Horvitz and Thompson 1952,
doi:10.2307/2280784). A variance estimated from few errors is worthless, and none at all gives an interval of no width,
so the interval is that of Fay and Feuer (1997, doi:10.1002/(SICI)1097-0258(19970415)16:7<791::AID-SIM500>3.0.CO;2-#)
for weighted counts: its upper limit is as if one more error had been found where an error weighs most. It is carried
over from Poisson counts to shares by a beta law that gives Clopper and Pearson's limits where all weights are equal,
in the manner of Korn and Graubard (1998, Survey Methodology 24, 193-201).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Counted", "Interval", "beta_quantile", "binomial_interval", "exact_interval", "stratified_interval"]

_TINY = 1e-300  # in place of a zero divisor
_CONVERGED = 1e-13
_STEPS = 200  # far more than are taken


@dataclass(frozen=True, slots=True)
class Counted:
    """What is known of one stratum.

    Attributes:
        population: Labels that it has.
        judged: Those that were drawn and judged.
        wrong: Judged ones that are wrong; a fraction where a number is only expected.
    """

    population: int
    judged: int
    wrong: float


@dataclass(frozen=True, slots=True)
class Interval:
    """A rate and its interval; NaN, 0 and 1 where nothing was judged.

    Attributes:
        value: The rate.
        low: Lower limit.
        high: Upper limit.
    """

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the interval's width."""
        return (self.high - self.low) / 2


def stratified_interval(strata: Sequence[Counted], level: float = 0.95) -> Interval:
    """Estimate the rate in the union of strata, each of which was sampled by itself.

    The value is that of the strata in which something was judged; the limits allow for any rate in the others.

    Args:
        strata: The strata; those without labels do not count.
        level: Coverage.
    """
    known = [stratum for stratum in strata if stratum.judged]
    population, total = sum(s.population for s in known), sum(s.population for s in strata)
    if not population:
        return Interval(math.nan, 0.0, 1.0)
    inner = exact_interval(known[0], level) if len(known) == 1 else _weighted_interval(known, level)
    share = population / total
    return Interval(inner.value, inner.low * share, inner.high * share + 1 - share)


def binomial_interval(part: int, whole: int, level: float = 0.95) -> Interval:
    """Estimate a share from independent trials: Clopper and Pearson's interval.

    Args:
        part: Trials with the outcome.
        whole: Trials; 0 gives NaN between 0 and 1.
        level: Coverage, at least; each tail has half of the rest.
    """
    if not whole:
        return Interval(math.nan, 0.0, 1.0)
    tail = (1 - level) / 2
    low = beta_quantile(tail, part, whole - part + 1) if part else 0.0
    high = beta_quantile(1 - tail, part + 1, whole - part) if part < whole else 1.0
    return Interval(part / whole, low, high)


def exact_interval(stratum: Counted, level: float = 0.95) -> Interval:
    """Estimate the rate in one stratum: all numbers of wrong labels that do not make what was found too unlikely.

    Args:
        stratum: The stratum, with one judged label or more; the wrong ones are rounded to a whole number.
        level: Coverage, at least; each tail has half of the rest.
    """
    population, judged, wrong = stratum.population, stratum.judged, round(stratum.wrong)
    tail = (1 - level) / 2
    fewest, most = wrong, population - judged + wrong
    low = _first(fewest, most, lambda bad: 1 - _at_most(wrong - 1, population, bad, judged) > tail)
    high = _first(fewest, most + 1, lambda bad: bad > most or _at_most(wrong, population, bad, judged) <= tail) - 1
    return Interval(wrong / judged, low / population, high / population)


def _weighted_interval(strata: Sequence[Counted], level: float) -> Interval:
    total = sum(s.population for s in strata)
    weights = [s.population / total / s.judged for s in strata]
    rate = sum(weight * s.wrong for weight, s in zip(weights, strata, strict=True))
    # What an error weighs where part of the stratum was judged already: the less is left, the less is unknown.
    left = [weight * _left(s) for weight, s in zip(weights, strata, strict=True)]
    spread = sum(weight**2 * s.wrong for weight, s in zip(left, strata, strict=True))
    tail = (1 - level) / 2
    low, high = rate, rate
    if spread > 0:
        size = rate / spread
        low = beta_quantile(tail, rate * size, max(size * (1 - rate), 0.0) + 1)
    if any(left):  # counts come in whole errors, however little is left: the one more is not made lighter
        upper = rate + max(weight for weight, rest in zip(weights, left, strict=True) if rest)
        spread += max(left) ** 2
        size = upper / spread
        right = size * (1 - upper) + 1
        high = beta_quantile(1 - tail, upper * size, right) if right > 0 else 1.0
    # What was judged is known for certain, whatever the rest may be.
    fewest = sum(s.wrong for s in strata) / total
    most = 1 - sum(s.judged - s.wrong for s in strata) / total
    return Interval(rate, min(max(low, fewest), rate), max(min(high, most), rate))


def _left(stratum: Counted) -> float:
    """Return by how much a limit is nearer than for an endless stratum (exactly so for the upper one at no errors)."""
    share = stratum.judged / stratum.population
    return 0.0 if share >= 1 else -share / math.log1p(-share)


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """Return the first whole number of a range for which something holds, as it does for all behind it."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _at_most(wrong: int, population: int, bad: int, judged: int) -> float:
    """Return the probability of at most so many wrong labels among the judged, if so many of all are bad."""
    fewest, most = max(0, judged - (population - bad)), min(bad, judged)
    if wrong < fewest:
        return 0.0
    if wrong >= most:
        return 1.0
    at = _log_choose(bad, wrong) + _log_choose(population - bad, judged - wrong) - _log_choose(population, judged)
    # From one count to the next lower one the probability changes by a ratio of four numbers.
    below = np.arange(wrong, fewest, -1, dtype=np.float64)
    steps = np.log(below) + np.log(population - bad - judged + below)
    steps -= np.log(bad - below + 1) + np.log(judged - below + 1)
    return min(1.0, math.exp(at) + float(np.exp(at + np.cumsum(steps)).sum()))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Return below which share the beta law of `a` and `b` has this probability.

    Args:
        probability: In (0, 1).
        a: First parameter, above 0.
        b: Second parameter, above 0.
    """
    low, high, at = 0.0, 1.0, a / (a + b)
    for _ in range(_STEPS):
        above = _beta_below(at, a, b) - probability
        low, high = (low, at) if above > 0 else (at, high)
        # Newton's step where it stays between what is known to be too low and too high, else the middle of these.
        density = math.exp(_log_density(at, a, b))
        following = at - above / density if density > 0 else math.nan
        if not low < following < high:
            following = (low + high) / 2
        if abs(following - at) < _CONVERGED * at:
            break
        at = following
    return at


def _beta_below(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function (DLMF 8.17.22)."""
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on the other side
        return 1 - _beta_below(1 - x, b, a)
    if x <= 0:
        return 0.0
    return math.exp(_log_density(x, a, b)) * x * (1 - x) / a / _beta_fraction(x, a, b)


def _log_density(x: float, a: float, b: float) -> float:
    front = (a - 1) * math.log(x) + (b - 1) * math.log1p(-x)
    return front + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)


def _beta_fraction(x: float, a: float, b: float) -> float:
    """Evaluate the continued fraction 1 + d1 / (1 + d2 / (1 + ...)) from the front (Lentz's method)."""
    value, upper, lower, step = 1.0, 1.0, 0.0, 0
    while True:
        step += 1
        m = step // 2
        if step % 2:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        lower = 1 / (1 + d * lower or _TINY)
        upper = 1 + d / upper or _TINY
        value *= upper * lower
        if abs(upper * lower - 1) < _CONVERGED:
            return value
