"""A model endpoint on loopback with everything that goes wrong: limits, storms of 429, 5xx, hangs, cut and bad answers.

    python benchmarks/servers/faulty.py --texts 4000 --log requests.jsonl [--rpm 3000] [--seed 0]

What it answers, and the reports that it knows, are those of `replay.py`. What became of each admitted request is
appended to the log before its answer is sent, whether or not anybody still listens: a killed client pays all the same.
As at OpenAI, requests that fail count against the limits too. `GET /stats` tells what is in flight, and the storms.
"""

import argparse
import asyncio
import hashlib
import json
import os
import re
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from answers import MODEL, Knowledge, completion, form_answer, label_answer
from bucket import Buckets
from faults import Fault, Plan, spoiled
from reports import MARK, long_reports
from wire import Connection, install_uvloop, serve_until_stopped

from teachback.agents.rule_labeler import RuleLabeler
from teachback.agents.stand_in.mistakes import rng_for

CHARACTERS_A_TOKEN = 4  # as endpoints estimate a request's size before they admit it
LATENCY_S = (0.2, 0.5)  # of an answer, drawn evenly
STORM_EVERY_S = (15.0, 25.0)  # from the end of one to the start of the next
STORM_S = (2.0, 4.0)
TRUNCATED_AT = 0.6  # of the body

_NUMBER = re.compile(re.escape(MARK) + r"(\d{6})")


@dataclass(frozen=True)
class Question:
    """One request, read.

    Attributes:
        number: The report that it is about.
        agent: `label` or `verdict`.
        key: Hash of its body.
        tokens: What it counts for against the limits: its prompt and the longest answer that it allows.
        schema: The form to fill in.
        top: Alternatives of each token, where log-probabilities are wanted.
    """

    number: int
    agent: str
    key: str
    tokens: float
    schema: dict[str, Any]
    top: int | None

    @classmethod
    def read(cls, body: bytes) -> "Question":
        """Read a request's body."""
        asked = json.loads(body)
        said = "\n".join(str(message["content"]) for message in asked["messages"])
        form = asked["response_format"]["json_schema"]
        longest = asked.get("max_tokens") or asked.get("max_completion_tokens") or 0
        return cls(
            int(_NUMBER.findall(said)[-1]),
            "verdict" if form["name"] == "chest_report_verdicts" else "label",
            hashlib.blake2b(body, digest_size=8).hexdigest(),
            len(said) / CHARACTERS_A_TOKEN + longest,
            form["schema"],
            asked.get("top_logprobs") if asked.get("logprobs") else None,
        )


class Faulty:
    """The endpoint.

    Args:
        known: What it knows, text by text.
        plan: Its faults.
        buckets: Its limits.
        log: Where it is noted what became of each request.
        hang_s: After how long a hanging connection is dropped.
    """

    def __init__(self, known: list[Knowledge], plan: Plan, buckets: Buckets, log: Path, hang_s: float) -> None:
        self._known = known
        self._plan = plan
        self._buckets = buckets
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._hang_s = hang_s
        self._attempts: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._in_flight: Counter[tuple[int, str]] = Counter()
        self._storms: list[tuple[float, float]] = []  # start and end, in seconds since the epoch
        self._first_at: float | None = None

    def handle(self, connection: Connection, method: str, path: str, body: bytes) -> None:
        """Answer one request, or do not."""
        if path.endswith("/chat/completions") and method == "POST":
            self._complete(connection, Question.read(body))
        elif path.endswith("/models"):
            connection.send_json({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        elif path == "/stats":
            connection.send_json(self._stats())
        else:
            connection.send_json({"error": {"message": f"there is no {path}"}}, 404)

    def _complete(self, connection: Connection, question: Question) -> None:
        now = time.monotonic()
        self._first_at = self._first_at or time.time()
        self._counts["requests"] += 1
        if (left := self._storm_left()) > 0:
            self._counts["429 in a storm"] += 1
            self._refuse(connection, left, now, told=self._counts["requests"] % 3)
            return
        wait = self._buckets.take(question.tokens, now)
        if wait > 0:
            self._counts["429 by the limits"] += 1
            self._refuse(connection, wait, now, told=1)
            return
        attempt = self._attempts[question.key]
        self._attempts[question.key] += 1
        fault = self._plan.fault(question.number, question.key, attempt)
        self._in_flight[question.number, question.agent] += 1
        seconds = rng_for(self._plan.seed, "latency", question.key, attempt).uniform(*LATENCY_S)
        later = self._hang_s if fault == "hang" else seconds
        asyncio.get_running_loop().call_later(later, self._end, connection, question, attempt, fault, time.time())

    def _end(self, connection: Connection, question: Question, attempt: int, fault: Fault, at: float) -> None:
        self._in_flight[question.number, question.agent] -= 1
        self._counts[fault] += 1
        self._note(question, fault, at, not connection.closed)
        headers = self._buckets.headers(time.monotonic())
        if fault in ("hang", "reset"):
            connection.reset()
        elif fault == "never":
            error = {"message": "Your prompt was flagged by our policy.", "code": "content_policy_violation"}
            connection.send_json({"error": error}, 400, headers)
        elif fault == "http":
            status = self._plan.status(question.key, attempt)
            connection.send_json({"error": {"message": "The server had an error."}}, status, headers)
        else:
            answer = self._answer(question)
            if fault == "truncated":
                connection.send_part(answer, int(TRUNCATED_AT * len(answer)))
            else:
                connection.send(answer if fault == "usable" else spoiled(answer, fault), headers=headers)

    def _answer(self, question: Question) -> bytes:
        known = self._known[question.number % len(self._known)]
        seed = self._plan.seed
        said = label_answer(known, seed) if question.agent == "label" else form_answer(known, question.schema, seed)
        return completion(said, known.prompt_tokens, question.top)

    def _note(self, question: Question, fault: Fault, at: float, heard: bool) -> None:
        line = {
            "at": at,
            "question": question.key,
            "report": question.number,
            "agent": question.agent,
            "kind": fault,
            "heard": heard,
        }
        os.write(self._log, json.dumps(line).encode() + b"\n")

    def _refuse(self, connection: Connection, wait: float, now: float, told: int) -> None:
        headers = self._buckets.headers(now)
        if told:  # endpoints differ in what they tell; some refusals in a storm tell nothing
            headers["retry-after"] = str(max(1, round(wait + 0.5)))
        if told == 1:
            headers["retry-after-ms"] = str(round(1000 * wait) + 1)
        error = {"message": "Rate limit reached.", "type": "requests", "code": "rate_limit_exceeded"}
        connection.send_json({"error": error}, 429, headers)

    def _storm_left(self) -> float:
        """Return the seconds that the storm at hand lasts on; storms are drawn as time goes by."""
        now = time.time()
        while not self._storms or self._storms[-1][1] < now:
            rng = rng_for(self._plan.seed, "storm", len(self._storms))
            start = (self._storms[-1][1] if self._storms else now) + rng.uniform(*STORM_EVERY_S)
            self._storms.append((start, start + rng.uniform(*STORM_S)))
        start, end = self._storms[-1]
        return end - now if now >= start else 0.0

    def _stats(self) -> dict[str, Any]:
        return {
            "counts": dict(self._counts),
            "first_at": self._first_at,
            "in_flight": [list(key) for key, count in self._in_flight.items() if count > 0],
            "storms": self._storms,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=4_000, help="different reports that it knows")
    parser.add_argument("--log", type=Path, required=True, help="what became of each request, one JSON object a line")
    parser.add_argument("--rpm", type=float, default=3_000.0, help="requests a minute")
    parser.add_argument("--tpm", type=float, default=15_000_000.0, help="tokens a minute")
    parser.add_argument("--burst-s", type=float, default=2.0, help="seconds of unused rate that the limits save up")
    parser.add_argument("--disagree", type=float, default=0.1, help="share of reports with a finding turned round")
    parser.add_argument("--hang-s", type=float, default=20.0, help="seconds until a hanging connection is dropped")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free one")
    options = parser.parse_args()
    known = Knowledge.of_all(long_reports(options.texts, options.seed), RuleLabeler(), options.disagree, options.seed)
    buckets = Buckets(options.rpm, options.tpm, options.burst_s, time.monotonic())
    faulty = Faulty(known, Plan(options.seed), buckets, options.log, options.hang_s)
    install_uvloop()
    asyncio.run(serve_until_stopped(faulty.handle, options.port))


if __name__ == "__main__":
    main()
