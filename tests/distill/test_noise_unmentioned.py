"""Silence of a labeler that read a part: what it teaches of the sections that it did not read."""

from teachback.distill.assemble import assemble
from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen, TaughtLabel
from teachback.distill.lessons import write_lessons
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
    return CampaignSettings(student="x", tasks=["findings"], unmentioned=unmentioned, unit=unit)


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
