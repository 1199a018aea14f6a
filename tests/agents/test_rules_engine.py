"""The rule engine: evidence, the report's verdict, and that no text harms it."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teachback.agents.rules import Mention, RuleEngine
from teachback.agents.rules.words import ASKED, MASK, MAX_WORDS, OVERLONG, Words, sentences
from teachback.store.label import FINDINGS, STATUSES

ENGINE = RuleEngine()

# Pieces of reports in any order: far likelier than random letters to meet cues, lists and organs.
WORDS = (
    "no or and with but heart size normal enlarged effusion pneumothorax may represent versus has resolved XXXX ___ "
    "this the lungs are clear small stable recommend findings:"
)
PIECES = st.sampled_from([*WORDS.split(), *",.;:?()/-", "1.", "\n", "\n\n", "é", "肺", "\x00", "\ud800"])


def only(text: str) -> Mention:
    (mention,) = ENGINE.mentions("impression", text)
    return mention


def test_evidence_quotes_the_section_at_its_offsets() -> None:
    text = "Heart normal.\n\n2. No evidence of a  pleural\neffusion."
    verdicts = ENGINE.label_sections([("findings", "Clear lungs."), ("impression", text)])
    status, (span,) = verdicts["Pleural Effusion"]
    assert status == "absent"
    assert span.section == "impression"
    assert text[span.start : span.end] == span.quote == "pleural\neffusion"
    assert span.cue == "No evidence of"


def test_mention_names_cue_and_rule() -> None:
    mention = only("Pneumonia cannot be excluded.")
    assert (mention.status, mention.cue, mention.rule) == ("uncertain", "cannot be excluded", "uncertain-after")
    assert only("Small effusion.").rule == "stated"


def test_every_finding_gets_a_verdict_in_order() -> None:
    verdicts = ENGINE.label_sections([])
    assert tuple(verdicts) == FINDINGS
    assert all(verdict == ("unmentioned", ()) for verdict in verdicts.values())


@pytest.mark.parametrize(
    ("sections", "status", "spans"),
    [
        # present over uncertain over absent, whatever the order; the evidence is the deciding mentions alone
        (["No effusion.", "Possible effusion.", "Small effusion."], "present", 1),
        (["Possible effusion.", "No effusion."], "uncertain", 1),
        (["No effusion.", "No effusion."], "absent", 2),
        (["History of effusion."], "unmentioned", 0),
    ],
)
def test_report_takes_the_strongest_mention(sections: list[str], status: str, spans: int) -> None:
    found, evidence = ENGINE.label_sections([(f"part{i}", text) for i, text in enumerate(sections)])["Pleural Effusion"]
    assert (found, len(evidence)) == (status, spans)


def test_comparison_alone_gives_way_to_any_other_mention() -> None:
    texts = [("findings", "Heart size is unchanged."), ("impression", "Heart size is normal.")]
    assert ENGINE.label_sections(texts)["Cardiomegaly"][0] == "absent"
    assert ENGINE.label_sections(texts[:1])["Cardiomegaly"][0] == "uncertain"


def test_ignored_mention_is_shown_but_decides_nothing() -> None:
    mention = only("Evaluate for pneumothorax.")
    assert (mention.status, mention.rule) == ("unmentioned", "advice")


def test_unread_heading_holds_until_the_next_heading() -> None:
    text = "INDICATION: Pneumonia. Effusion. FINDINGS: Small pneumothorax."
    verdicts = ENGINE.label_sections([("text", text)])
    assert {f for f, (status, _) in verdicts.items() if status != "unmentioned"} == {"Pneumothorax"}


def test_answer_reaches_only_the_sentence_before() -> None:
    text = "Left effusion. Small pneumothorax. This has resolved."
    verdicts = ENGINE.label_sections([("text", text)])
    assert verdicts["Pleural Effusion"][0] == "present"
    assert verdicts["Pneumothorax"][0] == "absent"


def test_remembered_sentence_keeps_the_offsets_of_its_place() -> None:
    text = "No effusion. Heart normal. No effusion."
    spans = [(m.start, m.end) for m in ENGINE.mentions("text", text) if m.finding == "Pleural Effusion"]
    # "No effusion." is 12 characters and a blank; "Heart normal." 13 and a blank: 3, then 13 + 14 + 3 = 30
    assert spans == [(3, 11), (30, 38)]


def test_forgetful_engine_reads_the_same() -> None:
    text = "Stable cardiomegaly. No effusion. Possible nodule. No effusion."
    assert RuleEngine(remember=0).mentions("text", text) == ENGINE.mentions("text", text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two.", ["One.", "Two."]),
        ("A 1.5 cm nodule. Clear.", ["A 1.5 cm nodule.", "Clear."]),
        ("Atelectasis vs. Pneumonia.", ["Atelectasis vs. Pneumonia."]),
        ("No acute disease.Heart normal.", ["No acute disease.", "Heart normal."]),
        ("heart normal\nno effusion", ["heart normal", "no effusion"]),
        ("Heart normal\nLungs clear. OK.", ["Heart normal", "Lungs clear.", "OK."]),
        ("No evidence of\nEffusion.", ["No evidence of\nEffusion."]),
        ("No edema, focal\nopacity or pleural\neffusion.", ["No edema, focal\nopacity or pleural\neffusion."]),
        ("- Heart normal\n- No effusion", ["Heart normal", "No effusion"]),
        ("Effusion? Yes.", ["Effusion?", "Yes."]),
        ("", []),
        (" \n ", []),
    ],
)
def test_text_splits_into_sentences(text: str, parts: list[str]) -> None:
    assert [text[start:end] for start, end in sentences(text)] == parts


def test_wrapped_line_is_one_sentence() -> None:
    text = "There is no evidence of a focal consolidation, pleural effusion or of a\nlarge pneumothorax today."
    assert len(list(sentences(text))) == 1


def test_word_too_long_to_be_one_is_passed_over() -> None:
    assert only(f"No {'a' * 60} effusion.").status == "absent"
    assert only(f"Small effusion {'_' * 90} no").status == "present"


def test_hostile_inputs_are_read_to_the_end() -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "rule_fuzz.py"
    ran = subprocess.run([sys.executable, str(script), "--inputs", "1200"], capture_output=True, text=True, check=True)
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["inputs"] == 1200
    assert told["characters"] > 100_000


def test_endless_sentence_is_cut() -> None:
    spans = list(sentences("effusion " * (MAX_WORDS * 3)))
    assert len(spans) == 3


def test_masks_and_abbreviations_are_words() -> None:
    assert Words("XXXX ___ w/o c/w left-sided?").forms == [
        "xxxx",
        "xxxx",
        "w/o",
        "c/w",
        "left",
        "sided",
        "?",
    ]


PUNCTUATED = st.lists(
    st.sampled_from(["a", "B", "-", " - ", " ", "/", "w/", "'", "?", "_", "__", "é", "."]), max_size=30
)


@settings(max_examples=300)
@given(st.one_of(st.text(max_size=60), PUNCTUATED.map("".join)))
def test_words_stand_where_they_are_said_to(sentence: str) -> None:
    spelled = Words(sentence)
    assert spelled.starts == sorted(set(spelled.starts))
    for place, form in enumerate(spelled.forms):
        start, end = spelled.span(place, place + 1)
        said = spelled.quote(place, place + 1)
        assert said == sentence[start:end]
        assert form in (said.lower().replace("\u2019", "'"), ASKED, MASK, OVERLONG, ":")
        # Nothing that could be a word is left out in front of it.
        behind = spelled.span(place - 1, place)[1] if place else 0
        assert not any(sign.isalnum() for sign in sentence[behind:start])
        assert spelled.within(start, start + 1) == [place]


def test_a_heading_within_a_line_begins_a_sentence_even_right_behind_another() -> None:
    text = "Seen today Lungs: clear Heart size: normal Bones:Heart: big"
    begun = [text[start:].split(":")[0] for start, _ in sentences(text)]
    assert begun == ["Seen today Lungs", "Heart size", "Bones", "Heart"]


@settings(max_examples=200)
@given(st.one_of(st.text(max_size=400), st.lists(PIECES, max_size=80).map(" ".join)))
def test_any_text_is_safe_and_every_quote_stands_in_it(text: str) -> None:
    for mention in ENGINE.mentions("text", text):
        assert mention.finding in FINDINGS
        assert mention.status in STATUSES
        assert 0 <= mention.start < mention.end <= len(text)
        assert text[mention.start : mention.end] == mention.quote
    assert tuple(ENGINE.label_sections([("text", text)])) == FINDINGS


@pytest.mark.parametrize(
    "unit",
    [
        "no ",
        "effusion ",
        "no effusion or ",
        "blunting of the ",
        "a",
        "....",
        "\n",
        "heart, ",
        "(",
        "Aa ",
        "____",
        "?",
        "é",
    ],
)
def test_time_grows_with_the_length_and_not_faster(unit: str) -> None:
    """A text eight times as long takes about eight times the CPU time, not sixty-four (quadratic)."""
    short = unit * (6_000 // len(unit))

    def seconds(text: str) -> float:
        tries = []
        for _ in range(2):
            started = time.process_time()
            ENGINE.mentions("text", text)
            tries.append(time.process_time() - started)
        return min(tries)

    assert seconds(short * 8) < 24 * max(seconds(short), 0.002)
