"""Agreement of two labelers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from teachback.store.quality.agreement import accuracy_gain, agreement

pairs = st.integers(1, 10).flatmap(lambda n: st.tuples(*[arrays(np.int8, (n, 13), elements=st.integers(-1, 3))] * 2))


def test_kappa_by_hand() -> None:
    a, b = (np.full((4, 13), -1, dtype=np.int8) for _ in range(2))
    a[:, 0] = [0, 0, 1, 3]
    b[:, 0] = [0, 1, 1, 3]
    found = agreement(a, b, np.arange(4))
    # p_o = 3/4; marginals of a (2, 1, 0, 1)/4 and of b (1, 2, 0, 1)/4: p_e = (2 + 2 + 0 + 1)/16 = 5/16
    # kappa = (12/16 - 5/16) / (11/16) = 7/11
    assert found.accuracy.value == 0.75
    assert found.kappa.value == pytest.approx(7 / 11)
    assert found.findings[0].kappa == found.kappa
    assert (found.n_reports, found.n_cells, found.findings[1].n) == (4, 4, 0)
    assert math.isnan(found.findings[1].kappa.value)
    assert found.confusion == ((1, 1, 0, 0), (0, 1, 0, 0), (0, 0, 0, 0), (0, 0, 0, 1))


def test_kappa_matches_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    a = rng.choice(4, size=(300, 13), p=[0.15, 0.3, 0.05, 0.5]).astype(np.int8)
    b = np.where(rng.random(a.shape) < 0.8, a, rng.integers(-1, 4, a.shape)).astype(np.int8)
    found = agreement(a, b, np.arange(300))
    both = b >= 0
    assert found.kappa.value == pytest.approx(metrics.cohen_kappa_score(a[both], b[both]))
    assert found.kappa.low < found.kappa.value < found.kappa.high
    third = metrics.cohen_kappa_score(a[both[:, 2], 2], b[both[:, 2], 2])
    assert found.findings[2].kappa.value == pytest.approx(third)


def test_one_status_throughout_has_no_kappa() -> None:
    a = np.full((5, 13), 3, dtype=np.int8)
    found = agreement(a, a, np.arange(5))
    assert found.accuracy.value == 1.0
    assert math.isnan(found.kappa.value)
    assert found.as_dict()["kappa"]["value"] is None


@given(pairs)
@settings(max_examples=40, deadline=None)
def test_agreement_is_symmetric(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = drawn
    there, back = (agreement(x, y, np.arange(len(a)), n_boot=0) for x, y in ((a, b), (b, a)))
    assert there.kappa.value == pytest.approx(back.kappa.value, nan_ok=True)
    assert there.accuracy == back.accuracy or there.n_cells == 0
    assert np.array_equal(np.array(there.confusion), np.array(back.confusion).T)
    assert math.isnan(there.kappa.value) or -1 <= there.kappa.value <= 1


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        agreement(np.zeros((2, 13), dtype=np.int8), np.zeros((3, 13), dtype=np.int8), np.arange(2))


def test_the_gain_in_right_statuses_by_hand() -> None:
    truth, a, b = (np.full((3, 13), -1, dtype=np.int8) for _ in range(3))
    truth[:, 0], a[:, 0], b[:, 0] = [0, 1, 2], [0, 3, 0], [0, 1, -1]
    a[:, 5] = 1  # not curated: left out
    found = accuracy_gain(truth, a, b, np.arange(3))
    assert found.value == pytest.approx(1 / 3)  # of three curated cells b has two right, a one
    assert found.low <= found.value <= found.high
    assert accuracy_gain(truth, b, a, np.arange(3)).value == pytest.approx(-1 / 3)


def test_the_gain_in_right_statuses_is_the_difference_of_accuracies() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, (200, 13)).astype(np.int8)
    a, b = (np.where(rng.random(truth.shape) < right, truth, (truth + 1) % 4).astype(np.int8) for right in (0.7, 0.8))
    gain = accuracy_gain(truth, a, b, np.arange(200) // 2)
    alone = [agreement(truth, codes, np.arange(200)).accuracy.value for codes in (a, b)]
    assert gain.value == pytest.approx(alone[1] - alone[0])
    assert 0 < gain.low < gain.value < gain.high


def test_manual_codes_that_know_positives_only_cannot_tell_an_absent_finding_right() -> None:
    truth = np.zeros((4, 13), dtype=np.int8)
    truth[1:] = 3
    assert math.isnan(accuracy_gain(truth, truth, truth, np.arange(4)).value)


def test_codes_of_other_reports_have_no_gain() -> None:
    codes = np.zeros((4, 13), dtype=np.int8)
    with pytest.raises(ValueError, match="do not fit"):
        accuracy_gain(codes, codes, codes[:3], np.arange(4))
