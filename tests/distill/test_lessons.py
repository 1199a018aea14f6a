"""From rows to lessons: each label on the text that it was made from."""

import pytest

from teachback.distill.assemble import TrainingRow
from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen, TaughtLabel
from teachback.distill.lessons import Lesson, write_lessons
from teachback.store.report import Report

A = Report("a", "c", {"findings": "Clear lungs.", "impression": "Small effusion. No edema."})
B = Report("b", "c", {"impression": "No edema."})
SENTENCES = CampaignSettings(student="x", unit="sentence", tasks=["findings"])


def row(
    report_id: str,
    finding: str,
    status: str,
    *evidence: tuple[str, int, int],
    weight: float = 1.0,
    source: str = "teacher",
) -> TrainingRow:
    label_id = f"{report_id}/{finding}"
    label = TaughtLabel(report_id, "findings", finding, status, None, "impression", label_id, "rule", evidence)
    return TrainingRow(label, source, weight, "taught")


def lessons(*rows: TrainingRow, settings: CampaignSettings = SENTENCES) -> dict[str, dict[str, tuple[str, float]]]:
    frozen = Frozen("cmp", "t", (), (), {"train": (A, B), "pool": ()}, frozenset())
    written = write_lessons(rows, frozen, settings)
    assert written == write_lessons(rows[::-1], frozen, settings)
    return {lesson.text: plain(lesson) for lesson in written}


def plain(lesson: Lesson) -> dict[str, tuple[str, float]]:
    return {question: (target.answer, target.weight) for question, target in lesson.targets.items()}


def test_a_label_is_taught_on_the_sentence_of_its_evidence() -> None:
    taught = lessons(
        row("a", "Pleural Effusion", "present", ("impression", 6, 14)),
        row("a", "Edema", "absent", ("impression", 16, 25)),
        row("a", "Fracture", "unmentioned"),
    )
    assert taught == {
        "Small effusion.": {
            "Pleural Effusion": ("present", 1.0),
            "Edema": ("unmentioned", 1.0),
            "Fracture": ("unmentioned", 1.0),
        },
        "No edema.": {
            "Pleural Effusion": ("unmentioned", 1.0),
            "Edema": ("absent", 1.0),
            "Fracture": ("unmentioned", 1.0),
        },
    }


def test_a_label_without_evidence_in_the_report_is_taught_on_its_whole_scope() -> None:
    taught = lessons(row("a", "Edema", "absent", ("impression", -1, -1)), row("a", "Fracture", "unmentioned"))
    assert taught["Small effusion. No edema."] == {"Edema": ("absent", 1.0)}
    assert taught["No edema."] == {"Fracture": ("unmentioned", 1.0)}


def test_repeated_sentences_are_one_lesson_that_weighs_more() -> None:
    taught = lessons(
        row("a", "Edema", "absent", ("impression", 16, 25)), row("b", "Edema", "absent", ("impression", 0, 9))
    )
    assert taught["No edema."] == {"Edema": ("absent", pytest.approx(2**0.5))}
    assert taught["Small effusion."] == {"Edema": ("unmentioned", 1.0)}


def test_where_equal_sentences_are_labelled_differently_the_weightier_label_is_taught() -> None:
    curated = row("b", "Edema", "present", ("impression", 0, 9), weight=2.0, source="curated")
    taught = lessons(row("a", "Edema", "absent", ("impression", 16, 25)), curated)
    assert taught["No edema."] == {"Edema": ("present", 2.0)}


def test_repetition_counts_nine_times_at_most() -> None:
    reports = tuple(Report(f"r{i}", "c", {"impression": "No edema."}) for i in range(20))
    frozen = Frozen("cmp", "t", (), (), {"train": reports, "pool": ()}, frozenset())
    rows = [row(r.report_id, "Edema", "absent", ("impression", 0, 9), weight=0.5) for r in reports]
    (lesson,) = write_lessons(rows, frozen, SENTENCES)
    assert plain(lesson) == {"Edema": ("absent", pytest.approx(0.5 * 3))}


def test_whole_reports_keep_their_text_and_weights() -> None:
    settings = SENTENCES.model_copy(update={"unit": "report"})
    taught = lessons(
        row("a", "Edema", "absent", ("impression", 16, 25), weight=0.3), row("b", "Edema", "absent"), settings=settings
    )
    assert taught == {"Small effusion. No edema.": {"Edema": ("absent", 0.3)}, "No edema.": {"Edema": ("absent", 1.0)}}


def test_refused_rows_teach_nothing() -> None:
    refused = TrainingRow(row("a", "Edema", "absent").label, "pseudo", 0.0, "refused", selected=False)
    assert lessons(refused) == {}


def test_a_pseudo_label_is_taught_on_the_sentence_that_decided_it_alone() -> None:
    taught = lessons(row("a", "Edema", "absent", ("impression", 16, 25), weight=0.4, source="pseudo"))
    assert taught == {"No edema.": {"Edema": ("absent", 0.4)}}


def test_certain_silence_is_taught_beside_what_a_pseudo_labelled_report_says_and_nowhere_else() -> None:
    said = row("a", "Edema", "absent", ("impression", 16, 25), weight=0.4, source="pseudo")
    silent = row("a", "Fracture", "unmentioned", weight=0.3, source="pseudo")
    assert lessons(said, silent) == {"No edema.": {"Edema": ("absent", 0.4), "Fracture": ("unmentioned", 0.3)}}
    assert lessons(silent) == {}
