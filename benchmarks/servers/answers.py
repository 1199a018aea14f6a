"""What the benchmarks' servers answer: forms filled in with the rules' own labels, made once and sent as they are.

Answers agree with the rule labeler, so nothing is disputed unless it is asked for: in a given share of the texts one
finding is turned round, and the adjudicator is asked. Its answer gives the rules' status back. Tokens are cut, and
their log-probabilities written, as the package's stand-in does.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports import LongReport

from teachback.agents.forms import label_schema
from teachback.agents.rule_labeler import RuleLabeler
from teachback.agents.stand_in.mistakes import rng_for, status_distribution
from teachback.agents.stand_in.pieces import Choice, count_pieces, logprobs_json, pieces_of
from teachback.prompts import load_prompt
from teachback.store.label import FINDINGS, Status

__all__ = ["MODEL", "NOTHING", "Knowledge", "completion", "form_answer", "label_answer"]

MODEL = "replay"
LONGEST_QUOTE = 60  # characters
_TURNED: dict[Status, Status] = {
    "present": "absent",
    "absent": "present",
    "uncertain": "absent",
    "unmentioned": "present",
}


@dataclass(frozen=True)
class Knowledge:
    """What is known of one report.

    Attributes:
        statuses: Finding to the rules' status and a short quote.
        diseases: Name, code and quote of each disease.
        turned: The finding that the model's answer turns round, if any.
        prompt_tokens: Tokens of the labeler's question.
    """

    statuses: Mapping[str, tuple[Status, str]]
    diseases: Sequence[Mapping[str, str]]
    turned: str | None
    prompt_tokens: int

    @classmethod
    def of_all(cls, texts: Iterable[LongReport], rules: RuleLabeler, disagree: float, seed: int) -> list["Knowledge"]:
        """Read reports with the rules.

        Args:
            texts: The reports.
            rules: The rule labeler.
            disagree: Share of the reports in which one finding is turned round.
            seed: Decides which.
        """
        return [cls._of(text, number, rules, disagree, seed) for number, text in enumerate(texts)]

    @classmethod
    def _of(cls, text: LongReport, number: int, rules: RuleLabeler, disagree: float, seed: int) -> "Knowledge":
        report = text.report(number)
        statuses = {
            finding: (status, evidence[0].quote[:LONGEST_QUOTE] if evidence else "")
            for finding, (status, evidence) in (rules.verdicts(report) or {}).items()
        }
        words = report.text("full")
        diseases = [{"name": d.name, "icd10": d.icd10, "evidence": _quote(d.name, words)} for d in text.diseases]
        rng = rng_for(seed, "disagree", number)
        turned = rng.choice(FINDINGS) if rng.random() < disagree else None
        asked = load_prompt("llm_labeler").render(report=words)
        tokens = sum(count_pieces(message["content"]) for message in asked)
        return cls(statuses, diseases, turned, tokens)


NOTHING = Knowledge({}, [], None, 0)  # of a question that is about no report, such as a framework's own probe


def label_answer(known: Knowledge, seed: int) -> list[str | Choice]:
    """Return the LLM labeler's answer, the statuses as choices."""
    return _filled(label_schema(), known, turn=True, seed=seed)


def form_answer(known: Knowledge, schema: Mapping[str, Any], seed: int) -> list[str | Choice]:
    """Return the answer to a form that was sent, the adjudicator's above all: nothing is turned round in it."""
    return _filled(schema, known, turn=False, seed=seed)


def completion(segments: Sequence[str | Choice], prompt_tokens: int, top: int | None) -> bytes:
    """Return an answer as the endpoint sends it.

    Args:
        segments: What the model says.
        prompt_tokens: Tokens of the question.
        top: Alternatives of each token; None for no log-probabilities.
    """
    pieces = pieces_of(segments)
    logprobs = "null" if top is None else f'{{"content":{logprobs_json(pieces, top)},"refusal":null}}'
    content = json.dumps("".join(piece.token for piece in pieces))
    return (
        f'{{"id":"chatcmpl-{MODEL}","object":"chat.completion","created":0,"model":"{MODEL}","choices":[{{"index":0,'
        f'"message":{{"role":"assistant","content":{content},"refusal":null}},"logprobs":{logprobs},'
        f'"finish_reason":"stop"}}],"usage":{{"prompt_tokens":{prompt_tokens},"completion_tokens":{len(pieces)},'
        f'"total_tokens":{prompt_tokens + len(pieces)},"prompt_tokens_details":{{"cached_tokens":0}}}}}}'
    ).encode()


def _filled(schema: Mapping[str, Any], known: Knowledge, *, turn: bool, seed: int) -> list[str | Choice]:
    segments: list[str | Choice] = []
    _fill(schema, "", known, turn, seed, segments)
    joined: list[str | Choice] = []
    for segment in segments:
        if isinstance(segment, str) and joined and isinstance(joined[-1], str):
            joined[-1] += segment
        else:
            joined.append(segment)
    return joined


def _fill(
    schema: Mapping[str, Any], key: str, known: Knowledge, turn: bool, seed: int, segments: list[str | Choice]
) -> None:
    kind, properties = schema.get("type"), schema.get("properties") or {}
    if kind == "array":
        segments.append(_text(known.diseases if "icd10" in (schema.get("items") or {}).get("properties", {}) else []))
    elif kind != "object":
        empty = {"integer": 0, "number": 0, "boolean": False}.get(str(kind), "")
        segments.append(_text(schema["enum"][0] if schema.get("enum") else empty))
    elif any(_is_status(inner) for inner in properties.values()):
        _fill_target(properties, key, known, turn, seed, segments)
    else:
        for index, (name, inner) in enumerate(properties.items()):
            segments.append(("," if index else "{") + _text(name) + ":")
            _fill(inner, name, known, turn, seed, segments)
        segments.append("}" if properties else "{}")


def _fill_target(
    properties: Mapping[str, Any], key: str, known: Knowledge, turn: bool, seed: int, segments: list[str | Choice]
) -> None:
    status, quote = known.statuses.get(key, ("present", ""))
    if turn and key == known.turned:
        status, quote = _TURNED[status], ""
    sure = status_distribution(status, status, rng_for(seed, key, quote, status))
    words = {"evidence": quote, "rationale": f"The report's own words decide {key}."}
    for index, (name, inner) in enumerate(properties.items()):
        segments.append(("," if index else "{") + _text(name) + ":")
        segments.extend(['"', Choice(status, sure), '"'] if _is_status(inner) else [_text(words.get(name, ""))])
    segments.append("}")


def _is_status(schema: Mapping[str, Any]) -> bool:
    return "present" in (schema.get("enum") or ())


def _quote(name: str, text: str) -> str:
    start = text.lower().find(name.lower())
    return text[start : start + len(name)] if start >= 0 else ""


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
