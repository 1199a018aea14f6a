"""`teachback adjudication`: whether the adjudicator is worth its price."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from teachback.store.quality.adjudication import AdjudicationReport, Policy
    from teachback.store.quality.bootstrap import Estimate

__all__ = ["adjudication", "price_in_words", "sentence"]

# Narrower than this, the intervals would wrap; a pipe has no width of its own.
_MIN_WIDTH = 110


def adjudication(
    store: Annotated[Path, typer.Argument(help="The store, a .duckdb file.")],
    split: Annotated[
        Literal["calibration", "gate", "test", "train", "all"],
        typer.Option(help="Which reports. `all` is all but `test`, which is looked at only when it is named."),
    ] = "calibration",
    corpus: Annotated[str | None, typer.Option(help="Only this corpus.")] = None,
    teacher: Annotated[
        str | None, typer.Option(help="The teacher's id, or its beginning; the one that decided last when left out.")
    ] = None,
    per_finding: Annotated[bool, typer.Option("--per-finding", help="Also a table by finding.")] = False,
    n_boot: Annotated[int, typer.Option(help="Bootstrap resamples, by subject.", min=0, max=100_000)] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the resamples.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Judge the adjudicator on disputes with curated labels: against always one vote, or the majority, and its price.

    Reads the newest snapshot, so it works while a run writes. Intervals are 95 %, by subject.

    Example: teachback adjudication labels.duckdb --split all --per-finding
    """
    from teachback.store.database import open_snapshot
    from teachback.store.quality.adjudication import judge_adjudicator

    connection, age = open_snapshot(store)
    with connection:
        report = judge_adjudicator(connection, teacher, None if split == "all" else split, corpus, n_boot, seed)
    if split == "test":
        print("warning: this looks at `test`; what is chosen by it cannot be judged on it any more", file=sys.stderr)
    asked = {"store": str(store), "snapshot_age_s": round(age, 1), "split": split, "corpus": corpus}
    if as_json:
        typer.echo(json.dumps(asked | {"sentence": sentence(report)} | report.as_dict(), indent=2))
    else:
        _print(report, asked, per_finding)


def sentence(report: "AdjudicationReport") -> str:
    """Say in words how often the adjudicator was right, against the model's vote and the best other policy."""
    n = report.n
    if not n:
        return f"The adjudicator could not tell on any of the {report.left_open:,} disputes with curated labels."
    said = f"The adjudicator was right on {_percent(report.accuracy)} of {n:,} disputes with curated labels; "
    usual = report.always_reference
    best = max(report.policies, key=lambda policy: (policy.right, policy is usual))
    said += f"{_always(usual)}: {100 * usual.accuracy.value:.1f} %"
    if best is usual:
        return f"{said}: {_judged(usual)}."
    said += f", and, as one knows afterwards, {_always(best)}: {100 * best.accuracy.value:.1f} %"
    if (usual.adjudicator, best.adjudicator) == ("better", "better"):
        return f"{said}: it is shown to help here."
    return f"{said}: against the former {_judged(usual)}, against the latter {_judged(best)}."


def _print(report: "AdjudicationReport", asked: dict[str, Any], per_finding: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    from teachback.cli.snapshot_age import age_in_words

    console = Console(highlight=False)
    console.width = max(console.width, _MIN_WIDTH)
    where = f"split {asked['split']}" + (f", corpus {asked['corpus']}" if asked["corpus"] else "")
    head = f"{report.adjudicator}, {where}; snapshot is {age_in_words(asked['snapshot_age_s'])} old"
    console.print(Text(head), style="dim")
    console.print(Text(sentence(report)))
    console.print()
    _print_policies(console, report)
    _print_price(console, report)
    if per_finding:
        _print_findings(console, report)
    for note in report.notes:
        console.print(Text(f"note: {note}"), style="dim")


def _print_policies(console: "Console", report: "AdjudicationReport") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("who decides", overflow="fold")
    headings = (
        f"right of {report.n:,}",
        "share [95 %]",
        "adjudicator minus it",
        "",
        f"right of {report.left_open:,} open",
    )
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row(Text(report.adjudicator), f"{report.right:,}", Text(_percent(report.accuracy)), "", "", "-")
    for policy in report.policies:
        best = " (best voter)" if policy is report.best_voter else ""
        table.add_row(
            Text(_row(policy) + best),
            f"{policy.right:,}",
            Text(_percent(policy.accuracy)),
            Text(_percent(policy.gain, signed=True)),
            policy.adjudicator,
            f"{policy.right_open:,}",
        )
    console.print(table)
    open_share = report.left_open / (report.n + report.left_open)
    console.print(
        "best voter: on these disputes, as one knows afterwards; "
        f"open: {report.left_open:,} disputes of which the adjudicator could not tell ({100 * open_share:.1f} %); "
        f"{report.uncurated:,} further disputes have no curated label",
        style="dim",
    )


def _print_price(console: "Console", report: "AdjudicationReport") -> None:
    from rich.text import Text

    spent = report.spent
    console.print()
    console.print(
        Text(
            f"Against {_always(report.always_reference)}: {report.corrected:,} labels corrected, {report.spoiled:,} "
            f"spoiled, {report.net:+,} in all; {price_in_words(report)}."
        )
    )
    console.print(
        f"{spent.calls:,} calls; these disputes' share of them is {spent.prompt_tokens:,} tokens sent and "
        f"{spent.completion_tokens:,} returned",
        style="dim",
    )


def price_in_words(report: "AdjudicationReport") -> str:
    """Say what a label costs that is right thanks to the adjudicator."""
    cost = report.spent.cost_usd
    if cost is None:
        return "what that cost is not known: a price or a call is missing"
    if cost == 0:
        return "free of charge, on a machine of one's own"
    each = report.usd_per_correction
    return f"${cost:.4f} for nothing won" if each is None else f"${cost:.4f}, ${each:.4f} for each label won"


def _print_findings(console: "Console", report: "AdjudicationReport") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("finding")
    for heading in ("disputes", "open", "adjudicator", *(_row(policy) for policy in report.policies)):
        table.add_column(Text(heading), justify="right", overflow="fold")
    for row in report.findings:
        shares = (f"{100 * right / row.n:.1f} %" if row.n else "-" for right in (row.right, *row.policies))
        table.add_row(row.finding, f"{row.n:,}", f"{row.left_open:,}", *shares)
    console.print()
    console.print(table)
    console.print()


def _row(policy: "Policy") -> str:
    return "the majority" if policy.kind == "majority" else f"always {policy.name}"


def _always(policy: "Policy") -> str:
    return f"always taking {'the majority' if policy.kind == 'majority' else policy.name}'s vote"


def _judged(policy: "Policy") -> str:
    words = {"better": "it is shown to help here", "worse": "it is shown to do harm here"}
    return words.get(policy.adjudicator, "it is not shown to help here")


def _percent(figure: "Estimate", *, signed: bool = False) -> str:
    if figure.value != figure.value:
        return "-"
    value, low, high = (f"{100 * x:{'+' if signed else ''}.1f}" for x in (figure.value, figure.low, figure.high))
    unit = "" if signed else " %"
    return f"{value}{unit}" if figure.low != figure.low else f"{value}{unit} [{low}, {high}]"
