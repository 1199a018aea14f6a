"""`teachback label`: the teacher graph over a store's reports."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from teachback.agents.assemble import TeacherSettings

__all__ = ["label"]

SOME_FAILED = 1
INTERRUPTED = 130  # what a shell reports for a command ended by Ctrl-C


def label(
    store: Annotated[Path, typer.Argument(help="The store that holds the reports.")],
    llm: Annotated[
        str | None,
        typer.Option(
            help="none, openai (any OpenAI-compatible endpoint) or stand-in. Default: openai when OPENAI_API_KEY or "
            "OPENAI_BASE_URL is set, else none."
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="The endpoint's model. Default: gpt-4o.")] = None,
    base_url: Annotated[str | None, typer.Option(help="The endpoint, instead of OPENAI_BASE_URL.")] = None,
    rule_scope: Annotated[str, typer.Option(help="What the rules read: impression, full or mimic.")] = "full",
    scope: Annotated[str, typer.Option(help="What the model and the adjudicator read.")] = "full",
    prompt: Annotated[str, typer.Option(help="Name of the LLM labeler's prompt.")] = "default",
    corpus: Annotated[str | None, typer.Option(help="Only this corpus.")] = None,
    split: Annotated[list[str] | None, typer.Option(help="Only this split; give it again for more.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N reports, in the seed's order.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Most requests at once.")] = 16,
    chunk: Annotated[
        int | None,
        typer.Option(
            min=1, help="Reports an invocation of the graph, and a commit.", show_default="200; rules alone 2000"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the order of the reports.")] = 0,
    allow_egress_to: Annotated[
        list[str] | None,
        typer.Option("--allow-egress-to", "--allow-egress", help="A host that may receive restricted reports."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Have the teacher graph label a store's reports; run it again to resume, or to retry what failed (exit code 1).

    Example: teachback label labels.duckdb --llm stand-in --limit 500
    """
    from rich.console import Console

    from teachback.agents.assemble import TeacherSettings, choose_llm, teach_store
    from teachback.agents.selection import Selection
    from teachback.agents.settings import LLMSettings
    from teachback.agents.stand_in import stand_in_settings
    from teachback.agents.teach import TeachConfig
    from teachback.cli.choices import one_of
    from teachback.cli.label_outcome import LabelBar, outcome_json, print_outcome
    from teachback.store.report import SCOPES
    from teachback.store.splits import SPLITS

    chosen = choose_llm(llm)
    allowed = frozenset(allow_egress_to or ())
    endpoint = LLMSettings.from_env(model=model, base_url=base_url, concurrency=concurrency, allow_egress_to=allowed)
    if chosen == "stand-in":
        endpoint = stand_in_settings(endpoint)
    rules_read, model_reads = one_of("--rule-scope", rule_scope, SCOPES), one_of("--scope", scope, SCOPES)
    settings = TeacherSettings(chosen, endpoint, rules_read, model_reads, labeler_prompt=prompt)
    splits = tuple(one_of("--split", name, SPLITS) for name in split or ())
    selection = Selection(corpus, splits, limit, seed)
    config = TeachConfig(selection, chunk, settings=_recorded(settings))
    console = Console(stderr=as_json)
    try:
        with LabelBar(console) as show:
            summary, tally = teach_store(store, settings, config, show)
    except KeyboardInterrupt:
        console.print("interrupted: what was finished is in the store; the same command goes on from there")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print(json.dumps(outcome_json(summary, tally), indent=2))
    else:
        print_outcome(console, store, summary, tally)
    if summary.failures:
        raise typer.Exit(SOME_FAILED)


def _recorded(settings: "TeacherSettings") -> dict[str, Any]:
    endpoint = settings.endpoint
    asked = {"model": endpoint.model, "base_url": endpoint.base_url, "concurrency": endpoint.concurrency}
    return {
        "llm": settings.llm,
        "rule_scope": settings.rule_scope,
        "scope": settings.scope,
        "labeler_prompt": settings.labeler_prompt,
        "adjudicator_prompt": settings.adjudicator_prompt,
        **(asked if settings.llm != "none" else {}),
    }
