import numpy as np
import pytest
from numpy.typing import NDArray

from teachback.distill.config import SelectSettings
from teachback.distill.select import Certificate, certify, select, wrong
from teachback.store.label import FINDINGS, STATUSES

PRESENT, ABSENT = 0, 1
SETTINGS = SelectSettings()  # 5 % at 95 %
NO_CAP = np.ones((13, 4))


def one_class(
    scores: NDArray[np.float64], errors: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.int8], NDArray[np.int8]]:
    """Calibration predictions of one finding, all `absent`, wrong where told; nothing curated for the others."""
    n = len(scores)
    probabilities = np.zeros((n, 13, 4), np.float32)
    probabilities[:, 0, ABSENT] = scores
    codes, truth = np.full((n, 13), 3, np.int8), np.full((n, 13), -1, np.int8)
    codes[:, 0] = ABSENT
    truth[:, 0] = np.where(errors, 0, ABSENT)
    return probabilities, codes, truth


def certificate(scores: NDArray[np.float64], errors: NDArray[np.bool_]) -> Certificate:
    probabilities, codes, truth = one_class(scores, errors)
    return certify(probabilities, codes, truth, SETTINGS)[0, ABSENT]


@pytest.mark.parametrize(("n", "certified"), [(58, False), (59, True)])
def test_without_an_error_59_certify_and_58_do_not(n: int, certified: bool) -> None:
    # 0.95 ** 58 = 0.0510 and 0.95 ** 59 = 0.0485
    found = certificate(np.linspace(0.5, 0.99, n), np.zeros(n, bool))
    assert (found.threshold is not None) == certified
    assert found.candidates == n
    if certified:
        assert (found.accepted, found.errors) == (59, 0)
        assert found.threshold == pytest.approx(0.5)  # the lowest score: all are taken


@pytest.mark.parametrize(("n", "errors", "certified"), [(92, 1, False), (93, 1, True)])
def test_one_error_asks_for_93(n: int, errors: int, certified: bool) -> None:
    # 0.95 ** n + n 0.05 0.95 ** (n - 1): 0.0521 at 92, 0.04998 at 93
    wrongs = np.zeros(n, bool)
    wrongs[:errors] = True  # the lowest scores
    found = certificate(np.linspace(0.5, 0.99, n), wrongs)
    assert (found.accepted == n) == certified


def test_the_threshold_stops_where_errors_begin() -> None:
    scores = np.linspace(0.5, 1.0, 400)
    found = certificate(scores, scores < 0.75)
    assert found.threshold is not None
    # 200 errorless predictions above 0.75; 4 errors in 204 pass: the bound is met a little below it
    assert 0.7 < found.threshold <= 0.76
    assert found.errors / found.accepted < 0.05


def test_an_error_at_the_top_certifies_nothing() -> None:
    errors = np.zeros(59, bool)
    errors[-1] = True
    assert certificate(np.linspace(0.5, 0.99, 59), errors).threshold is None


def test_equal_scores_are_taken_together_or_not_at_all() -> None:
    scores = np.concatenate([np.full(200, 0.9), np.full(200, 0.6)])
    errors = np.zeros(400, bool)
    errors[200:] = np.arange(200) % 2 == 0  # half of the lower ones are wrong
    found = certificate(scores, errors)
    assert found.threshold == pytest.approx(0.9)
    assert (found.accepted, found.errors) == (200, 0)


def test_predictions_without_curated_labels_count_for_nothing() -> None:
    probabilities, codes, truth = one_class(np.linspace(0.5, 0.99, 80), np.zeros(80, bool))
    truth[:30, 0] = -1
    found = certify(probabilities, codes, truth, SETTINGS)
    assert found[0, ABSENT].candidates == 50
    assert found[0, ABSENT].threshold is None
    assert all(certificate.candidates == 0 for key, certificate in found.items() if key != (0, ABSENT))


def test_a_class_just_above_the_bound_is_rarely_certified() -> None:
    """At a true error of 5.2 % any certificate is wrong; that happens to at most 5 % of the classes."""
    random = np.random.default_rng(0)
    certified = classes = 0
    for _ in range(200):
        probabilities = random.uniform(0.5, 1.0, (300, 13, 4)).astype(np.float32)
        codes = np.full((300, 13), ABSENT, np.int8)
        truth = np.where(random.random((300, 13)) < 0.052, 0, ABSENT).astype(np.int8)
        found = certify(probabilities, codes, truth, SETTINGS)
        classes += 13
        certified += sum(found[f, ABSENT].threshold is not None for f in range(13))
    # Three standard deviations above 5 % of 2,600.
    assert certified / classes <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / classes)
    assert certified > 0  # the test could have failed


def test_a_threshold_below_the_true_one_is_rarely_certified() -> None:
    """Where a score s is wrong with probability 0.4 (1 - s), those above t are with 0.2 (1 - t): 5 % at t = 0.75."""
    random = np.random.default_rng(1)
    too_low = found_any = 0
    rounds = 200
    for _ in range(rounds):
        scores = random.uniform(0.5, 1.0, 600)
        found = certificate(scores, random.random(600) < 0.4 * (1 - scores))
        found_any += found.threshold is not None
        too_low += found.threshold is not None and found.threshold < 0.75
    assert too_low / rounds <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / rounds)
    assert found_any > rounds / 2  # a guarantee by never certifying anything would be none


def certificates(threshold: float | None = 0.6) -> dict[tuple[int, int], Certificate]:
    return {
        (f, s): Certificate(finding, status, threshold, 100, 1, 120)
        for f, finding in enumerate(FINDINGS)
        for s, status in enumerate(STATUSES)
    }


def pool(n: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    probabilities = np.random.default_rng(seed).dirichlet([0.3] * 4, size=(n, 13)).astype(np.float32)
    return probabilities, probabilities.argmax(-1).astype(np.int8)


def test_every_prediction_is_taken_or_refused_with_a_reason() -> None:
    probabilities, codes = pool(50)
    prior = np.full((13, 4), 0.2)
    selection = select(probabilities, codes, certificates(), prior, budget=100)
    assert selection.selected.sum() == 100
    for taken, reason in zip(selection.selected.ravel(), selection.reasons.ravel(), strict=True):
        assert reason.startswith("certified at 0.600: 1 errors in 100" if taken else "refused: ")
    kinds = {reason.split("(")[0][:30] for reason in selection.reasons[~selection.selected]}
    assert kinds == {
        "refused: probability below the",
        "refused: the class is capped a",
        "refused: over the round's budg",
    }


def test_only_certain_predictions_are_taken() -> None:
    probabilities, codes = pool(50)
    selection = select(probabilities, codes, certificates(), NO_CAP, budget=10_000)
    certain = probabilities.max(-1) >= 0.6
    np.testing.assert_array_equal(selection.selected, certain)


def test_where_nothing_is_certified_nothing_is_taken() -> None:
    probabilities, codes = pool(20)
    selection = select(probabilities, codes, certificates(None), NO_CAP, budget=1000)
    assert not selection.selected.any()
    assert set(selection.reasons.ravel()) == {
        "refused: no threshold certified (120 calibration predictions of this class)"
    }


def test_a_class_is_capped_at_the_teachers_share_and_the_surest_come_first() -> None:
    # 10 reports, all certainly absent; the teacher has 25 % absent: ceil(2.5) = 3 are taken.
    probabilities = np.zeros((10, 13, 4), np.float32)
    probabilities[..., ABSENT] = np.linspace(0.7, 0.95, 10)[:, None]
    codes = np.full((10, 13), ABSENT, np.int8)
    prior = np.full((13, 4), 0.25)
    prior[1, ABSENT] = 0.0  # the teacher never says so of the second finding
    selection = select(probabilities, codes, certificates(), prior, budget=1000)
    assert np.flatnonzero(selection.selected[:, 0]).tolist() == [7, 8, 9]
    assert not selection.selected[:, 1].any()
    assert selection.reasons[0, 0] == "refused: the class is capped at its share, 3 of 10"


def test_over_budget_every_class_gives_up_the_same_share_its_least_certain_first() -> None:
    given = certificates(None)
    given[0, ABSENT] = Certificate(FINDINGS[0], "absent", 0.5, 100, 0, 100)
    given[1, PRESENT] = Certificate(FINDINGS[1], "present", 0.9, 100, 0, 100)
    probabilities, codes = np.zeros((8, 13, 4), np.float32), np.full((8, 13), ABSENT, np.int8)
    codes[:4, 1] = PRESENT
    # Eight sure absences and four presences just above their threshold; half of each remains of a budget of six.
    probabilities[:, 0, ABSENT] = np.linspace(0.99, 0.999, 8)
    probabilities[:4, 1, PRESENT] = (0.93, 0.91, 0.94, 0.92)
    selection = select(probabilities, codes, given, NO_CAP, budget=6)
    assert np.flatnonzero(selection.selected[:, 0]).tolist() == [4, 5, 6, 7]
    assert np.flatnonzero(selection.selected[:, 1]).tolist() == [0, 2]
    assert selection.reasons[1, 1] == "refused: over the round's budget of 6 pseudo-labels"
    assert select(probabilities, codes, given, NO_CAP, budget=0).selected.sum() == 0


def test_reports_kept_for_another_round_are_left_alone_and_the_cap_counts_the_others() -> None:
    probabilities = np.zeros((10, 13, 4), np.float32)
    probabilities[..., ABSENT] = np.linspace(0.7, 0.95, 10)[:, None]
    codes = np.full((10, 13), ABSENT, np.int8)
    eligible = np.arange(10) < 4  # 25 % of these four is one: the surest of them
    selection = select(probabilities, codes, certificates(), np.full((13, 4), 0.25), 1000, eligible)
    assert np.flatnonzero(selection.selected[:, 0]).tolist() == [3]
    assert set(selection.reasons[4:].ravel()) == {"refused: kept for another round"}


def test_an_empty_pool_selects_nothing() -> None:
    probabilities, codes = pool(0)
    assert select(probabilities, codes, certificates(), NO_CAP, budget=5).selected.shape == (0, 13)


def test_with_four_statuses_any_other_status_is_wrong() -> None:
    truth = np.array([[0, 1, 2, 3]], np.int8)
    codes = np.array([[0, 3, 0, 3]], np.int8)
    assert wrong(codes, truth).tolist() == [[False, True, True, False]]


def test_where_positives_alone_are_known_only_present_can_be_wrong() -> None:
    truth = np.array([[0, 0, 3, 3, 3]], np.int8)
    codes = np.array([[0, 1, 0, 1, 2]], np.int8)
    assert wrong(codes, truth).tolist() == [[False, True, True, False, False]]
