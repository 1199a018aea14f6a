"""The queue: who is in it and why, its filters, and that it follows the store."""

import time
from pathlib import Path

import pytest
from tests.store import audited_store
from tests.synthetic_stores import copied

from teachback.store.database import Store
from teachback.store.page.queue import Filters, ReviewQueue
from teachback.store.page.sight import Sight
from teachback.store.review.plan import make_plan, plan_rows
from teachback.store.review.planned import PlanSettings
from teachback.store.rows import label_row


def test_one_plan_may_be_reviewed_alone(reviewable: Path, tmp_path: Path) -> None:
    path = copied(reviewable, tmp_path / "copy")
    with Store(path) as store:
        for name, seed in (("first", 1), ("second", 2)):
            settings = PlanSettings(margin=0.1, each="labeler", seed=seed)
            store.write(plan_rows(make_plan(store.connection, settings, name=name)))
    queue = ReviewQueue(Sight(path))
    assert queue.choices()["plan"] == ["first", "second"]
    both, first = (queue.counts(Filters(plan=plan), "x")["plan"][1] for plan in ("", "first"))
    with Store(path) as store:
        drawn = dict(
            store.connection.execute(
                "SELECT name, count(DISTINCT (report_id, task, target)) FROM audit_items "
                "JOIN audit_plans USING (plan_id) GROUP BY 1"
            ).fetchall()
        )
    assert first == drawn["first"]
    assert both == drawn["first"] + drawn["second"]
    item = queue.step(Filters(plan="second"), "x")
    assert item is not None
    assert item.why == "plan"
    # what two plans drew is one target with one reason
    assert all(whys.count("plan") <= 1 for whys in queue.reasons_of(item.report_id).values())
    assert Filters(plan="second").query() == {"plan": "second"}


def test_each_target_has_the_reasons_that_its_votes_give(tmp_path: Path) -> None:
    queue = ReviewQueue(Sight(audited_store.build(tmp_path / "labels.duckdb")))
    found = {report: queue.reasons_of(report) for report in ("r1", "r2", "r5")}
    told = {
        (report, target): [why for why in whys if why != "random"]  # a sample of 500 holds them all
        for report, of in found.items()
        for (_, target), whys in of.items()
    }
    # The model's .55 is the teacher's on r1 Pneumonia, where rules have no probability. Ann and Bob decided r2 Edema,
    # of which the adjudicator could not tell. On r5 the student says present where the rules, which read the impression
    # alone, are silent; on r5 Pneumonia nobody else said anything.
    assert told == {
        ("r1", "Edema"): ["disagreement"],
        ("r1", "Pneumonia"): ["low_confidence"],
        ("r2", "Edema"): ["disagreement", "ungrounded"],
        ("r2", "Pneumonia"): [],
        ("r5", "Edema"): ["student"],
        ("r5", "Pneumonia"): [],
    }


def test_of_votes_at_one_moment_present_stands(tmp_path: Path) -> None:
    # Both prompts of the model: r1 Edema present .9 and absent .7, at the same moment; the adjudicator is left out.
    path = audited_store.build(tmp_path / "labels.duckdb")
    with Store(path) as store:
        store.connection.execute("DELETE FROM labels WHERE labeler_id = ?", [audited_store.JUDGE.labeler_id])
        store.connection.execute(
            "UPDATE labels SET confidence = 0.1 WHERE label_id = ?", [audited_store.OLD_EDEMA.label_id]
        )
        store.publish(anyway=True)
    queue = ReviewQueue(Sight(path))
    assert "low_confidence" in queue.reasons_of("r1")["findings", "Edema"]


def test_a_newer_snapshot_is_read_beside_what_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("teachback.store.page.queue.REST_S", 0.0)
    monkeypatch.setattr("teachback.store.page.queue.READING_SHARE", 1e9)
    path = audited_store.build(tmp_path / "labels.duckdb")
    sight = Sight(path)
    queue = ReviewQueue(sight)
    before = queue.counts(Filters(), "x")["low_confidence"][1]
    unsure = audited_store.said(audited_store.OLD, "r7", "Edema", "present", 0.3)
    with Store(path) as store:
        store.write({"labels": [label_row(unsure)]})
    sight.look(force=True)
    until = time.monotonic() + 10
    while queue.counts(Filters(), "x")["low_confidence"][1] == before:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert queue.at("low_confidence", "r7", "findings", "Edema") is not None
