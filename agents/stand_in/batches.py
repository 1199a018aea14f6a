"""The stand-in's Files and Batches endpoints, as OpenAI's API has them: all in memory, gone when it stops.

A batch goes `validating`, `in_progress`, `finalizing`, then `completed` or `expired`; `failed` where its file is not
valid; `cancelled` where somebody cancels it. Its answers are those of the chat completions, in an order of its own:
whoever reads them by position instead of by `custom_id` mixes them up.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web

from teachback.agents.stand_in.mistakes import rng_for
from teachback.errors import SettingError

__all__ = ["Answering", "BatchCourse", "mount"]

COMPLETIONS = "/v1/chat/completions"
WINDOW = "24h"
WINDOW_S = 24 * 60 * 60
MOST_REQUESTS = 50_000  # in a file, as at OpenAI's
LARGEST_FILE = 200 * 10**6  # bytes, likewise
MOST_PROBLEMS = 100  # of an invalid file that are listed
LONGEST_PAGE, USUAL_PAGE = 100, 20  # entries of a listing
STEP_S = 0.01  # how soon a cancelled batch stops
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
UNEXECUTED = {
    "expired": {
        "code": "batch_expired",
        "message": "This request could not be executed before the completion window expired.",
    },
    "cancelled": {"code": "batch_cancelled", "message": "The batch was cancelled before this request was executed."},
}

Answering = Callable[[object], tuple[int, bytes]]  # a request's body to the status and the JSON that answer it


@dataclass(frozen=True)
class BatchCourse:
    """How the stand-in's batches go.

    Attributes:
        done_after_s: Seconds from a batch's creation to its end.
        error_share: Share of its requests that fail; others in each batch.
        unanswered_share: Share of its requests that are still waiting when its window closes; above 0 it expires.
        fails_validation: Whether every input file is refused.
    """

    done_after_s: float = 0.0
    error_share: float = 0.0
    unanswered_share: float = 0.0
    fails_validation: bool = False

    def __post_init__(self) -> None:
        for name in ("error_share", "unanswered_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(f"{name} is {getattr(self, name):g}, which is no share", "give one from 0 to 1")


@dataclass
class _Batch:
    number: int
    metadata: Mapping[str, str] | None
    input_file_id: str
    status: str = "validating"
    moments: dict[str, int] = field(default_factory=lambda: {"created": int(time.time())})
    errors: Sequence[Mapping[str, Any]] = ()
    total: int = 0
    answered: list[bytes] = field(default_factory=list)
    failed: list[bytes] = field(default_factory=list)
    tokens: list[int] = field(default_factory=lambda: [0, 0])
    files: dict[str, str] = field(default_factory=dict)

    @property
    def batch_id(self) -> str:
        return f"batch_standin{self.number:06}"

    def enter(self, status: str) -> None:
        self.status = status
        self.moments[status] = int(time.time())

    def to_json(self) -> dict[str, Any]:
        """Return the batch as the API shows it."""
        steps = ("created", "in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
        sent, returned = self.tokens
        usage = {
            "input_tokens": sent,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": returned,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": sent + returned,
        }
        return {
            "id": self.batch_id,
            "object": "batch",
            "endpoint": COMPLETIONS,
            "errors": {"object": "list", "data": list(self.errors)} if self.errors else None,
            "input_file_id": self.input_file_id,
            "completion_window": WINDOW,
            "status": self.status,
            "output_file_id": self.files.get("output"),
            "error_file_id": self.files.get("error"),
            "expires_at": self.moments["created"] + WINDOW_S,
            **{f"{step}_at": self.moments.get(step) for step in steps},
            "request_counts": {"total": self.total, "completed": len(self.answered), "failed": len(self.failed)},
            "metadata": self.metadata,
            "usage": usage,
        }


def mount(application: web.Application, answer: Answering, course: BatchCourse, seed: int = 0) -> None:
    """Add the Files and Batches endpoints to a server.

    Args:
        application: The server.
        answer: Answers one chat completion.
        course: How its batches go.
        seed: Decides which requests fail and in which order answers come.
    """
    desk = _Desk(answer, course, seed)
    application.router.add_post("/v1/files", desk.upload)
    application.router.add_get("/v1/files/{id}", desk.show_file)
    application.router.add_get("/v1/files/{id}/content", desk.content)
    application.router.add_post("/v1/batches", desk.create)
    application.router.add_get("/v1/batches", desk.list_batches)
    application.router.add_get("/v1/batches/{id}", desk.show)
    application.router.add_post("/v1/batches/{id}/cancel", desk.cancel)
    application.on_cleanup.append(desk.close)


class _Desk:
    def __init__(self, answer: Answering, course: BatchCourse, seed: int) -> None:
        self._answer = answer
        self._course = course
        self._seed = seed
        self._files: dict[str, tuple[dict[str, Any], bytes]] = {}
        self._batches: dict[str, _Batch] = {}
        self._working: set[asyncio.Task[None]] = set()

    async def close(self, _: web.Application) -> None:
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)

    async def upload(self, request: web.Request) -> web.Response:
        parts: dict[str, bytes] = {}
        name = "file"
        if not request.content_type.startswith("multipart/"):
            return _refusal(400, "send the file as multipart/form-data", "file")
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                continue
            content = bytearray()
            while chunk := await part.read_chunk(2**16):
                content += chunk
                if len(content) > LARGEST_FILE:
                    return _refusal(413, f"the file exceeds {LARGEST_FILE} bytes", "file")
            name = part.filename or name
            parts[part.name or ""] = bytes(content)
        if parts.get("purpose") != b"batch" or "file" not in parts:
            return _refusal(400, "the stand-in takes a file of purpose 'batch'", "purpose")
        return web.json_response(self._keep(name, "batch", parts["file"]))

    async def show_file(self, request: web.Request) -> web.Response:
        kept = self._files.get(request.match_info["id"])
        return web.json_response(kept[0]) if kept else _unknown("file", request)

    async def content(self, request: web.Request) -> web.Response:
        kept = self._files.get(request.match_info["id"])
        return (
            web.Response(body=kept[1], content_type="application/octet-stream") if kept else _unknown("file", request)
        )

    async def create(self, request: web.Request) -> web.Response:
        try:
            asked = json.loads(await request.read())
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            return _refusal(400, "the request is not a JSON object")
        if asked.get("endpoint") != COMPLETIONS:
            return _refusal(400, f"the only endpoint is {COMPLETIONS}", "endpoint")
        if asked.get("completion_window") != WINDOW:
            return _refusal(400, f"the only completion window is {WINDOW}", "completion_window")
        kept = self._files.get(str(asked.get("input_file_id")))
        if kept is None or kept[0]["purpose"] != "batch":
            return _refusal(400, f"no file of purpose 'batch' is called {asked.get('input_file_id')}", "input_file_id")
        batch = _Batch(len(self._batches) + 1, asked.get("metadata"), kept[0]["id"])
        self._batches[batch.batch_id] = batch
        task = asyncio.create_task(self._work(batch, kept[1]))
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        return web.json_response(batch.to_json())

    async def show(self, request: web.Request) -> web.Response:
        batch = self._batches.get(request.match_info["id"])
        return web.json_response(batch.to_json()) if batch else _unknown("batch", request)

    async def list_batches(self, request: web.Request) -> web.Response:
        newest_first = list(reversed(self._batches.values()))
        after, limit = request.query.get("after"), request.query.get("limit", str(USUAL_PAGE))
        if not limit.isdecimal() or not 1 <= int(limit) <= LONGEST_PAGE:
            return _refusal(400, f"limit must be from 1 to {LONGEST_PAGE}", "limit")
        if after is not None:
            if after not in self._batches:
                return _refusal(400, f"no batch is called {after}", "after")
            newest_first = newest_first[newest_first.index(self._batches[after]) + 1 :]
        page = [batch.to_json() for batch in newest_first[: int(limit)]]
        ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
        return web.json_response({"object": "list", "data": page, **ends, "has_more": len(newest_first) > len(page)})

    async def cancel(self, request: web.Request) -> web.Response:
        batch = self._batches.get(request.match_info["id"])
        if batch is None:
            return _unknown("batch", request)
        if batch.status in ENDED:
            return _refusal(409, f"a batch that is {batch.status} cannot be cancelled")
        batch.enter("cancelling")
        return web.json_response(batch.to_json())

    async def _work(self, batch: _Batch, content: bytes) -> None:
        until = asyncio.get_running_loop().time() + self._course.done_after_s
        await asyncio.sleep(0)
        asked, batch.errors = _read(content)
        if self._course.fails_validation:
            batch.errors = [_problem("invalid_request", "The stand-in was told to refuse every file.", None)]
        if batch.errors:
            batch.enter("failed")
            return
        batch.total = len(asked)
        if batch.status == "validating":
            batch.enter("in_progress")
        chance = rng_for(self._seed, "batch", batch.number)
        chance.shuffle(asked)
        unanswered = round(self._course.unanswered_share * len(asked))
        executed = asked[: len(asked) - unanswered]
        done = 0
        for request in executed:
            await _wait(batch, until - self._course.done_after_s * (1 - done / len(asked)))
            if batch.status == "cancelling":
                break
            self._execute(batch, request, fails=chance.random() < self._course.error_share)
            done += 1
        await _wait(batch, until)
        ending = "cancelled" if batch.status == "cancelling" else "expired" if unanswered else "completed"
        if ending != "cancelled":
            batch.enter("finalizing")
            await asyncio.sleep(0)
        for request in asked[done:]:
            batch.failed.append(_line(batch, request, "null", json.dumps(UNEXECUTED[ending])))
        for kind, lines in (("output", batch.answered), ("error", batch.failed)):
            if lines:
                name = f"{batch.batch_id}_{kind}.jsonl"
                batch.files[kind] = self._keep(name, "batch_output", b"".join(lines))["id"]
        batch.enter(ending)

    def _execute(self, batch: _Batch, request: Mapping[str, Any], *, fails: bool) -> None:
        status, body = self._answer(request["body"])
        if fails:
            message = "The server had an error while executing this request."
            status, body = 500, json.dumps({"error": {"message": message, "type": "server_error"}}).encode()
        name = f"req_{batch.number}_{len(batch.answered) + len(batch.failed)}"
        response = f'{{"status_code":{status},"request_id":"{name}","body":{body.decode()}}}'
        line = _line(batch, request, response, "null")
        if status != 200:
            batch.failed.append(line)
            return
        batch.answered.append(line)
        usage = json.loads(body).get("usage") or {}
        batch.tokens[0] += usage.get("prompt_tokens") or 0
        batch.tokens[1] += usage.get("completion_tokens") or 0

    def _keep(self, name: str, purpose: str, content: bytes) -> dict[str, Any]:
        file_id = f"file-standin{len(self._files) + 1:06}"
        shown = {
            "id": file_id,
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": name,
            "purpose": purpose,
            "status": "processed",
            "expires_at": None,
            "status_details": None,
        }
        self._files[file_id] = (shown, content)
        return shown


def _read(content: bytes) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Return the requests of an input file, and what is wrong with it."""
    asked: list[Mapping[str, Any]] = []
    problems: list[Mapping[str, Any]] = []
    known: set[str] = set()
    models: set[str] = set()
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            request = json.loads(line)
        except ValueError:
            request = None
        problem = _problem_of(request, known, models, number)
        if problem:
            problems.append(problem)
        else:
            asked.append(request)
    if not asked and not problems:
        problems.append(_problem("empty_file", "The input file holds no request.", None))
    if len(asked) > MOST_REQUESTS:
        problems.append(_problem("too_many_tasks", f"The input file holds more than {MOST_REQUESTS} requests.", None))
    return asked, problems[:MOST_PROBLEMS]


def _problem_of(request: Any, known: set[str], models: set[str], line: int) -> Mapping[str, Any] | None:
    if not isinstance(request, dict):
        return _problem("invalid_json_line", "This line is not parseable as valid JSON.", line)
    custom_id, body = request.get("custom_id"), request.get("body")
    if not isinstance(custom_id, str) or not custom_id or not isinstance(body, dict):
        missing = "body" if isinstance(custom_id, str) and custom_id else "custom_id"
        return _problem("missing_required_parameter", f"This line has no {missing}.", line, missing)
    if custom_id in known:
        return _problem("duplicate_custom_id", f"The custom_id {custom_id} is used more than once.", line, "custom_id")
    known.add(custom_id)
    if request.get("method") != "POST":
        return _problem("invalid_method", "The only method is POST.", line, "method")
    if request.get("url") != COMPLETIONS:
        return _problem("url_mismatch", f"The url is not the batch's endpoint, {COMPLETIONS}.", line, "url")
    models.add(str(body.get("model")))
    if len(models) > 1:
        return _problem("model_mismatch", "All requests of a batch must name the same model.", line, "body.model")
    return None


def _problem(code: str, message: str, line: int | None, parameter: str | None = None) -> Mapping[str, Any]:
    return {"code": code, "message": message, "line": line, "param": parameter}


def _line(batch: _Batch, request: Mapping[str, Any], response: str, error: str) -> bytes:
    number = len(batch.answered) + len(batch.failed)
    custom_id = json.dumps(request["custom_id"])
    line = f'{{"id":"batch_req_{batch.number}_{number}","custom_id":{custom_id},"response":{response},"error":{error}}}'
    return line.encode() + b"\n"


async def _wait(batch: _Batch, until: float) -> None:
    """Wait, in short steps, for a moment or for the batch to be cancelled; let others run in any case."""
    await asyncio.sleep(0)
    while batch.status != "cancelling" and (left := until - asyncio.get_running_loop().time()) > 0:
        await asyncio.sleep(min(left, STEP_S))


def _refusal(status: int, message: str, parameter: str | None = None) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": parameter, "code": None}
    return web.json_response({"error": error}, status=status)


def _unknown(kind: str, request: web.Request) -> web.Response:
    return _refusal(404, f"no {kind} is called {request.match_info['id']}", "id")
