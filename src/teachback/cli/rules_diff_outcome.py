"""How `teachback rules diff` shows which labels flip."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec import to_builtins
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from teachback.agents.rule_diff import Flip, Kind, RuleDiff
from teachback.agents.rules import Mention
from teachback.cli.rules import COLOURS

__all__ = ["MOST_COLUMNS", "diff_json", "print_diff", "progress_bar"]

MOST_COLUMNS = 100


def progress_bar() -> Progress:
    """Return a bar of reports on stderr, so that stdout holds the diff alone."""
    columns = (TextColumn("labelling"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def print_diff(console: Console, asked: Mapping[str, Any], diff: RuleDiff) -> None:
    """Print what was compared, how many labels flip, a table of the flips and examples; at most 100 columns.

    Args:
        console: Where to; made narrower if need be.
        asked: What was asked for, as in the JSON: `old`, `new`, `scope`, `corpus`, `snapshot_age_s`.
        diff: What came of it.
    """
    console.width = min(console.width, MOST_COLUMNS)
    taken = datetime.now() - timedelta(seconds=asked["snapshot_age_s"])
    sides = " -> ".join(f"{side['rules']} ({side['version']})" for side in (asked["old"], asked["new"]))
    corpus = f", corpus {asked['corpus']}" if asked["corpus"] else ""
    console.print(Text(sides))
    console.print(Text(f"scope {asked['scope']}{corpus}, snapshot of {taken:%Y-%m-%d %H:%M}"))
    for names, which in ((diff.only_old, "old"), (diff.only_new, "new")):
        if names:
            console.print(Text(f"only in the {which} rules, so unmentioned by the others: {', '.join(names)}"))
    if diff.without_text:
        console.print(f"{diff.without_text:,} reports have no text in this scope: neither rule set labels them")
    console.print(
        f"{diff.total:,} labels flip in {diff.touched:,} of {diff.reports:,} reports ({diff.touched_share:.1%})"
    )
    if diff.flips:
        console.print()
        console.print(_flip_table(diff.flips))
    for flip in diff.examples:
        console.print()
        _print_example(console, flip)


def diff_json(diff: RuleDiff) -> dict[str, Any]:
    """Return the whole diff as what JSON can hold."""
    return {
        "reports": diff.reports,
        "without_text": diff.without_text,
        "touched": diff.touched,
        "touched_share": round(diff.touched_share, 6),
        "flips": diff.total,
        "findings": {
            finding: {f"{old}->{new}": count for (old, new), count in kinds.most_common()}
            for finding, kinds in diff.flips.items()
        },
        "only_old": list(diff.only_old),
        "only_new": list(diff.only_new),
        "examples": to_builtins(diff.examples),
    }


def _flip_table(flips: Mapping[str, Counter[Kind]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("finding", overflow="fold")
    table.add_column("flips", justify="right", no_wrap=True)
    table.add_column("old -> new", no_wrap=True)
    table.add_column("reports", justify="right", no_wrap=True)
    for finding, kinds in flips.items():
        for place, (kind, count) in enumerate(kinds.most_common()):
            first = (Text(finding), f"{kinds.total():,}") if place == 0 else ("", "")
            table.add_row(*first, _arrow(kind), f"{count:,}")
    return table


def _print_example(console: Console, flip: Flip) -> None:
    console.print(Text.assemble((flip.report_id, "bold"), f"  {flip.finding}  ", _arrow((flip.old, flip.new))))
    for side, mention in (("old", flip.old_mention), ("new", flip.new_mention)):
        console.print(Padding.indent(Text(f"{side}: {_told(mention)}"), 2))


def _told(mention: Mention | None) -> str:
    if mention is None:
        return "no mention"
    cue = f'cue "{_one_line(mention.cue)}", ' if mention.cue else ""
    return f'"{_one_line(mention.quote)}" in {mention.section}, {cue}rule {mention.rule}'


def _one_line(words: str) -> str:
    return " ".join(words.split())


def _arrow(kind: Kind) -> Text:
    old, new = kind
    return Text.assemble((old, COLOURS[old]), " -> ", (new, COLOURS[new]))
