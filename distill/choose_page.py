"""The page of a choice: one HTML file that needs no network, no script and no other file."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from teachback import __version__
from teachback.distill.choose_plot import ROLES, scaling_plot

__all__ = ["short_count", "write_page"]


def write_page(record: Mapping[str, Any], out: Path) -> Path:
    """Write the page of a choice.

    Args:
        record: What `choose_student` returned.
        out: The HTML file, replaced whole.
    """
    environment = Environment(
        loader=PackageLoader("teachback.distill.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"short_count": short_count, "zip": partial(zip, strict=True)}
    page = environment.get_template("choose.html.j2").render(
        record=record,
        version=__version__,
        roles=ROLES,
        plot=scaling_plot(record["students"], record["sizes"], record["full_reports"]),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    temporary.write_text(page, encoding="utf-8")
    os.replace(temporary, out)
    return out


def short_count(number: int) -> str:
    """Return a number of weights as people say it, such as 2.2 M."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return str(number)
