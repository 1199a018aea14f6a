"""Endpoints' JSON: however an answer is cut into tokens it says the same, and however it is broken, nothing falls."""

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from teachback.agents.calls import Answer
from teachback.agents.completion import Completion, read_completion, thinned
from teachback.agents.forms import read_label_form, status_probabilities
from teachback.agents.logprobs import string_spans
from teachback.agents.responses import LONG_RESPONSE, read_response
from teachback.errors import TeacherReplyError
from teachback.store.label import FINDINGS, STATUSES

WORDS = 'An "enlarged" heart \\ é\u2028 {"status": "absent"}, stable.'
Shares = dict[str, float]


def form(said: Sequence[str], **layout: Any) -> str:
    findings = {
        finding: {"status": status, "evidence": WORDS if status == "present" else ""}
        for finding, status in zip(FINDINGS, said, strict=True)
    }
    return json.dumps({"findings": findings, "diseases": []}, **layout)


def cut(text: str, places: Sequence[int], shares: Sequence[Shares]) -> list[dict[str, Any]]:
    """Cut an answer into tokens whose log-probabilities are those of a model that takes each status by its share.

    What a token says of a value is as likely as all statuses that go on like that, of those that were still possible;
    each status that goes on differently is an alternative, up to its closing quote.
    """
    bounds = sorted({0, *(place % (len(text) + 1) for place in places), len(text)})
    spans = [string_spans(text)["findings", finding, "status"] for finding in FINDINGS]
    tokens = []
    for start, end in pairwise(bounds):
        logprob, others = 0.0, []
        for (begin, stop), share in zip(spans, shares, strict=True):
            if end <= begin or start > stop:
                continue
            first, last = max(start - begin, 0), end - begin
            said = f'{text[begin:stop]}"'
            possible = {status: one for status, one in share.items() if f'{status}"'.startswith(said[:first])}
            follows = sum(one for status, one in possible.items() if f'{status}"'.startswith(said[:last]))
            whole = sum(possible.values())
            logprob += math.log(follows / whole)
            for status, one in possible.items():
                if not f'{status}"'.startswith(said[:last]):
                    token = text[start:begin] + f'{status}"'[first:]
                    others.append({"token": token, "logprob": math.log(one / whole), "bytes": list(token.encode())})
        token = text[start:end]
        said_itself = {"token": token, "logprob": logprob, "bytes": list(token.encode())}
        tokens.append({**said_itself, "top_logprobs": [said_itself, *others]})
    return tokens


def body_of(content: str | None, tokens: Any = None, **choice: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "refusal": choice.pop("refusal", None)}
    logprobs = None if tokens is None else {"content": tokens, "refusal": None}
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m-2031-01-02",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message, "logprobs": logprobs} | choice],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 40}},
    }


def answer_of(completion: Completion) -> Answer:
    return Answer("call_1", "r1", completion)


def read(completion: Completion) -> list[Shares]:
    answer = answer_of(completion)
    read_label_form(answer)
    found, why_none = status_probabilities(answer, "findings", FINDINGS)
    assert why_none == ""
    return [found[finding] for finding in FINDINGS]


SHARES = st.lists(st.integers(1, 60), min_size=4, max_size=4).map(
    lambda weights: {status: weight / sum(weights) for status, weight in zip(STATUSES, weights, strict=True)}
)
ANSWERS = st.tuples(
    st.lists(st.sampled_from(STATUSES), min_size=13, max_size=13),
    st.lists(SHARES, min_size=13, max_size=13),
    st.sampled_from([{"separators": (",", ":")}, {}, {"indent": 1}, {"ensure_ascii": False}]),
    # Few cuts make tokens over several values, many make single letters.
    st.one_of(st.lists(st.integers(0, 3000), max_size=40), st.integers(1, 5).map(lambda step: range(0, 3000, step))),
)


def one_value_a_token(text: str, places: Sequence[int]) -> list[int]:
    """Add cuts so that no token touches two values: alternatives to such a one would have to spell both."""
    spans = [string_spans(text)["findings", finding, "status"] for finding in FINDINGS]
    between = [span[1] + 1 for span in spans]
    return [*(place % (len(text) + 1) for place in places), *between]


@settings(max_examples=80)
@given(ANSWERS)
def test_any_cut_into_tokens_says_the_same(given: Any) -> None:
    said, shares, layout, places = given
    text = form(said, **layout)
    tokens = cut(text, one_value_a_token(text, places), shares)
    assert "".join(token["token"] for token in tokens) == text
    body = json.dumps(body_of(text, tokens)).encode()
    found = read(read_completion(body))
    for finding, share in zip(found, shares, strict=True):
        assert finding == pytest.approx(share, abs=1e-9)
    # And so it does after what no label rests on is left out: alternatives below 1e-4.
    kept = thinned(read_completion(body))
    for finding, share in zip(read(read_completion(kept)), shares, strict=True):
        assert finding == pytest.approx(share, abs=1e-3)
    assert '"bytes"' not in kept
    assert answer_of(read_completion(kept)).text() == text
    assert "".join(token.token for token in answer_of(read_completion(kept)).tokens()) == text
    assert thinned(read_completion(kept)) == kept


def test_the_cut_answers_are_what_they_are_meant_to_be() -> None:
    # `uncertain` was said; cut behind `un`: 0.4 + 0.2 of 1 for `un`, then 0.4 of 0.6 for the rest.
    share = {"present": 0.3, "absent": 0.1, "uncertain": 0.4, "unmentioned": 0.2}
    text = form(["uncertain", *["absent"] * 12], separators=(",", ":"))
    begin, end = string_spans(text)["findings", FINDINGS[0], "status"]
    tokens = cut(text, [begin, begin + 2, end], [share] * 13)
    un = next(token for token in tokens if token["token"] == "un")
    assert math.exp(un["logprob"]) == pytest.approx(0.6)
    likely = {other["token"]: math.exp(other["logprob"]) for other in un["top_logprobs"]}
    assert likely == pytest.approx({"un": 0.6, 'present"': 0.3, 'absent"': 0.1})
    certain = next(token for token in tokens if token["token"] == "certain")
    assert math.exp(certain["logprob"]) == pytest.approx(2 / 3)
    assert {other["token"] for other in certain["top_logprobs"]} == {"certain", 'mentioned"'}


SOUND = body_of(
    form(["absent"] * 13), cut(form(["absent"] * 13), range(0, 3000, 5), [dict.fromkeys(STATUSES, 0.25)] * 13)
)
RAW = json.dumps(SOUND).encode()


@given(st.integers(0, len(RAW) - 1))
@example(0)
@example(len(RAW) - 1)
def test_what_is_cut_off_says_nothing(length: int) -> None:
    assert read_completion(RAW[:length]) == Completion()


@pytest.mark.parametrize(
    "raw", ["", "{", "null", "5", "[]", '"x"', "<html>proxy</html>", "{}", '{"choices": null}', "\0"]
)
def test_what_is_no_completion_says_nothing(raw: str) -> None:
    assert read_completion(raw).choices == read_completion(raw.encode()).choices == []


@given(st.binary(max_size=60) | st.text('{}[]":,0choies', max_size=30).map(str.encode))
@example(b"\xff\xfe")
@example(b'"\xed\xa0\x80"')
@example(b"0:")
@example(b'{"choices": [{"message": {"content": "a\xffb"}}]}')
@example(b'{"choices": "\xff"}')
@example(b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")
def test_no_bytes_are_too_odd_to_be_read(raw: bytes) -> None:
    assert read_completion(raw).choices == []


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=5
    )
)
@example([{"token": 5}])
@example({"token": "absent"})
def test_alternatives_that_are_none_are_left_out(given: Any) -> None:
    text = form(["absent"] * 13)
    tokens = [{"token": text, "logprob": -0.5, "top_logprobs": given}]
    for long in (read_completion(json.dumps(body_of(text, tokens))), Completion(choices=[])):
        assert thinned(long)
    response = read_response(json.dumps(body_of(text, tokens)).encode(), read_label_form, "c", "r1")
    assert response.refused is None
    assert answer_of(read_completion(response.kept)).tokens()[0].alternatives() == []


@pytest.mark.parametrize("tokens", [-1, 2**62, 2**63, 2**64, 10**30, 1.5, "5"])
def test_counts_that_are_none_are_not_billed(tokens: Any) -> None:
    completion = read_completion(json.dumps(changed(("usage", "prompt_tokens"), tokens)))
    assert completion.usage is None
    assert read_label_form(answer_of(completion))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PLACES = [
    (),
    ("id",),
    ("object",),
    ("created",),
    ("model",),
    ("choices",),
    ("choices", 0),
    ("choices", 0, "index"),
    ("choices", 0, "finish_reason"),
    ("choices", 0, "message"),
    ("choices", 0, "message", "role"),
    ("choices", 0, "message", "content"),
    ("choices", 0, "message", "refusal"),
    ("choices", 0, "logprobs"),
    ("choices", 0, "logprobs", "content"),
    ("choices", 0, "logprobs", "content", 0),
    ("choices", 0, "logprobs", "content", 0, "token"),
    ("choices", 0, "logprobs", "content", 0, "logprob"),
    ("usage",),
    ("usage", "prompt_tokens"),
    ("usage", "completion_tokens"),
    ("usage", "prompt_tokens_details"),
    ("usage", "prompt_tokens_details", "cached_tokens"),
]
SMALL = body_of(form(["absent"] * 13), [{"token": form(["absent"] * 13), "logprob": 0.0, "top_logprobs": []}])


def changed(place: Sequence[Any], value: Any) -> Any:
    if not place:
        return value
    body = json.loads(json.dumps(SMALL))
    inner = body
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return body


@settings(max_examples=300)
@given(st.sampled_from(PLACES), JSON)
def test_an_answer_with_anything_in_any_place_is_read_or_refused(place: Any, value: Any) -> None:
    def said(answer: Answer) -> list[Shares]:
        read_label_form(answer)
        return list(status_probabilities(answer, "findings", FINDINGS)[0].values())

    raw = json.dumps(changed(place, value)).encode()
    response = read_response(raw, said, "call_1", "r1")
    assert (response.reading is None) == (response.refused is not None)
    assert response.kept == raw.decode()
    assert response.model is None or isinstance(response.model, str)
    for shares in response.reading or []:
        assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("place", "value", "survives"),
    [
        (("choices", 0, "logprobs"), "none", {"content": True, "tokens": False, "usage": True}),
        (("choices", 0, "logprobs", "content", 0, "logprob"), None, {"content": True, "tokens": False, "usage": True}),
        (("usage",), [1, 2], {"content": True, "tokens": False, "usage": False}),
        (("usage", "prompt_tokens"), "many", {"content": True, "tokens": False, "usage": False}),
        (("choices", 0, "message"), "hello", {"content": False, "tokens": False, "usage": True}),
        (("choices",), {}, {"content": False, "tokens": False, "usage": True}),
        (("created",), "yesterday", {"content": True, "tokens": False, "usage": True}),
        (("some", "other")[:1], {"a": [1]}, {"content": True, "tokens": True, "usage": True}),
    ],
)
def test_what_follows_the_api_in_part_is_read_in_part(place: Any, value: Any, survives: dict[str, bool]) -> None:
    completion = read_completion(json.dumps(changed(place, value)))
    choice = completion.choice
    assert (choice is not None and choice.message.content is not None) == survives["content"]
    assert (choice is not None and choice.logprobs is not None) == survives["tokens"]
    assert (completion.usage is not None) == survives["usage"]
    assert completion.model == "m-2031-01-02"


def test_the_first_choice_that_is_one_is_the_answer() -> None:
    body = body_of("second")
    body["choices"] = ["first", None, {"message": {"content": 5}}, *body["choices"]]
    assert answer_of(read_completion(json.dumps(body))).text() == "second"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (body_of(None, refusal="I will not\nsay that."), "the model refused: I will not say that."),
        (body_of("{}", refusal="No. " * 100), "the model refused: No. No."),
        (body_of('{"findings": {', finish_reason="length"), "cut off at max_tokens"),
        (body_of(None, finish_reason="content_filter"), "content filter"),
        (body_of(None), "the answer is empty"),
        (body_of(" \n\t "), "the answer is empty"),
        (body_of("No."), "does not follow the schema"),
        ({"choices": []}, "no choices"),
        ({"error": {"message": "overloaded"}}, "no choices"),
    ],
)
def test_what_is_not_said_is_refused_kept_and_billed(body: dict[str, Any], reason: str) -> None:
    raw = json.dumps(body).encode()
    response = read_response(raw, read_label_form, "call_1", "r1")
    assert response.refused is not None
    assert reason in response.refused
    assert len(response.refused) < 500
    assert (response.reading, response.kept) == (None, raw.decode())
    billed = (100, 40, 10) if "usage" in body else (None, 0, None)
    assert (response.prompt_tokens, response.cached_tokens, response.completion_tokens) == billed
    with pytest.raises(TeacherReplyError):
        read_label_form(answer_of(read_completion(response.kept)))


def test_long_answers_are_kept_thinned_and_short_ones_as_they_came() -> None:
    assert len(RAW) > LONG_RESPONSE > len(json.dumps(SMALL))
    short, long = (read_response(raw, read_label_form, "c", "r1") for raw in (json.dumps(SMALL).encode(), RAW))
    assert short.kept == json.dumps(SMALL)
    assert len(long.kept) < len(RAW) / 2
    broken = read_response(b'{"choices": "\xff"}', read_label_form, "c", "r1")
    assert broken.kept == '{"choices": "\ufffd"}'
    noise = read_response(b"<html>" * 10_000, read_label_form, "c", "r1")
    assert noise.kept == "<html>" * 10_000  # nothing in it is known not to matter


def test_certain_tokens_become_one_and_unlikely_alternatives_go() -> None:
    rare, fair = math.log(0.9e-4), math.log(1.1e-4)
    tokens = [
        {"token": "a", "logprob": 0.0, "top_logprobs": [{"token": "a", "logprob": 0.0}]},
        {"token": "b", "logprob": -0.00005, "top_logprobs": [{"token": "x", "logprob": rare}]},
        {
            "token": "c",
            "logprob": -0.5,
            "top_logprobs": [{"token": "y", "logprob": rare}, {"token": "z", "logprob": fair}],
        },
        {"token": "d", "logprob": 0.0, "top_logprobs": []},
    ]
    kept = json.loads(thinned(read_completion(json.dumps(body_of("abcd", tokens)))))
    assert kept["choices"][0]["logprobs"]["content"] == [
        {"token": "ab", "logprob": -0.00005},
        {"token": "c", "logprob": -0.5, "top_logprobs": [{"token": "z", "logprob": fair}]},
        {"token": "d", "logprob": 0.0},
    ]
    assert kept["choices"][0]["message"]["content"] == "abcd"
    assert kept["usage"]["prompt_tokens"] == 100
