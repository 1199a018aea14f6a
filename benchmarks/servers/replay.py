"""A model endpoint on loopback that answers after a set time from prepared bytes, at a fraction of a client's cost.

    python benchmarks/servers/replay.py --texts 4000 [--latency-ms 200] [--disagree 0.1] [--port 0]

`POST /v1/chat/completions` answers about the report whose number stands in the question (`Study no. 000123`):
log-probabilities only where they are asked for. A question about no report (some frameworks try an endpoint out first)
gets its form filled in with nothing. `GET /v1/models` lists its model, `GET /stats` its counts since the last
`POST /reset`, which may set `?latency_ms=` anew.
"""

import argparse
import asyncio
import json
import re
import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

from answers import MODEL, NOTHING, Knowledge, completion, form_answer, label_answer
from reports import MARK, long_reports
from wire import Connection, install_uvloop, serve_until_stopped

from teachback.agents.rule_labeler import RuleLabeler
from teachback.prompts import load_prompt

_NUMBER = re.compile(re.escape(MARK.encode()) + rb"(\d{6})")
_TOP = re.compile(rb'"top_logprobs": ?(\d+)')
_VERDICTS = b'"chest_report_verdicts"'  # the adjudicator's form, by its name


@dataclass
class Counts:
    """What was asked since the last reset; times in seconds since the epoch."""

    requests: int = 0
    verdicts: int = 0
    unknown: int = 0
    bytes_sent: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    first_at: float | None = None
    last_at: float | None = None
    cpu_from: float = field(default_factory=time.process_time)


class Replay:
    """The endpoint.

    Args:
        known: What it knows, text by text.
        latency_s: Seconds before each answer.
        seed: Seed of how sure it says it is.
    """

    def __init__(self, known: list[Knowledge], latency_s: float, seed: int) -> None:
        self.latency_s = latency_s
        self.counts = Counts()
        self._known = known
        self._seed = seed
        self._answers: dict[tuple[int, int | None], bytes] = {}
        self._verdicts = lru_cache(maxsize=100_000)(self._verdict)
        for index in range(len(known)):
            for top in (None, load_prompt("llm_labeler").parameters.get("top_logprobs")):
                self._label(index, top)

    def handle(self, connection: Connection, method: str, path: str, body: bytes) -> None:
        """Answer one request."""
        if path.endswith("/chat/completions") and method == "POST":
            self._complete(connection, body)
        elif path.endswith("/models"):
            listed = {"id": MODEL, "object": "model", "created": 0, "owned_by": "teachback's benchmarks"}
            connection.send_json({"object": "list", "data": [listed]})
        elif path == "/stats":
            connection.send_json(self._stats())
        elif path.startswith("/reset"):
            wanted = parse_qs(urlsplit(path).query).get("latency_ms")
            self.latency_s = float(wanted[0]) / 1000 if wanted else self.latency_s
            self.counts = Counts()
            connection.send_json({"latency_ms": self.latency_s * 1000})
        else:
            connection.send_json({"error": {"message": f"there is no {path}"}}, 404)

    def _complete(self, connection: Connection, body: bytes) -> None:
        counts = self.counts
        numbers = _NUMBER.findall(body)
        if not numbers:
            counts.unknown += 1
            connection.send(completion(form_answer(NOTHING, _schema(body), self._seed), 0, None))
            return
        counts.requests += 1
        counts.in_flight += 1
        counts.most_in_flight = max(counts.most_in_flight, counts.in_flight)
        counts.first_at = counts.first_at or time.time()
        answer = self._answer(body, numbers[-1])
        if self.latency_s > 0:
            asyncio.get_running_loop().call_later(self.latency_s, self._send, connection, answer, counts)
        else:
            self._send(connection, answer, counts)

    def _send(self, connection: Connection, answer: bytes, counts: Counts) -> None:
        counts.in_flight -= 1
        counts.last_at = time.time()
        counts.bytes_sent += len(answer)
        connection.send(answer)

    def _answer(self, body: bytes, number: bytes) -> bytes:
        index = int(number) % len(self._known)
        wanted = _TOP.search(body)
        top = int(wanted[1]) if wanted else None
        if _VERDICTS in body:
            self.counts.verdicts += 1
            return self._verdicts(index, json.dumps(_schema(body)), top)
        return self._label(index, top)

    def _label(self, index: int, top: int | None) -> bytes:
        if (index, top) not in self._answers:
            known = self._known[index]
            self._answers[index, top] = completion(label_answer(known, self._seed), known.prompt_tokens, top)
        return self._answers[index, top]

    def _verdict(self, index: int, schema: str, top: int | None) -> bytes:
        known = self._known[index]
        return completion(form_answer(known, json.loads(schema), self._seed), known.prompt_tokens, top)

    def _stats(self) -> dict[str, float | None]:
        counts = self.counts
        cpu = time.process_time() - counts.cpu_from
        return {
            "requests": counts.requests,
            "verdicts": counts.verdicts,
            "unknown": counts.unknown,
            "most_in_flight": counts.most_in_flight,
            "bytes_an_answer": counts.bytes_sent // max(1, counts.requests),
            "first_at": counts.first_at,
            "last_at": counts.last_at,
            "cpu_s": cpu,
            "cpu_ms_a_request": 1000 * cpu / max(1, counts.requests),
            "latency_ms": self.latency_s * 1000,
        }


def _schema(body: bytes) -> dict[str, Any]:
    form = (json.loads(body).get("response_format") or {}).get("json_schema") or {}
    schema: dict[str, Any] = form.get("schema") or {}
    return schema


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=4_000, help="different reports that it knows")
    parser.add_argument("--latency-ms", type=float, default=200.0)
    parser.add_argument("--disagree", type=float, default=0.0, help="share of reports with a finding turned round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free one")
    options = parser.parse_args()
    known = Knowledge.of_all(long_reports(options.texts, options.seed), RuleLabeler(), options.disagree, options.seed)
    replay = Replay(known, options.latency_ms / 1000, options.seed)
    install_uvloop()
    asyncio.run(serve_until_stopped(replay.handle, options.port))


if __name__ == "__main__":
    main()
