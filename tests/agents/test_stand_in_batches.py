"""The stand-in's Files and Batches endpoints, as the OpenAI SDK meets them."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import openai
import pytest

from teachback.agents.forms import label_schema
from teachback.agents.stand_in import BatchCourse, serve
from teachback.errors import SettingError

ENDED = {"completed", "failed", "expired", "cancelled"}
FORM = {"type": "json_schema", "json_schema": {"name": "f", "strict": True, "schema": label_schema()}}


def line(custom_id: str, report: str = "The heart is enlarged.", **changes: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"<report>\n{report}\n</report>"}]
    body = {"model": "stand-in", "messages": messages, "response_format": FORM}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body} | changes


def jsonl(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


def with_stand_in(course: BatchCourse, scenario: Callable[[openai.AsyncOpenAI], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        running = await serve(batches=course)
        try:
            async with openai.AsyncOpenAI(base_url=running.url, api_key="none", max_retries=0) as sdk:
                return await scenario(sdk)
        finally:
            await running.close()

    return asyncio.run(run())


async def hand_in(sdk: openai.AsyncOpenAI, content: bytes, **metadata: str) -> Any:
    file = await sdk.files.create(file=("in.jsonl", content), purpose="batch")
    return await sdk.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata=metadata
    )


async def ended(sdk: openai.AsyncOpenAI, batch: Any) -> Any:
    while batch.status not in ENDED:
        await asyncio.sleep(0.01)
        batch = await sdk.batches.retrieve(batch.id)
    return batch


async def lines_of(sdk: openai.AsyncOpenAI, file_id: str | None) -> list[dict[str, Any]]:
    if file_id is None:
        return []
    content = await sdk.files.content(file_id)
    return [json.loads(one) for one in content.text.splitlines()]


def test_batch_is_answered_like_single_requests_in_another_order() -> None:
    asked = [line(f"c{number}", f"The heart is enlarged. Case {number}.") for number in range(20)]

    async def scenario(sdk: openai.AsyncOpenAI) -> Any:
        batch = await ended(sdk, await hand_in(sdk, jsonl(*asked), job="x"))
        single = await sdk.chat.completions.create(**asked[3]["body"])
        shown = await sdk.files.retrieve(batch.input_file_id)
        return batch, await lines_of(sdk, batch.output_file_id), single, shown

    batch, answers, single, shown = with_stand_in(BatchCourse(), scenario)
    ids = [answer["custom_id"] for answer in answers]
    assert sorted(ids) == sorted(one["custom_id"] for one in asked)
    assert ids != [one["custom_id"] for one in asked]
    by_id = {answer["custom_id"]: answer for answer in answers}
    assert set(answers[0]) == {"id", "custom_id", "response", "error"}
    assert set(answers[0]["response"]) == {"status_code", "request_id", "body"}
    said = by_id["c3"]["response"]["body"]["choices"][0]["message"]["content"]
    assert said == single.choices[0].message.content
    assert (batch.status, batch.error_file_id, batch.errors) == ("completed", None, None)
    assert batch.request_counts.model_dump() == {"completed": 20, "failed": 0, "total": 20}
    usage = [answer["response"]["body"]["usage"] for answer in answers]
    assert batch.usage.total_tokens == sum(one["total_tokens"] for one in usage)
    assert batch.metadata == {"job": "x"}
    assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at
    assert (shown.purpose, shown.bytes, shown.filename) == ("batch", len(jsonl(*asked)), "in.jsonl")


def test_failed_requests_stand_in_the_error_file_and_others_fail_in_the_next_batch() -> None:
    asked = [line(f"c{number}") for number in range(40)] + [line("other-form", body={"model": "stand-in"})]

    async def scenario(sdk: openai.AsyncOpenAI) -> list[Any]:
        batches = [await ended(sdk, await hand_in(sdk, jsonl(*asked))) for _ in range(2)]
        return [(batch, await lines_of(sdk, batch.error_file_id)) for batch in batches]

    runs = with_stand_in(BatchCourse(error_share=0.3), scenario)
    for batch, errors in runs:
        assert batch.status == "completed"
        assert len(errors) == batch.request_counts.failed == 41 - batch.request_counts.completed
        statuses = {error["custom_id"]: error["response"]["status_code"] for error in errors}
        assert {statuses.pop("other-form")} <= {400, 500}
        assert set(statuses.values()) == {500}
        assert all(error["error"] is None and error["response"]["body"]["error"]["message"] for error in errors)
    first, second = ({error["custom_id"] for error in errors} for _, errors in runs)
    assert first != second


def test_expired_batch_keeps_what_was_answered() -> None:
    async def scenario(sdk: openai.AsyncOpenAI) -> Any:
        batch = await ended(sdk, await hand_in(sdk, jsonl(*(line(f"c{number}") for number in range(10)))))
        return batch, await lines_of(sdk, batch.output_file_id), await lines_of(sdk, batch.error_file_id)

    batch, answers, errors = with_stand_in(BatchCourse(unanswered_share=0.4), scenario)
    assert batch.status == "expired"
    assert batch.expired_at
    assert (len(answers), len(errors)) == (6, 4)
    assert {error["error"]["code"] for error in errors} == {"batch_expired"}
    assert all(error["response"] is None for error in errors)


def test_cancelled_batch_ends_cancelled_and_cannot_be_cancelled_again() -> None:
    async def scenario(sdk: openai.AsyncOpenAI) -> Any:
        batch = await hand_in(sdk, jsonl(*(line(f"c{number}") for number in range(4))))
        assert (await sdk.batches.cancel(batch.id)).status == "cancelling"
        batch = await ended(sdk, batch)
        with pytest.raises(openai.ConflictError):
            await sdk.batches.cancel(batch.id)
        return batch, await lines_of(sdk, batch.output_file_id), await lines_of(sdk, batch.error_file_id)

    batch, answers, errors = with_stand_in(BatchCourse(done_after_s=5), scenario)
    assert batch.status == "cancelled"
    assert len(answers) + len(errors) == 4
    assert {error["error"]["code"] for error in errors} == {"batch_cancelled"}


@pytest.mark.parametrize(
    ("content", "code", "at"),
    [
        (b"", "empty_file", None),
        (jsonl(line("a")) + b"{\n", "invalid_json_line", 2),
        (jsonl(line("a"), line("a")), "duplicate_custom_id", 2),
        (jsonl(line("a", url="/v1/embeddings")), "url_mismatch", 1),
        (jsonl(line("a"), line("b", body={"model": "another"})), "model_mismatch", 2),
        (jsonl(line("")), "missing_required_parameter", 1),
    ],
)
def test_invalid_file_fails_the_batch_by_line(content: bytes, code: str, at: int | None) -> None:
    async def scenario(sdk: openai.AsyncOpenAI) -> Any:
        return await ended(sdk, await hand_in(sdk, content))

    batch = with_stand_in(BatchCourse(), scenario)
    assert (batch.status, batch.output_file_id) == ("failed", None)
    assert (batch.errors.data[0].code, batch.errors.data[0].line) == (code, at)


def test_listing_goes_page_by_page_newest_first() -> None:
    async def scenario(sdk: openai.AsyncOpenAI) -> Any:
        handed = [await hand_in(sdk, jsonl(line("a")), number=str(number)) for number in range(5)]
        first = await sdk.batches.list(limit=2)
        every = [batch.metadata["number"] async for batch in sdk.batches.list(limit=2)]
        return handed, first, every

    _, first, every = with_stand_in(BatchCourse(), scenario)
    assert len(first.data) == 2
    assert first.has_more
    assert every == ["4", "3", "2", "1", "0"]


def test_requests_that_the_api_refuses_are_refused() -> None:
    async def scenario(sdk: openai.AsyncOpenAI) -> None:
        with pytest.raises(openai.NotFoundError):
            await sdk.batches.retrieve("batch_unknown")
        with pytest.raises(openai.NotFoundError):
            await sdk.files.content("file_unknown")
        with pytest.raises(openai.BadRequestError, match="purpose"):
            await sdk.files.create(file=("a", b"x"), purpose="assistants")
        with pytest.raises(openai.BadRequestError, match="no file"):
            await sdk.batches.create(
                input_file_id="file_unknown", endpoint="/v1/chat/completions", completion_window="24h"
            )

    with_stand_in(BatchCourse(), scenario)


def test_an_impossible_share_is_refused() -> None:
    with pytest.raises(SettingError, match="error_share"):
        BatchCourse(error_share=1.5)
