import pytest
from hypothesis import given
from hypothesis import strategies as st

from teachback.agents.grounding import ground
from teachback.store.label import Evidence

SECTIONS = [("findings", "The heart is  mildly\nENLARGED. No effusion."), ("impression", "Straße: no effusion.")]


@pytest.mark.parametrize(
    ("quote", "section", "words"),
    [
        ("No effusion", "findings", "No effusion"),
        ("heart is mildly enlarged", "findings", "heart is  mildly\nENLARGED"),
        ('"No effusion..."', "findings", "No effusion"),
        ("STRASSE", "impression", "Straße"),  # one letter folds to two
        ("  no effusion.\n", "impression", "no effusion."),
    ],
)
def test_a_quote_is_found_at_its_offsets_in_the_original_text(quote, section, words):
    (evidence,) = ground(quote, SECTIONS)
    assert evidence.section == section
    assert dict(SECTIONS)[section][evidence.start : evidence.end].strip() == words
    assert evidence.quote == quote


def test_a_quote_that_stands_nowhere_is_kept_and_marked():
    assert ground("large effusion", SECTIONS) == (Evidence("", -1, -1, "large effusion"),)
    assert not ground("...", SECTIONS)[0].grounded


def test_no_quote_is_no_evidence():
    assert ground(" \n", SECTIONS) == ()


@given(st.text(min_size=1, max_size=40), st.data())
def test_any_part_of_a_text_is_found(text, drawn):
    start = drawn.draw(st.integers(0, len(text) - 1))
    end = drawn.draw(st.integers(start + 1, len(text)))
    found = ground(text[start:end], [("text", text)])
    if text[start:end].strip():
        assert text[found[0].start : found[0].end] == text[start:end]


@given(st.text(alphabet="abß İ\n\t", min_size=1, max_size=30))
def test_a_quote_in_other_case_and_spacing_is_found_with_sound_offsets(text):
    quote = "  ".join(text.upper().split())
    for evidence in ground(quote, [("text", text)]):
        if evidence.grounded:
            assert 0 <= evidence.start < evidence.end <= len(text)
