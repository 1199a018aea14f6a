"""YAML that people write: keys that stand twice, and the lines of its parts."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from teachback.prompts.yaml_text import UniqueKeys, line_of

WRITTEN = """\
# Line 1 is a comment.
findings:
  Edema:
    terms:
      - edema
      - vascular congestion
  1: one
causes: [scarring,
  atelectasis]
"""


class Values(UniqueKeys, yaml.SafeLoader):
    pass


class Words(UniqueKeys, yaml.BaseLoader):
    pass


@pytest.mark.parametrize("loader", [Values, Words])
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", 3),
        ("outer:\n  a: 1\n  'a': 2\n", 3),
        ("- a: 1\n- {b: 1, a: 2,\n   b: 3}\n", 3),
        ("? [a, b]\n: 1\nc: 2\nc: 3\n", 4),  # a list is no word, but what follows it is looked at
    ],
)
def test_a_key_that_stands_twice_is_refused_by_its_line(loader: type[Values], text: str, line: int) -> None:
    with pytest.raises(yaml.constructor.ConstructorError, match="stands twice") as caught:
        yaml.load(text, loader)
    assert caught.value.problem_mark.line + 1 == line


def test_the_same_key_in_two_mappings_is_two_keys() -> None:
    text = "a: {a: 1, b: no}\nb: [{a: 2}, {a: 3}]\n"
    assert yaml.load(text, Values) == {"a": {"a": 1, "b": False}, "b": [{"a": 2}, {"a": 3}]}
    assert yaml.load(text, Words) == {"a": {"a": "1", "b": "no"}, "b": [{"a": "2"}, {"a": "3"}]}


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ((), None, 1),
        (("findings",), None, 2),
        (("findings", "Edema", "terms", 1), None, 6),
        (("findings", 1), None, 7),  # a key that YAML reads as a number
        (("causes", 1), None, 9),
        (("nowhere", "Edema"), None, 1),
        (("findings", "Edema", "cues", 0), None, 3),  # as far as it leads
        (("findings", "Edema", "terms", 2), None, 4),
        (("causes", "Edema"), None, 8),
        (("findings",), "congestion", 6),
        (("causes",), "atelectasis", 9),
        (("causes",), "edema", 8),  # stands in the text, but not there
    ],
)
def test_a_part_has_a_line(path: tuple[str | int, ...], value: str | None, line: int) -> None:
    assert line_of(WRITTEN, path, value) == line


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=5), min_size=1, max_size=8, unique=True))
def test_each_key_is_found_on_the_line_where_it_was_written(keys: list[str]) -> None:
    # Written in ASCII and quotes, each key takes one line, whatever is in it.
    lines = [yaml.safe_dump(key, default_style='"', width=10**6).strip() + ": 1" for key in keys]
    text = "\n".join(lines) + "\n"
    assert [line_of(text, (key,)) for key in keys] == list(range(1, len(keys) + 1))
    assert yaml.load(text, Words) == dict.fromkeys(keys, "1")
