"""Open-ended diseases, matched by phrase and by ICD-10 category."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teachback.store.quality.diseases import evaluate_diseases, icd_category, normalise_phrase

disease = st.tuples(st.sampled_from(["pneumonia", "Edema", "rib fracture"]), st.sampled_from(["J18.9", "J81.0", None]))
lists = st.lists(st.lists(disease))


def test_phrases_and_categories_by_hand() -> None:
    truth = [[("Pneumonia", "J18.9"), ("Pleural effusion", "J90")], [("Emphysema", "J43.9")], []]
    said = [[("pneumonia.", "J18.1"), ("effusion", "J90")], [("COPD", None)], [("Emphysema", "J43")]]
    report = evaluate_diseases(truth, said, np.arange(3))
    # exact: tp pneumonia; fp effusion, copd, emphysema (report 3); fn pleural effusion, emphysema: F1 = 2 / (2 + 3 + 2)
    assert (report.exact.tp, report.exact.fp, report.exact.fn) == (1, 3, 2)
    assert report.exact.f1.value == pytest.approx(2 / 7)
    # icd3: tp J18, J90; fp J43 (report 3); fn J43 (report 2); COPD has no code: F1 = 4 / (4 + 1 + 1)
    assert (report.icd3.tp, report.icd3.fp, report.icd3.fn, report.icd3.left_out) == (2, 1, 1, 1)
    assert report.icd3.f1.value == pytest.approx(2 / 3)
    assert report.as_dict()["icd3"]["f1"]["value"] == pytest.approx(2 / 3)
    assert (report.n_reports, report.n_clusters) == (3, 3)


def test_repeated_phrases_count_once() -> None:
    report = evaluate_diseases([[("edema", None)]], [[("Edema", None), ("EDEMA ", None)]], np.zeros(1, dtype=int))
    assert (report.exact.tp, report.exact.fp) == (1, 0)


def test_nothing_at_all_is_undefined() -> None:
    assert math.isnan(evaluate_diseases([[]], [[]], np.zeros(1, dtype=int)).exact.f1.value)
    assert evaluate_diseases([], [], np.zeros(0, dtype=int)).n_reports == 0


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
    assert report.exact.fp == report.exact.fn == report.icd3.fp == report.icd3.fn == 0
    assert math.isnan(report.exact.f1.value) or report.exact.f1.value == 1.0


def test_lengths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        evaluate_diseases([[]], [], np.arange(1))
