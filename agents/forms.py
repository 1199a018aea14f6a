"""The strict JSON forms that the LLM labelers fill in, and what all forms share: schemas, reading, probabilities."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from teachback.agents.calls import Answer, clip
from teachback.agents.logprobs import string_spans, token_starts, value_probabilities
from teachback.errors import TeacherReplyError
from teachback.store.label import FINDINGS, STATUSES, Status

__all__ = [
    "DiseaseEntry",
    "LabelForm",
    "StatusEntry",
    "StrictEntry",
    "check_keys",
    "label_schema",
    "object_schema",
    "read_label_form",
    "status_probabilities",
    "status_schema",
    "validated",
]

NO_LOGPROBS = "endpoint returned no logprobs"
MISFIT_LOGPROBS = "the endpoint's tokens do not join to its answer"


class StrictEntry(BaseModel):
    """Something that a model filled in: nothing may be missing, and nothing added."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StatusEntry(StrictEntry):
    """One finding's status and the words it rests on."""

    status: Status
    evidence: str


class DiseaseEntry(StrictEntry):
    """One disease phrase with its ICD-10-CM code, as given."""

    name: str = Field(min_length=1)
    icd10: str
    evidence: str


class LabelForm(StrictEntry):
    """What the LLM labeler fills in: every finding, and the diseases."""

    findings: dict[str, StatusEntry]
    diseases: list[DiseaseEntry]


Form = TypeVar("Form", bound=BaseModel)


def label_schema() -> dict[str, Any]:
    """Return the LLM labeler's schema: an enum a finding, and a list of diseases."""
    finding = object_schema({"status": status_schema(), "evidence": {"type": "string"}})
    disease = object_schema({name: {"type": "string"} for name in ("name", "icd10", "evidence")})
    return object_schema(
        {
            "findings": object_schema(dict.fromkeys(FINDINGS, finding)),
            "diseases": {"type": "array", "items": disease},
        }
    )


def read_label_form(answer: Answer) -> LabelForm:
    """Read the LLM labeler's answer.

    Raises:
        TeacherReplyError: It is not the form, or a finding is missing from it.
    """
    form = validated(answer, LabelForm)
    check_keys(answer.report_id, form.findings, FINDINGS)
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


def object_schema(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the strict schema of an object with these properties, all of them required."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def status_schema() -> dict[str, Any]:
    """Return the schema of one status."""
    return {"type": "string", "enum": list(STATUSES)}


def validated(answer: Answer, form: type[Form]) -> Form:
    """Read an answer as a form.

    Raises:
        TeacherReplyError: It does not follow the form's schema.
    """
    text = answer.text()
    try:
        return form.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the whole answer"
        raise TeacherReplyError(
            answer.report_id, f"the answer does not follow the schema ({where}: {first['msg']}): {clip(text)}"
        ) from None


def check_keys(report_id: str, given: Mapping[str, object], wanted: Sequence[str]) -> None:
    """Check that a form has exactly the wanted entries.

    Raises:
        TeacherReplyError: Some are missing, or there are others.
    """
    missing = [key for key in wanted if key not in given]
    unknown = [key for key in given if key not in wanted]
    if missing or unknown:
        said = "; ".join(
            f"{what}: {', '.join(keys)}" for what, keys in (("missing", missing), ("unknown", unknown)) if keys
        )
        raise TeacherReplyError(report_id, f"the answer does not follow the schema ({clip(said)})")
