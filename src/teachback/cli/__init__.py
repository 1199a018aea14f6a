"""The command line: a thin layer over the rooms. Each verb has a file of its own; heavy imports happen inside it."""

import atexit
import gc
import sys

import typer

from teachback.cli import (
    adjudication,
    audit,
    demo,
    distill,
    doctor,
    evaluate,
    export,
    graph,
    import_,
    init_student,
    label,
    lineage,
    prompts,
    queue,
    rules,
    sql,
    stand_in_llm,
    synth,
)
from teachback.errors import TeachbackError

__all__ = ["app", "main"]

app = typer.Typer(
    name="teachback",
    help="Label radiology reports with teacher agents, distil them into a light Llama student, round by round.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

app.command("demo")(demo.demo)
app.command("distill")(distill.distill)
app.command("init-student")(init_student.init_student)
app.command("doctor")(doctor.doctor)
app.command("evaluate")(evaluate.evaluate)
app.command("export")(export.export)
app.command("adjudication")(adjudication.adjudication)
app.command("queue")(queue.queue)
app.command("sql")(sql.sql)
app.command("lineage")(lineage.lineage)
app.command("label")(label.label)
app.command("graph")(graph.graph)
app.add_typer(audit.app, name="audit")
app.add_typer(import_.app, name="import")
app.add_typer(prompts.app, name="prompts")
app.add_typer(rules.app, name="rules")
app.command("synth")(synth.synth)
app.command("stand-in-llm")(stand_in_llm.stand_in_llm)


def main() -> None:
    """Run the command line; a user's error is printed with its remedy and exits 2."""
    # A run leaves a million objects, and Python would look through them all for garbage before it ends: for a second.
    atexit.register(gc.freeze)
    try:
        app()
    except TeachbackError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
