from collections.abc import Callable

import pytest

from teachback.distill.assemble import TrainingRow, assemble, scoped_texts
from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen, TaughtLabel
from teachback.distill.lessons import plant_rows
from teachback.distill.questions import Questions
from teachback.distill.tree import IGNORED, TreeRow
from teachback.store.report import Report

A = Report("a", "c", {"findings": "Small effusion.", "impression": "Effusion."})
B = Report("b", "c", {"findings": "Clear lungs.", "impression": "Normal."})
POOLED = Report("p", "c", {"impression": "Edema."})
SETTINGS = CampaignSettings(student="x")


def taught(
    report_id: str,
    target: str,
    status: str,
    scope: str = "full",
    *,
    task: str = "findings",
    icd10: str | None = None,
    by: str = "llm",
) -> TaughtLabel:
    label_id = f"{report_id}/{target}/{by}"
    return TaughtLabel(report_id, task, target, status, icd10, scope, label_id, by)


def freeze(labels: list[TaughtLabel], curated: list[TaughtLabel] | None = None, listed: str = "ab") -> Frozen:
    reports = {"train": (A, B), "pool": (POOLED,), "calibration": (), "gate": (), "test": ()}
    return Frozen("cmp_1", "t", tuple(labels), tuple(curated or []), reports, frozenset(listed))


def answers(questions: Questions, row: TreeRow) -> list[tuple[str, float]]:
    """What a row teaches: each branch's answer with its weight."""
    found: dict[int, tuple[list[int], float]] = {}
    for owner, label, weight in zip(row.branches, row.labels, row.weights, strict=True):
        if label not in (IGNORED, questions.end):
            ids, _ = found.get(owner, ([], weight))
            found[owner] = ([*ids, label], weight)
    return [(questions.tokenizer.decode(ids), weight) for _, (ids, weight) in sorted(found.items())]


def test_a_curated_label_takes_the_teachers_place() -> None:
    labels = [taught("a", "Edema", "present"), taught("b", "Edema", "present", by="rule")]
    rows = assemble(freeze(labels, [taught("a", "Edema", "absent", by="curated")]), SETTINGS)
    assert [(r.label.report_id, r.label.status, r.source, r.weight, r.reason) for r in rows] == [
        ("b", "present", "teacher", 1.0, "teacher label, rule"),
        ("a", "absent", "curated", 2.0, "curated label"),
    ]


def test_pseudo_labels_come_along_refused_ones_too() -> None:
    pseudo = [
        TrainingRow(taught("p", "Edema", "present", by="student"), "pseudo", 0.3, "certified"),
        TrainingRow(taught("p", "Fracture", "absent", by="student"), "pseudo", 0.0, "refused: budget", selected=False),
    ]
    rows = assemble(freeze([taught("a", "Edema", "present")]), SETTINGS, pseudo)
    assert rows[1:] == pseudo


def test_each_label_is_trained_on_the_text_of_its_own_scope(ask: Callable[..., Questions]) -> None:
    questions = ask()
    labels = [
        taught("a", "Edema", "absent"),
        taught("a", "Pleural Effusion", "present", "mimic"),
        taught("b", "Fracture", "unmentioned", "impression"),
    ]
    frozen = freeze(labels)
    trees = plant_rows(assemble(frozen, SETTINGS), frozen, questions, SETTINGS)
    read = [questions.tokenizer.decode(tree.input_ids) for tree in trees]
    assert ["small effusion" in text for text in read] == [True, False, False]
    assert ["effusion." in text for text in read] == [True, True, False]
    assert "normal." in read[2]
    learned = [answers(questions, tree) for tree in trees]
    assert learned == [
        [("absent", 1.0), ("none", 0.2)],
        [("present", 1.0), ("none", 0.2)],
        [("unmentioned", 1.0), ("none", 0.2)],
    ]


def test_diseases_are_listed_with_codes_and_their_own_weight(ask: Callable[..., Questions]) -> None:
    questions = ask()
    labels = [
        taught("a", "Edema", "absent"),
        taught("a", "pleural effusion", "present", task="diseases", icd10="J90"),
        taught("a", "gout", "absent", task="diseases"),
    ]
    frozen = freeze(labels)
    (tree,) = plant_rows(assemble(frozen, SETTINGS), frozen, questions, SETTINGS)
    assert answers(questions, tree) == [("absent", 1.0), ("pleural effusion j90", 0.2)]


@pytest.mark.parametrize(
    ("listed", "settings"),
    [
        ("b", SETTINGS),  # nobody listed a's diseases: silence is not `none`
        ("a", SETTINGS.model_copy(update={"tasks": ["findings"]})),
        ("a", SETTINGS.model_copy(update={"disease_weight": 0.0})),
    ],
)
def test_diseases_are_left_out(ask: Callable[..., Questions], listed: str, settings: CampaignSettings) -> None:
    questions = ask()
    frozen = freeze([taught("a", "Edema", "absent")], listed=listed)
    (tree,) = plant_rows(assemble(frozen, settings), frozen, questions, settings)
    assert answers(questions, tree) == [("absent", 1.0)]


def test_pseudo_labels_keep_their_weight_and_refused_rows_are_not_trained_on(ask: Callable[..., Questions]) -> None:
    questions = ask()
    rows = [
        TrainingRow(taught("p", "Edema", "present", by="student"), "pseudo", 0.36, "certified"),
        TrainingRow(taught("p", "Fracture", "absent", by="student"), "pseudo", 0.0, "refused", selected=False),
    ]
    frozen = freeze([], listed="p")
    (tree,) = plant_rows(rows, frozen, questions, SETTINGS)
    assert answers(questions, tree) == [("present", 0.36)]  # and no disease list: the student gave none


def test_rows_stand_in_one_order_whatever_the_labels_order(ask: Callable[..., Questions]) -> None:
    labels = [taught(r, f, "absent") for r in ("b", "a") for f in ("Fracture", "Edema", "Cardiomegaly")]
    frozen = freeze(labels)
    one = plant_rows(assemble(frozen, SETTINGS), frozen, ask(), SETTINGS)
    backwards = freeze(labels[::-1])
    assert one == plant_rows(assemble(backwards, SETTINGS), backwards, ask(), SETTINGS)


def test_reports_with_nothing_to_read_in_the_scope_are_left_out() -> None:
    empty = Report("e", "c", {"indication": "Cough."})
    assert scoped_texts([A, empty], SETTINGS) == (["a"], [A.text("full")])
