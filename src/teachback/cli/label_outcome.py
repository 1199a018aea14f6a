"""How `teachback label` shows its progress and what came of it."""

import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from teachback.agents.aggregate.consolidate import Consolidated
from teachback.agents.tally import Tally
from teachback.agents.teach import Progress as Standing
from teachback.agents.teach import TeachSummary
from teachback.store.label import STATUSES, Failure

__all__ = ["LabelBar", "outcome_json", "print_outcome", "print_tally"]

MOST_FAILURES_SHOWN = 10
LEFT_OUT_MEANS = "without logprobs there is no confidence (--repeat 5 gives one by votes)"
NO_MONEY = "stand-in: no money was spent"


class LabelBar:
    """A progress bar of reports, with calls, cost and disagreements; call it with how far the job is."""

    def __init__(self, console: Console) -> None:
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
        self._bar = Progress(TextColumn("labeling"), *columns, console=console, transient=True)
        self._task = self._bar.add_task("reports", total=None, note="")

    def __enter__(self) -> "LabelBar":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, standing: Standing) -> None:
        """Show how far the job is."""
        bill = standing.bill
        parts = [f"{standing.disputed} disagreements"]
        if bill.calls or bill.failed or bill.reused:
            parts = [f"{bill.calls} calls", f"${bill.cost_usd:.4f}", *parts]
        if standing.failed:
            parts.append(f"{standing.failed} failed")
        done = standing.taught + standing.failed
        self._bar.update(self._task, total=standing.total, completed=done, note=" · ".join(parts))


def print_outcome(console: Console, store: Path, summary: TeachSummary, tally: Tally) -> None:
    """Print what a labeling job came to, and what to type next."""
    done, selected = summary.selected - summary.progress.total, summary.selected
    if summary.run_id is None:
        console.print(f"Nothing to do: this teacher is done with all {selected:,} selected reports. 0 calls.")
    else:
        earlier = f" ({done:,} were done before)" if done else ""
        console.print(f"Labelled {summary.progress.taught:,} of {selected:,} selected reports{earlier}.")
    if tally.stood_in:
        console.print(
            "[yellow]The model is the package's stand-in, not a language model: its labels show how the parts work "
            "together, not what a teacher knows.[/yellow]"
        )
    console.print(_votes_table(tally))
    if tally.agreed or tally.disagreed:
        console.print(_agreement_table(tally, aggregated=summary.aggregated is not None))
    if summary.aggregated:
        console.print(_reliability_table(summary.aggregated, tally))
    for parameter in summary.left_out:
        console.print(f"[yellow]{parameter}[/yellow] is not taken by the model and was left out: {LEFT_OUT_MEANS}")
    if tally.bill or summary.progress.bill.failed:
        console.print(_bill_table(summary, tally))
        if tally.stood_in:
            console.print(NO_MONEY)
    if summary.failures:
        _print_failures(console, summary.failures)
    _print_next(console, store, tally, aggregated=summary.aggregated is not None)


def print_tally(console: Console, tally: Tally) -> None:
    """Print what the adjudicator did and what all labels of a teacher have cost, on two lines."""
    console.print(
        f"   Rules and model differed on {tally.disagreed:,} of {tally.agreed + tally.disagreed:,} targets; the "
        f"adjudicator kept the rules' status {tally.kept_rule:,} times, the model's {tally.kept_llm:,} times, chose a "
        f"third {tally.kept_other:,} times and left {tally.left_open:,} to a person; "
        f"{tally.undecided - tally.left_open:,} needed no decision (one had read less of the report)."
    )
    calls = sum(bill.calls for bill in tally.bill)
    cost = sum(bill.cost_usd or 0.0 for bill in tally.bill)
    console.print(f"   {calls:,} calls, ${cost:,.4f}{f' ({NO_MONEY})' if tally.stood_in else ''}.")


def outcome_json(summary: TeachSummary, tally: Tally) -> dict[str, Any]:
    """Return what a labeling job came to, for programs."""
    return {
        "teacher_id": summary.teacher_id,
        "run_id": summary.run_id,
        "selected": summary.selected,
        "run": asdict(summary.progress),
        "failures": [asdict(failure) for failure in summary.failures],
        "left_out": list(summary.left_out),
        "aggregated": asdict(summary.aggregated) if summary.aggregated else None,
        "teacher": {**asdict(tally), "disagreed": tally.disagreed, "stand_in": tally.stood_in},
    }


def _table(title: str, names: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False, collapse_padding=True)
    for name in names:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _votes_table(tally: Tally) -> Table:
    table = _table(f"Labels on {tally.reports:,} reports", ("labeler", "task"), ("reports", *STATUSES))
    for votes in tally.votes:
        counts = [f"{votes.statuses.get(status, 0):,}" for status in STATUSES]
        table.add_row(votes.name, votes.task, f"{votes.reports:,}", *counts)
    return table


def _agreement_table(tally: Tally, *, aggregated: bool) -> Table:
    voters = sum(votes.kind != "adjudicator" and votes.task == "findings" for votes in tally.votes)
    table = _table(
        "Rules and model, target by target" if voters == 2 else "Target by target", ("",), ("targets", "share")
    )
    compared = tally.agreed + tally.disagreed
    decider = "the vote" if aggregated else "adjudicator"
    rows = [("agree", tally.agreed), ("differ", tally.disagreed)]
    if any(votes.kind == "rule" for votes in tally.votes):
        rows.append((f"  {decider} kept the rules' status", tally.kept_rule))
    rows += [
        (f"  {decider} kept a model's status", tally.kept_llm),
        (f"  {decider} chose another status", tally.kept_other),
    ]
    if tally.left_open:
        rows.append(("  adjudicator could not tell: left to a person", tally.left_open))
    if tally.undecided > tally.left_open:
        rows.append(("  nothing to decide: one read less of the report", tally.undecided - tally.left_open))
    for name, targets in rows:
        table.add_row(name, f"{targets:,}", f"{targets / compared:.1%}")
    return table


def _reliability_table(aggregated: Consolidated, tally: Tally) -> Table:
    title = f"The vote: {aggregated.changed:,} of {aggregated.items:,} targets differ from a plain majority"
    names = {votes.labeler_id: votes.name for votes in tally.votes}
    table = _table(title, ("labeler",), ("votes", "followed", "estimated right"))
    for member in aggregated.members:
        right = "-" if member.accuracy is None else f"{member.accuracy:.1%}"
        name = names.get(member.labeler_id, member.labeler_id)
        table.add_row(name, f"{member.votes:,}", f"{member.agreement:.1%}", right)
    return table


def _bill_table(summary: TeachSummary, tally: Tally) -> Table:
    table = _table("Calls", ("",), ("calls", "failed", "reused", "tokens in", "tokens out", "cost"))
    bill = summary.progress.bill
    unpriced = f" + {bill.unpriced:,} calls" if bill.unpriced else ""
    counts = (bill.calls, bill.failed, bill.reused, bill.prompt_tokens, bill.completion_tokens)
    table.add_row("this run", *(f"{count:,}" for count in counts), f"${bill.cost_usd:,.4f}{unpriced}")
    for model in tally.bill:
        tokens = (f"{model.prompt_tokens:,}", f"{model.completion_tokens:,}")
        cost = "unknown" if model.cost_usd is None else f"${model.cost_usd:,.4f}"
        table.add_row(f"behind these labels: {model.model}", f"{model.calls:,}", "", "", *tokens, cost)
    return table


def _print_failures(console: Console, failures: Sequence[Failure]) -> None:
    reasons = Counter(failure.reason for failure in failures)
    table = _table(f"{len(failures):,} failures", ("reports", "such as", "reason"), ())
    for reason, count in reasons.most_common(MOST_FAILURES_SHOWN):
        example = next(failure.report_id for failure in failures if failure.reason == reason)
        table.add_row(f"{count:,}", Text(example), Text(reason))
    console.print(table)
    if len(reasons) > MOST_FAILURES_SHOWN:
        console.print(f"and {len(reasons) - MOST_FAILURES_SHOWN:,} more reasons: SELECT * FROM failures")
    console.print("These reports are not counted as done. The same command tries them again, and only them:")
    console.print(f"  {shlex.join(['teachback', *sys.argv[1:]])}", highlight=False, soft_wrap=True)


def _print_next(console: Console, store: Path, tally: Tally, *, aggregated: bool) -> None:
    console.print("Next:")
    how = "aggregated" if aggregated else "adjudicated"
    commands = [
        f"teachback sql {shlex.quote(str(store))} \"SELECT * FROM teacher_labels WHERE decided_by = '{how}'\"",
        f"teachback distill {shlex.quote(str(store))}",
        f"teachback evaluate {shlex.quote(str(store))}",
    ]
    if tally.left_open:
        commands.insert(0, f"teachback queue {shlex.quote(str(store))}")
    for command in commands:
        console.print(f"  {command}", highlight=False, soft_wrap=True)
