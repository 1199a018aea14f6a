import asyncio
import time
from dataclasses import replace

import pytest

from teachback.agents.limiter import Bucket, Limiter, Ticket, shared_limiter

NOTHING = {"requests": 0.0, "tokens": 0.0}
LATE = Ticket(0, NOTHING, 0.0)


def test_a_storm_halves_the_limit_once_and_answers_raise_it_by_one_a_window():
    async def scenario():
        limiter = Limiter(8)
        tickets = [await limiter.acquire() for _ in range(8)]
        for ticket in tickets:  # all eight were sent before anybody knew
            limiter.overloaded(ticket)
        after_storm = limiter.limit
        limiter.release()
        limiter.overloaded(replace(tickets[0], window=1))
        after_second = limiter.limit
        for _ in range(7):
            limiter.release()
        for _ in range(3):
            limiter.succeeded()
        return after_storm, after_second, limiter.limit

    # 8 / 2 = 4, once; a second storm in the next window: 2. Nothing worked between them, so 4 is still where to go
    # fast to: two answers raise 2 to 4, the third adds 1/4.
    assert asyncio.run(scenario()) == (4.0, 2.0, 4.25)


def test_the_limit_stays_between_one_and_the_most():
    async def scenario():
        limiter = Limiter(2)
        for _ in range(5):
            limiter.overloaded(await limiter.acquire())
            limiter.release()
        low = limiter.limit
        for _ in range(20):
            limiter.succeeded()
        return low, limiter.limit

    assert asyncio.run(scenario()) == (1.0, 2.0)


def test_a_waiter_that_gives_up_costs_no_slot():
    async def scenario():
        limiter = Limiter(1)
        await limiter.acquire()
        waiters = [asyncio.create_task(limiter.acquire()) for _ in range(3)]
        await asyncio.sleep(0)
        waiters[0].cancel()
        await asyncio.sleep(0)
        limiter.release()
        waiters[1].cancel()  # it was just given the slot
        await asyncio.gather(*waiters[:2], return_exceptions=True)
        await asyncio.wait_for(waiters[2], 1)
        return limiter.in_flight

    assert asyncio.run(scenario()) == 1


def test_a_pause_holds_everybody_back():
    async def scenario():
        limiter = Limiter(4)
        limiter.overloaded(await limiter.acquire(), retry_after_s=0.2)
        started = time.monotonic()
        await limiter.acquire()
        return time.monotonic() - started

    assert asyncio.run(scenario()) >= 0.19


def test_a_known_rate_is_kept():
    async def scenario():
        limiter = Limiter(100, rpm=1200)  # 20 a second, of which a second's worth may go at once
        started = time.monotonic()
        for _ in range(30):
            await limiter.acquire()
            limiter.release()
        return time.monotonic() - started

    # 20 from the full bucket, 10 more at 20 a second: 10 / 20 = 0.5 s.
    assert 0.45 <= asyncio.run(scenario()) < 1.5


def test_tokens_are_waited_for_as_requests_are():
    async def scenario():
        limiter = Limiter(100, tpm=60_000)  # 1,000 a second
        started = time.monotonic()
        for _ in range(3):
            await limiter.acquire(700)
            limiter.release()
        return time.monotonic() - started

    # 1,000 - 700 = 300 left, then 300 - 700 = -400: the third waits until one is there again, 401 / 1,000 s.
    assert 0.38 <= asyncio.run(scenario()) < 1.0


def test_the_endpoints_own_headers_set_the_rate_unless_the_user_allows_less():
    headers = {"x-ratelimit-limit-requests": "600", "x-ratelimit-remaining-requests": "0"}

    async def waited(limiter: Limiter) -> float:
        limiter.learn(headers, Ticket(0, NOTHING, time.monotonic()))
        started = time.monotonic()
        await limiter.acquire()
        await limiter.acquire()
        return time.monotonic() - started

    # The bucket is empty, and fills with 600 / 60 = 10 a second: the second goes after 0.2 s.
    assert 0.19 <= asyncio.run(waited(Limiter(4))) < 0.8
    # The user's own 60 a minute is less than the endpoint's 600, so its bucket of one request counts.
    slow = Limiter(4, rpm=60)
    assert 0.9 <= asyncio.run(waited(slow)) < 2.0


@pytest.mark.parametrize(
    ("level", "remaining", "since", "age_s", "corrected"),
    [
        # 600 a minute are 10 a second. Where 3 were left, and 2 were taken since, between 3 - 2 and 3 are left now:
        # within that our own account counts, beyond it the nearest that can be true.
        (2.5, 3, 2, 0.2, 2.5),
        (30.0, 3, 2, 0.2, 3.0),
        (-5.0, 3, 2, 0.2, 1.0),
        # In a second 10 flowed in, of which 2 were taken: up to 3 + 8.
        (30.0, 3, 2, 1.0, 11.0),
    ],
)
def test_our_own_account_is_kept_as_far_as_the_endpoints_lets_it(level, remaining, since, age_s, corrected):
    bucket = Bucket(600, level, 600, at=100.0)
    bucket.learn(600, remaining, since, age_s, now=100.0)
    assert bucket.level == pytest.approx(corrected)


def test_headers_that_say_nothing_change_nothing():
    async def scenario():
        limiter = Limiter(4)
        limiter.learn({"x-ratelimit-limit-requests": "soon", "x-ratelimit-remaining-requests": "-3"}, LATE)
        started = time.monotonic()
        await limiter.acquire()
        return time.monotonic() - started

    assert asyncio.run(scenario()) < 0.1


def test_one_limiter_serves_all_who_ask_one_model_at_one_endpoint():
    async def scenario():
        first = shared_limiter("http://127.0.0.1:1/v1", "m", 4, None, None)
        return first is shared_limiter("http://127.0.0.1:1/v1", "m", 4, None, None), first is shared_limiter(
            "http://127.0.0.1:1/v1", "other", 4, None, None
        )

    assert asyncio.run(scenario()) == (True, False)


def test_a_rate_that_is_used_up_is_no_reason_for_fewer_at_once():
    told = {"x-ratelimit-limit-requests": "600", "x-ratelimit-remaining-requests": "0"}

    async def scenario(headers):
        limiter = Limiter(8)
        ticket = await limiter.acquire()
        limiter.learn(headers, ticket)
        limiter.overloaded(ticket)
        return limiter.limit

    assert asyncio.run(scenario(told)) == 8
    assert asyncio.run(scenario(told | {"x-ratelimit-remaining-requests": "5"})) == 4
    assert asyncio.run(scenario({})) == 4
