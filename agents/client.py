"""The one client for every OpenAI-compatible endpoint, and the one place through which anything leaves.

It owns egress, the call cache, concurrency, rates, retries, the budget and the bill. An answer is stored, durably,
before anybody may use it; a request whose answer is stored is never sent again. The SDK sends (`AsyncOpenAI` over
aiohttp, its own retries off); its answer is parsed once, here. Redirects are not followed and, for endpoints on this
machine, no proxy is used: a report goes to the host that was checked, or nowhere. No tracing or telemetry is turned on.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from math import ceil
from types import TracebackType
from typing import Any, TypeVar, cast

import openai

from teachback.agents.budget import Budget
from teachback.agents.calls import Answer, CallCache, ChatRequest, LLMCall, Postponed
from teachback.agents.failures import EndpointFailure, classify
from teachback.agents.limiter import Limiter, Ticket, shared_limiter
from teachback.agents.payload import encode
from teachback.agents.prices import load_prices
from teachback.agents.records import Attempted, record_answer, record_failure
from teachback.agents.repair import repair_request
from teachback.agents.responses import Response, read_response
from teachback.agents.settings import LLMSettings, check_egress
from teachback.agents.side_process import SideProcess
from teachback.agents.transport import Transport
from teachback.errors import BudgetError, TeacherError, TeacherReplyError

__all__ = ["CallCache", "ChatRequest", "LLMCall", "LLMClient", "LLMSettings"]

TURNS_SHARE = 2  # reports that are asked about or about to be, as a share of the concurrency
UNSTORED_SHARE = 1.25  # calls sent and not yet stored, at most, as a share of the concurrency
DRAIN_S = 10.0  # how long closing waits for the answers of requests that are sent already
CHARACTERS_A_TOKEN = 3  # fewer than any tokenizer needs for English: what is set aside is never too little

T = TypeVar("T")


class LLMClient:
    """Asks one model at one endpoint, through the call cache.

    Use it as `async with LLMClient(settings, cache) as client:`, within one event loop.

    Args:
        settings: The endpoint, its model and its limits.
        cache: Where calls are kept.
        budget: What may be spent; shared with the clients of other models in the same run.
        postpone: Whether to send nothing: what is not in the cache is collected in `outbox` and raises `Postponed`.
        side: A process that reads the labelers' answers, where there is one.
    """

    def __init__(
        self,
        settings: LLMSettings,
        cache: CallCache,
        *,
        budget: Budget | None = None,
        postpone: bool = False,
        side: SideProcess | None = None,
    ) -> None:
        self.settings = settings
        self.cache = cache
        self.budget = budget or Budget()
        self.postpone = postpone
        self.outbox: dict[str, ChatRequest] = {}
        self.outbox_egress: set[str] = set()  # the policies of what it holds
        # Who labels takes a turn before it makes its question: thousands at once would hold up the first answers.
        self.turns = asyncio.Semaphore(TURNS_SHARE * settings.concurrency)
        self.making = asyncio.Lock()  # held while a question is made, so that requests go out between two
        self.sent = 0  # requests sent, attempts counted each
        self.served = 0  # calls answered by the cache
        self.left_out: set[str] = set()  # parameters that the model turned out not to take
        self.stopped: BudgetError | None = None  # set once the budget lets nothing more out
        self._side = side
        self._reading = asyncio.Lock()
        self._prices = load_prices(settings.prices)
        self._jitter = random.Random(settings.seed)
        self._transport: Transport | None = None
        self._limiter: Limiter | None = None
        self._reached = False
        self._fatal: TeacherError | None = None
        self._in_flight: dict[str, asyncio.Task[tuple[LLMCall, Any]]] = {}
        self._under_way: set[asyncio.Task[Any] | None] = set()  # sent, not yet stored
        self._unstored = asyncio.Semaphore(ceil(UNSTORED_SHARE * settings.concurrency))

    @property
    def is_priced(self) -> bool:
        """Whether what a call costs is known: on this machine nothing, elsewhere what the price list says."""
        return self.settings.is_local or self._prices.price_of(self.settings.model) is not None

    async def __aenter__(self) -> "LLMClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, once the answers that are under way, and will be billed, are stored."""
        waiting = [task for task in self._in_flight.values() if task not in self._under_way]
        for task in waiting:
            task.cancel()
        under_way = [task for task in self._in_flight.values() if task in self._under_way]
        if under_way:
            await asyncio.wait(under_way, timeout=DRAIN_S)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*waiting, *under_way, return_exceptions=True)
        if self._transport is not None:
            await self._transport.aclose()
            self._transport = None

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
            Postponed: It was not sent.
        """
        call, _ = await self.ask(request, lambda answer: None, egress=egress)
        return call

    async def ask(self, request: ChatRequest, read: Callable[[Answer], T], *, egress: str) -> tuple[LLMCall, T]:
        """Return a request's call and what `read` makes of it.

        An answer that `read` refuses is stored as a failed call, so that it is paid for and shown; then the model is
        shown what was wrong and asked once more, and that answer is kept as the request's. Requests of the same content
        that run at the same time are sent once.

        Args:
            request: What to ask.
            read: Reads an answer; raises TeacherReplyError when the answer cannot be used.
            egress: Egress policy of the report's corpus, and of whatever else the request holds.

        Raises:
            EgressError: The report may not be sent to this endpoint.
            TeacherReplyError: This request failed, or its answer cannot be used.
            TeacherError: No request to this endpoint can succeed.
            Postponed: It was not sent: the client collects requests, or its budget is spent.
        """
        check_egress(self.settings, egress)
        request_hash = self.request_hash(request)
        cached, again = self.cache.get(request_hash), False
        if cached is not None and cached.error is None:
            response = await self._read((cached.response or "{}").encode(), request, request_hash, read)
            if response.refused is None:
                self.served += 1
                return cached, cast(T, response.reading)
            # It came in a batch, unread, or the reader has become stricter since: ask again, saying what is wrong.
            request, again = _repaired(request, cached, response.refused), True
        self._refuse_if_fatal()
        if self.postpone:
            self.outbox[request_hash] = request
            self.outbox_egress.add(egress)
            raise Postponed
        running = self._in_flight.get(request_hash)
        if running is not None:
            return await self._share(running, request, read)
        task = asyncio.create_task(self._bounded(self._ask_and_store(request, request_hash, read, repaired=again)))
        self._in_flight[request_hash] = task
        task.add_done_callback(lambda done: self._forget(request_hash, done))
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

    def _forget(self, request_hash: str, done: "asyncio.Task[Any]") -> None:
        self._in_flight.pop(request_hash, None)
        if not done.cancelled():
            done.exception()  # who asked may be gone: then nobody else takes note of it, and asyncio would complain

    async def _bounded(self, asking: Coroutine[Any, Any, T]) -> T:
        # The endpoint's slot is free once it has answered; what is paid and not yet on disk stays in bounds as well.
        try:
            async with self._unstored:
                return await asking
        finally:
            asking.close()

    async def _ask_and_store(
        self, request: ChatRequest, request_hash: str, read: Callable[[Answer], T], *, repaired: bool
    ) -> tuple[LLMCall, T]:
        call, reading = await self._answered(request, request_hash, read, repaired=repaired)
        await self._store(call)
        if call.error is not None and not repaired:
            # Kept under the first request's name: what was asked is the same, and it is not asked a third time.
            second = _repaired(request, call, call.error)
            call, reading = await self._answered(second, request_hash, read, repaired=True)
            await self._store(call)
            if call.error is not None:
                reason = f"{call.error} (also after it was shown what was wrong with its first answer)"
                raise TeacherReplyError(request.report_id, reason)
        if call.error is not None:
            raise TeacherReplyError(request.report_id, call.error)
        return call, cast(T, reading)

    async def _answered(
        self, request: ChatRequest, request_hash: str, read: Callable[[Answer], T], *, repaired: bool
    ) -> tuple[LLMCall, T | None]:
        """Send a request until it is answered, and read that; what is not answered is stored as a failed call."""
        started = time.perf_counter()
        reserved = self._cost_at_most(request)
        if not await self.budget.reserve(reserved):
            self.stopped = self.budget.exhausted
            raise Postponed
        retries: list[str] = []
        spent = 0.0
        try:
            raw, failure = await self._attempt_until_answered(request, retries)
            milliseconds = (time.perf_counter() - started) * 1000
            attempts = len(retries) + 1
            attempted = Attempted(request, request_hash, attempts, milliseconds, tuple(retries), repaired)
            if failure is not None:
                await self._store(record_failure(attempted, self.settings.model, failure.message))
                raise self._error_of(failure, request, attempts)
            response = await self._read(raw, request, request_hash, read)
            call = record_answer(attempted, response, self.settings, self._prices)
            spent = call.cost_usd or 0.0
        finally:
            self.budget.settle(reserved, spent)
        return call, response.reading

    async def _read(
        self, raw: bytes, request: ChatRequest, request_hash: str, read: Callable[[Answer], T]
    ) -> Response[T]:
        response = await self._side.read(raw, read, request_hash) if self._side else None
        if response is not None:
            return response
        # One at a time, so that requests go out between the readings of answers that came in together.
        async with self._reading:
            await asyncio.sleep(0)
            if self._side:
                self._side.label_here(request.report_id)
            return read_response(raw, read, request_hash, request.report_id)

    async def _attempt_until_answered(
        self, request: ChatRequest, retries: list[str]
    ) -> tuple[bytes, EndpointFailure | None]:
        waited = attempts = 0.0
        tokens = self._tokens_at_most(request)
        while True:
            self._refuse_if_fatal()
            limiter = self._limit()
            ticket = await limiter.acquire(tokens)
            without = frozenset(self.left_out)
            try:
                response, failure = await self._send(encode(request, self.settings, without), ticket)
            finally:
                # The slot is the endpoint's: it is free as soon as the endpoint has answered.
                limiter.release()
            if failure is None:
                limiter.succeeded()
                return response, None
            self._under_way.discard(asyncio.current_task())
            self._reached = self._reached or not failure.unreachable
            if failure.refused and failure.refused not in without:
                self.left_out.add(failure.refused)  # the request says the same without it: ask again at once
            elif failure.verdict != "retry":
                return b"", failure
            else:
                attempts += not failure.overloaded  # being overloaded is not this request's fault
                pause = max(self._backoff_s(len(retries) + 1), failure.retry_after_s)
                if failure.overloaded:
                    limiter.overloaded(ticket, failure.retry_after_s, sure=failure.throttled)
                    waited += pause
                if attempts >= self.settings.max_attempts or waited > self.settings.patience_s:
                    return b"", failure
                await asyncio.sleep(pause)
            retries.append(failure.message)

    async def _send(self, body: bytes, ticket: Ticket) -> tuple[bytes, EndpointFailure | None]:
        self.sent += 1
        if self._side and self.sent == self.settings.concurrency:
            self._side.prepare_here()
        self._under_way.add(asyncio.current_task())
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                response = await self._connect().send(body)
        except (openai.APIError, TimeoutError) as error:
            if isinstance(error, openai.APIStatusError):  # a refusal tells what is left as well
                self._limit().learn(error.response.headers, ticket)
            return b"", classify(error, self.settings)
        self._reached = True
        self._limit().learn(response.headers, ticket)
        if not response.content.rstrip().endswith(b"}"):
            return b"", EndpointFailure("retry", f"the answer of {self.settings.host} is cut off: it is no JSON")
        return response.content, None

    async def _store(self, call: LLMCall) -> None:
        try:
            await self.cache.put(call)
        finally:
            self._under_way.discard(asyncio.current_task())

    def _limit(self) -> Limiter:
        if self._limiter is None:
            settings = self.settings
            self._limiter = shared_limiter(
                settings.base_url, settings.model, settings.concurrency, settings.rpm, settings.tpm
            )
        return self._limiter

    def _connect(self) -> Transport:
        if self._transport is None:
            self._transport = Transport(self.settings)
        return self._transport

    def _tokens_at_most(self, request: ChatRequest) -> int:
        characters = sum(len(message["content"]) for message in request.messages)
        return characters // CHARACTERS_A_TOKEN + request.max_tokens

    def _cost_at_most(self, request: ChatRequest) -> float:
        if self.budget.max_usd is None or self.settings.is_local:
            return 0.0
        prompt = self._tokens_at_most(request) - request.max_tokens
        return self._prices.cost_usd(self.settings.model, prompt, 0, request.max_tokens) or 0.0

    def _backoff_s(self, attempt: int) -> float:
        # Exponential with jitter between half and the whole wait, so that refused requests do not return together.
        longest = min(self.settings.max_backoff_s, self.settings.backoff_s * float(2 ** min(attempt - 1, 30)))
        return longest * (0.5 + 0.5 * self._jitter.random())

    def _error_of(self, failure: EndpointFailure, request: ChatRequest, attempts: int) -> TeacherError:
        fatal = failure.verdict == "fatal" or (failure.unreachable and not self._reached)
        if not fatal:
            tries = f" ({attempts} attempts)" if attempts > 1 else ""
            return TeacherReplyError(request.report_id, f"{failure.message}{tries}")
        if self._fatal is None:
            self._fatal = TeacherError(failure.message, failure.remedy or "check that the endpoint is up and answers")
        return _again(self._fatal)

    def _refuse_if_fatal(self) -> None:
        if self._fatal is not None:
            raise _again(self._fatal)


def _again(error: TeacherError) -> TeacherError:
    # Everybody is told by an error of their own: one that is raised again and again grows each time.
    return TeacherError(error.message, error.remedy)


def _repaired(request: ChatRequest, call: LLMCall, reason: str) -> ChatRequest:
    """Return the request that asks once more.

    Raises:
        TeacherReplyError: Asking again cannot help.
    """
    second = repair_request(request, call.answer(), reason)
    if second is None:
        raise TeacherReplyError(request.report_id, reason)
    return second
