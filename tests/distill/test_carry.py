"""Labels of one section on the sentence of another that is about the same finding."""

from typing import Any

import numpy as np
import pytest

from teachback.distill.assemble import TrainingRow
from teachback.distill.carry import carry, sentences_to_read, summarise_carried
from teachback.distill.config import CampaignSettings, SelectSettings
from teachback.distill.freeze import Frozen, TaughtLabel
from teachback.distill.lessons import write_lessons
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.report import Report

HEART = "Heart size is above normal limits."
A = Report("a", "c", {"findings": f"{HEART} No effusion.", "impression": "Cardiomegaly. Edema."})
POOL = Report("p", "c", {"findings": "Big heart.", "impression": "Cardiac enlargement."})
SETTINGS = CampaignSettings(student="x", unit="sentence", tasks=["findings"], select=SelectSettings(carry=0.2))
FROZEN = Frozen("cmp", "t", (), (), {"train": (A,), "pool": (POOL,)}, frozenset())
SENTENCES = sentences_to_read(FROZEN, SETTINGS)
CARDIOMEGALY = (("impression", 0, 13),)


def row(
    finding: str, status: str, evidence: Any = CARDIOMEGALY, *, of: Report = A, source: str = "teacher"
) -> TrainingRow:
    scope = "impression" if source == "teacher" else "full"
    label_id = f"{of.report_id}/{finding}"
    label = TaughtLabel(of.report_id, "findings", finding, status, None, scope, label_id, "rule", evidence)
    return TrainingRow(label, source, 1.0, "taught")


def read(**about: str) -> Any:
    """(M, 13, 4): sentences that are about a finding are called absent, as the champion wrongly does."""
    probabilities = np.zeros((len(SENTENCES), len(FINDINGS), len(STATUSES)))
    probabilities[..., STATUSES.index("unmentioned")] = 1.0
    for finding, sentence in about.items():
        probabilities[SENTENCES.index(sentence), FINDINGS.index(finding)] = np.eye(len(STATUSES))[
            STATUSES.index("absent")
        ]
    return probabilities


def carried(one: TrainingRow, probabilities: Any, settings: CampaignSettings = SETTINGS) -> TrainingRow:
    return carry([one], FROZEN, settings, SENTENCES, probabilities, "round 1")[0]


def test_a_label_is_taught_on_the_one_sentence_elsewhere_that_is_about_its_finding() -> None:
    found = carried(row("Cardiomegaly", "present"), read(Cardiomegaly=HEART))
    assert found.carried == (("findings", 0, len(HEART)),)
    assert found.reason == "taught; also on the sentence of findings that round 1 finds to be about it"
    lessons = {lesson.text: dict(lesson.targets) for lesson in write_lessons([found], FROZEN, SETTINGS)}
    assert lessons[HEART]["Cardiomegaly"].answer == "present"  # though the champion called it absent
    assert lessons["No effusion."]["Cardiomegaly"].answer == "unmentioned"


def test_nothing_is_carried_where_none_or_two_sentences_are_about_it() -> None:
    assert carried(row("Cardiomegaly", "present"), read()).carried == ()
    both = np.maximum(read(Cardiomegaly=HEART), read(Cardiomegaly="No effusion."))
    both[..., STATUSES.index("unmentioned")] = both[..., : STATUSES.index("unmentioned")].sum(-1) == 0
    assert carried(row("Cardiomegaly", "present"), both).carried == ()


def test_a_hedge_is_left_alone() -> None:
    probabilities = read(Cardiomegaly=HEART)
    probabilities[..., STATUSES.index("uncertain")] = 0.3
    assert carried(row("Cardiomegaly", "present"), probabilities).carried == ()


def test_a_sentence_that_the_teacher_read_is_no_other_view() -> None:
    probabilities = read(Cardiomegaly="Edema.")
    assert carried(row("Cardiomegaly", "present"), probabilities).carried == ()


@pytest.mark.parametrize(
    "not_carried",
    [
        row("Cardiomegaly", "unmentioned"),
        row("Cardiomegaly", "uncertain"),
        row("Cardiomegaly", "present", ()),
        TrainingRow(row("Cardiomegaly", "present").label, "pseudo", 0.0, "refused", selected=False),
    ],
)
def test_what_was_left_out_or_stands_nowhere_is_not_carried(not_carried: TrainingRow) -> None:
    assert carried(not_carried, read(Cardiomegaly=HEART)) == not_carried


def test_a_pseudo_label_is_carried_to_the_section_that_did_not_decide_it() -> None:
    decided = row("Cardiomegaly", "present", (("impression", 0, 20),), of=POOL, source="pseudo")
    assert carried(decided, read(Cardiomegaly="Big heart.")).carried == (("findings", 0, 10),)


def test_it_can_be_left_off() -> None:
    off = SETTINGS.model_copy(update={"select": SETTINGS.select.model_copy(update={"carry": None})})
    assert carried(row("Cardiomegaly", "present"), read(Cardiomegaly=HEART), off).carried == ()


def test_what_was_carried_is_counted_and_held_against_what_is_known() -> None:
    probabilities = read(Cardiomegaly=HEART)
    rows = carry(
        [row("Cardiomegaly", "present"), row("Edema", "present")], FROZEN, SETTINGS, SENTENCES, probabilities, "r"
    )
    truth = {("a", "Cardiomegaly"): "present", ("a", "Edema"): "absent"}
    summary = summarise_carried(rows, truth, SENTENCES, probabilities, FROZEN)
    assert (summary["labels"], summary["read_otherwise"], summary["known"], summary["wrong"]) == (1, 1, 1, 0)
    assert summary["realised_interval"][0] == 0.0
