import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import beta, chi2, hypergeom

from teachback.store.review.intervals import Counted, beta_quantile, exact_interval, stratified_interval

ENDLESS = 10**8  # labels of which a few hundred are no part
SURVEYS_DRAWN = 250


def clopper_pearson(wrong: int, judged: int, tail: float = 0.025) -> tuple[float, float]:
    low = beta.ppf(tail, wrong, judged - wrong + 1) if wrong else 0.0
    high = beta.ppf(1 - tail, wrong + 1, judged - wrong) if wrong < judged else 1.0
    return float(low), float(high)


@given(st.floats(0.05, 1e5), st.floats(0.05, 1e5), st.floats(0.001, 0.999))
def test_beta_quantile_is_scipys(a: float, b: float, probability: float) -> None:
    assert beta_quantile(probability, a, b) == pytest.approx(beta.ppf(probability, a, b), abs=1e-9)


@settings(max_examples=60)
@given(st.data())
def test_one_stratum_has_the_limits_that_scipys_hypergeometric_law_gives(data: st.DataObject) -> None:
    population = data.draw(st.integers(1, 60))
    judged = data.draw(st.integers(1, population))
    wrong = data.draw(st.integers(0, judged))
    bad = np.arange(wrong, population - judged + wrong + 1)  # what is possible after what was seen
    fewer, more = hypergeom.cdf(wrong, population, bad, judged), hypergeom.sf(wrong - 1, population, bad, judged)
    assume(not np.isclose(fewer, 0.025, rtol=1e-9).any() and not np.isclose(more, 0.025, rtol=1e-9).any())
    likely = (fewer > 0.025) & (more > 0.025)
    found = exact_interval(Counted(population, judged, wrong))
    assert found.value == wrong / judged
    assert round(found.low * population) == bad[likely].min()
    assert round(found.high * population) == bad[likely].max()


@pytest.mark.parametrize(("judged", "wrong"), [(20, 0), (20, 3), (500, 25), (500, 499), (7, 7)])
def test_an_endless_stratum_has_clopper_and_pearsons_limits(judged: int, wrong: int) -> None:
    found = exact_interval(Counted(ENDLESS, judged, wrong))
    assert (found.low, found.high) == pytest.approx(clopper_pearson(wrong, judged), abs=1e-5)


@pytest.mark.parametrize("wrong", [(0, 0, 0), (3, 2, 0), (40, 60, 80), (100, 100, 100)])
def test_strata_of_equal_weight_are_one_large_sample(wrong: tuple[int, int, int]) -> None:
    found = stratified_interval([Counted(ENDLESS, 100, n) for n in wrong])
    assert found.value == pytest.approx(sum(wrong) / 300)
    assert (found.low, found.high) == pytest.approx(clopper_pearson(sum(wrong), 300), abs=1e-5)


def test_rare_errors_of_unequal_weight_have_fay_and_feuers_limits() -> None:
    # Weights a label: .5 / 1,000 and .5 / 4,000. Rate .5 * 6 / 1,000 + .5 * 8 / 4,000 = .004.
    found = stratified_interval([Counted(ENDLESS, 1000, 6), Counted(ENDLESS, 4000, 8)])
    assert found.value == pytest.approx(0.004)
    spread = 6 * 0.0005**2 + 8 * 0.000125**2
    low = spread / 0.008 * chi2.ppf(0.025, 2 * 0.004**2 / spread)
    more, wider = 0.004 + 0.0005, spread + 0.0005**2
    high = wider / (2 * more) * chi2.ppf(0.975, 2 * more**2 / wider)
    assert (found.low, found.high) == pytest.approx((low, high), rel=0.01)  # Poisson counts there, shares here


def test_no_error_anywhere_leaves_what_the_thinnest_sample_can_hide() -> None:
    # All errors may be in the stratum where a judged label stands for the most others: 1 - .025 ^ (.9 / 50) = .0642.
    found = stratified_interval([Counted(9 * ENDLESS, 50, 0), Counted(ENDLESS, 500, 0)])
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(1 - 0.025 ** (0.9 / 50), abs=1e-5)


def test_what_was_judged_whole_is_known() -> None:
    found = stratified_interval([Counted(10, 10, 1), Counted(30, 30, 3)])
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    part = stratified_interval([Counted(10, 10, 1), Counted(30, 29, 3)])
    assert part.low >= 4 / 40
    assert part.high <= 5 / 40 + 1e-9  # one label is not known


def test_a_stratum_without_reviews_may_be_anything() -> None:
    known = exact_interval(Counted(300, 100, 5))
    found = stratified_interval([Counted(300, 100, 5), Counted(100, 0, 0)])
    assert found.value == 0.05
    assert found.low == pytest.approx(0.75 * known.low)
    assert found.high == pytest.approx(0.75 * known.high + 0.25)
    nothing = stratified_interval([Counted(100, 0, 0)])
    assert math.isnan(nothing.value)
    assert (nothing.low, nothing.high) == (0, 1)


# Labels, judged ones and bad ones of each stratum: even, thin where it matters, nearly whole, and with errors hidden in
# the large stratum, the small one, or everywhere.
SURVEYS: Sequence[tuple[list[int], list[int], list[int]]] = (
    ([2000], [457], [100]),
    ([1000, 1000], [100, 100], [50, 50]),
    ([500] * 6, [100] * 6, [10] * 6),
    ([10_000, 100], [200, 50], [100, 50]),
    ([100, 10_000], [90, 100], [30, 0]),
    ([100, 10_000], [90, 100], [0, 200]),
    ([100, 200, 400, 800, 1600, 3200], [90, 150, 200, 250, 300, 350], [30, 40, 40, 40, 32, 32]),
    ([5000, 5000], [20, 1000], [100, 1500]),
    ([5000, 5000], [20, 20], [4500, 4750]),
    ([40, 60, 50], [38, 55, 47], [4, 3, 10]),
)


@pytest.mark.parametrize(("populations", "judged", "bad"), SURVEYS)
def test_intervals_cover_the_true_rate(populations: list[int], judged: list[int], bad: list[int]) -> None:
    random = np.random.default_rng(0)
    drawn = [
        random.hypergeometric(k, n - k, m, SURVEYS_DRAWN) for n, m, k in zip(populations, judged, bad, strict=True)
    ]
    truth = sum(bad) / sum(populations)
    covered = 0
    for wrong in np.stack(drawn, axis=1):
        rows = zip(populations, judged, map(int, wrong), strict=True)
        found = stratified_interval([Counted(*row) for row in rows])
        covered += found.low - 1e-12 <= truth <= found.high + 1e-12
    assert covered >= 0.93 * SURVEYS_DRAWN
