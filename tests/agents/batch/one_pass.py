"""One pass over the batches of a server, as a process of its own: whoever starts it may kill it."""

import asyncio
import sys

import duckdb

from teachback.agents.batch import BatchDesk, hand_in
from teachback.agents.calls import ChatRequest, JsonForm
from teachback.agents.settings import LLMSettings
from teachback.store.writer import Writer

REPORTS = 12
FORM = JsonForm("form", {"type": "object", "properties": {}, "required": [], "additionalProperties": False})


async def make_pass(store: str, url: str) -> None:
    """Fetch what is there and hand in what has no answer yet."""
    settings = LLMSettings(model="m", base_url=url, api_key="key-1", max_attempts=1, timeout_s=5.0)
    with Writer(store) as writer, duckdb.connect(store) as connection:

        async def label() -> tuple[None, list[dict[str, ChatRequest]]]:
            query = "SELECT llm_call_id FROM llm_calls WHERE error IS NULL"
            answered = {call_id for (call_id,) in connection.cursor().execute(query).fetchall()}
            questions = [
                ChatRequest(({"role": "user", "content": f"r{n}"},), FORM, "llm_labeler", f"r{n}")
                for n in range(REPORTS)
            ]
            hashed = {question.hash_for(settings.model, settings.identity): question for question in questions}
            return None, [{name: question for name, question in hashed.items() if name not in answered}]

        async with BatchDesk(settings, writer, connection, lost_after_s=0.0, write_every=2) as desk:
            await hand_in([desk], label)


if __name__ == "__main__":
    asyncio.run(make_pass(*sys.argv[1:]))
