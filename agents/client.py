"""The one client for every OpenAI-compatible endpoint, and the one place through which anything leaves.

It owns egress, the call cache, concurrency, retries and the bill. An answer is stored, durably, before anybody may
use it; a request whose answer is stored is never sent again. The SDK sends (`AsyncOpenAI` over aiohttp, its own
retries off); its answer is parsed once, here. Redirects are not followed and, for endpoints on this machine, no proxy
is used: a report goes to the host that was checked, or nowhere. No tracing or telemetry is turned on.
"""

import asyncio
import random
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

import httpx2
import openai

from teachback.agents.calls import Answer, CallCache, ChatRequest, LLMCall
from teachback.agents.failures import EndpointFailure, classify
from teachback.agents.limiter import Limiter
from teachback.agents.payload import PATH, encode
from teachback.agents.prices import load_prices
from teachback.agents.records import Attempted, record_answer, record_failure, record_refusal
from teachback.agents.settings import LLMSettings, check_egress
from teachback.errors import TeacherError, TeacherReplyError

__all__ = ["CallCache", "ChatRequest", "LLMCall", "LLMClient", "LLMSettings"]

NO_KEY = "none"  # what is sent as key to an endpoint that needs none

T = TypeVar("T")


class LLMClient:
    """Asks one model at one endpoint, through the call cache.

    Use it as `async with LLMClient(settings, cache) as client:`, within one event loop.

    Args:
        settings: The endpoint, its model and its limits.
        cache: Where calls are kept.
    """

    def __init__(self, settings: LLMSettings, cache: CallCache) -> None:
        self.settings = settings
        self.cache = cache
        self.limiter = Limiter(settings.concurrency)
        self.sent = 0  # requests sent, attempts counted each
        self.served = 0  # calls answered by the cache
        self._prices = load_prices(settings.prices)
        self._jitter = random.Random(settings.seed)
        self._sdk: openai.AsyncOpenAI | None = None
        self._reached = False
        self._fatal: TeacherError | None = None
        self._in_flight: dict[str, asyncio.Task[tuple[LLMCall, Any]]] = {}

    async def __aenter__(self) -> "LLMClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End what is in flight and close the connections."""
        tasks = list(self._in_flight.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._sdk is not None:
            await self._sdk.close()
            self._sdk = None

    def check_egress(self, policy: str) -> None:
        """Check that reports under a corpus's egress policy may be sent to this endpoint.

        Raises:
            EgressError: They may not.
        """
        check_egress(self.settings, policy)

    def request_hash(self, request: ChatRequest) -> str:
        """Return the id under which a request's call is kept."""
        return request.hash_for(self.settings.model, self.settings.identity)

    async def complete(self, request: ChatRequest, *, egress: str) -> LLMCall:
        """Return a request's call: from the cache, else by asking; stored before it is returned.

        Args:
            request: What to ask.
            egress: Egress policy of the report's corpus.

        Raises:
            EgressError: The report may not be sent to this endpoint.
            TeacherReplyError: This request failed; others may succeed.
            TeacherError: No request to this endpoint can succeed.
        """
        call, _ = await self.ask(request, lambda answer: None, egress=egress)
        return call

    async def ask(self, request: ChatRequest, read: Callable[[Answer], T], *, egress: str) -> tuple[LLMCall, T]:
        """Return a request's call and what `read` makes of it.

        An answer that `read` refuses is stored as a failed call, so that it is paid for and shown, but asked again next
        time. Requests of the same content that run at the same time are sent once.

        Args:
            request: What to ask.
            read: Reads an answer; raises TeacherReplyError when the answer cannot be used.
            egress: Egress policy of the report's corpus.

        Raises:
            EgressError: The report may not be sent to this endpoint.
            TeacherReplyError: This request failed, or its answer cannot be used.
            TeacherError: No request to this endpoint can succeed.
        """
        check_egress(self.settings, egress)
        request_hash = self.request_hash(request)
        cached = self.cache.get(request_hash)
        if cached is not None and cached.error is None:
            try:
                reading = read(cached.answer())
            except TeacherReplyError:
                pass  # the reader has become stricter since: ask again
            else:
                self.served += 1
                return cached, reading
        if self._fatal is not None:
            raise self._fatal
        running = self._in_flight.get(request_hash)
        if running is not None:
            return await self._share(running, request, read)
        task = asyncio.create_task(self._ask_and_store(request, request_hash, read))
        self._in_flight[request_hash] = task
        task.add_done_callback(lambda _: self._in_flight.pop(request_hash, None))
        return await asyncio.shield(task)

    async def _share(
        self, running: "asyncio.Task[tuple[LLMCall, Any]]", request: ChatRequest, read: Callable[[Answer], T]
    ) -> tuple[LLMCall, T]:
        try:
            call, _ = await asyncio.shield(running)
        except TeacherReplyError as error:
            raise TeacherReplyError(request.report_id, error.reason) from None
        self.served += 1
        return call, read(call.answer())

    async def _ask_and_store(
        self, request: ChatRequest, request_hash: str, read: Callable[[Answer], T]
    ) -> tuple[LLMCall, T]:
        started = time.perf_counter()
        response, attempts, failure = await self._attempt_until_answered(request)
        attempted = Attempted(request, request_hash, attempts, (time.perf_counter() - started) * 1000)
        if failure is not None:
            await self.cache.put(record_failure(attempted, self.settings.model, failure.message))
            raise self._error_of(failure, request, attempts)
        # An answered call keeps its place in the limiter until it is stored, so a kill costs no more than the calls
        # that the limiter lets out.
        try:
            call, answer = record_answer(attempted, response, self.settings, self._prices)
            try:
                reading = read(answer)
            except TeacherReplyError as error:
                await self.cache.put(record_refusal(call, error.reason))
                raise
            await self.cache.put(call)
        finally:
            self.limiter.release()
        return call, reading

    async def _attempt_until_answered(self, request: ChatRequest) -> tuple[str, int, EndpointFailure | None]:
        attempt = 0
        while True:
            if self._fatal is not None:
                raise self._fatal
            attempt += 1
            window = await self.limiter.acquire()
            try:
                response = await self._send(request)
            except (openai.APIError, TimeoutError) as error:
                self.limiter.release()
                failure = classify(error, self.settings)
            except BaseException:
                self.limiter.release()
                raise
            else:
                self._reached = True
                self.limiter.succeeded()
                return response, attempt, None  # the caller releases its place
            self._reached = self._reached or not failure.unreachable
            if failure.overloaded:
                self.limiter.overloaded(window, failure.retry_after_s)
            if failure.verdict != "retry" or attempt >= self.settings.max_attempts:
                return "", attempt, failure
            await asyncio.sleep(max(self._backoff_s(attempt), failure.retry_after_s))

    async def _send(self, request: ChatRequest) -> str:
        self.sent += 1
        async with asyncio.timeout(self.settings.timeout_s):
            # `post` with the transport's own response type is the SDK's documented way past its response models,
            # which cost more CPU than the rest of a call; the form is encoded once, not once a request.
            response = await self._connect().post(
                PATH,
                content=encode(request, self.settings),
                options={"headers": {"Content-Type": "application/json"}},
                cast_to=httpx2.Response,
            )
        return response.text

    def _connect(self) -> openai.AsyncOpenAI:
        if self._sdk is None:
            settings = self.settings
            if settings.is_openai and not settings.api_key:
                raise TeacherError(
                    "there is no key for api.openai.com",
                    "set OPENAI_API_KEY, or OPENAI_BASE_URL for another endpoint",
                )
            timeout = httpx2.Timeout(settings.timeout_s, connect=settings.connect_timeout_s)
            limits = httpx2.Limits(max_connections=settings.concurrency, max_keepalive_connections=settings.concurrency)
            self._sdk = openai.AsyncOpenAI(
                api_key=settings.api_key or NO_KEY,
                base_url=settings.base_url,
                max_retries=0,
                timeout=timeout,
                http_client=openai.DefaultAioHttpClient(
                    timeout=timeout, limits=limits, follow_redirects=False, trust_env=not settings.is_local
                ),
            )
        return self._sdk

    def _backoff_s(self, attempt: int) -> float:
        # Exponential with jitter between half and the whole wait, so that refused requests do not return together.
        longest = min(self.settings.max_backoff_s, self.settings.backoff_s * float(2 ** (attempt - 1)))
        return longest * (0.5 + 0.5 * self._jitter.random())

    def _error_of(self, failure: EndpointFailure, request: ChatRequest, attempts: int) -> TeacherError:
        fatal = failure.verdict == "fatal" or (failure.unreachable and not self._reached)
        if not fatal:
            tries = f" ({attempts} attempts)" if attempts > 1 else ""
            return TeacherReplyError(request.report_id, f"{failure.message}{tries}")
        if self._fatal is None:
            self._fatal = TeacherError(failure.message, failure.remedy or "check that the endpoint is up and answers")
        return self._fatal
