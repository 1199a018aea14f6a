"""`teachback lineage`: where a label comes from, what made an adapter, what became of a label."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["lineage"]


def lineage(
    store: Annotated[Path, typer.Argument(help="The store, a .duckdb file.")],
    label: Annotated[str | None, typer.Option(metavar="ID", help="Where this label comes from.")] = None,
    adapter: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What made this adapter: its hash, the beginning of it, or its path."),
    ] = None,
    impact: Annotated[str | None, typer.Option(metavar="ID", help="What became of this label.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
) -> None:
    """Follow a label back to its report, prompt, answer and verdict, an adapter to its labels, a label to what it did.

    Reads the newest snapshot, so it works while a run writes. In SQL these are the macros `label_lineage(label_id)`,
    `adapter_lineage(adapter)` and `label_impact(label_id)`.

    Example: teachback lineage labels.duckdb --adapter a53b
    """
    from rich.console import Console

    from teachback.cli import lineage_outcome
    from teachback.cli.snapshot_age import age_in_words
    from teachback.errors import SettingError
    from teachback.store.asking import lock_down
    from teachback.store.database import open_snapshot
    from teachback.store.lineage import fetch_adapter, fetch_impact, fetch_label

    if sum(given is not None for given in (label, adapter, impact)) != 1:
        raise SettingError(
            "of --label, --adapter and --impact exactly one must be given",
            "for example `teachback lineage STORE --label ID`; `teachback lineage --help` says what each shows",
        )
    connection, age = open_snapshot(store)
    with connection:
        lock_down(connection)
        print(f"snapshot of {store}, {age_in_words(age)} old", file=sys.stderr)
        console = Console(highlight=False, soft_wrap=False)
        if label is not None:
            found = fetch_label(connection, label)
            if not as_json:
                lineage_outcome.print_label(console, found)
        elif adapter is not None:
            made = fetch_adapter(connection, adapter)
            found = asdict(made)
            if not as_json:
                lineage_outcome.print_adapter(console, made)
        else:
            done = fetch_impact(connection, impact or "")
            found = asdict(done)
            if not as_json:
                lineage_outcome.print_impact(console, done)
    if as_json:
        typer.echo(json.dumps(found, indent=2, default=str))
