"""Open-ended diseases, matched by phrase and by ICD-10 category."""

import math
from importlib.resources import files

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from teachback.store.quality.diseases import RULES, evaluate_diseases, icd_category, icd_code
from teachback.store.quality.synonyms import concept_of, normalise_phrase

disease = st.tuples(st.sampled_from(["pneumonia", "Edema", "rib fracture"]), st.sampled_from(["J18.9", "J81.0", None]))
lists = st.lists(st.lists(disease))


def test_each_rule_by_hand() -> None:
    truth = [[("pneumonia", "J18.9"), ("pleural effusion", "J90")], [("COPD", "J44.9"), ("emphysema", "J43.9")], []]
    said = [
        [("pneumonia", "J18.1"), ("Effusion", "J90")],
        [("chronic obstructive pulmonary disease", None)],
        [("Emphysema.", "J43")],
    ]
    report = evaluate_diseases(truth, said, np.arange(3))
    found = {f.rule: (f.tp, f.fp, f.fn, f.left_out) for f in report.rules}
    assert found == {
        "exact": (1, 3, 3, 0),  # pneumonia
        "normalised": (1, 3, 3, 0),  # no other differs in case alone
        "synonym": (3, 1, 1, 0),  # effusion and COPD too; emphysema is another report's
        "icd3": (2, 1, 2, 1),  # J18, J90; the other COPD has no code
        "icd": (1, 2, 3, 1),  # J90; J18.1 is not J18.9
    }
    assert report.by("synonym").f1.value == pytest.approx(6 / 8)
    assert report.as_dict()["icd3"]["f1"]["value"] == pytest.approx(4 / 7)
    assert (report.n_reports, report.n_clusters) == (3, 3)


def test_case_and_points_matter_to_the_exact_rule_only() -> None:
    report = evaluate_diseases([[("Edema", "j81.0")]], [[("edema.", "J810")]], np.zeros(1, dtype=int))
    assert {f.rule: f.tp for f in report.rules} == {"exact": 0, "normalised": 1, "synonym": 1, "icd3": 1, "icd": 1}


def test_repeated_phrases_count_once() -> None:
    report = evaluate_diseases([[("edema", None)]], [[("Edema", None), ("EDEMA ", None)]], np.zeros(1, dtype=int))
    assert (report.by("normalised").tp, report.by("normalised").fp) == (1, 0)


def test_nothing_at_all_is_undefined() -> None:
    assert math.isnan(evaluate_diseases([[]], [[]], np.zeros(1, dtype=int)).by("exact").f1.value)
    assert evaluate_diseases([], [], np.zeros(0, dtype=int)).n_reports == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CHF", "congestive heart failure"),
        ("Enlarged heart", "cardiomegaly"),
        ("pleural effusions", "Effusion"),
        ("pulmonary oedema", "lung edema"),
        ("lung nodule", "pulmonary nodules"),
        ("atherosclerosis of aorta", "aortic atherosclerosis"),
    ],
)
def test_synonyms(one: str, other: str) -> None:
    assert concept_of(one) == concept_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("heart failure", "congestive heart failure"),
        ("pneumonia", "aspiration pneumonia"),
        ("pulmonary edema", "pulmonary vascular congestion"),
        ("lung nodule", "lung mass"),
        ("osteopenia", "osteoporosis"),
        ("diffuse disease", "diffuse"),
    ],
)
def test_what_says_more_or_else_is_no_synonym(one: str, other: str) -> None:
    assert concept_of(one) != concept_of(other)


def test_no_phrase_is_in_two_groups_of_synonyms() -> None:
    groups = yaml.safe_load((files("teachback.store.quality") / "synonyms.yaml").read_text(encoding="utf-8"))["phrases"]
    concepts = [concept_of(group[0]) for group in groups]
    assert len(set(concepts)) == len(groups)
    assert {concept_of(phrase) for group in groups for phrase in group} == set(concepts)


@pytest.mark.parametrize(("code", "plain"), [("j18.9", "J189"), ("S22.39XA", "S2239XA"), ("486", None), (None, None)])
def test_icd_code(code: str | None, plain: str | None) -> None:
    assert icd_code(code) == plain


@pytest.mark.parametrize(
    ("code", "category"),
    [("J18.9", "J18"), (" j189", "J18"), ("C4A.0", "C4A"), ("486", None), ("", None), (None, None)],
)
def test_icd_category(code: str | None, category: str | None) -> None:
    assert icd_category(code) == category


def test_normalise_phrase() -> None:
    assert normalise_phrase("  Right-sided  PLEURAL_effusion, small. ") == "right sided pleural effusion small"


@given(lists)
def test_a_list_matches_itself(reports: list[list[tuple[str, str | None]]]) -> None:
    report = evaluate_diseases(reports, reports, np.arange(len(reports)), n_boot=10)
    for figures in report.rules:
        assert figures.fp == figures.fn == 0
        assert math.isnan(figures.f1.value) or figures.f1.value == 1.0
    assert [f.rule for f in report.rules] == list(RULES)


def test_lengths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        evaluate_diseases([[]], [], np.arange(1))
