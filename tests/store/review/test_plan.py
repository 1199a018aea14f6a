import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from teachback.errors import SettingError
from teachback.store.database import Store, open_snapshot
from teachback.store.inbox import inbox_path
from teachback.store.label import STATUSES, Label, Labeler
from teachback.store.report import Report
from teachback.store.review.decisions import Decision, decision_rows
from teachback.store.review.judged import Selection
from teachback.store.review.plan import make_plan, write_plan
from teachback.store.review.planned import AuditPlan, PlanSettings
from teachback.store.review.sample_size import (
    expected_margin,
    labels_needed,
    labels_needed_together,
    spread_over,
    zero_error_minimum,
)
from teachback.store.rows import label_row, labeler_row, report_row

REPORTS = 300
FINDINGS = ("Edema", "Pneumonia")
RULE = Labeler("rule", "rule", "1")
TWIN = Labeler("llm", "llm:twin", "1", "twin")  # says what the rules say
LLM = Labeler("llm", "llm:other", "1", "other")
OLD = Labeler("llm", "llm:other", "0", "other")  # of the same name
LOOSE = PlanSettings(margin=0.1)


def label(report: int, finding: str, labeler: Labeler, status: str) -> Label:
    return Label(f"r{report:03}", "findings", finding, status, labeler.labeler_id, "full")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels of three labelers, two of which say the same; their teacher has decided on half of the reports."""
    path = tmp_path_factory.mktemp("plan") / "labels.duckdb"
    draw = random.Random(0)
    rows = []
    for report in range(REPORTS):
        for finding in FINDINGS:
            status, other = draw.choices(STATUSES, (3, 3, 1, 5), k=2)
            rows += [label(report, finding, labeler, status) for labeler in (RULE, TWIN)]
            rows += [label(report, finding, LLM, other)]
    phrases = [Label(f"r{n:03}", "diseases", f"disease {n % 7}", "present", LLM.labeler_id, "full") for n in range(50)]
    rows += [*phrases, label(0, "Edema", OLD, "present")]
    with Store(path) as opened:
        opened.write(
            {
                "reports": [report_row(Report(f"r{n:03}", "ab"[n % 2], {"text": "x"})) for n in range(REPORTS)],
                "splits": [
                    {"report_id": f"r{n:03}", "split": "train" if n < 200 else "gate", "group_id": str(n), "seed": 0}
                    for n in range(REPORTS)
                ],
                "labelers": [labeler_row(labeler) for labeler in (RULE, TWIN, LLM, OLD)],
                "labels": [label_row(one) for one in rows],
                "teachers": [{"teacher_id": "tch_one"}],
                "teacher_members": [
                    {"teacher_id": "tch_one", "labeler_id": one.labeler_id, "seat": "labeler", "place": place}
                    for place, one in enumerate((RULE, TWIN))
                ],
                "committed": [
                    {"report_id": f"r{n:03}", "teacher_id": "tch_one", "run_id": "run"} for n in range(REPORTS // 2)
                ],
            }
        )
    return path


@pytest.fixture
def snapshot(store: Path) -> duckdb.DuckDBPyConnection:
    connection, _ = open_snapshot(store)
    return connection


def units(plan: AuditPlan) -> list[tuple[int, str, str]]:
    return sorted({(item.place, item.report_id, item.target) for item in plan.items})


# How many.


def test_as_many_labels_as_the_interval_needs() -> None:
    # Cochran: 1.96^2 * .95 * .05 / .02^2 = 456.2; the exact interval needs about 1 / (2 * .02) more on either side.
    needed = labels_needed(10**7, 0.05, 0.02)
    assert 457 < needed < 457 + 60
    wrong = round(0.05 * needed)
    low, high = beta.ppf(0.025, wrong, needed - wrong + 1), beta.ppf(0.975, wrong + 1, needed - wrong)
    assert (high - low) / 2 <= 0.02


def test_a_small_stratum_needs_fewer_and_never_more_than_it_has() -> None:
    needed = [labels_needed(population, 0.05, 0.02) for population in (1, 5, 100, 1000, 10_000)]
    assert needed[:2] == [1, 5]
    # Cochran's correction for 1,000: 456 / (1 + 455 / 1000) = 313, and some more for the exact interval.
    assert 80 < needed[2] < 100
    assert 313 <= needed[3] < 350
    assert needed == sorted(needed)


def test_no_error_among_so_many_rules_out_the_margin() -> None:
    # ln .05 / ln .98 = 148.3. Of 50 labels 2 % is one, so two bad ones must be found: (50 - n)(49 - n) / (50 * 49) is
    # 12 * 11 / 2450 = .054 for n = 38 and 11 * 10 / 2450 = .045 for 39.
    assert zero_error_minimum(10**7, 0.02) == 149
    assert zero_error_minimum(50, 0.02) == 39
    assert zero_error_minimum(10**7, 0.02, 0.99) == 228  # ln .01 / ln .98 = 227.9


@given(
    st.lists(st.tuples(st.integers(1, 500), st.floats(0.1, 100)), min_size=1, max_size=8),
    st.integers(1, 5000),
)
def test_labels_are_divided_among_strata_and_none_is_lost(strata: list[tuple[int, float]], judged: int) -> None:
    populations, shares = [population for population, _ in strata], [share for _, share in strata]
    given_out = spread_over(judged, populations, shares)
    assert all(1 <= n <= population for n, population in zip(given_out, populations, strict=True))
    assert sum(given_out) >= min(judged, sum(populations))
    assert sum(given_out) <= max(judged, len(strata)) + len(strata)


def test_labels_by_their_number_are_divided_by_it() -> None:
    # 100 of 1,000: a tenth of each; evenly 25 each, but the stratum of 10 gives its 10 and the others (100 - 10) / 3.
    assert spread_over(100, [10, 90, 400, 500], [10, 90, 400, 500]) == [1, 9, 40, 50]
    assert spread_over(100, [10, 90, 400, 500], [1, 1, 1, 1]) == [10, 30, 30, 30]


def test_strata_together_need_little_more_than_one_of_their_size() -> None:
    populations = [200, 800, 3000]
    needed = labels_needed_together(populations, populations, [0.05] * 3, 0.02)
    assert expected_margin(populations, needed, [0.05] * 3) <= 0.02
    assert labels_needed(4000, 0.05, 0.02) <= sum(needed) <= labels_needed(4000, 0.05, 0.02) * 1.1


# Which.


def test_every_stratum_is_drawn_to_the_margin_from_its_own_labels(
    snapshot: duckdb.DuckDBPyConnection, store: Path
) -> None:
    plan = make_plan(snapshot, LOOSE, ["rule", LLM.labeler_id])
    assert [one.name for one in plan.judged] == ["rule", "llm:other"]
    assert len(plan.strata) == 2 * len(FINDINGS) * len(STATUSES)
    drawn = Counter(item.stratum for item in plan.items)
    statuses = dict(snapshot.execute("SELECT label_id, status FROM labels").fetchall())
    for stratum in plan.strata:
        assert drawn[stratum.stratum] == stratum.drawn == labels_needed(stratum.population, 0.05, 0.1)
        assert plan.margin_of([stratum]) <= 0.1
    for item in plan.items:
        assert item.stratum == f"{item.labeler_id}/findings/{item.target}/{statuses[item.label_id]}"
    assert len({item.label_id for item in plan.items}) == len(plan.items)
    assert sum(s.population for s in plan.strata) == 2 * len(FINDINGS) * REPORTS


def test_labelers_share_reviews(snapshot: duckdb.DuckDBPyConnection) -> None:
    one, same = make_plan(snapshot, LOOSE, ["rule"]), make_plan(snapshot, LOOSE, ["rule", "llm:twin"])
    assert units(same) == units(one)
    assert len(same.items) == 2 * len(one.items)
    assert same.reviews == one.reviews == len(one.items)
    other = make_plan(snapshot, LOOSE, ["rule", LLM.labeler_id])
    assert one.reviews < other.reviews < len(other.items)


def test_the_seed_alone_decides_what_is_drawn(snapshot: duckdb.DuckDBPyConnection) -> None:
    first, again = make_plan(snapshot, LOOSE, ["rule"]), make_plan(snapshot, LOOSE, ["rule"])
    assert first == again
    other = make_plan(snapshot, PlanSettings(margin=0.1, seed=1), ["rule"])
    assert other.plan_id != first.plan_id
    assert {item.label_id for item in other.items} != {item.label_id for item in first.items}


def test_a_closer_plan_of_the_same_seed_goes_on_from_the_first(snapshot: duckdb.DuckDBPyConnection) -> None:
    first = make_plan(snapshot, PlanSettings(margin=0.2), ["rule"])
    closer = make_plan(snapshot, PlanSettings(margin=0.1), ["rule", LLM.labeler_id])
    assert {item.label_id for item in first.items} < {item.label_id for item in closer.items}


def test_every_beginning_of_the_order_is_a_smaller_plan(snapshot: duckdb.DuckDBPyConnection) -> None:
    whole = make_plan(snapshot, LOOSE, ["rule", LLM.labeler_id])
    for reviews in (1, 40, 150):
        part = make_plan(snapshot, PlanSettings(margin=0.1, max_labels=reviews), ["rule", LLM.labeler_id])
        assert part.reviews == reviews == len(units(part))
        assert units(part) == units(whole)[:reviews]
    # All strata come forward together. Those that share targets with a denser one are ahead, never behind.
    shares = [p.drawn / w.drawn for p, w in zip(part.strata, whole.strata, strict=True)]
    progress = max(place for place, *_ in units(part)) / whole.reviews
    assert min(shares) > progress - 0.1
    assert part.widest_margin > whole.widest_margin


def test_labels_are_drawn_evenly_over_seeds(snapshot: duckdb.DuckDBPyConnection) -> None:
    # 40 draws of n of N labels: each label is drawn 40 n / N times on average; a biased order would favour some.
    seen: Counter[str] = Counter()
    for seed in range(40):
        plan = make_plan(
            snapshot, PlanSettings(margin=0.2, seed=seed, selection=Selection(targets=("Edema",))), ["rule"]
        )
        seen.update(item.label_id for item in plan.items)
    for stratum in plan.strata:
        inclusion = stratum.drawn / stratum.population
        labels = {item.label_id for item in plan.items if item.stratum == stratum.stratum}
        mean = sum(seen[one] for one in labels) / len(labels)  # of labels that one of the draws has
        assert 40 * inclusion * 0.6 < mean < 40 * inclusion * 1.4 + 1


# Whose, and of which reports.


def test_those_of_the_newest_teacher_are_judged_unless_others_are_named(snapshot: duckdb.DuckDBPyConnection) -> None:
    assert [one.name for one in make_plan(snapshot, LOOSE).judged] == ["rule", "llm:twin"]


def test_a_teacher_is_judged_by_what_it_says_as_a_whole(snapshot: duckdb.DuckDBPyConnection) -> None:
    for named in ("newest", "tch_o"):
        plan = make_plan(snapshot, LOOSE, teacher=named)
        assert {s.labeler_id for s in plan.strata} == {"tch_one"}
        assert sum(s.population for s in plan.strata) == len(FINDINGS) * REPORTS // 2
    with pytest.raises(SettingError, match="no teacher begins"):
        make_plan(snapshot, LOOSE, teacher="tch_two")
    with pytest.raises(SettingError, match="both given"):
        make_plan(snapshot, LOOSE, ["rule"], teacher="newest")


@pytest.mark.parametrize(
    ("named", "said"), [("nobody", "no labeler is"), ("llm:other", "2 labelers are"), ("lbr_", "4 labelers are")]
)
def test_who_cannot_be_told_is_named(snapshot: duckdb.DuckDBPyConnection, named: str, said: str) -> None:
    with pytest.raises(SettingError, match=said) as raised:
        make_plan(snapshot, LOOSE, [named])
    assert LLM.labeler_id in raised.value.remedy


@pytest.mark.parametrize(
    ("selection", "labels"),
    [
        (Selection(splits=("gate",)), 100 * 2),
        (Selection(corpora=("a",)), 150 * 2),
        (Selection(targets=("Edema",)), 300),
        (Selection(splits=("gate", "train"), corpora=("a",), targets=("Pneumonia",)), 150),
    ],
)
def test_filters(snapshot: duckdb.DuckDBPyConnection, selection: Selection, labels: int) -> None:
    plan = make_plan(snapshot, PlanSettings(margin=0.1, selection=selection), ["rule"])
    assert sum(s.population for s in plan.strata) == labels


def test_one_status_or_nothing_left(snapshot: duckdb.DuckDBPyConnection) -> None:
    plan = make_plan(snapshot, PlanSettings(margin=0.1, selection=Selection(statuses=("present",))), ["rule"])
    assert {s.status for s in plan.strata} == {"present"}
    with pytest.raises(SettingError, match="no label with these filters"):
        make_plan(snapshot, PlanSettings(selection=Selection(corpora=("none",))), ["rule"])


def test_diseases_are_one_stratum_whatever_their_names(snapshot: duckdb.DuckDBPyConnection) -> None:
    plan = make_plan(snapshot, PlanSettings(margin=0.1, selection=Selection(tasks=("diseases",))), [LLM.labeler_id])
    assert [(s.target, s.status, s.population) for s in plan.strata] == [("*", "present", 50)]
    assert {item.target for item in plan.items} <= {f"disease {n}" for n in range(7)}


@pytest.mark.parametrize(
    "wrong", [{"precision": 1.0}, {"margin": 0.0}, {"level": 1.0}, {"max_labels": 0}, {"allocation": "even"}]
)
def test_what_cannot_be_asked_for(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingError):
        PlanSettings(**wrong)  # type: ignore[arg-type]


# Over all findings together.


def test_over_all_findings_fewer_labels_have_the_same_margin(snapshot: duckdb.DuckDBPyConnection) -> None:
    each = make_plan(snapshot, LOOSE, ["rule"])
    whole = make_plan(snapshot, PlanSettings(margin=0.1, each="labeler"), ["rule"])
    assert whole.reviews < each.reviews
    for status in STATUSES:
        assert whole.margin_of(s for s in whole.strata if s.status == status) <= 0.1


def test_allocation_by_number_evenly_or_where_errors_are_expected(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.duckdb"
    path.write_bytes(store.read_bytes())
    curator = Labeler("human", "expert", "1")
    with Store(path) as opened:
        rows = opened.connection.execute(
            "SELECT report_id, target, status FROM labels WHERE labeler_id = ? AND task = 'findings'", [RULE.labeler_id]
        ).fetchall()
        # The expert differs on each `present` of Edema, and on none of Pneumonia.
        truths = {"Edema": "absent", "Pneumonia": "present"}
        curated = [label(int(r[1:]), t, curator, truths[t] if s == "present" else s) for r, t, s in rows]
        opened.write({"labelers": [labeler_row(curator)], "labels": [label_row(one) for one in curated]})
        drawn = {}
        for allocation in ("proportional", "even", "neyman"):
            settings = PlanSettings(
                margin=0.1, each="labeler", allocation=allocation, selection=Selection(statuses=("present",))
            )
            strata = make_plan(opened.connection, settings, ["rule"]).strata
            drawn[allocation] = {s.target: s.drawn / s.population for s in strata}
    even, shared = drawn["even"], drawn["proportional"]
    assert shared["Edema"] == pytest.approx(shared["Pneumonia"], abs=0.03)
    populations = {s.target: s.population for s in strata}
    assert even["Edema"] * populations["Edema"] == even["Pneumonia"] * populations["Pneumonia"]
    # Expected errors: (n + 10 * .05) / (n + 10) of Edema, about .9; .5 / (n + 10) of Pneumonia, below .01.
    assert drawn["neyman"]["Edema"] > 2 * drawn["neyman"]["Pneumonia"]


# In the store.


def test_a_plan_is_written_once_and_keeps_its_name(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.duckdb"
    path.write_bytes(store.read_bytes())
    for name in (None, "again"):
        with Store(path) as opened:
            plan = make_plan(opened.connection, LOOSE, ["rule"], name=name)
        assert write_plan(path, plan)
    connection, _ = open_snapshot(path)
    with connection:
        assert connection.execute("SELECT name, seed, margin FROM audit_plans").fetchall() == [("audit-1", 0, 0.1)]
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM audit_strata), (SELECT sum(drawn) FROM audit_strata), count(*), "
            "count(DISTINCT place) FROM audit_items"
        ).fetchone()
        assert counts == (8, len(plan.items), len(plan.items), plan.reviews)
        assert make_plan(connection, PlanSettings(margin=0.2), ["rule"]).name == "audit-2"
        with pytest.raises(SettingError, match="'audit-1' already"):
            make_plan(connection, PlanSettings(margin=0.2), ["rule"], name="audit-1")


HOLDER = """
import sys
from teachback.store.database import Store
with Store(sys.argv[1]) as opened:
    print("held", flush=True)
    sys.stdin.readline()
    print(opened.take_in(), flush=True)
"""


def test_a_plan_waits_for_the_process_that_holds_the_store(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.duckdb"
    path.write_bytes(store.read_bytes())
    with Store(path) as opened:
        plan = make_plan(opened.connection, LOOSE, ["rule"])
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert not write_plan(path, plan)
        assert len(list(inbox_path(path).glob("*.json"))) == 1
        assert holder.communicate("go\n")[0] == "1\n"
    connection, _ = open_snapshot(path)
    with connection:
        assert connection.execute("SELECT count(*) FROM audit_items").fetchone() == (len(plan.items),)


def test_time_is_assumed_until_decisions_were_timed(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.duckdb"
    path.write_bytes(store.read_bytes())
    with Store(path) as opened:
        assert make_plan(opened.connection, LOOSE, ["rule"]).pace.seconds == 20
        # 19 of 10 s and one of an hour, which counts as five minutes: (19 * 10 + 300) / 20 = 24.5 s.
        seconds = [10.0] * 19 + [3600.0]
        steps = [
            Decision(f"r{n:03}", "A", "set", "findings", "Edema", "absent", seconds=s) for n, s in enumerate(seconds)
        ]
        opened.write(decision_rows(steps))
        plan = make_plan(opened.connection, LOOSE, ["rule"])
    assert (plan.pace.seconds, plan.pace.timed) == (24.5, 20)
    assert plan.hours == pytest.approx(plan.reviews * 24.5 / 3600)
