"""`teachback queue`: what the teachers leave to a person."""

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from teachback.store.quality.review_queue import QueuedTarget, QueuedVote

__all__ = ["queue"]

MOST_SHOWN = 20  # targets on a terminal; --json and --csv give all


def queue(
    store: Annotated[Path, typer.Argument(help="The store, a .duckdb file.")],
    corpus: Annotated[str | None, typer.Option(help="Only this corpus.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Most targets to show on the terminal.")] = MOST_SHOWN,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write all of them to a new CSV file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of them as JSON.")] = False,
) -> None:
    """List the targets of which an adjudicator could not tell, with the votes and its reason, for a person to decide.

    Reads the newest snapshot, so it works while a run writes. A target leaves the list once it has a curated label.

    Example: teachback queue labels.duckdb --csv to-decide.csv
    """
    from teachback.cli.snapshot_age import age_in_words
    from teachback.errors import SettingError
    from teachback.store.database import open_snapshot
    from teachback.store.quality.review_queue import fetch_queue

    if csv_file and csv_file.exists():
        raise SettingError(f"{csv_file} is there already", "name a new file: somebody may have filled that one in")
    connection, age = open_snapshot(store)
    with connection:
        waiting = fetch_queue(connection, corpus)
    print(f"snapshot of {store}, {age_in_words(age)} old", file=sys.stderr)
    if csv_file:
        _write_csv(csv_file, waiting)
    if as_json:
        typer.echo(json.dumps({"waiting": len(waiting), "targets": [_plain(entry) for entry in waiting]}, indent=2))
    elif csv_file:
        typer.echo(f"{_counted(waiting)}: {csv_file}")
    else:
        _print(waiting, rows)


def _print(waiting: "Sequence[QueuedTarget]", rows: int) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    console.print(f"{_counted(waiting)}.")
    for entry in waiting[:rows]:
        console.print()
        console.print(Text.assemble((_clean(entry.report_id), "bold"), "  ", (_clean(entry.target), "bold")))
        for vote in entry.votes:
            console.print(Padding(Text(_clean(_said(vote))), (0, 0, 0, 2)))
        console.print(Padding(Text(_clean(f"{entry.adjudicator}: {entry.rationale}"), "dim"), (0, 0, 0, 2)))
    if len(waiting) > rows:
        console.print(f"\nThe first {rows:,}; --rows N shows more, --csv FILE and --json give all.")


def _write_csv(file: Path, waiting: "Sequence[QueuedTarget]") -> None:
    with file.open("x", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(["report_id", "corpus", "task", "target", "why", "votes", "rationale", "adjudicator"])
        for entry in waiting:
            votes = "\n".join(_said(vote) for vote in entry.votes)
            place = (entry.report_id, entry.corpus, entry.task, entry.target, entry.why)
            writer.writerow([*place, votes, entry.rationale, entry.adjudicator])


def _said(vote: "QueuedVote") -> str:
    sure = "" if vote.confidence is None else f" ({100 * vote.confidence:.0f} %)"
    return f"{vote.labeler}: {vote.status}{sure}" + (f', "{vote.quote}"' if vote.quote else "")


def _counted(waiting: "Sequence[QueuedTarget]") -> str:
    reports = len({entry.report_id for entry in waiting})
    waits = "1 target waits" if len(waiting) == 1 else f"{len(waiting):,} targets of {reports:,} reports wait"
    return f"{waits} for a person"


def _plain(entry: "QueuedTarget") -> dict[str, object]:
    from dataclasses import asdict

    return asdict(entry)


def _clean(text: str) -> str:
    # What reports and models say may hold control characters, which a terminal would obey.
    return "".join(character if character.isprintable() else " " for character in text)
