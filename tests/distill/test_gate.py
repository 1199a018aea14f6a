import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from teachback.distill.config import GateSettings, load_settings
from teachback.distill.gate import Decision, ListLengths, align_present, decide
from teachback.distill.gate_checks import Check
from teachback.errors import SettingError
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


def with_errors(truth: Codes, share: float, seed: int) -> Codes:
    """Turn a share of the cells round: present <-> unmentioned."""
    return np.where(np.random.default_rng(seed).random(truth.shape) < share, 3 - truth, truth).astype(np.int8)


def check(decision: Decision, name: str) -> Check:
    return next(of for of in decision.checks if of.name == name)


def test_a_candidate_that_finds_more_takes_the_place() -> None:
    # Cardiomegaly is in all ten reports. The champion finds five: F1 10 / 15 = 2/3. The candidate finds all: 1.
    # No resample makes the candidate worse, so the lower bound is not below zero. Five reports tell the two apart, all
    # for the candidate: swapping gives as much in one of 2 ** 5 draws, 3.1 % of them, and 4 % are allowed.
    truth, champion = marked(10, 1, *range(10)), marked(10, 1, *range(5))
    decision = decide(truth, champion, truth, np.arange(10), "round 1")
    assert decision.promoted
    assert decision.change.micro.value == decision.change.macro.value == pytest.approx(1 / 3)
    assert check(decision, "micro-F1 by swapping").value == pytest.approx(1 / 32, abs=0.006)
    assert decision.reason.startswith("promoted over round 1: micro-F1 +0.333, macro-F1 +0.333")


def test_few_reports_that_differ_are_not_enough_though_no_resample_is_worse() -> None:
    # Four of four that differ speak for the candidate: one of 2 ** 4 draws, 6.2 %. The bootstrap alone would promote.
    truth, champion = marked(10, 1, *range(10)), marked(10, 1, *range(6))
    decision = decide(truth, champion, truth, np.arange(10), "round 1")
    assert check(decision, "micro-F1").passed
    assert check(decision, "micro-F1 by swapping").value == pytest.approx(1 / 16, abs=0.01)
    assert not decision.promoted
    assert decision.reason.startswith("rolled back: swapping the two at random gains as much in 6.")


def test_an_identical_candidate_passes() -> None:
    truth, champion = random_codes(60, 0.3, 0), random_codes(60, 0.3, 1)
    decision = decide(truth, champion, champion.copy(), np.arange(60), "base model")
    assert (decision.change.micro.low, decision.change.micro.high) == (0, 0)
    assert decision.promoted
    assert check(decision, "micro-F1 by swapping").words == "the candidate calls what the champion calls"


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_a_candidate_with_more_errors_is_never_promoted(seed: int, errors: int) -> None:
    random = np.random.default_rng(seed)
    truth = random_codes(40, 0.3, seed)
    champion = with_errors(truth, 0.1, seed)
    right = np.flatnonzero(champion == truth)
    candidate = champion.copy()
    candidate.flat[random.choice(right, errors, replace=False)] ^= 3  # present <-> unmentioned
    decision = decide(truth, champion, candidate, np.arange(40), "round 1")
    assert not decision.promoted
    assert decision.reason.startswith("rolled back: ")
    assert decision.change.micro.value < 0


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10_000))
def test_what_is_promoted_met_every_condition_and_was_tested_at_its_looks_level(seed: int) -> None:
    truth = random_codes(80, 0.3, seed)
    champion, candidate = with_errors(truth, 0.2, seed + 1), with_errors(truth, 0.1, seed + 2)
    earlier = [bool(verdict) for verdict in np.random.default_rng(seed).integers(0, 2, 3)]
    decision = decide(truth, champion, candidate, np.arange(80), "round 1", earlier=earlier)
    assert decision.promoted == all(of.passed is not False for of in decision.checks)
    assert check(decision, "micro-F1 by swapping").limit == decision.alpha.level
    for of in decision.checks:
        assert (of.words in decision.reason) == (of.passed is False)


def test_an_unproven_gain_is_not_enough() -> None:
    # Two more hits and one more miss: better on these reports, but a resample without the two is worse.
    truth = marked(30, 1, *range(10))
    champion, candidate = marked(30, 1, *range(8)), marked(30, 1, *range(1, 10))
    decision = decide(truth, champion, candidate, np.arange(30), "round 1")
    assert decision.change.micro.value > 0
    assert not decision.promoted
    assert decision.reason.startswith("rolled back: micro-F1 +0.0")


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
    assert [of.name for of in decision.checks if of.passed is False] == ["harm by finding", "rates"]
    assert "Edema (-0." in decision.reason
    assert "dropped beyond chance" in decision.reason


def test_one_lost_positive_of_a_rare_finding_is_no_harm() -> None:
    # Its F1 falls from 1 to 0, and its interval lies below zero. But one report says nothing: p = 1/2.
    truth = random_codes(200, 0.3, 3)
    truth[:, 10] = UNMENTIONED
    truth[7, 10] = PRESENT
    champion, candidate = with_errors(truth, 0.1, 4), with_errors(truth, 0.02, 5)
    champion[:, 10] = truth[:, 10]
    candidate[:, 10] = UNMENTIONED
    decision = decide(truth, champion, candidate, np.arange(200), "round 1")
    assert decision.change.losses == ("Pleural Other",)
    assert decision.promoted


def test_harm_to_rare_findings_is_seen_in_all_of_them_together() -> None:
    # Four findings with 8 positives each, the champion finds them, the candidate half: of each 4 of 4, p = 1/16; of all
    # 16 of 16.
    truth, n = random_codes(400, 0.3, 6), 400
    for place, finding in enumerate((2, 8, 10, 11)):
        truth[:, finding] = UNMENTIONED
        truth[8 * place : 8 * place + 8, finding] = PRESENT
    champion, candidate = with_errors(truth, 0.12, 7), with_errors(truth, 0.02, 8)
    for place, finding in enumerate((2, 8, 10, 11)):
        champion[:, finding] = candidate[:, finding] = truth[:, finding]
        candidate[8 * place : 8 * place + 4, finding] = UNMENTIONED
    decision = decide(truth, champion, candidate, np.arange(n), "round 1")
    harm = check(decision, "harm by finding")
    assert not harm.passed
    assert harm.words.startswith("the rare findings together (-0.3")  # 2 * 16 / (16 + 32) - 1 = -1/3
    assert harm.words.endswith(") dropped beyond chance")


def test_macro_f1_may_be_lower_by_its_margin_and_no_more() -> None:
    # One frequent finding loses what another wins several times over.
    n = 300
    truth = nothing(n)
    truth[:200, 1], truth[200:240, 5] = PRESENT, PRESENT
    champion, candidate = truth.copy(), truth.copy()
    champion[:60, 1] = UNMENTIONED
    candidate[200:215, 5] = UNMENTIONED
    # Finding 1: 1 - 280/340 = +.176; finding 5: 50/65 - 1 = -.231; macro -.027.
    macro = check(decide(truth, champion, candidate, np.arange(n), "x"), "macro-F1")
    assert macro.value == pytest.approx((1 - 280 / 340 + 50 / 65 - 1) / 2)
    assert macro.low is not None
    assert macro.low < macro.value
    for margin, passes in ((-macro.low - 0.001, False), (-macro.low + 0.001, True)):
        again = decide(truth, champion, candidate, np.arange(n), "x", settings=GateSettings(macro_margin=margin))
        assert check(again, "macro-F1").passed == passes


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
    assert decision.reason.startswith("rolled back: micro-F1 cannot be compared: no curated positives")
    json.dumps(decision.as_dict(), allow_nan=False)


def test_one_patient_shows_nothing() -> None:
    truth, champion = marked(20, 1, *range(20)), marked(20, 1, *range(5))
    said = np.full((20, 13), 0.5)
    decision = decide(truth, champion, truth, np.zeros(20, int), "base model", probabilities=(said, said))
    assert not decision.promoted
    assert decision.reason.startswith("rolled back: micro-F1 cannot be compared")
    json.dumps(decision.as_dict(), allow_nan=False)


def test_uncurated_cells_do_not_count() -> None:
    truth, champion = marked(10, 1, *range(10)), marked(10, 1, *range(5))
    truth[:, 2:] = -1
    candidate = truth.copy()
    candidate[:, 2:] = PRESENT  # much nonsense where nobody knows
    assert decide(truth, champion, candidate, np.arange(10), "round 1").promoted


def test_the_verdict_is_the_same_for_the_same_seed() -> None:
    truth, champion, candidate = random_codes(50, 0.3, 0), random_codes(50, 0.3, 1), random_codes(50, 0.3, 2)
    one, other = (decide(truth, champion, candidate, np.arange(50), "x", seed=5) for _ in range(2))
    assert one == other
    assert len(one.change.findings) == len(FINDINGS)


def test_the_verdict_as_plain_values_names_every_condition_and_the_look() -> None:
    truth = random_codes(100, 0.3, 0)
    champion, candidate = with_errors(truth, 0.2, 1), with_errors(truth, 0.05, 2)
    plain = decide(truth, champion, candidate, np.arange(100), "round 1", earlier=[True]).as_dict()
    assert list(plain) == ["promoted", "reason", "against", "change", "checks", "alpha"]
    assert [of["name"] for of in plain["checks"]] == [
        "micro-F1",
        "micro-F1 by swapping",
        "macro-F1",
        "harm by finding",
        "rates",
        "calibration",
        "list length",
    ]
    assert all(set(of) == {"name", "value", "low", "high", "limit", "passed", "words"} for of in plain["checks"])
    assert plain["alpha"] == {"number": 2, "level": pytest.approx(0.048), "total": 0.05, "earlier": [True]}


def test_what_was_not_given_is_not_asked_and_says_so() -> None:
    truth = random_codes(100, 0.3, 0)
    decision = decide(truth, with_errors(truth, 0.2, 1), truth, np.arange(100), "round 1")
    assert decision.promoted
    asked = {of.name: of.passed for of in decision.checks}
    assert asked["calibration"] is asked["list length"] is None
    assert check(decision, "calibration").words == "calibration was not asked: no probabilities were given"


def test_probabilities_that_mean_less_and_longer_lists_keep_a_better_candidate_out() -> None:
    truth = random_codes(200, 0.3, 0)
    champion, candidate = with_errors(truth, 0.1, 1), with_errors(truth, 0.03, 2)
    clusters, there = np.arange(200), truth == PRESENT
    # The champion is sure at .9 and right in 90 %; one candidate is sure at .97, the other at .6 though right in 97 %.
    said = np.where(champion == PRESENT, 0.9, 0.1)
    sure, unsure = (np.where(candidate == PRESENT, p, 1 - p) for p in (0.97, 0.6))
    passed = decide(truth, champion, candidate, clusters, "x", probabilities=(said, sure))
    assert passed.promoted
    assert check(passed, "Brier score").value < 0
    doubted = decide(truth, champion, candidate, clusters, "x", probabilities=(said, unsure))
    assert [of.name for of in doubted.checks if of.passed is False] == ["Brier score", "calibration error"]
    lengths = there.sum(axis=1)
    lists = ListLengths(candidate=2 * lengths, curated=lengths)
    longer = decide(truth, champion, candidate, clusters, "x", lists=lists)
    assert [of.name for of in longer.checks if of.passed is False] == ["list length"]
    assert not longer.promoted


def test_a_preset_takes_gate_settings_and_keeps_the_rest() -> None:
    settings = load_settings("tiny-cpu", gate={"alpha": 0.1, "macro_margin": None})
    assert settings.gate == GateSettings(alpha=0.1)
    with pytest.raises(SettingError, match=r"gate.alpha: Input should be less than 0\.5"):
        load_settings("tiny-cpu", gate={"alpha": 0.5})


def test_probabilities_are_put_in_the_order_of_the_wanted_reports() -> None:
    probabilities = np.zeros((2, 13, 4), np.float32)
    probabilities[0, :, PRESENT], probabilities[1, :, PRESENT] = 0.25, 0.75
    aligned = align_present(["c", "a", "b"], ["a", "c"], probabilities)
    assert (aligned[0] == 0.75).all()
    assert (aligned[1] == 0.25).all()
    assert np.isnan(aligned[2]).all()
