"""The client against real servers on loopback that fail in each of the ways that endpoints fail."""

import asyncio
import gc
import json
import time
import traceback
from dataclasses import replace

import pytest
from aiohttp import web

from teachback.agents.budget import Budget
from teachback.agents.calls import JsonForm, Postponed
from teachback.agents.client import ChatRequest, LLMClient, LLMSettings
from teachback.errors import EgressError, TeacherError, TeacherReplyError

FORM = JsonForm("form", {"type": "object", "properties": {}, "required": [], "additionalProperties": False})
FAST = {"backoff_s": 0.01, "max_backoff_s": 0.02, "timeout_s": 5.0, "model": "test-model"}


def request_of(text: str = "hello", report_id: str = "r1") -> ChatRequest:
    return ChatRequest(({"role": "user", "content": text},), FORM, "llm_labeler", report_id)


def error_response(status: int, message: str = "no", headers: dict[str, str] | None = None, **error: object):
    body = {"error": {"message": message, "type": "t", "param": None, "code": None} | error}
    return web.Response(status=status, text=json.dumps(body), content_type="application/json", headers=headers)


def test_an_answer_is_recorded_with_its_tokens_and_served_from_the_cache_without_a_call(memory_cache, serve_chat, say):
    seen = []

    async def handler(request):
        seen.append(await request.json())
        return say("{}")

    async def scenario():
        async with serve_chat(handler) as url, LLMClient(LLMSettings(base_url=url, **FAST), memory_cache) as client:
            first = await client.complete(request_of(), egress="local-only")
            again = await client.complete(request_of(), egress="local-only")
            return client, first, again

    client, first, again = asyncio.run(scenario())
    assert first == again
    assert (client.sent, client.served, len(seen)) == (1, 1, 1)
    assert (first.prompt_tokens, first.cached_tokens, first.completion_tokens) == (100, 40, 10)
    assert (first.model, first.attempts, first.error, first.cost_usd) == ("test-model", 1, None, 0.0)
    assert first.created_at.utcoffset().total_seconds() == 0
    assert seen[0]["response_format"]["json_schema"] == {"name": "form", "strict": True, "schema": FORM.schema}
    assert (seen[0]["temperature"], seen[0]["top_logprobs"], seen[0]["max_tokens"]) == (0.0, 8, 2000)


def test_an_answer_is_durable_before_anybody_may_use_it(memory_cache, serve_chat, say):
    async def handler(request):
        return say("{}")

    async def scenario():
        memory_cache.gate = asyncio.Event()
        async with serve_chat(handler) as url, LLMClient(LLMSettings(base_url=url, **FAST), memory_cache) as client:
            asking = asyncio.create_task(client.complete(request_of(), egress="any"))
            await asyncio.sleep(0.2)
            before = (client.sent, asking.done(), dict(memory_cache.answered))
            memory_cache.gate.set()
            await asking
            return before

    assert asyncio.run(scenario()) == (1, False, {})
    assert len(memory_cache.answered) == 1


def test_requests_of_the_same_content_at_the_same_time_are_sent_once(memory_cache, serve_chat, say):
    async def handler(request):
        await asyncio.sleep(0.05)
        return say("{}")

    async def scenario():
        async with serve_chat(handler) as url, LLMClient(LLMSettings(base_url=url, **FAST), memory_cache) as client:
            calls = await asyncio.gather(
                *(client.complete(request_of(report_id=f"r{i}"), egress="any") for i in range(5))
            )
            return client.sent, {call.llm_call_id for call in calls}

    sent, ids = asyncio.run(scenario())
    assert sent == 1
    assert len(ids) == 1


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_passing_failures_are_retried(memory_cache, serve_chat, say, status):
    answers = [error_response(status), error_response(status)]

    async def handler(request):
        return answers.pop() if answers else say("{}")

    async def scenario():
        async with serve_chat(handler) as url, LLMClient(LLMSettings(base_url=url, **FAST), memory_cache) as client:
            return await client.complete(request_of(), egress="any")

    assert asyncio.run(scenario()).attempts == 3


def test_retry_after_holds_back_every_request(memory_cache, serve_chat, say):
    arrivals = []

    async def handler(request):
        arrivals.append(time.monotonic())
        if len(arrivals) == 1:
            return error_response(429, headers={"Retry-After": "0.4"})
        return say("{}")

    async def scenario():
        async with serve_chat(handler) as url, LLMClient(LLMSettings(base_url=url, **FAST), memory_cache) as client:
            first = asyncio.create_task(client.complete(request_of("a"), egress="any"))
            while not (client._limiter and client._limiter._pause_s() > 0):  # until the refusal has come back
                await asyncio.sleep(0.005)
            await asyncio.gather(first, client.complete(request_of("b"), egress="any"))

    asyncio.run(scenario())
    assert len(arrivals) == 3
    assert min(arrivals[1:]) - arrivals[0] >= 0.39


def test_a_failure_that_lasts_becomes_this_reports_error_and_is_stored_but_never_served(memory_cache, serve_chat, say):
    async def handler(request):
        asked = await request.json()
        return error_response(500, "boom") if asked["messages"][0]["content"] == "bad" else say("{}")

    async def scenario():
        async with serve_chat(handler) as url:
            settings = LLMSettings(base_url=url, max_attempts=2, **FAST)
            async with LLMClient(settings, memory_cache) as client:
                with pytest.raises(TeacherReplyError, match=r"r7: HTTP 500 .*boom \(2 attempts\)"):
                    await client.complete(request_of("bad", "r7"), egress="any")
                await client.complete(request_of("good"), egress="any")  # others go on
                return client.request_hash(request_of("bad", "r7"))

    request_hash = asyncio.run(scenario())
    (failed,) = memory_cache.failed
    assert (failed.llm_call_id, failed.report_id, failed.attempts) == (request_hash, "r7", 2)
    assert failed.response is None
    assert "boom" in failed.error
    assert memory_cache.get(request_hash) is None


@pytest.mark.parametrize(
    ("status", "fields", "remedy"),
    [
        (401, {}, "OPENAI_API_KEY"),
        (403, {}, "OPENAI_API_KEY"),
        (404, {"code": "model_not_found"}, "model's name"),
        (429, {"code": "insufficient_quota"}, "credit"),
        (400, {"param": "response_format"}, "does not take response_format"),
        (307, {}, "redirects"),
    ],
)
def test_what_no_request_can_survive_stops_the_run_at_once_with_the_remedy(
    memory_cache, serve_chat, status, fields, remedy
):
    hits = []

    async def handler(request):
        hits.append(1)
        return error_response(status, headers={"Location": "http://example.org/"} if status == 307 else None, **fields)

    async def scenario():
        async with serve_chat(handler) as url:
            settings = LLMSettings(base_url=url, api_key="sk-secret", **FAST)
            async with LLMClient(settings, memory_cache) as client:
                with pytest.raises(TeacherError, match=str(status)) as caught:
                    await client.complete(request_of("a"), egress="any")
                with pytest.raises(TeacherError):
                    await client.complete(request_of("b"), egress="any")
                return caught.value

    error = asyncio.run(scenario())
    assert not isinstance(error, TeacherReplyError)
    assert remedy in error.remedy
    assert len(hits) == 1  # neither retried nor asked for the next report


@pytest.mark.parametrize("status", [400, 422])
def test_a_request_that_is_refused_for_itself_is_not_retried(memory_cache, serve_chat, status):
    hits = []

    async def handler(request):
        hits.append(1)
        return error_response(status, "context too long", param="messages")

    async def scenario():
        async with serve_chat(handler) as url, LLMClient(LLMSettings(base_url=url, **FAST), memory_cache) as client:
            with pytest.raises(TeacherReplyError, match="context too long"):
                await client.complete(request_of(), egress="any")

    asyncio.run(scenario())
    assert len(hits) == 1


def test_an_endpoint_that_hangs_times_out_and_is_tried_again(memory_cache, serve_chat, say):
    hits = []

    async def handler(request):
        hits.append(1)
        if len(hits) == 1:
            await asyncio.sleep(3)
        return say("{}")

    async def scenario():
        hasty = FAST | {"timeout_s": 0.2}
        async with serve_chat(handler) as url, LLMClient(LLMSettings(base_url=url, **hasty), memory_cache) as client:
            return await client.complete(request_of(), egress="any")

    assert asyncio.run(scenario()).attempts == 2


def test_an_endpoint_that_is_not_there_stops_the_run_at_the_first_contact(memory_cache, unused_tcp_port_url):
    async def scenario():
        settings = LLMSettings(base_url=unused_tcp_port_url, max_attempts=2, **FAST)
        async with LLMClient(settings, memory_cache) as client:
            await client.complete(request_of(), egress="any")

    with pytest.raises(TeacherError, match="cannot be reached") as caught:
        asyncio.run(scenario())
    assert not isinstance(caught.value, TeacherReplyError)
    assert "start the server" in caught.value.remedy


def test_an_error_that_stops_the_run_is_told_to_everybody_who_asked_and_does_not_grow(
    memory_cache, unused_tcp_port_url, caplog
):
    async def scenario():
        settings = LLMSettings(base_url=unused_tcp_port_url, max_attempts=1, **FAST)
        async with LLMClient(settings, memory_cache) as client:
            asked = [asyncio.create_task(client.complete(request_of(str(n)), egress="any")) for n in range(300)]
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            for task in asked[::2]:
                task.cancel()  # as the first error of a chunk does to its other reports
            return await asyncio.gather(*asked, return_exceptions=True)

    errors = [error for error in asyncio.run(scenario()) if not isinstance(error, asyncio.CancelledError)]
    gc.collect()  # asyncio complains of an error that nobody took when its task goes
    assert len(errors) >= 150
    assert {type(error) for error in errors} == {TeacherError}
    assert all("cannot be reached" in error.message and error.remedy for error in errors)
    assert max(len(list(traceback.walk_tb(error.__traceback__))) for error in errors) < 20
    assert caplog.messages == []


def test_a_proxy_of_the_environment_is_used_for_other_hosts_and_never_for_this_machine(
    memory_cache, serve_chat, say, monkeypatch
):
    asked = []

    async def proxy(request):
        asked.append(str(request.url))
        return say("{}")

    async def direct(request):
        return say("{}")

    async def scenario():
        async with serve_chat(proxy) as at, serve_chat(direct) as here:
            monkeypatch.setenv("HTTP_PROXY", at.removesuffix("/v1"))
            monkeypatch.setenv("http_proxy", at.removesuffix("/v1"))
            monkeypatch.setenv("no_proxy", "")
            far = LLMSettings(base_url="http://llm.invalid/v1", allow_egress_to=frozenset({"llm.invalid"}), **FAST)
            for settings in (far, LLMSettings(base_url=here, **FAST)):
                async with LLMClient(settings, memory_cache) as client:
                    await client.complete(request_of(settings.base_url), egress="any")

    asyncio.run(scenario())
    assert asked == ["http://llm.invalid/v1/chat/completions"]


def test_a_proxy_that_cannot_be_used_is_named_with_the_remedy(memory_cache, monkeypatch):
    async def scenario():
        far = LLMSettings(base_url="https://llm.invalid/v1", allow_egress_to=frozenset({"llm.invalid"}), **FAST)
        async with LLMClient(far, memory_cache) as client:
            await client.complete(request_of(), egress="any")

    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "socks5://me:secret@proxy.invalid:1080")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(TeacherError, match=r"socks5://proxy\.invalid .* is no HTTP proxy") as caught:
        asyncio.run(scenario())
    assert "NO_PROXY to llm.invalid" in caught.value.remedy
    assert "secret" not in str(caught.value)


@pytest.fixture
def unused_tcp_port_url():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    return f"http://127.0.0.1:{port}/v1"


def test_a_restricted_corpus_is_refused_before_anything_is_sent(memory_cache):
    async def scenario(policy, allow=frozenset()):
        settings = LLMSettings(
            base_url="https://llm.invalid/v1", max_attempts=1, allow_egress_to=allow, **FAST | {"timeout_s": 2.0}
        )
        async with LLMClient(settings, memory_cache) as client:
            try:
                await client.complete(request_of(), egress=policy)
            finally:
                sent.append(client.sent)

    sent = []
    for policy in ("local-only", "zero-retention"):
        with pytest.raises(EgressError, match=r"llm\.invalid"):
            asyncio.run(scenario(policy))
    assert sent == [0, 0]
    with pytest.raises(TeacherError):  # allowed by name: tried, and not there
        asyncio.run(scenario("local-only", frozenset({"LLM.invalid"})))
    assert sent[-1] == 1


def refuse_bad(answer):
    """A reader that takes anything but `bad`."""
    if answer.text() == "bad":
        raise TeacherReplyError(answer.report_id, "bad form")
    return answer.text()


def test_an_answer_that_cannot_be_read_is_kept_and_the_model_is_shown_what_was_wrong(memory_cache, serve_chat, say):
    seen = []

    async def handler(request):
        asked = await request.json()
        seen.append(asked["messages"])
        return say("bad" if len(asked["messages"]) == 1 else "good")

    async def scenario():
        async with serve_chat(handler) as url, LLMClient(LLMSettings(base_url=url, **FAST), memory_cache) as client:
            first = await client.ask(request_of(), refuse_bad, egress="any")
            again = await client.ask(request_of(), refuse_bad, egress="any")
            return client, first, again

    client, (call, reading), again = asyncio.run(scenario())
    assert (reading, call.repaired, call.llm_call_id) == ("good", True, client.request_hash(request_of()))
    assert again == (call, "good")
    assert client.sent == 2  # the second question came from the cache
    assert [message["role"] for message in seen[1]] == ["user", "assistant", "user"]
    assert seen[1][1]["content"] == "bad"
    assert "bad form" in seen[1][2]["content"]
    (refused,) = memory_cache.failed
    assert (refused.error, refused.prompt_tokens, refused.llm_call_id) == ("bad form", 100, call.llm_call_id)
    assert '"bad"' in refused.response


def test_an_answer_that_stays_unreadable_is_asked_for_twice_and_no_more(memory_cache, serve_chat, say):
    async def handler(request):
        return say("bad")

    async def scenario():
        async with serve_chat(handler) as url, LLMClient(LLMSettings(base_url=url, **FAST), memory_cache) as client:
            with pytest.raises(TeacherReplyError, match=r"bad form \(also after it was shown"):
                await client.ask(request_of(), refuse_bad, egress="any")
            return client.sent

    assert asyncio.run(scenario()) == 2
    assert [call.error for call in memory_cache.failed] == ["bad form", "bad form"]
    assert [call.repaired for call in memory_cache.failed] == [False, True]
    assert not memory_cache.answered


def test_a_refusal_is_not_argued_with(memory_cache, serve_chat, say):
    async def handler(request):
        return say(None, refusal="I will not")

    async def scenario():
        async with serve_chat(handler) as url, LLMClient(LLMSettings(base_url=url, **FAST), memory_cache) as client:
            with pytest.raises(TeacherReplyError, match="refused: I will not"):
                await client.ask(request_of(), refuse_bad, egress="any")
            return client.sent

    assert asyncio.run(scenario()) == 1


def test_an_answer_that_was_cut_off_gets_more_room(memory_cache, serve_chat, say):
    rooms = []

    async def handler(request):
        rooms.append((await request.json())["max_tokens"])
        return say("good", finish_reason="length" if rooms[-1] < 4000 else "stop")

    async def scenario():
        async with serve_chat(handler) as url, LLMClient(LLMSettings(base_url=url, **FAST), memory_cache) as client:
            return await client.ask(request_of(), refuse_bad, egress="any")

    call, reading = asyncio.run(scenario())
    assert (rooms, reading, call.repaired) == ([2000, 4000], "good", True)


def test_a_body_that_was_cut_off_is_asked_for_again(memory_cache, serve_chat, say):
    async def handler(request):
        handler.hits += 1
        whole = say("good")
        return web.Response(text=whole.text[:-20], content_type="application/json") if handler.hits == 1 else whole

    handler.hits = 0

    async def scenario():
        async with serve_chat(handler) as url, LLMClient(LLMSettings(base_url=url, **FAST), memory_cache) as client:
            return await client.complete(request_of(), egress="any")

    call = asyncio.run(scenario())
    assert (call.attempts, len(call.retries)) == (2, 1)
    assert "cut off" in call.retries[0]


def test_what_the_model_does_not_take_is_left_out_from_then_on(memory_cache, serve_chat, say):
    seen = []

    async def handler(request):
        asked = await request.json()
        seen.append(asked)
        for name in ("logprobs", "temperature"):
            if name in asked:
                return error_response(400, f"Unsupported parameter: '{name}'", param=name)
        return say("good")

    async def scenario():
        async with serve_chat(handler) as url, LLMClient(LLMSettings(base_url=url, **FAST), memory_cache) as client:
            calls = await asyncio.gather(*(client.complete(request_of(str(i)), egress="any") for i in range(4)))
            sent = client.sent
            await client.complete(request_of("later"), egress="any")
            return client, calls, client.sent - sent

    client, calls, later = asyncio.run(scenario())
    assert client.left_out == {"logprobs", "temperature"}
    assert later == 1
    assert "top_logprobs" not in seen[-1]
    assert all("does not" not in reason and "Unsupported" in reason for call in calls for reason in call.retries)


def test_why_each_attempt_failed_is_kept(memory_cache, serve_chat, say):
    answers = [say("{}"), error_response(500, "third"), error_response(429, "second"), error_response(500, "first")]

    async def handler(request):
        return answers.pop()

    async def scenario():
        async with serve_chat(handler) as url, LLMClient(LLMSettings(base_url=url, **FAST), memory_cache) as client:
            return await client.complete(request_of(), egress="any")

    call = asyncio.run(scenario())
    assert call.attempts == 4
    assert [next(word for word in ("first", "second", "third") if word in why) for why in call.retries] == [
        "first",
        "second",
        "third",
    ]


def test_being_overloaded_uses_up_patience_not_attempts(memory_cache, serve_chat, say):
    hits = []

    async def handler(request):
        hits.append(1)
        return error_response(429) if len(hits) <= 8 else say("{}")

    async def scenario(**settings):
        hits.clear()
        chosen = FAST | {"max_attempts": 2} | settings
        async with serve_chat(handler) as url, LLMClient(LLMSettings(base_url=url, **chosen), memory_cache) as client:
            return await client.complete(request_of(str(settings)), egress="any")

    assert asyncio.run(scenario()).attempts == 9
    with pytest.raises(TeacherReplyError, match="429"):
        asyncio.run(scenario(patience_s=0.03))


def test_a_budget_is_never_overshot_and_what_was_paid_is_kept(memory_cache, serve_chat, say, tmp_path):
    prices = tmp_path / "prices.yaml"
    prices.write_text("as_of: 2026-01-01\nmodels:\n  test-model: {input: 1, cached: 1, output: 100}\n")

    async def handler(request):
        await asyncio.sleep(0.01)
        return say("{}")

    async def scenario():
        async with serve_chat(handler) as url:
            # Called by another name, so that it is not taken for this machine, where nothing costs anything.
            settings = LLMSettings(base_url=url.replace("127.0.0.1", "0.0.0.0"), prices=prices, concurrency=8, **FAST)
            budget = Budget(max_usd=0.2054)
            async with LLMClient(settings, memory_cache, budget=budget) as client:
                asked = [replace(request_of(str(i)), max_tokens=2000) for i in range(12)]
                calls = await asyncio.gather(
                    *(client.complete(one, egress="any") for one in asked), return_exceptions=True
                )
                return client, budget, calls

    client, budget, calls = asyncio.run(scenario())
    # A call costs at most 2,000 x $100 / 1M = $0.20 and really 100 x $1 / 1M + 10 x $100 / 1M = $0.0011: the first
    # leaves $0.2043 for the next, the second $0.2032, and so on; after five, $0.1999 are left: no sixth is sent.
    assert sum(isinstance(call, Postponed) for call in calls) == 7
    assert budget.spent == pytest.approx(5 * 0.0011)
    assert budget.set_aside == 0
    assert client.sent == 5 == len(memory_cache.answered)
    assert "--max-usd" in client.stopped.remedy


def test_a_client_that_postpones_sends_nothing_and_collects_what_is_missing(memory_cache, serve_chat, say):
    async def handler(request):
        return say("{}")

    async def scenario():
        async with serve_chat(handler) as url:
            settings = LLMSettings(base_url=url, **FAST)
            async with LLMClient(settings, memory_cache) as client:
                await client.complete(request_of("known"), egress="any")
            async with LLMClient(settings, memory_cache, postpone=True) as client:
                await client.complete(request_of("known"), egress="any")
                with pytest.raises(Postponed):
                    await client.complete(request_of("new"), egress="any")
                return client

    client = asyncio.run(scenario())
    assert client.sent == 0
    assert client.outbox == {client.request_hash(request_of("new")): request_of("new")}


def test_closing_waits_for_the_answers_that_are_under_way(memory_cache, serve_chat, say):
    async def handler(request):
        await asyncio.sleep(0.3)
        return say("{}")

    async def scenario():
        async with serve_chat(handler) as url:
            client = LLMClient(LLMSettings(base_url=url, concurrency=2, **FAST), memory_cache)
            asking = [asyncio.create_task(client.complete(request_of(str(i)), egress="any")) for i in range(5)]
            await asyncio.sleep(0.1)
            for task in asking:
                task.cancel()
            await client.aclose()
            return client.sent

    # Two were sent and will be billed: their answers are kept. Three waited for a slot: they are not sent any more.
    assert asyncio.run(scenario()) == 2
    assert len(memory_cache.answered) == 2


def test_in_flight_requests_never_exceed_the_limit_and_a_storm_loses_nothing(memory_cache, serve_chat, say):
    now = most = hits = 0

    async def handler(request):
        nonlocal now, most, hits
        now, hits = now + 1, hits + 1
        most = max(most, now)
        storm = hits <= 4
        await asyncio.sleep(0.01)
        now -= 1
        return error_response(503) if storm else say("{}")

    async def scenario():
        settings = FAST | {"concurrency": 4}
        async with serve_chat(handler) as url, LLMClient(LLMSettings(base_url=url, **settings), memory_cache) as client:
            await asyncio.gather(*(client.complete(request_of(str(i)), egress="any") for i in range(30)))

    asyncio.run(scenario())
    assert most == 4
    assert hits == 34
    assert len(memory_cache.answered) == 30


def test_the_key_appears_in_no_repr_message_or_record(memory_cache, serve_chat):
    async def handler(request):
        return error_response(401, f"Incorrect API key provided: {request.headers['Authorization']}")

    async def scenario():
        async with serve_chat(handler) as url:
            settings = LLMSettings(base_url=url, api_key="sk-verysecret", **FAST)
            assert "verysecret" not in repr(settings)
            async with LLMClient(settings, memory_cache) as client:
                with pytest.raises(TeacherError) as caught:
                    await client.complete(request_of(), egress="any")
                return str(caught.value)

    assert "verysecret" not in asyncio.run(scenario())
    assert "verysecret" not in repr(memory_cache.failed)


def test_no_key_for_openai_is_said_before_anything_is_sent(memory_cache):
    async def scenario():
        async with LLMClient(LLMSettings(), memory_cache) as client:
            await client.complete(request_of(), egress="any")

    with pytest.raises(TeacherError, match="no key") as caught:
        asyncio.run(scenario())
    assert "OPENAI_API_KEY" in caught.value.remedy


def test_the_request_hash_tells_what_changes_the_answer_from_what_does_not(memory_cache):
    def hash_with(settings, request):
        return LLMClient(settings, memory_cache).request_hash(request)

    local = LLMSettings(base_url="http://127.0.0.1:8000/v1", model="m")
    base = hash_with(local, request_of())
    same = [
        (LLMSettings(base_url="http://localhost:9000/v1", model="m", api_key="k", concurrency=3), request_of()),
        (local, request_of(report_id="r2")),
    ]
    different = [
        (LLMSettings(base_url="http://127.0.0.1:8000/v1", model="n"), request_of()),
        (LLMSettings(base_url="http://10.0.0.7:8000/v1", model="m"), request_of()),
        (local, request_of("hello.")),
    ]
    assert all(hash_with(*pair) == base for pair in same)
    assert all(hash_with(*pair) != base for pair in different)
