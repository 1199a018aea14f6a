"""The error budget of a campaign: how sure the gate must be at each look, so that all looks together keep one promise.

Every round looks at the same gate reports, and every look may promote a worse student by luck. The looks therefore
share one level. Look k owns the share `first * (1 - first) ** (k - 1)` of it, and inherits the whole level of the look
before if that one promoted; the level of a look that refused is spent (the fallback procedure: Wiens 2003,
Pharmaceutical Statistics 2, 211-215). Whatever was promoted before, the levels at which worse students are looked at
never sum to more than the whole, so the chance that a campaign ever promotes one stays below it. A campaign that stops
at its first refusal tests each round at nearly the whole level; the rest is kept for a second chance after a refusal.

It assumes that students depend on the gate reports only through the gate's verdicts. Settings that somebody chose by
looking at gate figures are looks too, and nobody counts them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Look", "spend"]


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the gate reports.

    Attributes:
        number: 1 for the first of the campaign.
        level: Chance of promoting a worse student that this look may take, one-sided.
        total: The same of all looks of the campaign together.
        earlier: Verdicts of the looks before: whether each promoted.
    """

    number: int
    level: float
    total: float
    earlier: tuple[bool, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the look as plain values."""
        return asdict(self) | {"earlier": list(self.earlier)}


def spend(total: float, first: float, earlier: Sequence[bool] = ()) -> Look:
    """Return the next look and its level.

    Args:
        total: Level of all looks together.
        first: Share of what is left that each look owns; 1 leaves nothing for a look after a refusal.
        earlier: Verdicts of the looks before, in their order.
    """
    level = 0.0
    for number, promoted in enumerate((*earlier, False)):
        level += total * first * (1 - first) ** number
        if number < len(earlier) and not promoted:
            level = 0.0
    return Look(len(earlier) + 1, level, total, tuple(bool(promoted) for promoted in earlier))
