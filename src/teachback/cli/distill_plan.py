"""`teachback distill STORE --plan`: what a campaign will take, before anything starts."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from teachback.distill.config import CampaignSettings
    from teachback.distill.plan import Plan

__all__ = ["print_plan"]


def print_plan(store: Path, settings: "CampaignSettings", *, teacher: str | None, as_json: bool) -> None:
    """Print what a campaign will take; nothing is trained or written.

    Args:
        store: The store, read through its snapshot.
        settings: The campaign's settings.
        teacher: Which teacher to distil.
        as_json: Print one JSON object.
    """
    from teachback.distill.base import resolve_student
    from teachback.distill.campaign import campaign_folder
    from teachback.distill.plan import plan_campaign
    from teachback.store.database import open_snapshot

    settings = settings.model_copy(update={"student": resolve_student(settings.student)})
    connection, _ = open_snapshot(store)
    with connection:
        plan = plan_campaign(connection, settings, campaign_folder(store), teacher)
    if as_json:
        print(json.dumps(plan.as_dict(), indent=1))
        return
    _print(plan, settings)


def _print(plan: "Plan", settings: "CampaignSettings") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("what", style="bold", no_wrap=True)
    table.add_column("figure")
    fits = plan.memory_bytes <= plan.memory_here
    for what, figure in (
        ("student", f"{settings.student}, {plan.parameters:,} parameters, {plan.trained_parameters:,} trained"),
        ("reports", ", ".join(f"{n:,} {split}" for split, n in plan.splits.items())),
        ("labels", ", ".join(f"{n:,} {source}" for source, n in plan.labels.items())),
        (
            "lessons",
            f"{plan.lessons:,} of {plan.tokens:,} tokens; longest {plan.longest:,} of {settings.train.max_length:,}",
        ),
        ("cut", f"{plan.cut:,} reports lose words from their middle"),
        (
            "trainings",
            f"up to {plan.trainings} of {plan.steps:,} steps (round 1), {settings.train.batch} reports a step",
        ),
        ("memory", f"{_bytes(plan.memory_bytes)} at the most, estimated; {_bytes(plan.weight_bytes)} of it the base"),
        ("device", f"{plan.device}, {_bytes(plan.memory_here)}" + ("" if fits else ": too little")),
        ("time", f"{_time(plan.seconds)} of training, estimated from {plan.seconds_from}"),
        ("disk", f"{_bytes(plan.disk_bytes)} of adapters and checkpoints"),
    ):
        table.add_row(what, figure)
    console = Console()
    console.print(table)
    if not fits:
        console.print("Lower train.micro_batch, set train.gradient_checkpointing: true, or quantize.", highlight=False)
    console.print("Nothing was started.", highlight=False)


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
