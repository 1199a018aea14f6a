"""Batches over real HTTP on loopback: handed in, fetched, matched, billed, and handed in again where they failed."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web

from teachback.agents.batch import check_batchable
from teachback.agents.calls import ChatRequest
from teachback.agents.stand_in.batches import BatchCourse
from teachback.errors import EgressError, TeacherError
from teachback.store.database import Store
from teachback.store.report import Report
from teachback.store.rows import report_row

Ask = Callable[[str], list[tuple[Any, ...]]]


def unanswered(requests: dict[str, ChatRequest], ask: Ask) -> dict[str, ChatRequest]:
    stored = {call_id for (call_id,) in ask("SELECT llm_call_id FROM llm_calls WHERE error IS NULL")}
    return {name: request for name, request in requests.items() if name not in stored}


def test_running_batch_is_reported_and_its_answers_are_each_stored_with_their_own_request(
    store: Path, ask: Ask, tools: Any
) -> None:
    async def scenario() -> Any:
        async with tools.serving(BatchCourse(done_after_s=0.6)) as server, tools.desk_at(store, server.url) as desk:
            requests = tools.make_requests(tools.settings_for(server.url))
            submitted = await desk.submit(requests)
            again = await desk.submit(requests)
            running = await desk.collect()
            done = await tools.collect_all(desk)
            return server, submitted, again, running, done, await desk.collect()

    server, submitted, again, running, done, later = asyncio.run(scenario())
    assert [batch.requests for batch in submitted] == [12]
    assert again == []  # all under way
    ((under_way),) = running.under_way
    assert (under_way.requests, under_way.endpoint_batch_id) == (12, submitted[0].endpoint_batch_id)
    assert under_way.status in ("validating", "in_progress")
    assert running.bill.answered == 0
    assert (done.bill.answered, done.bill.refused, done.ended) == (12, 0, {"completed": 1})
    assert (later.ended, later.under_way) == ({}, ())
    assert server.batches == 1
    calls = ask("SELECT llm_call_id, report_id, agent, attempts, error, response, batch_id, cost_usd FROM llm_calls")
    requests = tools.make_requests(tools.settings_for(server.url))
    assert {call[0] for call in calls} == set(requests)
    for llm_call_id, report_id, agent, attempts, error, response, batch_id, cost in calls:
        said = json.loads(response)["choices"][0]["message"]["content"]
        assert said == f"about {report_id}\u2028{{}}"  # a line end that is none in JSONL
        assert requests[llm_call_id].report_id == report_id
        assert (agent, attempts, error, batch_id, cost) == ("llm_labeler", 1, None, submitted[0].batch_id, 0.0)
    events = ask("SELECT event, endpoint_batch_id, answered, refused FROM batch_events ORDER BY created_at")
    name = submitted[0].endpoint_batch_id
    assert events == [("submitted", name, None, None), ("completed", name, 12, 0)]


def test_only_failures_are_handed_in_again_with_what_was_wrong_before(store: Path, ask: Ask, tools: Any) -> None:
    async def scenario() -> Any:
        async with tools.serving(BatchCourse(error_share=0.5)) as server, tools.desk_at(store, server.url) as desk:
            requests = tools.make_requests(tools.settings_for(server.url))
            rounds = []
            for _ in range(3):
                submitted = await desk.submit(unanswered(requests, ask))
                done = await tools.collect_all(desk)
                rounds.append((sum(batch.requests for batch in submitted), done.bill.answered, done.bill.refused))
            left = unanswered(requests, ask)
            return rounds, done, desk.exhausted(left), await desk.submit(left)

    rounds, done, exhausted, fourth = asyncio.run(scenario())
    asked, answered, refused = zip(*rounds, strict=True)
    assert asked[0] == 12
    assert 0 < refused[0] < 12
    assert asked[1:] == refused[:-1]  # each time exactly what had failed
    assert sum(answered) + refused[-1] == 12
    reason = "HTTP 500: The server had an error while executing this request."
    assert done.reasons == ({reason: refused[-1]} if refused[-1] else {})
    assert ask("SELECT max(n) FROM (SELECT count(*) AS n FROM llm_calls WHERE error IS NULL GROUP BY llm_call_id)") == [
        (1,)
    ]
    for attempts, retries in ask("SELECT attempts, retries FROM llm_calls"):
        assert retries == [reason] * (attempts - 1)
    # What failed three times is named, and not handed in a fourth time.
    assert set(exhausted.values()) <= {f"{reason} (handed in 3 times)"}
    last_failed = ask("SELECT llm_call_id FROM llm_calls WHERE attempts = 3 AND error IS NOT NULL")
    assert set(exhausted) == {call_id for (call_id,) in last_failed}
    assert fourth == []


def test_request_whose_answers_cannot_be_used_is_given_up_by_name(store: Path, tools: Any) -> None:
    async def scenario() -> Any:
        async with tools.serving() as server, tools.desk_at(store, server.url) as desk:
            requests = tools.make_requests(tools.settings_for(server.url), reports=2)
            counts = []
            for _ in range(4):  # whoever reads the answers asks again each time
                counts.append([batch.requests for batch in await desk.submit(requests)])
                await tools.collect_all(desk)
            return counts, desk.exhausted(requests)

    counts, exhausted = asyncio.run(scenario())
    assert counts == [[2], [2], [2], []]
    assert list(exhausted.values()) == ["its answer cannot be used (handed in 3 times)"] * 2


def test_expired_batch_keeps_what_came_back_and_the_rest_is_handed_in_again(store: Path, ask: Ask, tools: Any) -> None:
    async def scenario() -> Any:
        async with (
            tools.serving(BatchCourse(unanswered_share=0.25)) as server,
            tools.desk_at(store, server.url) as desk,
        ):
            requests = tools.make_requests(tools.settings_for(server.url))
            await desk.submit(requests)
            done = await tools.collect_all(desk)
            return done, await desk.submit(unanswered(requests, ask))

    done, submitted = asyncio.run(scenario())
    assert done.ended == {"expired": 1}
    assert (done.bill.answered, done.bill.refused) == (9, 3)  # a quarter of 12
    (reason,) = done.reasons
    assert reason.startswith("batch_expired")
    assert [batch.requests for batch in submitted] == [3]


def test_answers_cost_half(store: Path, ask: Ask, tools: Any, tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("as_of: 2026-01-01\nmodels:\n  m: {input: 2.0, cached: 1.0, output: 8.0}\n")

    async def scenario() -> Any:
        async with tools.serving() as server:
            # Named as a remote endpoint, for what is on this machine costs nothing; the SDK talks to the server.
            remote = tools.settings_for("https://llm.example.org/v1", prices=prices)
            sdk = openai.AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0)
            async with tools.desk_at(store, server.url, settings=remote, sdk=sdk) as desk:
                await desk.submit(tools.make_requests(remote))
                return await tools.collect_all(desk)

    done = asyncio.run(scenario())
    # 100 tokens sent, 40 of them cached, 10 returned: (60 x 2 + 40 x 1 + 10 x 8) / 1e6 = 0.00024, half is 0.00012
    assert [cost for (cost,) in ask("SELECT cost_usd FROM llm_calls")] == pytest.approx([0.00012] * 12)
    assert done.bill.cost_usd == pytest.approx(12 * 0.00012)
    assert (done.bill.prompt_tokens, done.bill.completion_tokens, done.bill.unpriced) == (1200, 120, 0)


def test_unknown_price_stays_unknown(store: Path, ask: Ask, tools: Any) -> None:
    async def scenario() -> Any:
        async with tools.serving() as server:
            remote = tools.settings_for("https://llm.example.org/v1")
            sdk = openai.AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0)
            async with tools.desk_at(store, server.url, settings=remote, sdk=sdk) as desk:
                await desk.submit(tools.make_requests(remote))
                return await tools.collect_all(desk)

    done = asyncio.run(scenario())
    assert (done.bill.cost_usd, done.bill.unpriced) == (0.0, 12)
    assert ask("SELECT DISTINCT cost_usd FROM llm_calls") == [(None,)]


def test_many_requests_become_several_batches(store: Path, ask: Ask, tools: Any) -> None:
    async def scenario() -> Any:
        async with tools.serving() as server, tools.desk_at(store, server.url, most_requests=5, write_every=2) as desk:
            requests = tools.make_requests(tools.settings_for(server.url))
            submitted = await desk.submit(requests)
            return submitted, await tools.collect_all(desk)

    submitted, done = asyncio.run(scenario())
    assert [batch.requests for batch in submitted] == [5, 5, 2]
    assert (done.bill.answered, len(done.under_way)) == (12, 0)
    assert len(ask("SELECT DISTINCT llm_call_id FROM llm_calls")) == 12
    assert ask("SELECT requests FROM batches ORDER BY requests") == [(2,), (5,), (5,)]


def test_parameter_that_the_model_refuses_is_left_out_the_next_time(store: Path, ask: Ask, tools: Any) -> None:
    async def scenario() -> Any:
        async with tools.serving() as server, tools.desk_at(store, server.url) as desk:
            server.refused = frozenset({"temperature"})
            requests = tools.make_requests(tools.settings_for(server.url), reports=3)
            await desk.submit(requests)
            first = await tools.collect_all(desk)
            await desk.submit(requests)
            return server, first, await tools.collect_all(desk)

    server, first, second = asyncio.run(scenario())
    assert (first.bill.answered, second.bill.answered) == (0, 3)
    assert ["temperature" in body for body in server.bodies] == [True] * 3 + [False] * 3


def test_refused_input_file_is_told_in_the_endpoints_words_and_asks_nothing(store: Path, ask: Ask, tools: Any) -> None:
    async def scenario() -> Any:
        course = BatchCourse(fails_validation=True)
        async with tools.serving(course) as server, tools.desk_at(store, server.url) as desk:
            requests = tools.make_requests(tools.settings_for(server.url))
            await desk.submit(requests)
            done = await tools.collect_all(desk)
            return done, desk.exhausted(requests), desk.ledger.tries(requests)

    done, exhausted, tries = asyncio.run(scenario())
    (error,) = done.errors
    assert "invalid_request: The stand-in was told to refuse every file." in error.message
    assert "nothing was answered or billed" in error.remedy
    assert (done.ended, exhausted, tries) == ({"failed": 1}, {}, {})
    assert ask("SELECT event FROM batch_events ORDER BY created_at") == [("submitted",), ("failed",)]


@pytest.mark.parametrize(
    ("status", "body", "message", "remedy"),
    [
        (404, {}, "has no Batch API", "leave out --batch"),
        (401, {"error": {"message": "bad key sk-123456"}}, "bad key sk-\\*\\*\\*", "OPENAI_API_KEY"),
        (429, {"error": {"message": "no credit", "code": "insufficient_quota"}}, "no credit", "no credit left"),
    ],
)
def test_errors_that_a_user_meets_name_the_remedy_and_leave_nothing_under_way(
    store: Path, ask: Ask, tools: Any, status: int, body: dict[str, Any], message: str, remedy: str
) -> None:
    async def scenario() -> None:
        async with tools.serving() as server, tools.desk_at(store, server.url) as desk:
            server.refusals["POST", "/files"] = lambda: web.json_response(body, status=status)
            requests = tools.make_requests(tools.settings_for(server.url))
            with pytest.raises(TeacherError, match=message) as caught:
                await desk.submit(requests)
            assert remedy in caught.value.remedy
            assert desk.ledger.under_way() == set()
            server.refusals.clear()
            assert len(await desk.submit(requests)) == 1

    asyncio.run(scenario())
    assert ask("SELECT event FROM batch_events ORDER BY created_at") == [("lost",), ("submitted",)]


def test_no_network_is_said(store: Path, tools: Any) -> None:
    async def scenario() -> None:
        async with tools.desk_at(store, "http://127.0.0.1:9/v1") as desk:
            with pytest.raises(TeacherError, match="cannot be reached") as caught:
                await desk.submit(tools.make_requests(tools.settings_for("http://127.0.0.1:9/v1")))
            assert "start the server" in caught.value.remedy

    asyncio.run(scenario())


def test_batch_that_was_created_without_an_answer_is_found_again(store: Path, ask: Ask, tools: Any) -> None:
    async def scenario() -> Any:
        async with tools.serving() as server, tools.desk_at(store, server.url) as desk:
            requests = tools.make_requests(tools.settings_for(server.url))
            server.unsaid.add(("POST", "/batches"))
            with pytest.raises(TeacherError, match="HTTP 502"):
                await desk.submit(requests)
            server.unsaid.clear()
            assert await desk.submit(requests) == []  # it may be there: nothing is handed in
            return server, await tools.collect_all(desk)

    server, done = asyncio.run(scenario())
    assert (len(server.asked), done.bill.answered) == (12, 12)
    assert set(server.asked.values()) == {1}


def test_batch_that_is_not_listed_yet_is_waited_for_before_it_counts_as_lost(store: Path, tools: Any) -> None:
    async def scenario() -> Any:
        async with tools.serving() as server:
            requests = tools.make_requests(tools.settings_for(server.url))
            async with tools.desk_at(store, server.url, lost_after_s=60.0) as desk:
                server.refusals["POST", "/batches"] = lambda: web.json_response({}, status=502)
                with pytest.raises(TeacherError):
                    await desk.submit(requests)
                server.refusals.clear()
                unsure = await desk.collect()
                handed = await desk.submit(requests)
            async with tools.desk_at(store, server.url, lost_after_s=0.0) as desk:
                lost = await desk.collect()
                return unsure, handed, lost, await desk.submit(requests)

    unsure, handed, lost, second = asyncio.run(scenario())
    assert [batch.status for batch in unsure.under_way] == ["unconfirmed"]
    assert handed == []
    assert lost.ended == {"lost": 1}
    assert [batch.requests for batch in second] == [12]


def test_batch_that_a_remote_endpoint_does_not_know_is_not_given_up_the_same_day(
    store: Path, ask: Ask, tools: Any
) -> None:
    async def scenario() -> Any:
        async with tools.serving() as server:
            remote = tools.settings_for("https://llm.example.org/v1")
            sdk = openai.AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0)
            async with tools.desk_at(store, server.url, settings=remote, sdk=sdk) as desk:
                (submitted,) = await desk.submit(tools.make_requests(remote))
                name = submitted.endpoint_batch_id
                server.refusals["GET", name] = lambda: web.json_response({"error": {"message": "no"}}, status=404)
                with pytest.raises(TeacherError, match="does not know batch"):
                    await desk.collect()
                return desk.ledger.under_way()

    assert len(asyncio.run(scenario())) == 12


def test_batch_of_a_restarted_server_on_this_machine_is_lost_and_handed_in_again(store: Path, tools: Any) -> None:
    async def scenario() -> Any:
        async with tools.serving() as first, tools.desk_at(store, first.url) as desk:
            await desk.submit(tools.make_requests(tools.settings_for(first.url)))
        async with tools.serving() as second, tools.desk_at(store, second.url) as desk:
            requests = tools.make_requests(tools.settings_for(second.url))
            lost = await desk.collect()
            await desk.submit(requests)
            return lost, await tools.collect_all(desk)

    lost, done = asyncio.run(scenario())
    assert lost.ended == {"lost": 1}
    assert done.bill.answered == 12


def test_reports_of_a_restricted_corpus_are_refused_and_nothing_is_sent(store: Path, ask: Ask, tools: Any) -> None:
    with Store(store) as opened:
        opened.write({"reports": [report_row(Report("r3x", "mimic", {"findings": "Effusion."}))]})

    async def scenario() -> Any:
        async with tools.serving() as server, tools.desk_at(store, server.url) as desk:
            (name, request), *_ = tools.make_requests(tools.settings_for(server.url)).items()
            restricted, unknown = replace(request, report_id="r3x"), replace(request, report_id="nowhere")
            with pytest.raises(EgressError, match="mimic are local-only"):
                await desk.submit({name: restricted})
            with pytest.raises(EgressError, match="not in the store"):
                await desk.submit({name: unknown})
            return server

    server = asyncio.run(scenario())
    assert (server.uploads, server.batches) == (0, 0)
    assert ask("SELECT count(*) FROM batches") == [(0,)]


def test_every_selected_corpus_must_be_open() -> None:
    check_batchable({"a": "any", "b": "any"})
    for policy in ("zero-retention", "local-only"):
        with pytest.raises(EgressError, match=f"corpus b are {policy}") as caught:
            check_batchable({"a": "any", "b": policy})
        assert "leave out --batch" in caught.value.remedy


def test_strange_lines_are_named_and_a_request_without_a_line_has_failed(store: Path, ask: Ask, tools: Any) -> None:
    async def scenario() -> Any:
        async with tools.serving() as server, tools.desk_at(store, server.url) as desk:
            requests = tools.make_requests(tools.settings_for(server.url), reports=3)
            first, second, third = requests

            def line(custom_id: str, said: str) -> str:
                body = {"model": "m", "choices": [{"message": {"content": said}}]}
                return json.dumps({"custom_id": custom_id, "response": {"status_code": 200, "body": body}})

            told = [line(second, "B"), line("someone else's", "X"), line(first, "A"), line(second, "B again"), "{"]
            server.refusals["GET", "/content"] = lambda: web.Response(text="\n".join(told))
            await desk.submit(requests)
            return (first, second, third), await tools.collect_all(desk)

    (first, second, third), done = asyncio.run(scenario())
    stored = dict(ask("SELECT llm_call_id, coalesce(response->>'$.choices[0].message.content', error) FROM llm_calls"))
    assert stored == {first: "A", second: "B", third: "the batch ended without a line on this request"}
    (told,) = done.oddities.values()
    assert "someone else's" in told
    assert second in told
    assert ask("SELECT reason FROM batch_events WHERE event = 'completed'") == [(told,)]


def test_key_is_nowhere_in_the_store(store: Path, ask: Ask, tools: Any) -> None:
    async def scenario() -> None:
        async with tools.serving() as server, tools.desk_at(store, server.url) as desk:
            await desk.submit(tools.make_requests(tools.settings_for(server.url)))
            await tools.collect_all(desk)

    asyncio.run(scenario())
    for table in ("batches", "batch_requests", "batch_events", "llm_calls"):
        assert "key-1" not in str(ask(f"SELECT {table}::VARCHAR FROM {table}"))
