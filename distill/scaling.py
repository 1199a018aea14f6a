"""The rectified scaling law of fine-tuning: how a student's loss falls with its training reports.

Lin et al. 2024, "Selecting Large Language Model to Fine-tune via Rectified Scaling Law" (arXiv 2402.02314):

    L(D) = B / (D_l + D^beta) + E

D_l is the data that pretraining was worth. While D^beta is far below it the loss hardly falls (the pre-power phase);
far above it B / D^beta remains (the power phase); E is never left. With start = B / D_l + E, the loss untrained, and
knee = D_l^(1/beta), where half of what can be gained is gained, the same law reads

    L(D) = E + (start - E) / (1 + (D / knee)^beta)

which holds at D = 0 too, and whose four numbers are of known sizes. That is what is fitted here: least squares on log
losses within bounds, from several starts.

Departures. The paper fits a dozen sizes; ours are five or six, which leave four numbers room. So weak beliefs on E and
beta stand beside the points, and a forecast comes with an interval: the noise of one training is drawn from what all
students' fits left over, points and beliefs are drawn again with it, the law is fitted to each draw, and the interval
holds what came of it. The paper's own selection (`accept_then_stop`) draws a straight line through the last points in
log-log, which needs the power phase to be reached; it is given beside.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEWEST_POINTS", "Curve", "Forecast", "Law", "accept_then_stop", "fit_law", "forecast"]

FEWEST_POINTS = 5  # the law has four numbers: with four points any four losses lie on it
FALL = 0.05  # share by which the loss must have fallen, and by which it may rise again; less is noise
MISFIT = 0.1  # root mean square of what a fit may leave, in log loss

PRIOR_NOISE, PRIOR_FREEDOM = 0.04, 2  # noise of one training, in log loss, and how many residuals' worth that belief is
POWERS, _SHARES = (0.1, 4.0), (0.005, 0.999)  # bounds of beta, and of E / start
# What is believed before any point is seen, as logs: E is a quarter of the start, within a factor of three (a student
# may hardly learn at all), and beta is 1.5, within a factor of two. Held against the points with the noise above, so
# that a few good points outweigh it.
_BELIEFS, _SPREADS = np.log([0.25, 1.5]), np.array([1.2, 0.7])
ACCEPTED, TOLERANCE = 3, 5.0  # the paper's k and delta

_FLOAT = NDArray[np.float64]
_DRAWS, _STARTS, _AGAIN = 200, 12, 2  # draws of an interval; starts of a fit; starts of the fit of a draw
_EVALUATIONS = 80  # most a start


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
        return float(self.floor + (self.start - self.floor) / (1 + (reports / self.knee) ** self.power))


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
        loss: Predicted loss; None where there is no curve to read it off.
        low: Lower end of the 90 % interval; None likewise.
        high: Upper end.
        draws: Predicted losses of all draws; empty likewise.
        doubt: Why the points do not determine the curve, empty where they do.
        line: What the paper's accept-then-stop line predicts; None where there are too few points.
    """

    law: Law | None
    loss: float | None
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
        # Each student has a stream of its own: one stream's noise, shared, would favour the same student in all draws.
        name: _forecast(curve, laws[name], doubts[name], reports, (left, freedom), draws, level, _stream(seed, name))
        for name, curve in curves.items()
    }


def fit_law(curve: Curve, reports: int, *, noise: float = PRIOR_NOISE, seed: int = 0) -> Law | None:
    """Fit the law to a student's points; None where they are fewer than its four numbers.

    Args:
        curve: What was measured; losses above 0.
        reports: The full size, which bounds the knee: what lies far beyond it cannot be seen.
        noise: Standard deviation of a log loss; the smaller, the less the beliefs on E and beta weigh.
        seed: Of the starts.
    """
    if len(curve.reports) < 4:
        return None
    return _fit(curve, np.log(curve.losses), reports, np.random.default_rng(seed), starts=_STARTS, noise=noise)


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
    chance: np.random.Generator,
) -> Forecast:
    line = accept_then_stop(curve, reports)
    if law is None or doubt:
        return Forecast(law, None, None, None, (), doubt, line)
    drawn = _draw(curve, law, reports, noise, draws, chance)
    low, high = map(float, np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]))
    return Forecast(law, law.loss(reports), low, high, tuple(map(float, drawn)), "", line)


def _stream(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _draw(
    curve: Curve, law: Law, reports: int, noise: tuple[float, int], draws: int, chance: np.random.Generator
) -> _FLOAT:
    """Draw what a training at the full size may come to: a noise, points and beliefs with it, their law, its noise."""
    left, freedom = noise
    fitted = np.log([law.loss(d) for d in curve.reports])
    found = np.zeros(draws)
    for i in range(draws):
        spread = np.sqrt(left / chance.chisquare(freedom))
        losses = fitted + spread * chance.standard_normal(len(fitted))
        beliefs = _BELIEFS + _SPREADS * chance.standard_normal(2)
        again = _fit(curve, losses, reports, chance, starts=_AGAIN, known=law, beliefs=beliefs)
        found[i] = np.log(again.loss(reports)) + spread * chance.standard_normal()
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


def _fit(
    curve: Curve,
    log_losses: _FLOAT,
    reports: int,
    chance: np.random.Generator,
    *,
    starts: int,
    known: Law | None = None,
    noise: float = PRIOR_NOISE,
    beliefs: _FLOAT = _BELIEFS,
) -> Law:
    """Fit log start, log E / start, log knee and log power; `known` is one of the starts."""
    from scipy.optimize import least_squares

    seen = np.array(curve.reports, float)
    low, high = _bounds(curve, reports)
    begin = chance.uniform(low, high, size=(starts, 4))
    if known is not None:
        begin[0] = np.clip(np.log([known.start, known.floor / known.start, known.knee, known.power]), low, high)
    weight = noise / _SPREADS

    def off(place: _FLOAT) -> _FLOAT:
        return np.concatenate([_log_losses(seen, place) - log_losses, weight * (place[[1, 3]] - beliefs)])

    def slopes(place: _FLOAT) -> _FLOAT:
        believed = np.zeros((2, 4))
        believed[0, 1], believed[1, 3] = weight
        return np.concatenate([_slopes(seen, place), believed])

    fits = [least_squares(off, place, slopes, bounds=(low, high), max_nfev=_EVALUATIONS) for place in begin]
    start, share, knee, power = np.exp(min(fits, key=lambda found: float(found.cost)).x)
    return Law(float(start), float(start * share), float(knee), float(power))


def _bounds(curve: Curve, reports: int) -> tuple[_FLOAT, _FLOAT]:
    top, smallest = np.log(max(curve.losses)), np.log(min(d for d in curve.reports if d > 0))
    low = np.array([top - 0.5, np.log(_SHARES[0]), smallest - 3, np.log(POWERS[0])])
    return low, np.array([top + 0.7, np.log(_SHARES[1]), np.log(reports) + 2, np.log(POWERS[1])])


def _log_losses(reports: _FLOAT, place: _FLOAT) -> _FLOAT:
    share = np.exp(place[1])
    losses: _FLOAT = place[0] + np.log(share + (1 - share) * _untaught(reports, place))
    return losses


def _untaught(reports: _FLOAT, place: _FLOAT) -> _FLOAT:
    """Return the share of what can be gained that is not yet gained."""
    untaught: _FLOAT = 1 / (1 + (reports / np.exp(place[2])) ** np.exp(place[3]))
    return untaught


def _slopes(reports: _FLOAT, place: _FLOAT) -> _FLOAT:
    """Return how the log losses change with each of the four numbers, shape (points, 4)."""
    share, power = np.exp(place[1]), np.exp(place[3])
    left = _untaught(reports, place)
    whole = share + (1 - share) * left
    turning = (1 - share) * left * (1 - left) / whole  # 0 at D = 0, where the distance below is infinite
    distance = np.where(reports > 0, np.log(np.maximum(reports, 1e-9)) - place[2], 0.0)
    return np.stack(
        [np.ones_like(reports), share * (1 - left) / whole, turning * power, -turning * power * distance], axis=1
    )
