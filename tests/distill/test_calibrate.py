import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from teachback.distill.calibrate import (
    Calibration,
    _best_threshold,
    expected_calibration_error,
    fit_calibration,
)

PRESENT = 0
finite = st.floats(0.05, 3.0)
calibrations = st.builds(
    Calibration,
    st.lists(finite, min_size=13, max_size=13).map(tuple),
    st.lists(st.floats(-4, 4), min_size=13, max_size=13).map(tuple),
    st.floats(0.2, 0.6),
)


def drawn(n: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).dirichlet([0.6] * 4, size=(n, 13)).astype(np.float32)


def with_present(present: NDArray[np.float64]) -> NDArray[np.float32]:
    """(N, 13) probabilities of `present`, the rest shared by the other three."""
    rest = (1 - present)[..., None] / 3
    return np.concatenate([present[..., None], rest, rest, rest], axis=-1).astype(np.float32)


@given(calibrations, st.integers(0, 99))
def test_distributions_stay_distributions(calibration: Calibration, seed: int) -> None:
    calibrated = calibration.apply(drawn(20, seed))
    np.testing.assert_allclose(calibrated.sum(-1), 1, atol=1e-5)
    assert calibrated.min() >= 0


@given(calibrations, st.integers(0, 99))
def test_a_findings_order_and_the_other_statuses_proportions_are_kept(calibration: Calibration, seed: int) -> None:
    raw = drawn(20, seed)
    calibrated = calibration.apply(raw)
    for finding in range(13):
        order = np.argsort(raw[:, finding, PRESENT])
        assert (np.diff(calibrated[order, finding, PRESENT]) >= -1e-7).all()
    # absent : uncertain : unmentioned as before; cross-multiplied, so that nothing is divided by zero
    np.testing.assert_allclose(calibrated[..., 1] * raw[..., 2], calibrated[..., 2] * raw[..., 1], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("certain", [0.0, 1.0])
def test_certainty_is_no_division_by_zero(certain: float) -> None:
    raw = with_present(np.full((3, 13), certain))
    calibrated = Calibration((1.0,) * 13, (0.0,) * 13, 0.5).apply(raw)
    np.testing.assert_allclose(calibrated, raw, atol=1e-5)


def test_where_nothing_is_curated_nothing_changes() -> None:
    raw = drawn(30)
    calibration = fit_calibration(raw, np.full((30, 13), -1, np.int8))
    assert calibration.threshold == 0.5
    np.testing.assert_allclose(calibration.apply(raw), raw, atol=1e-5)


def test_an_empty_split_is_the_identity() -> None:
    calibration = fit_calibration(np.zeros((0, 13, 4), np.float32), np.zeros((0, 13), np.int8))
    assert calibration == Calibration((1.0,) * 13, (0.0,) * 13, 0.5)


def test_a_rare_finding_is_drawn_to_the_pooled_fit() -> None:
    random = np.random.default_rng(3)
    present = random.uniform(0.02, 0.98, (400, 13))
    truth = np.where(random.random((400, 13)) < present**2, 0, 1).astype(np.int8)
    truth[:, 11:] = -1
    # Finding 11 has a single curated label, positive, where the student said 0.5.
    present[0, 11], truth[0, 11] = 0.5, 0
    calibration = fit_calibration(with_present(present), truth)
    # Finding 12 has none, so its (a, b) are the pooled ones. At logit(0.5) = 0 a label says nothing about the slope:
    assert calibration.slopes[11] == pytest.approx(calibration.slopes[12], abs=1e-6)
    # and b minimises -log sigmoid(b) + 4/2 (b - pooled)^2, so 4 (b - pooled) = 1 - sigmoid(b).
    b, pooled = calibration.offsets[11], calibration.offsets[12]
    assert 4 * (b - pooled) == pytest.approx(1 - 1 / (1 + math.exp(-b)), abs=1e-6)
    assert 0 < b - pooled < 0.25  # one positive alone would ask for an infinite b


def test_a_frequent_finding_outvotes_the_pooled_fit() -> None:
    random = np.random.default_rng(4)
    present = random.uniform(0.02, 0.98, (3000, 13))
    truth = np.where(random.random((3000, 13)) < present, 0, 1).astype(np.int8)  # well calibrated, but for
    truth[:, 0] = np.where(random.random(3000) < 1 / (1 + np.exp(2 - np.log(present / (1 - present))[:, 0])), 0, 1)
    calibration = fit_calibration(with_present(present), truth)
    assert calibration.offsets[0] == pytest.approx(-2.0, abs=0.3)
    assert np.mean(calibration.offsets[1:]) == pytest.approx(0.0, abs=0.15)


def test_contradicting_labels_do_not_turn_the_order_round() -> None:
    present = np.tile(np.linspace(0.05, 0.95, 60)[:, None], (1, 13))
    truth = np.where(present < 0.5, 0, 1).astype(np.int8)  # the surer the student, the more often wrong
    calibration = fit_calibration(with_present(present), truth)
    assert min(calibration.slopes) >= 0.05


def test_calibration_error_falls_on_overconfident_scores() -> None:
    random = np.random.default_rng(5)
    logits = random.normal(0, 3, (2000, 13))
    truth = np.where(random.random((2000, 13)) < 1 / (1 + np.exp(-0.4 * logits + 0.7)), 0, 3).astype(np.int8)
    raw = with_present(1 / (1 + np.exp(-logits)))
    half = slice(0, 1000), slice(1000, None)
    calibrated = fit_calibration(raw[half[0]], truth[half[0]]).apply(raw[half[1]])
    positive = (truth[half[1]] == 0).ravel()
    before = expected_calibration_error(raw[half[1]][..., 0].ravel().astype(np.float64), positive)
    after = expected_calibration_error(calibrated[..., 0].ravel().astype(np.float64), positive)
    assert before > 0.15
    assert after < 0.03


def test_the_threshold_maximises_micro_f1_by_hand() -> None:
    present = np.array([0.9, 0.8, 0.555, 0.455, 0.295, 0.1], np.float32)
    positive = np.array([1.0, 1.0, 0.0, 1.0, 0.0, 0.0])
    # Called from t on: up to .295 five, 3 hits, F1 6/8; up to .455 four, 3 hits, 6/7; up to .555 three, 2 hits, 4/6;
    # above that two, 2 hits, 4/5. Best are the grid's .30 to .45, and their middle is .375.
    assert _best_threshold(present, positive) == pytest.approx(0.375, abs=1e-9)


def test_the_threshold_is_as_good_as_any_on_the_calibration_split() -> None:
    random = np.random.default_rng(6)
    present = random.beta(0.5, 2.0, (300, 13))
    truth = np.where(random.random((300, 13)) < present, 0, 1).astype(np.int8)
    calibration = fit_calibration(with_present(present), truth)
    calibrated = calibration.apply(with_present(present))[..., 0]

    def micro_f1(threshold: float) -> float:
        called, positive = calibrated >= threshold, truth == 0
        return float(2 * (called & positive).sum() / (called.sum() + positive.sum()))

    assert micro_f1(calibration.threshold) >= max(map(micro_f1, np.linspace(0.2, 0.6, 41))) - 0.01
    assert calibration.threshold < 0.5  # F1's best threshold lies below 1/2


def test_a_finding_is_present_from_the_threshold_on_else_the_likeliest_other() -> None:
    calibrated = np.zeros((1, 13, 4), np.float32)
    calibrated[0, :, 3] = 1.0
    calibrated[0, 0] = (0.4, 0.1, 0.0, 0.5)  # not the likeliest, but at the threshold
    calibrated[0, 1] = (0.39, 0.35, 0.2, 0.06)  # the likeliest, but below it
    codes = Calibration((1.0,) * 13, (0.0,) * 13, 0.4).decide(calibrated)
    assert codes.tolist() == [[0, 1, *[3] * 11]]


def test_expected_calibration_error_by_hand() -> None:
    # Bin [.9, 1]: mean .95, right 1 of 2, gap .45, weight 2/4. Bin [.1, .2): .15, right 0 of 1, gap .15, weight 1/4.
    # Bin [.5, .6): .5, right 1 of 1, gap .5, weight 1/4. Sum: .225 + .0375 + .125 = .3875.
    probability, right = np.array([0.9, 1.0, 0.15, 0.5]), np.array([True, False, False, True])
    assert expected_calibration_error(probability, right) == pytest.approx(0.3875)
    assert math.isnan(expected_calibration_error(np.zeros(0), np.zeros(0, bool)))


def test_more_evidence_moves_a_finding_further_from_the_pooled_fit() -> None:
    random = np.random.default_rng(8)
    base = random.uniform(0.02, 0.98, (500, 13))
    truth = np.where(random.random((500, 13)) < base, 0, 1).astype(np.int8)
    truth[:, 0] = -1
    gaps = []
    for n in (0, 3, 30, 300):
        curated = truth.copy()
        curated[:n, 0] = 1  # absent, whatever the student says
        calibration = fit_calibration(with_present(base), curated)
        gaps.append(-calibration.offsets[0])
    assert all(fewer < more for fewer, more in pairwise(gaps))
