import math
import random
import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from teachback.errors import StoreError
from teachback.store.database import Store
from teachback.store.label import STATUSES, Label, Labeler, Status
from teachback.store.report import Report
from teachback.store.review.decisions import Decision, decision_rows
from teachback.store.review.estimate import ALL, NOT_THERE, AuditEstimate, estimate_errors
from teachback.store.review.intervals import Counted, exact_interval, stratified_interval
from teachback.store.review.judged import Selection
from teachback.store.review.plan import make_plan, plan_rows
from teachback.store.review.planned import AuditPlan, PlannedItem, PlanSettings
from teachback.store.rows import label_row, labeler_row, report_row

REPORTS = 400
FINDINGS = ("Edema", "Pneumonia", "Fracture")
RULE, LLM = Labeler("rule", "rule", "1"), Labeler("llm", "llm:other", "1", "other")
EXPERT = Labeler("human", "expert", "1")
# How often each labeler errs, finding by finding: never, seldom, often.
ERRS = (
    (RULE, {"Edema": 0.0, "Pneumonia": 0.02, "Fracture": 0.05}),
    (LLM, {"Edema": 0.01, "Pneumonia": 0.05, "Fracture": 0.3}),
)
START = datetime(2026, 1, 1, tzinfo=UTC)

Truth = dict[tuple[str, str], Status]


def wrong(status: Status, draw: random.Random) -> Status:
    return draw.choice([other for other in STATUSES if other != status])


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """A store of labels that err as often as `ERRS` says, and the truth."""
    path, draw = tmp_path_factory.mktemp("estimate") / "labels.duckdb", random.Random(1)
    truth: Truth = {}
    labels = []
    for number in range(REPORTS):
        for finding in FINDINGS:
            report_id, status = f"r{number:03}", draw.choices(STATUSES, (2, 2, 1, 5))[0]
            truth[report_id, finding] = status
            for labeler, errs in ERRS:
                said = wrong(status, draw) if draw.random() < errs[finding] else status
                labels.append(Label(report_id, "findings", finding, said, labeler.labeler_id, "full"))
    with Store(path) as opened:
        opened.write(
            {
                "reports": [report_row(Report(f"r{n:03}", "c", {"text": "x"})) for n in range(REPORTS)],
                "labelers": [labeler_row(labeler) for labeler in (RULE, LLM, EXPERT)],
                "labels": [label_row(one) for one in labels],
            }
        )
    return path, truth


@pytest.fixture
def store(filled: tuple[Path, Truth], tmp_path: Path) -> Iterable[tuple[Store, Truth]]:
    """A copy of it."""
    shutil.copy(filled[0], tmp_path)
    with Store(tmp_path / filled[0].name) as opened:
        yield opened, filled[1]


@pytest.fixture
def curated(store: tuple[Store, Truth]) -> tuple[Store, Truth]:
    """The same, and an expert's labels were imported."""
    opened, truth = store
    labels = [Label(r, "findings", t, status, EXPERT.labeler_id, "full") for (r, t), status in truth.items()]
    opened.write({"labels": [label_row(one) for one in labels]})
    return store


def planned(store: Store, settings: PlanSettings | None = None, labelers: tuple[str, ...] = ("rule",)) -> AuditPlan:
    plan = make_plan(store.connection, settings or PlanSettings(margin=0.1), labelers)
    store.write(plan_rows(plan))
    return plan


def reviews(
    plan: AuditPlan, truth: Truth, items: Iterable[PlannedItem], reviewer: str = "Ann", minute: int = 0
) -> list[Decision]:
    """Return decisions on what was drawn, as the truth says."""
    targets = {(item.report_id, item.target): item.place for item in items}
    return [
        Decision(
            report_id=report_id,
            reviewer=reviewer,
            action="set",
            task="findings",
            target=target,
            status=truth[report_id, target],
            plan_id=plan.plan_id,
            decided_at=START + timedelta(minutes=minute, seconds=place),
        )
        for (report_id, target), place in targets.items()
    ]


def decide(store: Store, decisions: Iterable[Decision]) -> AuditEstimate:
    store.write(decision_rows(decisions))
    return estimate_errors(store.connection)


def true_rate(store: Store, truth: Truth, labeler_id: str, status: str, target: str, missed: bool = False) -> float:
    """Return the share of all labels of a kind that are wrong."""
    rows = store.connection.execute(
        "SELECT report_id, target, status FROM labels WHERE labeler_id = ?", [labeler_id]
    ).fetchall()
    kinds = {ALL: STATUSES, NOT_THERE: ("absent", "unmentioned")}.get(status, (status,))
    mine = [(truth[r, t], s) for r, t, s in rows if s in kinds and target in (ALL, t)]
    return sum(real == "present" if missed else real != said for real, said in mine) / len(mine)


def test_nothing_is_known_before_the_first_review(store: tuple[Store, Truth]) -> None:
    plan = planned(store[0])
    found = estimate_errors(store[0].connection, plan.name)
    assert (found.progress.drawn, found.progress.reviewed, found.progress.open) == (plan.reviews, 0, plan.reviews)
    overall = found.rate(RULE.labeler_id)
    assert overall is not None
    assert math.isnan(overall.rate)
    assert (overall.low, overall.high, overall.unseen, overall.population) == (0, 1, 1, REPORTS * 3)
    assert overall.as_dict()["rate"] is None


def test_each_stratum_has_its_own_errors_and_their_sum_is_weighted_by_size(store: tuple[Store, Truth]) -> None:
    opened, truth = store
    plan = planned(opened)
    found = decide(opened, reviews(plan, truth, plan.items))
    assert (found.progress.open, found.waiting, found.progress.reviewers) == (0, 0, ("Ann",))
    counted = []
    for stratum in plan.strata:
        labels = [item for item in plan.items if item.stratum == stratum.stratum]
        errors = sum(truth[item.report_id, item.target] != stratum.status for item in labels)
        counted.append(Counted(stratum.population, len(labels), errors))
        interval = exact_interval(counted[-1])
        rate = found.rate(RULE.labeler_id, stratum.status, stratum.target)
        assert rate is not None
        assert (rate.counted, rate.errors, rate.drawn) == (len(labels), errors, stratum.drawn)
        assert (rate.low, rate.high) == pytest.approx((interval.low, interval.high))
    overall = found.rate(RULE.labeler_id)
    assert overall is not None
    weighted = sum(c.population * c.wrong / c.judged for c in counted) / sum(c.population for c in counted)
    assert overall.rate == pytest.approx(weighted)
    both = stratified_interval(counted)
    assert (overall.low, overall.high) == pytest.approx((both.low, both.high))


def test_a_miss_is_what_is_present_and_was_not_said(store: tuple[Store, Truth]) -> None:
    opened, truth = store
    plan = planned(opened, labelers=(LLM.labeler_id,))
    found = decide(opened, reviews(plan, truth, plan.items))
    missed = found.rate(LLM.labeler_id, NOT_THERE, "Fracture", "missed")
    assert missed is not None
    silent = [s for s in plan.strata if s.target == "Fracture" and s.status in ("absent", "unmentioned")]
    drawn = [item for item in plan.items if item.stratum in {s.stratum for s in silent}]
    assert missed.errors == sum(truth[item.report_id, item.target] == "present" for item in drawn) > 0
    assert (missed.counted, missed.population) == (len(drawn), sum(s.population for s in silent))


def test_one_review_judges_the_labels_of_all_labelers(store: tuple[Store, Truth]) -> None:
    opened, truth = store
    plan = planned(opened, labelers=("rule", "llm:other"))
    found = decide(opened, reviews(plan, truth, plan.items))
    assert found.progress.drawn == plan.reviews < len(plan.items)
    assert sum(r.counted for r in found.rates if r.status == ALL == r.target) == len(plan.items)


def test_an_estimate_before_the_end_counts_the_beginning_of_each_random_order(store: tuple[Store, Truth]) -> None:
    opened, truth = store
    plan = planned(opened, labelers=("rule", "llm:other"))
    half = plan.reviews // 2
    found = decide(opened, reviews(plan, truth, (item for item in plan.items if item.place < half)))
    assert (found.progress.reviewed, found.progress.open) == (half, plan.reviews - half)
    part = make_plan(opened.connection, PlanSettings(margin=0.1, max_labels=half), ["rule", "llm:other"])
    counted = {(r.labeler_id, r.target, r.status): r.counted for r in found.rates}
    for stratum in part.strata:
        assert counted[stratum.labeler_id, stratum.target, stratum.status] == stratum.drawn
    assert found.waiting > 0  # reviewed for the other labeler's sake, before their turn
    every = estimate_errors(opened.connection, any_order=True)
    assert every.waiting == 0
    assert sum(r.counted for r in every.rates if r.target == ALL == r.status) == (
        sum(r.counted for r in found.rates if r.target == ALL == r.status) + found.waiting
    )


def test_what_is_reviewed_before_its_turn_waits(store: tuple[Store, Truth]) -> None:
    opened, truth = store
    plan = planned(opened)
    last = [item for item in plan.items if item.place >= plan.reviews - 30]
    found = decide(opened, reviews(plan, truth, last))
    assert (found.waiting, sum(r.counted for r in found.rates)) == (30, 0)
    assert any("before their turn" in note for note in found.notes)


def test_a_skipped_target_is_passed_over_and_named(store: tuple[Store, Truth]) -> None:
    opened, truth = store
    plan = planned(opened)
    first, *rest = plan.items
    skip = Decision(first.report_id, "Ann", "skip", "findings", first.target, plan_id=plan.plan_id)
    found = decide(opened, [skip, *reviews(plan, truth, rest)])
    assert (found.progress.skipped, found.progress.open, found.waiting) == (1, 0, 0)
    assert any("1 targets were skipped" in note for note in found.notes)
    # Whoever decides after all takes the skip back by that.
    found = decide(opened, reviews(plan, truth, [first]))
    assert (found.progress.skipped, found.progress.reviewed) == (0, plan.reviews)


def test_a_report_may_be_skipped_whole(store: tuple[Store, Truth]) -> None:
    opened, truth = store
    plan = planned(opened)
    report_id = plan.items[0].report_id
    here = {item.target for item in plan.items if item.report_id == report_id}
    rest = [item for item in plan.items if item.report_id != report_id]
    skip = Decision(report_id, "Ann", "skip", plan_id=plan.plan_id)
    found = decide(opened, [skip, *reviews(plan, truth, rest)])
    assert (found.progress.skipped, found.progress.open) == (len(here), 0)


def test_what_is_taken_back_is_open_again(store: tuple[Store, Truth]) -> None:
    opened, truth = store
    plan = planned(opened)
    decisions = reviews(plan, truth, plan.items)
    undo = Decision(decisions[0].report_id, "Ann", "undo", undoes=decisions[0].review_id, plan_id=plan.plan_id)
    found = decide(opened, [*decisions, undo])
    assert (found.progress.reviewed, found.progress.open) == (plan.reviews - 1, 1)


def test_of_reviewers_who_differ_the_latest_counts_and_it_is_said(store: tuple[Store, Truth]) -> None:
    opened, truth = store
    plan = planned(opened)
    item = next(item for item in plan.items if item.stratum.endswith("Edema/absent"))
    mistaken = truth | {(item.report_id, item.target): "present"}
    early = reviews(plan, mistaken, [item], "Bob")
    found = decide(opened, [*early, *reviews(plan, truth, plan.items, minute=10)])
    rate = found.rate(RULE.labeler_id, "absent", "Edema")
    assert rate is not None
    assert (found.progress.conflicts, rate.errors) == (1, 0)  # the rules never err on Edema
    assert found.progress.reviewers == ("Ann", "Bob")
    assert any("differ on 1 targets" in note for note in found.notes)
    found = decide(opened, reviews(plan, mistaken, [item], "Cem", minute=20))
    rate = found.rate(RULE.labeler_id, "absent", "Edema")
    assert rate is not None
    assert rate.errors == 1


def test_labels_curated_elsewhere_count_only_when_asked_for(curated: tuple[Store, Truth]) -> None:
    opened, truth = curated
    plan = planned(opened)
    found = decide(opened, reviews(plan, truth, [item for item in plan.items if item.place < 20]))
    assert (found.progress.reviewed, found.progress.imported) == (20, plan.reviews - 20)
    assert any("--all-curated counts it" in note for note in found.notes)
    whole = estimate_errors(opened.connection, all_curated=True)
    assert (whole.progress.reviewed, whole.progress.unplanned) == (plan.reviews, plan.reviews - 20)
    assert whole.waiting == 0
    assert any("no review gave" in note for note in whole.notes)
    assert whole.progress.reviewers == ("Ann", "expert")


def test_decisions_of_other_queues_count_in_their_turn(store: tuple[Store, Truth]) -> None:
    opened, truth = store
    plan = planned(opened)
    # Decided before the plan's turn came, as somebody chose: nobody will be asked again.
    chosen = [replace(one, plan_id=None) for one in reviews(plan, truth, plan.items[:40])]
    found = decide(opened, chosen)
    assert (found.progress.reviewed, found.progress.unplanned) == (40, 40)
    assert (sum(r.counted for r in found.rates), found.waiting) == (0, 40)
    found = decide(opened, reviews(plan, truth, plan.items[40:]))
    assert (found.progress.open, found.waiting) == (0, 0)
    assert any("40 targets were decided in other queues" in note for note in found.notes)


def test_one_decision_serves_two_plans(store: tuple[Store, Truth]) -> None:
    opened, truth = store
    plan = planned(opened)
    smaller = planned(opened, PlanSettings(margin=0.2))
    opened.write(decision_rows(reviews(smaller, truth, smaller.items)))
    assert estimate_errors(opened.connection, smaller.plan_id[:12]).progress.reviewed == smaller.reviews
    assert estimate_errors(opened.connection, plan.name).progress.reviewed == smaller.reviews
    assert any("others" in note for note in estimate_errors(opened.connection).notes)


def test_plans_that_cannot_be_told_are_named(store: tuple[Store, Truth]) -> None:
    with pytest.raises(StoreError, match="no audit plan"):
        estimate_errors(store[0].connection)
    planned(store[0])
    with pytest.raises(StoreError, match="no plan is named 'x'"):
        estimate_errors(store[0].connection, "x")


def test_more_errors_than_expected_are_said_to_widen_the_intervals(store: tuple[Store, Truth]) -> None:
    opened, truth = store
    plan = planned(opened, PlanSettings(margin=0.05, selection=Selection(targets=("Edema",))), ("rule",))
    found = decide(opened, reviews(plan, truth, plan.items))
    assert not any("are wider" in note for note in found.notes)
    loose = planned(opened, PlanSettings(precision=0.99, margin=0.02, each="labeler"), ("llm:other",))
    opened.write(decision_rows(reviews(loose, truth, loose.items)))
    found = estimate_errors(opened.connection, loose.name)
    assert any("of 4 intervals that were to be within 2 points are wider" in note for note in found.notes)


def test_a_narrower_scope_is_said(tmp_path: Path) -> None:
    with Store(tmp_path / "labels.duckdb") as opened:
        label = Label("r", "findings", "Edema", "absent", RULE.labeler_id, "impression")
        opened.write(
            {
                "reports": [report_row(Report("r", "c", {"text": "x"}))],
                "labelers": [labeler_row(RULE)],
                "labels": [label_row(label)],
            }
        )
        planned(opened)
        assert any("rule reads scope impression" in note for note in estimate_errors(opened.connection).notes)


SIMULATIONS = 40


def test_intervals_cover_the_true_rates_over_many_plans(curated: tuple[Store, Truth]) -> None:
    """The labels stay; what is random is the draw. Each plan is made, reviewed by the truth, and estimated."""
    opened, truth = curated
    kinds = [
        (labeler.labeler_id, status, target, measure)
        for labeler in (RULE, LLM)
        for status, target, measure in (
            (ALL, ALL, "wrong"),
            ("present", ALL, "wrong"),
            (NOT_THERE, ALL, "missed"),
            (ALL, "Fracture", "wrong"),
            ("unmentioned", "Pneumonia", "wrong"),
        )
    ]
    covered, widths = dict.fromkeys(kinds, 0), dict.fromkeys(kinds, 0.0)
    plans = [
        make_plan(opened.connection, PlanSettings(margin=0.05, each="labeler", seed=seed), ["rule", "llm:other"])
        for seed in range(SIMULATIONS)
    ]
    assert len({plan.plan_id for plan in plans}) == SIMULATIONS
    truths = {kind: true_rate(opened, truth, *kind[:3], missed=kind[3] == "missed") for kind in kinds}
    for plan in plans:
        opened.write(plan_rows(plan))
        found = estimate_errors(opened.connection, plan.plan_id, all_curated=True)
        for kind in kinds:
            rate = found.rate(*kind)
            assert rate is not None
            covered[kind] += rate.low - 1e-12 <= truths[kind] <= rate.high + 1e-12
            widths[kind] += rate.interval.half_width / SIMULATIONS
    assert sum(covered.values()) >= 0.95 * SIMULATIONS * len(kinds)
    for kind in kinds:
        assert covered[kind] >= 0.9 * SIMULATIONS, kind  # .95 and two standard errors of 40 draws below it
        if kind[2] == ALL and truths[kind] <= 0.05:  # as planned for
            assert widths[kind] <= 0.05, kind


def test_the_margin_holds_where_errors_are_as_expected(curated: tuple[Store, Truth]) -> None:
    opened, _ = curated
    selection = Selection(targets=("Fracture",))
    for seed in range(8):
        plan = planned(opened, PlanSettings(margin=0.03, seed=seed, selection=selection))
        found = estimate_errors(opened.connection, plan.name, all_curated=True)
        for rate in found.rates:
            if rate.status in STATUSES and rate.rate <= 0.05:
                assert rate.interval.half_width <= 0.03 + 1e-9
