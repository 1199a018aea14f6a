"""F1 with clustered intervals, against hand-worked arithmetic, scikit-learn and a plainly written bootstrap."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from teachback.store.label import FINDINGS
from teachback.store.quality.bootstrap import cluster_sums, estimate, resample_sums
from teachback.store.quality.f1 import evaluate_statuses, f1_score, paired_difference

PRESENT, ABSENT, UNCERTAIN, UNMENTIONED, NONE = 0, 1, 2, 3, -1


def blank(n: int, code: int = UNMENTIONED) -> np.ndarray:
    return np.full((n, 13), code, dtype=np.int8)


codes = st.integers(1, 12).flatmap(lambda n: st.tuples(*[arrays(np.int8, (n, 13), elements=st.integers(-1, 3))] * 3))


def random_codes(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.choice(4, size=(n, 13), p=[0.15, 0.3, 0.05, 0.5]).astype(np.int8)
    noisy = [np.where(rng.random((n, 13)) < keep, truth, rng.integers(-1, 4, (n, 13))) for keep in (0.7, 0.9)]
    return truth, noisy[0].astype(np.int8), noisy[1].astype(np.int8)


def test_counts_by_hand() -> None:
    truth, said = blank(4), blank(4)
    truth[:, 0] = [PRESENT, PRESENT, ABSENT, UNCERTAIN]
    said[:, 0] = [PRESENT, NONE, PRESENT, PRESENT]
    truth[:, 1] = [PRESENT, NONE, NONE, NONE]
    said[:, 1] = [PRESENT, PRESENT, PRESENT, PRESENT]
    report = evaluate_statuses(truth, said, np.arange(4))
    first, second = report.findings[0], report.findings[1]
    # finding 0: tp report 0; fn report 1 (abstained); fp reports 2 and 3. F1 = 2 / (2 + 2 + 1) = 0.4
    assert (first.tp, first.fp, first.fn, first.abstained, first.n) == (1, 2, 1, 1, 4)
    assert (first.precision.value, first.recall.value, first.f1.value) == pytest.approx((1 / 3, 1 / 2, 0.4))
    # finding 1: three cells have no curated label, so their "present" is not a false positive
    assert (second.n, second.positives, second.predicted_positives, second.f1.value) == (1, 1, 1, 1.0)
    # micro: tp 2, fp 2, fn 1: 4 / 7; macro over the two findings with positives: (0.4 + 1) / 2
    assert report.micro.value == pytest.approx(4 / 7)
    assert report.macro.value == pytest.approx(0.7)
    # weighted: two positives at 0.4, one at 1
    assert report.weighted.value == pytest.approx((2 * 0.4 + 1) / 3)
    assert report.macro_findings == FINDINGS[:2]
    assert (report.positives, report.predicted_positives, report.abstained) == (3, 4, 1)
    assert report.n_cells == 4 + 1 + 11 * 4


def test_uncertain_counts_as_positive_on_request() -> None:
    truth, said = blank(2), blank(2)
    truth[:, 0], said[:, 0] = [PRESENT, UNCERTAIN], [UNCERTAIN, ABSENT]
    strict = evaluate_statuses(truth, said, np.arange(2)).findings[0]
    lenient = evaluate_statuses(truth, said, np.arange(2), positive={"present", "uncertain"}).findings[0]
    assert (strict.tp, strict.fp, strict.fn) == (0, 0, 1)
    assert (lenient.tp, lenient.fp, lenient.fn) == (1, 0, 1)


def test_undefined_f1_is_nan_and_none_in_json() -> None:
    report = evaluate_statuses(blank(3), blank(3), np.arange(3))
    assert math.isnan(report.micro.value)
    assert math.isnan(report.macro.value)
    assert report.macro_findings == ()
    assert report.as_dict()["micro"] == {"value": None, "low": None, "high": None}
    assert math.isnan(f1_score(0, 0, 0))
    assert f1_score(1, 2, 1) == pytest.approx(0.4)


def test_one_cluster_has_no_interval() -> None:
    truth, said, _ = random_codes(20, 0)
    report = evaluate_statuses(truth, said, np.zeros(20, dtype=int))
    assert report.micro.value > 0
    assert math.isnan(report.micro.low)
    assert report.n_clusters == 1


def test_reports_without_curated_labels_change_nothing() -> None:
    truth, said, _ = random_codes(30, 1)
    more = np.concatenate([truth, blank(50, NONE)])
    padded = evaluate_statuses(more, np.concatenate([said, blank(50, PRESENT)]), np.arange(80))
    assert padded.as_dict() == evaluate_statuses(truth, said, np.arange(30)).as_dict()


def test_matches_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    truth, said, _ = random_codes(200, 2)
    report = evaluate_statuses(truth, said, np.arange(200), n_boot=0)
    t, p = truth == PRESENT, said == PRESENT
    assert report.micro.value == pytest.approx(metrics.f1_score(t, p, average="micro"))
    assert report.macro.value == pytest.approx(metrics.f1_score(t, p, average="macro"))
    assert report.weighted.value == pytest.approx(metrics.f1_score(t, p, average="weighted"))
    for i, finding in enumerate(report.findings):
        expected = metrics.precision_recall_fscore_support(t[:, i], p[:, i], average="binary")[:3]
        assert (finding.precision.value, finding.recall.value, finding.f1.value) == pytest.approx(expected)


def test_interval_matches_a_bootstrap_that_rebuilds_every_resample() -> None:
    truth, said, _ = random_codes(150, 3)
    clusters = np.arange(150) // 3
    rng = np.random.default_rng(9)
    micro = []
    for _ in range(2000):
        rows = np.concatenate([np.flatnonzero(clusters == c) for c in rng.integers(0, 50, 50)])
        t, p = truth[rows] == PRESENT, said[rows] == PRESENT
        micro.append(2 * (t & p).sum() / (t.sum() + p.sum()))
    report = evaluate_statuses(truth, said, clusters)
    assert report.n_clusters == 50
    assert (report.micro.low, report.micro.high) == pytest.approx(tuple(np.quantile(micro, [0.025, 0.975])), abs=0.006)


def test_equal_clusters_collapse_to_the_same_law() -> None:
    # 40 clusters, of two kinds: the resampled sum is binomial(40, 1/4), mean 10 and variance 7.5
    sums = np.array([[1]] * 10 + [[0]] * 30)
    drawn = resample_sums(sums, 20_000, 0)[:, 0]
    assert drawn.mean() == pytest.approx(10, abs=0.1)
    assert drawn.var() == pytest.approx(7.5, abs=0.3)
    # all clusters distinct takes the other way of drawing: mean 19.5 * 40, variance 40 * (40**2 - 1) / 12
    drawn = resample_sums(np.arange(40)[:, None], 20_000, 0)[:, 0]
    assert drawn.mean() == pytest.approx(780, abs=3)
    assert drawn.var() == pytest.approx(40 * 1599 / 12, rel=0.05)


def test_cluster_sums_by_hand() -> None:
    sums = cluster_sums(np.array([[1, 0], [2, 1], [4, 0]]), np.array([7, 3, 7]))
    assert sums.tolist() == [[2, 1], [5, 0]]
    assert cluster_sums(np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=int)).shape == (0, 2)


def test_estimate_leaves_out_undefined_resamples() -> None:
    # 0.0, 0.1 ... 1.0 and a NaN: the 80 % interval is the 10th and the 90th percentile of the eleven
    figure = estimate(0.5, np.append(np.arange(11) / 10, np.nan), level=0.8)
    assert (figure.low, figure.high) == pytest.approx((0.1, 0.9))


def test_wider_clusters_give_wider_intervals() -> None:
    truth, said, _ = random_codes(60, 4)
    twice = np.concatenate([truth] * 4), np.concatenate([said] * 4)
    apart = evaluate_statuses(*twice, np.arange(240)).micro
    together = evaluate_statuses(*twice, np.tile(np.arange(60), 4)).micro
    # four copies of each report pretend four times the evidence: half the width
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(2, rel=0.15)


@given(codes)
@settings(max_examples=40, deadline=None)
def test_identity_gives_one_and_no_difference(drawn: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, a, _ = drawn
    clusters = np.arange(len(truth))
    report = evaluate_statuses(truth, truth, clusters, n_boot=50)
    if report.positives:
        assert (report.micro.value, report.macro.value) == (1.0, 1.0)
        paired = paired_difference(truth, a, a, clusters, n_boot=50)
        assert paired.micro.value == paired.macro.value == 0.0
        assert not paired.wins
        assert not paired.losses
        assert np.nan_to_num(paired.micro.low) == np.nan_to_num(paired.micro.high) == 0.0
    assert report.abstained == 0


@given(codes)
@settings(max_examples=40, deadline=None)
def test_swapping_the_labelers_swaps_the_sign(drawn: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, a, b = drawn
    clusters = np.arange(len(truth))
    forward = paired_difference(truth, a, b, clusters, n_boot=20)
    backward = paired_difference(truth, b, a, clusters, n_boot=20)
    for there, back in zip((forward.micro, forward.macro), (backward.micro, backward.macro), strict=True):
        assert there.value == pytest.approx(-back.value, nan_ok=True)
    # and the difference is that of the two reports
    micro = [evaluate_statuses(truth, x, clusters, n_boot=0).micro.value for x in (a, b)]
    assert forward.micro.value == pytest.approx(micro[1] - micro[0], nan_ok=True)


@given(codes)
@settings(max_examples=40, deadline=None)
def test_order_and_numbers_of_clusters_do_not_matter(
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    truth, a, _ = drawn
    clusters = np.arange(len(truth)) // 2
    order = np.random.default_rng(len(truth)).permutation(len(truth))
    names = np.random.default_rng(1).permutation(100)[clusters] - 50
    before = evaluate_statuses(truth, a, clusters, n_boot=30)
    after = evaluate_statuses(truth[order], a[order], names[order], n_boot=30)
    assert before.as_dict() == after.as_dict()  # intervals included, to the last bit


@given(codes)
@settings(max_examples=40, deadline=None)
def test_figures_are_consistent(drawn: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, a, _ = drawn
    report = evaluate_statuses(truth, a, np.arange(len(truth)), n_boot=30)
    assert sum(f.tp + f.fn for f in report.findings) == report.positives
    assert sum(f.tp + f.fp for f in report.findings) == report.predicted_positives
    for f in report.findings:
        assert f.f1.value == pytest.approx(f1_score(f.tp, f.fp, f.fn), nan_ok=True)
        assert math.isnan(f.f1.low) or 0 <= f.f1.low <= f.f1.high <= 1


def test_paired_difference_sees_what_separate_intervals_cannot() -> None:
    truth, a, _ = random_codes(300, 5)
    b = a.copy()
    wrong = np.argwhere((a[:, 3] != truth[:, 3]) & (truth[:, 3] == PRESENT))[:8, 0]
    b[wrong, 3] = truth[wrong, 3]  # b mends eight misses of finding 3, nothing else
    paired = paired_difference(truth, a, b, np.arange(300))
    separate = [evaluate_statuses(truth, x, np.arange(300)).micro for x in (a, b)]
    assert separate[0].high > separate[1].low
    assert paired.micro.low > 0
    assert paired.wins == (FINDINGS[3],)
    assert len(paired.ties) == 12
    assert paired.losses == ()
    assert paired.as_dict()["findings"][FINDINGS[0]]["value"] == 0.0


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        evaluate_statuses(blank(3), blank(2), np.arange(3))
    with pytest.raises(ValueError, match="not \\(N, 13\\)"):
        evaluate_statuses(np.zeros((3, 4), dtype=np.int8), np.zeros((3, 4), dtype=np.int8), np.arange(3))


def test_two_thousand_resamples_of_a_thousand_reports_take_under_a_second() -> None:
    truth, a, b = random_codes(1000, 6)
    started = time.process_time()
    evaluate_statuses(truth, a, np.arange(1000))
    paired_difference(truth, a, b, np.arange(1000))
    assert time.process_time() - started < 2  # CPU of both; about 0.1 s on a quiet core
