import math
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from teachback.store.label import (
    CHEXPERT_OBSERVATIONS,
    FINDINGS,
    STATUSES,
    Evidence,
    Label,
    Labeler,
    Status,
    derive_no_finding,
    from_chexpert,
    to_chexpert,
)

LABEL = Label("r1", "findings", "Edema", "present", "lab_x", "full", confidence=0.9, confidence_source="logprob")
words = st.text(max_size=12)
labels = st.builds(
    Label,
    report_id=words,
    task=st.sampled_from(("findings", "diseases")),
    target=words,
    status=st.sampled_from(STATUSES),
    labeler_id=words,
    scope=st.sampled_from(("impression", "full", "mimic")),
    confidence=st.none() | st.floats(0, 1),
    evidence=st.lists(
        st.builds(Evidence, words, st.integers(-1, 99), st.integers(-1, 99), words, words), max_size=2
    ).map(tuple),
    icd10=st.none() | words,
)


def test_there_are_13_findings_and_no_finding_is_not_among_them() -> None:
    assert len(FINDINGS) == len(set(FINDINGS)) == 13
    assert ("No Finding", *FINDINGS) == CHEXPERT_OBSERVATIONS


@pytest.mark.parametrize(
    ("status", "value"), [("present", 1.0), ("absent", 0.0), ("uncertain", -1.0), ("unmentioned", None)]
)
def test_chexpert_values_translate_both_ways(status: Status, value: float | None) -> None:
    assert to_chexpert(status) == value
    assert from_chexpert(value) == status


def test_nan_is_blank_and_anything_else_is_refused() -> None:
    assert from_chexpert(math.nan) == "unmentioned"
    for value in (2.0, 0.5, -2.0, math.inf):
        with pytest.raises(ValueError, match="is not one of 1, 0, -1 or blank"):
            from_chexpert(value)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ({}, "present"),
        ({"Support Devices": "present"}, "present"),
        ({"Edema": "absent", "Pneumonia": "unmentioned"}, "present"),
        ({"Edema": "present"}, "unmentioned"),
        ({"Edema": "uncertain"}, "unmentioned"),
        ({"Support Devices": "present", "Fracture": "present"}, "unmentioned"),
    ],
)
def test_no_finding_is_present_when_nothing_but_devices_troubles(statuses: dict[str, Status], expected: Status) -> None:
    assert derive_no_finding(statuses) == expected


@given(st.dictionaries(st.sampled_from(FINDINGS), st.sampled_from(STATUSES)))
def test_no_finding_never_depends_on_support_devices(statuses: dict[str, Status]) -> None:
    assert derive_no_finding(statuses) == derive_no_finding({**statuses, "Support Devices": "present"})
    assert derive_no_finding(statuses) in ("present", "unmentioned")


@given(labels)
def test_the_same_verdict_has_the_same_id(label: Label) -> None:
    assert label.changed().label_id == label.label_id
    assert label.label_id.startswith("lab_")
    assert len(label.label_id) == 28


@given(labels, labels)
def test_another_verdict_has_another_id(one: Label, other: Label) -> None:
    def verdict(label: Label) -> tuple[object, ...]:
        return (
            label.report_id,
            label.task,
            label.target,
            label.status,
            label.labeler_id,
            label.scope,
            label.icd10,
            None if label.confidence is None else round(label.confidence, 6),
            [(e.section, e.start, e.end, e.quote) for e in label.evidence],
        )

    assert (one.label_id == other.label_id) == (verdict(one) == verdict(other))


@given(st.floats(0, 1))
def test_confidence_counts_to_six_digits(confidence: float) -> None:
    label = LABEL.changed(confidence=confidence)
    assert LABEL.changed(confidence=round(confidence, 6)).label_id == label.label_id


def test_notes_rounds_and_probabilities_are_no_part_of_the_id() -> None:
    noted = LABEL.changed(confidence_note="calibrated", round_id="rnd_1", probs={"present": 0.9, "absent": 0.1})
    assert noted.label_id == LABEL.label_id


def test_a_call_is_part_of_the_id() -> None:
    assert LABEL.changed(llm_call_id="call_1").label_id != LABEL.changed(llm_call_id="call_2").label_id


@given(labels)
def test_a_label_goes_into_another_process_and_back_with_its_id(label: Label) -> None:
    known = label.label_id
    back = msgspec.msgpack.decode(msgspec.msgpack.encode(label), type=Label)
    assert back == label
    assert back._known_id == known
    assert label.changed(target=label.target + "x").label_id != known  # an id is no heritage
    assert {label, back} == {label}


def test_a_label_is_saved_and_shown_by_its_fields_as_langgraph_does() -> None:
    label = LABEL.changed(evidence=(Evidence("findings", 0, 4, "text"),))
    serializer = JsonPlusSerializer(
        allowed_msgpack_modules=[("teachback.store.label", "Label"), ("teachback.store.label", "Evidence")]
    )
    back = serializer.loads_typed(serializer.dumps_typed({"votes": [label]}))["votes"][0]
    assert (back.label_id, back.target, back.evidence[0].quote) == (label.label_id, "Edema", "text")


def test_an_unfound_quote_is_ungrounded() -> None:
    assert Evidence("findings", 0, 4, "text").grounded
    assert not Evidence("findings", -1, -1, "text").grounded


def test_a_labeler_is_what_makes_its_output() -> None:
    labeler = Labeler("llm", "m", "1", parameters={"a": 1, "b": 2})
    assert labeler.labeler_id == Labeler("llm", "m", "1", parameters={"b": 2, "a": 1}).labeler_id
    assert labeler.labeler_id != replace(labeler, version="2").labeler_id
    assert labeler.labeler_id != replace(labeler, parameters={"a": 1}).labeler_id
