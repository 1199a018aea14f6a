import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teachback.agents.grounding import ground, places
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
        ("heart is mildly enlarged.No effusion", "findings", "heart is  mildly\nENLARGED. No effusion"),
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


@pytest.mark.parametrize(
    ("quote", "text", "words"),
    [
        ('there\'s no "shift"', "There’s no “shift” here", "There’s no “shift”"),
        ("left-sided", "A left–sided line", "left–sided"),
        ("ﬁrst rib", "the first rib", "first rib"),
        ("first rib", "the ﬁrst rib", "ﬁrst rib"),
        ("pleural effusion", "pleu\u00adral\u00a0effu\u00adsion", "pleu\u00adral\u00a0effu\u00adsion"),
        ("5mm nodule", "a 5 mm nodule", "5 mm nodule"),
        ("5 mm nodule", "a 5mm nodule", "5mm nodule"),
        ("no\nacute\t disease", "NO ACUTE DISEASE", "NO ACUTE DISEASE"),
    ],
)
def test_other_signs_and_blanks_are_the_same_words(quote, text, words):
    (evidence,) = ground(quote, [("text", text)])
    assert text[evidence.start : evidence.end] == words


def test_whole_words_come_before_parts_of_words():
    (evidence,) = ground("edema", [("text", "Lymphedema. No edema.")])
    assert (evidence.start, evidence.end) == (15, 20)
    assert [place.start for place in places("edema", [("text", "Edema, lymphedema, edema.")])] == [19, 12]
    # words that only come about when blanks are left out of others are not there
    assert not ground("nose", [("text", "There is no sequel.")])[0].grounded


LETTERS = st.characters(categories=["L", "N", "P", "Zs"], max_codepoint=0x24F)


@given(st.text(LETTERS | st.sampled_from("ab \n\t.’"), min_size=1, max_size=40), st.data())
def test_any_part_in_other_case_and_blanks_is_found_where_it_says_the_same(text, drawn):
    start = drawn.draw(st.integers(0, len(text) - 1))
    part = text[start : drawn.draw(st.integers(start + 1, len(text)))]
    quote = drawn.draw(st.sampled_from([part.upper(), part.lower(), part.swapcase()]))
    quote = "".join(drawn.draw(st.sampled_from(["\n", "  ", "\t "])) if c.isspace() else c for c in quote)
    for evidence in ground(quote, [("text", text)]):
        assert evidence.grounded
        assert same(text[evidence.start : evidence.end]) == same(quote) or not same(quote)


def same(text):
    """What is left of a text when case, blanks, signs and marks do not count."""
    plain = unicodedata.normalize("NFKC", text).upper().casefold()
    return "".join(character for character in plain if character.isalnum())
