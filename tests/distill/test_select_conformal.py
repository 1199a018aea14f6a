import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom

from teachback.distill.conformal import Ladder, climb_down, fewest_clusters, lower_tail, plan_ladder

ERROR = DELTA = 0.05


def ladder(scores: NDArray[np.float64], clusters: NDArray[np.int64], delta: float = DELTA) -> Ladder:
    return plan_ladder(scores, 1 - scores, clusters, ERROR, delta)


@pytest.mark.parametrize(("error", "delta", "clusters"), [(0.05, 0.05, 59), (0.45, 0.05, 6), (0.05, 0.025, 72)])
def test_errorless_clusters_that_certify(error: float, delta: float, clusters: int) -> None:
    # 0.95 ** 59 = 0.0485, 0.55 ** 6 = 0.0277, 0.95 ** 72 = 0.0249; one fewer is not enough
    assert fewest_clusters(error, delta) == clusters
    assert (1 - error) ** clusters <= delta < (1 - error) ** (clusters - 1)


def test_two_pairs_and_a_single_by_hand() -> None:
    # A coin of 0.1 each. No error: .9 ** 3 = .729. The single alone wrong: .1 * .81 = .081, in all .81. One of two
    # pairs wrong and the single right: 2 * .1 * .9 * .9 = .162, in all .972.
    sizes = (1, 2)  # one cluster of one, two clusters of two
    assert lower_tail(sizes, -1, 0.1) == 0.0
    assert lower_tail(sizes, 0, 0.1) == pytest.approx(0.729)
    assert lower_tail(sizes, 1, 0.1) == pytest.approx(0.81)
    assert lower_tail(sizes, 2, 0.1) == pytest.approx(0.972)
    assert lower_tail(sizes, 5, 0.1) == pytest.approx(1.0)


@given(st.integers(1, 600), st.integers(0, 600), st.floats(0.01, 0.4))
def test_of_clusters_of_one_it_is_the_binomial_test(n: int, errors: int, error: float) -> None:
    assert lower_tail((n,), min(errors, n), error) == pytest.approx(binom.cdf(min(errors, n), n, error), abs=1e-9)


def tail_of(sizes: list[int], errors: int, together: float) -> float:
    """The same tail where a cluster errs as a whole with a probability, else each of its predictions by itself."""
    law = np.ones(1)
    for size, count in enumerate(sizes, 1):
        own = (1 - together) * binom.pmf(np.arange(size + 1), size, ERROR)
        own[[0, size]] += together * np.array([1 - ERROR, ERROR])
        for _ in range(count):
            law = np.convolve(law, own)
    return float(law[: errors + 1].sum())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=5).filter(any),
    st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]),
)
def test_where_it_passes_no_partial_dependence_would_have_been_a_surprise(sizes: list[int], together: float) -> None:
    """A test at 5 % that passes with some number of errors is at most at 5 % however the clusters hang together."""
    predictions = sum(size * count for size, count in enumerate(sizes, 1))
    passing = [k for k in range(predictions) if lower_tail(sizes, k, ERROR) <= DELTA]
    for errors in passing[-1:]:
        assert tail_of(sizes, errors, together) <= DELTA + 1e-9


@pytest.mark.parametrize(("patients", "visits", "certified"), [(1, 200, False), (58, 3, False), (59, 3, True)])
def test_reports_of_a_patient_are_one_piece_of_news(patients: int, visits: int, certified: bool) -> None:
    clusters = np.repeat(np.arange(patients), visits)
    planned = ladder(np.linspace(0.95, 0.999, len(clusters)), clusters)
    assert planned.clusters == patients
    assert bool(climb_down(planned, np.zeros(len(clusters), bool), ERROR, DELTA)) == certified


def test_an_error_that_three_reports_of_a_patient_share_counts_once() -> None:
    # 100 patients of three reports. Three errors of 300 in one patient: 1 of 100, P = .037, passes at .05. Three errors
    # of 100 independent reports would not (.258); of 300 they would.
    clusters = np.repeat(np.arange(100), 3)
    wrong = np.zeros(300, bool)
    wrong[-3:] = True
    planned = ladder(np.full(300, 0.99), clusters)
    assert [rung.accepted for rung in planned.rungs] == [300]
    assert (
        lower_tail((0, 0, 100), 3, ERROR) == pytest.approx(binom.cdf(1, 100, ERROR)) == pytest.approx(0.0371, abs=1e-4)
    )
    assert climb_down(planned, wrong, ERROR, DELTA) == [3]


def test_the_walk_begins_where_the_student_expects_to_pass_and_one_error_at_the_top_is_no_end() -> None:
    # All 400 are .99 sure: the laxest threshold has the best chance (13 errors of 400 would pass, 4 are expected).
    scores = 0.99 + np.arange(400) * 1e-6
    wrong = np.zeros(400, bool)
    wrong[-1] = True  # the surest of all; alone it would have ended a walk from the 59 surest
    planned = ladder(scores, np.arange(400))
    assert planned.rungs[0].accepted > 200
    assert climb_down(planned, wrong, ERROR, DELTA)[-1] == 1


def test_the_walk_stops_at_the_first_threshold_that_fails() -> None:
    scores = np.linspace(0.8, 0.999, 500)
    planned = ladder(scores, np.arange(500))
    wrong = scores < 0.9
    passed = climb_down(planned, wrong, ERROR, DELTA)
    assert 0 < len(passed) < len(planned.rungs)
    failed = planned.rungs[len(passed)]
    assert lower_tail(failed.sizes, int(wrong[scores >= failed.threshold].sum()), ERROR) > DELTA


@given(st.lists(st.floats(0.3, 1.0), max_size=150), st.integers(1, 150))
def test_the_rungs_are_thresholds_of_the_scores_ever_laxer(scores: list[float], patients: int) -> None:
    given_scores = np.array(scores)
    clusters = np.arange(len(scores)) % patients
    planned = ladder(given_scores, clusters)
    assert (len(planned.rungs) == 0) == (len(np.unique(clusters)) < 59)
    for rung in planned.rungs:
        kept = given_scores >= rung.threshold
        assert rung.accepted == kept.sum()  # equal scores together
        counts = np.unique(clusters[kept], return_counts=True)[1]
        assert rung.sizes == tuple(int((counts == size).sum()) for size in range(1, counts.max() + 1))
    assert sorted({rung.accepted for rung in planned.rungs}) == [rung.accepted for rung in planned.rungs]


def test_at_the_bound_patients_that_err_together_are_certified_in_5_percent_of_cases_and_naively_far_more_often() -> (
    None
):
    random = np.random.default_rng(0)
    trials, ours, naive = 300, 0, 0
    for _ in range(trials):
        clusters = np.repeat(np.arange(100), 4)
        wrong = (random.random(100) < 0.052)[clusters]
        scores = random.uniform(0.96, 1.0, 100)[clusters]
        ours += bool(climb_down(ladder(scores, clusters), wrong, ERROR, DELTA))
        naive += bool(climb_down(ladder(scores, np.arange(400)), wrong, ERROR, DELTA))
    slack = 3 * np.sqrt(0.05 * 0.95 / trials)
    assert 0 < ours / trials <= 0.05 + slack
    assert naive / trials > 0.05 + slack
