"""`teachback evaluate`: every labeler beside the others, with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from teachback.cli.snapshot_age import age_in_words

if TYPE_CHECKING:
    from rich.console import Console

    from teachback.store.quality.standings import Standing, Standings

__all__ = ["evaluate"]

# Narrower than this, the intervals would wrap; a pipe has no width of its own.
_MIN_WIDTH = 118


def evaluate(
    store: Annotated[Path, typer.Argument(help="The store, a .duckdb file.")],
    split: Annotated[
        Literal["gate", "test", "calibration", "train", "all"],
        typer.Option(help="Which reports. Students are judged on `test` only when it is named."),
    ] = "gate",
    corpus: Annotated[str | None, typer.Option(help="Only this corpus.")] = None,
    against: Annotated[
        str, typer.Option(help="`curated`, or the name of a labeler to compare the others with.")
    ] = "curated",
    uncertain: Annotated[
        Literal["negative", "positive"], typer.Option(help="What an uncertain finding counts as.")
    ] = "negative",
    common: Annotated[bool, typer.Option("--common", help="Only reports that all labelers labelled.")] = False,
    per_finding: Annotated[bool, typer.Option("--per-finding", help="Also a table for each labeler.")] = False,
    disagreements: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Also list N cells on which each labeler differs, with its evidence."),
    ] = 0,
    n_boot: Annotated[int, typer.Option(help="Bootstrap resamples, by subject.", min=0, max=100_000)] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the resamples.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Judge every labeler, teacher and student against the curated labels, with 95 % intervals.

    Reads the newest snapshot, so it works while a run writes.

    Example: teachback evaluate labels.duckdb --split all --against chexpert --per-finding --disagreements 20
    """
    from teachback.store.database import open_snapshot
    from teachback.store.quality.standings import rank_subjects

    connection, age = open_snapshot(store)
    try:
        standings = rank_subjects(
            connection,
            split=None if split == "all" else split,
            corpus=corpus,
            against=against,
            common=common,
            positive={"present"} if uncertain == "negative" else {"present", "uncertain"},
            show=disagreements,
            n_boot=n_boot,
            seed=seed,
        )
    finally:
        connection.close()
    asked = {"store": str(store), "snapshot_age_s": round(age, 1), "split": split, "corpus": corpus}
    if as_json:
        import json

        typer.echo(json.dumps(asked | {"uncertain": uncertain} | _plain(standings), indent=2))
    else:
        _print(standings, asked, uncertain, per_finding)


def _print(standings: Standings, asked: dict[str, Any], uncertain: str, per_finding: bool) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    console.width = max(console.width, _MIN_WIDTH)
    console.print(
        f"{standings.n_reports:,} reports with {'' if standings.reference == 'curated' else 'labels of '}"
        f"[bold]{standings.reference}[/bold]{' labels' if standings.reference == 'curated' else ''}, "
        f"split {asked['split']}{', corpus ' + asked['corpus'] if asked['corpus'] else ''}, uncertain is {uncertain}; "
        f"snapshot is {age_in_words(asked['snapshot_age_s'])} old"
    )
    _print_ranking(console, standings)
    for row in standings.rows:
        if per_finding:
            _print_findings(console, row, compared=standings.reference != "curated")
        _print_disagreements(console, row, standings.reference)
    for note in standings.notes:
        console.print(f"note: {note}", style="dim", markup=False)


def _print_ranking(console: Console, standings: Standings) -> None:
    from rich.markup import escape
    from rich.table import Table

    compared = standings.reference != "curated"
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("labeler", overflow="fold", min_width=12)
    measures = ["kappa [95 %]", "equal"] if compared else ["P", "R", "findings"]
    for column in ("micro-F1 [95 %]", "macro-F1 [95 %]", *measures, "reports", "positives", "coverage"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in standings.rows:
        f = row.figures
        if compared:
            cells = [_square(row.agreement.kappa), f"{row.agreement.accuracy.value:.3f}"]
        else:
            cells = [_short(f.precision.value), _short(f.recall.value), str(len(f.macro_findings))]
        counts = (f"{f.n_reports:,}", f"{f.positives:,}", f"{row.coverage:.0%}")
        table.add_row(escape(row.subject.name), _square(f.micro), _square(f.macro), *cells, *counts)
    console.print(table)
    meant = "equal: share of equal statuses" if compared else "findings: how many have a positive, so count in macro-F1"
    console.print(f"{meant}; coverage: share of the reports that it labelled", style="dim")


def _print_findings(console: Console, row: Standing, *, compared: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", title=escape(row.subject.name), title_justify="left")
    table.add_column("finding")
    columns = ("reports", "positives", "called", "P", "R", "F1 [95 %]")
    for column in (*columns, "kappa [95 %]") if compared else columns:
        table.add_column(column, justify="right", no_wrap=True)
    for f, agreed in zip(row.figures.findings, row.agreement.findings, strict=True):
        counts = (f"{n:,}" for n in (f.n, f.positives, f.predicted_positives))
        kappa = [_square(agreed.kappa)] if compared else []
        table.add_row(f.finding, *counts, _short(f.precision.value), _short(f.recall.value), _square(f.f1), *kappa)
    console.print()
    console.print(table)
    if compared:
        by_status = (f"{s.status} {_square(s.f1)}" for s in row.agreement.statuses)
        console.print(f"F1 by status, all findings: {', '.join(by_status)}")


def _print_disagreements(console: Console, row: Standing, reference: str) -> None:
    if not row.disagreements:
        return
    from rich.markup import escape
    from rich.table import Table

    title = f"{escape(row.subject.name)} differs from {escape(reference)} in {row.differing:,} cells"
    shown = len(row.disagreements)
    title += f", {shown} of them drawn by chance" if shown < row.differing else ""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("report", "finding", reference, row.subject.name, "evidence"):
        table.add_column(escape(column), overflow="fold")
    for d in row.disagreements:
        table.add_row(escape(d.report_id), d.finding, d.reference, d.said, escape(d.quote or ""))
    console.print()
    console.print(title)
    console.print(table)


def _plain(standings: Standings) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "reference": standings.reference,
        "n_reports": standings.n_reports,
        "labelers": [
            {
                "name": row.subject.name,
                "kind": row.subject.kind,
                "labeler_id": row.subject.labeler_id,
                "teacher_id": row.subject.subject_id if row.subject.kind == "teacher" else None,
                "round_id": row.subject.round_id,
                "coverage": row.coverage,
                "figures": row.figures.as_dict(),
                "agreement": row.agreement.as_dict(),
                "differing": row.differing,
                "disagreements": [asdict(d) for d in row.disagreements],
            }
            for row in standings.rows
        ],
        "notes": list(standings.notes),
    }


def _square(figure: object) -> str:
    return str(figure).replace("[", "\\[")


def _short(value: float) -> str:
    return "-" if value != value else f"{value:.3f}"
