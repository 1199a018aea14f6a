"""A feedback round beside its control arm: which of the two goes to the gate, and what feedback brought."""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from teachback.distill.judge import Bench, compare_codes
from teachback.distill.record import RoundRecord
from teachback.distill.round import Round
from teachback.store.quality.f1 import evaluate_statuses

__all__ = ["choose_arm", "feedback_over_control"]


def choose_arm(feedback: Round, control: Round, calibration: Bench) -> tuple[Round, str | None]:
    """Return the arm to put to the gate, the better one on `calibration`; and why feedback stays behind, if it does.

    It is no look at the gate, whose promise holds for whatever is put to it. With equal figures feedback goes.

    Args:
        feedback: The round that pseudo-labels were fed back into.
        control: The one of the same budget and seed without.
        calibration: The curated labels of the calibration split.
    """
    truth = calibration.truth
    told = [
        evaluate_statuses(truth.codes, calibration.codes_of(arm.scored), truth.clusters, n_boot=0).micro.value
        for arm in (feedback, control)
    ]
    if not told[1] > told[0]:
        return feedback, None
    return control, (
        f"not put to the gate: {control.name} is better on calibration, micro-F1 {told[1]:.3f} for {told[0]:.3f}; "
        "what was fed back is void"
    )


def feedback_over_control(
    records: Sequence[RoundRecord], gate: Bench, test: Bench, opened: Mapping[str, NDArray[Any]]
) -> list[dict[str, Any]]:
    """Compare each feedback round with its control arm, on `gate` and `test`.

    Args:
        records: The campaign's rounds.
        gate: The curated labels of `gate`.
        test: Those of `test`.
        opened: (N, 13) codes of each round on `test`, by its name.
    """
    by_name = {record.round_.name: record for record in records}
    compared = []
    for name, record in by_name.items():
        control = record.round_
        fed = by_name.get(f"round {control.number} feedback")
        if control.arm != "control" or fed is None:
            continue
        on_gate = compare_codes(gate.truth, *(gate.codes_of(of.scored) for of in (control, fed.round_)))
        on_test = compare_codes(test.truth, opened[name], opened[fed.round_.name])
        arm = "control" if fed.passed_over else "feedback"
        compared.append({"round": control.number, "to_the_gate": arm, "gate": on_gate, "test": on_test})
    return compared
