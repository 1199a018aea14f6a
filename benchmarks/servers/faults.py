"""What a bad endpoint does to a request: drawn from seed, question and attempt, so that a run can be told again.

Most questions are answered sooner or later; a known few never are, whatever the attempt.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from teachback.agents.stand_in.mistakes import rng_for

__all__ = ["PAID", "SHARES", "Fault", "Plan", "spoiled"]

Fault = Literal[
    "usable", "http", "hang", "reset", "truncated", "prose", "fenced", "missing", "wrong", "length", "refusal", "never"
]

# Shares of the attempts. `http` is the 5 % of 5xx; what is left over is usable.
SHARES: Mapping[Fault, float] = {
    "http": 0.05,
    "hang": 0.005,
    "reset": 0.01,
    "truncated": 0.005,
    "prose": 0.004,
    "fenced": 0.004,
    "missing": 0.004,
    "wrong": 0.004,
    "length": 0.004,
    "refusal": 0.003,
}
NEVER = 0.002  # share of the reports that are never answered
PAID: frozenset[Fault] = frozenset(
    {"usable", "truncated", "prose", "fenced", "missing", "wrong", "length", "refusal"}
)  # what an endpoint bills: tokens were made
HTTP_STATUSES = (500, 502, 503, 504, 520, 529)


@dataclass(frozen=True)
class Plan:
    """Which faults a seed brings.

    Attributes:
        seed: The seed.
    """

    seed: int

    def never(self, number: int) -> bool:
        """Whether a report is one of those that are never answered."""
        return rng_for(self.seed, "never", number).random() < NEVER

    def fault(self, number: int, question: str, attempt: int) -> Fault:
        """Return what happens to an attempt.

        Args:
            number: The report.
            question: Hash of the request.
            attempt: How often it was admitted before.
        """
        if self.never(number):
            return "never" if rng_for(self.seed, "how", number).random() < 0.5 else "refusal"
        drawn = rng_for(self.seed, "fault", question, attempt).random()
        for fault, share in SHARES.items():
            if drawn < share:
                return fault
            drawn -= share
        return "usable"

    def status(self, question: str, attempt: int) -> int:
        """Return the HTTP status of a fault of kind `http`."""
        return rng_for(self.seed, "status", question, attempt).choice(HTTP_STATUSES)


def spoiled(answer: bytes, fault: Fault) -> bytes:
    """Return an answer with something wrong about what it says; its HTTP and its outer JSON stay valid."""
    body: dict[str, Any] = json.loads(answer)
    choice = body["choices"][0]
    content: str = choice["message"]["content"]
    choice["logprobs"] = None
    if fault == "refusal":
        choice["message"] = {"role": "assistant", "content": None, "refusal": "I'm sorry, I can't help with that."}
    elif fault == "length":
        choice["finish_reason"] = "length"
        choice["message"]["content"] = content[: len(content) // 2]
    elif fault == "prose":
        choice["message"]["content"] = "The heart is enlarged. There is no effusion. I hope that this helps!"
    elif fault == "fenced":
        choice["message"]["content"] = f"```json\n{content[:-1]}\n```"  # and one brace short
    else:
        choice["message"]["content"] = json.dumps(_broken(json.loads(content), fault))
    return json.dumps(body).encode()


def _broken(form: dict[str, Any], fault: Fault) -> dict[str, Any]:
    entries = next(inner for inner in form.values() if isinstance(inner, dict))
    first = next(iter(entries))
    if fault == "missing":
        del entries[first]
    else:
        entries[first]["status"] = "maybe"
    return form
