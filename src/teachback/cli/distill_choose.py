"""`teachback distill STORE --choose A,B,C`: which student is worth the full budget."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from teachback.distill.config import CampaignSettings

__all__ = ["choose_students", "next_command"]


def choose_students(
    store: Path,
    students: str,
    settings: "CampaignSettings",
    *,
    share: float,
    teacher: str | None,
    as_json: bool,
    command: Sequence[str],
) -> None:
    """Train the students on small subsets, and print which is worth the full budget.

    Args:
        store: The store.
        students: Their names, with commas between.
        settings: The settings of the campaign to come.
        share: Share of the training reports in the largest subset.
        teacher: Which teacher to distil.
        as_json: Print the record as JSON.
        command: The arguments that were typed, from which the next command is made.
    """
    from rich.console import Console

    from teachback.cli.rounds_bar import RoundsBar
    from teachback.distill.choose import choose_student

    console = Console(stderr=as_json)
    with RoundsBar(console) as bar:
        record, folder = choose_student(store, students.split(","), settings, bar, largest=share, teacher_id=teacher)
    chosen = next(student for student in record["students"] if student["name"] == record["chosen"])
    record["next"] = next_command(command, _as_typed(students, chosen["name"]))
    if as_json:
        print(json.dumps(record, indent=1))
        return
    _print(record, console)
    console.print(f"Page: {folder / 'choose.html'}", highlight=False, soft_wrap=True)
    console.print(f"Next: {record['next']}", highlight=False, soft_wrap=True, markup=False)


def next_command(command: Sequence[str], student: str) -> str:
    """Return the command that was typed, with the chosen student in the place of the choice."""
    kept, skip = [], False
    for word in command:
        name = word.split("=")[0]
        if not skip and name not in ("--choose", "--choose-share", "--json"):
            kept.append(word)
        skip = not skip and word in ("--choose", "--choose-share")
    return shlex.join(["teachback", *kept, "--student", student])


def _as_typed(students: str, name: str) -> str:
    return next(given for given in map(str.strip, students.split(",")) if name in (given, Path(given).name))


def _print(record: Mapping[str, Any], console: "Console") -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from teachback.distill.choose_page import short_count

    width = min(100, console.width)
    table = Table(box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False, padding=(0, 1, 0, 0))
    table.title = Text(
        f"Held-out log loss on {record['calibration_reports']:,} calibration reports, trained on "
        f"{', '.join(f'{size:,}' for size in record['sizes'])} of {record['full_reports']:,} reports"
    )
    table.add_column("student", overflow="fold", min_width=6)
    for column in ("weights", "points", "last loss", "F1", "predicted", "time", "spent"):
        table.add_column(column, justify="right", no_wrap=column != "predicted")
    table.add_column("verdict", overflow="fold", min_width=12)
    for student in record["students"]:
        last = student["points"][-1]
        interval = student["interval"]
        seconds = student["predicted_seconds"]
        table.add_row(
            Text(student["name"]),
            short_count(student["parameters"]),
            str(len(student["points"])),
            f"{last['loss']:.3f}",
            f"{last['micro_f1']:.2f}",
            Text(
                "-" if interval is None else f"{student['predicted_loss']:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"
            ),
            "-" if seconds is None else f"{seconds:.0f} s",
            f"{student['spent_seconds']:.0f} s",
            student["verdict"],
            style="bold" if student["name"] == record["chosen"] else "",
        )
    table.caption = Text("predicted: loss on all reports, 90 % interval    time: of one training on all reports")
    table.caption_justify = "left"
    console.print(table, width=width)
    for sentence in record["why"]:
        console.print(Text(f"- {sentence}."), width=width, highlight=False)
