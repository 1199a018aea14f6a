"""Step 7, promote or roll back: a candidate takes the champion's place only if it is shown to be no worse.

The lower 95 % bound of the change in micro- and in macro-F1 must not be below zero, and no finding may drop by more
than chance explains; both by paired bootstrap over clusters of reports. A candidate that is merely not proven better
stays out: the champion is known, and a round costs less than a worse student in use.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teachback.store.label import FINDINGS
from teachback.store.quality.f1 import PairedReport, paired_difference

__all__ = ["Decision", "decide"]


@dataclass(frozen=True, slots=True)
class Decision:
    """The gate's verdict on a candidate.

    Attributes:
        promoted: Whether it becomes the champion.
        reason: Why, in words.
        change: The paired change of its figures over the champion's.
        against: Name of the champion that it was compared with.
    """

    promoted: bool
    reason: str
    change: PairedReport
    against: str

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as plain values."""
        return {
            "promoted": self.promoted,
            "reason": self.reason,
            "against": self.against,
            "change": self.change.as_dict(),
        }


def decide(
    truth: NDArray[np.int8],
    champion: NDArray[np.int8],
    candidate: NDArray[np.int8],
    clusters: NDArray[Any],
    against: str,
    *,
    seed: int = 0,
) -> Decision:
    """Judge a candidate on the gate split.

    Args:
        truth: (N, 13) curated status codes.
        champion: (N, 13) the champion's.
        candidate: (N, 13) the candidate's.
        clusters: (N,) which reports belong together.
        against: The champion's name, for the record.
        seed: Of the bootstrap.
    """
    change = paired_difference(truth, champion, candidate, clusters, seed=seed)
    harmed = [f for f, estimate in zip(FINDINGS, change.findings, strict=True) if estimate.high < 0]
    short = [
        f"{name}-F1 {estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"
        for name, estimate in (("micro", change.micro), ("macro", change.macro))
        if not estimate.low >= 0
    ]
    if harmed:
        return Decision(False, f"rolled back: {_join(harmed)} dropped beyond chance", change, against)
    if short:
        reason = f"rolled back: not shown to be no worse than {against} ({_join(short)})"
        return Decision(False, reason, change, against)
    return Decision(
        True,
        f"promoted over {against}: micro-F1 {change.micro.value:+.3f}, macro-F1 {change.macro.value:+.3f}, "
        "both lower bounds at or above zero, no finding harmed",
        change,
        against,
    )


def _join(parts: Sequence[str]) -> str:
    return ", ".join(parts)
