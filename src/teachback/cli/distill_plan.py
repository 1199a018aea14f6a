"""`teachback distill STORE --plan`: what a campaign will take, before anything starts."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from teachback.distill.config import CampaignSettings
    from teachback.distill.plan import Plan

__all__ = ["print_plan"]


def print_plan(
    store: Path,
    settings: "CampaignSettings",
    *,
    arms: str | None,
    seeds: Sequence[int],
    teacher: str | None,
    as_json: bool,
) -> None:
    """Print what a campaign will take, or several; nothing is trained or written.

    Args:
        store: The store, read through its snapshot.
        settings: The campaign's settings.
        arms: Names of arms or a file; None plans the settings as they are.
        seeds: Seeds that each arm would be run with.
        teacher: Which teacher to distil.
        as_json: Print one JSON object.
    """
    from rich.console import Console

    from teachback.distill.arms import load_arms
    from teachback.distill.arms_run import plan_arms

    listed = None if arms is None else load_arms(arms)
    plans = plan_arms(store, settings, listed, seeds, teacher_id=teacher)
    if as_json:
        print(json.dumps(_as_json(plans, seeds), indent=1))
        return
    console = Console()
    for name, plan, arm in plans:
        if len(plans) > 1:
            console.print(f"[bold]Arm {name}[/bold]", highlight=False)
        _print(plan, arm, console)
    if len(plans) * len(seeds) > 1:
        together = sum(plan.training_seconds + plan.reading_seconds for _, plan, _ in plans) * len(seeds)
        console.print(
            f"Together: {len(plans)} {_ways(len(plans))}, {len(seeds)} {_seeds(len(seeds))} each, "
            f"one after another, about {_time(together)}.",
            highlight=False,
        )
    console.print("Nothing was started.", highlight=False)


def _as_json(plans: Sequence[tuple[str, "Plan", "CampaignSettings"]], seeds: Sequence[int]) -> dict[str, Any]:
    if len(plans) == 1 and len(seeds) == 1:
        return plans[0][1].as_dict()
    return {"seeds": list(seeds), "arms": [{"name": name, **plan.as_dict()} for name, plan, _ in plans]}


def _print(plan: "Plan", settings: "CampaignSettings", console: "Console") -> None:
    from rich.table import Table
    from rich.text import Text

    width = min(100, console.width)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("what", style="bold", no_wrap=True)
    table.add_column("figure", overflow="fold")
    for what, figure in (*_rows(plan, settings), *_costs(plan, settings)):
        table.add_row(what, Text(figure))
    console.print(table, width=width)
    if not plan.fits:
        console.print(
            "This is more than the device has free. Lower train.micro_batch, set train.gradient_checkpointing: true "
            "or train.quantize: true in a preset.",
            highlight=False,
            width=width,
        )
    if plan.finished:
        console.print(f"Campaign {plan.campaign_id} is finished: it would only be shown again.", highlight=False)


def _rows(plan: "Plan", settings: "CampaignSettings") -> list[tuple[str, str]]:
    """Return the lines on what is read and taught."""
    from teachback.distill.ranks import share_batch

    rows, reading, train = plan.rows, plan.reading, settings.train
    taught = [
        f"{of.labels:,} {of.source} labels of {of.task}, scope {of.scope}: {of.reports:,} reports, {of.lessons:,} texts"
        for of in plan.taught
    ]
    audit = settings.noise != "none"
    later = next((training for training in plan.trainings if training.at_most), None)
    steps = f"{plan.trainings[0].steps:,} in round 1"
    if later is not None:
        steps += f", at most {later.steps:,} in each of {len(plan.trainings) - 1} later trainings"
    return [
        ("reports", ", ".join(f"{n:,} {split}" for split, n in plan.splits.items())),
        ("labels", "\n".join(taught) + ("\nbefore the audit of labels, which is not made for a plan" if audit else "")),
        (
            "rows",
            f"{rows.rows:,} in round 1, {rows.tokens:,} tokens; the longest {rows.longest:,} of {train.max_length:,}",
        ),
        (
            "cut",
            f"{rows.cut:,} reports lose words from their middle to fit, {rows.cut_tokens:,} tokens in all"
            + (f"; {rows.long_lists:,} lists of diseases are too long and left out" if rows.long_lists else ""),
        ),
        ("steps", f"{steps}; {train.batch} rows a step, {share_batch(train.batch, train.micro_batch, 1)[0]} at a time"),
        (
            "to read",
            f"{reading.texts:,} texts, {reading.tokens:,} tokens, by each of up to {reading.students} students",
        ),
    ]


def _costs(plan: "Plan", settings: "CampaignSettings") -> list[tuple[str, str]]:
    """Return the lines on what it costs."""
    shape, memory, train = plan.shape, plan.memory, settings.train
    kind = "NF4" if train.quantize else "unquantized"
    named = Path(settings.student).name if Path(settings.student).is_dir() else settings.student
    step = memory.adapter + memory.optimizer + memory.activations + memory.logits
    return [
        (
            "student",
            f"{named}: {shape.parameters:,} parameters, {kind}: {_bytes(shape.base_bytes)}; "
            f"LoRA of rank {shape.rank}: {shape.trained:,}, {_bytes(memory.adapter + memory.optimizer)} "
            "with gradients and optimizer",
        ),
        (
            "memory",
            f"{_bytes(memory.peak)} at the peak, estimated: base {_bytes(memory.base)}, "
            + (
                f"a step {_bytes(step)} (activations {_bytes(memory.activations)}, logits {_bytes(memory.logits)})"
                if step >= memory.reading
                else f"reading reports {_bytes(memory.reading)} (a training step {_bytes(step)})"
            )
            + f", libraries {_bytes(memory.libraries)}",
        ),
        ("device", f"{plan.device.name}: {_bytes(plan.device.memory)}, {_bytes(plan.device.free)} free now"),
        (
            "time",
            f"about {_time(plan.training_seconds + plan.reading_seconds)}: training {_time(plan.training_seconds)}, "
            f"reading {_time(plan.reading_seconds)}\nat {plan.speed.told}",
        ),
        ("disk", f"{_bytes(plan.disk_bytes)} of adapters and checkpoints"),
    ]


def _ways(n: int) -> str:
    return "arm" if n == 1 else "arms"


def _seeds(n: int) -> str:
    return "seed" if n == 1 else "seeds"


def _bytes(n: float) -> str:
    for unit in ("B", "KB", "MB"):
        if n < 1000:
            return f"{n:,.0f} {unit}"
        n /= 1000
    return f"{n:,.1f} GB"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
