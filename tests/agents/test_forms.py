import json
import math

import pytest

from teachback.agents.calls import Answer
from teachback.agents.completion import read_completion
from teachback.agents.forms import form_for, label_schema, read_label_form, status_probabilities
from teachback.errors import TeacherReplyError
from teachback.prompts import list_prompts, load_prompt
from teachback.store.label import FINDINGS, STATUSES

PLAIN = {"status": "unmentioned", "evidence": ""}
CHECKED = {"evidence": "", "check": "nothing speaks of it", "status": "unmentioned"}
GOUT = {"name": "gout", "icd10": "M10.9", "evidence": "gout"}


def answer(said, **choice):
    text = said if isinstance(said, str) else json.dumps(said, separators=(",", ":"))
    body = {"choices": [{"message": {"content": text}, "finish_reason": "stop"} | choice]}
    return Answer("call", "r1", read_completion(json.dumps(body)))


def strict_objects(schema):
    """Every object of a schema, nested ones included."""
    if schema.get("type") == "object":
        yield schema
        for inner in schema["properties"].values():
            yield from strict_objects(inner)
    if schema.get("type") == "array":
        yield from strict_objects(schema["items"])


@pytest.mark.parametrize("listing", list_prompts("llm_labeler"), ids=lambda listing: listing.name)
def test_every_shipped_prompts_form_is_legal_in_strict_mode(listing):
    prompt = load_prompt("llm_labeler", listing.name)
    schema = form_for(prompt).schema
    for part in strict_objects(schema):
        assert part["additionalProperties"] is False
        assert part["required"] == list(part["properties"])
    assert set(schema["properties"]) - {"steps"} == set(prompt.tasks)
    if "findings" in prompt.tasks:
        findings = schema["properties"]["findings"]["properties"]
        assert tuple(findings) == FINDINGS
        assert all(entry["properties"]["status"]["enum"] == list(STATUSES) for entry in findings.values())


def test_what_informs_a_status_stands_in_front_of_it():
    assert next(iter(label_schema(schema="stepwise")["properties"])) == "steps"
    checked = label_schema(schema="verified")["properties"]["findings"]["properties"]["Edema"]
    assert list(checked["properties"]) == ["evidence", "check", "status"]


def read_as(said, prompt):
    return read_label_form(said, prompt.tasks, prompt.schema)


def test_the_answer_is_read_by_the_prompts_tasks_and_schema():
    findings = dict.fromkeys(FINDINGS, PLAIN)
    both = read_as(answer({"findings": findings, "diseases": [GOUT]}), load_prompt("llm_labeler"))
    assert (len(both.findings), both.diseases[0].icd10) == (13, "M10.9")
    assert read_as(answer({"findings": findings}), load_prompt("llm_labeler", "findings")).diseases == ()
    assert read_as(answer({"diseases": [GOUT]}), load_prompt("llm_labeler", "diseases")).findings == {}
    noted = {"steps": "1. nothing", "findings": findings, "diseases": []}
    assert read_as(answer(noted), load_prompt("llm_labeler", "stepwise")).steps == "1. nothing"
    checked = {"findings": dict.fromkeys(FINDINGS, CHECKED), "diseases": []}
    assert read_as(answer(checked), load_prompt("llm_labeler", "verify")).findings["Edema"].status == "unmentioned"


@pytest.mark.parametrize(
    ("said", "tasks", "schema", "reason"),
    [
        ({"diseases": []}, ("findings", "diseases"), "labels", "missing: findings"),
        ({"findings": dict.fromkeys(FINDINGS, PLAIN), "diseases": []}, ("findings",), "labels", "unknown: diseases"),
        ({"findings": dict.fromkeys(FINDINGS, PLAIN)}, ("findings",), "stepwise", "missing: steps"),
        ({"steps": "", "findings": dict.fromkeys(FINDINGS, PLAIN)}, ("findings",), "labels", "unknown: steps"),
        ({"findings": dict.fromkeys(FINDINGS, PLAIN)}, ("findings",), "verified", r"Cardiomediastinum\.check"),
        ({"findings": dict.fromkeys(FINDINGS, CHECKED)}, ("findings",), "labels", r"Cardiomediastinum\.check"),
        ({"diseases": [GOUT | {"name": ""}]}, ("diseases",), "labels", r"diseases\.0\.name"),
    ],
)
def test_another_form_is_refused_with_what_is_wrong(said, tasks, schema, reason):
    with pytest.raises(TeacherReplyError, match=reason):
        read_label_form(answer(said), tasks, schema)


@pytest.mark.parametrize("schema", ["labels", "stepwise", "verified"])
def test_probabilities_are_found_at_the_status_in_every_schema(schema):
    entry = CHECKED | {"check": 'is "status":"absent" said? no'} if schema == "verified" else PLAIN
    said = {"findings": dict.fromkeys(FINDINGS, entry)}
    text = json.dumps(({"steps": '"Edema":{"status":"absent"'} if schema == "stepwise" else {}) | said)
    at = text.index('"status": "unmentioned"', text.rindex('"Edema": {')) + len('"status": "')
    words = [text[:at], "un", "mentioned", text[at + len("unmentioned") :]]
    tokens = [{"token": word, "logprob": 0.0, "top_logprobs": []} for word in words]
    tokens[1]["logprob"] = math.log(0.9)
    tokens[1]["top_logprobs"] = [{"token": "absent", "logprob": math.log(0.1)}]
    probs, why = status_probabilities(answer(text, logprobs={"content": tokens}), "findings", FINDINGS)
    # `un` has 0.9 and `absent` 0.1; `mentioned` is certain behind `un`
    assert probs["Edema"] == pytest.approx({"present": 0.0, "absent": 0.1, "uncertain": 0.0, "unmentioned": 0.9})
    assert why == ""
