"""The rectified scaling law of fine-tuning: how a student's loss falls with its training reports.

Lin et al. 2024, "Selecting Large Language Model to Fine-tune via Rectified Scaling Law" (arXiv 2402.02314):

    L(D) = B / (D_l + D^beta) + E

D_l is the data that pretraining was worth. While D^beta is far below it the loss hardly falls (the pre-power phase);
far above it B / D^beta remains (the power phase); E is never left. With start = B / D_l + E, the loss untrained, and
knee = D_l^(1/beta), where half of what can be gained is gained, the same law reads

    L(D) = E + (start - E) / (1 + (D / knee)^beta)

which holds at D = 0 too, and whose four numbers are of known sizes. That is what is fitted here: least squares on log
losses within bounds, from several starts.

Departures. The paper fits many sizes and reads the law's value off; four numbers from five or six points leave room, so
a forecast comes with an interval: the noise of one training is drawn from what all students' fits left over, the law is
fitted to each draw again, and the interval holds what came of it. The paper's own selection (`accept_then_stop`) draws
a straight line through the last points in log-log and needs the power phase to be reached; it is given beside.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEWEST_POINTS", "Curve", "Forecast", "Law", "accept_then_stop", "fit_law", "forecast"]

FEWEST_POINTS = 5  # the law has four numbers: with four points any four losses lie on it
FALL = 0.05  # share by which the loss must have fallen, and by which it may rise again; less is noise
MISFIT = 0.1  # root mean square of what a fit may leave, in log loss

PRIOR_NOISE, PRIOR_FREEDOM = 0.04, 2  # noise of one training, in log loss, and how many residuals' worth that belief is
POWERS = (0.1, 4.0)  # bounds of beta
ACCEPTED, TOLERANCE = 3, 5.0  # the paper's k and delta

_FLOAT = NDArray[np.float64]
_DRAWS, _STARTS, _AGAIN = 200, 12, 2  # draws of an interval; starts of a fit; starts of the fit of a draw


@dataclass(frozen=True, slots=True)
class Law:
    """The law with its numbers.

    Attributes:
        start: Loss without training.
        floor: E, the loss that no number of reports removes.
        knee: Reports at which half of start - floor is gained.
        power: beta.
    """

    start: float
    floor: float
    knee: float
    power: float

    @property
    def pre_learned(self) -> float:
        """D_l, what pretraining was worth, in reports to the power of beta."""
        return float(self.knee**self.power)

    @property
    def scale(self) -> float:
        """B."""
        return (self.start - self.floor) * self.pre_learned

    def loss(self, reports: float) -> float:
        """Return the loss after training on so many reports."""
        return float(_losses(np.array([reports], float), np.array([self.start, self.floor, self.knee, self.power]))[0])


@dataclass(frozen=True, slots=True)
class Curve:
    """What was measured of one student: its loss after training on each of some numbers of reports, 0 for untrained."""

    reports: tuple[int, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a student's points say of its loss at the full size.

    Attributes:
        law: The fitted law; None where there are too few points to fit one.
        loss: Predicted loss; the loss at the largest subset where the points do not determine the curve.
        low: Lower end of the 90 % interval; None where the curve is not determined.
        high: Upper end.
        draws: Predicted losses of all draws; empty where the curve is not determined.
        doubt: Why the points do not determine the curve, empty where they do.
        line: What the paper's accept-then-stop line predicts; None where there are too few points.
    """

    law: Law | None
    loss: float
    low: float | None
    high: float | None
    draws: tuple[float, ...]
    doubt: str
    line: float | None


def forecast(
    curves: Mapping[str, Curve], reports: int, *, draws: int = _DRAWS, level: float = 0.9, seed: int = 0
) -> dict[str, Forecast]:
    """Predict each student's loss at the full size.

    Args:
        curves: What was measured, by student. What the fits leave over is taken together: few points each, one noise.
        reports: The full size.
        draws: Draws of the interval.
        level: Coverage of the interval, of one training's loss.
        seed: Of starts and draws.
    """
    laws = {name: fit_law(curve, reports, seed=seed) for name, curve in curves.items()}
    doubts = {name: _doubt(curves[name], law) for name, law in laws.items()}
    left, freedom = PRIOR_FREEDOM * PRIOR_NOISE**2, PRIOR_FREEDOM
    for name, law in laws.items():
        if law is not None and not doubts[name]:
            left += float((_residuals(curves[name], law) ** 2).sum())
            freedom += len(curves[name].reports) - 4
    return {
        name: _forecast(curve, laws[name], doubts[name], reports, (left, freedom), draws, level, seed)
        for name, curve in curves.items()
    }


def fit_law(curve: Curve, reports: int, *, seed: int = 0) -> Law | None:
    """Fit the law to a student's points; None where they are fewer than its four numbers.

    Args:
        curve: What was measured; losses above 0.
        reports: The full size, which bounds the knee: what lies far beyond it cannot be seen.
        seed: Of the starts.
    """
    if len(curve.reports) < 4:
        return None
    found = _fit(_Problem.of(curve, reports), np.log(curve.losses), _STARTS, np.random.default_rng(seed))
    return Law(*map(float, found))


def accept_then_stop(curve: Curve, reports: int) -> float | None:
    """Predict by the paper's selection: a line in log-log through the power phase alone.

    From the largest subset down, points are accepted as long as they lie on the line through those accepted, within
    `TOLERANCE` times the standard deviation of what that line leaves; the first that does not begins the pre-power
    phase, and the rest is not looked at.

    Returns:
        The predicted loss; None with fewer than `ACCEPTED` trained points.
    """
    points = sorted((d, loss) for d, loss in zip(curve.reports, curve.losses, strict=True) if d > 0)
    if len(points) < ACCEPTED:
        return None
    x, y = (np.log(np.array(side, float)) for side in zip(*points, strict=True))
    accepted = ACCEPTED
    while accepted < len(x):
        slope, offset = np.polyfit(x[-accepted:], y[-accepted:], 1)
        spread = float((y[-accepted:] - (slope * x[-accepted:] + offset)).std())
        if abs(y[-accepted - 1] - (slope * x[-accepted - 1] + offset)) > TOLERANCE * spread:
            break
        accepted += 1
    slope, offset = np.polyfit(x[-accepted:], y[-accepted:], 1)
    return float(np.exp(slope * np.log(reports) + offset))


def _forecast(
    curve: Curve,
    law: Law | None,
    doubt: str,
    reports: int,
    noise: tuple[float, int],
    draws: int,
    level: float,
    seed: int,
) -> Forecast:
    line = accept_then_stop(curve, reports)
    if law is None or doubt:
        return Forecast(law, _at_largest(curve), None, None, (), doubt, line)
    # A stream of its own for the draws: what one student's points are must not move another's interval.
    drawn = _draw(curve, law, reports, noise, draws, np.random.default_rng([seed, 1]))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Forecast(law, law.loss(reports), float(low), float(high), tuple(map(float, drawn)), "", line)


def _draw(
    curve: Curve, law: Law, reports: int, noise: tuple[float, int], draws: int, chance: np.random.Generator
) -> _FLOAT:
    """Draw what a training at the full size may come to: a noise, points with it, the law that they give, its noise."""
    left, freedom = noise
    fitted = np.log([law.loss(d) for d in curve.reports])
    problem = _Problem.of(curve, reports)
    found = np.zeros(draws)
    for i in range(draws):
        spread = np.sqrt(left / chance.chisquare(freedom))
        losses = fitted + spread * chance.standard_normal(len(fitted))
        again = _fit(problem, losses, _AGAIN, chance, np.array([law.start, law.floor, law.knee, law.power]))
        found[i] = np.log(Law(*again).loss(reports)) + spread * chance.standard_normal()
    return np.exp(found)


def _doubt(curve: Curve, law: Law | None) -> str:
    """Say why the points do not determine the curve, as an end of a sentence; empty where they do."""
    points = sorted(zip(curve.reports, curve.losses, strict=True))
    if law is None or len(points) < FEWEST_POINTS:
        return f"{len(points)} points do not determine four numbers"
    lowest = points[0]
    for here in points[1:]:
        if here[1] > lowest[1] * (1 + FALL):
            return f"its loss rises from {lowest[0]:,} to {here[0]:,} reports, where the law falls"
        lowest = min(lowest, here, key=lambda point: point[1])
    if points[-1][1] > points[0][1] * (1 - FALL):
        return f"it has not begun to learn from {points[-1][0]:,} reports"
    misfit = float(np.sqrt((_residuals(curve, law) ** 2).mean()))
    if misfit > MISFIT:
        return f"its points lie {misfit:.0%} off the best curve"
    return ""


def _residuals(curve: Curve, law: Law) -> _FLOAT:
    residuals: _FLOAT = np.log(curve.losses) - np.log([law.loss(d) for d in curve.reports])
    return residuals


def _at_largest(curve: Curve) -> float:
    return max(zip(curve.reports, curve.losses, strict=True))[1]


@dataclass(frozen=True, slots=True)
class _Problem:
    """Where the fit may look: log start, the floor's share of the lowest loss, log knee, power."""

    reports: _FLOAT
    lowest: float
    low: _FLOAT
    high: _FLOAT

    @classmethod
    def of(cls, curve: Curve, reports: int) -> "_Problem":
        trained = [d for d in curve.reports if d > 0]
        top = np.log(max(curve.losses))
        low = np.array([top - 0.5, 0.0, np.log(min(trained)) - 3, POWERS[0]])
        high = np.array([top + 0.7, 1.0, np.log(reports) + 2, POWERS[1]])
        return cls(np.array(curve.reports, float), min(curve.losses), low, high)

    def numbers(self, place: _FLOAT) -> _FLOAT:
        """Return start, floor, knee and power of a place within the bounds."""
        return np.array([np.exp(place[0]), place[1] * self.lowest, np.exp(place[2]), place[3]])

    def place(self, numbers: _FLOAT) -> _FLOAT:
        """Return the place of start, floor, knee and power, kept within the bounds."""
        place = np.array([np.log(numbers[0]), numbers[1] / self.lowest, np.log(numbers[2]), numbers[3]])
        inside: _FLOAT = np.clip(place, self.low + 1e-6, self.high - 1e-6)
        return inside


def _fit(
    problem: _Problem, log_losses: _FLOAT, starts: int, chance: np.random.Generator, known: _FLOAT | None = None
) -> _FLOAT:
    """Return start, floor, knee and power of the least squares; `known` is one of the starts."""
    from scipy.optimize import least_squares

    begin = chance.uniform(problem.low, problem.high, size=(starts, 4))
    if known is not None:
        begin[0] = problem.place(known)
    best = None
    for place in begin:
        found = least_squares(
            lambda at: np.log(_losses(problem.reports, problem.numbers(at))) - log_losses,
            place,
            bounds=(problem.low, problem.high),
            max_nfev=60,
        )
        if best is None or found.cost < best.cost:
            best = found
    if best is None:
        raise ValueError("a fit needs at least one start")
    return problem.numbers(best.x)


def _losses(reports: _FLOAT, numbers: _FLOAT) -> _FLOAT:
    start, floor, knee, power = numbers
    losses: _FLOAT = floor + (start - floor) / (1 + (reports / knee) ** power)
    return losses
