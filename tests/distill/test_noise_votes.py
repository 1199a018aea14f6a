"""Votes as shares of statuses, and what a student is taught of them."""

from collections.abc import Callable

import duckdb
import pytest

from teachback.distill.assemble import TrainingRow, assemble
from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen, TaughtLabel, freeze
from teachback.distill.lessons import plant_rows, write_lessons
from teachback.distill.linear import fit_linear
from teachback.distill.noise_votes import Share, Vote, fetch_shares, mix, thin
from teachback.distill.questions import Questions, Target
from teachback.store.report import Report

A = Report("a", "c", {"impression": "Small effusion. No edema."})
EFFUSION, EDEMA = ("impression", 0, 15), ("impression", 16, 25)
FROZEN = Frozen("cmp", "t", (), (), {"train": (A,), "pool": ()}, frozenset())


def soft(unit: str) -> CampaignSettings:
    return CampaignSettings(student="x", unit=unit, tasks=["findings"], targets="soft")


def row(status: str, *shares: Share, evidence: tuple[tuple[str, int, int], ...] = ()) -> TrainingRow:
    label = TaughtLabel("a", "findings", "Edema", status, None, "impression", "l", "llm", evidence, shares)
    return TrainingRow(label, "teacher", 2.0, "taught")


def test_two_teachers_share_a_target_half_and_half() -> None:
    votes = [Vote("absent", evidence=(EDEMA,)), Vote("present", evidence=(EFFUSION,))]
    assert mix(votes) == (Share("absent", 0.5, (EDEMA,)), Share("present", 0.5, (EFFUSION,)))


def test_an_adjudicator_is_one_more_vote_and_an_aggregator_the_only_one() -> None:
    votes = [Vote("absent"), Vote("present"), Vote("present")]
    assert sum(s.share for s in mix(votes) if s.status == "present") == pytest.approx(2 / 3)
    weighed = Vote("present", probabilities=(0.9, 0.1, 0.0, 0.0), final=True)
    assert mix([*votes, weighed]) == (Share("present", 0.9), Share("absent", 0.1))


def test_silence_about_a_part_of_a_report_is_no_vote_beside_others() -> None:
    assert mix([Vote("unmentioned", silent=True), Vote("present")]) == (Share("present", 1.0),)
    assert mix([Vote("unmentioned", silent=True)]) == (Share("unmentioned", 1.0),)


def test_a_confidence_leaves_the_rest_to_the_other_statuses() -> None:
    # 0.7 at its own; (1 - 0.7) / 3 = 0.1 at each other
    assert [s.share for s in mix([Vote("absent", confidence=0.7)])] == pytest.approx([0.1, 0.7, 0.1, 0.1])


def test_a_small_share_goes_to_the_others() -> None:
    thinned = thin([Share("present", 0.72), Share("absent", 0.24), Share("uncertain", 0.04)])
    assert [(s.status, s.share) for s in thinned] == [("present", pytest.approx(0.75)), ("absent", pytest.approx(0.25))]


def test_a_soft_target_is_asked_once_a_status_with_its_share_of_the_weight(ask: Callable[..., Questions]) -> None:
    questions = ask()
    shares = Share("present", 0.75), Share("absent", 0.25)
    (tree,) = plant_rows([row("present", *shares)], FROZEN, questions, soft("report"))
    answers = [questions.encode_answer(status) for status in ("present", "absent")]
    labelled = [w for w, label in zip(tree.weights, tree.labels, strict=True) if label >= 0]
    # The cross entropy with (.75, .25) of weight 2 is 1.5 times one answer's loss plus .5 times the other's.
    assert labelled == [1.5] * len(answers[0]) + [0.5] * len(answers[1])
    assert len(tree.ends) == 2


def test_each_share_stands_on_the_sentence_that_it_quotes() -> None:
    shares = Share("absent", 0.5, (EDEMA,)), Share("present", 0.5, (EFFUSION,))
    lessons = write_lessons([row("absent", *shares, evidence=(EDEMA,))], FROZEN, soft("sentence"))
    assert {lesson.text: dict(lesson.targets["Edema"].shares) for lesson in lessons} == {
        "Small effusion.": {"present": 0.5, "unmentioned": 0.5},
        "No edema.": {"absent": 0.5, "unmentioned": 0.5},
    }


def test_shares_that_no_sentence_holds_are_taught_on_the_whole_text() -> None:
    (lesson,) = write_lessons([row("absent", Share("absent", 0.8), Share("present", 0.2))], FROZEN, soft("sentence"))
    assert lesson.text == A.text("impression")
    assert dict(lesson.targets["Edema"].shares) == {"absent": 0.8, "present": 0.2}


def test_a_bag_of_words_learns_shares() -> None:
    pytest.importorskip("sklearn")
    from teachback.distill.lessons import Lesson

    shared = Target("present", 1.0, (("present", 0.75), ("absent", 0.25)))
    lessons = [Lesson("the heart", {"Edema": shared})] * 40
    probabilities = fit_linear(lessons)(["the heart"])[0, 4]
    assert probabilities[:2] == pytest.approx([0.75, 0.25], abs=0.02)


def test_soft_targets_of_a_store_follow_its_votes(labelled, settle) -> None:  # type: ignore[no-untyped-def]
    hard, shared = settle(tasks=["findings"]), settle(tasks=["findings"], targets="soft")
    with duckdb.connect(str(labelled), read_only=True) as connection:
        plain, frozen = freeze(connection, hard), freeze(connection, shared)
        shares = fetch_shares(connection, frozen.teacher_id)
        disputed = connection.execute(
            "SELECT report_id, target FROM adjudications JOIN splits USING (report_id) "
            "WHERE task = 'findings' AND split = 'train'"
        ).fetchall()
    assert not any(label.shares for label in plain.taught)
    assert plain.campaign_id != frozen.campaign_id
    assert {key for key in disputed if key in shares} == set(disputed)
    reasons = {(r.label.report_id, r.label.target): r.reason for r in assemble(frozen, shared)}
    assert all("; its votes: " in reasons[key] for key in disputed if key in reasons)
    assert all(sum(s.share for s in of) == pytest.approx(1) for of in shares.values())
    by_key = {(label.report_id, label.target): label.shares for label in frozen.taught}
    assert all(by_key[key] == shares.get(key, ()) for key in by_key)
