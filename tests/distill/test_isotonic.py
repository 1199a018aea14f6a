import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from teachback.distill.calibrate import fit_calibration
from teachback.distill.calibrate_choice import FEWEST, choose_isotonic, folds_of
from teachback.distill.calibration import Calibration, Curve
from teachback.distill.config import load_settings
from teachback.distill.isotonic import fit_curve, rising_means, trust
from teachback.errors import SettingError

PRESENT, ABSENT, UNKNOWN = 0, 1, -1


def with_present(present: NDArray[np.float64]) -> NDArray[np.float32]:
    """(N, 13) probabilities of `present`, the rest shared by the other three."""
    rest = (1 - present)[..., None] / 3
    return np.concatenate([present[..., None], rest, rest, rest], axis=-1).astype(np.float32)


def bent(n: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """A student whose finding 0 is present in a tenth of reports below 0.5 and in seven tenths above, no line in
    log-odds; the others mean what they say."""
    random = np.random.default_rng(seed)
    said = random.uniform(0.02, 0.98, (n, 13))
    true = said.copy()
    true[:, 0] = np.where(said[:, 0] < 0.5, 0.1, 0.7)
    return with_present(said), np.where(random.random((n, 13)) < true, PRESENT, ABSENT).astype(np.int8)


def log_loss(calibration: Calibration, said: NDArray[np.float32], truth: NDArray[np.int8], finding: int) -> float:
    present = calibration.apply(said)[:, finding, PRESENT].astype(np.float64)
    return float(-np.log(np.where(truth[:, finding] == PRESENT, present, 1 - present)).mean())


def test_rising_means_by_hand() -> None:
    # 1, 3, 2, 4 at scores 0 to 3: 3 and 2 fall, so they become one step of mean 2.5 in their middle, 1.5.
    means, centres = rising_means(np.arange(4.0), np.array([1.0, 3.0, 2.0, 4.0]))
    assert means.tolist() == [1.0, 2.5, 4.0]
    assert centres.tolist() == [0.0, 1.5, 3.0]
    # Equal scores have one mean: 0 and 1 at score 5 are 0.5.
    means, centres = rising_means(np.array([5.0, 5.0]), np.array([0.0, 1.0]))
    assert (means.tolist(), centres.tolist()) == ([0.5], [5.0])


@given(st.lists(st.tuples(st.integers(-9, 9), st.floats(0, 1)), min_size=1, max_size=40))
def test_rising_means_rise_and_keep_the_sum(pairs: list[tuple[int, float]]) -> None:
    scores, targets = (np.array(column, float) for column in zip(*pairs, strict=True))
    means, centres = rising_means(scores, targets)
    assert (np.diff(means) > 0).all()
    assert (np.diff(centres) > 0).all()
    assert targets.min() - 1e-9 <= means.min() <= means.max() <= targets.max() + 1e-9


def test_labels_and_fit_count_the_same_with_twenty_of_the_rarer_kind() -> None:
    assert trust(np.array([1.0] * 20 + [0.0] * 300)) == 0.5
    assert trust(np.array([0.0] * 20 + [1.0] * 300)) == 0.5
    assert trust(np.array([1.0] * 180 + [0.0] * 500)) == pytest.approx(0.9)
    assert trust(np.zeros(50)) == 0.0


def test_a_curve_reads_straight_between_its_corners_and_level_beyond() -> None:
    curve = Curve((-1.0, 1.0), (-4.0, 2.0))
    assert curve.read(np.array([-9.0, -1.0, 0.0, 1.0, 9.0])).tolist() == [-4.0, -4.0, -1.0, 2.0, 2.0]


def test_a_plateau_before_a_jump_stays_a_plateau() -> None:
    scores = np.arange(400.0) / 100
    positive = (scores >= 3.9).astype(float)
    curve = fit_curve(scores, positive, np.full(400, 0.05))
    assert curve is not None
    # 10 of 400 are positive: a third of the mean is theirs, 0.033 below the jump and 0.367 from it on.
    assert 1 / (1 + np.exp(-curve.read(np.array([0.0, 3.8])))) == pytest.approx([0.0333, 0.0333], abs=1e-3)
    assert 1 / (1 + math.exp(-curve.read(np.array([3.99]))[0])) == pytest.approx(0.367, abs=1e-3)


def test_a_rare_finding_keeps_to_its_temperature_and_one_without_positives_has_no_curve() -> None:
    said, truth = bent(600)
    truth[:, 3] = ABSENT
    truth[:5, 3] = PRESENT  # five positives, wherever they fall
    truth[:, 4] = ABSENT
    truth[:, 5] = UNKNOWN
    fitted, curved = (fit_calibration(said, truth, method) for method in ("temperature", "isotonic"))
    assert curved.methods[3] == "isotonic"
    assert curved.methods[4] == curved.methods[5] == "temperature"
    far = [np.abs(curved.apply(said) - fitted.apply(said))[:, f, PRESENT].max() for f in (0, 3)]
    assert far[1] < 0.05 < far[0]
    np.testing.assert_allclose(curved.apply(said)[:, 4:6], fitted.apply(said)[:, 4:6], atol=1e-6)


def test_a_bent_finding_predicts_better_by_a_curve() -> None:
    said, truth = bent(600)
    fresh, known = bent(3000, seed=1)
    fitted, curved = (fit_calibration(said, truth, method) for method in ("temperature", "isotonic"))
    assert log_loss(curved, fresh, known, 0) < log_loss(fitted, fresh, known, 0) - 0.005
    order = np.argsort(said[:, 0, PRESENT])
    assert (np.diff(curved.apply(said)[order, 0, PRESENT]) >= -1e-7).all()


def test_auto_gives_a_curve_to_the_bent_finding_alone() -> None:
    said, truth = bent(600)
    assert choose_isotonic(said, truth) == [0]
    chosen = fit_calibration(said, truth, "auto")
    assert chosen.methods == ("isotonic", *["temperature"] * 12)


def test_too_few_labels_of_a_kind_choose_nothing() -> None:
    said, truth = bent(600)
    positives = np.flatnonzero(truth[:, 0] == PRESENT)
    truth[positives[FEWEST - 1 :], 0] = ABSENT
    assert 0 not in choose_isotonic(said, truth)
    assert choose_isotonic(said[:3], truth[:3]) == []  # fewer reports than folds


def test_straight_findings_are_seldom_given_a_curve() -> None:
    chosen = []
    for seed in range(4):
        said, truth = bent(300, seed)
        chosen += [finding for finding in choose_isotonic(said, truth) if finding]
    assert len(chosen) <= 5  # of 48: one standard error is passed by chance in at most 16 %


def test_reports_with_one_text_stay_in_one_fold() -> None:
    said = np.repeat(bent(40)[0], 3, axis=0)
    folds = folds_of(said).reshape(40, 3)
    assert (folds == folds[:, :1]).all()
    assert set(folds.ravel()) == {0, 1, 2, 3, 4}


def test_temperature_alone_leaves_no_word_of_curves_and_curves_survive_json() -> None:
    said, truth = bent(200)
    plain = fit_calibration(said, truth)
    assert set(plain.as_dict()) == {"slopes", "offsets", "threshold"}
    for calibration in (plain, fit_calibration(said, truth, "isotonic")):
        again = Calibration.from_dict(json.loads(json.dumps(calibration.as_dict())))
        assert again == calibration


def test_the_setting_takes_three_words() -> None:
    assert load_settings("tiny-cpu").calibration == "temperature"
    assert load_settings("tiny-cpu", calibration="auto").calibration == "auto"
    with pytest.raises(SettingError, match="calibration"):
        load_settings("tiny-cpu", calibration="platt")
