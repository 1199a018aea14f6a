import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest

from teachback.store.label import FINDINGS, STATUSES
from teachback.store.quality.flips import compare_statuses, count_flips
from teachback.store.quality.mcnemar import holm, mcnemar

PRESENT, ABSENT, UNCERTAIN, UNMENTIONED = range(4)
CODES = arrays(np.int8, (12, len(FINDINGS)), elements=st.integers(-1, 3))
COUNTS = st.integers(0, 400)


def one_finding(*codes: int) -> np.ndarray:
    """Codes of as many reports, all about the first finding; the others are unmentioned."""
    matrix = np.full((len(codes), len(FINDINGS)), UNMENTIONED, dtype=np.int8)
    matrix[:, 0] = codes
    return matrix


@given(COUNTS, COUNTS)
def test_mcnemar_is_scipys_binomial_test(only_a: int, only_b: int) -> None:
    test = mcnemar(only_a, only_b)
    if only_a + only_b:
        assert test.exact == pytest.approx(binomtest(only_a, only_a + only_b).pvalue, rel=1e-9)
    assert test.mid_p <= test.exact


@given(COUNTS, COUNTS)
def test_mcnemar_does_not_care_which_labeler_comes_first(only_a: int, only_b: int) -> None:
    one, other = mcnemar(only_a, only_b), mcnemar(only_b, only_a)
    assert (one.exact, one.mid_p) == (other.exact, other.mid_p)


def test_mcnemar_by_hand() -> None:
    # 1 against 5: P(X <= 1) of six coins is (1 + 6) / 64; twice that is .21875. Mid-p takes P(X = 1) = 6/64 off once.
    assert mcnemar(1, 5).exact == pytest.approx(14 / 64)
    assert mcnemar(1, 5).mid_p == pytest.approx(8 / 64)
    # 1 against 1: 1 - P(X = 1) / 2 = 1 - (2/4) / 2.
    assert mcnemar(1, 1).mid_p == pytest.approx(0.75)
    assert mcnemar(0, 0).mid_p == 1.0


def test_mcnemar_of_many_reports_is_still_a_number() -> None:
    assert 0 < mcnemar(400, 600).mid_p < 1e-9
    assert mcnemar(2000, 2000).exact == 1.0


def test_negative_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        mcnemar(-1, 2)


def test_holm_by_hand() -> None:
    # .01 x 3 = .03, .03 x 2 = .06, and .04 x 1 is raised to the .06 before it.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_never_lowers_and_keeps_the_order(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(before <= after <= 1 for before, after in zip(p_values, corrected, strict=True))
    ranked = sorted(zip(p_values, corrected, strict=True))
    assert [after for _, after in ranked] == sorted(corrected)


def test_flips_by_hand() -> None:
    a = one_finding(PRESENT, PRESENT, PRESENT, ABSENT, UNMENTIONED, -1)
    b = one_finding(UNCERTAIN, UNCERTAIN, PRESENT, PRESENT, UNMENTIONED, PRESENT)
    flips = count_flips(a, b)
    assert flips[FINDINGS[0]] == {("present", "uncertain"): 2, ("absent", "present"): 1}
    assert not any(flips[finding] for finding in FINDINGS[1:])


def test_comparison_by_hand() -> None:
    truth = one_finding(PRESENT, PRESENT, PRESENT, ABSENT, UNMENTIONED, ABSENT)
    a = one_finding(PRESENT, UNCERTAIN, ABSENT, PRESENT, UNMENTIONED, ABSENT)
    b = one_finding(PRESENT, PRESENT, PRESENT, ABSENT, UNMENTIONED, PRESENT)
    report = compare_statuses(truth, a, b, np.arange(6), n_boot=200)
    first = report.findings[0]
    # a: 1 of 3 found, 1 called wrongly: 2 / (2 + 1 + 2) = .4. b: 3 of 3, 1 called wrongly: 6 / (6 + 1 + 0) = 6/7.
    assert first.f1_a.value == pytest.approx(0.4)
    assert first.f1_b.value == pytest.approx(6 / 7)
    assert first.gain.value == pytest.approx(6 / 7 - 0.4)
    # b alone is right on reports 2, 3 and 4, a alone on report 6: P(X <= 1) of four coins is 5/16, P(X = 1) 4/16.
    assert (first.test.only_a, first.test.only_b) == (1, 3)
    assert first.test.mid_p == pytest.approx((2 * 5 - 4) / 16)
    assert first.corrected == 1.0  # 13 times that
    assert first.shown == "not shown"
    assert first.flipped == report.flipped == report.flipped_reports == 4
    assert report.cells == 6 * 13


def test_a_difference_is_shown_where_test_and_interval_agree() -> None:
    # 40 positives; a misses 20 of them, b none: P(X <= 0) of twenty coins is 2 ** -20, and 13 of it is still small.
    truth = one_finding(*[PRESENT] * 40, *[ABSENT] * 40)
    a = one_finding(*[PRESENT] * 20, *[UNMENTIONED] * 20, *[ABSENT] * 40)
    better = compare_statuses(truth, a, truth, np.arange(80), n_boot=500).findings[0]
    worse = compare_statuses(truth, truth, a, np.arange(80), n_boot=500).findings[0]
    assert better.corrected == pytest.approx(13 * 2**-20)
    assert (better.shown, worse.shown) == ("better", "worse")


def test_cells_without_a_curated_label_flip_but_judge_nothing() -> None:
    truth = one_finding(PRESENT, -1)
    report = compare_statuses(truth, one_finding(PRESENT, PRESENT), one_finding(PRESENT, ABSENT), np.arange(2))
    assert report.findings[0].flipped == 1
    assert (report.test.only_a, report.test.only_b) == (0, 0)


@settings(max_examples=40)
@given(CODES, CODES)
def test_a_labeler_does_not_differ_from_itself(truth: np.ndarray, codes: np.ndarray) -> None:
    report = compare_statuses(truth, codes, codes, np.arange(len(truth)) // 2, n_boot=20)
    assert report.flipped == 0
    for gain in (report.gain.micro, report.gain.macro, *report.gain.findings):
        assert all(math.isnan(figure) or figure == 0 for figure in (gain.value, gain.low, gain.high))
    assert all(finding.corrected == 1 and finding.shown == "not shown" for finding in report.findings)


@settings(max_examples=40)
@given(CODES, CODES, CODES)
def test_swapping_the_labelers_turns_everything_round(truth: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    clusters = np.arange(len(truth))
    one, other = (compare_statuses(truth, x, y, clusters, n_boot=0) for x, y in ((a, b), (b, a)))
    for forth, back in zip(one.findings, other.findings, strict=True):
        assert {(new, old): count for (old, new), count in forth.flips.items()} == dict(back.flips)
        assert forth.test.mid_p == back.test.mid_p
        assert forth.gain.value == pytest.approx(-back.gain.value, nan_ok=True)
    assert one.flipped == int(((a != b) & (a >= 0) & (b >= 0)).sum())
    assert one.as_dict()["findings"][FINDINGS[0]]["flips"].keys() <= {f"{x}->{y}" for x in STATUSES for y in STATUSES}
