"""Reliability of several labelers' confidences as one picture, an SVG that any browser or page shows."""

import math
from collections.abc import Mapping
from html import escape

from teachback.store.quality.reliability import Reliability

__all__ = ["reliability_svg"]

_SIZE, _LEFT, _TOP, _LINE = 300, 56, 24, 20  # pixels: the square, its margins, a line of the legend
# Told apart by colour and by mark, so that colour is not needed (Okabe and Ito 2008).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#222}.grid{stroke:#ddd}.ref{stroke:#888;stroke-dasharray:4 4}"
    ".curve{fill:none;stroke-width:2}.bar{stroke-width:1}rect{fill:#fff}"
    "@media (prefers-color-scheme:dark){text{fill:#eee}.grid{stroke:#444}rect{fill:#16181d}}"
)


def reliability_svg(measured: Mapping[str, Reliability]) -> str:
    """Draw how often labels are right against how sure their labelers were; a mark's area tells how many labels.

    Args:
        measured: Labeler's name to its figures.

    Returns:
        A whole SVG document.
    """
    height = _TOP + _SIZE + 48 + _LINE * len(measured)
    width = _LEFT + _SIZE + 150
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape("; ".join(f"{n}: calibration error {m.ece}" for n, m in measured.items()))}">',
        f'<style>{_STYLE}</style><rect width="{width}" height="{height}"/>',
        *_axes(),
    ]
    for place, (name, figures) in enumerate(measured.items()):
        parts += _curve(place, figures)
        parts += _legend(place, name, figures)
    return "\n".join([*parts, "</svg>", ""])


def _axes() -> list[str]:
    parts = [f'<line class="ref" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>']
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<line class="grid" x1="{_x(0)}" x2="{_x(1)}" y1="{_y(tick)}" y2="{_y(tick)}"/>')
        parts.append(f'<text x="{_x(0) - 8}" y="{_y(tick) + 4}" text-anchor="end">{tick:g}</text>')
        parts.append(f'<text x="{_x(tick)}" y="{_y(0) + 18}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<text x="{_x(0.5)}" y="{_y(0) + 36}" text-anchor="middle">confidence given</text>')
    parts.append(
        f'<text transform="translate(16 {_y(0.5)}) rotate(-90)" text-anchor="middle">share that is right</text>'
    )
    return parts


def _curve(place: int, figures: Reliability) -> list[str]:
    colour = _COLOURS[place % len(_COLOURS)]
    most = max(b.n for b in figures.bins)
    points = [(_x(b.confidence), _y(b.right.value), b) for b in figures.bins]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
    parts = [f'<polyline class="curve" stroke="{colour}" points="{path}"/>']
    for x, y, b in points:
        if b.right.low == b.right.low:  # no interval without two patients
            ends = f'y1="{_y(b.right.low):.1f}" y2="{_y(b.right.high):.1f}"'
            parts.append(f'<line class="bar" stroke="{colour}" x1="{x:.1f}" x2="{x:.1f}" {ends}/>')
        told = f"<title>{b.n:,} labels: {b.right} right at {b.confidence:.3f}</title>"
        parts.append(_mark(place, x, y, 3 + 4 * math.sqrt(b.n / most), told))
    return parts


def _legend(place: int, name: str, figures: Reliability) -> list[str]:
    y = _TOP + _SIZE + 58 + _LINE * place
    text = f"{name}: calibration error {figures.ece}, {figures.n:,} labels"
    return [_mark(place, _LEFT, y - 4, 5, ""), f'<text x="{_LEFT + 14}" y="{y}">{escape(text)}</text>']


def _mark(place: int, x: float, y: float, r: float, told: str) -> str:
    colour = _COLOURS[place % len(_COLOURS)]
    shape = (
        f"M{x - r:.1f} {y:.1f}a{r:.1f} {r:.1f} 0 1 0 {2 * r:.1f} 0a{r:.1f} {r:.1f} 0 1 0 {-2 * r:.1f} 0z",
        f"M{x - r:.1f} {y - r:.1f}h{2 * r:.1f}v{2 * r:.1f}h{-2 * r:.1f}z",
        f"M{x:.1f} {y - r:.1f}l{r:.1f} {2 * r:.1f}h{-2 * r:.1f}z",
        f"M{x:.1f} {y - r:.1f}l{r:.1f} {r:.1f}l{-r:.1f} {r:.1f}l{-r:.1f} {-r:.1f}z",
    )[place % 4]
    return f'<path d="{shape}" fill="{colour}">{told}</path>'


def _x(share: float) -> float:
    return _LEFT + _SIZE * share


def _y(share: float) -> float:
    return _TOP + _SIZE * (1 - share)
