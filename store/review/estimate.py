"""What the reviews of an audit plan say: how often each labeler is wrong, with intervals.

A label is wrong where a reviewer, who reads the whole report, gives another status. Each stratum (a labeler's labels of
one status of one finding) is a simple random sample by itself; over several strata each counts by its size, not by how
much of it was drawn. The intervals (`intervals`) are as wide as no error, or few reviews, make them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import duckdb

from teachback.store.label import STATUSES
from teachback.store.review.intervals import Interval, stratified_interval
from teachback.store.review.judged import ANY_TARGET
from teachback.store.review.verdicts import Plan, Progress, Stratum, fetch_progress, fetch_strata, find_plan

__all__ = ["ALL", "AuditEstimate", "ErrorRate", "estimate_errors"]

ALL = "all"  # in place of a finding or a status: all of them together
NOT_THERE = "absent or unmentioned"  # what a label says where a miss can hide
_SILENT = ("absent", "unmentioned")

Measure = Literal["wrong", "missed"]


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """How often a labeler errs.

    Attributes:
        labeler_id: Who.
        labeler: Its name.
        task: The task.
        target: The finding; `all` for all of them.
        status: What its labels say; `all`, or `absent or unmentioned`.
        measure: `wrong` where another status is right, `missed` where it is present.
        population: Such labels that there are.
        drawn: Those that were drawn.
        counted: Those that were reviewed, on which the rate stands.
        errors: Errors among these.
        rate: Estimated share of all such labels; NaN where nothing was reviewed.
        low: Lower limit.
        high: Upper limit.
        unseen: Share of all such labels whose stratum has no review yet; the limits allow for any rate there.
    """

    labeler_id: str
    labeler: str
    task: str
    target: str
    status: str
    measure: Measure
    population: int
    drawn: int
    counted: int
    errors: int
    rate: float
    low: float
    high: float
    unseen: float

    @property
    def interval(self) -> Interval:
        """The rate with its limits."""
        return Interval(self.rate, self.low, self.high)

    def as_dict(self) -> dict[str, Any]:
        """Return it JSON-ready; a rate that is not known is None."""
        return asdict(self) | {"rate": None if self.rate != self.rate else self.rate}


@dataclass(frozen=True, slots=True)
class AuditEstimate:
    """What the reviews of a plan say.

    Attributes:
        plan: The plan.
        progress: How far the reviews are.
        rates: For each labeler and task: all findings together, then each; each for all statuses, the statuses one by
            one, and what was missed.
        waiting: Labels that were decided before their turn and do not count yet.
        notes: What a reader must know.
    """

    plan: Plan
    progress: Progress
    rates: tuple[ErrorRate, ...]
    waiting: int
    notes: tuple[str, ...]

    def rate(
        self, labeler_id: str, status: str = ALL, target: str = ALL, measure: Measure = "wrong", task: str = "findings"
    ) -> ErrorRate | None:
        """Return one of the rates; None where the plan has no such labels."""
        wanted = (labeler_id, task, target, status, measure)
        found = (r for r in self.rates if (r.labeler_id, r.task, r.target, r.status, r.measure) == wanted)
        return next(found, None)

    def as_dict(self) -> dict[str, Any]:
        """Return everything, JSON-ready."""
        return {
            "plan": asdict(self.plan),
            "progress": asdict(self.progress) | {"open": self.progress.open},
            "waiting": self.waiting,
            "notes": list(self.notes),
            "rates": [rate.as_dict() for rate in self.rates],
        }


def estimate_errors(
    connection: duckdb.DuckDBPyConnection,
    plan: str | None = None,
    *,
    all_curated: bool = False,
    any_order: bool = False,
) -> AuditEstimate:
    """Estimate how often each labeler of a plan errs, from what was reviewed so far.

    Args:
        connection: A store or a snapshot.
        plan: The plan's name, its id or the beginning of that; the newest when left out.
        all_curated: Count curated labels too that no review gave, such as imported ones, in any order.
        any_order: Count labels too that were decided before their turn.

    Raises:
        StoreError: There is no such plan.
    """
    found = find_plan(connection, plan)
    progress = fetch_progress(connection, found, all_curated=all_curated)
    strata = fetch_strata(connection, found, any_order=any_order or all_curated)
    rates = [rate for target, group in _groups(strata) for rate in _rates(found, target, group)]
    waiting = sum(s.waiting for s in strata)
    notes = (
        *found.notes,
        *([] if progress.open else _wider_than_planned(found, rates)),
        *_notes(connection, found, progress, waiting, all_curated, any_order),
    )
    return AuditEstimate(found, progress, tuple(rates), waiting, notes)


def _groups(strata: Sequence[Stratum]) -> Iterator[tuple[str, list[Stratum]]]:
    """Yield each labeler's strata of a task, all of them first, and then finding by finding."""
    for labeler_id, task in dict.fromkeys((s.labeler_id, s.task) for s in strata):
        here = [s for s in strata if (s.labeler_id, s.task) == (labeler_id, task)]
        yield ALL, here
        for target in dict.fromkeys(s.target for s in here if s.target != ANY_TARGET):
            yield target, [s for s in here if s.target == target]


def _rates(plan: Plan, target: str, group: Sequence[Stratum]) -> Iterator[ErrorRate]:
    yield _rate(plan, group, target, ALL, "wrong")
    statuses = {s.status for s in group}
    for status in STATUSES:
        if status in statuses:
            yield _rate(plan, [s for s in group if s.status == status], target, status, "wrong")
    if silent := [s for s in group if s.status in _SILENT]:
        yield _rate(plan, silent, target, NOT_THERE, "missed")


def _rate(
    plan: Plan,
    strata: Sequence[Stratum],
    target: str,
    status: str,
    measure: Measure,
) -> ErrorRate:
    counts = [s.missed if measure == "missed" else s.wrong for s in strata]
    interval = stratified_interval(counts, plan.level)
    population = sum(s.population for s in strata)
    return ErrorRate(
        labeler_id=strata[0].labeler_id,
        labeler=plan.labelers.get(strata[0].labeler_id, strata[0].labeler_id),
        task=strata[0].task,
        target=target,
        status=status,
        measure=measure,
        population=population,
        drawn=sum(s.drawn for s in strata),
        counted=sum(s.counted for s in strata),
        errors=sum(int(count.wrong) for count in counts),
        rate=interval.value,
        low=interval.low,
        high=interval.high,
        unseen=sum(s.population for s in strata if not s.counted) / population,
    )


def _wider_than_planned(plan: Plan, rates: Sequence[ErrorRate]) -> Iterator[str]:
    planned = [r for r in rates if r.status in STATUSES and (r.target == ALL) == (plan.each == "labeler")]
    wide = sum(r.interval.half_width > plan.margin + 1e-9 for r in planned)
    if wide:
        yield (
            f"{wide:,} of {len(planned):,} intervals that were to be within {100 * plan.margin:g} points are wider, "
            "for more is wrong than expected, or was skipped: plan again with a lower --precision, and go on"
        )


def _notes(
    connection: duckdb.DuckDBPyConnection,
    plan: Plan,
    progress: Progress,
    waiting: int,
    all_curated: bool,
    any_order: bool,
) -> Iterator[str]:
    if all_curated:
        bias = "; which ones there are is no matter of chance, so the rates are biased" if progress.open else ""
        yield f"curated labels count that no review gave{bias}"
    elif progress.imported:
        yield f"{progress.imported:,} open targets have a curated label that no review gave; --all-curated counts it"
    if progress.unplanned and not all_curated:
        yield f"{progress.unplanned:,} targets were decided in other queues, and count in their turn"
    if any_order and progress.open:
        yield "labels count in whatever order they were reviewed: biased, if somebody chose what to review first"
    if waiting:
        yield (
            f"{waiting:,} labels were decided before their turn and count once those drawn before them are decided; "
            "--any-order counts them now"
        )
    if progress.skipped:
        yield f"{progress.skipped:,} targets were skipped and left out: what is hard to tell may be wrong more often"
    if progress.conflicts:
        yield f"reviewers differ on {progress.conflicts:,} targets: the latest decision counts"
    for name, scope in _narrow_scopes(connection, plan):
        yield f"{name} reads scope {scope}, a reviewer the whole report: what it does not read counts against it"


def _narrow_scopes(connection: duckdb.DuckDBPyConnection, plan: Plan) -> list[tuple[str, str]]:
    rows = connection.execute(
        "SELECT i.labeler_id, string_agg(DISTINCT l.scope, ', ' ORDER BY l.scope) "
        "FROM audit_items i JOIN labels l USING (label_id) WHERE i.plan_id = ? AND l.scope <> 'full' "
        "GROUP BY ALL ORDER BY ALL",
        [plan.plan_id],
    ).fetchall()
    return [(plan.labelers.get(labeler_id, labeler_id), scope) for labeler_id, scope in rows]
