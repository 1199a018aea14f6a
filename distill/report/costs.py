"""What a campaign took: time, tokens and energy of each training, as far as they were written down."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["CostRow", "Costs", "add_up"]

_JOULES_A_WATT_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class CostRow:
    """One training.

    Attributes:
        name: The round, or all together.
        steps: Optimizer steps.
        rows: Texts that it was trained on.
        seconds: Time of training.
        tokens_per_second: Its speed; None for all together.
        watt_hours: Energy; None where nothing measured it.
        note: How the energy was come by or why it was not, and what befell the training.
    """

    name: str
    steps: int
    rows: int | None
    seconds: float
    tokens_per_second: float | None
    watt_hours: float | None
    note: str


@dataclass(frozen=True, slots=True)
class Costs:
    """All trainings of a campaign.

    Attributes:
        rows: Rounds that were trained by steps.
        total: All together.
        has_energy: Whether any energy is on record.
        missing: Why none is, as far as that was written down.
        sitting: Seconds of the last sitting, with prediction and evaluation.
        device: What it ran on.
    """

    rows: list[CostRow]
    total: CostRow
    has_energy: bool
    missing: str
    sitting: float
    device: str


def add_up(record: Mapping[str, Any]) -> Costs:
    """Read what each round's training took."""
    rows = [_row(round_) for round_ in record["rounds"] if round_["training"].get("steps")]
    energies = [row.watt_hours for row in rows if row.watt_hours is not None]
    total = CostRow(
        "all trainings",
        sum(row.steps for row in rows),
        None,
        sum(row.seconds for row in rows),
        None,
        sum(energies) if energies and len(energies) == len(rows) else None,
        "",
    )
    device = str(record["environment"].get("device", "not known"))
    trainings = [round_["training"] for round_ in record["rounds"]]
    missing = next((why for training in trainings if (why := training.get("energy_missing"))), "")
    return Costs(rows, total, bool(energies), missing, record["seconds"], device)


def _row(round_: Mapping[str, Any]) -> CostRow:
    training = round_["training"]
    notes = _befell(training)
    if training.get("energy_source"):
        notes.append(f"energy: {training['energy_source']}")
    return CostRow(
        round_["name"],
        training["steps"],
        training.get("rows"),
        training.get("seconds") or 0.0,
        training.get("tokens_per_second"),
        _watt_hours(training),
        "; ".join(notes),
    )


def _befell(training: Mapping[str, Any]) -> list[str]:
    """Return what a reader should know of how a training went."""
    notes = ["resumed"] if training.get("resumed") else []
    notes += [f"left aside {words}" for words in training.get("skipped_checkpoints", ())]
    for short in training.get("out_of_memory", ()):
        notes.append(f"out of memory at step {short['step']}: micro-batches of {short['now']}")
    if training.get("steps", 0) < training.get("steps_planned", 0):
        notes.append(f"stopped early, of {training['steps_planned']} steps")
    if "best_step" in training:
        notes.append(f"the adapter of step {training['best_step']} stands")
    return notes


def _watt_hours(training: Mapping[str, Any]) -> float | None:
    joules = training.get("energy_joules")
    return None if joules is None else float(joules) / _JOULES_A_WATT_HOUR
