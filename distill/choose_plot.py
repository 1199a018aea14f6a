"""The plot of a choice: measured losses by training reports, the fitted laws, and what they predict at the full size.

Small inline SVG as in the campaign's report: no plotting library, no script, colours from the page's own variables.
Both axes are logarithmic, so that the power phase is straight; the untrained student stands left of all subsets.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

__all__ = ["ROLES", "scaling_plot"]

ROLES = ("s0", "s1", "s2", "s3", "s4", "s5")  # CSS classes in the order of the students; the page has their colours
_X0, _X1, _Y0, _Y1 = 62.0, 560.0, 270.0, 14.0
_UNTRAINED, _FIRST = _X0 + 16, _X0 + 56  # where the untrained and the smallest subset stand
_STEPS = 60  # points of a drawn law


def scaling_plot(students: Sequence[Mapping[str, Any]], sizes: Sequence[int], full: int) -> Markup:
    """Draw the students' points, laws and predictions.

    Args:
        students: As in the record, the most promising first.
        sizes: Training reports of the subsets.
        full: Those of the full size.
    """
    losses = [point["loss"] for student in students for point in student["points"]]
    ends = [end for student in students for end in student["interval"] or ()]
    axes = _Axes(min(sizes), full, min(losses + ends), max(losses + ends))
    parts = axes.grid(sizes, full)
    for place, student in reversed(list(enumerate(students))):
        parts += _student(student, ROLES[place % len(ROLES)], place, axes, full)
    told = ", ".join(f"{student['name']} {student['points'][-1]['loss']:.3f}" for student in students)
    return Markup(
        f'<svg class="curve wide" viewBox="0 0 590 312" role="img" style="max-width: 760px" '
        f'aria-label="loss by training reports; at the largest subset: {escape(told)}">{"".join(parts)}</svg>'
    )


class _Axes:
    """From reports and losses to places."""

    def __init__(self, smallest: int, full: int, low: float, high: float) -> None:
        self._left, self._right = math.log(smallest), math.log(full)
        self._bottom, self._top = math.log(low) - 0.06, math.log(high) + 0.06
        self._low, self._high = low, high

    def x(self, reports: float) -> float:
        """Return the place of a number of reports."""
        if reports <= 0:
            return _UNTRAINED
        share = (math.log(reports) - self._left) / (self._right - self._left)
        return _FIRST + (_X1 - 24 - _FIRST) * share

    def y(self, loss: float) -> float:
        """Return the place of a loss."""
        return _Y0 - (_Y0 - _Y1) * (math.log(loss) - self._bottom) / (self._top - self._bottom)

    def grid(self, sizes: Sequence[int], full: int) -> list[str]:
        """Draw ticks and names."""
        parts = []
        for tick in _ticks(math.exp(self._bottom), math.exp(self._top)):
            y = self.y(tick)
            parts.append(f'<line class="grid" x1="{_X0}" x2="{_X1}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{_X0 - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
        full_x = self.x(full)
        parts.append(f'<line class="ref" x1="{full_x:.1f}" x2="{full_x:.1f}" y1="{_Y1}" y2="{_Y0}"/>')
        for size in (0, *sizes, full):
            parts.append(f'<text x="{self.x(size):.1f}" y="{_Y0 + 16}" text-anchor="middle">{size:,}</text>')
        middle = (_X0 + _X1) / 2
        parts.append(f'<text x="{middle}" y="{_Y0 + 34}" text-anchor="middle">training reports</text>')
        turned = f'x="14" y="{(_Y0 + _Y1) / 2}" text-anchor="middle" class="turned"'
        return [*parts, f"<text {turned}>held-out log loss</text>"]


def _student(student: Mapping[str, Any], role: str, place: int, axes: _Axes, full: int) -> list[str]:
    parts = []
    law = student["law"]
    if law is not None:
        first = min(point["reports"] for point in student["points"] if point["reports"])
        drawn = [first * (full / first) ** (i / _STEPS) for i in range(_STEPS + 1)]
        path = " ".join(f"{axes.x(d):.1f},{axes.y(_loss(law, d)):.1f}" for d in drawn)
        dashed = ' stroke-dasharray="2 4"' if student["doubt"] else ""
        parts.append(f'<polyline class="line {role}"{dashed} points="{path}"/>')
    if student["interval"]:
        x = axes.x(full) + 5 * place
        low, high = (axes.y(end) for end in student["interval"])
        parts.append(f'<line class="ci {role}" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>')
        parts.append(_mark(x, axes.y(student["predicted_loss"]), role, f"{student['name']}: predicted"))
    return parts + [
        _mark(axes.x(p["reports"]), axes.y(p["loss"]), role, f"{student['name']}, {p['reports']:,}: {p['loss']:.3f}")
        for p in student["points"]
    ]


def _loss(law: Mapping[str, float], reports: float) -> float:
    return float(law["E"] + (law["start"] - law["E"]) / (1 + (reports / law["knee"]) ** law["beta"]))


def _mark(x: float, y: float, role: str, title: str) -> str:
    return f'<circle class="mark {role}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{escape(title)}</title></circle>'


def _ticks(low: float, high: float) -> list[float]:
    """Return round losses between two: of the form 1, 2, 5, and all tenths of a decade where these are few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = [digit * 10.0**decade for decade in decades for digit in digits]
        inside = [round(tick, 6) for tick in ticks if low <= tick <= high]
        if len(inside) >= 3:
            break
    return inside
