"""What reviewers said of the labels that an audit plan drew, stratum by stratum.

A decision counts whichever queue it was made in, for nobody is asked twice. But only the beginning of each stratum's
random order counts, up to its first label that is still open, and while there are such, up to the last label that was
decided for a plan: what was reviewed before its turn, for another labeler's sake or because somebody chose it, is no
random sample. A target that was skipped is passed over.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby

import duckdb

from teachback.errors import StoreError
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.review.intervals import Counted
from teachback.store.review.judged import random_number

__all__ = ["Plan", "Progress", "Stratum", "fetch_progress", "fetch_strata", "find_plan"]

# A drawn label: its stratum, the status that reviewers gave, whether it was skipped, and whether a plan led to that.
_Drawn = tuple[str, str | None, bool, bool]


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as the store has it.

    Attributes:
        plan_id: Its id.
        name: Its name.
        labelers: Id to name of who is judged, in order.
        margin: The margin that it was made for.
        each: Of what it was to hold: of each `finding`, or of each `labeler` over all findings.
        level: Coverage of the intervals.
        seed: What its labels were drawn by.
        notes: How it was chosen, where nobody named it.
    """

    plan_id: str
    name: str
    labelers: dict[str, str]
    margin: float
    each: str
    level: float
    seed: int
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Stratum:
    """What is known of one stratum.

    Attributes:
        labeler_id: Who is judged.
        task: The task.
        target: The finding; `*` for all diseases.
        status: What the labels say.
        population: Labels that there are.
        drawn: Those that were drawn.
        truths: Status to the number of counted labels of which reviewers said it.
        skipped: Drawn ones that were skipped.
        open: Drawn ones that nobody reviewed yet.
        waiting: Reviewed ones that count once those before them are reviewed.
    """

    labeler_id: str
    task: str
    target: str
    status: str
    population: int
    drawn: int
    truths: dict[str, int] = field(default_factory=dict)
    skipped: int = 0
    open: int = 0
    waiting: int = 0

    @property
    def counted(self) -> int:
        """Reviewed labels on which the estimate stands."""
        return sum(self.truths.values())

    @property
    def wrong(self) -> Counted:
        """How many of the counted labels have another status than reviewers said."""
        return Counted(self.population, self.counted, self.counted - self.truths.get(self.status, 0))

    @property
    def missed(self) -> Counted:
        """How many of the counted labels are of something that is present."""
        return Counted(self.population, self.counted, self.truths.get("present", 0))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the reviews of a plan are; in targets, of which one may stand for several labelers' labels.

    Attributes:
        drawn: Targets that were drawn.
        reviewed: Those with a status.
        skipped: Those without one, which a reviewer skipped.
        conflicts: Those of which reviewers say different things.
        unplanned: Those with a status, of which no plan was the reason.
        imported: Open ones that have a curated label which no review gave.
        reviewers: Names of who reviewed.
    """

    drawn: int
    reviewed: int
    skipped: int
    conflicts: int
    unplanned: int
    imported: int
    reviewers: tuple[str, ...]

    @property
    def open(self) -> int:
        """Targets that are still to review."""
        return self.drawn - self.reviewed - self.skipped


def find_plan(connection: duckdb.DuckDBPyConnection, plan: str | None = None) -> Plan:
    """Read a plan.

    Args:
        connection: A store or a snapshot.
        plan: Its name, its id or the beginning of that; the newest when left out.

    Raises:
        StoreError: There is none, or more than one is named so.
    """
    rows = connection.execute(
        "SELECT plan_id, name, labeler_ids, margin, level, seed, config FROM audit_plans "
        "ORDER BY created_at DESC, plan_id"
    ).fetchall()
    if not rows:
        raise StoreError("this store has no audit plan", "make one: `teachback audit plan --help`")
    found = [row for row in rows if plan is None or row[1] == plan]
    found = found or [row for row in rows if plan and row[0].startswith(plan)]
    if not found or (plan is not None and len(found) > 1):
        known = ", ".join(f"{row[1]} ({row[0]})" for row in found or rows)
        raise StoreError(f"{'several plans are' if found else 'no plan is'} named {plan!r}", f"name one of: {known}")
    plan_id, name, ids, margin, level, seed, config = found[0]
    settings = json.loads(config or "{}")
    names = {one["labeler_id"]: one["name"] for one in settings.get("labelers", [])}
    others = ", ".join(row[1] for row in found[1:])
    notes = (f"this is the newest plan; others: {others}",) if others else ()
    labelers = {key: names.get(key, key) for key in ids}
    return Plan(plan_id, name, labelers, margin, settings.get("each", "finding"), level, seed, notes)


def fetch_progress(connection: duckdb.DuckDBPyConnection, plan: Plan, *, all_curated: bool = False) -> Progress:
    """Collect what reviewers said of the drawn targets, in the temporary table `plan_verdicts`, and count it.

    Several reviewers' latest status counts.

    Args:
        connection: A store or a snapshot.
        plan: The plan.
        all_curated: Count curated labels too that no review gave, such as imported ones.
    """
    within = "" if all_curated else "SEMI JOIN reviewed USING (labeler_id, report_id, task, target)"
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE plan_verdicts AS
        WITH drawn AS (SELECT DISTINCT report_id, task, target FROM audit_items WHERE plan_id = $plan),
        steps AS (
            SELECT r.* FROM reviews r ANTI JOIN (FROM reviews WHERE "action" = 'undo') u ON u.undoes = r.review_id
        ),
        reviewed AS (FROM steps WHERE "action" = 'set'),
        planned AS (FROM reviewed WHERE plan_id IS NOT NULL),
        said AS (
            SELECT report_id, task, target, count(DISTINCT status) > 1 AS conflict,
                list(DISTINCT reviewer) AS reviewers, first(status ORDER BY decided_at DESC, label_id) AS status
            FROM human_labels SEMI JOIN drawn USING (report_id, task, target) {within}
            GROUP BY ALL
        ),
        skipped AS (FROM steps WHERE "action" = 'skip')
        SELECT d.*, s.status, coalesce(s.conflict, false) AS conflict, s.reviewers,
            EXISTS (
                FROM planned p WHERE (p.report_id, p.task, p.target) = (d.report_id, d.task, d.target)) AS planned,
            s.status IS NULL AND EXISTS (
                FROM skipped k WHERE k.report_id = d.report_id
                AND (k.target IS NULL OR (k.task = d.task AND k.target = d.target))) AS skipped
        FROM drawn d LEFT JOIN said s USING (report_id, task, target)
        """,
        {"plan": plan.plan_id},
    )
    counted = connection.execute(
        "SELECT count(*), count(status), count(*) FILTER (skipped), count(*) FILTER (conflict), "
        "count(*) FILTER (status IS NOT NULL AND NOT planned), "
        "list_sort(list_distinct(coalesce(flatten(list(reviewers) FILTER (reviewers IS NOT NULL)), []))) "
        "FROM plan_verdicts"
    ).fetchone()
    imported = connection.execute(
        "SELECT count(*) FROM plan_verdicts v SEMI JOIN curated_labels USING (report_id, task, target) "
        "WHERE v.status IS NULL AND NOT v.skipped"
    ).fetchone()
    drawn, reviewed, skipped, conflicts, unplanned, reviewers = counted or (0, 0, 0, 0, 0, [])
    return Progress(
        drawn=drawn,
        reviewed=reviewed,
        skipped=skipped,
        conflicts=conflicts,
        unplanned=unplanned,
        imported=imported[0] if imported else 0,
        reviewers=tuple(reviewers),
    )


def fetch_strata(connection: duckdb.DuckDBPyConnection, plan: Plan, *, any_order: bool = False) -> list[Stratum]:
    """Read the strata of a plan with what was said of their labels; after `fetch_progress`.

    Args:
        connection: The same connection.
        plan: The plan.
        any_order: Count labels too that were decided before their turn.
    """
    rows = connection.execute(
        "SELECT stratum, labeler_id, task, target, status, population, drawn FROM audit_strata WHERE plan_id = ?",
        [plan.plan_id],
    ).fetchall()
    strata = {name: Stratum(*columns) for name, *columns in rows}
    drawn = connection.execute(
        "SELECT stratum, v.status, v.skipped, v.planned FROM audit_items "
        "JOIN plan_verdicts v USING (report_id, task, target) "
        f"WHERE plan_id = ? ORDER BY stratum, {random_number(plan.seed)}, label_id",
        [plan.plan_id],
    ).fetchall()
    for name, entries in groupby(drawn, key=lambda entry: entry[0]):
        _count(strata[name], entries, any_order)
    labelers = list(plan.labelers)
    return sorted(strata.values(), key=lambda stratum: _order(stratum, labelers))


def _count(stratum: Stratum, drawn: Iterable[_Drawn], any_order: bool) -> None:
    """Count a stratum's labels, in their random order."""
    counted: list[tuple[str, bool]] = []
    for _, truth, skipped, planned in drawn:
        if truth is not None and stratum.open and not any_order:
            stratum.waiting += 1
        elif truth is not None:
            counted.append((truth, planned))
        elif skipped:
            stratum.skipped += 1
        else:
            stratum.open += 1
    while counted and stratum.open and not any_order and not counted[-1][1]:
        counted.pop()
        stratum.waiting += 1
    stratum.truths = dict(Counter(truth for truth, _ in counted))


def _order(stratum: Stratum, labelers: list[str]) -> tuple[int, str, int, str, int]:
    finding = FINDINGS.index(stratum.target) if stratum.target in FINDINGS else len(FINDINGS)
    labeler, status = labelers.index(stratum.labeler_id), [str(status) for status in STATUSES].index(stratum.status)
    return labeler, stratum.task, finding, stratum.target, status
