"""How `teachback audit plan` and `teachback audit estimate` show what they found."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from rich.console import Console
from rich.table import Table
from rich.text import Text

from teachback.store.label import FINDINGS, STATUSES
from teachback.store.review.estimate import ALL, NOT_THERE, AuditEstimate, ErrorRate
from teachback.store.review.judged import ANY_TARGET
from teachback.store.review.planned import AuditPlan, PlannedStratum

__all__ = ["print_estimate", "print_plan"]

_MIN_WIDTH = 100  # columns that the tables need


def print_plan(store: Path, plan: AuditPlan, cheaper: AuditPlan | None, written: bool | None) -> None:
    """Print how many labels a plan drew, what reviewing them costs, and what to do next.

    Args:
        store: The store.
        plan: The plan.
        cheaper: The plan that has the same margin over all findings together, to compare with.
        written: Whether it is in the store; None where it was not to be written.
    """
    console = _console()
    console.print(Text(_aim(plan)))
    console.print()
    _print_findings(console, plan)
    _print_labelers(console, plan)
    console.print(Text(_cost(plan)))
    if cheaper and cheaper.reviews < plan.reviews:
        console.print(
            f"To know each labeler's rates within the same margin over all findings together takes "
            f"{cheaper.reviews:,} reviews, {_hours(cheaper)}: --each labeler. --max-labels N takes what time there is."
        )
    settings = plan.settings
    console.print(
        f"{plan.zero_errors:,} labels of a kind without one error show that fewer than {_points(settings.margin)} % of "
        f"all are wrong ({100 * settings.level:g} %, one-sided; by the rule of three {3 / settings.margin:,.0f}); of a "
        "small kind fewer do."
    )
    console.print()
    if written is None:
        console.print("Nothing was written (--dry-run).")
        return
    if not written:
        console.print(f"Another process holds {store}: the plan waits for it, and will be there in seconds.")
    where = quote(str(store))
    console.print("Next, and what was drawn stands first in the queue; then what follows from it, at any time:")
    console.print(Text(f"  teachback audit {where}"), soft_wrap=True)
    console.print(Text(f"  teachback audit estimate {where} {quote(plan.name)}"), soft_wrap=True)


def print_estimate(store: Path, found: AuditEstimate, per_finding: bool) -> None:
    """Print how often each labeler of a plan is wrong."""
    console = _console()
    plan, progress = found.plan, found.progress
    by = f" by {', '.join(progress.reviewers)}" if progress.reviewers else ""
    console.print(
        Text(
            f"{plan.name}: {progress.reviewed:,} of {progress.drawn:,} targets are reviewed{by}; {progress.open:,} are "
            f"open, {progress.skipped:,} skipped. Intervals are {100 * plan.level:g} %."
        )
    )
    if not any(rate.counted for rate in found.rates):
        console.print("Nothing can be estimated yet.")
    for labeler_id, task in dict.fromkeys((rate.labeler_id, rate.task) for rate in found.rates if rate.counted):
        rates = [rate for rate in found.rates if (rate.labeler_id, rate.task) == (labeler_id, task)]
        _print_labeler(console, [rate for rate in rates if rate.target == ALL])
        if per_finding and task == "findings":
            _print_by_finding(console, [rate for rate in rates if rate.target != ALL])
    console.print()
    for note in found.notes:
        console.print(Text(f"note: {note}"), style="dim")
    if progress.open:
        console.print(Text(f"To go on: teachback audit {quote(str(store))}"), soft_wrap=True)


def _aim(plan: AuditPlan) -> str:
    settings = plan.settings
    what = {"finding": "of every finding", "labeler": "over all findings"}[settings.each]
    names = ", ".join(one.name for one in plan.judged)
    margin = _points(settings.margin if settings.max_labels is None else max(plan.widest_margin, settings.margin))
    limit = "" if settings.max_labels is None else f" (at most {settings.max_labels:,} reviews)"
    return (
        f"{plan.name}: the error rates of {names} {what}, for each status, within {margin} points "
        f"({100 * settings.level:g} %){limit}, if {100 * settings.precision:g} % of the labels are right."
    )


def _print_findings(console: Console, plan: AuditPlan) -> None:
    strata: dict[str, dict[str, list[PlannedStratum]]] = defaultdict(lambda: defaultdict(list))
    for stratum in plan.strata:
        strata[stratum.target][stratum.status].append(stratum)
    places: dict[str, set[int]] = defaultdict(set)
    for item in plan.items:
        target = ANY_TARGET if item.task == "diseases" else item.target
        places[target].add(item.place)
    table = _table("to judge", *STATUSES, "labels", "reviews", "hours")
    for target in sorted(strata, key=lambda t: FINDINGS.index(t) if t in FINDINGS else len(FINDINGS)):
        here = strata[target]
        whole = [stratum for group in here.values() for stratum in group]
        hours = len(places[target]) * plan.pace.seconds / 3600
        name = "all diseases" if target == ANY_TARGET else target
        cells = (_drawn(here[status]) for status in STATUSES)
        table.add_row(name, *cells, _drawn_of(whole), f"{len(places[target]):,}", f"{hours:.1f}")
    if len(strata) > 1:
        by_status = ([s for s in plan.strata if s.status == status] for status in STATUSES)
        cells = (_drawn(group) for group in by_status)
        table.add_row("in all", *cells, _drawn_of(plan.strata), f"{plan.reviews:,}", f"{plan.hours:.1f}", style="bold")
    console.print(table)
    shared = "; one review judges several labelers' labels" if len(plan.judged) > 1 else ""
    console.print(f"labels to judge, and how many there are{shared}", style="dim")
    console.print()


def _print_labelers(console: Console, plan: AuditPlan) -> None:
    table = _table("labeler, all targets", *STATUSES)
    for one in plan.judged:
        cells = []
        for status in STATUSES:
            group = [s for s in plan.strata if s.labeler_id == one.labeler_id and s.status == status]
            cells.append(f"{_drawn_of(group)} ±{_points(plan.margin_of(group))}" if group else "-")
        table.add_row(Text(one.name), *cells)
    console.print(table)
    console.print("± points of the error rate over all targets, if it is as expected", style="dim")
    console.print()


def _cost(plan: AuditPlan) -> str:
    pace = plan.pace
    timed = f"as {pace.timed:,} timed decisions took" if pace.timed else "assumed, as few decisions were timed yet"
    shared = f" for {len(plan.items):,} labels" if len(plan.judged) > 1 else ""
    return f"{plan.reviews:,} reviews{shared}: {_hours(plan)} of work at {pace.seconds:.0f} s each ({timed})."


def _hours(plan: AuditPlan) -> str:
    if plan.hours < 2:
        return f"{60 * plan.hours:.0f} minutes"
    return f"{plan.hours:.1f} hours" if plan.hours < 10 else f"{plan.hours:,.0f} hours"


def _drawn(strata: Sequence[PlannedStratum]) -> str:
    return f"{sum(s.drawn for s in strata):,}" if strata else "-"


def _drawn_of(strata: Sequence[PlannedStratum]) -> str:
    if not strata:
        return "-"
    return f"{sum(s.drawn for s in strata):,}/{sum(s.population for s in strata):,}"


def _print_labeler(console: Console, rates: Sequence[ErrorRate]) -> None:
    console.print()
    console.print(Text(f"{rates[0].labeler}, {rates[0].task}", style="bold"))
    table = _table("says", "labels", "reviewed", "errors", "wrong", "interval")
    for rate in rates:
        says = {ALL: "anything", NOT_THERE: "absent or unmentioned, but is present"}.get(rate.status, rate.status)
        interval = f"{100 * rate.low:.1f} to {100 * rate.high:.1f} %"
        counts = (f"{rate.population:,}", f"{rate.counted:,}", f"{rate.errors:,}")
        table.add_row(says, *counts, _percent(rate.rate), interval)
    console.print(table)


def _print_by_finding(console: Console, rates: Sequence[ErrorRate]) -> None:
    table = _table("finding", "reviewed", "present: wrong", "not there: missed", "any: wrong")
    for target in dict.fromkeys(rate.target for rate in rates):
        of = {rate.status: rate for rate in rates if rate.target == target}
        cells = (_cell(of.get(status)) for status in ("present", NOT_THERE, ALL))
        table.add_row(target, f"{of[ALL].counted:,}", *cells)
    console.print()
    console.print(table)


def _cell(rate: ErrorRate | None) -> str:
    if rate is None:
        return "-"
    return f"{_percent(rate.rate)} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def _percent(rate: float) -> str:
    return "-" if rate != rate else f"{100 * rate:.1f} %"


def _points(share: float) -> str:
    return f"{100 * share:.1f}".removesuffix(".0")


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _console() -> Console:
    console = Console(highlight=False, markup=False)
    console.width = max(console.width, _MIN_WIDTH)
    return console
