"""The strict JSON forms that the LLM labelers fill in, and what all forms share: schemas, reading, probabilities.

What a form asks for is its prompt's choice: one task or both, and how much is written before a status is chosen. A
model fills a form in from top to bottom, so what shall inform a status stands in front of it.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from teachback.agents.calls import Answer, JsonForm, clip
from teachback.agents.logprobs import entry_spans, string_spans, token_starts, value_probabilities
from teachback.errors import TeacherReplyError
from teachback.prompts import Prompt, PromptSchema
from teachback.store.label import FINDINGS, STATUSES, TASKS, Status, Task

__all__ = [
    "DiseaseEntry",
    "LabelForm",
    "StatusEntry",
    "StrictEntry",
    "VerifiedEntry",
    "check_keys",
    "form_for",
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


class VerifiedEntry(StatusEntry):
    """One finding's quote, what the quote was checked for, and the status that follows."""

    check: str


class DiseaseEntry(StrictEntry):
    """One disease phrase with its ICD-10-CM code, as given."""

    name: str = Field(min_length=1)
    icd10: str
    evidence: str


class LabelForm(StrictEntry):
    """What the LLM labeler fills in; a task that was not asked for is empty."""

    steps: str = ""
    findings: Mapping[str, StatusEntry] = Field(default_factory=dict)
    diseases: tuple[DiseaseEntry, ...] = ()


class _VerifiedForm(LabelForm):
    findings: Mapping[str, VerifiedEntry] = Field(default_factory=dict)


Form = TypeVar("Form", bound=BaseModel)

_STEPS = "your notes on the report, before you fill in the rest"
_CHECK = "one sentence: is the quote about this finding, about now, and neither hedged nor negated?"


def form_for(prompt: Prompt) -> JsonForm:
    """Return the form that a labeler's prompt asks to fill in."""
    return _form(prompt.tasks, prompt.schema)


def label_schema(tasks: Sequence[Task] = TASKS, schema: PromptSchema = "labels") -> dict[str, Any]:
    """Return the LLM labeler's schema: an enum a finding, and a list of diseases.

    Args:
        tasks: What is asked for.
        schema: `labels` asks for no more than the labels, `stepwise` for notes in front of them, `verified` for each
            finding's quote and a check of it in front of its status.
    """
    text = {"type": "string"}
    finding = object_schema({"status": status_schema(), "evidence": text})
    if schema == "verified":
        finding = object_schema({"evidence": text, "check": text | {"description": _CHECK}, "status": status_schema()})
    properties: dict[str, Any] = {"steps": text | {"description": _STEPS}} if schema == "stepwise" else {}
    if "findings" in tasks:
        properties["findings"] = object_schema(dict.fromkeys(FINDINGS, finding))
    if "diseases" in tasks:
        disease = object_schema(dict.fromkeys(("name", "icd10", "evidence"), text))
        properties["diseases"] = {"type": "array", "items": disease}
    return object_schema(properties)


def read_label_form(answer: Answer, tasks: Sequence[Task] = TASKS, schema: PromptSchema = "labels") -> LabelForm:
    """Read the LLM labeler's answer; arguments as in `label_schema`.

    Raises:
        TeacherReplyError: It is not the form, or a finding is missing from it.
    """
    form = validated(answer, _VerifiedForm if schema == "verified" else LabelForm)
    given = dict.fromkeys(name for name in LabelForm.model_fields if name in form.model_fields_set)
    check_keys(answer.report_id, given, [*(["steps"] if schema == "stepwise" else []), *tasks])
    if "findings" in tasks:
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
    starts = token_starts(text, [token.token for token in tokens])
    if starts is None:
        return {}, MISFIT_LOGPROBS
    quick = entry_spans(text, keys, "status")
    spans = string_spans(text) if len(quick) < len(keys) else {}
    found = {}
    for key in keys:
        span = quick.get(key) or spans.get((group, key, "status"))
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


@lru_cache(maxsize=16)
def _form(tasks: tuple[Task, ...], schema: PromptSchema) -> JsonForm:
    return JsonForm("chest_report_labels", label_schema(tasks, schema))
