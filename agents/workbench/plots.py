"""Differences with their intervals as small inline SVG, places in percent of the width, colours from the page."""

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from teachback.store.quality.bootstrap import Estimate

__all__ = ["GainScale", "axis", "gain_scale", "track"]

HEIGHT = 22  # CSS pixels of one row
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # between two ticks
MOST_TICKS = 3  # on either side of zero


class GainScale:
    """From a difference to percent of the width; zero stands in the middle.

    Args:
        reach: The difference at the right edge.
    """

    def __init__(self, reach: float) -> None:
        self.reach = reach
        step = next((step for step in STEPS if reach / step <= MOST_TICKS), STEPS[-1])
        side = [step * number for number in range(1, math.floor(reach / step + 1e-9) + 1)]
        self.ticks = [*(-tick for tick in reversed(side)), 0.0, *side]

    def percent(self, gain: float) -> float:
        """Return the place of a difference, kept within the edges."""
        return round(50 + 50 * max(-1.0, min(1.0, gain / self.reach)), 2)


def gain_scale(gains: Sequence[Estimate]) -> GainScale:
    """Return a scale that holds all the intervals."""
    ends = [abs(end) for gain in gains for end in (gain.value, gain.low, gain.high) if not math.isnan(end)]
    return GainScale(max(0.05, math.ceil(max(ends, default=0.0) * 20 - 1e-9) / 20))


def track(gain: Estimate, scale: GainScale, tone: str) -> Markup:
    """Draw one difference with its interval.

    Args:
        gain: The difference.
        scale: The axis.
        tone: CSS class of the mark: `good`, `bad` or `open`.
    """
    middle = HEIGHT / 2
    parts = [_vertical(scale.percent(tick), "zero" if tick == 0 else "grid") for tick in scale.ticks]
    if not math.isnan(gain.low):
        left, right = scale.percent(gain.low), scale.percent(gain.high)
        parts.append(f'<line class="ci {escape(tone)}" x1="{left}%" x2="{right}%" y1="{middle}" y2="{middle}"/>')
    if not math.isnan(gain.value):
        parts.append(f'<circle class="dot {escape(tone)}" cx="{scale.percent(gain.value)}%" cy="{middle}" r="5"/>')
    return Markup(
        f'<svg class="track" width="100%" height="{HEIGHT}" aria-hidden="true" focusable="false">{"".join(parts)}</svg>'
    )


def axis(scale: GainScale) -> Markup:
    """Draw the ticks' numbers below a stack of tracks."""
    digits = 2 if any(abs(tick * 10 - round(tick * 10)) > 1e-6 for tick in scale.ticks) else 1
    text = "".join(
        f'<text x="{scale.percent(tick)}%" y="12" text-anchor="middle">{_signed(tick, digits)}</text>'
        for tick in scale.ticks
    )
    return Markup(f'<svg class="track" width="100%" height="16" aria-hidden="true" focusable="false">{text}</svg>')


def _vertical(percent: float, name: str) -> str:
    return f'<line class="{name}" x1="{percent}%" x2="{percent}%" y1="0" y2="{HEIGHT}"/>'


def _signed(tick: float, digits: int) -> str:
    return "0" if tick == 0 else f"{tick:+.{digits}f}".replace("-", "\u2212")
