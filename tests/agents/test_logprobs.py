"""Probabilities worked by hand, over answers cut into tokens in the ways that BPE cuts them."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teachback.agents.completion import Alternative, KeptToken
from teachback.agents.logprobs import entry_spans, string_spans, token_starts, value_probabilities
from teachback.store.label import STATUSES


def token(text, probability=1.0, **others):
    alternatives = {text: probability} | {name.replace("_", '"'): share for name, share in others.items()}
    return said(text, math.log(probability), *((name, math.log(share)) for name, share in alternatives.items()))


def said(text, logprob, *alternatives):
    return KeptToken(text, logprob, [Alternative(*alternative) for alternative in alternatives])


def probabilities(tokens):
    text = "".join(one.token for one in tokens)
    starts = token_starts(text, [one.token for one in tokens])
    return value_probabilities(text, tokens, starts, string_spans(text)[("s",)], STATUSES)


def test_a_value_in_a_token_of_its_own_is_renormalised_over_the_statuses():
    found = probabilities(
        [token('{"s'), token('":"'), token("present", 0.6, absent=0.2, Present=0.1, maybe=0.05), token('"}')]
    )
    # 0.6 and 0.2 lead to a status, the rest to none: 0.6 / 0.8 and 0.2 / 0.8
    assert found == pytest.approx({"present": 0.75, "absent": 0.25, "uncertain": 0, "unmentioned": 0})


def test_the_opening_quote_may_belong_to_the_value():
    found = probabilities([token('{"s":'), token('"present', 0.5, _absent=0.25, absent=0.2), token('"}')])
    # `absent` without its quote cannot stand there: 0.5 / 0.75
    assert found["present"] == pytest.approx(2 / 3)
    assert found["absent"] == pytest.approx(1 / 3)


def test_the_closing_quote_may_belong_to_the_value():
    found = probabilities([token('{"s":"'), token('absent"', 0.8, present=0.1, present_=0.1), token("}")])
    # `present` and `present"` both lead to present
    assert found == pytest.approx({"absent": 0.8, "present": 0.2, "uncertain": 0, "unmentioned": 0})


def test_a_shared_beginning_is_followed_to_the_token_that_decides():
    found = probabilities(
        [
            token('{"s":"'),
            token("un", 0.8, present=0.15, absent=0.05),
            token("certain", 0.75, mentioned=0.25),
            token('"}'),
        ]
    )
    # uncertain 0.8 * 0.75 = 0.6, unmentioned 0.8 * 0.25 = 0.2
    assert found == pytest.approx({"present": 0.15, "absent": 0.05, "uncertain": 0.6, "unmentioned": 0.2})


def test_a_value_cut_into_letters_is_followed_to_its_first_differing_letter():
    found = probabilities(
        [
            token('{"s":"'),
            token("u", 0.9, a=0.1),
            token("n"),
            token("m", 0.5, c=0.5),
            token("entioned"),
            token('"}'),
        ]
    )
    assert found == pytest.approx({"present": 0, "absent": 0.1, "uncertain": 0.45, "unmentioned": 0.45})


def test_an_unsaid_beginning_that_two_statuses_share_is_shared_evenly():
    found = probabilities([token('{"s":"'), token("present", 0.6, un=0.4), token('"}')])
    assert found == pytest.approx({"present": 0.6, "absent": 0, "uncertain": 0.2, "unmentioned": 0.2})


def test_an_alternative_that_leaves_all_open_says_nothing():
    found = probabilities([token('{"s":'), token('"present', 0.6, _=0.3, _absent=0.1), token('"}')])
    assert found["present"] == pytest.approx(6 / 7)


def test_the_said_value_counts_even_if_the_endpoint_left_it_out_of_the_alternatives():
    absent = said("absent", math.log(0.2), ("present", math.log(0.3)))
    found = probabilities([token('{"s":"'), absent, token('"}')])
    assert found["absent"] == pytest.approx(0.4)


def test_a_logarithm_above_zero_counts_as_certainty():
    absent = said("absent", 1e300, ("absent", 1e300), ("present", 5.0), ("un", math.log(0.5)))
    found = probabilities([token('{"s":"'), absent, token('"}')])
    # 1 for each of the two, 0.5 shared by uncertain and unmentioned: of 2.5
    assert found == pytest.approx({"absent": 0.4, "present": 0.4, "uncertain": 0.1, "unmentioned": 0.1})


def test_a_value_inside_a_long_token_takes_the_alternatives_with_the_same_beginning():
    whole = said('{"s":"present"}', math.log(0.6), ('{"s":"present"}', math.log(0.6)), ('{"s":"absent', math.log(0.4)))
    assert probabilities([whole])["absent"] == pytest.approx(0.4)


def test_tokens_that_do_not_join_to_the_text_are_refused():
    assert token_starts("abc", ["a", "b"]) is None
    assert token_starts("abc", ["ab", "", "c"]) == [0, 2, 2]
    assert token_starts("", []) == []


TEXTS = st.text(max_size=12)
JSON = st.recursive(
    TEXTS | st.integers() | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


def string_paths(value, path=()):
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from string_paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from string_paths(inner, (*path, index))


@given(JSON, st.sampled_from([None, 1]))
def test_every_string_of_any_json_is_found_where_it_stands(value, indent):
    text = json.dumps(value, indent=indent)
    found = {path: json.loads(f'"{text[start:end]}"') for path, (start, end) in string_spans(text).items()}
    assert found == dict(string_paths(value))


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8),
        st.fixed_dictionaries({"evidence": st.text(max_size=30), "status": st.sampled_from(["present", "absent"])}),
        min_size=1,
        max_size=5,
    ),
    st.booleans(),
    st.booleans(),
)
def test_an_entrys_status_is_found_where_all_spans_say_it_is(entries, ascii_only, spaced):
    separators = (", ", ": ") if spaced else (",", ":")
    text = json.dumps({"findings": entries}, ensure_ascii=ascii_only, separators=separators)
    spans = string_spans(text)
    quick = entry_spans(text, list(entries), "status")
    for key in entries:
        span = quick.get(key)
        # Keys that JSON escapes, and evidence with braces, are left to the search through all values.
        written = json.dumps(key, ensure_ascii=ascii_only)[1:-1]
        assert span in (None, spans.get(("findings", written, "status")))
        if key.isalnum() and key.isascii() and not set("{}") & set(entries[key]["evidence"]):
            assert span is not None
            assert text[slice(*span)] == entries[key]["status"]


def test_evidence_that_looks_like_an_entry_is_not_taken_for_one():
    trap = 'no "Edema": {"status": "present"} here'
    text = json.dumps({"findings": {"Edema": {"evidence": trap, "status": "absent"}}})
    span = entry_spans(text, ["Edema"], "status").get("Edema") or string_spans(text)["findings", "Edema", "status"]
    assert text[slice(*span)] == "absent"


def test_of_a_key_given_twice_the_last_counts():
    text = '{"findings":{"Edema":{"status":"present"},"Edema":{"status":"absent"}}}'
    span = entry_spans(text, ["Oedema", "Edema"], "status")["Edema"]
    assert text[slice(*span)] == json.loads(text)["findings"]["Edema"]["status"] == "absent"
