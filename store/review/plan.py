"""A plan of review: how many labels to judge, and which ones, so that each labeler's error rate can be estimated.

A stratum is what one labeler says of one finding: all its labels of one status. From each, as many are drawn as the
margin asks for (`sample_size`), at random but for all labelers on the same targets (`judged`), so that the labels of
several labelers cost hardly more reviews than those of one.

The drawn labels are reviewed in an order of which every beginning is a smaller plan of the same kind: at any time,
about the same share of each stratum's sample has been reviewed. So a limit on the reviews cuts the order off, and an
estimate can be made before the end.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from teachback.errors import SettingError, StoreError
from teachback.store.database import Store
from teachback.store.identity import content_id
from teachback.store.inbox import post
from teachback.store.review.judged import Judged, create_judged_table, find_judged, random_number
from teachback.store.review.pace import fetch_pace
from teachback.store.review.planned import AuditPlan, PlannedItem, PlannedStratum, PlanSettings
from teachback.store.review.sample_size import labels_needed, labels_needed_together

__all__ = ["make_plan", "over_all_findings", "plan_rows", "write_plan"]

ABOVE_ALL = "g"  # follows every number in hex digits
PRIOR_LABELS = 10  # that the expected precision counts for beside the labels that are curated already (Neyman)


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
        name: What to call the plan; `audit-1` and so on when left out. The same plan of the same store keeps the name
            that it has.

    Raises:
        SettingError: Nobody is named so, no label is left by the selection, or the name is taken.
    """
    judged = find_judged(connection, labelers, teacher)
    create_judged_table(connection, judged, settings.selection)
    return _plan(connection, judged, settings, name)


def over_all_findings(connection: duckdb.DuckDBPyConnection, plan: AuditPlan) -> AuditPlan:
    """Return the plan that has the same margin for each labeler over all findings together, to compare the work.

    Args:
        connection: The connection with which the plan was just made.
        plan: The plan.
    """
    return _plan(connection, plan.judged, replace(plan.settings, each="labeler", max_labels=None), None)


def write_plan(store: Path | str, plan: AuditPlan) -> bool:
    """Write a plan into the store, or, where another process holds that, leave it for its writer.

    Returns:
        Whether it is in the store already.
    """
    rows = plan_rows(plan)
    try:
        opened = Store(store, create=False)
    except StoreError:
        post(store, rows)
        return False
    with opened:
        opened.write(rows)
    return True


def plan_rows(plan: AuditPlan) -> dict[str, list[dict[str, Any]]]:
    """Return the rows that a plan adds to the store."""
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


def _plan(
    connection: duckdb.DuckDBPyConnection, judged: tuple[Judged, ...], settings: PlanSettings, name: str | None
) -> AuditPlan:
    strata = _allocated(_fetch_strata(connection, judged, settings), settings)
    if not strata:
        who = ", ".join(one.name for one in judged)
        raise SettingError(f"{who} has no label with these filters", "widen --split, --corpus, --task and --finding")
    items = _in_order(_draw(connection, strata, settings.seed), settings.max_labels)
    drawn = Counter(item.stratum for item in items)
    plan_id = content_id("aud", asdict(settings), [asdict(one) for one in judged], [item.label_id for item in items])
    return AuditPlan(
        plan_id=plan_id,
        name=_name(connection, plan_id, name),
        settings=settings,
        judged=judged,
        strata=tuple(replace(s, drawn=drawn[s.stratum]) for s in strata),
        items=items,
        pace=fetch_pace(connection),
    )


def _fetch_strata(
    connection: duckdb.DuckDBPyConnection, judged: Sequence[Judged], settings: PlanSettings
) -> list[PlannedStratum]:
    """Read how many labels each stratum has, and what share of its curated ones is wrong where that is asked for."""
    found = connection.execute(
        "SELECT judge, task, stratum_target, status, count(*) FROM judged_labels GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    expected = round(1 - settings.precision, 12)  # .05 and not .05 and a bit: so many labels more or less hang on it
    wrong: dict[tuple[str, ...], float] = {}
    if settings.allocation == "neyman":
        curated = connection.execute(
            "SELECT j.judge, j.task, j.stratum_target, j.status, count(*), count(*) FILTER (c.status <> j.status) "
            "FROM judged_labels j JOIN curated_labels c USING (report_id, task, target) GROUP BY ALL"
        ).fetchall()
        wrong = {tuple(key): (bad + PRIOR_LABELS * expected) / (n + PRIOR_LABELS) for *key, n, bad in curated}
    places = {one.labeler_id: place for place, one in enumerate(judged)}
    strata = [
        PlannedStratum(judge, task, target, status, count, 0, wrong.get((judge, task, target, status), expected))
        for judge, task, target, status, count in found
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
    # To sort the few that can be among them takes a second, all of millions a minute.
    drawn = _smallest(connection, strata, [_ceiling(s) for s in strata], seed)
    if len(drawn) < sum(s.drawn for s in strata):
        drawn = _smallest(connection, strata, [ABOVE_ALL] * len(strata), seed)
    return drawn


def _ceiling(stratum: PlannedStratum) -> str:
    """Return a random number below which there are enough of a stratum, but for once in millions of draws."""
    enough = stratum.drawn + 6 * math.sqrt(stratum.drawn) + 20
    share = enough / stratum.population
    return ABOVE_ALL if share >= 1 else f"{int(share * 2**32):08x}"


def _smallest(
    connection: duckdb.DuckDBPyConnection, strata: Sequence[PlannedStratum], ceilings: Sequence[str], seed: int
) -> list[_Drawn]:
    sizes = pa.table(
        {
            "judge": [s.labeler_id for s in strata],
            "task": [s.task for s in strata],
            "stratum_target": [s.target for s in strata],
            "status": [s.status for s in strata],
            "stratum": [s.stratum for s in strata],
            "drawn": [s.drawn for s in strata],
            "ceiling": ceilings,
        }
    )
    connection.register("stratum_sizes", sizes)
    try:
        rows = connection.execute(
            "WITH near AS (SELECT stratum, label_id, judge, report_id, task, target, drawn, "
            f"{random_number(seed)} AS number, ceiling FROM judged_labels "
            "JOIN stratum_sizes USING (judge, task, stratum_target, status) WHERE number < ceiling) "
            "SELECT stratum, label_id, judge, report_id, task, target, "
            "row_number() OVER (PARTITION BY stratum ORDER BY number, label_id) AS rank "
            "FROM near QUALIFY rank <= drawn ORDER BY ALL"
        ).fetchall()
    finally:
        connection.unregister("stratum_sizes")
    return [(PlannedItem(0, *words), rank) for *words, rank in rows]


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


def _name(connection: duckdb.DuckDBPyConnection, plan_id: str, wanted: str | None) -> str:
    """Return a plan's name: the one that it has already, else the wanted one, else the next free number."""
    rows = connection.execute("SELECT plan_id, name FROM audit_plans").fetchall()
    names: dict[str, str] = dict(rows)
    if plan_id in names:
        return names[plan_id]
    taken = set(names.values())
    if wanted in taken:
        raise SettingError(f"there is an audit plan named {wanted!r} already, of other labels", "choose another --name")
    return wanted or next(f"audit-{n}" for n in range(1, len(taken) + 2) if f"audit-{n}" not in taken)
