"""An endpoint's rate limits: buckets of requests and tokens, and the headers and refusals that tell of them."""

import math
from dataclasses import dataclass

__all__ = ["Buckets"]

MINUTE_S = 60.0


@dataclass
class _Bucket:
    per_second: float
    most: float
    level: float
    at: float

    def refill(self, now: float) -> None:
        self.level = min(self.most, self.level + (now - self.at) * self.per_second)
        self.at = now

    def wait_s(self, amount: float) -> float:
        """Return the seconds until it holds so much; a request larger than the bucket needs a full one."""
        return max(0.0, (min(amount, self.most) - self.level) / self.per_second)


class Buckets:
    """Requests and tokens a minute, as OpenAI limits them.

    Args:
        rpm: Requests a minute.
        tpm: Tokens a minute.
        burst_s: How much unused rate, in seconds of it, each bucket saves up.
        now: Seconds of a clock that never goes back.
    """

    def __init__(self, rpm: float, tpm: float, burst_s: float, now: float) -> None:
        self.limits = {"requests": rpm, "tokens": tpm}
        self._buckets = {
            name: _Bucket(rate / MINUTE_S, rate / MINUTE_S * burst_s, rate / MINUTE_S * burst_s, now)
            for name, rate in self.limits.items()
        }

    def take(self, tokens: float, now: float) -> float:
        """Take one request of so many tokens out of the buckets.

        Returns:
            0.0 where it could be taken; else nothing was, and it can be in so many seconds.
        """
        amounts = {"requests": 1.0, "tokens": tokens}
        for bucket in self._buckets.values():
            bucket.refill(now)
        wait = max(self._buckets[name].wait_s(amount) for name, amount in amounts.items())
        if wait > 0:
            return wait
        for name, amount in amounts.items():
            self._buckets[name].level -= amount
        return 0.0

    def headers(self, now: float) -> dict[str, str]:
        """Return OpenAI's `x-ratelimit-*` headers."""
        told: dict[str, str] = {}
        for name, bucket in self._buckets.items():
            bucket.refill(now)
            told[f"x-ratelimit-limit-{name}"] = f"{self.limits[name]:.0f}"
            told[f"x-ratelimit-remaining-{name}"] = f"{max(0, math.floor(bucket.level))}"
            told[f"x-ratelimit-reset-{name}"] = f"{max(1, round(1000 * bucket.wait_s(bucket.most)))}ms"
        return told
