"""`teachback audit suspects`: which of a teacher's labels are most likely wrong."""

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from teachback.distill.noise_table import SuspectClass, Suspects

__all__ = ["suspects"]

MOST_SHOWN = 10  # suspects on a terminal; --json and --csv give all


def suspects(
    store: Annotated[Path, typer.Argument(help="The store, a .duckdb file.")],
    corpus: Annotated[str | None, typer.Option(help="Only this corpus.")] = None,
    teacher: Annotated[str | None, typer.Option(help="Teacher id; default: the one that labelled most.")] = None,
    unit: Annotated[
        str, typer.Option(help="What the auditing students read at a time: report, or sentence.")
    ] = "report",
    parts: Annotated[int, typer.Option(min=2, help="Parts of the reports, each read by a student of the others.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the parts.")] = 0,
    rows: Annotated[int, typer.Option(min=0, help="Most suspects to show on the terminal.")] = MOST_SHOWN,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write all of them to a new CSV file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table and all suspects as JSON.")] = False,
) -> None:
    """List labels of training reports that students who never saw them find wrong (confident learning).

    Where curated labels of these reports are known, they say how often the suspicion is right. Nothing is changed.

    Example: teachback audit suspects labels.duckdb --csv suspects.csv
    """
    from teachback.cli.snapshot_age import age_in_words
    from teachback.distill.base import require_training
    from teachback.distill.config import load_settings
    from teachback.distill.noise_suspects import find_suspects
    from teachback.errors import SettingError
    from teachback.store.database import open_snapshot

    if csv_file and csv_file.exists():
        raise SettingError(f"{csv_file} is there already", "name a new file: somebody may have worked on that one")
    require_training()
    settings = load_settings("tiny-cpu", unit=unit, corpus=corpus, seed=seed, noise_folds=parts)
    connection, age = open_snapshot(store)
    with connection:
        found = find_suspects(connection, settings, teacher)
    print(f"snapshot of {store}, {age_in_words(age)} old", file=sys.stderr)
    if csv_file:
        _write_csv(csv_file, found)
    if as_json:
        told = {"total": found.total.as_dict(), "classes": [of.as_dict() for of in found.classes]}
        typer.echo(json.dumps(told | {"suspects": _items(found)}, indent=2))
    else:
        _print(found, rows)


def _items(found: "Suspects") -> list[dict[str, object]]:
    return [
        {
            "report_id": row.label.report_id,
            "finding": row.label.target,
            "status": row.label.status,
            "decided_by": row.label.decided_by,
            "suggested": doubt.suggested,
            "believed": round(doubt.given, 3),
            "suggested_believed": round(doubt.other, 3),
            "label_id": row.label.label_id,
        }
        for row, doubt in found.items
    ]


def _write_csv(file: Path, found: "Suspects") -> None:
    items = _items(found)
    with file.open("x", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(
            items[0] if items else ["report_id", "finding", "status", "decided_by", "suggested", "label_id"]
        )
        writer.writerows(item.values() for item in items)


def _print(found: "Suspects", rows: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    table = Table(title="Suspected labels", title_justify="left", box=None, pad_edge=False)
    table.add_column("finding")
    table.add_column("status")
    for head in ("labels", "suspected", "of known suspects wrong", "of all known wrong", "of the wrong found"):
        table.add_column(head, justify="right")
    for of in (*(of for of in found.classes if of.suspected), found.total):
        table.add_row(*_cells(of))
    console.print(table)
    for row, doubt in found.items[:rows]:
        said = f"{row.label.status} ({doubt.given:.2f}), more likely {doubt.suggested} ({doubt.other:.2f})"
        console.print(Text(f"{row.label.report_id}  {row.label.target}: {row.label.decided_by} says {said}"))
    if len(found.items) > rows:
        console.print(f"The first {rows:,} of {len(found.items):,}; --rows N shows more, --csv FILE and --json all.")


def _cells(of: "SuspectClass") -> list[str]:
    right = "" if of.precision is None else "{:.0%} [{:.0%}, {:.0%}] of {}".format(*of.precision, of.known)
    error, recall = ("" if share is None else f"{share:.1%}" for share in (of.error, of.recall))
    return [of.finding, of.status, f"{of.labels:,}", f"{of.suspected:,}", right, error, recall]
