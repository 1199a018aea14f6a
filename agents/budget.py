"""What a run may cost: a hard stop, kept by setting aside what each request may cost at most before it is sent.

What is spent and set aside together never exceeds the budget, so the run overshoots by nothing that the endpoint's own
rules allow: an answer is never longer than `max_tokens`.
"""

import asyncio
from dataclasses import dataclass, field

from teachback.errors import BudgetError

__all__ = ["Budget"]


@dataclass
class Budget:
    """US dollars that a run may spend, shared by all who ask.

    Attributes:
        max_usd: The most; None sets no limit.
        spent: What the answers cost so far.
        set_aside: What the requests under way may cost at most.
    """

    max_usd: float | None = None
    spent: float = 0.0
    set_aside: float = 0.0
    _settled: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def exhausted(self) -> BudgetError:
        """What to tell the user when nothing more can be sent."""
        return BudgetError(
            f"the budget of ${self.max_usd:,.4f} is reached: ${self.spent:,.4f} is spent, and the next call could cost "
            "more than what is left",
            "what was paid is stored: the same command with a higher --max-usd goes on from here",
        )

    async def reserve(self, usd: float) -> bool:
        """Set aside what a request may cost at most, waiting for others to be settled where that makes room.

        Returns:
            Whether the request may be sent.
        """
        if self.max_usd is None:
            return True
        while self.spent + self.set_aside + usd > self.max_usd:
            if self.set_aside <= 0 or self.spent + usd > self.max_usd:
                return False
            self._settled.clear()
            await self._settled.wait()
        self.set_aside += usd
        return True

    def settle(self, reserved: float, spent: float) -> None:
        """Book what a request cost, in place of what was set aside for it."""
        self.spent += spent
        if self.max_usd is not None:
            self.set_aside = max(0.0, self.set_aside - reserved) if self.set_aside - reserved > 1e-12 else 0.0
            self._settled.set()
