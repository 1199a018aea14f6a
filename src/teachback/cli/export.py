"""`teachback export`: labels and reports for other tools, read from the newest snapshot."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from teachback.store.exports.chosen import Chosen
    from teachback.store.exports.written import Exported, Tick

__all__ = ["export"]

MEMORY = "2GiB"  # of DuckDB; what does not fit is sorted on disk

Format = Literal["parquet", "csv", "chexpert-csv", "sft-jsonl", "hf-dataset", "label-studio"]


def export(
    store: Annotated[Path, typer.Argument(help="The store.")],
    form: Annotated[Format, typer.Option("--format", help="What to write.")],
    out: Annotated[Path, typer.Option("--out", help="The file, or the folder (parquet, hf-dataset, label-studio).")],
    labels: Annotated[
        str, typer.Option(help="Whose labels: curated, teacher (the newest one's), all, or a labeler's name.")
    ] = "curated",
    split: Annotated[list[str] | None, typer.Option(help="Only this split; may be given several times.")] = None,
    corpus: Annotated[list[str] | None, typer.Option(help="Only this corpus; may be given several times.")] = None,
    task: Annotated[
        Literal["findings", "diseases"] | None, typer.Option(help="Only this task's labels; both when left out.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write labels and reports for other tools: Parquet, CSV, CheXpert's table, chat rows, a dataset, Label Studio.

    `parquet` is one file when --out ends in .parquet, else a folder of a file a table. `csv` has a row a label and is
    what `teachback import curated` reads; `label-studio` comes back by `teachback import label-studio`.

    Example: teachback export labels.duckdb --format hf-dataset --labels teacher --out chest-labels
    """
    from rich.progress import Progress

    from teachback.store.database import open_snapshot
    from teachback.store.exports.chosen import Choice, Chosen
    from teachback.store.exports.written import replacing

    connection, age = open_snapshot(store)
    with connection, Progress(transient=True, disable=not sys.stderr.isatty()) as progress:
        connection.execute(f"SET memory_limit = '{MEMORY}'")
        chosen = Chosen(connection, Choice(labels, tuple(split or ()), tuple(corpus or ()), task))
        restricted = _restricted(chosen)
        bar = progress.add_task(f"writing {out}", total=1.0)
        with replacing(out, force=force) as path:
            exported = _writer(form)(chosen, path, lambda share: progress.update(bar, completed=share))
    if as_json:
        told = {"files": exported.files, "reports": exported.reports, "left_out": exported.left_out}
        print(json.dumps({"out": str(out), "format": form, **told, "notes": exported.notes, "restricted": restricted}))
    else:
        _tell(exported, out, restricted, age)


def _writer(form: Format) -> "Callable[[Chosen, Path, Tick], Exported]":
    from teachback.store.exports.hf_dataset import write_hf_dataset
    from teachback.store.exports.label_studio import write_label_studio
    from teachback.store.exports.sft import write_sft
    from teachback.store.exports.tables import write_chexpert, write_labels_csv, write_parquet

    return {
        "parquet": write_parquet,
        "csv": write_labels_csv,
        "chexpert-csv": write_chexpert,
        "sft-jsonl": write_sft,
        "hf-dataset": write_hf_dataset,
        "label-studio": write_label_studio,
    }[form]


def _restricted(chosen: "Chosen") -> dict[str, str]:
    """Return the corpora whose text may not go everywhere, with their policies."""
    policies = chosen.cursor().execute("SELECT corpus, egress FROM corpora WHERE egress <> 'any'").fetchall()
    return {corpus: egress for corpus, egress in policies if corpus in chosen.corpora}


def _tell(exported: "Exported", out: Path, restricted: dict[str, str], age: float) -> None:
    from teachback.cli.snapshot_age import age_in_words

    print(f"{exported.reports:,} reports from a snapshot that is {age_in_words(age)} old:")
    for name, rows in exported.files.items():
        print(f"  {out / name if name else out}: {rows:,} {'row' if rows == 1 else 'rows'}")
    for why, count in exported.left_out.items():
        print(f"left out: {count:,} reports: {why}")
    for note in exported.notes:
        print(f"note: {note}")
    for corpus, egress in restricted.items():
        print(f"warning: {corpus} is {egress}: its text may not be passed on freely", file=sys.stderr)
