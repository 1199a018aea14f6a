"""How often each finding is called, round by round, beside how often it is curated and how often the teacher calls it.

Self-training drifts: a student that is fed its own labels calls what it likes to call ever more often. The rates show
it finding by finding; whether a drift is beyond chance is for the gate to say (`gate_drift`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from teachback.distill.report.figures import Subject
from teachback.distill.report.plots import Scale, axis, interval_scale, marks_track
from teachback.store.label import FINDINGS

__all__ = ["Drift", "RateRow", "rate_drift"]


@dataclass(frozen=True, slots=True)
class RateRow:
    """One finding's rates.

    Attributes:
        finding: The finding; `all findings` for all together.
        n: Reports with a curated label of it; cells for all together.
        curated: Share of them in which it is present.
        called: Share called present, subject by subject; None where there is nothing to call.
        champion: The champion's.
        track: The rates on one line.
    """

    finding: str
    n: int
    curated: float
    called: list[float | None]
    champion: float | None
    track: Markup


@dataclass(frozen=True, slots=True)
class Drift:
    """The rates of all findings on one split.

    Attributes:
        split: Which.
        subjects: Whose rates: the teacher's, then the rounds' in their order.
        rows: All findings together, then each.
        axis: The numbers below the tracks.
    """

    split: str
    subjects: list[Subject]
    rows: list[RateRow]
    axis: Markup


def rate_drift(subjects: Sequence[Subject], split: str) -> Drift | None:
    """Return the rates of teacher and rounds on a split; None where nobody was judged on it."""
    shown = [s for s in subjects if s.role != "labeler" and s.on(split) and s.name != "linear"]
    figures = [judged["figures"] for subject in shown if (judged := subject.on(split))]
    if not figures:
        return None
    roles = [subject.role for subject in shown]
    places = range(len(FINDINGS))
    tops = [{"value": _rate(f["findings"][i]), "low": None, "high": None} for f in figures for i in places]
    tops += [{"value": _curated(figures[0]["findings"][i]), "low": None, "high": None} for i in places]
    scale = interval_scale([*tops, {"value": 0.0, "low": None, "high": None}])
    whole = [
        {"n": f["n_cells"], "positives": f["positives"], "predicted_positives": f["predicted_positives"]}
        for f in figures
    ]
    rows = [_row("all findings", whole, roles, scale)]
    rows += [_row(finding, [f["findings"][i] for f in figures], roles, scale) for i, finding in enumerate(FINDINGS)]
    return Drift(split, shown, rows, axis(scale))


def _row(finding: str, counted: Sequence[Mapping[str, Any]], roles: Sequence[str], scale: Scale) -> RateRow:
    rates, curated = [_rate(of) for of in counted], _curated(counted[0])
    marks = [(role, rate) for role, rate in zip(roles, rates, strict=True) if rate is not None]
    champion = next((rate for role, rate in marks if role == "champion"), None)
    return RateRow(finding, counted[0]["n"], curated or 0.0, rates, champion, marks_track(marks, scale, curated))


def _rate(counted: Mapping[str, Any]) -> float | None:
    return counted["predicted_positives"] / counted["n"] if counted["n"] else None


def _curated(counted: Mapping[str, Any]) -> float | None:
    return counted["positives"] / counted["n"] if counted["n"] else None
