"""How the stand-in fills in a form: it knows the messages and the JSON schema, and nothing else.

It takes the report out of the user's message, learns from the schema which targets and which values are wanted, reads
the report with its crude reader, and plants its seeded mistakes. Where the form asks for a rationale it is an
adjudicator: it reads again, with mistakes of its own at half the rates, and looks at whether each vote's evidence
says what the vote says. Where nothing backs any vote, it sometimes says that it cannot tell, if the form
allows that.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from teachback.agents.stand_in.mistakes import MistakeRates, mistaken_status, rng_for, status_distribution
from teachback.agents.stand_in.pieces import Choice
from teachback.agents.stand_in.reader import CODES, Reading, read_report, read_target
from teachback.store.label import Status

__all__ = ["StandInMind"]

ADJUDICATOR_CARE = 0.5  # an adjudicator's mistake rates, as a share of the labeler's
LEFT_OPEN = 0.5  # share of the disputes in which it cannot tell, of those in which neither it nor a quote backs a vote
CANNOT_TELL = "cannot_tell"
UNBACKED = "no vote's evidence says what the vote says"

_REPORT = re.compile(r"<report>(.*?)</report>", re.DOTALL)
_VOTES = re.compile(r"<votes>(.*?)</votes>", re.DOTALL)
_TARGET_LINE = re.compile(r'^(?P<key>[^\n="]+) = (?P<target>"(?:[^"\\]|\\.)*")')


@dataclass(frozen=True, slots=True)
class _Vote:
    labeler: str
    status: str
    evidence: str


@dataclass(frozen=True, slots=True)
class _Decision:
    reading: Reading
    said: Status
    probabilities: Mapping[Status, float]
    rationale: str = ""
    backed: bool = True  # whether a vote says the same, or a quote says what its vote says


@dataclass(frozen=True, slots=True)
class _Task:
    report: str
    votes: Mapping[str, tuple[str, list[_Vote]]]  # key to target and votes


class StandInMind:
    """Answers requests, each a function of the request, the seed and the rates.

    Args:
        seed: Seed of its mistakes and of how sure it says it is.
        rates: How often it errs.
    """

    def __init__(self, seed: int, rates: MistakeRates) -> None:
        self.seed = seed
        self.rates = rates
        self.careful = rates.scaled(ADJUDICATOR_CARE)

    def answer(self, messages: Sequence[Mapping[str, Any]], schema: Mapping[str, Any]) -> list[str | Choice]:
        """Return the answer's JSON text in segments, the statuses as choices.

        Args:
            messages: The request's messages.
            schema: The JSON schema that the answer must follow.
        """
        said = "\n".join(str(message.get("content", "")) for message in messages if message.get("role") == "user")
        reports = _REPORT.findall(said)
        task = _Task(reports[-1].strip() if reports else said, _parse_votes(_REPORT.sub("", said)))
        segments: list[str | Choice] = []
        self._fill(schema, "", task, segments)
        return _joined(segments)

    def _fill(self, schema: Mapping[str, Any], key: str, task: _Task, segments: list[str | Choice]) -> None:
        kind, enum = schema.get("type"), schema.get("enum")
        if kind == "object":
            properties: Mapping[str, Any] = schema.get("properties") or {}
            if "enum" in (properties.get("status") or {}):
                self._fill_target(properties, key, task, segments)
                return
            for index, (name, inner) in enumerate(properties.items()):
                segments.append(("," if index else "{") + _text(name) + ":")
                self._fill(inner, name, task, segments)
            segments.append("}" if properties else "{}")
        elif kind == "array":
            self._fill_list(schema.get("items") or {}, task, segments)
        elif enum:
            segments.append(_text(enum[0]))
        else:
            segments.append({"number": "0", "integer": "0", "boolean": "false", "null": "null"}.get(str(kind), '""'))

    def _fill_target(self, properties: Mapping[str, Any], key: str, task: _Task, segments: list[str | Choice]) -> None:
        target = task.votes[key][0] if key in task.votes else key
        enum = properties["status"]["enum"]
        if "rationale" in properties:
            decision = self._decide(target, key, task)
        else:
            decision = _Decision(*self._read(target, task.report, "label", self.rates))
        choice, rationale = _allowed(decision.said, decision.probabilities, enum), decision.rationale
        if not decision.backed and CANNOT_TELL in enum:
            choice, rationale = self._doubted(choice, rationale, target, task.report)
        quote = "" if decision.said == "unmentioned" else decision.reading.quote
        strings = {"evidence": quote, "rationale": rationale}
        for index, name in enumerate(properties):
            segments.append(("," if index else "{") + _text(name) + ":")
            if name == "status":
                segments += ['"', choice, '"']
            else:
                segments.append(_text(strings.get(name, "")))
        segments.append("}")

    def _fill_list(self, items: Mapping[str, Any], task: _Task, segments: list[str | Choice]) -> None:
        wanted = items.get("properties") or {}
        entries = []
        if "icd10" in wanted:
            for disease in read_report(task.report)[1]:
                rng = rng_for(self.seed, "disease", disease.name, task.report)
                if rng.random() < self.rates.disease_missed:
                    continue
                wrong = rng.random() < self.rates.disease_miscoded
                codes = sorted({code for _, code in CODES.values() if code != disease.icd10})
                known = {
                    "name": disease.name,
                    "icd10": rng.choice(codes) if wrong else disease.icd10,
                    "evidence": disease.quote,
                }
                entries.append({name: known.get(name, "") for name in wanted})
        segments.append(_text(entries))

    def _read(
        self, target: str, report: str, stream: str, rates: MistakeRates
    ) -> tuple[Reading, Status, dict[Status, float]]:
        reading = read_target(target, report)
        rng = rng_for(self.seed, stream, target, report)
        said = mistaken_status(reading.status, rates, rng)
        return reading, said, status_distribution(said, reading.status, rng)

    def _decide(self, target: str, key: str, task: _Task) -> _Decision:
        reading, said, probabilities = self._read(target, task.report, "decide", self.careful)
        votes = task.votes[key][1] if key in task.votes else []
        agreeing = [vote.labeler for vote in votes if vote.status == said]
        if agreeing or not votes:
            why = f"my own reading is {said}, as {' and '.join(agreeing)} said" if agreeing else f"I read {said}"
            return _Decision(reading, said, probabilities, _rationale(why, reading))
        for vote in votes:  # nobody agrees with the reading: believe a vote whose evidence says what it says
            quoted = read_target(target, vote.evidence) if vote.evidence else Reading("unmentioned", "")
            if vote.evidence and vote.evidence in task.report and quoted.status == vote.status:
                rng = rng_for(self.seed, "believe", target, task.report)
                believed = Reading(quoted.status, vote.evidence)
                why = f"the words that {vote.labeler} relies on say {vote.status}"
                shares = status_distribution(quoted.status, said, rng)
                return _Decision(believed, quoted.status, shares, _rationale(why, believed))
        return _Decision(reading, said, probabilities, _rationale(f"{UNBACKED}; I read {said}", reading), backed=False)

    def _doubted(self, choice: Choice, rationale: str, target: str, report: str) -> tuple[Choice, str]:
        # Neither its reading nor any quote backs a vote: it gives up, or has some doubt left.
        rng = rng_for(self.seed, "doubt", target, report)
        gives_up = rng.random() < LEFT_OPEN
        share = rng.uniform(0.5, 0.9) if gives_up else rng.uniform(0.02, 0.3)
        shares = {status: (1 - share) * value for status, value in choice.probabilities.items()} | {CANNOT_TELL: share}
        if not gives_up:
            return Choice(choice.said, shares), rationale
        return Choice(CANNOT_TELL, shares), f"{UNBACKED}, and I am not sure of my own reading, {choice.said}"


def _parse_votes(said: str) -> dict[str, tuple[str, list[_Vote]]]:
    votes: dict[str, tuple[str, list[_Vote]]] = {}
    current: list[_Vote] = []
    for block in _VOTES.findall(said)[-1:]:
        for line in block.splitlines():
            heading = _TARGET_LINE.match(line.strip())
            if heading:
                current = []
                votes[heading["key"].strip()] = (json.loads(heading["target"]), current)
            elif line.strip().startswith("- {"):
                entry = json.loads(line.strip()[2:])
                current.append(_Vote(*(str(entry.get(name, "")) for name in ("labeler", "status", "evidence"))))
    return votes


def _allowed(said: Status, probabilities: Mapping[Status, float], enum: Sequence[str]) -> Choice:
    left = {status: share for status, share in probabilities.items() if status in enum}
    if not left:
        return Choice(enum[0], dict.fromkeys(enum, 1 / len(enum)))
    total = sum(left.values())
    likeliest = said if said in left else max(left, key=lambda status: left[status])
    return Choice(likeliest, {status: share / total for status, share in left.items()})


def _rationale(why: str, reading: Reading) -> str:
    return f'{why}: "{reading.quote}"' if reading.quote else why


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _joined(segments: Sequence[str | Choice]) -> list[str | Choice]:
    joined: list[str | Choice] = []
    for segment in segments:
        if isinstance(segment, str) and joined and isinstance(joined[-1], str):
            joined[-1] += segment
        else:
            joined.append(segment)
    return joined
