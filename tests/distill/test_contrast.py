"""What a sentence that is fed back is silent about."""

from dataclasses import replace
from typing import Any

import numpy as np

from teachback.distill.assemble import TrainingRow
from teachback.distill.config import CampaignSettings, SelectSettings
from teachback.distill.contrast import add_silence, taught_sentences
from teachback.distill.freeze import Frozen, TaughtLabel
from teachback.distill.lessons import write_lessons
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.report import Report

HEART, LUNGS, PLEURA = "Big heart.", "Edema.", "No effusion."
TAUGHT = Report("t", "c", {"findings": HEART, "impression": "Cardiomegaly."})
POOL = Report("p", "c", {"findings": f"{HEART} {LUNGS} {PLEURA}"})
SETTINGS = CampaignSettings(
    student="x", unit="sentence", tasks=["findings"], select=SelectSettings(silence=0.9, carry=0.2)
)
FROZEN = Frozen("cmp", "t", (), (), {"train": (TAUGHT,), "pool": (POOL,)}, frozenset())
SENTENCES = [HEART, "Cardiomegaly.", LUNGS, PLEURA]
AT = {sentence: ("findings", at, at + len(sentence)) for sentence, at in ((HEART, 0), (LUNGS, 11), (PLEURA, 18))}


def row(finding: str, status: str, *sentences: str, selected: bool = True) -> TrainingRow:
    evidence = tuple(AT[sentence] for sentence in sentences)
    label = TaughtLabel("p", "findings", finding, status, None, "full", f"p/{finding}", "student", evidence)
    return TrainingRow(label, "pseudo", 0.4 if selected else 0.0, "kept" if selected else "refused", selected)


def sure(**mentioned: tuple[str, float]) -> Any:
    """(M, 13, 4): silence everywhere, but for the findings that a sentence may mention, with that probability."""
    probabilities = np.zeros((len(SENTENCES), len(FINDINGS), len(STATUSES)))
    probabilities[..., STATUSES.index("unmentioned")] = 1.0
    for finding, (sentence, p) in mentioned.items():
        at = SENTENCES.index(sentence), FINDINGS.index(finding)
        probabilities[at] = 0.0
        probabilities[at][STATUSES.index("present")] = p
        probabilities[at][STATUSES.index("unmentioned")] = 1 - p
    return probabilities


def completed(rows: list[TrainingRow], probabilities: Any, settings: CampaignSettings = SETTINGS) -> list[TrainingRow]:
    return add_silence(rows, FROZEN, settings, SENTENCES, probabilities, "round 1")


def lessons_of(rows: list[TrainingRow]) -> dict[str, dict[str, Any]]:
    return {lesson.text: dict(lesson.targets) for lesson in write_lessons(rows, FROZEN, SETTINGS)}


def test_a_sentence_is_taught_its_silence_about_what_the_report_says_elsewhere() -> None:
    heart, edema = row("Cardiomegaly", "present", HEART), row("Edema", "present", LUNGS, selected=False)
    rows = completed([heart, edema], sure(Cardiomegaly=(HEART, 1.0), Edema=(LUNGS, 1.0)))
    assert rows[0] == heart
    assert (rows[1].silent, rows[1].selected, rows[1].weight) == ((AT[HEART],), False, 0.0)
    assert rows[1].reason == "refused; sentences silent about it, as round 1 reads them: 1"
    lessons = lessons_of(rows)
    assert {finding: target.answer for finding, target in lessons[HEART].items()} == {
        "Cardiomegaly": "present",
        "Edema": "unmentioned",
    }
    assert lessons[HEART]["Edema"].weight == SETTINGS.select.weight
    assert LUNGS not in lessons  # what was refused is not taught


def test_of_two_labels_that_come_back_each_sentence_is_silent_about_the_other() -> None:
    rows = completed([row("Cardiomegaly", "present", HEART), row("Edema", "present", LUNGS)], sure())
    assert [one.silent for one in rows] == [(AT[LUNGS],), (AT[HEART],)]
    said = {text: {f: t.answer for f, t in of.items()} for text, of in lessons_of(rows).items()}
    assert said == {
        HEART: {"Cardiomegaly": "present", "Edema": "unmentioned"},
        LUNGS: {"Cardiomegaly": "unmentioned", "Edema": "present"},
    }


def test_a_sentence_that_may_mention_it_is_left_open() -> None:
    rows = [row("Cardiomegaly", "present", HEART), row("Edema", "present", LUNGS, selected=False)]
    assert completed(rows, sure(Edema=(HEART, 0.2))) == rows
    assert completed(rows, sure(Edema=(HEART, 0.05)))[1].silent == (AT[HEART],)


def test_nothing_is_added_where_no_sentence_says_anything_or_it_is_off() -> None:
    refused = [row("Cardiomegaly", "present", HEART, selected=False), row("Edema", "unmentioned")]
    assert completed(refused, sure()) == refused
    off = SETTINGS.model_copy(update={"select": SETTINGS.select.model_copy(update={"silence": None})})
    given = [row("Cardiomegaly", "present", HEART), row("Edema", "present", LUNGS)]
    assert completed(given, sure(), off) == given


def test_certified_silence_stays_as_it_is() -> None:
    rows = [row("Cardiomegaly", "present", HEART), row("Edema", "unmentioned")]
    assert completed(rows, sure()) == rows
    assert lessons_of(rows)[HEART]["Edema"].answer == "unmentioned"


def test_a_teachers_sentence_is_whole_and_a_carried_one_is_completed() -> None:
    def teacher(finding: str, status: str, *evidence: tuple[str, int, int]) -> TrainingRow:
        label = TaughtLabel("t", "findings", finding, status, None, "impression", f"t/{finding}", "rule", evidence)
        return TrainingRow(label, "teacher", 1.0, "taught")

    rows = [teacher("Cardiomegaly", "present", ("impression", 0, 13)), teacher("Fracture", "absent")]
    assert completed(rows, sure()) == rows
    carried = [replace(rows[0], carried=(AT[HEART],)), rows[1]]
    assert taught_sentences(carried, FROZEN, SETTINGS)["t"]
    assert completed(carried, sure())[1].silent == (AT[HEART],)
    assert lessons_of(completed(carried, sure()))[HEART]["Fracture"].weight == SETTINGS.select.weight


def test_what_others_teach_of_a_sentence_goes_before_it() -> None:
    rows = completed([row("Cardiomegaly", "present", HEART), row("Edema", "present", LUNGS)], sure())
    label = TaughtLabel("t", "findings", "Edema", "uncertain", None, "full", "t/e", "rule", (("findings", 0, 10),))
    lessons = lessons_of([*rows, TrainingRow(label, "teacher", 1.0, "taught")])
    assert lessons[HEART]["Edema"].answer == "uncertain"
