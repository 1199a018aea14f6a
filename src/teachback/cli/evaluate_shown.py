"""Tables of `teachback evaluate`: the same figures for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Shown", "Table", "show"]

# A pipe has no width of its own, and a table that is cut says nothing: only text gives way.
_MIN_WIDTH = 140


@dataclass(frozen=True, slots=True)
class Table:
    """One table for people.

    Attributes:
        columns: Its heads; those that begin with `<` are of words, with `~` of text that may be long, the
            others of numbers.
        rows: Its cells.
        title: What it is of.
        foot: What its heads mean.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[object, ...]]
    title: str = ""
    foot: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown.

    Attributes:
        plain: For programs.
        tables: For people.
        heading: What they are of, before what all tables are of.
        notes: What a reader must know to compare the rows.
    """

    plain: dict[str, Any]
    tables: Sequence[Table]
    heading: str = ""
    notes: Sequence[str] = ()


def show(shown: Shown, heading: str) -> None:
    """Print tables for people."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as RichTable

    console = Console(highlight=False)
    console.width = max(console.width, _MIN_WIDTH)
    console.print(shown.heading + heading, markup=False)
    for place, table in enumerate(shown.tables):
        if place:
            console.print()
        if table.title:
            console.print(table.title, markup=False, soft_wrap=True)
        drawn = RichTable(box=None, pad_edge=False, header_style="bold")
        for name in table.columns:
            words, text = name.startswith(("<", "~")), name.startswith("~")
            shown_as = escape(name.lstrip("<~"))
            drawn.add_column(
                shown_as,
                justify="left" if words else "right",
                no_wrap=not text,
                overflow="fold" if text else "ellipsis",
            )
        for row in table.rows:
            drawn.add_row(*(escape(_cell(cell)) for cell in row))
        console.print(drawn)
        if table.foot:
            console.print(table.foot, style="dim", markup=False)
    for note in shown.notes:
        console.print(f"note: {note}", style="dim", markup=False)


def _cell(cell: object) -> str:
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):  # NumPy's too
        return "-" if cell != cell else f"{cell:.3f}"
    return str(cell)
