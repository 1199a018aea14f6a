"""`teachback distill`: one campaign of self-training rounds."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from teachback.cli.ranks import across_ranks

__all__ = ["distill"]

# The options' headings in the help.
WHAT, HOW, FIRST = "What is distilled", "How", "Before anything starts"
COMPARE, PRINTED = "Several campaigns, compared", "What is printed and written"


@across_ranks
def distill(
    store: Annotated[Path, typer.Argument(help="The store with labelled reports.")],
    student: Annotated[
        str | None,
        typer.Option(help="A Hugging Face id, a local folder, or `tiny` for the packaged base.", rich_help_panel=WHAT),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(help="tiny-cpu, qlora-8b, paper, or a .yaml file with the same fields.", rich_help_panel=WHAT),
    ] = "tiny-cpu",
    teacher: Annotated[
        str | None, typer.Option(help="Teacher id; default: the one that labelled most.", rich_help_panel=WHAT)
    ] = None,
    corpus: Annotated[str | None, typer.Option(help="Only reports of this corpus.", rich_help_panel=WHAT)] = None,
    scope: Annotated[
        str | None,
        typer.Option(help="What the student reads to predict: full, impression, mimic.", rich_help_panel=WHAT),
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Most rounds.", rich_help_panel=HOW)] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over a round's rows.", rich_help_panel=HOW)] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.", rich_help_panel=HOW)] = None,
    control: Annotated[
        bool | None,
        typer.Option(
            "--control/--no-control",
            help="Train the control arm too; the better arm on calibration goes to the gate.",
            rich_help_panel=HOW,
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of training and bootstrap.", rich_help_panel=HOW)] = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan", help="Print rows, memory and time that it will take; start nothing.", rich_help_panel=FIRST
        ),
    ] = False,
    choose: Annotated[
        str | None,
        typer.Option(
            help="Predict which of these students, with commas between, is worth the full budget.",
            rich_help_panel=FIRST,
        ),
    ] = None,
    choose_share: Annotated[
        float,
        typer.Option(
            min=0.01, max=0.5, help="Of the training reports, in --choose's largest subset.", rich_help_panel=FIRST
        ),
    ] = 0.25,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="Run it with several seeds: how many, or which, with commas between.", rich_help_panel=COMPARE
        ),
    ] = None,
    arms: Annotated[
        str | None,
        typer.Option(
            help="Run it in several ways: names with commas between, `all`, or a .yaml file.", rich_help_panel=COMPARE
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Where to write report.html; default: beside the campaign.", rich_help_panel=PRINTED),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the plan, record or comparison as JSON.", rich_help_panel=PRINTED),
    ] = False,
) -> None:
    """Train a student on the teacher's labels, feed its certain predictions back, and gate every round.

    Killed or stopped, the same command goes on at the step it was in; a finished campaign is only shown again.

    --plan counts what there is to train on and read, and estimates memory, time and disk. --choose tiny,my-student
    trains each student on small subsets, and predicts its loss after all reports from how it falls.

    --seeds 3 runs it three times: mean, spread, and each seed's interval. --arms "as given,no feedback,merge" runs it
    in each of these ways, with as many steps a training, and compares them on the same reports; the packaged arms are
    in distill/presets/arms.yaml. Each is a campaign of its own: those that are finished are only read.

    Example: teachback distill labels.duckdb --student tiny --rounds 2 --seeds 3
    """
    from rich.console import Console

    from teachback.cli.rounds_bar import RoundsBar
    from teachback.distill.base import require_training
    from teachback.distill.config import load_settings
    from teachback.distill.report import print_campaign, write_report
    from teachback.distill.run import run_campaign
    from teachback.errors import SettingError

    require_training()
    train = {"epochs": epochs, "learning_rate": learning_rate, "seed": seed}
    settings = load_settings(
        preset,
        student=student,
        rounds=rounds,
        corpus=corpus,
        scope=scope,
        control=control,
        seed=seed,
        train={name: value for name, value in train.items() if value is not None},
    )
    if choose is not None:
        from teachback.cli.distill_choose import choose_students

        told = sys.argv[1:]
        choose_students(store, choose, settings, share=choose_share, teacher=teacher, as_json=as_json, command=told)
        return
    if plan or seeds is not None or arms is not None:
        from teachback.cli.distill_arms import compare_arms, read_seeds
        from teachback.cli.distill_plan import print_plan

        chosen, typed = read_seeds(seeds, settings.seed), " ".join(["teachback", *sys.argv[1:]])
        if report is not None:
            raise SettingError("--report names one page", "leave it out: each campaign has its page beside it")
        if plan:
            print_plan(store, settings, arms=arms, seeds=chosen, teacher=teacher, as_json=as_json)
        else:
            compare_arms(store, settings, arms=arms, seeds=chosen, teacher=teacher, as_json=as_json, command=typed)
        return
    console = Console(stderr=as_json)
    with RoundsBar(console) as bar:
        record, folder = run_campaign(
            store, settings, bar, teacher_id=teacher, command=" ".join(["teachback", *sys.argv[1:]])
        )
    from teachback.store.database import open_snapshot

    connection, _ = open_snapshot(store)
    page = write_report(record, connection, report or folder / "report.html")
    if as_json:
        print(json.dumps(record, indent=1))
        return
    print_campaign(record, console)
    console.print(f"Report: {page}", highlight=False, soft_wrap=True)
