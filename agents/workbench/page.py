"""One HTML file from a comparison: it needs no network and no other file, and works without its script."""

import base64
import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from teachback import __version__
from teachback.agents.workbench.compare import Comparison
from teachback.agents.workbench.flipped import FlippedReport
from teachback.agents.workbench.plots import axis, gain_scale, track
from teachback.agents.workbench.prompt_diff import diff_prompts
from teachback.agents.workbench.words import METHOD, OUTCOMES, as_change, as_figure, as_flips, as_p, as_usd, verdict
from teachback.store.label import FINDINGS
from teachback.store.quality.bootstrap import Estimate

__all__ = ["write_page"]

LONG_QUOTE = 160  # characters
_HERE = "teachback.agents.workbench"
_TONES = {"better": "good", "worse": "bad", "not shown": "open"}


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of the forest plot."""

    name: str
    plot: Markup
    change: str
    tone: str


def write_page(comparison: Comparison, out: Path, *, restricted_text: bool = False) -> Path:
    """Write the page of a comparison.

    Args:
        comparison: What came of it.
        out: The HTML file to write, replaced whole; its folder is made when missing.
        restricted_text: Whether to put in the reports of corpora whose text may not be passed on.

    Returns:
        The file.
    """
    page = _environment().get_template("compare.html.j2").render(_context(comparison, restricted_text))
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    temporary.write_text(page, encoding="utf-8")
    os.replace(temporary, out)
    return out


def _context(comparison: Comparison, restricted_text: bool) -> dict[str, Any]:
    script = (files(_HERE) / "templates" / "compare.js.j2").read_text("utf-8")
    withheld = [report for report in comparison.flipped if report.restricted and not restricted_text]
    return {
        "c": comparison,
        "a": comparison.a,
        "b": comparison.b,
        "flips": comparison.flips,
        "verdict": verdict(comparison),
        "method": METHOD,
        "rows": _rows(comparison),
        "axis": axis(_scale(comparison)),
        "diff": diff_prompts(comparison.a.prompt, comparison.b.prompt),
        "withheld": {report.report_id for report in withheld},
        "withheld_corpora": sorted({report.corpus for report in withheld}),
        "shows_restricted": restricted_text and any(report.restricted for report in comparison.flipped),
        "filters": _filters(comparison.flipped),
        "tones": _TONES,
        "outcomes": OUTCOMES,
        "version": __version__,
        # The page's own script runs, and no other: not one that a report might smuggle in.
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }


def _scale(comparison: Comparison) -> Any:
    gain = comparison.flips.gain
    return gain_scale([gain.micro, gain.macro, *gain.findings])


def _rows(comparison: Comparison) -> list[_Row]:
    scale, gain = _scale(comparison), comparison.flips.gain

    def row(name: str, change: Estimate, tone: str) -> _Row:
        return _Row(name, track(change, scale, tone), as_change(change), tone)

    overall = [
        row(name, change, "good" if change.low > 0 else "bad" if change.high < 0 else "open")
        for name, change in (("micro-F1", gain.micro), ("macro-F1", gain.macro))
    ]
    return overall + [row(f.finding, f.gain, _TONES[f.shown]) for f in comparison.flips.findings]


def _filters(flipped: tuple[FlippedReport, ...]) -> dict[str, list[tuple[str, int]]]:
    """Return what can be filtered by, with the number of flips of each."""
    flips = [flip for report in flipped for flip in report.flips]
    by_finding = Counter(flip.finding for flip in flips)
    kinds = Counter(f"{flip.a.status} → {flip.b.status}" for flip in flips)
    outcomes = Counter(flip.outcome for flip in flips)
    return {
        "finding": [(finding, by_finding[finding]) for finding in FINDINGS if by_finding[finding]],
        "kind": kinds.most_common(),
        "outcome": [(name, outcomes[name]) for name in OUTCOMES if outcomes[name]],
    }


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(_HERE, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        "change": lambda estimate: _typeset(as_change(estimate)),
        "figure": as_figure,
        "flips": lambda flips: [words.replace("->", " → ") for words in as_flips(flips)],
        "p": as_p,
        "usd": as_usd,
        "typeset": _typeset,
        "count": lambda number: f"{number:,}",
        "quote": _shortened,
        "sure": lambda confidence: "" if confidence is None else f"{confidence:.0%}",
    }
    environment.filters.update(filters)
    return environment


def _shortened(quote: str) -> str:
    """Leave out the middle of a long quote: all of it is marked in the text beside it."""
    flat = " ".join(quote.split())
    return flat if len(flat) <= LONG_QUOTE else f"{flat[: LONG_QUOTE - 40]} … {flat[-36:]}"


def _typeset(text: str) -> str:
    """Put a true minus before numbers."""
    return re.sub(r"(?<!\w)-(?=\d)", "\u2212", text)
