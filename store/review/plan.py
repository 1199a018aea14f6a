"""A plan of review: how many labels to judge, and which ones, so that each labeler's error rate can be estimated.

A stratum is what one labeler says of one finding: all its labels of one status. From each, as many are drawn as the
margin asks for (`sample_size`), at random but for all labelers on the same targets (`judged`), so that the labels of
several labelers cost hardly more reviews than those of one.

The drawn labels are reviewed in an order of which every beginning is a smaller plan of the same kind: at any time,
about the same share of each stratum's sample has been reviewed. So a limit on the reviews cuts the order off, and an
estimate can be made before the end.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, cast

import duckdb
import pyarrow as pa

from teachback.errors import SettingError, StoreError
from teachback.store.database import Store
from teachback.store.identity import content_id
from teachback.store.inbox import post
from teachback.store.review.judged import Judged, Selection, create_judged_view, find_judged, random_number
from teachback.store.review.pace import Pace, fetch_pace
from teachback.store.review.sample_size import (
    expected_margin,
    labels_needed,
    labels_needed_together,
    zero_error_minimum,
)

__all__ = [
    "Allocation",
    "AuditPlan",
    "Each",
    "PlanSettings",
    "PlannedItem",
    "PlannedStratum",
    "make_plan",
    "write_plan",
]

Each = Literal["finding", "labeler"]
Allocation = Literal["proportional", "even", "neyman"]
PRIOR_LABELS = 10  # that the expected precision counts for beside the labels that are curated already (Neyman)


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What a plan is to achieve.

    Attributes:
        precision: Expected share of right labels.
        margin: Half of the width that the interval of an error rate may have.
        level: Coverage of the intervals.
        each: Of what the error rate is to be known within the margin: of each labeler's labels of each status by
            `finding`, or of all findings together (`labeler`).
        allocation: How labels are divided among findings where these are taken together: by their number
            (`proportional`), the same for each (`even`), or more where errors are expected (`neyman`, Neyman 1934).
        seed: What the labels are drawn by.
        max_labels: Most targets to review; None for as many as the margin asks for.
        selection: Which labels are judged.
    """

    precision: float = 0.95
    margin: float = 0.02
    level: float = 0.95
    each: Each = "finding"
    allocation: Allocation = "proportional"
    seed: int = 0
    max_labels: int | None = None
    selection: Selection = field(default_factory=Selection)

    def __post_init__(self) -> None:
        if not 0 < self.precision < 1:
            raise SettingError(f"--precision {self.precision:g} is no share", "give the expected one, such as 0.95")
        if not 0 < self.margin < 0.5:
            raise SettingError(f"--margin {self.margin:g} is out of range", "give a share, such as 0.02 for 2 points")
        if not 0.5 < self.level < 1:
            raise SettingError(f"--level {self.level:g} is out of range", "give a share, such as 0.95")
        if self.max_labels is not None and self.max_labels < 1:
            raise SettingError(f"--max-labels {self.max_labels} leaves nothing", "give 1 or more")


@dataclass(frozen=True, slots=True)
class PlannedStratum:
    """All labels of one status that one labeler gives of one finding.

    Attributes:
        labeler_id: Who gives them.
        task: The task.
        target: The finding; `*` for all diseases.
        status: The status.
        population: Labels that there are.
        drawn: Those to be judged; `drawn / population` is the probability with which each of them was drawn.
        error_rate: Expected share of wrong ones.
    """

    labeler_id: str
    task: str
    target: str
    status: str
    population: int
    drawn: int
    error_rate: float

    @property
    def stratum(self) -> str:
        """Its name in the plan."""
        return "/".join((self.labeler_id, self.task, self.target, self.status))


@dataclass(frozen=True, slots=True)
class PlannedItem:
    """One label to be judged.

    Attributes:
        place: When it is reviewed; labels that one review judges have the same place.
        stratum: Where it was drawn from.
        label_id: The label.
        labeler_id: Who is judged by it.
        report_id: Its report.
        task: Its task.
        target: Its target.
    """

    place: int
    stratum: str
    label_id: str
    labeler_id: str
    report_id: str
    task: str
    target: str


@dataclass(frozen=True, slots=True)
class AuditPlan:
    """A plan.

    Attributes:
        plan_id: Hash of all that it is made of: the same plan of the same store has the same id.
        name: What people call it.
        settings: What it is to achieve.
        judged: Who is judged.
        strata: The strata, in the order of labelers, findings and statuses.
        items: The labels to be judged, in the order of review.
        pace: How long a review takes.
    """

    plan_id: str
    name: str
    settings: PlanSettings
    judged: tuple[Judged, ...]
    strata: tuple[PlannedStratum, ...]
    items: tuple[PlannedItem, ...]
    pace: Pace

    @property
    def reviews(self) -> int:
        """Targets to review; each review judges the labels of several labelers where they were drawn."""
        return self.items[-1].place + 1 if self.items else 0

    @property
    def hours(self) -> float:
        """Estimated time of all reviews."""
        return self.reviews * self.pace.seconds / 3600

    def margin_of(self, strata: Iterable[PlannedStratum]) -> float:
        """Return half of the width that the interval of strata's common error rate will have, if it is as expected."""
        rows = list(strata)
        drawn, rates = [s.drawn for s in rows], [s.error_rate for s in rows]
        return expected_margin([s.population for s in rows], drawn, rates, self.settings.level)

    @property
    def widest_margin(self) -> float:
        """The largest margin of those that the plan is about."""
        whole = self.settings.each == "labeler"
        groups = defaultdict(list)
        for s in self.strata:
            groups[s.labeler_id, s.task, s.status, "" if whole else s.target].append(s)
        return max(map(self.margin_of, groups.values()), default=0.0)

    @property
    def zero_errors(self) -> int:
        """Labels of the largest stratum that show fewer than a margin of errors if none of them is wrong."""
        most = max((s.population for s in self.strata), default=0)
        return zero_error_minimum(most, self.settings.margin, self.settings.level) if most else 0

    def as_dict(self) -> dict[str, Any]:
        """Return the plan without its items, JSON-ready."""
        level, margin = self.settings.level, self.settings.margin
        return {
            "plan_id": self.plan_id,
            "name": self.name,
            "settings": asdict(self.settings),
            "labelers": [asdict(one) for one in self.judged],
            "labels": len(self.items),
            "reviews": self.reviews,
            "seconds_a_review": self.pace.seconds,
            "timed_reviews": self.pace.timed,
            "hours": self.hours,
            "widest_margin": self.widest_margin,
            "strata": [
                asdict(s)
                | {
                    "inclusion": s.drawn / s.population,
                    "expected_margin": self.margin_of([s]),
                    "zero_error_minimum": zero_error_minimum(s.population, margin, level),
                }
                for s in self.strata
            ],
        }


def make_plan(
    connection: duckdb.DuckDBPyConnection,
    settings: PlanSettings,
    labelers: Sequence[str] = (),
    teacher: str | None = None,
    name: str | None = None,
) -> AuditPlan:
    """Say how many labels to judge, and draw them.

    Args:
        connection: A store or a snapshot.
        settings: What the plan is to achieve.
        labelers: Who is judged (see `find_judged`).
        teacher: A teacher that is judged as a whole, instead.
        name: What to call the plan; `audit-1` and so on when left out.

    Raises:
        SettingError: Nobody is named so, or no label is left by the selection.
    """
    judged = find_judged(connection, labelers, teacher)
    create_judged_view(connection, judged, settings.selection)
    strata = _allocated(_fetch_strata(connection, judged, settings), settings)
    if not strata:
        who = ", ".join(one.name for one in judged)
        raise SettingError(f"{who} has no label with these filters", "widen --split, --corpus, --task and --finding")
    items = _in_order(_draw(connection, strata, settings.seed), settings.max_labels)
    drawn: dict[str, int] = defaultdict(int)
    for item in items:
        drawn[item.stratum] += 1
    planned = tuple(replace(s, drawn=drawn[s.stratum]) for s in strata)
    plan_id = content_id("aud", asdict(settings), [asdict(one) for one in judged], [item.label_id for item in items])
    return AuditPlan(
        plan_id=plan_id,
        name=name or _next_name(connection, plan_id),
        settings=settings,
        judged=judged,
        strata=planned,
        items=items,
        pace=fetch_pace(connection),
    )


def write_plan(store: Path | str, plan: AuditPlan) -> bool:
    """Write a plan into the store, or, where another process holds that, leave it for its writer.

    Returns:
        Whether it is in the store already.
    """
    rows = _rows(plan)
    try:
        opened = Store(store, create=False)
    except StoreError:
        post(store, rows)
        return False
    with opened:
        opened.write(rows)
    return True


def _fetch_strata(
    connection: duckdb.DuckDBPyConnection, judged: Sequence[Judged], settings: PlanSettings
) -> list[PlannedStratum]:
    """Read how many labels each stratum has, and what share of its curated ones is wrong where that is asked for."""
    found = connection.execute(
        "SELECT judge, task, stratum_target, status, count(*) FROM judged_labels GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    expected = 1 - settings.precision
    wrong: dict[tuple[str, ...], float] = {}
    if settings.allocation == "neyman":
        curated = connection.execute(
            "SELECT j.judge, j.task, j.stratum_target, j.status, count(*), count(*) FILTER (c.status <> j.status) "
            "FROM judged_labels j JOIN curated_labels c USING (report_id, task, target) GROUP BY ALL"
        ).fetchall()
        wrong = {tuple(key): (bad + PRIOR_LABELS * expected) / (n + PRIOR_LABELS) for *key, n, bad in curated}
    places = {one.labeler_id: place for place, one in enumerate(judged)}
    strata = [
        PlannedStratum(*key, population=count, drawn=0, error_rate=wrong.get(tuple(key), expected))
        for *key, count in found
    ]
    return sorted(strata, key=lambda s: (places[s.labeler_id], s.task, s.target, s.status))


def _allocated(strata: Sequence[PlannedStratum], settings: PlanSettings) -> list[PlannedStratum]:
    """Say how many labels of each stratum to draw."""
    margin, level = settings.margin, settings.level
    if settings.each == "finding":
        return [replace(s, drawn=labels_needed(s.population, s.error_rate, margin, level)) for s in strata]
    together = defaultdict(list)
    for s in strata:
        together[s.labeler_id, s.task, s.status].append(s)
    drawn: dict[str, int] = {}
    for group in together.values():
        populations, rates = [s.population for s in group], [s.error_rate for s in group]
        shares = {
            "proportional": [float(n) for n in populations],
            "even": [1.0] * len(group),
            "neyman": [n * (p * (1 - p)) ** 0.5 for n, p in zip(populations, rates, strict=True)],
        }[settings.allocation]
        needed = labels_needed_together(populations, shares, rates, margin, level)
        drawn |= {s.stratum: n for s, n in zip(group, needed, strict=True)}
    return [replace(s, drawn=drawn[s.stratum]) for s in strata]


# A drawn label, and which one of its stratum's random order it is.
_Drawn = tuple[PlannedItem, int]


def _draw(connection: duckdb.DuckDBPyConnection, strata: Sequence[PlannedStratum], seed: int) -> list[_Drawn]:
    """Draw the labels with the smallest random numbers of each stratum."""
    columns = ("judge", "task", "stratum_target", "status")
    sizes = pa.table(
        {
            "judge": [s.labeler_id for s in strata],
            "task": [s.task for s in strata],
            "stratum_target": [s.target for s in strata],
            "status": [s.status for s in strata],
            "stratum": [s.stratum for s in strata],
            "drawn": [s.drawn for s in strata],
        }
    )
    connection.register("stratum_sizes", sizes)
    try:
        rows = connection.execute(
            f"SELECT stratum, label_id, judge, report_id, task, target, row_number() OVER (PARTITION BY stratum "
            f"ORDER BY {random_number(seed)}, label_id) AS rank, drawn "
            f"FROM judged_labels JOIN stratum_sizes USING ({', '.join(columns)}) QUALIFY rank <= drawn ORDER BY ALL"
        ).fetchall()
    finally:
        connection.unregister("stratum_sizes")
    return [(PlannedItem(0, *words), rank) for *words, rank, _ in rows]


def _in_order(drawn: Sequence[_Drawn], max_labels: int | None) -> tuple[PlannedItem, ...]:
    """Put labels in the order of review, up to a number of targets.

    A target comes when the stratum in which it is the furthest to the front has come so far. Where the order is cut
    off, a stratum keeps the labels before its first that is not reviewed: those are its smallest random numbers.
    """
    sizes: dict[str, int] = defaultdict(int)
    for item, _ in drawn:
        sizes[item.stratum] += 1
    turn: dict[tuple[str, str, str], float] = {}
    for item, rank in drawn:
        target = (item.report_id, item.task, item.target)
        turn[target] = min(turn.get(target, 1.0), (rank - 0.5) / sizes[item.stratum])
    places = {target: place for place, target in enumerate(sorted(turn, key=lambda target: (turn[target], target)))}
    kept = []
    by_stratum = sorted(drawn, key=lambda entry: (entry[0].stratum, entry[1]))
    for _, entries in groupby(by_stratum, key=lambda entry: entry[0].stratum):
        for item, _ in entries:
            place = places[item.report_id, item.task, item.target]
            if max_labels is not None and place >= max_labels:
                break
            kept.append(replace(item, place=place))
    return tuple(sorted(kept, key=lambda item: (item.place, item.stratum)))


def _next_name(connection: duckdb.DuckDBPyConnection, plan_id: str) -> str:
    rows = cast(
        "list[tuple[str, str]]", connection.execute("SELECT plan_id, name FROM audit_plans ORDER BY ALL").fetchall()
    )
    taken = {name for _, name in rows}
    known = next((name for key, name in rows if key == plan_id), None)
    return known or next(f"audit-{n}" for n in range(1, len(taken) + 2) if f"audit-{n}" not in taken)


def _rows(plan: AuditPlan) -> dict[str, list[dict[str, Any]]]:
    settings = plan.settings
    return {
        "audit_plans": [
            {
                "plan_id": plan.plan_id,
                "name": plan.name,
                "labeler_ids": [one.labeler_id for one in plan.judged],
                "precision": settings.precision,
                "margin": settings.margin,
                "level": settings.level,
                "config": json.dumps(asdict(settings) | {"labelers": [asdict(one) for one in plan.judged]}),
                "seed": settings.seed,
            }
        ],
        "audit_strata": [
            {
                "plan_id": plan.plan_id,
                "stratum": s.stratum,
                "labeler_id": s.labeler_id,
                "task": s.task,
                "target": s.target,
                "status": s.status,
                "population": s.population,
                "drawn": s.drawn,
            }
            for s in plan.strata
        ],
        "audit_items": [{"plan_id": plan.plan_id} | asdict(item) for item in plan.items],
    }
