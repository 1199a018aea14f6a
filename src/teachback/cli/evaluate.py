"""`teachback evaluate`: how good labels are, in one table for each question."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from teachback.cli.snapshot_age import age_in_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from teachback.store.label import Status
    from teachback.store.quality.subjects import Compared

__all__ = ["evaluate"]

Table = Literal["standings", "pairs", "confusion", "calibration", "agreement", "drift", "rare", "diseases"]
# Tables in which it matters what an uncertain finding counts as.
_READS_POSITIVE = ("standings", "pairs", "confusion", "calibration", "rare")


def evaluate(
    store: Annotated[Path, typer.Argument(help="The store, a .duckdb file.")],
    table: Annotated[
        Table,
        typer.Option(
            help="standings: P, R, F1. pairs: each two, paired. confusion: statuses. calibration: is confidence right? "
            "agreement: alpha and kappa, no curated labels needed. drift: from round to round. rare: exact intervals. "
            "diseases: the open-ended lists.",
            show_choices=False,
            metavar="TABLE",
        ),
    ] = "standings",
    by: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="Standings in groups: finding, status, split, corpus, scope, round, or a slice such as sex or age.",
        ),
    ] = None,
    split: Annotated[
        Literal["gate", "test", "calibration", "train", "all"] | None,
        typer.Option(help="Which reports; gate if not given, all with `--by split` and for agreement and drift."),
    ] = None,
    corpus: Annotated[str | None, typer.Option(help="Only this corpus.")] = None,
    against: Annotated[
        str, typer.Option(help="`curated`, or the name of a labeler to compare the others with.")
    ] = "curated",
    only: Annotated[
        list[str] | None, typer.Option(metavar="LABELER", help="Only this labeler; may be repeated.")
    ] = None,
    uncertain: Annotated[
        Literal["negative", "positive"], typer.Option(help="What an uncertain finding counts as.")
    ] = "negative",
    common: Annotated[bool, typer.Option("--common", help="Only reports that all labelers labelled.")] = False,
    per_finding: Annotated[bool, typer.Option("--per-finding", help="Also each finding.")] = False,
    disagreements: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Also list N cells on which each labeler differs, with its evidence."),
    ] = 0,
    few: Annotated[int, typer.Option(min=1, help="Curated positives below which a finding is rare.")] = 59,
    bins: Annotated[int, typer.Option(min=2, max=100, help="Bins of confidence between 0 and 1.")] = 10,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Also draw the reliability of confidences.")
    ] = None,
    n_boot: Annotated[int, typer.Option(help="Bootstrap resamples, by subject.", min=0, max=100_000)] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the resamples.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Judge labelers, teachers and students against the curated labels, with 95 % intervals.

    Reads the newest snapshot, so it works while a run writes. Students are judged on `test` only when it is named.

    Example: teachback evaluate labels.duckdb --by sex --split all
    """
    from teachback.cli import evaluate_tables as tables
    from teachback.cli.evaluate_shown import Shown, show
    from teachback.cli.evaluate_standings import of_standings
    from teachback.errors import SettingError
    from teachback.store.database import open_snapshot

    if by is not None and table != "standings":
        raise SettingError(f"--by groups the standings, not {table}", f"leave out --by, or --table {table}")
    if plot is not None and table != "calibration":
        raise SettingError("--plot draws the calibration", "add --table calibration")
    everything = by == "split" or table in ("agreement", "drift")
    split = split or ("all" if everything else "gate")
    where = {"split": None if split == "all" else split, "corpus": corpus}
    boot: dict[str, Any] = {"n_boot": n_boot, "seed": seed}
    asked: dict[str, Any] = {"store": str(store), "split": split, "corpus": corpus, "table": table, "by": by}
    asked |= {"uncertain": uncertain}
    connection, age = open_snapshot(store)
    asked["snapshot_age_s"] = round(age, 1)

    def compared() -> Compared:
        from teachback.store.quality.subjects import fetch_compared

        positive: set[Status] = {"present"} if uncertain == "negative" else {"present", "uncertain"}
        return fetch_compared(connection, **where, against=against, only=only or (), common=common, positive=positive)

    def standings() -> Shown:
        if by is not None:
            return tables.of_groups(connection, compared(), by, boot)
        return of_standings(connection, compared(), disagreements, boot, per_finding=per_finding)

    questions: dict[Table, Callable[[], Shown]] = {
        "standings": standings,
        "pairs": lambda: tables.of_pairs(compared(), boot, per_finding=per_finding),
        "confusion": lambda: tables.of_confusion(compared(), per_finding=per_finding),
        "calibration": lambda: tables.of_calibration(connection, compared(), bins, boot, plot, per_finding=per_finding),
        "agreement": lambda: tables.of_agreement(connection, where, only or [], boot, per_finding=per_finding),
        "drift": lambda: tables.of_drift(connection, where, boot, per_finding=per_finding),
        "rare": lambda: tables.of_rare(compared(), few),
        "diseases": lambda: tables.of_diseases(connection, where, only or [], boot),
    }
    with connection:
        shown = questions[table]()
    if as_json:
        import json

        typer.echo(json.dumps(asked | shown.plain | {"notes": list(shown.notes)}, indent=2))
    else:
        counted = f", uncertain is {uncertain}" if table in _READS_POSITIVE else ""
        of = f", corpus {corpus}" if corpus else ""
        show(shown, f"split {split}{of}{counted}; snapshot is {age_in_words(age)} old")
