"""What a teacher left unread comes back from a student that was not trained on that report."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.synthetic_stores import curated_store

from teachback.agents.assemble import TeacherSettings, teach_store
from teachback.agents.selection import Selection as Reports
from teachback.agents.settings import LLMSettings
from teachback.agents.teach import TeachConfig
from teachback.distill.assemble import assemble
from teachback.distill.calibrate import Calibration
from teachback.distill.cards import write_cards
from teachback.distill.config import CampaignSettings, SelectSettings
from teachback.distill.folds import AGAINST_OWN, READ, Fold, cut_folds, feed_fold, summarise_fold, vetoes_on_fold
from teachback.distill.freeze import Frozen, TaughtLabel
from teachback.distill.lessons import write_lessons
from teachback.distill.plan import plan_campaign
from teachback.distill.report import write_report
from teachback.distill.round import Round, Scored
from teachback.distill.routing import Opinion
from teachback.distill.run import run_campaign
from teachback.store.database import open_snapshot
from teachback.store.label import FINDINGS, STATUSES, Labeler
from teachback.store.near_duplicates import normalise
from teachback.store.report import Report

PRESENT, ABSENT, UNCERTAIN, UNMENTIONED = (STATUSES.index(s) for s in ("present", "absent", "uncertain", "unmentioned"))
# Two sentences each; the teacher reads the second, the impression, alone.
SECTIONS = {"findings": "There is a rib fracture."}
SETTINGS = CampaignSettings(
    student="none", unit="sentence", tasks=["findings"], select=SelectSettings(folds=2, share=1.0)
)


def report(number: int, **sections: str) -> Report:
    return Report(f"r{number}", "made", {**SECTIONS, "impression": f"Stable chest, case {'i' * number}.", **sections})


def taught(of: Report, finding: str, status: str = "unmentioned", scope: str = "impression") -> TaughtLabel:
    evidence = () if status == "unmentioned" else (("impression", 0, 6),)
    name = f"{of.report_id}/{finding}"
    return TaughtLabel(of.report_id, "findings", finding, status, None, scope, name, "rule", evidence)


def frozen_of(train: tuple[Report, ...], labels: tuple[TaughtLabel, ...] = (), pool: tuple[Report, ...] = ()) -> Frozen:
    said = labels or tuple(taught(r, finding) for r in train for finding in FINDINGS)
    calibration = tuple(report(1000 + i, findings=f"Case {'x' * i}.") for i in range(80))
    reports = {"train": train, "pool": pool, "calibration": calibration, "gate": train[:1], "test": train[:1]}
    return Frozen("cmp_made", "tch_made", said, (), reports, frozenset())


def says(reports: tuple[Report, ...], code: int, deciding: int = 0) -> Scored:
    """A student that is sure of one status of everything, by one sentence of each report."""
    n = len(reports)
    probabilities = np.full((n, 13, 4), 0.01 / 3, np.float32)
    probabilities[..., code] = 0.99
    codes, by = np.full((n, 13), code, np.int8), np.full((n, 13, 4), deciding, np.int16)
    return Scored(tuple(r.report_id for r in reports), probabilities, probabilities, codes, by, reports)


def student_of(fold: Fold, code: int = PRESENT, deciding: int = 0) -> Round:
    scored = {split: says(fold.frozen.reports[split], code, deciding) for split in ("calibration", "pool")}
    identity = Calibration((1.0,) * 13, (0.0,) * 13, 0.5)
    return Round("rnd_f", 2, "fold", Path(), Labeler("student", "student:made", "1"), {}, identity, scored)


def vetoes(label: TaughtLabel | None, code: int, deciding: int = 0, of: Report | None = None, **more: Any) -> Any:
    """What keeps a prediction of the first finding out, on a single report in the fold."""
    mine = of or report(0)
    inputs = frozen_of((mine,), (label,) if label else (taught(mine, FINDINGS[1]),))
    fold = Fold("fold 1 of 2", replace(inputs, reports={**inputs.reports, "pool": (mine,)}), ())
    settings = more.pop("settings", SETTINGS)
    return vetoes_on_fold(says((mine,), code, deciding), fold, replace(inputs, **more), settings, ())[0, 0]


def test_folds_part_the_taught_reports_and_none_sees_a_label_of_its_own() -> None:
    train = (*(report(i) for i in range(40)), Report("twin", "made", report(3).sections))
    pool = (Report("p", "made", {"findings": "Another text."}),)
    frozen = frozen_of(train, pool=pool)
    folds = cut_folds(assemble(frozen, SETTINGS), frozen, SETTINGS)
    members = [{r.report_id for r in fold.frozen.reports["pool"]} for fold in folds]
    assert [fold.name for fold in folds] == ["fold 1 of 2", "fold 2 of 2"]
    assert set.union(*members) == {r.report_id for r in train}
    assert not set.intersection(*members)
    by_id = {r.report_id: r for r in train}
    for fold, mine in zip(folds, members, strict=True):
        trained_on = {row.label.report_id for row in fold.rows}
        assert mine
        assert trained_on == {r.report_id for r in train} - mine
        assert not {label.report_id for label in fold.frozen.taught} & mine
        texts = {normalise(by_id[i].text("full")) for i in trained_on}
        assert not {normalise(by_id[i].text("full")) for i in mine} & texts  # the twins lie in one fold
        assert write_lessons(fold.rows, fold.frozen, SETTINGS)  # the pool is still there to be taught


@pytest.mark.parametrize("folds", [0, 1])
def test_fewer_than_two_folds_are_none(folds: int) -> None:
    frozen = frozen_of(tuple(report(i) for i in range(6)))
    settings = SETTINGS.model_copy(update={"select": SelectSettings(folds=folds)})
    assert cut_folds(assemble(frozen, settings), frozen, settings) == []


def test_what_an_unread_section_says_may_come_back_and_what_a_read_one_says_may_not() -> None:
    of = report(0)
    assert vetoes(taught(of, FINDINGS[0]), PRESENT, 0) == ""
    assert vetoes(taught(of, FINDINGS[0]), PRESENT, 1) == READ  # the second sentence is the impression's
    assert vetoes(taught(of, FINDINGS[0], scope="full"), PRESENT, 0) == READ
    assert vetoes(None, PRESENT, 0) == ""  # the teacher was not asked for this finding


def test_the_teachers_own_word_stands() -> None:
    label = taught(report(0), FINDINGS[0], "absent")
    assert vetoes(label, PRESENT) == f"{AGAINST_OWN} (rule: absent)"
    assert vetoes(label, ABSENT) == ""  # the same, in other words
    assert vetoes(label, ABSENT, 1) == READ


def test_a_persons_word_stands() -> None:
    label = taught(report(0), FINDINGS[0])
    curated = (replace(label, status="present", decided_by="curated"),)
    told = vetoes(label, ABSENT, curated=curated)
    assert told == "refused: a person has decided this target (curated: present)"


def test_by_whole_reports_a_scope_that_holds_all_of_it_was_read() -> None:
    whole = SETTINGS.model_copy(update={"unit": "report"})
    of = report(0)
    alone = replace(of, sections={"impression": "Stable chest."})

    def by_report(of: Report) -> Any:
        inputs = frozen_of((of,), (taught(of, FINDINGS[0]),))
        fold = Fold("fold 1 of 2", replace(inputs, reports={**inputs.reports, "pool": (of,)}), ())
        scored = replace(says((of,), UNMENTIONED), deciding=None, reports=())
        return vetoes_on_fold(scored, fold, inputs, whole, ())[0, 0]

    assert by_report(of) == ""
    assert by_report(alone) == READ


def test_what_comes_back_is_certified_capped_and_says_by_whom() -> None:
    train = tuple(report(i) for i in range(40))
    frozen = frozen_of(train)
    fold = cut_folds(assemble(frozen, SETTINGS), frozen, SETTINGS)[0]
    mine = fold.frozen.reports["pool"]
    truth = np.full((80, 13), UNMENTIONED, np.int8)
    truth[:, 0] = PRESENT  # 80 calibration predictions of the first finding, all right; of the others all wrong
    selection, rows = feed_fold(student_of(fold), fold, frozen, SETTINGS, truth)
    taken = [row for row in rows if row.selected]
    # Curated labels have the first finding present in all reports, so it is capped at the whole fold.
    assert {row.label.target for row in taken} == {FINDINGS[0]}
    assert {row.label.report_id for row in taken} == {r.report_id for r in mine}
    assert all(row.reason.endswith("by the student without fold 1 of 2") for row in taken)
    assert len(rows) == 13 * len(mine)
    lessons = {
        lesson.text: dict(lesson.targets) for lesson in write_lessons([*fold.rows, *taken], fold.frozen, SETTINGS)
    }
    assert lessons["There is a rib fracture."][FINDINGS[0]].answer == "present"
    known = np.full((len(mine), 13), UNMENTIONED, np.int8)
    known[:3, 0] = PRESENT
    told = summarise_fold(selection, fold, student_of(fold).scored["pool"], known)
    assert (told["name"], told["selected"], told["wrong"]) == ("fold 1 of 2", len(mine), len(mine) - 3)


def test_a_sure_teacher_keeps_a_folds_prediction_out() -> None:
    frozen = frozen_of(tuple(report(i) for i in range(40)))
    fold = cut_folds(assemble(frozen, SETTINGS), frozen, SETTINGS)[0]
    sure = Opinion(fold.frozen.reports["pool"][0].report_id, FINDINGS[0], "absent", 0.95, "llm:last-year")
    _, rows = feed_fold(student_of(fold), fold, frozen, SETTINGS, np.full((80, 13), PRESENT, np.int8), (sure,))
    assert rows[0].reason == "refused: against a teacher that is sure of another status (llm:last-year: absent at 0.95)"
    assert rows[13].selected


@pytest.fixture(scope="module")
def impressions(torch: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which a teacher of impressions has labelled all of `train`."""
    path = curated_store(tmp_path_factory.mktemp("impressions"), 160, seed=1)
    teacher = TeacherSettings("none", LLMSettings(), rule_scope="impression")
    config = TeachConfig(Reports(splits=("train", "gate", "test")), 100, settings={"llm": "none"})
    teach_store(path, teacher, config)
    return path


def test_where_all_is_taught_folds_feed_a_round_and_stay_in_the_store(
    impressions: Path, settle: Callable[..., CampaignSettings]
) -> None:
    train = {"epochs": 1.0, "learning_rate": 3e-2}
    settings = settle(tasks=["findings"], train=train, select={"error": 0.45, "folds": 2})
    record, folder = run_campaign(impressions, settings)
    fed = next(round_ for round_ in record["rounds"] if round_["name"] == "round 2 feedback")
    told = fed["pseudo"]["folds"]
    assert [fold["name"] for fold in told] == ["fold 1 of 2", "fold 2 of 2"]
    came_back = sum(fold["selected"] for fold in told)
    assert fed["labels_by_source"]["pseudo"] == fed["pseudo"]["selected"] + came_back
    assert came_back > 0
    for fold in told:
        assert fold["selected"] + sum(fold["refused"].values()) == fold["predictions"]
    connection, _ = open_snapshot(impressions)
    with connection:
        write_report(record, connection, folder / "report.html")
        write_cards(record, connection, folder)
        assert "Fold 1 of 2: a student that was trained without these" in (folder / "report.html").read_text()
        card = (Path(fed["folder"]) / "adapter" / "README.md").read_text()
        assert "more by a student trained without fold 1 of 2 of the taught reports" in card
        strays = """SELECT count(*) FROM training_rows fed JOIN labels l USING (label_id)
            JOIN rounds own ON own.labeler_id = l.labeler_id AND own.arm = 'fold'
            JOIN training_rows seen ON seen.round_id = own.round_id AND seen.selected
            WHERE fed.source = 'pseudo' AND fed.selected AND fed.report_id = seen.report_id"""
        assert connection.execute(strays).fetchone() == (0,)
        arms = 'SELECT arm, count(*) FROM rounds WHERE "round" = 2 GROUP BY 1'
        assert dict(connection.execute(arms).fetchall())["fold"] == 2
        planned = plan_campaign(connection, settings, folder.parent)
    names = [training.name for training in planned.trainings]
    assert names == ["round 1", *(f"round 2 {a}" for a in ("fold 1 of 2", "fold 2 of 2", "feedback", "control"))]
    assert json.loads((folder / "campaign.json").read_text()) == record
