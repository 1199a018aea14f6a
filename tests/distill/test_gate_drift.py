import numpy as np
import pytest
from numpy.typing import NDArray

from teachback.distill.calibrate import expected_calibration_error
from teachback.distill.config import GateSettings
from teachback.distill.gate_checks import GateReports, resample
from teachback.distill.gate_drift import ListLengths, calibration_counts, check_calibration, check_lists, check_rates

SETTINGS = GateSettings()
Calls = NDArray[np.bool_]


def calls(n: int, finding: int, *reports: int) -> Calls:
    out = np.zeros((n, 13), bool)
    out[list(reports), finding] = True
    return out


def reports(there: Calls, champion: Calls, candidate: Calls) -> GateReports:
    return GateReports(np.ones_like(there), there, champion, candidate, np.arange(len(there)))


def test_a_finding_called_ever_more_often_has_drifted() -> None:
    # 20 are there, the champion calls them; the candidate calls 40 more. Chance of so one-sided a step: 2 ** -39.
    there = calls(200, 3, *range(20))
    drifted = check_rates(reports(there, there, calls(200, 3, *range(60))), SETTINGS)
    assert drifted.passed is False
    assert drifted.words == (
        "drifted from the curated rate: Lung Opacity (60 calls, 20 curated), all findings (60 calls, 20 curated)"
    )


def test_a_finding_called_ever_less_often_has_drifted_too() -> None:
    there = calls(200, 3, *range(60))
    assert check_rates(reports(there, there, calls(200, 3, *range(30))), SETTINGS).passed is False


def test_a_bias_that_the_champion_shares_is_not_held_against_the_candidate() -> None:
    there, both = calls(200, 3, *range(20)), calls(200, 3, *range(60))
    assert check_rates(reports(there, both, both), SETTINGS).passed


def test_a_step_back_towards_the_curated_rate_is_no_drift() -> None:
    # From 100 calls to 60, where 20 are there: far from right, but nearer. From 0 to 25: on the other side, but nearer.
    there = calls(200, 3, *range(20))
    champion = calls(200, 3, *range(100))
    assert check_rates(reports(there, champion, calls(200, 3, *range(60))), SETTINGS).passed
    assert check_rates(reports(there, np.zeros_like(there), calls(200, 3, *range(25))), SETTINGS).passed


def test_some_more_calls_may_be_chance() -> None:
    # 6 more and 2 fewer than the champion's, which are right: two-sided 29 % by itself, more after Holm.
    there = calls(200, 3, *range(20))
    assert check_rates(reports(there, there, calls(200, 3, *range(2, 26))), SETTINGS).passed


def measured(there: Calls, champion: NDArray[np.float64], candidate: NDArray[np.float64]) -> dict[str, float | None]:
    counts = calibration_counts(reports(there, there, there), champion, candidate)
    return {of.name: of.value for of in check_calibration(counts, resample([counts], 0)[0], SETTINGS)}


def test_brier_score_and_calibration_error_by_hand() -> None:
    # Everything is there. At .9 the squared error is .01 and the gap .1; at .6 they are .16 and .4.
    there = np.ones((10, 13), bool)
    found = measured(there, np.full((10, 13), 0.9), np.full((10, 13), 0.6))
    assert found == {"Brier score": pytest.approx(0.15), "calibration error": pytest.approx(0.3)}


def test_the_calibration_error_is_the_one_that_is_reported() -> None:
    random = np.random.default_rng(0)
    p, there = random.random((50, 13)), random.random((50, 13)) < 0.3
    found = measured(there, np.zeros((50, 13)), p)
    of_zero = expected_calibration_error(np.zeros(650), there.ravel())
    wanted = expected_calibration_error(p.ravel(), there.ravel()) - of_zero
    assert found["calibration error"] == pytest.approx(wanted, abs=1e-5)


def test_reports_without_probabilities_are_left_out() -> None:
    there = np.ones((10, 13), bool)
    champion, candidate = np.full((10, 13), 0.9), np.full((10, 13), 0.6)
    champion[3] = np.nan
    candidate[3] = 0.0
    assert measured(there, champion, candidate)["Brier score"] == pytest.approx(0.15)
    assert measured(there, np.full((10, 13), np.nan), candidate) == {"Brier score": None, "calibration error": None}


def test_a_margin_is_held_against_the_upper_bound() -> None:
    random = np.random.default_rng(1)
    there = random.random((200, 13)) < 0.2
    champion = np.where(there, 0.8, 0.1)
    candidate = champion + random.normal(0, 0.05, there.shape)
    counts = calibration_counts(reports(there, there, there), champion, candidate)
    drawn = resample([counts], 0)[0]
    brier = check_calibration(counts, drawn, SETTINGS)[0]
    assert brier.low < brier.value < brier.high  # type: ignore[operator]
    for margin, passed in ((brier.high + 1e-6, True), (brier.high - 1e-6, False)):  # type: ignore[operator]
        assert check_calibration(counts, drawn, GateSettings(brier_margin=margin))[0].passed is passed


def test_lists_stay_in_a_band_around_the_curated_ones() -> None:
    curated = np.array([2, 1, 0, 1])  # 1.0 a report
    for candidate, passed in (([2, 1, 1, 1], True), ([2, 2, 1, 1], False), ([1, 1, 0, 1], True), ([1, 1, 0, 0], False)):
        for champion in (None, np.array([1, 1, 1, 1])):
            judged = check_lists(ListLengths(np.array(candidate), champion, curated), SETTINGS)
            assert judged.passed is passed
            assert judged.value == sum(candidate) / 4


def test_a_champions_own_long_lists_are_not_held_against_a_candidate_that_shares_them() -> None:
    curated, champion = np.array([2, 1, 0, 1]), np.array([2, 2, 2, 2])  # 1.0 and 2.0 a report
    for candidate, passed in (([2, 2, 2, 1], True), ([2, 2, 2, 2], True), ([3, 2, 2, 2], False), ([0, 0, 0, 0], True)):
        assert check_lists(ListLengths(np.array(candidate), champion, curated), SETTINGS).passed is passed
    judged = check_lists(ListLengths(np.array([3, 2, 2, 2]), champion, curated), SETTINGS)
    told = "2.25 diseases a report, 1.00 curated: outside the band of 25%, and farther from it than the champion's 2.00"
    assert judged.words == told


def test_without_curated_lists_the_champions_are_the_measure_and_without_either_nothing() -> None:
    lists = np.array([4, 4, -1])
    assert check_lists(ListLengths(lists, np.array([4, 4, 0])), SETTINGS).passed
    assert check_lists(ListLengths(lists, np.array([1, 1, 100])), SETTINGS).passed is False
    assert check_lists(ListLengths(lists), SETTINGS).passed is None
    assert check_lists(ListLengths(lists, np.array([0, 0, 0])), SETTINGS).passed is None
