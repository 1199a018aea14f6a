"""A store of synthetic reports that may be sent anywhere, and an endpoint with keys and models before the stand-in."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from tests.loopback import in_thread, serving
from tests.synthetic_stores import copied, curated_store

from teachback.agents.stand_in import MODEL, stand_in_endpoint

REPORTS = 40
KEY = "sk-proj-0123456789-right"
# Model to the seed of the stand-in behind it: each errs elsewhere. `gpt-4o` has a price in the shipped list.
MODELS = {"gpt-4o": 0, "second": 1, "third": 2, MODEL: 0}
PRICED_HOST = "0.0.0.0"  # reaches this machine too, but is none of its loopback names: calls there have a price


class Tollgate:
    """A server that wants a key and knows some models, passes on what it lets in, and notes it.

    Attributes:
        url: Its base URL, on loopback.
        key: The key that it wants.
        bodies: The completions that it let in.
        keys: The keys that were shown to it.
        most_at_once: Most completions that were with it at the same time.
    """

    def __init__(self, behind: dict[str, str], session: ClientSession) -> None:
        self.url = ""
        self.key = KEY
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.most_at_once = 0
        self._at_once = 0
        self._behind = behind
        self._session = session

    @property
    def priced_url(self) -> str:
        """Its base URL as an address that is not known to be local."""
        return self.url.replace("127.0.0.1", PRICED_HOST)

    async def handle(self, request: web.Request) -> web.Response:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.keys.add(key)
        if key != self.key:
            return refusal(401, f"Incorrect API key provided: {key}.", "invalid_api_key")
        raw, model = await request.read(), MODEL
        if request.path.endswith("/chat/completions"):
            body = json.loads(raw)
            model = body["model"]
            if model not in self._behind:
                return refusal(404, f"The model `{model}` does not exist.", "model_not_found")
            self.bodies.append(body)
            raw = json.dumps(body | {"model": MODEL}).encode()
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return await self._passed_on(request, model, raw)
        finally:
            self._at_once -= 1

    async def _passed_on(self, request: web.Request, model: str, raw: bytes) -> web.Response:
        url = self._behind[model].removesuffix("/v1") + request.path_qs
        headers = {"Content-Type": request.headers.get("Content-Type", "application/json")}
        async with self._session.request(request.method, url, data=raw, headers=headers) as answer:
            said = (await answer.read()).replace(f'"model":"{MODEL}"'.encode(), f'"model":"{model}"'.encode())
            return web.Response(status=answer.status, body=said, content_type=answer.content_type)


def refusal(status: int, message: str, code: str) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return web.json_response({"error": error}, status=status)


@asynccontextmanager
async def opened_gate(behind: dict[str, str]) -> AsyncIterator[Tollgate]:
    application = web.Application(client_max_size=2**24)
    async with ClientSession() as session:
        gate = Tollgate(behind, session)
        application.router.add_route("*", "/v1/{rest:.*}", gate.handle)
        async with serving(application) as address:
            gate.url = f"{address}/v1"
            yield gate


@contextmanager
def tollgate() -> Iterator[Tollgate]:
    """Run the server in a thread of its own."""
    with ExitStack() as stack:
        seeds = {seed: stack.enter_context(stand_in_endpoint(seed=seed)) for seed in sorted(set(MODELS.values()))}
        yield stack.enter_context(in_thread(opened_gate({model: seeds[seed] for model, seed in MODELS.items()})))


@pytest.fixture(scope="module")
def running_gate() -> Iterator[Tollgate]:
    with tollgate() as gate:
        yield gate


@pytest.fixture
def gate(running_gate: Tollgate) -> Tollgate:
    """The server, having seen nobody yet."""
    running_gate.bodies.clear()
    running_gate.keys.clear()
    running_gate.most_at_once = 0
    return running_gate


@pytest.fixture(scope="session")
def free_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reports of a corpus whose egress policy is `any`, each curated."""
    return curated_store(tmp_path_factory.mktemp("free"), REPORTS, seed=3)


@pytest.fixture
def sendable(free_store: Path, tmp_path: Path) -> Path:
    """A copy of the store, to be labelled."""
    return copied(free_store, tmp_path)
