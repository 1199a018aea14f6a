"""How `teachback label --batch` shows what a pass came to."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from teachback.agents.batch import Outcome
from teachback.agents.tally import Tally
from teachback.agents.teach import TeachSummary
from teachback.cli.label_outcome import outcome_json, print_outcome

__all__ = ["batch_json", "print_batches"]

MOST_REASONS = 10


def print_batches(console: Console, store: Path, outcome: Outcome[TeachSummary], tally: Tally) -> None:
    """Print what came back, what is under way, what failed, and what to type next."""
    bill = outcome.collected.bill
    if outcome.collected.ended:
        ended = ", ".join(f"{count} {how}" for how, count in outcome.collected.ended.items())
        unpriced = f" + {bill.unpriced:,} of unknown price" if bill.unpriced else ""
        console.print(
            f"Batches that ended: {ended}; {bill.answered:,} answers, {bill.refused:,} failures, "
            f"${bill.cost_usd:,.4f}{unpriced}.",
            highlight=False,
        )
    for reason, count in list(outcome.collected.reasons.items())[:MOST_REASONS]:
        console.print(f"  {count:,} x {reason}", highlight=False, markup=False)
    for batch, oddity in outcome.collected.oddities.items():
        console.print(f"  {batch}: {oddity}", highlight=False, markup=False)
    if outcome.submitted:
        requests = sum(batch.requests for batch in outcome.submitted)
        console.print(f"Handed in: {requests:,} requests in {len(outcome.submitted)} batches.", highlight=False)
    if outcome.under_way:
        console.print(_under_way(outcome))
    if outcome.exhausted:
        console.print(f"{len(outcome.exhausted):,} requests are not handed in again:", highlight=False)
        for reason, count in Counter(one.reason for one in outcome.exhausted).most_common(MOST_REASONS):
            console.print(f"  {count:,} x {reason}", highlight=False, markup=False)
    if outcome.is_done:
        print_outcome(console, store, outcome.summary, tally)
    else:
        done = outcome.summary.selected - outcome.summary.progress.total + outcome.summary.progress.taught
        console.print(f"{done:,} of {outcome.summary.selected:,} selected reports are labelled.", highlight=False)
    console.print(f"Next: {outcome.next_step}", highlight=False)


def batch_json(outcome: Outcome[TeachSummary], tally: Tally) -> dict[str, Any]:
    """Return what a pass came to, for programs."""
    collected = outcome.collected
    return {
        **outcome_json(outcome.summary, tally),
        "collected": {
            "ended": dict(collected.ended),
            "bill": asdict(collected.bill),
            "reasons": dict(collected.reasons),
            "oddities": dict(collected.oddities),
        },
        "submitted": [asdict(batch) for batch in outcome.submitted],
        "under_way": [asdict(batch) for batch in outcome.under_way],
        "exhausted": [asdict(one) for one in outcome.exhausted],
        "done": outcome.is_done,
    }


def _under_way(outcome: Outcome[TeachSummary]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("batch", overflow="fold")
    table.add_column("status")
    for name in ("requests", "answered", "failed", "age"):
        table.add_column(name, justify="right", no_wrap=True)
    for batch in outcome.under_way:
        counts = (f"{batch.requests:,}", f"{batch.completed:,}", f"{batch.failed:,}", f"{batch.age_s / 60:,.0f} min")
        table.add_row(batch.endpoint_batch_id or batch.batch_id, batch.status, *counts)
    return table
