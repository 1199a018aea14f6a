"""The one owner of concurrency: how many requests are in flight at an endpoint, and when the next may go.

*How many*: additive increase, multiplicative decrease (Chiu and Jain 1989, DOI 10.1016/0169-7552(89)90019-6). Every
answer raises the limit by 1/limit, so by about 1 for each full window of answers; an overloaded endpoint (429, 503)
halves it, at most once for the requests of one window. As in TCP's slow start, below half of the limit that last worked
it rises by 1 with every answer: a storm of refusals costs some round trips, not hundreds.

*How fast*: buckets of requests and tokens a minute, from the user's settings or from the endpoint's own `x-ratelimit-*`
headers, so that a known limit is kept instead of being run into. A Retry-After holds back everybody, not only the
request that received it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

__all__ = ["Bucket", "Limiter", "Ticket", "shared_limiter"]

MINUTE_S = 60.0
FIRST_IN_FLIGHT = 16  # until the first answer tells whether the endpoint names its limits
DOUBT_WINDOW = 100  # answers after which older failures count half
FEWEST_DOUBTS = 3  # failures of unknown cause before they mean that the endpoint is overloaded
DOUBTFUL_SHARE = 0.25  # and their share
BURST_S = 1.0  # how much unused rate, in seconds of it, a bucket of the user's own saves up


@dataclass
class Bucket:
    """A token bucket: refills evenly, never holds more than its burst.

    Attributes:
        per_minute: What it refills with in a minute.
        level: What it holds; below zero where more was taken than it held.
        burst: The most that it holds.
        at: When the level was true, in monotonic seconds.
    """

    per_minute: float
    level: float
    burst: float
    at: float

    @classmethod
    def of(cls, per_minute: float, now: float) -> "Bucket":
        """Make a bucket that is not waited for at the start."""
        burst = max(1.0, per_minute / MINUTE_S * BURST_S)
        return cls(per_minute, burst, burst, now)

    def wait_s(self, now: float) -> float:
        """Return the seconds until it holds one again."""
        self._refill(now)
        return max(0.0, (1.0 - self.level) / self._per_second)

    def take(self, amount: float) -> None:
        """Take something out; it may owe the rest, so that one large request is not held back for ever."""
        self.level -= amount

    def learn(self, limit: float, remaining: float, since: float, age_s: float, now: float) -> None:
        """Correct the level by what the endpoint says of its own bucket.

        Endpoints tell what was left when they let the request in, or when they answered it. Our own account is kept
        where both can be true, and else moved as far as it must be.

        Args:
            limit: What its bucket refills with in a minute, and the most that it holds.
            remaining: What it held.
            since: What was taken out here since that request was sent.
            age_s: How long ago that was.
            now: Monotonic seconds.
        """
        self._refill(now)
        self.per_minute, self.burst = limit, limit
        most = remaining + max(0.0, self._per_second * age_s - since)
        self.level = min(max(self.level, remaining - since), most)

    @property
    def _per_second(self) -> float:
        return max(self.per_minute, 1e-9) / MINUTE_S

    def _refill(self, now: float) -> None:
        self.level = min(self.burst, self.level + (now - self.at) * self._per_second)
        self.at = now


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a request that was let go knows of its start.

    Attributes:
        window: The window that it belongs to.
        taken: What had been taken out of each bucket by then, itself included.
        at: Monotonic seconds.
    """

    window: int
    taken: Mapping[str, float]
    at: float


class Limiter:
    """Hands out slots for requests in flight.

    Args:
        most: Upper bound of the limit, where it also starts.
        rpm: Requests a minute that the user allows; None leaves it to the endpoint.
        tpm: Tokens a minute, prompt and answer together; None likewise.
    """

    def __init__(self, most: int, rpm: float | None = None, tpm: float | None = None) -> None:
        self.most = most
        self.limit = float(most)
        self.in_flight = 0
        now = time.monotonic()
        self._own = {"requests": rpm, "tokens": tpm}
        self._buckets = {name: Bucket.of(rate, now) for name, rate in self._own.items() if rate}
        self._taken = dict.fromkeys(self._own, 0.0)  # out of each bucket, from the start
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._window = 0  # counts decreases: only requests sent since the last one may cause the next
        self._worked = False  # whether anything was answered since the last decrease
        self._threshold = 0.0  # below it the limit rises by 1 with every answer
        self._not_before = 0.0  # monotonic seconds
        self._gate = asyncio.Lock()  # one waits for the rates, the others for it
        self._heard = bool(rpm or tpm)  # whether anything is known of the endpoint's limits
        self._answers = self._doubts = 0  # of the last window or so

    async def acquire(self, tokens: float = 0.0) -> Ticket:
        """Wait for a slot, for the rates and for the end of a pause.

        Args:
            tokens: What the request is expected to take, prompt and answer together.

        Returns:
            What to hand back with what comes of the request.
        """
        if self.in_flight >= self._slots() or self._waiting:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self.release()  # the slot was already handed over
                elif turn in self._waiting:
                    self._waiting.remove(turn)
                raise
        else:
            self.in_flight += 1
        if self._gate.locked() or self._pause_s() > 0:
            try:
                async with self._gate:
                    while (pause := self._pause_s()) > 0:
                        await asyncio.sleep(pause)
                    self._take(tokens)
            except asyncio.CancelledError:
                self.release()
                raise
        else:
            self._take(tokens)
        return Ticket(self._window, dict(self._taken), time.monotonic())

    def release(self) -> None:
        """Give a slot back."""
        self.in_flight -= 1
        self._wake()

    def succeeded(self) -> None:
        """Note an answer: the limit grows by one for each full window of them, or for each below the threshold."""
        self._worked = self._heard = True
        self._answers += 1
        if self._answers > DOUBT_WINDOW:
            self._answers, self._doubts = self._answers // 2, self._doubts // 2
        step = 1.0 if self.limit < self._threshold else 1.0 / self.limit
        self.limit = min(float(self.most), self.limit + step)
        self._wake()

    def overloaded(self, ticket: Ticket, retry_after_s: float = 0.0, *, sure: bool = True) -> None:
        """Note that the endpoint is overloaded: halve the limit once a window, and pause everybody.

        A refusal because of a rate that is known, and used up, only pauses.

        Args:
            ticket: What `acquire` returned for the request.
            retry_after_s: Seconds that the endpoint asked to wait.
            sure: Whether the endpoint said that it was too much. A lone 503 may be that request's own bad luck: only
                where many fail so, it counts.
        """
        self._doubts += not sure
        doubtful = self._doubts < FEWEST_DOUBTS or self._doubts < DOUBTFUL_SHARE * (self._answers + self._doubts)
        # Where the endpoint's own account says that its rate is used up, fewer at once would not help.
        spent = sure and any(bucket.wait_s(time.monotonic()) > 0 for bucket in self._buckets.values())
        if ticket.window == self._window and not spent and (sure or retry_after_s or not doubtful):
            self._answers = self._doubts = 0
            if self._worked or not self._threshold:
                self._threshold = self.limit / 2  # what failed before anything worked again says nothing new
            self._worked = False
            self.limit = max(1.0, self.limit / 2)
            self._window += 1
        self._not_before = max(self._not_before, time.monotonic() + retry_after_s)

    def learn(self, headers: Mapping[str, str], ticket: Ticket) -> None:
        """Note the endpoint's own limits from an answer's `x-ratelimit-*` headers, as OpenAI and Azure send them."""
        now = time.monotonic()
        for name, own in self._own.items():
            limit, remaining = (_number(headers.get(f"x-ratelimit-{what}-{name}")) for what in ("limit", "remaining"))
            if not limit or remaining is None or (own is not None and own <= limit):
                continue  # nothing said, or the user allows less than the endpoint
            if name not in self._buckets:
                self._buckets[name] = Bucket.of(limit, now)
            since = self._taken[name] - ticket.taken[name]
            self._buckets[name].learn(limit, remaining, since, now - ticket.at, now)

    def _pause_s(self) -> float:
        now = time.monotonic()
        return max([self._not_before - now, *(bucket.wait_s(now) for bucket in self._buckets.values())])

    def _slots(self) -> int:
        most = self.limit if self._heard else min(self.limit, FIRST_IN_FLIGHT)
        return max(1, int(most))

    def _take(self, tokens: float) -> None:
        for name, amount in (("requests", 1.0), ("tokens", tokens)):
            self._taken[name] += amount
            if bucket := self._buckets.get(name):
                bucket.take(amount)

    def _wake(self) -> None:
        while self._waiting and self.in_flight < self._slots():
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)


def shared_limiter(endpoint: str, model: str, most: int, rpm: float | None, tpm: float | None) -> Limiter:
    """Return the limiter of an endpoint's model: whoever asks there, in this process, shares it.

    Args:
        endpoint: The endpoint's address.
        model: The model; endpoints count their limits by model.
        most: Most requests in flight.
        rpm: Requests a minute that the user allows.
        tpm: Tokens a minute that the user allows.
    """
    of_loop = _LIMITERS.setdefault(asyncio.get_running_loop(), {})
    return of_loop.setdefault((endpoint, model, most, rpm, tpm), Limiter(most, rpm, tpm))


_LIMITERS: WeakKeyDictionary[
    asyncio.AbstractEventLoop, dict[tuple[str, str, int, float | None, float | None], Limiter]
] = WeakKeyDictionary()


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value else None
    except ValueError:
        return None
    return number if number is not None and number >= 0 else None
