"""Silence of a labeler that read a part: what it teaches of the sections that it did not read."""

import numpy as np
import pytest

from teachback.distill.assemble import assemble
from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen, TaughtLabel
from teachback.distill.lessons import write_lessons
from teachback.distill.noise_unmentioned import UNREAD, chances, weigh
from teachback.store.report import Report

A = Report("a", "c", {"findings": "Some edema.", "impression": "Small effusion."})
B = Report("b", "c", {"impression": "Normal."})


def taught(report_id: str, finding: str, status: str, *evidence: tuple[str, int, int]) -> TaughtLabel:
    label_id = f"{report_id}/{finding}"
    return TaughtLabel(report_id, "findings", finding, status, None, "impression", label_id, "rule", evidence)


LABELS = (
    taught("a", "Edema", "unmentioned"),
    taught("a", "Pleural Effusion", "present", ("impression", 0, 15)),
    taught("b", "Edema", "unmentioned"),
)
FROZEN = Frozen("cmp", "t", LABELS, (), {"train": (A, B), "pool": ()}, frozenset())


def settings(unmentioned: str, unit: str = "report") -> CampaignSettings:
    return CampaignSettings(student="x", tasks=["findings"], unmentioned=unmentioned, unit=unit, noise_folds=2)


def lessons(unmentioned: str, unit: str = "report") -> dict[str, dict[str, str]]:
    chosen = settings(unmentioned, unit)
    written = write_lessons(assemble(FROZEN, chosen), FROZEN, chosen)
    return {lesson.text: {f: target.answer for f, target in lesson.targets.items()} for lesson in written}


def test_by_default_a_label_says_nothing_of_what_was_not_read() -> None:
    expected = {"Edema": "unmentioned", "Pleural Effusion": "present"}
    assert lessons("scope") == {"Small effusion.": expected, "Normal.": {"Edema": "unmentioned"}}


def test_negative_believes_silence_about_all() -> None:
    assert lessons("negative")[A.text("full")] == {"Edema": "unmentioned", "Pleural Effusion": "present"}
    assert lessons("negative", "sentence")["Some edema."]["Edema"] == "unmentioned"


def test_unlabelled_refuses_silence_with_its_reason_where_something_was_not_read() -> None:
    rows = assemble(FROZEN, settings("unlabelled"))
    assert [row.reason for row in rows if not row.selected] == [UNREAD]
    assert lessons("unlabelled") == {
        A.text("full"): {"Pleural Effusion": "present"},
        "Normal.": {"Edema": "unmentioned"},
    }
    assert lessons("unlabelled", "sentence") == lessons("scope", "sentence")


def test_an_unlabelled_text_is_what_it_would_be_had_it_been_read() -> None:
    # A status is labelled one time in four: c = .25, so odds are tripled. g = (.1, 0, 0, .9):
    # (1 - .25) / .25 x .1 / .9 = 1/3 is present, and 2/3 unmentioned.
    assert weigh(np.array([0.1, 0, 0, 0.9]), np.full(4, 0.25)) == pytest.approx([1 / 3, 0, 0, 2 / 3])
    # What is always labelled where it is there is not there where it is not labelled.
    assert weigh(np.array([0.6, 0, 0, 0.4]), np.ones(4)) == pytest.approx([0, 0, 0, 1])
    # Two statuses that would make more than 1 are scaled to it.
    assert weigh(np.array([0.4, 0.4, 0, 0.2]), np.full(4, 0.5)) == pytest.approx([0.5, 0.5, 0, 0])


def test_how_often_a_status_is_labelled_is_read_where_it_was() -> None:
    given, findings = np.zeros(6, np.int64), np.array([4, 4, 4, 4, 4, 5])
    labelled = np.zeros((6, 4))
    labelled[:, 0] = [0.1, 0.2, 0.3, 0.2, 0.2, 0.8]
    found = chances(given, findings, labelled)
    assert found[4, 0] == pytest.approx(0.2)  # five labels: their mean
    assert found[5, 0] == pytest.approx(1.8 / 6)  # one label: the mean of all findings
    assert found[4, 1] == 1.0  # never given: nothing says that it is missed


@pytest.mark.parametrize("unit", ["report", "sentence"])
def test_positive_unlabelled_learning_finds_what_stands_in_sections_not_read(unit: str) -> None:
    """A third of all effusions stand in the impression, the others in the findings section, in the same words."""
    pytest.importorskip("sklearn")
    said = "A large effusion is seen."
    reports, labels = [], []
    own = [first + second for first in "bcdfghjklm" for second in "aeiouy"]
    for i in range(60):
        read, there = i % 5 == 0, i % 5 in (1, 2)
        # Around it stand the same words, so that nothing but luck decides whether it is labelled.
        impression = "No change." + f" {said}" * read + " No change."
        sections = {
            "findings": f"Heart {own[i]}. No change." + f" {said}" * there + " No change.",
            "impression": impression,
        }
        reports.append(Report(f"r{i:02}", "c", sections))
        evidence = (("impression", 11, 11 + len(said)),) if read else ()
        labels.append(taught(f"r{i:02}", "Pleural Effusion", "present" if read else "unmentioned", *evidence))
    frozen = Frozen("cmp", "t", tuple(labels), (), {"train": tuple(reports), "pool": ()}, frozenset())
    for kind in ("negative", "pu"):
        chosen = settings(kind, unit)
        written = write_lessons(assemble(frozen, chosen), frozen, chosen)
        missed = [lesson for lesson in written if said in lesson.text.split("IMPRESSION")[0]]
        whole = [lesson for lesson in written if lesson.text == said] if unit == "sentence" else missed
        shares = [dict(lesson.targets["Pleural Effusion"].parts()) for lesson in whole]
        present = [of.get("present", 0) / sum(of.values()) for of in shares]
        if kind == "negative":
            plain = np.mean(present)
    assert np.mean(present) > plain
    assert np.mean(present) > 0.7
