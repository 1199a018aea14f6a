"""The strict JSON form that the adjudicator fills in: its schema, how it is read, and how sure each verdict was."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from teachback.agents.calls import Answer
from teachback.agents.forms import (
    MISFIT_LOGPROBS,
    NO_LOGPROBS,
    StrictEntry,
    check_keys,
    object_schema,
    validated,
)
from teachback.agents.labeler import VerdictStatus
from teachback.agents.logprobs import string_spans, token_starts, value_probabilities
from teachback.store.label import STATUSES, Status

__all__ = [
    "CANNOT_TELL",
    "VERDICTS",
    "DecisionEntry",
    "DecisionForm",
    "Leaning",
    "decision_schema",
    "read_decision_form",
    "read_leanings",
]

CANNOT_TELL: Literal["cannot_tell"] = "cannot_tell"
VERDICTS: tuple[VerdictStatus, ...] = (*STATUSES, CANNOT_TELL)


class DecisionEntry(StrictEntry):
    """One disputed target: the reason first, so that the status follows from it."""

    rationale: str
    evidence: str
    status: Literal[Status, "cannot_tell"]


class DecisionForm(StrictEntry):
    """What the adjudicator fills in: every disputed target by its key."""

    verdicts: dict[str, DecisionEntry]


@dataclass(frozen=True, slots=True)
class Leaning:
    """How sure a verdict was.

    Attributes:
        probs: Status to probability, given that one of the four is said; they sum to 1.
        open_share: Probability of `cannot_tell`, which is no status and no part of `probs`.
    """

    probs: Mapping[str, float]
    open_share: float


def decision_schema(targets: Mapping[str, str]) -> dict[str, Any]:
    """Return the adjudicator's schema: an enum a disputed target.

    Args:
        targets: Key in the form to what it stands for.
    """
    text = {"type": "string"}
    verdict = {"rationale": text, "evidence": text, "status": {"type": "string", "enum": list(VERDICTS)}}
    entries = {key: {"description": target, **object_schema(verdict)} for key, target in targets.items()}
    return object_schema({"verdicts": object_schema(entries)})


def read_decision_form(answer: Answer, keys: Sequence[str]) -> DecisionForm:
    """Read the adjudicator's answer on the targets of these keys.

    Raises:
        TeacherReplyError: It is not the form, or a target is missing from it.
    """
    form = validated(answer, DecisionForm)
    check_keys(answer.report_id, form.verdicts, keys)
    return form


def read_leanings(answer: Answer, keys: Sequence[str]) -> tuple[dict[str, Leaning], str]:
    """Return how sure each verdict was, from the answer's token log-probabilities.

    Args:
        answer: An answer whose form was read.
        keys: The targets' keys.

    Returns:
        Key to leaning, for those that can be told, and the reason where there are none.
    """
    tokens = answer.tokens()
    if not tokens:
        return {}, NO_LOGPROBS
    text = answer.text()
    starts = token_starts(text, [token.token for token in tokens])
    if starts is None:
        return {}, MISFIT_LOGPROBS
    spans = string_spans(text)
    leanings = {}
    for key in keys:
        span = spans.get(("verdicts", key, "status"))
        shares = value_probabilities(text, tokens, starts, span, VERDICTS) if span else None
        told = sum(shares[status] for status in STATUSES) if shares else 0.0
        if shares and told > 0:
            leanings[key] = Leaning({str(status): shares[status] / told for status in STATUSES}, shares[CANNOT_TELL])
    return leanings, ""
