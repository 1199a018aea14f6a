"""What calibration made of a student: from its raw probabilities to calibrated ones, and from those to a decision."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PRESENT", "Calibration", "Curve", "log_odds", "sigmoid"]

PRESENT = 0  # index of `present` in STATUSES


@dataclass(frozen=True, slots=True)
class Curve:
    """A rising curve through corners; beyond the first and the last it is level.

    Attributes:
        scores: Log-odds that the student gave, rising.
        values: Calibrated log-odds, never falling.
    """

    scores: tuple[float, ...]
    values: tuple[float, ...]

    def read(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return calibrated log-odds."""
        found: NDArray[np.float64] = np.interp(scores, self.scores, self.values)
        return found


@dataclass(frozen=True, slots=True)
class Calibration:
    """How raw probabilities become calibrated ones, and those a decision.

    Attributes:
        slopes: a of each of the 13 findings.
        offsets: b of each of the 13 findings.
        threshold: Calibrated probability from which a finding is called present.
        curves: Of each finding the isotonic curve that goes before its a and b, None where it has none; empty where no
            finding has one.
    """

    slopes: tuple[float, ...]
    offsets: tuple[float, ...]
    threshold: float
    curves: tuple[Curve | None, ...] = ()

    @property
    def methods(self) -> tuple[str, ...]:
        """What calibrates each finding: `temperature` or `isotonic`."""
        curves = self.curves or (None,) * len(self.slopes)
        return tuple("temperature" if curve is None else "isotonic" for curve in curves)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values; without curves there is no word of them, so that nothing changes its name."""
        plain = asdict(self)
        return plain if self.curves else {name: value for name, value in plain.items() if name != "curves"}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Calibration":
        """Return what `as_dict` gave, also after a way through JSON."""
        curves = tuple(
            None if curve is None else Curve(tuple(curve["scores"]), tuple(curve["values"]))
            for curve in plain.get("curves", ())
        )
        return cls(tuple(plain["slopes"]), tuple(plain["offsets"]), plain["threshold"], curves)

    def apply(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Calibrate (N, 13, 4) probabilities; each distribution still sums to 1."""
        raw = np.clip(probabilities[..., PRESENT].astype(np.float64), 1e-6, 1 - 1e-6)
        scores = np.log(raw / (1 - raw))
        calibrated_scores = np.array(self.slopes) * scores + np.array(self.offsets)
        for finding, curve in enumerate(self.curves):
            if curve is not None:
                calibrated_scores[..., finding] = curve.read(scores[..., finding])
        present = sigmoid(calibrated_scores)
        scaled = probabilities.astype(np.float64) * ((1 - present) / (1 - raw))[..., None]
        scaled[..., PRESENT] = present
        calibrated: NDArray[np.float32] = (scaled / scaled.sum(-1, keepdims=True)).astype(np.float32)
        return calibrated

    def decide(self, calibrated: NDArray[np.float32]) -> NDArray[np.int8]:
        """Return (N, 13) status codes for calibrated (N, 13, 4) probabilities."""
        others = calibrated[..., 1:].argmax(-1) + 1
        codes: NDArray[np.int8] = np.where(calibrated[..., PRESENT] >= self.threshold, PRESENT, others).astype(np.int8)
        return codes


def log_odds(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the (N, 13) log-odds of `present` of (N, 13, 4) probabilities."""
    raw = np.clip(probabilities[..., PRESENT].astype(np.float64), 1e-6, 1 - 1e-6)
    odds: NDArray[np.float64] = np.log(raw / (1 - raw))
    return odds


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probabilities of log-odds."""
    out: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(x, -40, 40)))
    return out
