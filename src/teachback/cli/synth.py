"""`teachback synth`: write fictitious reports whose truth is known."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from teachback.store.corpora.synthetic.table import TableTotals

__all__ = ["synth"]

_BAR_FROM = 2_000  # reports from which a progress bar is worth its flicker
_STEP = 250  # reports between two movements of the bar


def synth(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The table to write: .jsonl, .csv or .parquet.")],
    n: Annotated[int, typer.Option("--n", "-n", min=0, help="How many reports.")] = 600,
    seed: Annotated[int, typer.Option(help="Which corpus; the same seed writes the same reports.")] = 0,
    start: Annotated[int, typer.Option(min=0, help="Index of the first report, to write a corpus in parts.")] = 0,
    prevalence: Annotated[
        str, typer.Option(help="Share of reports in which findings are present: 'Pneumothorax=0.2,Fracture=0.1'.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it is there.")] = False,
    json_out: Annotated[bool, typer.Option("--json", help="Print the totals as JSON.")] = False,
) -> None:
    """Write synthetic, fictitious chest X-ray reports with the true status of each finding and the true diseases.

    Example: teachback synth reports.jsonl --n 600 --prevalence "Pneumothorax=0.2,Pleural Other=0.1"
    """
    import time

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from teachback.store.corpora.synthetic import generate
    from teachback.store.corpora.synthetic.table import write_table

    reports = generate(n, seed, start=start, prevalence=_parse_prevalence(prevalence))
    began = time.perf_counter()
    with Progress(
        TextColumn("writing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=n < _BAR_FROM,
    ) as bar:
        task = bar.add_task("writing", total=n)
        done = 0

        def moved() -> None:
            nonlocal done
            done += 1
            if done % _STEP == 0:
                bar.update(task, completed=done)

        totals = write_table(out, reports, force=force, on_row=moved)
    seconds = time.perf_counter() - began
    if json_out:
        typer.echo(_as_json(out, totals, seconds))
    else:
        _print_totals(out, totals, seconds)


def _parse_prevalence(text: str) -> dict[str, float]:
    from teachback.errors import SettingError

    rates: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        finding, _, rate = part.partition("=")
        try:
            rates[finding.strip()] = float(rate)
        except ValueError:
            raise SettingError(
                f"--prevalence: cannot read {part!r}", "write it as 'Pneumothorax=0.2,Fracture=0.1'"
            ) from None
    return rates


def _as_json(out: Path, totals: "TableTotals", seconds: float) -> str:
    import json

    from teachback.store.label import FINDINGS, STATUSES

    return json.dumps(
        {
            "file": str(out),
            "reports": totals.reports,
            "subjects": totals.subjects,
            "words": totals.words,
            "seconds": round(seconds, 3),
            "statuses": {f: {s: totals.statuses[f, s] for s in STATUSES} for f in FINDINGS},
            "diseases": dict(totals.diseases.most_common()),
        },
        indent=2,
    )


def _print_totals(out: Path, totals: "TableTotals", seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table

    from teachback.store.label import FINDINGS, STATUSES

    console = Console()
    table = Table("finding", title=f"share of {totals.reports:,} reports, %", title_justify="left")
    for status in STATUSES:
        table.add_column(status, justify="right")
    for finding in FINDINGS:
        shares = (100 * totals.statuses[finding, status] / max(totals.reports, 1) for status in STATUSES)
        table.add_row(finding, *(f"{share:.1f}" for share in shares))
    console.print(table)
    words = totals.words / max(totals.reports, 1)
    console.print(
        f"{out}: {totals.reports:,} reports of {totals.subjects:,} subjects, {words:.0f} words each, "
        f"{len(totals.diseases)} diseases, {totals.reports / max(seconds, 1e-9):,.0f} reports/s",
        highlight=False,
    )
