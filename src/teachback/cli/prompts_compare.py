"""How `teachback prompts compare` shows its progress and what came of it."""

import shlex
from collections import Counter
from pathlib import Path
from types import TracebackType

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from teachback.agents.workbench.compare import Comparison
from teachback.agents.workbench.flipped import FlippedReport
from teachback.agents.workbench.side import Side
from teachback.agents.workbench.words import METHOD, OUTCOMES, as_change, as_figure, as_flips, as_p, as_usd, verdict
from teachback.cli.prompts_outcome import quoted
from teachback.cli.rules import COLOURS
from teachback.store.label import Label

__all__ = ["CompareBar", "print_comparison"]

MOST_FLIPPED = 10  # reports shown on the terminal; the page shows all
MOST_KINDS = 2  # of flips of a finding; the page shows more, --json all
# Narrower than this, the intervals would wrap; a pipe has no width of its own.
_MIN_WIDTH = 118
_TONES = {"better": "green", "worse": "red", "both right": "dim", "both wrong": "dim", "not curated": "dim"}


class CompareBar:
    """A progress bar of answers, on stderr; call it with how many are there."""

    def __init__(self) -> None:
        columns = (TextColumn("asking"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("answers", total=None)

    def __enter__(self) -> "CompareBar":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """Show how many of how many answers are there."""
        self._bar.update(self._task, completed=done, total=total)


def print_comparison(console: Console, comparison: Comparison, page: Path | None) -> None:
    """Print what a comparison came to.

    Args:
        console: Where to; made wider if it is too narrow for the intervals.
        comparison: What came of it.
        page: The page that was written, if one was.
    """
    console.width = max(console.width, _MIN_WIDTH)
    _print_head(console, comparison)
    for sentence in verdict(comparison):
        console.print(Text(sentence, style="bold"))
    console.print(_findings_table(comparison))
    console.print(METHOD, style="dim")
    console.print(_costs_table(comparison))
    _print_failures(console, comparison)
    shown = comparison.flipped[:MOST_FLIPPED]
    if shown:
        console.print(Text("Flipped reports, those first where it changed what is right", style="bold"))
    for report in shown:
        _print_flipped(console, report)
    if len(comparison.flipped) > len(shown):
        more = len(comparison.flipped) - len(shown)
        console.print(f"{more:,} more flipped reports: {'in the page' if page else 'add --html FILE to see them all'}")
    warning = comparison.looks.warning()
    if warning:
        console.print(Text(f"warning: {warning}", style="bold yellow"))
    console.print(Text(f"{comparison.looks.sentence()}."))
    if page:
        console.print(Text(f"page: {shlex.quote(str(page))}"), soft_wrap=True)


def _print_head(console: Console, comparison: Comparison) -> None:
    sample = comparison.sample
    for side in (comparison.a, comparison.b):
        console.print(Text.assemble((side.letter, "bold"), f"  {side.prompt.name} ", (side.prompt.prompt_id, "dim")))
    fewer = f" ({sample.asked:,} were asked for)" if sample.available < sample.asked else ""
    console.print(
        f"{len(sample.reports):,} of {sample.available:,} curated reports of {sample.split}{fewer}, "
        f"seed {comparison.settings.seed}, scope {comparison.settings.scope}, model {comparison.a.labeler.model}"
    )
    if sample.unreadable:
        console.print(f"{sample.unreadable:,} curated reports have no section of this scope and were left out")
    if comparison.left_out:
        console.print(f"{len(comparison.left_out):,} reports that a prompt failed on are left out of the comparison")
    if comparison.stood_in:
        console.print("The model is the package's stand-in: this shows how the parts work, not what a prompt is worth.")


def _findings_table(comparison: Comparison) -> Table:
    flips = comparison.flips
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("finding", no_wrap=True)
    for name in ("pos.", "F1 A", "F1 B", "B - A [95 %]", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("flips", justify="right", no_wrap=True)
    table.add_column("most frequent, A->B", no_wrap=True)
    for finding in flips.findings:
        table.add_row(
            finding.finding,
            f"{finding.positives:,}",
            as_figure(finding.f1_a),
            as_figure(finding.f1_b),
            Text(as_change(finding.gain), style=_TONES.get(finding.shown, "")),
            as_p(finding.corrected),
            f"{finding.flipped:,}",
            "\n".join(as_flips(finding.flips)[:MOST_KINDS]),
        )
    table.add_section()
    for name, gain, a, b in (
        ("micro", flips.gain.micro, flips.a.micro, flips.b.micro),
        ("macro", flips.gain.macro, flips.a.macro, flips.b.macro),
    ):
        tone = "green" if gain.low > 0 else "red" if gain.high < 0 else ""
        positives, flipped = (f"{flips.a.positives:,}", f"{flips.flipped:,}") if name == "micro" else ("", "")
        change = Text(as_change(gain), style=tone)
        table.add_row(name, positives, as_figure(a), as_figure(b), change, "", flipped, "", style="bold")
    return table


def _costs_table(comparison: Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("", no_wrap=True)
    table.add_column("A", justify="right", no_wrap=True)
    table.add_column("B", justify="right", no_wrap=True)
    sides = (comparison.a, comparison.b)

    def row(name: str, *cells: str) -> None:
        table.add_row(name, *cells)

    row("USD a report", *(as_usd(side.cost_per_report) for side in sides))
    row("USD for the sample", *(as_usd(side.costs.cost_usd) for side in sides))
    row("  spent now", *(as_usd(side.costs.spent_usd) for side in sides))
    row("tokens in a report", *(f"{side.tokens_per_report()[0]:,.0f}" for side in sides))
    row("tokens out a report", *(f"{side.tokens_per_report()[1]:,.0f}" for side in sides))
    row("calls sent now", *(f"{side.costs.sent:,}" for side in sides))
    row("calls reused", *(f"{side.costs.reused:,}" for side in sides))
    row("quotes not in the report", *(_share(side) for side in sides))
    row("diseases named", *(f"{side.diseases:,}" for side in sides))
    row("reports it failed on", *(f"{len(side.failures):,}" for side in sides))
    return table


def _share(side: Side) -> str:
    return f"{side.ungrounded:,} of {side.quotes:,}"


def _print_failures(console: Console, comparison: Comparison) -> None:
    for side in (comparison.a, comparison.b):
        for reason, count in Counter(failure.reason for failure in side.failures).most_common(3):
            example = next(failure.report_id for failure in side.failures if failure.reason == reason)
            console.print(
                Text(f"{side.letter} failed on {count:,} reports, such as {example}: {reason}", style="yellow")
            )
    if comparison.left_out:
        console.print("The same command asks about them again, and only about them.")


def _print_flipped(console: Console, report: FlippedReport) -> None:
    console.print(Text(report.report_id, style="bold"))
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for width in (26, 8, 1, 30, 1, 30):
        table.add_column(overflow="fold", min_width=width if width < 30 else None)
    for flip in report.flips:
        curated = Text(flip.curated or "no curated label", style=COLOURS[flip.curated] if flip.curated else "dim")
        table.add_row(
            Text.assemble(flip.finding, "\n", (OUTCOMES[flip.outcome], _TONES[flip.outcome])),
            Text.assemble(("curated\n", "dim"), curated),
            Text("A", style="bold"),
            _said(flip.a),
            Text("B", style="bold"),
            _said(flip.b),
        )
    console.print(Padding.indent(table, 2))


def _said(label: Label) -> Text:
    sure = "" if label.confidence is None else f" {label.confidence:.0%}"
    said = Text.assemble((label.status, COLOURS[label.status]), (sure, "dim"))
    return Text.assemble(said, "\n", quoted(label.evidence)) if label.evidence else said
