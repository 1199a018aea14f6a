"""`teachback distill`: one campaign of self-training rounds."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from teachback.cli.ranks import across_ranks

__all__ = ["distill"]


@across_ranks
def distill(
    store: Annotated[Path, typer.Argument(help="The store with labelled reports.")],
    student: Annotated[
        str | None, typer.Option(help="A Hugging Face id, a local folder, or `tiny` for the packaged base.")
    ] = None,
    preset: Annotated[
        str, typer.Option(help="tiny-cpu, qlora-8b, paper, or a .yaml file with the same fields.")
    ] = "tiny-cpu",
    rounds: Annotated[int | None, typer.Option(min=1, help="Most rounds.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over a round's rows.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    corpus: Annotated[str | None, typer.Option(help="Only reports of this corpus.")] = None,
    scope: Annotated[
        str | None, typer.Option(help="What the student reads to predict: full, impression, mimic.")
    ] = None,
    teacher: Annotated[str | None, typer.Option(help="Teacher id; default: the one that labelled most.")] = None,
    control: Annotated[bool | None, typer.Option("--control/--no-control", help="Train the control arm too.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of training and bootstrap.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Where to write report.html; default: beside the campaign.")
    ] = None,
    choose: Annotated[
        str | None, typer.Option(help="Predict which of these students, with commas between, is worth the full budget.")
    ] = None,
    choose_share: Annotated[
        float, typer.Option(min=0.01, max=0.5, help="Of the training reports, in --choose's largest subset.")
    ] = 0.25,
    plan: Annotated[bool, typer.Option("--plan", help="Only print rows, memory and time that it will take.")] = False,
    seeds: Annotated[
        str | None, typer.Option(help="Run it with several seeds: how many, or which, with commas between.")
    ] = None,
    arms: Annotated[
        str | None, typer.Option(help="Run it in several ways: names with commas between, or a .yaml file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the campaign's record as JSON.")] = False,
) -> None:
    """Train a student on the teacher's labels, feed its certain predictions back, and gate every round.

    Killed or stopped, the same command goes on at the step it was in; a finished campaign is only shown again.

    With --choose tiny,my-student nothing is distilled yet: each student is trained on small subsets, and its loss after
    training on all reports is predicted from how it falls.

    With --seeds 3 it is run three times, and mean, spread and each seed's interval are printed. With --arms "as given,
    no feedback,merge" it is run in each of these ways with as many steps a training, and compared on the same reports.

    Example: teachback distill labels.duckdb --student tiny --rounds 2 --seeds 3
    """
    from rich.console import Console

    from teachback.cli.rounds_bar import RoundsBar
    from teachback.distill.base import require_training
    from teachback.distill.config import load_settings
    from teachback.distill.report import print_campaign, write_report
    from teachback.distill.run import run_campaign

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
    if plan:
        from teachback.cli.distill_plan import print_plan

        print_plan(store, settings, teacher=teacher, as_json=as_json)
        return
    if seeds is not None or arms is not None:
        from teachback.cli.distill_arms import compare_arms, read_seeds

        chosen, typed = read_seeds(seeds, seed), " ".join(["teachback", *sys.argv[1:]])
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
