"""The one owner of concurrency: how many requests are in flight, and when the next may go.

Additive increase, multiplicative decrease: every answer raises the limit by 1/limit (so about 1 for each full window of
answers), an overloaded endpoint (429, 503) halves it, at most once for the requests of one window. A Retry-After holds
back everybody, not only the request that received it.
"""

import asyncio
import time
from collections import deque

__all__ = ["Limiter"]


class Limiter:
    """Hands out slots for requests in flight.

    Args:
        most: Upper bound of the limit, where it also starts.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(most)
        self.in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._window = 0  # counts decreases: only requests sent since the last one may cause the next
        self._not_before = 0.0  # monotonic seconds

    async def acquire(self) -> int:
        """Wait for a slot and for the end of a pause; returns the window that the request belongs to."""
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
        try:
            while (pause := self._not_before - time.monotonic()) > 0:
                await asyncio.sleep(pause)
        except asyncio.CancelledError:
            self.release()
            raise
        return self._window

    def release(self) -> None:
        """Give a slot back."""
        self.in_flight -= 1
        self._wake()

    def succeeded(self) -> None:
        """Note an answer: the limit grows by one for each full window of them."""
        self.limit = min(float(self.most), self.limit + 1.0 / self.limit)
        self._wake()

    def overloaded(self, window: int, retry_after_s: float = 0.0) -> None:
        """Note that the endpoint is overloaded: halve the limit once a window, and pause everybody.

        Args:
            window: What `acquire` returned for the request.
            retry_after_s: Seconds that the endpoint asked to wait.
        """
        if window == self._window:
            self.limit = max(1.0, self.limit / 2)
            self._window += 1
        self._not_before = max(self._not_before, time.monotonic() + retry_after_s)

    def _slots(self) -> int:
        return max(1, int(self.limit))

    def _wake(self) -> None:
        while self._waiting and self.in_flight < self._slots():
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)
