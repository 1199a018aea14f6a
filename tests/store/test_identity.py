"""Ids of content: the quick ways to them say what the plain one says."""

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from teachback.store.identity import canonical_json, content_id, plain_id, plain_number, quick_json

texts = st.text(st.characters(exclude_categories=()))  # half surrogate pairs too
proper = st.text()


@given(st.lists(st.dictionaries(proper, proper, max_size=3), max_size=3))
def test_quick_json_is_canonical(value: list[dict[str, str]]) -> None:
    assert bytes(quick_json(value)) == canonical_json(value)


@given(st.lists(st.dictionaries(texts, texts, max_size=3), max_size=3))
def test_quick_json_of_any_text_can_be_sent_and_read(value: list[dict[str, str]]) -> None:
    assert json.loads(bytes(quick_json(value)).decode()) == value


@given(st.lists(texts | st.integers(-(2**53), 2**53) | st.none() | st.floats(0, 1), max_size=5))
def test_a_plain_id_is_the_content_id(parts: list[str | int | float | None]) -> None:
    plain = [plain_number(part) if isinstance(part, float) else part for part in parts]
    assert plain_id("x", *plain) == content_id("x", *parts)


def test_a_number_beside_what_is_no_unicode_has_its_id() -> None:
    assert plain_id("x", plain_number(1e-6), "\ud800") == content_id("x", 1e-6, "\ud800")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_has_the_content_id(number: float) -> None:
    assert plain_id("x", plain_number(number)) == content_id("x", number)


@given(proper, st.lists(proper, max_size=3), st.floats(allow_nan=False))
def test_parts_that_are_json_already_count_as_what_they_hold(name: str, texts: list[str], number: float) -> None:
    told = [canonical_json({"a": number}), canonical_json(texts)]
    assert plain_id("x", name, *map(msgspec.Raw, told)) == content_id("x", name, {"a": number}, texts)
