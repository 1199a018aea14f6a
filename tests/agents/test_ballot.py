import pytest

from teachback.agents.ballot import vote
from teachback.store.label import Label


def finding(status, call, target="Edema"):
    return Label("r", "findings", target, status, "lbr", "full", llm_call_id=call)


def disease(name, code, call, status="present"):
    return Label("r", "diseases", name, status, "lbr", "full", icd10=code, icd10_check="billable", llm_call_id=call)


def test_the_status_of_most_answers_wins_with_its_share():
    (label,) = vote([[finding("absent", "a")], [finding("present", "b")], [finding("present", "c")]])
    # two of three
    assert (label.status, label.confidence, label.confidence_source) == ("present", pytest.approx(2 / 3), "vote")
    assert label.probs == pytest.approx({"present": 2 / 3, "absent": 1 / 3, "uncertain": 0, "unmentioned": 0})
    assert label.llm_call_id == "b"  # the first answer that says so


def test_of_two_statuses_with_as_many_votes_the_earliest_answers_wins():
    answers = [[finding(status, str(i))] for i, status in enumerate(["absent", "present", "present", "absent"])]
    assert vote(answers)[0].status == "absent"


def test_a_disease_needs_half_of_the_answers_and_takes_the_commonest_code():
    answers = [
        [disease("gout", "M10.9", "a"), disease("once", "J90", "a")],
        [disease("gout", "M10", "b"), disease("twice", "J90", "b")],
        [disease("gout", "M10", "c"), disease("twice", None, "c")],
        [],
    ]
    gout, twice = vote(answers, "a note")
    # gout 3 of 4, twice 2 of 4, once 1 of 4
    assert (gout.target, gout.icd10, gout.confidence, gout.llm_call_id) == ("gout", "M10", 0.75, "a")
    assert (twice.target, twice.icd10, twice.confidence, twice.probs) == ("twice", "J90", 0.5, None)
    assert gout.confidence_note == "a note"


def test_a_disease_that_is_hedged_in_most_answers_is_uncertain():
    answers = [[disease("gout", "M10.9", "a")], *([disease("gout", "M10.9", c, "uncertain")] for c in "bc")]
    assert [(label.status, label.confidence) for label in vote(answers)] == [("uncertain", pytest.approx(2 / 3))]
