"""The strict JSON forms that the teachers fill in: their schemas, and the reading of what was filled in."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from teachback.agents.calls import Answer, clip
from teachback.agents.logprobs import string_spans, token_starts, value_probabilities
from teachback.errors import TeacherReplyError
from teachback.store.label import FINDINGS, STATUSES, Status

__all__ = [
    "DecisionEntry",
    "DecisionForm",
    "DiseaseEntry",
    "LabelForm",
    "StatusEntry",
    "decision_schema",
    "label_schema",
    "read_decision_form",
    "read_label_form",
    "status_probabilities",
]

NO_LOGPROBS = "endpoint returned no logprobs"
MISFIT_LOGPROBS = "the endpoint's tokens do not join to its answer"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StatusEntry(_Strict):
    """One finding's status and the words it rests on."""

    status: Status
    evidence: str


class DiseaseEntry(_Strict):
    """One disease phrase with its ICD-10-CM code, as given."""

    name: str = Field(min_length=1)
    icd10: str
    evidence: str


class LabelForm(_Strict):
    """What the LLM labeler fills in: every finding, and the diseases."""

    findings: dict[str, StatusEntry]
    diseases: list[DiseaseEntry]


class DecisionEntry(_Strict):
    """One disputed target: the reason first, so that the status follows from it."""

    rationale: str
    evidence: str
    status: Status


class DecisionForm(_Strict):
    """What the adjudicator fills in: every disputed target by its key."""

    verdicts: dict[str, DecisionEntry]


Form = TypeVar("Form", LabelForm, DecisionForm)


def label_schema() -> dict[str, Any]:
    """Return the LLM labeler's schema: an enum a finding, and a list of diseases."""
    finding = _object({"status": _status(), "evidence": {"type": "string"}})
    disease = _object({name: {"type": "string"} for name in ("name", "icd10", "evidence")})
    return _object(
        {
            "findings": _object(dict.fromkeys(FINDINGS, finding)),
            "diseases": {"type": "array", "items": disease},
        }
    )


def decision_schema(targets: Mapping[str, str]) -> dict[str, Any]:
    """Return the adjudicator's schema: an enum a disputed target.

    Args:
        targets: Key in the form to what it stands for.
    """
    return _object(
        {
            "verdicts": _object(
                {
                    key: {
                        "description": target,
                        **_object(
                            {"rationale": {"type": "string"}, "evidence": {"type": "string"}, "status": _status()}
                        ),
                    }
                    for key, target in targets.items()
                }
            )
        }
    )


def read_label_form(answer: Answer) -> LabelForm:
    """Read the LLM labeler's answer.

    Raises:
        TeacherReplyError: It is not the form, or a finding is missing from it.
    """
    form = _validated(answer, LabelForm)
    _check_keys(answer.report_id, form.findings, FINDINGS)
    return form


def read_decision_form(answer: Answer, keys: Sequence[str]) -> DecisionForm:
    """Read the adjudicator's answer on the targets of these keys.

    Raises:
        TeacherReplyError: It is not the form, or a target is missing from it.
    """
    form = _validated(answer, DecisionForm)
    _check_keys(answer.report_id, form.verdicts, keys)
    return form


def status_probabilities(answer: Answer, group: str, keys: Sequence[str]) -> tuple[dict[str, dict[str, float]], str]:
    """Return each target's distribution over the statuses, from the answer's token log-probabilities.

    Args:
        answer: An answer whose form was read.
        group: The form's field that holds the targets: `findings` or `verdicts`.
        keys: The targets' keys.

    Returns:
        Key to status to probability, for those that can be told, and the reason where there are none.
    """
    tokens = answer.tokens()
    if not tokens:
        return {}, NO_LOGPROBS
    text = answer.text()
    starts = token_starts(text, tokens.texts)
    if starts is None:
        return {}, MISFIT_LOGPROBS
    spans = string_spans(text)
    found = {}
    for key in keys:
        span = spans.get((group, key, "status"))
        probs = value_probabilities(text, tokens, starts, span, STATUSES) if span else None
        if probs is not None:
            found[key] = probs
    return found, ""


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _status() -> dict[str, Any]:
    return {"type": "string", "enum": list(STATUSES)}


def _validated(answer: Answer, form: type[Form]) -> Form:
    text = answer.text()
    try:
        return form.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the whole answer"
        raise TeacherReplyError(
            answer.report_id, f"the answer does not follow the schema ({where}: {first['msg']}): {clip(text)}"
        ) from None


def _check_keys(report_id: str, given: Mapping[str, object], wanted: Sequence[str]) -> None:
    missing = [key for key in wanted if key not in given]
    unknown = [key for key in given if key not in wanted]
    if missing or unknown:
        said = "; ".join(
            f"{what}: {', '.join(keys)}" for what, keys in (("missing", missing), ("unknown", unknown)) if keys
        )
        raise TeacherReplyError(report_id, f"the answer does not follow the schema ({clip(said)})")
