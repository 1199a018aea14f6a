import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from teachback.distill.gate import decide
from teachback.store.label import FINDINGS

PRESENT, UNMENTIONED = 0, 3
Codes = NDArray[np.int8]


def nothing(n: int) -> Codes:
    return np.full((n, 13), UNMENTIONED, np.int8)


def marked(n: int, finding: int, *reports: int) -> Codes:
    codes = nothing(n)
    codes[list(reports), finding] = PRESENT
    return codes


def random_codes(n: int, share: float, seed: int) -> Codes:
    return np.where(np.random.default_rng(seed).random((n, 13)) < share, PRESENT, UNMENTIONED).astype(np.int8)


def test_a_candidate_that_finds_more_takes_the_place() -> None:
    # Cardiomegaly is in all four reports. The champion finds two: F1 2 * 2 / (2 + 4) = 2/3. The candidate finds all: 1.
    # A resample can miss the champion's mistakes, but none can make the candidate worse: the lower bound is 0.
    truth, champion = marked(4, 1, 0, 1, 2, 3), marked(4, 1, 0, 1)
    decision = decide(truth, champion, truth, np.arange(4), "round 1")
    assert decision.promoted
    assert decision.change.micro.value == pytest.approx(1 / 3)
    assert decision.change.macro.value == pytest.approx(1 / 3)
    assert decision.change.micro.low == 0
    assert decision.reason.startswith("promoted over round 1: micro-F1 +0.333, macro-F1 +0.333")
    assert decision.as_dict()["against"] == "round 1"


def test_an_identical_candidate_is_no_worse_and_passes() -> None:
    truth, champion = random_codes(60, 0.3, 0), random_codes(60, 0.3, 1)
    decision = decide(truth, champion, champion.copy(), np.arange(60), "base model")
    assert (decision.change.micro.low, decision.change.micro.high) == (0, 0)
    assert (decision.change.macro.low, decision.change.macro.high) == (0, 0)
    assert decision.promoted


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_a_candidate_with_more_errors_is_never_promoted(seed: int, errors: int) -> None:
    random = np.random.default_rng(seed)
    truth = random_codes(40, 0.3, seed)
    champion = np.where(random.random(truth.shape) < 0.1, 3 - truth, truth).astype(np.int8)
    right = np.flatnonzero(champion == truth)
    candidate = champion.copy()
    candidate.flat[random.choice(right, errors, replace=False)] ^= 3  # present <-> unmentioned
    decision = decide(truth, champion, candidate, np.arange(40), "round 1")
    assert not decision.promoted
    assert decision.reason.startswith("rolled back: ")
    assert decision.change.micro.value < 0


def test_an_unproven_gain_is_not_enough() -> None:
    # Two more hits and one more miss: better on these reports, but a resample without the two is worse.
    truth = marked(30, 1, *range(10))
    champion, candidate = marked(30, 1, *range(8)), marked(30, 1, *range(1, 10))
    decision = decide(truth, champion, candidate, np.arange(30), "round 1")
    assert decision.change.micro.value > 0
    assert not decision.promoted
    assert decision.reason.startswith("rolled back: not shown to be no worse than round 1 (micro-F1 +0.0")


def test_one_harmed_finding_blocks_whatever_the_rest_gains() -> None:
    n = 200
    truth = random_codes(n, 0.4, 2)
    champion = nothing(n)
    champion[:, 4] = truth[:, 4]
    candidate = truth.copy()
    candidate[: n // 2, 4] = UNMENTIONED  # Edema drops, the other twelve go from nothing to perfect
    decision = decide(truth, champion, candidate, np.arange(n), "round 1")
    assert decision.change.micro.low > 0
    assert decision.change.macro.low > 0
    assert not decision.promoted
    assert decision.reason == "rolled back: Edema dropped beyond chance"


def test_reports_of_one_patient_count_as_one() -> None:
    # The gain lies in one patient's reports: drawn by patient, a resample often lacks it altogether.
    truth = marked(40, 1, *range(20))
    champion, candidate = marked(40, 1, *range(10)), marked(40, 1, *range(1, 20))
    apart = decide(truth, champion, candidate, np.arange(40), "round 1")
    together = decide(truth, champion, candidate, np.array([0] + [1] * 9 + [2] * 10 + [3] * 20), "round 1")
    assert apart.change.micro.value == together.change.micro.value > 0
    assert apart.promoted
    assert not together.promoted


def test_without_curated_positives_nothing_is_promoted() -> None:
    decision = decide(nothing(10), nothing(10), nothing(10), np.arange(10), "base model")
    assert not decision.promoted


def test_uncurated_cells_do_not_count() -> None:
    truth, champion = marked(4, 1, 0, 1, 2, 3), marked(4, 1, 0, 1)
    truth[:, 2:] = -1
    candidate = truth.copy()
    candidate[:, 2:] = PRESENT  # much nonsense where nobody knows
    assert decide(truth, champion, candidate, np.arange(4), "round 1").promoted


def test_the_verdict_is_the_same_for_the_same_seed() -> None:
    truth, champion, candidate = random_codes(50, 0.3, 0), random_codes(50, 0.3, 1), random_codes(50, 0.3, 2)
    one, other = (decide(truth, champion, candidate, np.arange(50), "x", seed=5) for _ in range(2))
    assert one == other
    assert len(one.change.findings) == len(FINDINGS)
