"""The stand-in endpoint: an OpenAI-compatible server on loopback that needs no key, no network and no model.

It answers `POST /v1/chat/completions` (strict JSON schema, `logprobs`, `top_logprobs`, token usage), `GET /v1/models`,
and batches of completions (`batches.py`). It is no language model and says so everywhere: model `stand-in`, its system
fingerprint, its start-up text. It binds to nothing but this machine.
"""

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from teachback.agents.settings import LLMSettings, is_loopback
from teachback.agents.stand_in.answer import StandInMind
from teachback.agents.stand_in.batches import BatchCourse, mount
from teachback.agents.stand_in.mistakes import MistakeRates
from teachback.agents.stand_in.pieces import count_pieces, logprobs_json, pieces_of
from teachback.errors import SettingError

__all__ = ["MODEL", "RunningStandIn", "serve", "stand_in_endpoint", "stand_in_settings"]

MODEL = "stand-in"
LARGEST_REQUEST = 16 * 2**20  # bytes
MOST_ALTERNATIVES = 20  # top_logprobs, as at OpenAI's
START_TIMEOUT_S = 10.0
UNSTARTED_URL = "http://127.0.0.1/v1"


class _Refusal(Exception):
    def __init__(self, status: int, message: str, parameter: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": "invalid_request_error", "param": parameter, "code": code}}


@dataclass(frozen=True)
class RunningStandIn:
    """A stand-in that is serving.

    Attributes:
        url: Its base URL, up to and including `/v1`.
        runner: The server behind it.
    """

    url: str
    runner: web.AppRunner

    async def close(self) -> None:
        """Stop serving."""
        await self.runner.cleanup()


async def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    seed: int = 0,
    rates: MistakeRates | None = None,
    latency_s: float = 0.0,
    batches: BatchCourse | None = None,
) -> RunningStandIn:
    """Start the stand-in in this event loop.

    Args:
        host: A loopback address.
        port: 0 chooses a free one.
        seed: Seed of its mistakes; the same request always gets the same answer.
        rates: How often it errs; the documented rates when not given.
        latency_s: Seconds that it waits before each answer.
        batches: How its batches go; at once and without errors when not given.

    Raises:
        SettingError: The host is not this machine's own, or the port cannot be had.
    """
    if not is_loopback(host):
        raise SettingError(f"the stand-in does not serve on {host}", "it binds to this machine only: use 127.0.0.1")
    mind = StandInMind(seed, rates or MistakeRates())
    runner = web.AppRunner(_application(mind, latency_s, batches or BatchCourse()), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise SettingError(f"port {port} on {host} cannot be had ({error})", "choose another, or --port 0") from None
    chosen = runner.addresses[0][1]
    shown = f"[{host}]" if ":" in host else host
    return RunningStandIn(f"http://{shown}:{chosen}/v1", runner)


@contextmanager
def stand_in_endpoint(
    *,
    seed: int = 0,
    rates: MistakeRates | None = None,
    latency_s: float = 0.0,
    batches: BatchCourse | None = None,
) -> Iterator[str]:
    """Run the stand-in in a thread of its own, with its own event loop, for as long as the block lasts.

    Args:
        seed: Seed of its mistakes.
        rates: How often it errs; the documented rates when not given.
        latency_s: Seconds that it waits before each answer.
        batches: How its batches go.

    Yields:
        Its base URL, up to and including `/v1`.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="stand-in", daemon=True)
    thread.start()
    try:
        starting = asyncio.run_coroutine_threadsafe(
            serve(seed=seed, rates=rates, latency_s=latency_s, batches=batches), loop
        )
        running = starting.result(START_TIMEOUT_S)
        try:
            yield running.url
        finally:
            asyncio.run_coroutine_threadsafe(running.close(), loop).result(START_TIMEOUT_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def stand_in_settings(
    endpoint: LLMSettings, base_url: str = UNSTARTED_URL, *, seed: int = 0, rates: MistakeRates | None = None
) -> LLMSettings:
    """Return client settings turned to the stand-in: its model, its address, and no key.

    What names it in the call cache and in labelers is its seed and its rates, not its address, so this can be asked
    before it runs and after a restart.

    Args:
        endpoint: Settings whose limits are kept.
        base_url: Where it serves.
        seed: Seed of its mistakes.
        rates: How often it errs; the documented rates when not given.
    """
    digest = hashlib.blake2b(repr(rates or MistakeRates()).encode(), digest_size=4).hexdigest()
    identity = f"{MODEL}:seed={seed}:rates={digest}"
    return replace(endpoint, model=MODEL, base_url=base_url, api_key=None, endpoint=identity)


def _application(mind: StandInMind, latency_s: float, batches: BatchCourse) -> web.Application:
    fingerprint = f"{MODEL}-seed-{mind.seed}"

    def answer(asked: object) -> tuple[int, bytes]:
        try:
            return 200, _completion(_checked(asked), mind, fingerprint)
        except _Refusal as refusal:
            return refusal.status, json.dumps(refusal.body).encode()

    async def complete(request: web.Request) -> web.Response:
        try:
            asked = json.loads(await request.read())
        except ValueError:
            asked = None
        status, body = answer(asked)
        if latency_s > 0 and status == 200:
            await asyncio.sleep(latency_s)
        return web.Response(body=body, status=status, content_type="application/json")

    async def list_models(request: web.Request) -> web.Response:
        listed = {"id": MODEL, "object": "model", "created": 0, "owned_by": "teachback (not a language model)"}
        return web.json_response({"object": "list", "data": [listed]})

    application = web.Application(client_max_size=LARGEST_REQUEST)
    application.router.add_post("/v1/chat/completions", complete)
    application.router.add_get("/v1/models", list_models)
    mount(application, answer, batches, mind.seed)
    return application


def _checked(asked: object) -> Mapping[str, Any]:
    if not isinstance(asked, dict):
        raise _Refusal(400, "the request is not a JSON object")
    if asked.get("model") != MODEL:
        raise _Refusal(
            404,
            f"this is the stand-in, whose only model is {MODEL!r}, not {asked.get('model')!r}",
            "model",
            "model_not_found",
        )
    messages = asked.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise _Refusal(400, "messages must be a list of messages", "messages")
    return asked


def _completion(asked: Mapping[str, Any], mind: StandInMind, fingerprint: str) -> bytes:
    messages = asked["messages"]
    pieces = pieces_of(mind.answer(messages, _schema(asked)))
    longest = asked.get("max_completion_tokens") or asked.get("max_tokens") or len(pieces)
    finish = "stop" if len(pieces) <= longest else "length"
    pieces = pieces[:longest]
    content = json.dumps("".join(piece.token for piece in pieces))
    logprobs = "null"
    if asked.get("logprobs"):
        logprobs = f'{{"content":{logprobs_json(pieces, _alternatives(asked))},"refusal":null}}'
    sent = sum(count_pieces(str(message.get("content", ""))) for message in messages)
    return (
        f'{{"id":"chatcmpl-{MODEL}-{hashlib.blake2b(content.encode(), digest_size=8).hexdigest()}",'
        f'"object":"chat.completion","created":{int(time.time())},"model":"{MODEL}",'
        f'"system_fingerprint":"{fingerprint}","choices":[{{"index":0,'
        f'"message":{{"role":"assistant","content":{content},"refusal":null}},'
        f'"logprobs":{logprobs},"finish_reason":"{finish}"}}],'
        f'"usage":{{"prompt_tokens":{sent},"completion_tokens":{len(pieces)},"total_tokens":{sent + len(pieces)},'
        '"prompt_tokens_details":{"cached_tokens":0}}}'
    ).encode()


def _schema(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    wanted = asked.get("response_format")
    form = wanted.get("json_schema") if isinstance(wanted, dict) and wanted.get("type") == "json_schema" else None
    schema = form.get("schema") if isinstance(form, dict) else None
    if not isinstance(schema, dict):
        raise _Refusal(400, "the stand-in answers strict JSON schemas only", "response_format")
    return schema


def _alternatives(asked: Mapping[str, Any]) -> int:
    top = asked.get("top_logprobs") or 0
    if not isinstance(top, int) or not 0 <= top <= MOST_ALTERNATIVES:
        raise _Refusal(400, f"top_logprobs must be from 0 to {MOST_ALTERNATIVES}", "top_logprobs")
    return top
