"""The closing table of a campaign in the terminal, 100 columns wide at most."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from teachback.distill.report.figures import Subject, as_change, as_figure, list_subjects
from teachback.distill.report.verdict import headline

__all__ = ["print_campaign"]

WIDTH = 100  # columns; fewer where the terminal has fewer
_LEADING_ZERO = re.compile(r"(?<!\d)0\.")  # spares the width that an 80-column terminal lacks
_COLOURS = {"good": "green", "bad": "red", "open": "yellow"}


def print_campaign(record: Mapping[str, Any], console: Console, report: Path | None = None) -> None:
    """Print what came of a campaign.

    Args:
        record: What `Campaign.run` returned.
        console: Where to.
        report: The page that was written, to be named last.
    """
    subjects = list_subjects(record)
    for split in ("gate", "test"):
        if any(subject.on(split) for subject in subjects):
            console.print(_table(subjects, split), width=_width(console))
    head = headline(record)
    _line(console, Text(head.title, style=f"bold {_COLOURS[head.tone]}"))
    for round_ in record["rounds"]:
        if round_["decision"] is not None:
            _line(console, Text(f"{round_['name']}: {round_['decision']['reason']}"))
        elif round_.get("passed_over"):
            _line(console, Text(f"{round_['name']}: {round_['passed_over']}"))
        if round_["pseudo"] is not None:
            _line(console, Text(_fed_back(round_, record["settings"]["select"])))
    for point in head.points[1:]:
        _line(console, Text(point))
    if report is not None:
        console.print(Text(f"Report: {report}"), soft_wrap=True)


def _table(subjects: Sequence[Subject], split: str) -> Table:
    judged = [(subject, figures) for subject in subjects if (figures := subject.on(split)) is not None]
    sizes = [(figures["figures"]["n_reports"], figures["figures"]["positives"]) for _, figures in judged]
    differ = len(set(sizes)) > 1
    table = Table(box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False, padding=(0, 1, 0, 0))
    table.title = Text(f"Against the curated labels of {split}, with 95 % intervals{'' if differ else _on(*sizes[0])}")
    table.add_column("labeler", overflow="fold", min_width=8)
    for name in ("micro-F1", "macro-F1", "micro over teacher", *(("n", "pos.") if differ else ())):
        table.add_column(name, justify="right", no_wrap=name != "micro over teacher", overflow="fold")
    for (subject, _), (reports, positives) in zip(judged, sizes, strict=True):
        cells = [
            as_figure(subject.measure(split, "micro")),
            as_figure(subject.measure(split, "macro")),
            as_change(subject.gain(split, "micro")),
            *((f"{reports:,}", f"{positives:,}") if differ else ()),
        ]
        table.add_row(
            Text(f"{subject.name} *" if subject.role == "champion" else subject.name),
            *(Text(_LEADING_ZERO.sub(".", cell)) for cell in cells),
            style="bold" if subject.role in ("teacher", "champion") else "",
        )
    table.caption = Text(
        "* champion" + ("    n: reports    pos.: curated positives, over all findings" if differ else "")
    )
    table.caption_justify = "left"
    return table


def _on(reports: int, positives: int) -> str:
    return f"\n(n: {reports:,} reports, {positives:,} curated positives over all findings)"


def _fed_back(round_: Mapping[str, Any], select: Mapping[str, Any]) -> str:
    pseudo = round_["pseudo"]
    told = f"{round_['name']}: {pseudo['selected']:,} of {pseudo['predictions']:,} predictions fed back"
    promise = f"promised: at most {select['error']:.0%}"
    if pseudo["realised_error"] is not None:
        told += f"; of {pseudo['known']:,} with a curated label {_wrong(pseudo)} are wrong"
    held_out = pseudo.get("held_out")
    if held_out and held_out["realised_error"] is not None:
        told += f"; of {held_out['known']:,} that the same bounds let through on gate {_wrong(held_out)}"
    for fold in pseudo.get("folds", ()):
        told += f"; {fold['selected']:,} by the student without {fold['name']}"
        if fold["known"]:
            told += f", of {fold['known']:,} with a curated label {_wrong(fold)} are wrong"
    carried = pseudo.get("carried")
    if carried and carried["labels"]:
        told += f" ({promise}); {carried['labels']:,} labels carried to other sections"
        if carried["known"]:
            told += f", of {carried['known']:,} with a curated label {_wrong(carried)} are wrong"
        return told
    return f"{told} ({promise})"


def _wrong(counted: Mapping[str, Any]) -> str:
    low, high = counted["realised_interval"]
    return f"{counted['wrong']:,} ({counted['realised_error']:.1%} [{low:.1%}, {high:.1%}])"


def _line(console: Console, text: Text) -> None:
    console.print(text, width=_width(console), highlight=False)


def _width(console: Console) -> int:
    return min(WIDTH, console.width)
