"""`teachback import`: reports from a collection or a table into the store, everything left out named."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from teachback.store.corpora.imported import Reading, Skipped
    from teachback.store.corpora.intake import ImportSummary
    from teachback.store.review.decisions import Decision

__all__ = ["app"]

app = typer.Typer(
    help="Take reports into a store (Open-i, MIMIC-CXR, a table), or what people decided elsewhere.",
    no_args_is_help=True,
)

StoreOption = Annotated[Path, typer.Option("--store", help="The DuckDB store; made when missing.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]
SeedOption = Annotated[int, typer.Option(help="Seed of the splits.")]
DEFAULT_STORE = Path("teachback.duckdb")


@app.command()
def openi(
    path: Annotated[Path, typer.Argument(help="Folder or .tgz of NLM's XML files, or indiana_reports.csv.")],
    store: StoreOption = DEFAULT_STORE,
    seed: SeedOption = 0,
    json_out: JsonOption = False,
) -> None:
    """Import the Indiana University collection (Open-i), its MeSH codes as curated positives.

    Example: teachback import openi NLMCXR_reports.tgz --store labels.duckdb
    """
    from teachback.store.corpora.openi import read_openi

    _take(lambda: read_openi(path), store, "import openi", seed, json_out)


@app.command("mimic-cxr")
def mimic_cxr(
    folder: Annotated[Path, typer.Argument(help="The folder that holds files/p10/... or mimic-cxr-reports/.")],
    labels: Annotated[
        Path | None, typer.Option(help="Folder with MIMIC-CXR-JPG's label tables, where it is another one.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    seed: SeedOption = 0,
    json_out: JsonOption = False,
) -> None:
    """Import MIMIC-CXR in PhysioNet's layout, with CheXpert's, NegBio's and the radiologist's labels if there.

    Its text stays on this machine: an LLM elsewhere is refused until you allow it by name.

    Example: teachback import mimic-cxr physionet.org/files/mimic-cxr/2.1.0 --store labels.duckdb
    """
    from teachback.store.corpora.mimic_cxr import read_mimic_cxr

    _take(lambda: read_mimic_cxr(folder, labels), store, "import mimic-cxr", seed, json_out)


@app.command()
def table(
    file: Annotated[Path, typer.Argument(help="CSV, TSV, JSONL (.gz allowed) or Parquet.")],
    corpus: Annotated[str | None, typer.Option(help="Name of the corpus; the file's name when not given.")] = None,
    store: StoreOption = DEFAULT_STORE,
    id_column: Annotated[str, typer.Option(help="Unique id of the report.")] = "report_id",
    subject_column: Annotated[str, typer.Option(help="The patient: keeps a patient in one split.")] = "subject_id",
    text_column: Annotated[str, typer.Option(help="The whole report, where it has no sections.")] = "text",
    findings_column: Annotated[str, typer.Option(help="The findings section.")] = "findings",
    impression_column: Annotated[str, typer.Option(help="The impression section.")] = "impression",
    indication_column: Annotated[str, typer.Option(help="The indication.")] = "indication",
    comparison_column: Annotated[str, typer.Option(help="Earlier images.")] = "comparison",
    slices: Annotated[
        list[str] | None,
        typer.Option("--slice", metavar="COLUMN", help="A column to group reports by, beside sex, age, site and year."),
    ] = None,
    egress: Annotated[
        str, typer.Option(help="Where its text may go: any, zero-retention or local-only.")
    ] = "local-only",
    licence: Annotated[str | None, typer.Option(help="The text's licence, for the record.")] = None,
    labels_from: Annotated[
        str | None, typer.Option(help="Who gave the 13 finding columns: human, or a labeler's name.")
    ] = None,
    curated: Annotated[bool, typer.Option("--curated", help="The same as --labels-from human.")] = False,
    scope: Annotated[str, typer.Option(help="Sections the labels were made from: impression, full, mimic.")] = "full",
    seed: SeedOption = 0,
    json_out: JsonOption = False,
) -> None:
    """Import a table of reports; with finding columns (1, 0, -1, blank) and diseases as labels if asked.

    Example: teachback import table synthetic.jsonl --corpus synthetic --egress any --curated --store labels.duckdb
    """
    from typing import cast

    from teachback.errors import SettingError
    from teachback.store.corpora.imported import Egress
    from teachback.store.corpora.table import SLICES, TableColumns, read_table
    from teachback.store.report import SCOPES

    if scope not in SCOPES:
        raise SettingError(f"scope {scope} is unknown", f"one of {', '.join(SCOPES)}")
    if curated and labels_from not in (None, "human"):
        raise SettingError("--curated and --labels-from say different things", "give one of them")
    columns = TableColumns(
        report_id=id_column,
        subject_id=subject_column,
        indication=indication_column,
        comparison=comparison_column,
        slices=(*SLICES, *(name for name in slices or () if name not in SLICES)),
        findings=findings_column,
        impression=impression_column,
        text=text_column,
    )
    _take(
        lambda: read_table(
            file,
            corpus or file.name.split(".")[0],
            columns=columns,
            egress=cast(Egress, egress),
            licence=licence,
            labels_from="human" if curated else labels_from,
            scope=scope,
        ),
        store,
        "import table",
        seed,
        json_out,
    )


@app.command("label-studio")
def label_studio(
    file: Annotated[Path, typer.Argument(help="Label Studio's JSON export of exported tasks.")],
    store: Annotated[Path, typer.Option("--store", help="The store that the tasks came from.")] = DEFAULT_STORE,
    reviewer: Annotated[
        str | None, typer.Option(help="Whose decisions; the annotators' own names if not given.")
    ] = None,
    json_out: JsonOption = False,
) -> None:
    """Take annotations back in as curated labels with their reviewer; twice is a no-op.

    Example: teachback import label-studio project-1.json --store labels.duckdb
    """
    from teachback.store.review.label_studio import read_label_studio

    _take_decisions(read_label_studio(file, reviewer), store, file, json_out)


@app.command()
def curated(
    file: Annotated[Path, typer.Argument(help="CSV, TSV, JSONL (.gz allowed) or Parquet: report_id, target, status.")],
    store: Annotated[Path, typer.Option("--store", help="The store that has the reports.")] = DEFAULT_STORE,
    reviewer: Annotated[str | None, typer.Option(help="Whose decisions, where the rows do not say.")] = None,
    json_out: JsonOption = False,
) -> None:
    """Take curated labels from a table with a row a label: report_id, target, status, reviewer, decided_at, note.

    Example: teachback import curated reviewed.csv --reviewer "Dr. Example" --store labels.duckdb
    """
    from teachback.store.review.curated_table import read_curated_table

    _take_decisions(read_curated_table(file, reviewer), store, file, json_out)


@app.command("slices")
def slices_(
    file: Annotated[
        Path, typer.Argument(help="CSV, TSV, JSONL (.gz allowed) or Parquet: report_id or subject_id, and the slices.")
    ],
    store: Annotated[Path, typer.Option("--store", help="The store that has the reports.")] = DEFAULT_STORE,
    column: Annotated[
        list[str] | None,
        typer.Option(help="A column to take, as NAME or NAME=SLICE; sex, age, site and year when not given."),
    ] = None,
    json_out: JsonOption = False,
) -> None:
    """Take what is known of patients or origins, to judge labelers by it: `teachback evaluate --by sex`.

    Example: teachback import slices mimic-iv/hosp/patients.csv.gz --column gender=sex --store labels.duckdb
    """
    import json

    from rich.console import Console

    from teachback.store.corpora.slices import take_slices
    from teachback.store.database import Store

    console = Console(stderr=True)
    with Store(store, create=False) as opened, console.status("reading") as status:
        summary = take_slices(opened, file, column or (), lambda read: status.update(f"reading: {read:,} rows"))
    left_out = [{"file": s.file, "row": s.row, "why": s.why} for s in summary.first_skipped]
    if json_out:
        told = {"read": summary.read, "reports": summary.reports, "slices": dict(summary.slices)}
        print(json.dumps(told | {"skipped": dict(summary.skipped), "first_skipped": left_out}, indent=2))
        return
    print(f"{file}: {summary.read:,} rows, about {summary.reports:,} reports of {store}")
    for name, count in summary.slices.most_common():
        print(f"new: {name} of {count:,} reports")
    for reason, count in summary.skipped.most_common():
        print(f"left out: {count:,}: {reason}")
    for entry in left_out:
        print(f"  {entry['file']}, row {entry['row']}: {entry['why']}")


def _take_decisions(
    decisions: "Iterator[tuple[Decision, Skipped] | Skipped]", store_path: Path, file: Path, json_out: bool
) -> None:
    import json

    from rich.console import Console

    from teachback.store.database import Store
    from teachback.store.review.incoming import take

    console = Console(stderr=True)
    with Store(store_path, create=False) as store, console.status("reading") as status:
        summary = take(store, decisions, lambda read: status.update(f"reading: {read:,} decisions"))
    left_out = [{"file": s.file, "row": s.row, "report_id": s.report_id, "why": s.why} for s in summary.first_skipped]
    if json_out:
        counts = {"read": summary.read, "labels": summary.labels, "decisions": summary.decisions}
        told = {"reviewers": dict(summary.reviewers), "skipped": dict(summary.skipped), "first_skipped": left_out}
        print(json.dumps(counts | told, indent=2))
        return
    people = ", ".join(f"{name} ({count:,})" for name, count in summary.reviewers.most_common())
    print(f"{file}: {summary.reviewers.total():,} decisions of {people}")
    print(f"new in {store_path}: {summary.decisions:,} decisions, {summary.labels:,} curated labels")
    for reason, count in summary.skipped.most_common():
        print(f"left out: {count:,}: {reason}")
    for entry in left_out:
        print(f"  {entry['file']}, entry {entry['row']}: {entry['why']}")
    if summary.skipped.total() > len(left_out):
        print(f"  ... and {summary.skipped.total() - len(left_out):,} more")


def _take(read: "Callable[[], Reading]", store_path: Path, command: str, seed: int, json_out: bool) -> None:
    """Read, write and tell; the source is checked before a store is made."""
    import json

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from teachback.store.corpora.intake import import_reports
    from teachback.store.database import Store

    console = Console(stderr=True)
    with console.status("checking the source"):
        reading = read()
    made = not store_path.exists()
    try:
        with (
            Store(store_path) as store,
            Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            ) as progress,
        ):
            bar = progress.add_task(f"importing {reading.corpus.name}", total=reading.total)

            def advance(read_so_far: int) -> None:
                progress.update(bar, completed=read_so_far)

            summary = import_reports(store, reading, command=command, seed=seed, on_progress=advance)
    finally:
        if made:
            _remove_if_empty(store_path)
    if json_out:
        print(json.dumps(summary.as_json(), indent=2))
    else:
        _tell(Console(), summary, store_path)


def _remove_if_empty(store_path: Path) -> None:
    """Remove a store that this command made and wrote nothing to."""
    from teachback.store.database import open_snapshot, snapshot_path

    if not store_path.exists() or not snapshot_path(store_path).exists():
        return
    connection, _ = open_snapshot(store_path)
    with connection:
        empty = connection.execute("SELECT count(*) FROM runs").fetchall() == [(0,)]
    if empty:
        store_path.unlink()
        snapshot_path(store_path).unlink()


def _tell(console: "Console", summary: "ImportSummary", store_path: Path) -> None:
    from rich.table import Table

    counts: list[tuple[str, Any]] = [
        ("reports read", summary.read),
        ("new in the store", summary.added),
        ("already there", summary.already_there),
        *((f"skipped: {reason}", count) for reason, count in summary.skipped.most_common()),
        ("labels new in the store", summary.labels_added),
        *((f"label rows skipped: {reason}", count) for reason, count in summary.skipped_labels.most_common()),
    ]
    shown = Table("", "number", title=f"{summary.corpus} -> {store_path}", title_justify="left")
    shown.columns[1].justify = "right"
    for name, count in counts:
        shown.add_row(name, f"{count:,}")
    console.print(shown)
    for skipped in summary.first_skipped:
        where = f"{skipped.file}, row {skipped.row}" if skipped.row else skipped.file
        console.print(f"skipped {where}: {skipped.why}", markup=False, highlight=False, soft_wrap=True)
    left_out = summary.skipped.total() + summary.skipped_labels.total()
    if left_out > len(summary.first_skipped):
        rest = f"... and {left_out - len(summary.first_skipped):,} more: `teachback sql {store_path}"
        console.print(f'{rest} "FROM skipped_rows"`', markup=False, highlight=False, soft_wrap=True)
    for note in summary.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    if not summary.added and not summary.labels_added:
        console.print("already there: nothing new was written", highlight=False)
    sizes = ", ".join(f"{split} {size:,}" for split, size in summary.splits.items())
    console.print(f"splits of the store: {sizes} ({summary.seconds:.1f} s)", highlight=False)
