"""`teachback demo`: the whole loop on what the package ships, no key and no GPU."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["demo"]

# Reports, and how many of `train` the teacher labels; the rest is the pool that the student may label for itself.
REPORTS, TAUGHT = 3000, 1200


def demo(
    folder: Annotated[Path, typer.Argument(help="Where everything goes.")] = Path("teachback-demo"),
    reports: Annotated[int, typer.Option(min=600, help="Synthetic reports to write.")] = REPORTS,
    taught: Annotated[int, typer.Option(min=100, help="Training reports that the teacher labels.")] = TAUGHT,
    llm: Annotated[
        str, typer.Option(help="stand-in, or openai for a real endpoint (key in the environment).")
    ] = "stand-in",
    student: Annotated[str, typer.Option(help="tiny, a local folder, or a Hugging Face id.")] = "tiny",
    preset: Annotated[str, typer.Option(help="How the student is trained.")] = "tiny-cpu",
    seed: Annotated[int, typer.Option(help="Seed of reports, teacher's order and training.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the campaign's record as JSON.")] = False,
) -> None:
    """Write synthetic reports, label them with the teacher graph, distil a student in two rounds, show the outcome.

    Run again, it redoes nothing. The language model is a stand-in unless you ask for a real one.

    Example: teachback demo --reports 1500 my-demo
    """
    from rich.console import Console

    from teachback.distill.base import require_training

    require_training()
    console = Console(stderr=as_json)
    store = folder / "labels.duckdb"
    _announce(console, llm, reports)
    _reports(console, store, reports, seed)
    _labels(console, store, llm, taught, seed)
    record, page = _rounds(console, store, student, preset, seed, folder / "report.html")
    if as_json:
        print(json.dumps(record, indent=1))
        return
    _closing(console, record, store, page, folder)


def _announce(console: "Console", llm: str, reports: int) -> None:
    console.print(f"[bold]Teachback demo[/bold]: {reports:,} synthetic, fictitious reports, two teachers, two rounds.")
    if llm == "stand-in":
        console.print(
            "[yellow]The language model is the package's stand-in on this machine, not a real one; its labels are "
            "recorded under model `stand-in`. With OPENAI_API_KEY set, `--llm openai` asks a real one.[/yellow]"
        )


def _reports(console: "Console", store: Path, reports: int, seed: int) -> None:
    from teachback.store.corpora.imported import Corpus
    from teachback.store.corpora.intake import import_reports, reading_of
    from teachback.store.corpora.synthetic import generate
    from teachback.store.corpora.synthetic.curated import CURATOR, curated_labels
    from teachback.store.database import Store

    pairs = ((entry.report, curated_labels(entry)) for entry in generate(reports, seed=seed))
    corpus = Corpus(
        "synthetic", licence="fictitious, no restrictions", egress="any", source=f"teachback synth --seed {seed}"
    )
    with Store(store) as opened, console.status("writing synthetic reports"):
        summary = import_reports(opened, reading_of(pairs, corpus, [CURATOR], total=reports), command="demo")
    there = f", {summary.already_there:,} were there before" if summary.already_there else ""
    splits = ", ".join(f"{count:,} {split}" for split, count in summary.splits.items())
    console.print(f"1. Reports: {summary.added:,} written{there}; {splits}.")


def _labels(console: "Console", store: Path, llm: str, taught: int, seed: int) -> None:
    from teachback.agents.assemble import TeacherSettings, choose_llm, teach_store
    from teachback.agents.selection import Selection
    from teachback.agents.settings import LLMSettings
    from teachback.agents.stand_in import stand_in_settings
    from teachback.agents.teach import TeachConfig
    from teachback.cli.label_outcome import LabelBar, print_tally

    chosen = choose_llm(llm)
    endpoint = LLMSettings.from_env()
    settings = TeacherSettings(
        chosen,
        stand_in_settings(endpoint) if chosen == "stand-in" else endpoint,
        rule_scope="mimic",  # what CheXpert's and NegBio's labelers read of MIMIC-CXR
        scope="full",
    )
    # The judging splits are labelled too, so that the teacher is measured on what the student is measured on.
    selections = [
        Selection("synthetic", ("train",), taught, seed),
        Selection("synthetic", ("gate", "test"), None, seed),
    ]
    with LabelBar(console) as bar:
        outcomes = [
            teach_store(store, settings, TeachConfig(selection, 200, settings={"llm": chosen, "command": "demo"}), bar)
            for selection in selections
        ]
    new = sum(summary.progress.taught for summary, _ in outcomes if summary.run_id is not None)
    console.print(f"2. Labels: {new:,} reports labelled now, {outcomes[-1][1].reports:,} in all.")
    print_tally(console, outcomes[-1][1])
    failures = [failure for summary, _ in outcomes for failure in summary.failures]
    if failures:
        console.print(f"[red]{len(failures)} reports failed[/red]; run the same command again to retry them.")


def _rounds(
    console: "Console", store: Path, student: str, preset: str, seed: int, page: Path
) -> tuple[dict[str, Any], Path]:
    from teachback.cli.rounds_bar import RoundsBar
    from teachback.distill.config import load_settings
    from teachback.distill.report import write_report
    from teachback.distill.run import run_campaign
    from teachback.store.database import open_snapshot

    settings = load_settings(preset, student=student, corpus="synthetic", seed=seed, train={"seed": seed})
    console.print("3. Rounds:")
    with RoundsBar(console) as bar:
        record, _ = run_campaign(store, settings, bar, command=shlex.join(["teachback", *sys.argv[1:]]))
    connection, _ = open_snapshot(store)
    write_report(record, connection, page, title="Teachback demo")
    connection.close()
    return record, page


def _closing(console: "Console", record: dict[str, Any], store: Path, page: Path, folder: Path) -> None:
    from teachback.distill.report import print_campaign

    print_campaign(record, console)
    console.print(f"\nEverything is in {folder}/; open {page} in a browser. Next:", highlight=False)
    name = shlex.quote(str(store))
    for command in (
        f"teachback sql {name} --examples",
        f"teachback evaluate {name} --split test --per-finding",
        "teachback import openi PATH --store my-labels.duckdb",
    ):
        console.print(f"  {command}", highlight=False, soft_wrap=True)
