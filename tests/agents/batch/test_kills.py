"""A pass that is killed with SIGKILL at each step, and made again: nothing is paid twice, and nothing is lost."""

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from teachback.agents.stand_in.batches import BatchCourse

Ask = Callable[[str], list[tuple[Any, ...]]]
pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("one_pass.py")


async def one_pass(store: Path, server: Any) -> int:
    """Make one pass in a process of its own, which the server may kill; return how it ended."""
    running = await asyncio.create_subprocess_exec(sys.executable, str(SCRIPT), str(store), server.url)
    server.pid = running.pid
    try:
        return await running.wait()
    finally:
        server.pid = 0


@pytest.mark.parametrize(
    "step",
    [
        ("POST", "/v1/files", "before"),  # not uploaded
        ("POST", "/v1/batches", "before"),  # uploaded, not created: looked for, not found, handed in again
        ("POST", "/v1/batches", "after"),  # created, its id never arrived: found by its mark
    ],
)
def test_killed_while_handing_in(store: Path, ask: Ask, tools: Any, step: tuple[str, str, str]) -> None:
    async def scenario() -> Any:
        async with tools.serving() as server:
            server.killed_at = step
            assert await one_pass(store, server) == -signal.SIGKILL
            requests = tools.make_requests(tools.settings_for(server.url))
            async with tools.desk_at(store, server.url) as desk:
                await tools.collect_all(desk)
                answered = {name for (name,) in ask("SELECT llm_call_id FROM llm_calls WHERE error IS NULL")}
                left = {name: request for name, request in requests.items() if name not in answered}
                await desk.submit(left)
                await tools.collect_all(desk)
            return server

    server = asyncio.run(scenario())
    assert server.batches == 1
    assert len(server.asked) == 12
    assert set(server.asked.values()) == {1}  # nothing paid twice
    calls = ask("SELECT count(*), count(DISTINCT llm_call_id) FROM llm_calls WHERE error IS NULL")
    assert calls == [(12, 12)]
    assert ask("SELECT count(*) FROM batches") == [(1 if step[2] == "after" else 2,)]
    lost = ask("SELECT count(*) FROM batch_events WHERE event = 'lost'")
    assert lost == [(0 if step[2] == "after" else 1,)]


def test_killed_while_fetching(store: Path, ask: Ask, tools: Any) -> None:
    async def scenario() -> Any:
        async with tools.serving(BatchCourse(error_share=0.4)) as server:
            async with tools.desk_at(store, server.url) as desk:
                await desk.submit(tools.make_requests(tools.settings_for(server.url)))
            async with openai.AsyncOpenAI(base_url=server.url, api_key="none") as sdk:
                while (seen := (await sdk.batches.list()).data[0]).status != "completed":
                    await asyncio.sleep(0.01)
            # The answers are stored two by two; the file of errors is asked for once they are.
            server.killed_at = ("GET", f"{seen.error_file_id}/content", "before")
            assert await one_pass(store, server) == -signal.SIGKILL
            first = ask("SELECT count(*), count(error) FROM llm_calls")
            events = ask("SELECT event FROM batch_events")
            async with tools.desk_at(store, server.url) as desk:
                done = await tools.collect_all(desk)
            return seen.request_counts, first, events, done

    counts, ((stored, failed),), events, done = asyncio.run(scenario())
    assert 0 < stored <= counts.completed
    assert failed == 0
    assert events == [("submitted",)]  # the end is told only after the answers are stored
    assert (done.bill.answered, done.bill.refused) == (counts.completed, counts.failed)
    assert ask("SELECT count(*), count(DISTINCT llm_call_id) FROM llm_calls") == [(12, 12)]
