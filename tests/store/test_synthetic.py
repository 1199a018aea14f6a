"""The synthetic corpus: seeded, true to its own words, and as frequent as real life."""

import re
from collections import Counter
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teachback.errors import SettingError
from teachback.store.corpora.synthetic import SyntheticReport, generate
from teachback.store.corpora.synthetic.bank import load_bank
from teachback.store.corpora.synthetic.grammar import Draw, compile_template, fix_articles, render, tidy
from teachback.store.corpora.synthetic.patient import draw_chest
from teachback.store.corpora.synthetic.prevalence import TARGETS, solve_rates
from teachback.store.corpora.synthetic.truth import aggregate
from teachback.store.label import FINDINGS, STATUSES, Status
from teachback.store.report import SECTIONS

MANY = 6_000

# Each code was looked up in the ICD-10-CM tables of April 2026: it exists and is billable (it has no subdivisions).
BILLABLE = {
    "J90", "J93.9", "J94.8", "J18.9", "J69.0", "J98.11", "J81.1", "J81.0", "I50.9", "I51.7", "J92.9", "J94.1",
    "R91.1", "R91.8", "C78.00", "S22.39XA", "S22.49XA", "S42.009A", "J44.9", "J43.9", "J47.9", "D86.9", "I70.0",
    "I77.810", "I71.20", "I27.20", "K44.9", "M41.9", "M85.80", "M81.0", "M47.814", "M40.204", "M48.10", "K80.20",
    "Q67.6",
}  # fmt: skip

# Words that name a finding and nothing else, in all spellings the corpus knows (typing errors apart).
UNAMBIGUOUS = {
    "Pneumothorax": r"pneumothora|\bptx\b",
    "Pleural Effusion": r"effusion|pleural fluid|fluid in the \w+ pleural",
    "Pneumonia": r"pneumonia|\bpna\b|infectious|infection",
    "Atelectasis": r"atelecta|collapse|\batx\b",
    "Edema": r"edema|congesti|\bchf\b",
    "Cardiomegaly": r"cardiomegaly|enlarged heart|heart size",
    "Consolidation": r"consolidat",
    "Fracture": r"fracture|\bfxs?\b",
    "Lung Lesion": r"nodule|\bmass\b|nodular",
}


@pytest.fixture(scope="module")
def corpus() -> list[SyntheticReport]:
    return list(generate(MANY, seed=3))


def stated(report: SyntheticReport) -> str:
    """The words of the sections that state something; a text's leading history paragraph is taken off."""
    text = report.report.text("full")
    if "text" in report.report.sections and re.match(r"(?i)(clinical )?history:|reason for exam:", text):
        text = text.partition("\n\n")[2]
    return text.lower()


def shares(reports: list[SyntheticReport]) -> dict[tuple[str, Status], float]:
    counts = Counter(item for report in reports for item in report.statuses.items())
    return {key: count / len(reports) for key, count in counts.items()}


def test_same_seed_writes_the_same_reports() -> None:
    assert list(generate(40, seed=5)) == list(generate(40, seed=5))
    assert list(generate(40, seed=5)) != list(generate(40, seed=6))


def test_any_range_can_be_written_alone() -> None:
    whole = list(generate(150, seed=1))
    assert list(generate(100, seed=1, start=50)) == whole[50:]
    assert list(generate(1, seed=1, start=77)) == [whole[77]]


def test_reports_are_streamed() -> None:
    assert len(list(islice(generate(10**9), 3))) == 3


def test_prevalences_stay_near_the_published_ones(corpus: list[SyntheticReport]) -> None:
    share = shares(corpus)
    for finding, target in TARGETS.items():
        # 6,000 reports of about 3,700 subjects: the standard error of a share p is at most 1.3 * sqrt(p (1-p) / 6000);
        # at p = 0.5 that is 0.0084, and three of them 0.025. Rare shares vary by sqrt(p), hence the square-root term.
        for status, wanted in (("present", target.present), ("uncertain", target.uncertain), ("absent", target.absent)):
            got = share.get((finding, status), 0.0)  # type: ignore[call-overload]
            assert abs(got - wanted) < 0.004 + 0.06 * wanted**0.5, (finding, status, got, wanted)


def test_asked_prevalence_is_met() -> None:
    asked = {"Pneumothorax": 0.2, "Pleural Other": 0.1, "Fracture": 0.6}
    share = shares(list(generate(3_000, seed=2, prevalence=asked)))
    for finding, wanted in asked.items():
        assert share[finding, "present"] == pytest.approx(wanted, abs=0.03)
    assert share["Edema", "present"] == pytest.approx(TARGETS["Edema"].present, abs=0.03)


@given(
    st.dictionaries(st.sampled_from(FINDINGS), st.floats(0.001, 0.9), max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_solved_rates_average_to_the_asked_ones(asked: dict[str, float]) -> None:
    rates = solve_rates(asked)
    assert sum(rates.scenarios.values()) == pytest.approx(1)
    for number, finding in enumerate(FINDINGS):
        mean = sum(share * rates.statuses[name][number][0] for name, share in rates.scenarios.items())
        assert mean == pytest.approx(asked.get(finding, TARGETS[finding].present), abs=1e-6)
        assert all(sum(rates.statuses[name][number]) <= 1 + 1e-9 for name in rates.scenarios)


@pytest.mark.parametrize(("finding", "rate"), [("Pneumothorx", 0.1), ("Edema", 0.0), ("Edema", 0.91), ("Edema", -1)])
def test_a_wrong_prevalence_is_named(finding: str, rate: float) -> None:
    with pytest.raises(SettingError, match=finding):
        generate(1, prevalence={finding: rate})


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(SettingError, match="-1"):
        generate(-1)


def test_every_status_of_every_finding_occurs(corpus: list[SyntheticReport]) -> None:
    seen = {item for report in corpus for item in report.statuses.items()}
    assert seen == {(finding, status) for finding in FINDINGS for status in STATUSES}


def test_a_status_is_the_strongest_of_its_facts() -> None:
    statuses = aggregate(
        [("Edema", "absent"), ("Edema", "uncertain"), ("Pneumonia", "present"), ("Pneumonia", "uncertain")]
    )
    assert (statuses["Edema"], statuses["Pneumonia"], statuses["Fracture"]) == ("uncertain", "present", "unmentioned")


def test_the_truth_is_the_sum_of_the_sections(corpus: list[SyntheticReport]) -> None:
    for report in corpus:
        facts = [item for section in report.statuses_by_section.values() for item in section.items()]
        assert aggregate(facts) == report.statuses
        assert set(report.statuses_by_section) == set(report.report.sections) & {"findings", "impression", "text"}


def test_what_is_intended_is_written() -> None:
    rates = solve_rates()
    for index, report in enumerate(generate(3_000, seed=9)):
        for finding, meant in draw_chest(9, index, rates).statuses.items():
            got = report.statuses[finding]
            # A present or uncertain finding is always said. A denial may be left out, nothing may be added.
            assert got == meant or (meant == "absent" and got == "unmentioned"), (report.report.report_id, finding)


def test_the_impression_alone_loses_most_of_the_truth(corpus: list[SyntheticReport]) -> None:
    both = [report for report in corpus if len(report.statuses_by_section) == 2]
    said = kept = present = present_kept = 0
    for report in both:
        for finding, status in report.statuses.items():
            if status != "unmentioned":
                said += 1
                kept += report.statuses_by_section["impression"][finding] == status
            if status == "present":
                present += 1
                present_kept += report.statuses_by_section["impression"][finding] == status
    assert len(both) > 0.6 * len(corpus)
    assert kept / said < 0.4
    assert 0.35 < present_kept / present < 0.65


@pytest.mark.parametrize("finding", UNAMBIGUOUS)
def test_no_word_of_a_finding_where_it_is_unmentioned(corpus: list[SyntheticReport], finding: str) -> None:
    pattern = re.compile(UNAMBIGUOUS[finding])
    for report in corpus:
        if report.statuses[finding] == "unmentioned":
            assert not pattern.search(stated(report)), (report.report.report_id, stated(report))


def test_a_denied_finding_is_never_asserted_by_a_disease(corpus: list[SyntheticReport]) -> None:
    asserting = {"J90": "Pleural Effusion", "J93.9": "Pneumothorax", "J18.9": "Pneumonia", "J98.11": "Atelectasis"}
    asserting |= {"I51.7": "Cardiomegaly", "J81.1": "Edema", "J81.0": "Edema", "I50.9": "Edema", "R91.1": "Lung Lesion"}
    for report in corpus:
        for disease in report.diseases:
            if disease.icd10 in asserting:
                assert report.statuses[asserting[disease.icd10]] == "present", report.report.report_id


def test_diseases_have_billable_codes_and_one_name_each(corpus: list[SyntheticReport]) -> None:
    names = {disease for report in corpus for disease in report.diseases}
    assert {disease.icd10 for disease in names} <= BILLABLE
    assert len({disease.name for disease in names}) == len(names) >= 30
    for report in corpus:
        assert len(set(report.diseases)) == len(report.diseases)
    others = {other.disease.icd10 for other in load_bank().others}
    assert others <= BILLABLE


@given(seed=st.integers(0, 10**6), start=st.integers(0, 10**7))
@settings(max_examples=150, deadline=None)
def test_every_report_is_laid_out_cleanly(seed: int, start: int) -> None:
    (report,) = generate(1, seed, start=start)
    sections = report.report.sections
    assert set(sections) <= set(SECTIONS)
    assert report.report.scoped("full"), "nothing to read"
    assert ("text" in sections) == (set(sections) == {"text"})
    for text in sections.values():
        assert text == text.strip() != ""
        assert text in report.text or "text" in sections
        assert not re.search(r"[{}\[\]|~]|  | [,.;]|\.\.|,,|\bNone\b\w", text), text
        assert not re.search(r"(?i)\ba [aeio]\w|\ban [bcdfghjklmpqrstvwxyz]\w", text), text


def test_lengths_are_those_of_real_reports(corpus: list[SyntheticReport]) -> None:
    words = sorted(len(report.report.text("full").split()) for report in corpus)
    assert 40 <= sum(words) / len(words) <= 110
    assert words[int(0.99 * len(words))] <= 150


def test_forms_layouts_and_subjects_vary(corpus: list[SyntheticReport]) -> None:
    forms = Counter(tuple(sorted(report.statuses_by_section)) for report in corpus)
    assert set(forms) == {("findings", "impression"), ("findings",), ("impression",), ("text",)}
    assert min(forms.values()) > 0.03 * len(corpus)
    heads = ("IMPRESSION:", "Impression:", "impression:")
    assert all(any(head in report.text for report in corpus) for head in heads)
    visits = Counter(report.report.subject_id for report in corpus)
    assert {1, 2, 3, 4} <= set(visits.values())
    texts = Counter(report.report.text("full") for report in corpus)
    assert 0.95 < len(texts) / len(corpus) < 1  # nearly all differ, a few normal ones are pasted


def test_each_status_of_each_finding_has_many_wordings() -> None:
    bank = load_bank()
    for finding, phrases in bank.findings.items():
        frames = {"present": "present.full", "uncertain": "uncertain.full", "absent": "absent.full"}
        nouns = {"present": len(phrases.np[False]), "uncertain": len(phrases.np[False]), "absent": len(phrases.neg)}
        for status, frame in frames.items():
            whole = len(phrases.say[status][False])  # type: ignore[index]
            assert whole + nouns[status] * len(bank.frames[frame]) >= 8, (finding, status)


def test_a_report_never_names_the_same_device_on_two_sides(corpus: list[SyntheticReport]) -> None:
    for report in corpus:
        text = stated(report)
        assert not ("right picc" in text and "left picc" in text), report.report.report_id


def test_the_grammar_draws_alternatives_and_fills_slots() -> None:
    template = compile_template("[a~ {sev} |]effusion[s [left|right]|] => name")
    said = {tidy(render(template, Draw(number), {"sev": "easy"})) for number in range(200)}
    assert said == {
        "a~ easy effusion",
        "a~ easy effusions left",
        "a~ easy effusions right",
        "effusion",
        "effusions left",
        "effusions right",
    }
    assert template.note == "name"
    assert fix_articles("a~ easy one and a~ hard one") == "an easy one and a hard one"


@pytest.mark.parametrize("broken", ["[one|two", "one]", "[[one]"])
def test_a_broken_phrase_is_refused(broken: str) -> None:
    with pytest.raises(ValueError, match="unmatched bracket"):
        compile_template(broken)
