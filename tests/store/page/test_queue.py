"""The queue's filters."""

from pathlib import Path

from tests.synthetic_stores import copied

from teachback.store.database import Store
from teachback.store.page.queue import Filters, ReviewQueue
from teachback.store.page.sight import Sight
from teachback.store.review.plan import make_plan, plan_rows
from teachback.store.review.planned import PlanSettings


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
