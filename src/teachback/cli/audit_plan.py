"""`teachback audit plan` and `teachback audit estimate`: which labels to review, and what the reviews say."""

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from teachback.store.review.planned import PlanSettings

__all__ = ["estimate", "plan"]

WHO, WHICH, HOW = "Who is judged", "Which labels", "How exactly"
EACH = ("finding", "labeler")
ALLOCATIONS = ("proportional", "even", "neyman")

StoreArgument = Annotated[Path, typer.Argument(help="The store, a .duckdb file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def plan(
    store: StoreArgument,
    precision: Annotated[
        float, typer.Option(help="Share of labels that you expect to be right.", rich_help_panel=HOW)
    ] = 0.95,
    margin: Annotated[
        float,
        typer.Option(help="How far an error rate may be off: half its interval's width.", rich_help_panel=HOW),
    ] = 0.02,
    level: Annotated[float, typer.Option(help="Coverage of the intervals.", rich_help_panel=HOW)] = 0.95,
    each: Annotated[
        str,
        typer.Option(
            help="What is to be that exact: each labeler's error rate of every finding (finding), or over all findings "
            "(labeler); always for each status by itself.",
            rich_help_panel=HOW,
        ),
    ] = "finding",
    allocation: Annotated[
        str,
        typer.Option(
            help="With --each labeler, how labels are divided among findings: by their number (proportional), the same "
            "for each (even), or more where curated labels show errors (neyman).",
            rich_help_panel=HOW,
        ),
    ] = "proportional",
    max_labels: Annotated[
        int | None, typer.Option(help="Most reviews; the margin then is what they allow.", rich_help_panel=HOW)
    ] = None,
    labelers: Annotated[
        str | None,
        typer.Option(
            help="Labelers by name or id, with commas. Default: those of the newest teacher.", rich_help_panel=WHO
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(help="Judge a teacher's own labels instead: its id, or newest.", rich_help_panel=WHO),
    ] = None,
    task: Annotated[str, typer.Option(help="findings or diseases.", rich_help_panel=WHICH)] = "findings",
    split: Annotated[
        list[str] | None, typer.Option(help="Only this split; may be given again.", rich_help_panel=WHICH)
    ] = None,
    corpus: Annotated[
        list[str] | None, typer.Option(help="Only this corpus; may be given again.", rich_help_panel=WHICH)
    ] = None,
    finding: Annotated[
        list[str] | None, typer.Option(help="Only this finding; may be given again.", rich_help_panel=WHICH)
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(help="Only labels of this status; may be given again.", rich_help_panel=WHICH),
    ] = None,
    seed: Annotated[int, typer.Option(help="What the labels are drawn by.", min=0)] = 0,
    name: Annotated[str | None, typer.Option(help="What to call the plan. Default: audit-1 and so on.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many and how long; write nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say how many labels to review so that each labeler's error rate is known within a margin, and draw them.

    Reads the newest snapshot. Labels are drawn at random from each labeler's labels of each finding and status: what
    is present hides among `absent` and `unmentioned`. Labelers share reviews where they label the same target. The
    numbers hold for finite stores and for the interval that `audit estimate` gives.

    Example: teachback audit plan labels.duckdb --precision 0.95 --margin 0.02 --each labeler
    """
    from teachback.cli.choices import one_of
    from teachback.store.label import FINDINGS, STATUSES, TASKS
    from teachback.store.review.judged import Selection
    from teachback.store.review.planned import Allocation, Each, PlanSettings
    from teachback.store.splits import SPLITS

    selection = Selection(
        tasks=(one_of("--task", task, TASKS),),
        splits=tuple(one_of("--split", one, SPLITS) for one in split or ()),
        corpora=tuple(corpus or ()),
        targets=tuple(one_of("--finding", one, FINDINGS) for one in finding or ()),
        statuses=tuple(one_of("--status", one, STATUSES) for one in status or ()),
    )
    settings = PlanSettings(
        precision=precision,
        margin=margin,
        level=level,
        each=cast("Each", one_of("--each", each, EACH)),
        allocation=cast("Allocation", one_of("--allocation", allocation, ALLOCATIONS)),
        seed=seed,
        max_labels=max_labels,
        selection=selection,
    )
    wanted = [one.strip() for one in (labelers or "").split(",") if one.strip()]
    _plan(store, settings, wanted, teacher, name, dry_run, as_json)


def estimate(
    store: StoreArgument,
    plan: Annotated[
        str | None, typer.Argument(help="The plan's name or id. Default: the newest.", show_default=False)
    ] = None,
    per_finding: Annotated[bool, typer.Option("--per-finding", help="Also a table by finding.")] = False,
    all_curated: Annotated[
        bool,
        typer.Option("--all-curated", help="Count curated labels that no review gave, such as imported ones; biased."),
    ] = False,
    any_order: Annotated[
        bool, typer.Option("--any-order", help="Count decisions that were made before their turn; biased.")
    ] = False,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all rates as CSV.")] = False,
) -> None:
    """Say how often each labeler of a plan is wrong, from what was reviewed so far, with intervals.

    Reads the newest snapshot, so it works while reviewers go on. Each rate is weighted for how its labels were drawn.

    Example: teachback audit estimate labels.duckdb audit-1 --per-finding
    """
    from teachback.cli.audit_outcome import print_estimate
    from teachback.cli.snapshot_age import age_in_words
    from teachback.errors import SettingError
    from teachback.store.database import open_snapshot
    from teachback.store.review.estimate import estimate_errors

    if as_json and as_csv:
        raise SettingError("--json and --csv are both given", "give one of them")
    connection, age = open_snapshot(store)
    with connection:
        found = estimate_errors(connection, plan, all_curated=all_curated, any_order=any_order)
    print(f"snapshot of {store}, {age_in_words(age)} old", file=sys.stderr)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
    elif as_csv:
        rows = [rate.as_dict() for rate in found.rates]
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        for note in found.notes:
            print(f"note: {note}", file=sys.stderr)
    else:
        print_estimate(store, found, per_finding)


def _plan(
    store: Path,
    settings: "PlanSettings",
    labelers: list[str],
    teacher: str | None,
    name: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    from teachback.cli.audit_outcome import print_plan
    from teachback.cli.snapshot_age import age_in_words
    from teachback.store.database import open_snapshot
    from teachback.store.review.plan import make_plan, over_all_findings, write_plan

    connection, age = open_snapshot(store)
    with connection:
        made = make_plan(connection, settings, labelers, teacher, name)
        cheaper = over_all_findings(connection, made) if settings.each == "finding" else None
    print(f"snapshot of {store}, {age_in_words(age)} old", file=sys.stderr)
    written = None if dry_run else write_plan(store, made)
    if as_json:
        typer.echo(json.dumps({"written": written, "dry_run": dry_run} | made.as_dict(), indent=2))
    else:
        print_plan(store, made, cheaper, written)
