"""Diseases in JSON: the grammar holds any student, and what it writes is read, looked up and marked."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teachback.agents.forms import LabelForm
from teachback.agents.label_reading import disease_labels
from teachback.distill.disease_json import Guides, disease_grammar, format_json, read_json, spoken
from teachback.distill.diseases import Verification, list_diseases_of
from teachback.distill.predict import verify_diseases, write_diseases
from teachback.distill.questions import VERIFY, Questions
from teachback.errors import TrainingError
from teachback.store.report import Report

Ask = Callable[..., Questions]
FINDINGS = 'Heart is "big" and the lungs are clear. A small left pleural effusion is seen.'
IMPRESSION = "Effusion \\ pneumonia."
SHORT = 160  # tokens of prompt and answer, so that an answer has at most 80
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def accepts(guides: Guides, questions: Questions, sections: list[str], answer: str) -> bool:
    """Whether an answer keeps to the grammar, token by token as its own tokenizer writes it."""
    matcher = guides._llguidance.LLMatcher(guides._tokenizer, disease_grammar([questions.seen(s) for s in sections]))
    *tokens, end = questions.encode_answer(answer)
    assert end == questions.end
    return bool(matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting())


@pytest.fixture
def guides(ask: Ask) -> Guides:
    pytest.importorskip("llguidance")
    questions = ask()
    return Guides(questions.tokenizer, questions.end, len(questions.tokenizer))


@pytest.mark.parametrize(
    ("name", "code", "evidence", "fits"),
    [
        ("pleural effusion", "J90", "small left pleural effusion", True),
        ("pleural effusion", "", "effusion", True),
        ("pleural effusion", "J90", "right pleural effusion", False),  # not these words
        ("pleural effusion", "J90", "ffusion", False),  # half a word
        ("pleural effusion", "J90", "is seen. Effusion", False),  # across two sections
        ("pleural effusion", "J90", "", False),
        ("pleural effusion", "effusion", "small", False),  # no code
        ("", "J90", "small", False),
        ("cardiomegaly", "I51.7", "'big' and the lungs", True),  # quotation marks as JSON needs them
        ("pneumonia", "J18.9", "/ pneumonia", True),
    ],
)
def test_the_grammar_lets_through_what_the_report_says(
    guides: Guides, ask: Ask, name: str, code: str, evidence: str, fits: bool
) -> None:
    answer = json.dumps({"diseases": [{"name": name, "icd10": code, "evidence": evidence}]}, separators=(",", ":"))
    assert accepts(guides, ask(), [FINDINGS, IMPRESSION], answer) is fits


def test_what_a_student_is_taught_keeps_to_the_grammar(guides: Guides, ask: Ask) -> None:
    taught = [("rib fracture", "S22.39XA", 'Heart is "big"'), ("edema", None, "lungs are\n clear")]
    answer = format_json(taught)
    assert accepts(guides, ask(), [FINDINGS, IMPRESSION], answer)
    read = read_json(answer).entries
    assert [(entry.name, entry.icd10) for entry in read] == [("edema", ""), ("rib fracture", "S22.39XA")]
    for entry, quote in zip(read, ("lungs are clear", "Heart is 'big'"), strict=True):
        assert entry.evidence == quote
    assert accepts(guides, ask(), [FINDINGS], format_json([]))


@quick
@given(section=st.text(max_size=120))
def test_any_report_makes_a_grammar_and_any_word_of_it_fits(guides: Guides, ask: Ask, section: str) -> None:
    questions = ask()
    assert accepts(guides, questions, [section], '{"diseases":[]}')
    words = spoken(questions.seen(section)).split()
    plain = [word for word in words if word.isascii() and word.isalpha()]
    for word in plain[:3]:
        assert accepts(guides, questions, [section], format_json([("edema", "J81.0", word)]))


def test_an_untrained_student_answers_in_the_form_with_words_of_the_report(
    llama: Any, guides: Guides, ask: Ask, texts: list[str]
) -> None:
    questions = ask(SHORT)
    reports = [Report(f"r{i}", "c", {"findings": text}) for i, text in enumerate([*texts[:2], "Clear.", "?"])]
    sections = [report.scoped("full") for report in reports]
    written = write_diseases(llama, questions, sections, [report.text("full") for report in reports])
    assert len(written) == len(reports)
    assert any(of.entries for of in written)
    for report, of in zip(reports, written, strict=True):
        LabelForm(diseases=of.entries)
        labels = disease_labels(of.entries, report.report_id, report.scoped("full"), "l", "full")
        assert all(label.evidence[0].grounded for label in labels)


def test_lists_are_those_of_each_report_alone(llama: Any, guides: Guides, ask: Ask, texts: list[str]) -> None:
    questions = ask(SHORT)
    chosen = [texts[5], "No edema."]
    sections = [[("findings", text)] for text in chosen]
    together = write_diseases(llama, questions, sections, chosen)
    assert together == [write_diseases(llama, questions, [s], [t])[0] for s, t in zip(sections, chosen, strict=True)]


def test_words_that_are_not_in_the_report_are_marked_and_denied_ones_are_not_present() -> None:
    section = [("findings", "No pleural effusion. Mild edema.")]
    answer = format_json(
        [
            ("pleural effusion", "J90", "No pleural effusion"),
            ("edema", "J81.0", "Mild edema"),
            ("gout", "M10.9", "gouty"),
        ]
    )
    labels = {label.target: label for label in disease_labels(read_json(answer).entries, "r", section, "l", "full")}
    assert {name: label.status for name, label in labels.items()} == {
        "pleural effusion": "absent",
        "edema": "present",
        "gout": "present",
    }
    assert {name: label.evidence[0].grounded for name, label in labels.items()} == {
        "pleural effusion": True,
        "edema": True,
        "gout": False,
    }
    assert labels["edema"].evidence[0].start == section[0][1].index("Mild")


def test_an_answer_that_breaks_off_loses_its_last_disease_and_says_so() -> None:
    whole = format_json([("edema", "J81.0", "Mild edema"), ("gout", "M10.9", "gout")])
    cut = read_json(whole[:-15], whole=False)
    assert [entry.name for entry in cut.entries] == ["edema"]
    assert cut.cut
    assert read_json('{"diseases":[{"name":"ede', whole=False).entries == ()


def test_yes_and_no_are_those_of_each_prompt_alone(torch: Any, llama: Any, ask: Ask, texts: list[str]) -> None:
    questions = ask()
    listed = [["edema", "rib fracture"], [], ["gout"]]
    sure = verify_diseases(llama, questions, texts[:3], listed)
    assert [len(of) for of in sure] == [2, 0, 1]
    for text, diseases, of in zip(texts, listed, sure, strict=False):
        for disease, p in zip(diseases, of, strict=True):
            prompt = [*questions.prefix(text), *questions.tail(VERIFY + disease)]
            with torch.inference_mode():
                logits = llama(input_ids=torch.tensor([prompt])).logits[0, -1, list(questions.yes_no_tokens)]
            np.testing.assert_allclose(p, logits.softmax(-1)[0], atol=1e-4)


def test_a_disease_carries_how_sure_the_student_is_of_it(
    llama: Any, guides: Guides, ask: Ask, texts: list[str]
) -> None:
    questions = ask(SHORT)
    reports = [Report("a", "c", {"findings": texts[2]}), Report("b", "c", {"indication": "Cough."})]
    fitted = Verification(0.5, 1.0, 40)
    labels = list_diseases_of(llama, questions, reports, "full", "l", fitted)
    plain = list_diseases_of(llama, questions, reports, "full", "l", None)
    assert labels[1] == []
    assert [label.target for label in labels[0]] == [label.target for label in plain[0]] != []
    assert {label.confidence for label in plain[0]} == {None}
    raw = verify_diseases(llama, questions, [texts[2]], [[label.target for label in labels[0]]])[0]
    for label, p in zip(labels[0], raw, strict=True):
        # sigmoid(0.5 * logit(p) + 1), of the other answer where the words deny the disease
        yes = 1 / (1 + np.exp(-(0.5 * np.log(p / (1 - p)) + 1.0)))
        assert label.confidence == pytest.approx(yes if label.status == "present" else 1 - yes, abs=1e-5)
        assert label.confidence_source == "logprob"
        assert label.confidence_note.startswith("yes or no, calibrated on 40 listed diseases")


def test_a_slow_tokenizer_is_refused() -> None:
    pytest.importorskip("llguidance")
    with pytest.raises(TrainingError, match="slow tokenizer"):
        Guides(object(), 0, 10)
