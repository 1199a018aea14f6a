"""`teachback label`: the teacher graph over a store's reports."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from teachback.agents.assemble import TeacherSettings
    from teachback.agents.lineup import LabelerRef

__all__ = ["label"]

DEFAULT_PROMPT = "default"
SOME_FAILED = 1
INTERRUPTED = 130  # what a shell reports for a command ended by Ctrl-C

WHO, WHICH, FAST, COST = "Who labels", "Which reports", "How fast", "What it may cost"


def label(
    store: Annotated[Path, typer.Argument(help="The store that holds the reports.")],
    llm: Annotated[
        str | None,
        typer.Option(
            help="none, openai (any OpenAI-compatible endpoint) or stand-in. Default: openai when OPENAI_API_KEY or "
            "OPENAI_BASE_URL is set, else none.",
            rich_help_panel=WHO,
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The endpoint's model. Default: gpt-4o.", rich_help_panel=WHO)
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="The endpoint, instead of OPENAI_BASE_URL.", rich_help_panel=WHO)
    ] = None,
    prompt: Annotated[
        str, typer.Option(help="The LLM labeler's prompt: a name, or a file.", rich_help_panel=WHO)
    ] = DEFAULT_PROMPT,
    labelers: Annotated[
        str | None,
        typer.Option(
            help="Who votes, by commas: rule, llm, llm:MODEL, llm:ENDPOINT@PROMPT. Default: rule, llm if there is one.",
            rich_help_panel=WHO,
        ),
    ] = None,
    ensemble: Annotated[
        str | None,
        typer.Option(
            help="high-recall: five recall-leaning prompts whose false positives a vote drops.", rich_help_panel=WHO
        ),
    ] = None,
    endpoints: Annotated[
        Path | None,
        typer.Option(help="A YAML file of endpoints that --labelers may name.", rich_help_panel=WHO),
    ] = None,
    aggregate: Annotated[
        str,
        typer.Option(
            help="Who decides: adjudicate (where they differ), majority or dawid-skene (three labelers or more).",
            rich_help_panel=WHO,
        ),
    ] = "adjudicate",
    adjudicator_prompt: Annotated[
        str, typer.Option(help="The adjudicator's prompt: a name, or a file.", rich_help_panel=WHO)
    ] = DEFAULT_PROMPT,
    show_reliability: Annotated[
        bool,
        typer.Option(
            "--show-reliability",
            help="Tell the adjudicator how often each voter was right on curated reports.",
            rich_help_panel=WHO,
        ),
    ] = False,
    repeat: Annotated[
        int, typer.Option(min=1, help="Ask each model so often for a report, and vote.", rich_help_panel=WHO)
    ] = 1,
    rule_scope: Annotated[
        str, typer.Option(help="What the rules read: impression, full or mimic.", rich_help_panel=WHO)
    ] = "full",
    scope: Annotated[str, typer.Option(help="What the models and the adjudicator read.", rich_help_panel=WHO)] = "full",
    corpus: Annotated[str | None, typer.Option(help="Only this corpus.", rich_help_panel=WHICH)] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="Only this split; give it again for more.", rich_help_panel=WHICH)
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first N reports, in the seed's order.", rich_help_panel=WHICH)
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the order of the reports.", rich_help_panel=WHICH)] = 0,
    allow_egress_to: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-egress-to",
            "--allow-egress",
            help="A host that may receive restricted reports.",
            rich_help_panel=WHICH,
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Most requests at once.", rich_help_panel=FAST)] = 16,
    rpm: Annotated[
        float | None,
        typer.Option(help="Requests a minute.", show_default="what the endpoint says", rich_help_panel=FAST),
    ] = None,
    tpm: Annotated[
        float | None,
        typer.Option(help="Tokens a minute.", show_default="what the endpoint says", rich_help_panel=FAST),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(help="Seconds that one attempt may take.", show_default="120", rich_help_panel=FAST),
    ] = None,
    chunk: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Reports an invocation of the graph, and a commit.",
            show_default="200; rules alone 2000",
            rich_help_panel=FAST,
        ),
    ] = None,
    batch: Annotated[
        bool,
        typer.Option(
            "--batch",
            help="Hand the questions in at the Batch API, at half the price, and exit; the same command goes on.",
            rich_help_panel=COST,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print calls, tokens and USD, and send nothing.", rich_help_panel=COST),
    ] = False,
    max_usd: Annotated[
        float | None, typer.Option(min=0, help="Stop before more than this is spent.", rich_help_panel=COST)
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option(help="A price list, instead of TEACHBACK_PRICES or the shipped one.", rich_help_panel=COST),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Have the teacher graph label a store's reports; run it again to resume, or to retry what failed (exit code 1).

    Example: teachback label labels.duckdb --llm stand-in --limit 500
    """
    from rich.console import Console

    from teachback.agents.assemble import AGGREGATES, TeacherSettings, choose_llm, teach_store
    from teachback.agents.lineup import load_endpoints
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
    endpoint = LLMSettings.from_env(
        model=model,
        base_url=base_url,
        concurrency=concurrency,
        rpm=rpm,
        tpm=tpm,
        timeout_s=timeout,
        allow_egress_to=allowed,
        prices=prices,
    )
    named = load_endpoints(endpoints, endpoint)
    if chosen == "stand-in":
        endpoint = stand_in_settings(endpoint)
    settings = TeacherSettings(
        chosen,
        endpoint,
        rule_scope=one_of("--rule-scope", rule_scope, SCOPES),
        scope=one_of("--scope", scope, SCOPES),
        labeler_prompt=prompt,
        adjudicator_prompt=adjudicator_prompt,
        labelers=_lineup(ensemble, labelers, prompt),
        endpoints=named,
        aggregate=one_of("--aggregate", aggregate, AGGREGATES),
        repeat=repeat,
        show_reliability=show_reliability,
        max_usd=max_usd,
    )
    splits = tuple(one_of("--split", name, SPLITS) for name in split or ())
    selection = Selection(corpus, splits, limit, seed)
    console = Console(stderr=as_json)
    if dry_run:
        _show_estimate(console, store, settings, selection, batch, as_json)
        return
    config = TeachConfig(selection, chunk, settings=_recorded(settings))
    if batch:
        _hand_in(console, store, settings, config, as_json)
        return
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


def _show_estimate(
    console: Any, store: Path, settings: "TeacherSettings", selection: Any, batch: bool, as_json: bool
) -> None:
    from rich.progress import Progress

    from teachback.agents.estimate import estimate_store
    from teachback.cli.estimate_outcome import estimate_json, print_estimate

    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("looking", total=None)
        estimate = estimate_store(
            store,
            settings,
            selection,
            batch=batch,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if as_json:
        print(json.dumps(estimate_json(estimate), indent=2))
    else:
        print_estimate(console, estimate)


def _hand_in(console: Any, store: Path, settings: "TeacherSettings", config: Any, as_json: bool) -> None:
    from teachback.agents.batch.job import label_in_batches
    from teachback.cli.batch_outcome import batch_json, print_batches
    from teachback.cli.label_outcome import LabelBar

    with LabelBar(console) as show:
        outcome, tally = label_in_batches(store, settings, config, show)
    if as_json:
        print(json.dumps(batch_json(outcome, tally), indent=2))
    else:
        print_batches(console, store, outcome, tally)
    if outcome.exhausted:
        raise typer.Exit(SOME_FAILED)


def _lineup(ensemble: str | None, labelers: str | None, prompt: str) -> "tuple[LabelerRef, ...]":
    """Read who votes; a model that is named without a prompt takes the one of `--prompt`."""
    from teachback.agents.lineup import ensemble_of, parse_lineup
    from teachback.errors import SettingError

    named = [part.strip() for part in (labelers or "").split(",") if part.strip()]
    written = ",".join(f"{part}@{prompt}" if part.startswith("llm") and "@" not in part else part for part in named)
    lineup = ensemble_of(ensemble, written) if ensemble else parse_lineup(written) if labelers else ()
    if lineup and prompt != DEFAULT_PROMPT and all(one.prompt != prompt for one in lineup):
        raise SettingError(f"--prompt {prompt} is used by no labeler", "leave it out, or name llm among --labelers")
    return lineup


def _recorded(settings: "TeacherSettings") -> dict[str, Any]:
    endpoint = settings.endpoint
    asked = {"model": endpoint.model, "base_url": endpoint.base_url, "concurrency": endpoint.concurrency}
    return {
        "llm": settings.llm,
        "rule_scope": settings.rule_scope,
        "scope": settings.scope,
        "labelers": [f"{ref.kind}:{ref.name}@{ref.prompt}" if ref.kind == "llm" else "rule" for ref in settings.lineup],
        "adjudicator_prompt": settings.adjudicator_prompt,
        "aggregate": settings.aggregate,
        "repeat": settings.repeat,
        "max_usd": settings.max_usd,
        **(asked if settings.llm != "none" else {}),
    }
