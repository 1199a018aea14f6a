"""From what was measured of several students to which of them is worth the full budget: pure, and in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from teachback.distill.choose_points import Measured, Point
from teachback.distill.scaling import Curve, Forecast, Law, forecast

__all__ = ["Choice", "Prospect", "choose", "curve_of", "law_numbers", "predict_seconds"]

WIDE = 3.0  # an interval whose ends are further apart than this factor leaves the loss open
RIVAL = 0.05  # chance of being the best from which a student is not ruled out


@dataclass(frozen=True, slots=True)
class Prospect:
    """What a student promises.

    Attributes:
        name: The student, as it was named.
        measured: Its points.
        forecast: Its loss at the full size.
        seconds: Predicted time of one training on all reports; None where no training was timed whole.
        spent: Seconds that its points took.
        chance: How probably it is the best, by the draws; None where the choice does not rest on the curves.
        verdict: `worth the full budget`; `most promising, not alone` where others cannot be ruled out; and the like.
    """

    name: str
    measured: Measured
    forecast: Forecast
    seconds: float | None
    spent: float
    chance: float | None
    verdict: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Which student is worth the full budget.

    Attributes:
        chosen: Its name.
        basis: `law` where the curves decide; `largest` where the losses at the largest subset do.
        why: The decision in sentences.
        prospects: All students, the most promising first.
    """

    chosen: str
    basis: str
    why: tuple[str, ...]
    prospects: tuple[Prospect, ...]


def choose(measured: Mapping[str, Measured], *, draws: int = 200, seed: int = 0) -> Choice:
    """Choose the student with the lowest predicted loss at the full size.

    A student whose points do not determine its curve is not predicted, and stands behind those that are. But where such
    a student is ahead after the largest subset, or no student is predicted, the losses there decide instead.

    Args:
        measured: What was measured, by student; all on the same subsets.
        draws: Draws of the intervals.
        seed: Of the fits and draws.
    """
    full = next(iter(measured.values())).full_reports
    forecasts = forecast({name: curve_of(of.points) for name, of in measured.items()}, full, draws=draws, seed=seed)
    last = {name: of.points[-1].loss for name, of in measured.items()}
    by_last = sorted(measured, key=lambda name: last[name])
    open_ = [name for name in by_last if forecasts[name].doubt]
    told = sorted((name for name in measured if name not in open_), key=lambda name: forecasts[name].loss or 0.0)
    by_law = bool(told) and by_last[0] not in open_
    order = [*told, *open_] if by_law else by_last
    best = np.argmin([forecasts[name].draws for name in told], axis=0) if by_law else np.zeros(0)
    chances = {name: float((best == place).mean()) for place, name in enumerate(told)} if by_law else {}
    reports = max(point.reports for of in measured.values() for point in of.points)
    prospects = tuple(
        Prospect(
            name,
            measured[name],
            forecasts[name],
            predict_seconds(measured[name]),
            sum(point.seconds + point.scoring_seconds for point in measured[name].points),
            chances.get(name),
            _verdict(name == order[0], chances.get(name), by_law, reports),
        )
        for name in order
    )
    doubts = [f"{name}: {forecasts[name].doubt}" for name in open_]
    why = _by_law(prospects[: len(told)], doubts, reports, full) if by_law else _by_loss(doubts, reports, full)
    return Choice(order[0], "law" if by_law else "largest", tuple(why), prospects)


def curve_of(points: Sequence[Point]) -> Curve:
    """Return a student's losses by reports."""
    return Curve(tuple(point.reports for point in points), tuple(point.loss for point in points))


def predict_seconds(measured: Measured) -> float | None:
    """Predict the time of one training on all reports: loading, and so much a token, as the subsets' trainings took."""
    from scipy.optimize import nnls

    timed = [point for point in measured.points if point.tokens and not point.resumed]
    if not timed:
        return None
    per_token = 1e6  # keeps both columns of one size
    work = np.array([[1.0, point.tokens / per_token] for point in timed])
    if len(timed) == 1:
        return float(timed[0].seconds * measured.full_tokens / timed[0].tokens)
    loading, pace = nnls(work, np.array([point.seconds for point in timed]))[0]
    return float(loading + pace * measured.full_tokens / per_token)


def _verdict(best: bool, chance: float | None, by_law: bool, reports: int) -> str:
    if not by_law:
        return f"lowest loss at {reports:,} reports" if best else f"higher loss at {reports:,} reports"
    if chance is None:
        return f"not predicted; behind at {reports:,} reports"
    if best:
        return "worth the full budget" if chance > 1 - RIVAL else "most promising, not alone"
    return "cannot be ruled out" if chance >= RIVAL else "not worth it"


def _by_law(prospects: Sequence[Prospect], doubts: Sequence[str], reports: int, full: int) -> list[str]:
    best, *others = prospects
    why = [
        f"{best.name} is predicted to have the lowest loss on all {full:,} reports: {_interval(best.forecast)}; "
        f"it is the best of these in {best.chance:.0%} of draws"
    ]
    rivals = [p for p in others if p.chance is not None and p.chance >= RIVAL]
    if rivals:
        why.append("cannot be ruled out: " + ", ".join(f"{p.name} (best in {p.chance:.0%} of draws)" for p in rivals))
    cheaper = [p for p in rivals if p.seconds is not None and best.seconds is not None and p.seconds < best.seconds / 2]
    why += [f"{p.name} would take {p.seconds:.0f} s where {best.name} takes {best.seconds:.0f} s" for p in cheaper]
    if doubts:
        why.append(f"not predicted, and behind at {reports:,} reports: " + "; ".join(doubts))
    for p in (best, *rivals):
        low, high = p.forecast.low or 0.0, p.forecast.high or 0.0
        if high > WIDE * low:
            why.append(f"{p.name}: its points allow anything from {low:.3f} to {high:.3f}; a larger subset tells more")
    lines = {p.name: p.forecast.line for p in prospects if p.forecast.line is not None}
    other = min(lines, key=lambda name: lines[name]) if lines else best.name
    if other != best.name:
        why.append(f"a straight line through the last points (accept then stop) would choose {other}")
    return why


def _by_loss(doubts: Sequence[str], reports: int, full: int) -> list[str]:
    return [
        "the points do not determine every curve: " + "; ".join(doubts),
        f"so the loss after {reports:,} reports decides, not one predicted for all {full:,}; it favours students that "
        "learn early",
    ]


def _interval(found: Forecast) -> str:
    return f"{found.loss:.3f} [{found.low:.3f}, {found.high:.3f}]"


def law_numbers(law: Law) -> dict[str, float]:
    """Return the law's numbers under both of its names."""
    return {
        "start": law.start,
        "E": law.floor,
        "knee": law.knee,
        "beta": law.power,
        "D_l": law.pre_learned,
        "B": law.scale,
    }
