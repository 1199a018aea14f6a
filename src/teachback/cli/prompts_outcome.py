"""How `teachback prompts` shows prompts, their faults, their differences, and one answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from teachback.agents.workbench.flipped import Span, cut
from teachback.agents.workbench.prompt_diff import DiffLine, PromptDiff
from teachback.agents.workbench.shelf import PromptFile
from teachback.agents.workbench.trial import Rendering, Trial
from teachback.agents.workbench.words import as_usd
from teachback.cli.rules import COLOURS
from teachback.prompts import LintMessage, PromptListing, load_prompt
from teachback.store.label import Evidence, Label

__all__ = ["listing_json", "print_diff", "print_lint", "print_listing", "print_messages", "print_trial", "quoted"]

SHORT_ID = 12  # characters of a prompt's id that tell prompts apart
MOST_OTHERS = 3  # labelers that are shown beside one answer
_MIN_WIDTH = 118  # narrower than this, the columns would wrap; a pipe has no width of its own
_MARKS = {"removed": ("-", "red"), "added": ("+", "green"), "same": (" ", "dim")}


def print_listing(console: Console, listing: Sequence[PromptListing]) -> None:
    """Print which prompts there are."""
    console.width = max(console.width, _MIN_WIDTH)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("role", "name", "tasks", "schema", "examples", "id"):
        table.add_column(name, no_wrap=True)
    table.add_column("note", overflow="fold")
    for each in listing:
        told = listing_json(each)
        # Which variables a body uses is for who edits it; `show` tells it, and the sampling parameters.
        about = Text(each.problem, "red") if each.problem else Text(each.note.partition(" Variables - ")[0])
        cells = (each.role, each.name, ", ".join(each.tasks), each.schema or "", told["examples"] or "")
        table.add_row(*map(Text, cells), Text(each.prompt_id[:SHORT_ID]), about)
    console.print(table)
    console.print("prompts of your own: a folder in TEACHBACK_PROMPTS, or a path instead of a name", style="dim")


def listing_json(listing: PromptListing) -> dict[str, Any]:
    """Return one prompt of the list as JSON-ready values."""
    parameters: Mapping[str, Any] = {}
    if not listing.problem:
        parameters = load_prompt(listing.role, str(listing.path)).parameters
    shown = listing.examples
    return {
        "role": listing.role,
        "name": listing.name,
        "path": str(listing.path),
        "tasks": list(listing.tasks),
        "schema": listing.schema,
        "examples": f"{shown.count} {shown.source}" if shown else None,
        "parameters": dict(parameters),
        "prompt_id": listing.prompt_id or None,
        "note": listing.note,
        "problem": listing.problem or None,
    }


def print_messages(console: Console, rendered: Rendering) -> None:
    """Print the messages that would be sent."""
    for message in rendered.messages:
        console.print(Text(f"── {message['role']} ", style="bold cyan"))
        console.print(Text(message["content"]), soft_wrap=True)
    console.print(Text(f"── {rendered.tokens:,} tokens with the form ({rendered.counted_by})", style="bold cyan"))


def print_lint(console: Console, checked: Sequence[tuple[PromptFile, Sequence[LintMessage]]]) -> None:
    """Print what is wrong or doubtful."""
    errors = warnings = 0
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("where", "", "what", "what to do"):
        table.add_column(name, overflow="fold")
    for file, messages in checked:
        for message in messages:
            is_error = message.severity == "error"
            errors, warnings = errors + is_error, warnings + (not is_error)
            severity = Text(message.severity, "bold red" if is_error else "yellow")
            table.add_row(Text(f"{file.path}:{message.line}"), severity, Text(message.message), Text(message.remedy))
    if errors or warnings:
        console.print(table)
    console.print(f"{len(checked):,} prompts, {errors:,} errors, {warnings:,} warnings")


def print_diff(console: Console, a: str, b: str, diff: PromptDiff) -> None:
    """Print how two prompts differ."""
    console.print(Text.assemble(("--- ", "red"), (a, "bold red"), "   ", ("+++ ", "green"), (b, "bold green")))
    if diff.is_empty:
        console.print("They say the same.")
    if diff.settings:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        for name in ("setting", "A", "B"):
            table.add_column(name, overflow="fold")
        for change in diff.settings:
            sides = (
                Text(side if side is not None else "not set", style if side is not None else "dim")
                for side, style in ((change.a, "red"), (change.b, "green"))
            )
            table.add_row(Text(change.name), *sides)
        console.print(table)
    if diff.pool:
        console.print("Their pools of examples differ.")
    for hunk in diff.hunks:
        console.print(Text(f"@@ line {hunk.first_a} of A, line {hunk.first_b} of B", style="cyan"))
        for line in hunk.lines:
            console.print(_diff_line(line))


def print_trial(console: Console, trial: Trial) -> None:
    """Print one answer: the report with its evidence, the labels beside what others say, and what it took."""
    console.width = max(console.width, _MIN_WIDTH)
    console.print(Text.assemble((trial.report.report_id, "bold"), f", shown {trial.scope}, to ", trial.prompt.name))
    for name, text in trial.report.scoped(trial.scope):
        console.print(Text(name.upper(), style="bold dim"))
        console.print(Padding.indent(_marked(name, text, trial.labels), 2))
    if not trial.labels:
        console.print("The report has no section of this scope, so nothing was asked.")
        return
    console.print(_findings_table(trial))
    if len(trial.others) > MOST_OTHERS:
        console.print(f"{len(trial.others) - MOST_OTHERS} more labelers: --json shows them all", style="dim")
    if trial.withheld:
        console.print(f"Curated labels are not shown: the report is in {trial.withheld}.", style="yellow")
    diseases = [label for label in trial.labels if label.task == "diseases"]
    if diseases:
        console.print(_diseases_table(diseases))
    if trial.call:
        cost, seconds = as_usd(trial.call.cost_usd), trial.call.latency_ms / 1000
        tokens = f"{trial.call.prompt_tokens or 0:,} tokens in, {trial.call.completion_tokens or 0:,} out"
        source = "from the store, no call" if trial.from_store else "1 call, now stored"
        console.print(f"{trial.call.model}: {tokens}, {cost}, {seconds:.1f} s; {source}")


def quoted(evidence: Sequence[Evidence]) -> Text:
    """Return the quotes that a label rests on, on one line; what is not in the report is said so."""
    parts = Text()
    for span in evidence:
        parts.append(f'{" … " if parts else ""}"{" ".join(span.quote.split())}"')
        if not span.grounded:
            parts.append(" (not in the report)", style="bold red")
    return parts


def _findings_table(trial: Trial) -> Table:
    opinions = [*([trial.curated] if trial.curated else []), *trial.others[-MOST_OTHERS:]]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("finding", "status", "sure", "evidence"):
        table.add_column(name, overflow="fold", justify="right" if name == "sure" else "left")
    for opinion in opinions:
        table.add_column(Text(opinion.name), overflow="fold")
    for label in trial.labels:
        if label.task != "findings":
            continue
        others = [opinion.statuses.get(label.target) for opinion in opinions]
        table.add_row(
            label.target,
            _status(label.status),
            "" if label.confidence is None else f"{label.confidence:.0%}",
            quoted(label.evidence),
            *(Text("") if other is None else _status(other) for other in others),
        )
    return table


def _diseases_table(diseases: Sequence[Label]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("disease", "ICD-10-CM", "code", "evidence"):
        table.add_column(name, overflow="fold")
    for label in diseases:
        check = label.icd10_check or ""
        style = "red" if check == "unknown" else "yellow" if check == "category" else ""
        table.add_row(Text(label.target), Text(label.icd10 or ""), Text(check, style), quoted(label.evidence))
    return table


def _marked(section: str, text: str, labels: Sequence[Label]) -> Text:
    spans = [
        Span(evidence.start, evidence.end, label.status, label.target)
        for label in labels
        for evidence in label.evidence
        if evidence.grounded and evidence.section == section
    ]
    marked = Text()
    for segment in cut(text, spans):
        statuses = [span.side for span in segment.spans]
        status = next((each for each in ("present", "uncertain", "absent") if each in statuses), None)
        marked.append(segment.text, style=f"underline {COLOURS[status]}" if status else "")
    return marked


def _diff_line(line: DiffLine) -> Text:
    sign, colour = _MARKS[line.place]
    shown = Text(f"{line.number:>4} {sign} ", style=colour)
    for word in line.words:
        changed = word.changed and line.place != "same"
        shown.append(word.text, style=f"bold reverse {colour}" if changed else colour)
    return shown


def _status(status: str) -> Text:
    return Text(status, style=COLOURS[status])
