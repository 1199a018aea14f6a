"""How `teachback label --dry-run` shows the bill beforehand."""

from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from teachback.agents.estimate import Estimate

__all__ = ["estimate_json", "print_estimate"]

BATCH_NOTE = "The Batch API's half price is taken off."


def print_estimate(console: Console, estimate: Estimate) -> None:
    """Print what a labeling job would ask for and cost."""
    console.print(
        f"{estimate.pending:,} of {estimate.selected:,} selected reports are to be labelled; nothing was sent.",
        highlight=False,
    )
    if not estimate.agents:
        console.print("Rules ask nobody: $0.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("labeler", "model"):
        table.add_column(name, overflow="fold")
    for name in ("stored", "calls", "tokens in", "tokens out", "USD", "at most"):
        table.add_column(name, justify="right", no_wrap=True)
    for agent in estimate.agents:
        calls = f"{agent.calls:,}" if agent.calls == agent.calls_at_most else f"about {agent.calls:,}"
        tokens = (f"{agent.prompt_tokens:,}", f"{agent.completion_tokens:,}")
        costs = (_usd(agent.cost_usd), _usd(agent.cost_at_most_usd))
        table.add_row(agent.labeler, agent.model, f"{agent.cached:,}", calls, *tokens, *costs)
    whole = (_usd(estimate.cost_usd), _usd(estimate.cost_at_most_usd))
    calls = f"{sum(agent.calls for agent in estimate.agents):,}"
    table.add_section()
    table.add_row("in all", "", f"{sum(agent.cached for agent in estimate.agents):,}", calls, "", "", *whole)
    console.print(table)
    console.print(f"Tokens: {estimate.counted_by}. Prices of {estimate.prices_as_of}.", highlight=False, soft_wrap=True)
    for agent in estimate.agents:
        console.print(f"{agent.labeler}: {agent.basis}", highlight=False, soft_wrap=True)
    if estimate.batch:
        console.print(BATCH_NOTE)
    if estimate.cost_usd is None:
        console.print("A price is not known: add the model to a price list and name it with --prices FILE.")


def estimate_json(estimate: Estimate) -> dict[str, Any]:
    """Return what a labeling job would ask for and cost, for programs."""
    return {
        **asdict(estimate),
        "cost_usd": estimate.cost_usd,
        "cost_at_most_usd": estimate.cost_at_most_usd,
    }


def _usd(cost: float | None) -> str:
    if cost is None:
        return "unknown"
    return f"${cost:,.2f}" if cost >= 1 or cost == 0 else f"${cost:,.4f}"
