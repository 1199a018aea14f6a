"""The lines of a batch's files: strict on whose they are, tolerant of everything else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teachback.agents.batch.lines import Matcher, read_line, request_files, request_line
from teachback.agents.calls import ChatRequest, JsonForm
from teachback.agents.payload import encode
from teachback.agents.settings import LLMSettings

FORM = JsonForm("form", {"type": "object"})
SETTINGS = LLMSettings(model="m")


def question(text: str) -> ChatRequest:
    return ChatRequest(({"role": "user", "content": text},), FORM, "llm_labeler", "r1")


def answered(custom_id: str, **changes: Any) -> bytes:
    response = {"status_code": 200, "request_id": "q", "body": {"choices": []}}
    return json.dumps({"id": "b", "custom_id": custom_id, "response": response, "error": None} | changes).encode()


@given(st.text(max_size=20), st.text(max_size=60))
def test_request_is_one_line_with_the_body_of_a_single_call(custom_id: str, text: str) -> None:
    line = request_line(custom_id, question(text), SETTINGS)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    read = json.loads(line)
    assert (read["custom_id"], read["method"], read["url"]) == (custom_id, "POST", "/v1/chat/completions")
    assert read["body"] == json.loads(encode(question(text), SETTINGS))


def test_files_are_cut_at_both_limits_and_hold_every_request_once() -> None:
    requests = {f"c{number}": question("x" * 10 * number) for number in range(9)}
    sizes = {name: len(request_line(name, request, SETTINGS)) for name, request in requests.items()}
    by_count = list(request_files(requests, SETTINGS, frozenset(), most_requests=4, most_bytes=10**6))
    assert [list(part) for part, _ in by_count] == [
        ["c0", "c1", "c2", "c3"],
        ["c4", "c5", "c6", "c7"],
        ["c8"],
    ]
    # Room for the two shortest and not for one byte more: c0 and c1 fit together, of the others each stands alone.
    room = sizes["c0"] + sizes["c1"]
    by_size = list(request_files(requests, SETTINGS, frozenset(), most_requests=50, most_bytes=room))
    assert [list(part) for part, _ in by_size] == [["c0", "c1"], *([f"c{number}"] for number in range(2, 9))]
    for files in (by_count, by_size):
        ids = [json.loads(line)["custom_id"] for _, content in files for line in content.splitlines()]
        assert ids == list(requests)


def test_left_out_parameters_are_not_in_the_line() -> None:
    line = request_line("c", question("x"), SETTINGS, frozenset({"logprobs", "temperature"}))
    assert {"logprobs", "top_logprobs", "temperature"}.isdisjoint(json.loads(line)["body"])


# The shapes that OpenAI's service returns: an error of the model stands in the body, one of the batch beside it.
@pytest.mark.parametrize(
    ("line", "error", "refused", "hopeless"),
    [
        (
            answered(
                "c",
                response={
                    "status_code": 400,
                    "body": {"error": {"message": "too long", "param": "messages", "code": "context_length_exceeded"}},
                },
            ),
            "HTTP 400, context_length_exceeded: too long",
            "",
            False,
        ),
        (
            answered("c", response=None, error={"code": "batch_expired", "message": "not in time"}),
            "batch_expired: not in time",
            "",
            False,
        ),
        (
            answered("c", response={"status_code": 400, "body": {"error": {"message": "no", "param": "logprobs"}}}),
            "HTTP 400: no",
            "logprobs",
            False,
        ),
        (
            answered("c", response={"status_code": 401, "body": {"error": {"message": "bad key"}}}),
            "HTTP 401: bad key",
            "",
            True,
        ),
        (
            answered("c", response={"status_code": 500, "body": "oops"}),
            "HTTP 500: the endpoint gave no reason",
            "",
            False,
        ),
        (answered("c", response=None), "the endpoint gave no reason", "", False),
        (answered("c", response={"status_code": 200, "body": None}), "the endpoint gave no reason", "", False),
    ],
)
def test_errors_are_read_with_their_reason(line: bytes, error: str, refused: str, hopeless: bool) -> None:
    outcome = read_line(line)
    assert outcome is not None
    assert (outcome.error, outcome.refused, outcome.hopeless) == (error, refused, hopeless)


def test_answer_is_kept_as_it_came_with_fields_nobody_knows() -> None:
    body = {"choices": [{"message": {"content": "größer\u2028"}}], "new_field": [1]}
    outcome = read_line(answered("c", response={"status_code": 200, "body": body, "new": 1}, extra=2))
    assert outcome is not None
    assert outcome.error is None
    assert json.loads(outcome.response or "") == body


def test_strangers_and_doubles_are_named_and_never_used() -> None:
    matcher = Matcher(["a", "b", "c"])
    lines = [answered("b"), answered("x"), answered("b", response=None), b"{not json", b"", answered("a"), b"[]"]
    used = [outcome.custom_id for line in lines if (outcome := matcher.take(line))]
    assert used == ["b", "a"]
    assert (matcher.strangers, matcher.doubled, matcher.unreadable) == (["x"], ["b"], 2)
    assert matcher.missing() == ["c"]
    assert matcher.oddities() == (
        "1 lines of requests that were not handed in, such as x; 1 lines of requests seen before, such as b; "
        "2 lines that cannot be read"
    )


@given(st.permutations(range(6)), st.lists(st.integers(0, 8), max_size=6))
def test_whatever_the_order_each_request_gets_its_own_line_once(order: list[int], more: list[int]) -> None:
    def line(number: int) -> bytes:
        return answered(f"c{number}", response={"status_code": 200, "body": {"n": number}})

    matcher = Matcher([f"c{number}" for number in range(6)])
    used = [outcome for number in [*order, *more] if (outcome := matcher.take(line(number)))]
    assert {outcome.custom_id: json.loads(outcome.response or "")["n"] for outcome in used} == {
        f"c{number}": number for number in range(6)
    }
    assert len(used) == 6
    assert len(matcher.doubled) + len(matcher.strangers) == len(more)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_outcome_or_nothing(line: bytes) -> None:
    outcome = read_line(line)
    assert outcome is None or isinstance(outcome.custom_id, str)
