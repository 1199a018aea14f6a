"""What a student reads at a time, and how sentences add up to a report."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from teachback.distill.passages import combine, passages_of, read_by_sentence, touched
from teachback.store.report import Report

PRESENT, ABSENT, UNCERTAIN, UNMENTIONED = range(4)
REPORT = Report("a", "c", {"findings": "Small effusion. No edema.", "impression": "Effusion."})

weights = arrays(np.float64, st.tuples(st.integers(1, 5), st.just(13), st.just(4)), elements=st.floats(0.001, 1))


def distributions(rows: list[list[float]]) -> np.ndarray:
    """(P, 13, 4), each finding alike."""
    return np.repeat(np.array(rows, np.float32)[:, None], 13, axis=1)


def test_passages_are_the_sentences_of_the_scope() -> None:
    found = passages_of(REPORT, "full")
    assert [(p.section, p.text) for p in found] == [
        ("findings", "Small effusion."),
        ("findings", "No edema."),
        ("impression", "Effusion."),
    ]
    assert all(REPORT.sections[p.section][p.start : p.end] == p.text for p in found)
    assert [p.text for p in passages_of(REPORT, "impression")] == ["Effusion."]
    assert passages_of(Report("b", "c", {"indication": "Cough."}), "full") == []


def test_evidence_touches_the_sentences_that_hold_it() -> None:
    found = passages_of(REPORT, "full")
    assert touched(found, [("findings", 6, 14)]) == [0]
    assert touched(found, [("findings", 10, 19)]) == [0, 1]  # a quote over two sentences
    assert touched(found, [("impression", 0, 8), ("findings", 19, 24)]) == [1, 2]
    assert touched(found, [("findings", 15, 16)]) == []  # the blank between two
    assert touched(found, [("findings", -1, -1)]) == []  # quoted words that the report does not hold
    assert touched(found, []) == []


def test_a_report_is_present_as_surely_as_its_surest_sentence() -> None:
    out, deciding = combine(distributions([[0.8, 0.1, 0.05, 0.05], [0.1, 0.3, 0.4, 0.2]]))
    # present .8. Of the .2 left, uncertain as surely as a sentence has it among what it does not call present:
    # .05 / .2 = 1/4 and .4 / .9 = 4/9. Of what is left then, absent: .1 / .15 = 2/3 and .3 / .5 = 3/5.
    uncertain = 0.2 * 4 / 9
    absent = (0.2 - uncertain) * 2 / 3
    assert out[0] == pytest.approx([0.8, absent, uncertain, 0.2 - uncertain - absent], abs=1e-6)
    assert deciding[0].tolist() == [0, 1, 1, 1]


def test_one_sentence_is_its_own_report() -> None:
    rows = [[0.25, 0.45, 0.2, 0.1]]
    assert combine(distributions(rows))[0][5] == pytest.approx(rows[0], abs=1e-6)


@settings(deadline=None)
@given(weights)
def test_combined_distributions_are_distributions(given_weights: np.ndarray) -> None:
    scored = (given_weights / given_weights.sum(-1, keepdims=True)).astype(np.float32)
    out, deciding = combine(scored)
    assert out.min() >= 0
    assert np.allclose(out.sum(-1), 1, atol=1e-5)
    assert np.allclose(out[:, PRESENT], scored[..., PRESENT].max(axis=0), atol=1e-5)
    assert (out[:, UNMENTIONED] <= scored[..., UNMENTIONED].min(axis=0) + 1e-5).all()
    assert (deciding < len(scored)).all()


def test_equal_sentences_are_read_once() -> None:
    read: list[list[str]] = []

    def score(texts):
        read.append(list(texts))
        sure = [[0.9, 0.05, 0.03, 0.02] if "ffusion" in text else [0.01, 0.01, 0.01, 0.97] for text in texts]
        return distributions(sure)

    twin = Report("b", "c", {"findings": "No edema."})
    reading = read_by_sentence([REPORT, twin], "full", score)
    assert read == [["Effusion.", "No edema.", "Small effusion."]]
    assert reading.probabilities.shape == (2, 13, 4)
    assert reading.probabilities[:, 0, PRESENT] == pytest.approx([0.9, 0.01])
    assert reading.deciding[0, 0, PRESENT] == 0
