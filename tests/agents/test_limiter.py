import asyncio
import time

from teachback.agents.limiter import Limiter


def test_a_storm_halves_the_limit_once_and_answers_raise_it_by_one_a_window():
    async def scenario():
        limiter = Limiter(8)
        windows = [await limiter.acquire() for _ in range(8)]
        for window in windows:  # all eight were sent before anybody knew
            limiter.overloaded(window)
        after_storm = limiter.limit
        late = limiter._window
        limiter.overloaded(late)
        after_second = limiter.limit
        for _ in range(8):
            limiter.release()
        limiter.succeeded()
        limiter.succeeded()
        return after_storm, after_second, limiter.limit

    # 8 / 2 = 4, once; a second storm in the next window: 2; two answers: 2 + 1/2 = 2.5, 2.5 + 1/2.5 = 2.9
    assert asyncio.run(scenario()) == (4.0, 2.0, 2.9)


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
