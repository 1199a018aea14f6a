"""What the benchmark of a noisy teacher makes of its campaigns."""

import pytest

pytest.importorskip("scipy")

from noisy_teacher import _mean_gain


def record(*gains: float) -> dict[str, object]:
    return {"feedback_over_control": [{"gate": {"micro": {"value": gain}}} for gain in gains]}


def test_the_mean_gain_has_students_interval_over_rounds() -> None:
    told = _mean_gain([record(0.01), record(), record(0.03)], "gate", "micro", gated=False)
    assert told is not None
    assert (told["n"], told["mean"]) == (2, pytest.approx(0.02))
    # Sample deviation of .01 and .03: .01414; t of one degree of freedom at 97.5 %: 12.706; by root two: .1271.
    assert told["interval"] == pytest.approx([0.02 - 0.12706, 0.02 + 0.12706], abs=1e-4)


def test_one_round_has_no_interval_and_none_no_mean() -> None:
    assert _mean_gain([record(0.01)], "gate", "micro", gated=False) == {
        "n": 1,
        "mean": 0.01,
        "spread": None,
        "interval": None,
    }
    assert _mean_gain([record()], "gate", "micro", gated=False) is None


def test_where_nobody_can_tell_an_absent_finding_right_there_is_no_mean() -> None:
    undefined = {"feedback_over_control": [{"gate": {"accuracy": {"value": None}}}]}
    assert _mean_gain([undefined], "gate", "accuracy", gated=False) is None


def test_a_control_arm_that_went_to_the_gate_gains_nothing_over_itself() -> None:
    of = [record(0.04), record(-0.02)]
    for compared, arm in zip(of, ("feedback", "control"), strict=True):
        compared["feedback_over_control"][0]["to_the_gate"] = arm  # type: ignore[index]
    told = _mean_gain(of, "gate", "micro", gated=True)
    assert told is not None
    assert told["mean"] == pytest.approx(0.02)
