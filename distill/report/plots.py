"""The report's plots as small inline SVG: no plotting library, no script, colours from the page's own variables.

Interval rows take their places in percent of the width, so that text beside them keeps its size on any screen. Curves
have a view box and grow with their card.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

__all__ = [
    "Scale",
    "axis",
    "interval_scale",
    "interval_track",
    "loss_curve",
    "marks_track",
    "reliability_plot",
    "small_reliability",
]

ROW_HEIGHT = 26  # CSS pixels of one interval row
_MOST_LOSSES = 240  # points of a loss curve; longer ones are thinned
_MIN_SPAN = 0.1

Figure = Mapping[str, float | None]


class Scale:
    """From a value to percent of the width, with round ticks.

    Args:
        low: Value at the left edge.
        high: Value at the right edge.
    """

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if (high - low) / s <= 6)
        first = math.ceil(low / step - 1e-9)
        self.ticks = [round(i * step, 4) for i in range(first, math.floor(high / step + 1e-9) + 1)]

    def percent(self, value: float) -> float:
        """Return the place of a value, kept within the edges."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)

    def holds(self, value: float) -> bool:
        """Whether the value lies within the edges."""
        return self.low <= value <= self.high


def interval_scale(figures: Iterable[Figure | None], floor: float = 0.0, ceiling: float = 1.0) -> Scale:
    """Return a scale that holds all the intervals, rounded outwards to 0.05 and within [floor, ceiling]."""
    ends = [end for f in figures if f is not None for end in (f["value"], f["low"], f["high"]) if end is not None]
    if not ends:
        return Scale(floor, ceiling)
    low = max(floor, math.floor(min(ends) * 20 - 0.2) / 20)
    high = min(ceiling, math.ceil(max(ends) * 20 + 0.2) / 20)
    if high - low < _MIN_SPAN:
        low, high = max(floor, high - _MIN_SPAN), max(high, floor + _MIN_SPAN)
    return Scale(low, high)


def interval_track(figure: Figure | None, scale: Scale, role: str, reference: float | None = None) -> Markup:
    """Draw one figure with its interval.

    Args:
        figure: Value, low, high.
        scale: The axis.
        role: CSS class of the mark: `labeler`, `teacher`, `champion`, `student`, `baseline`.
        reference: Value of the dashed line, such as the teacher's figure or zero.
    """
    mid = ROW_HEIGHT / 2
    parts = [_vertical(scale.percent(tick), "grid") for tick in scale.ticks]
    if reference is not None and scale.holds(reference):
        parts.append(_vertical(scale.percent(reference), "ref"))
    if figure is not None and figure["value"] is not None:
        if figure["low"] is not None and figure["high"] is not None and scale.holds(figure["value"]):
            left, right = scale.percent(figure["low"]), scale.percent(figure["high"])
            parts.append(f'<line class="ci {escape(role)}" x1="{left}%" x2="{right}%" y1="{mid}" y2="{mid}"/>')
        parts.append(_mark(figure["value"], scale, role))
    return Markup(
        f'<svg class="track" width="100%" height="{ROW_HEIGHT}" aria-hidden="true" focusable="false">'
        f"{''.join(parts)}</svg>"
    )


def marks_track(marks: Sequence[tuple[str, float]], scale: Scale, reference: float | None = None) -> Markup:
    """Draw several figures on one line, the champion's last and so on top.

    Args:
        marks: (CSS class, value) of each.
        scale: The axis.
        reference: Value of the dashed line.
    """
    parts = [_vertical(scale.percent(tick), "grid") for tick in scale.ticks]
    if reference is not None:
        parts.append(_vertical(scale.percent(reference), "ref"))
    parts += [_mark(value, scale, role) for role, value in sorted(marks, key=lambda mark: mark[0] == "champion")]
    return Markup(
        f'<svg class="track" width="100%" height="{ROW_HEIGHT}" aria-hidden="true" focusable="false">'
        f"{''.join(parts)}</svg>"
    )


def axis(scale: Scale) -> Markup:
    """Draw the ticks' numbers below a stack of tracks."""
    digits = 2 if any(abs(tick * 10 - round(tick * 10)) > 1e-6 for tick in scale.ticks) else 1
    text = "".join(
        f'<text x="{scale.percent(tick)}%" y="12" text-anchor="middle">{tick:.{digits}f}</text>' for tick in scale.ticks
    )
    return Markup(f'<svg class="track axis" width="100%" height="16" aria-hidden="true">{text}</svg>')


def loss_curve(losses: Sequence[Sequence[float]]) -> Markup:
    """Draw the training loss over the steps.

    Args:
        losses: (step, loss) pairs in order.
    """
    if len(losses) < 2:
        return Markup("")
    stride = math.ceil(len(losses) / _MOST_LOSSES)
    points = [(float(step), float(loss)) for step, loss in losses[::stride]]
    if tuple(losses[-1]) != tuple(losses[::stride][-1]):
        points.append((float(losses[-1][0]), float(losses[-1][1])))
    first, last, top = points[0][0], points[-1][0], max(loss for _, loss in points) * 1.05 or 1.0
    x0, x1, y0, y1 = 34, 312, 112, 8

    def place(step: float, loss: float) -> str:
        return f"{x0 + (x1 - x0) * (step - first) / (last - first or 1):.1f},{y0 - (y0 - y1) * loss / top:.1f}"

    path = " ".join(place(step, loss) for step, loss in points)
    half = top / 2
    label = f"training loss from {points[0][1]:.2f} at step {first:.0f} to {points[-1][1]:.2f} at step {last:.0f}"
    return Markup(
        f'<svg class="curve" viewBox="0 0 320 132" role="img" aria-label="{escape(label)}">'
        f'<line class="grid" x1="{x0}" x2="{x1}" y1="{y0}" y2="{y0}"/>'
        f'<line class="grid" x1="{x0}" x2="{x1}" y1="{(y0 + y1) / 2}" y2="{(y0 + y1) / 2}"/>'
        f'<text x="{x0 - 6}" y="{y0 + 4}" text-anchor="end">0</text>'
        f'<text x="{x0 - 6}" y="{(y0 + y1) / 2 + 4}" text-anchor="end">{half:.2f}</text>'
        f'<text x="{x0}" y="127">step {first:.0f}</text><text x="{x1}" y="127" text-anchor="end">{last:.0f}</text>'
        f'<polyline class="line student" points="{path}"/></svg>'
    )


def reliability_plot(
    before: Mapping[str, Any], after: Mapping[str, Any], upwards: str = "share that is right"
) -> Markup:
    """Draw how often predictions are right against how sure they were, before and after calibration.

    Args:
        before: `ece` and `curve`: a list of `confidence`, `right` and `n`.
        after: The same after calibration.
        upwards: Name of the upright axis.
    """
    x0, y0, size = 52, 228, 210
    parts = [f'<line class="ref" x1="{x0}" y1="{y0}" x2="{x0 + size}" y2="{y0 - size}"/>']
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = x0 + size * tick, y0 - size * tick
        parts.append(f'<line class="grid" x1="{x0}" x2="{x0 + size}" y1="{y}" y2="{y}"/>')
        if tick in (0.0, 0.5, 1.0):
            parts.append(f'<text x="{x0 - 6}" y="{y + 4}" text-anchor="end">{tick:.1f}</text>')
            parts.append(f'<text x="{x}" y="{y0 + 16}" text-anchor="middle">{tick:.1f}</text>')
    parts += _curves(before, after, x0, y0, size)
    parts.append(f'<text x="{x0 + size / 2}" y="{y0 + 32}" text-anchor="middle">probability given</text>')
    parts.append(f'<text x="12" y="{y0 - size / 2}" text-anchor="middle" class="turned">{upwards}</text>')
    label = f"reliability: calibration error {_error(before)} before, {_error(after)} after"
    return Markup(
        f'<svg class="curve square" viewBox="0 0 270 264" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def small_reliability(before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> Markup:
    """Draw the same without numbers at its edges, to stand beside many of its kind."""
    x0, y0, size = 6, 106, 100
    edges = (
        f'<path class="grid" fill="none" d="M{x0} {y0}h{size}v-{size}h-{size}zm{size / 2} 0v-{size}m-50 50h{size}"/>'
    )
    diagonal = f'<line class="ref" x1="{x0}" y1="{y0}" x2="{x0 + size}" y2="{y0 - size}"/>'
    label = f"{name}: calibration error {_error(before)} before, {_error(after)} after"
    return Markup(
        f'<svg class="curve small" viewBox="0 0 112 112" role="img" aria-label="{escape(label)}">'
        f"{edges}{diagonal}{''.join(_curves(before, after, x0, y0, size, 1.6, 3.2, 5))}</svg>"
    )


def _curves(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    x0: float,
    y0: float,
    size: float,
    least: float = 2.5,
    more: float = 4.5,
    fewest: int = 1,
) -> list[str]:
    """Return both curves; a mark's radius grows with its predictions, by `more` at most.

    Bins with fewer predictions than `fewest` have their mark, but the line passes them over: it would leap.
    """
    most = max((point["n"] for side in (before, after) for point in side["curve"]), default=1)
    parts = []
    for side, role in ((before, "baseline"), (after, "champion")):
        places = [(x0 + size * p["confidence"], y0 - size * p["right"], p["n"]) for p in side["curve"]]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, n in places if n >= fewest)
        parts.append(f'<polyline class="line {role}" points="{path}"/>')
        parts += [
            f'<circle class="mark {role}" cx="{x:.1f}" cy="{y:.1f}" r="{least + more * math.sqrt(n / most):.1f}">'
            f"<title>{n:,} predictions</title></circle>"
            for x, y, n in places
        ]
    return parts


def _vertical(percent: float, name: str) -> str:
    return f'<line class="{name}" x1="{percent}%" x2="{percent}%" y1="0" y2="{ROW_HEIGHT}"/>'


def _mark(value: float, scale: Scale, role: str) -> str:
    """A diamond for the teacher, a disc for the rest; an arrow head at the edge for what lies beyond it."""
    if not scale.holds(value):
        shape = "M-1 0L9 -6V6Z" if value < scale.low else "M1 0L-9 -6V6Z"
    elif role == "teacher":
        shape = "M0 -7L7 0L0 7L-7 0Z"
    else:
        shape = "M-5.5 0a5.5 5.5 0 1 0 11 0a5.5 5.5 0 1 0 -11 0Z"
    return (
        f'<svg x="{scale.percent(value)}%" y="{ROW_HEIGHT / 2}" overflow="visible">'
        f'<path class="mark {escape(role)}" d="{shape}"/></svg>'
    )


def _error(side: Mapping[str, Any]) -> str:
    return "unknown" if side["ece"] is None or math.isnan(side["ece"]) else f"{side['ece']:.3f}"
