"""`teachback init-student`: a tiny Llama made from a config, pretrained on unlabelled reports."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["init_student"]


def init_student(
    out: Annotated[Path, typer.Argument(help="Folder to write the student to.")],
    store: Annotated[Path | None, typer.Option(help="Pretrain on the reports of this store.")] = None,
    synthetic: Annotated[int, typer.Option(help="Pretrain on this many synthetic reports (without --store).")] = 20_000,
    synthetic_seed: Annotated[int, typer.Option(help="Seed of those reports; keep it apart from a demo's.")] = 90210,
    seconds: Annotated[float, typer.Option(min=1, help="Budget of the pretraining.")] = 60.0,
    steps: Annotated[int, typer.Option(help="Number of steps instead of a budget of seconds.")] = 0,
    start: Annotated[str | None, typer.Option(help="Go on from this tiny student: `tiny`, or a folder.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak of the cosine schedule.")] = None,
    hidden: Annotated[int | None, typer.Option(help="Width of the model.")] = None,
    layers: Annotated[int | None, typer.Option(help="Number of blocks.")] = None,
    vocabulary: Annotated[int | None, typer.Option(help="Tokens of the tokenizer.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights and order.")] = 0,
    force: Annotated[bool, typer.Option(help="Overwrite a student that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the recipe and what came of it as JSON.")] = False,
) -> None:
    """Make a tiny Llama and pretrain it on unlabelled reports: a student for machines without a hub or a GPU.

    A killed run goes on from its last checkpoint, at most a minute old; a finished one is not repeated.

    With --start the packaged student, or one of your own, reads your reports before it is taught: pretraining on the
    text of the domain at hand.

    Example: teachback init-student my-student --start tiny --store labels.duckdb --seconds 120
    """
    from dataclasses import replace

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from teachback.distill.base import require_training, resolve_student
    from teachback.distill.init_student import begin_anew
    from teachback.distill.init_student import init_student as make
    from teachback.distill.prompt import load_student_prompt
    from teachback.distill.recipe import Recipe
    from teachback.errors import SettingError

    if start is not None and (hidden or layers or vocabulary):
        raise SettingError(
            "--start keeps the sizes of the student it names", "leave out --hidden, --layers, --vocabulary"
        )
    require_training()
    if force:
        begin_anew(out)
    given = {"learning_rate": learning_rate, "hidden": hidden, "layers": layers, "vocabulary": vocabulary}
    sizes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if hidden:  # heads of 32, and the gated layer at 2.75 times the width, in multiples that NF4 packs
        sizes |= {"heads": max(1, hidden // 32), "feed_forward": max(64, int(hidden * 2.75) // 32 * 32)}
    recipe = replace(Recipe(seconds=0.0 if steps else seconds, steps=steps, seed=seed), **sizes)
    texts = _texts(store, synthetic, synthetic_seed)
    console = Console(stderr=True)
    with Progress(
        TextColumn("pretraining"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn(), console=console
    ) as bar:
        task = bar.add_task("", total=1.0, note="")
        record = make(
            texts,
            out,
            recipe,
            load_student_prompt("short"),
            start=resolve_student(start) if start else None,
            progress=lambda share, note: bar.update(task, completed=share, note=note),
        )
    if as_json:
        print(json.dumps(record, indent=1))
        return
    console = Console()
    console.print(
        f"[bold]{out}[/bold]: a Llama of {record['weights'] / 1e6:.2f} M weights, pretrained on {record['reports']:,} "
        f"unlabelled reports ({record['tokens'] / 1e6:.1f} M tokens, {record['steps_done']:,} steps, "
        f"{record['seconds_taken']:.0f} s, loss {record['loss']:.2f})."
    )
    console.print(f"Next: teachback distill STORE --student {out}", highlight=False)


def _texts(store: Path | None, synthetic: int, seed: int) -> list[str]:
    if store is not None:
        from teachback.store.database import open_snapshot
        from teachback.store.rows import fetch_reports

        connection, _ = open_snapshot(store)
        # Reports that judge a student stay out of its pretraining.
        where = "report_id NOT IN (SELECT report_id FROM splits WHERE split <> 'train')"
        reports = fetch_reports(connection, where)
        return [text for report in reports if (text := report.text("full"))]
    from teachback.store.corpora.synthetic import generate

    return [entry.report.text("full") for entry in generate(synthetic, seed=seed)]
