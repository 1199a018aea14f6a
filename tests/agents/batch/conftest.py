"""Stores with reports that may be handed in, and servers of batches that count, watch and fail on demand."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from aiohttp import web
from tests import loopback

from teachback.agents.batch import BatchDesk
from teachback.agents.calls import ChatRequest, JsonForm
from teachback.agents.settings import LLMSettings
from teachback.agents.stand_in.batches import BatchCourse, mount
from teachback.store.database import Store
from teachback.store.report import Report
from teachback.store.rows import report_row
from teachback.store.writer import Writer

REPORTS = 12
FORM = JsonForm("form", {"type": "object", "properties": {}, "required": [], "additionalProperties": False})
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BatchServer:
    """The stand-in's batch endpoints around answers of its own: each says which report was asked about.

    Attributes:
        course: How batches go.
        asked: How often each question was executed.
        batches: Batches that were created.
        killed_at: Method, path ending and moment (`before` or `after`) at which `pid` is killed, once.
        refusals: Method and path ending to the response that is given instead.
    """

    def __init__(self, course: BatchCourse) -> None:
        self.course = course
        self.url = ""
        self.asked: Counter[str] = Counter()
        self.bodies: list[Mapping[str, Any]] = []
        self.batches = 0
        self.uploads = 0
        self.killed_at: tuple[str, str, str] | None = None
        self.pid = 0
        self.refusals: dict[tuple[str, str], Callable[[], web.Response]] = {}
        self.unsaid: set[tuple[str, str]] = set()  # what is done, but answered with an error
        self.refused: frozenset[str] = frozenset()  # parameters that the model does not take

    def answer(self, body: object) -> tuple[int, bytes]:
        assert isinstance(body, dict)
        self.bodies.append(body)
        question = body["messages"][0]["content"]
        self.asked[question] += 1
        for parameter in sorted(self.refused & set(body)):
            error = {"message": f"{parameter} is not supported", "param": parameter, "code": "unsupported_parameter"}
            return 400, json.dumps({"error": error}).encode()
        message = {"role": "assistant", "content": f"about {question}\u2028{{}}", "refusal": None}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 40}}
        choices = [{"index": 0, "finish_reason": "stop", "message": message}]
        said = {"id": "c", "model": body["model"], "choices": choices, "usage": usage, "unknown_field": 1}
        return 200, json.dumps(said, ensure_ascii=False).encode()

    @web.middleware
    async def watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        for (method, ending), respond in self.refusals.items():
            if request.method == method and request.path.endswith(ending):
                return respond()
        if self._kill_at(request, "before"):
            return web.Response(status=500)  # it never arrived
        response = await handler(request)
        self.batches += request.method == "POST" and request.path == "/v1/batches" and response.status == 200
        self.uploads += request.method == "POST" and request.path == "/v1/files" and response.status == 200
        self._kill_at(request, "after")
        if any(request.method == method and request.path.endswith(ending) for method, ending in self.unsaid):
            return web.json_response({}, status=502)
        return response

    def _kill_at(self, request: web.Request, moment: str) -> bool:
        method, ending, when = self.killed_at or ("", "", "")
        if not self.pid or when != moment or request.method != method or not request.path.endswith(ending):
            return False
        os.kill(self.pid, signal.SIGKILL)
        self.killed_at = None
        return True


@asynccontextmanager
async def serving(course: BatchCourse | None = None) -> AsyncIterator[BatchServer]:
    """Run a server of batches."""
    server = BatchServer(course or BatchCourse())
    application = web.Application(middlewares=[server.watch])
    mount(application, server.answer, server.course)
    async with loopback.serving(application) as address:
        server.url = f"{address}/v1"
        yield server


def settings_for(url: str, **changes: Any) -> LLMSettings:
    """Settings for a server on loopback."""
    chosen = {"model": "m", "base_url": url, "api_key": "key-1", "max_attempts": 1, "timeout_s": 5.0} | changes
    return LLMSettings(**chosen)


def make_requests(settings: LLMSettings, reports: int = REPORTS) -> dict[str, ChatRequest]:
    """A question on each report, by hash."""
    questions = [
        ChatRequest(({"role": "user", "content": f"r{n}"},), FORM, "llm_labeler", f"r{n}") for n in range(reports)
    ]
    return {question.hash_for(settings.model, settings.identity): question for question in questions}


@asynccontextmanager
async def desk_at(store: Path, url: str, **options: Any) -> AsyncIterator[BatchDesk]:
    """A desk on a store, for a server on loopback; it takes a batch that is not listed for lost at once."""
    settings = options.pop("settings", None) or settings_for(url)
    options = {"lost_after_s": 0.0} | options
    with Writer(store) as writer, duckdb.connect(str(store)) as connection:
        async with BatchDesk(settings, writer, connection, **options) as desk:
            yield desk


async def collect_all(desk: BatchDesk) -> Any:
    """Collect until no batch is under way; return what the last pass found."""
    while True:
        collected = await desk.collect()
        if not collected.under_way:
            return collected
        await asyncio.sleep(0.01)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "labels.duckdb"
    reports = [Report(f"r{number}", "open", {"findings": f"Case {number}."}) for number in range(REPORTS)]
    with Store(path) as opened:
        corpora = [{"corpus": "open", "egress": "any"}, {"corpus": "mimic", "egress": "local-only"}]
        opened.write({"reports": [report_row(report) for report in reports], "corpora": corpora})
    return path


@pytest.fixture
def ask(store: Path) -> Callable[[str], list[tuple[Any, ...]]]:
    def run(query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(store)) as connection:
            return connection.execute(query).fetchall()

    return run


@pytest.fixture
def tools() -> Any:
    """What the tests of batches share, under one name."""

    class Tools:
        serving = staticmethod(serving)
        settings_for = staticmethod(settings_for)
        make_requests = staticmethod(make_requests)
        desk_at = staticmethod(desk_at)
        collect_all = staticmethod(collect_all)

    return Tools
