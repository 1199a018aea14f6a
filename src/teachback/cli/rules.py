"""`teachback rules`: the rule labeler by itself, on a table, on one sentence, or against other rules; no key."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from teachback.agents.rule_table import TableSummary
    from teachback.agents.rules import Mention, RuleSet
    from teachback.store.label import Evidence, Status
    from teachback.store.report import Report

__all__ = ["COLOURS", "app"]

app = typer.Typer(help="Label by rules alone, and see why.", no_args_is_help=True)

COLOURS = {"present": "bold red", "absent": "green", "uncertain": "yellow", "unmentioned": "dim"}
PACKAGED = "packaged"
_STATUS_WORDS = {"unmentioned": "not about this image"}

RulesOption = Annotated[
    Path | None,
    typer.Option("--rules", help="Folder with findings.yaml and cues.yaml; the package's own if not given."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def label(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN.csv",
            help="Columns report_id and text, or findings and impression; with --no-header the text alone.",
        ),
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT.csv", help="CheXpert's format: 1.0, 0.0, -1.0 or blank.")],
    scope: Annotated[
        str, typer.Option(help="Sections to read: full (findings + impression, else text), impression, mimic.")
    ] = "full",
    rules: RulesOption = None,
    no_header: Annotated[
        bool,
        typer.Option(
            "--no-header",
            help="IN.csv has no header and one column, a report a row, as chexpert-labeler reads it; ids are 0, 1, ...",
        ),
    ] = False,
    layout: Annotated[
        str,
        typer.Option(
            "--format",
            help="Before the 14 observations: teachback writes report_id; chexpert-labeler writes Reports, the text.",
        ),
    ] = "teachback",
    force: Annotated[bool, typer.Option("--force", help="Replace OUT.csv if it is there.")] = False,
    json_out: JsonOption = False,
) -> None:
    """Label a table of reports into CheXpert's format. CSV, TSV, JSONL (.gz allowed) and Parquet are read.

    Example: teachback rules label reports.csv labels.csv --scope impression
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from teachback.agents.rule_labeler import RuleLabeler
    from teachback.agents.rule_table import LAYOUTS, label_table
    from teachback.agents.rules import RuleSet
    from teachback.cli.choices import one_of
    from teachback.errors import SettingError
    from teachback.store.report import SCOPES

    labeler = RuleLabeler(one_of("--scope", scope, SCOPES), RuleSet.load(rules))
    written = one_of("--format", layout, LAYOUTS)
    if no_header and scope == "impression":
        raise SettingError("--scope impression reads no text without sections, as of --no-header", "drop --scope")
    _check_target(source, target, force)
    with Progress(
        SpinnerColumn(),
        TextColumn("labelling, {task.completed:,.0f} reports"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        bar = progress.add_task("labelling", total=None)
        summary = label_table(
            source,
            target,
            labeler,
            lambda count: progress.update(bar, completed=count),
            header=not no_header,
            layout=written,
        )
    if json_out:
        _print_json(summary, target, labeler.spec.version, scope)
    else:
        _tell(Console(highlight=False), summary, target, labeler.spec.version, scope)


@app.command()
def explain(
    text: Annotated[str, typer.Argument(help="A sentence, or a whole report.")],
    rules: RulesOption = None,
    json_out: JsonOption = False,
) -> None:
    """Show what the rules find in a sentence: mentions, the cue and rule that decided, and the verdict.

    Example: teachback rules explain "No pneumothorax, but a small effusion cannot be excluded."
    """
    from rich.console import Console

    from teachback.agents.rules import RuleEngine, RuleSet

    engine = RuleEngine(RuleSet.load(rules))
    mentions = engine.mentions("text", text)
    verdicts = engine.label_sections([("text", text)])
    if json_out:
        import json

        from msgspec import to_builtins

        shown = {
            "version": engine.ruleset.version,
            "mentions": to_builtins(mentions),
            "verdict": {finding: status for finding, (status, _) in verdicts.items()},
        }
        typer.echo(json.dumps(shown, indent=2))
        return
    _show(Console(highlight=False), text, mentions, verdicts)


@app.command()
def diff(
    old: Annotated[
        str, typer.Argument(help="Folder with findings.yaml and cues.yaml, or `packaged`: the package's own rules.")
    ],
    new: Annotated[str, typer.Argument(help="Likewise, the rules to compare with them.")],
    store: Annotated[Path, typer.Argument(help="The store that holds the reports.")],
    scope: Annotated[str, typer.Option(help="Sections to read: full, impression or mimic.")] = "full",
    corpus: Annotated[str | None, typer.Option(help="Only this corpus.")] = None,
    examples: Annotated[int, typer.Option(min=0, help="Most examples to show of each finding.")] = 3,
    json_out: JsonOption = False,
) -> None:
    """Show which labels flip from one rule set to another on a store's reports; nothing is written.

    Example: teachback rules diff packaged my-rules labels.duckdb
    """
    import json

    from rich.console import Console

    from teachback.agents.rule_diff import diff_rules
    from teachback.agents.rule_labeler import RuleLabeler
    from teachback.cli.choices import one_of
    from teachback.cli.rules_diff_outcome import diff_json, print_diff, progress_bar
    from teachback.store.report import SCOPES

    read = one_of("--scope", scope, SCOPES)
    before, after = (RuleLabeler(read, _ruleset(name)) for name in (old, new))
    asked: dict[str, Any] = {
        "old": {"rules": old, "version": before.spec.version},
        "new": {"rules": new, "version": after.spec.version},
    }
    if before.spec.version == after.spec.version:
        same = f"{old} and {new} are the same rules (version {before.spec.version}): no label flips"
        typer.echo(json.dumps(asked | {"same": True}, indent=2) if json_out else same)
        return
    reports, age = _stored_reports(store, corpus)
    asked |= {"same": False, "store": str(store), "snapshot_age_s": round(age, 1), "scope": scope, "corpus": corpus}
    with progress_bar() as bar:
        found = diff_rules(bar.track(reports), before, after, examples)
    if json_out:
        typer.echo(json.dumps(asked | diff_json(found), indent=2))
    else:
        print_diff(Console(highlight=False), asked, found)


def _ruleset(name: str) -> "RuleSet":
    from teachback.agents.rules import RuleSet

    return RuleSet.load(None if name == PACKAGED else Path(name))


def _stored_reports(store: Path, corpus: str | None) -> "tuple[list[Report], float]":
    """Return a store's reports, and the age of the snapshot they are read from in seconds."""
    from teachback.errors import SettingError
    from teachback.store.database import open_snapshot
    from teachback.store.rows import fetch_reports

    connection, age = open_snapshot(store)
    with connection:
        reports = fetch_reports(connection, "corpus = $corpus OR $corpus IS NULL", {"corpus": corpus})
    if not reports:
        of_corpus = f" of corpus {corpus}" if corpus else ""
        raise SettingError(f"{store} holds no report{of_corpus}", "import reports, or name another --corpus")
    return reports, age


def _check_target(source: Path, target: Path, force: bool) -> None:
    from teachback.errors import InputError

    if target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"{target} is the input itself", "name another file for the labels")
    if target.exists() and not force:
        raise InputError(f"{target} is already there", "name another file, or add --force to replace it")


def _show(
    console: "Console",
    text: str,
    mentions: "list[Mention]",
    verdicts: "dict[str, tuple[Status, tuple[Evidence, ...]]]",
) -> None:
    from rich.table import Table
    from rich.text import Text

    coloured = Text(text)
    for mention in mentions:
        coloured.stylize(COLOURS[mention.status], mention.start, mention.end)
    console.print(coloured)
    console.print()
    if not mentions:
        console.print("no mention of any finding")
        return
    table = Table("finding", "mention", "status", "cue", "rule", box=None, pad_edge=False, header_style="bold")
    for mention in mentions:
        status = Text(_STATUS_WORDS.get(mention.status, mention.status), style=COLOURS[mention.status])
        table.add_row(
            mention.finding,
            Text(f"{mention.start}-{mention.end} {mention.quote}"),
            status,
            Text(mention.cue),
            mention.rule,
        )
    console.print(table)
    console.print()
    verdict = Table("verdict", "status", "CheXpert", box=None, pad_edge=False, header_style="bold")
    from teachback.store.label import to_chexpert

    for finding, (status_word, _) in verdicts.items():
        if status_word != "unmentioned":
            verdict.add_row(finding, Text(status_word, style=COLOURS[status_word]), str(to_chexpert(status_word)))
    console.print(verdict)
    blank = sum(status_word == "unmentioned" for status_word, _ in verdicts.values())
    console.print(f"the other {blank} are unmentioned (blank)", style="dim")


def _tell(console: "Console", summary: "TableSummary", target: Path, version: str, scope: str) -> None:
    from rich.table import Table

    table = Table("observation", "present", "of reports", box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, count in summary.present.most_common():
        table.add_row(name, f"{count:,}", f"{count / summary.reports:.1%}")
    console.print(table)
    console.print(
        f"\n{summary.reports:,} reports -> {target} (scope {scope}, rules {version}) "
        f"in {summary.seconds:.1f} s, {summary.reports_per_second:,.0f} reports/s",
        markup=False,
        soft_wrap=True,
    )
    if summary.without_text:
        console.print(f"{summary.without_text:,} of them have no text in scope {scope}: their labels are blank")
    for reason, count in summary.skipped.most_common():
        console.print(f"{count:,} rows skipped: {reason}", markup=False, soft_wrap=True)
    for row, why in summary.first_skipped:
        console.print(f"  row {row}: {why}", markup=False, soft_wrap=True)


def _print_json(summary: "TableSummary", target: Path, version: str, scope: str) -> None:
    import json

    shown = {
        "out": str(target),
        "scope": scope,
        "version": version,
        "reports": summary.reports,
        "without_text": summary.without_text,
        "skipped": dict(summary.skipped),
        "present": dict(summary.present),
        "seconds": round(summary.seconds, 3),
        "reports_per_second": round(summary.reports_per_second, 1),
    }
    typer.echo(json.dumps(shown, indent=2))
