"""`teachback label`: the teacher graph over a store's reports."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from teachback.cli import label_options as options

if TYPE_CHECKING:
    from rich.console import Console

    from teachback.agents.assemble import TeacherSettings
    from teachback.agents.labeler import ReportLabeler
    from teachback.agents.lineup import LabelerRef
    from teachback.agents.selection import Selection
    from teachback.agents.teach import TeachConfig

__all__ = ["label"]

DEFAULT_PROMPT = "default"
SOME_FAILED = 1
INTERRUPTED = 130  # what a shell reports for a command ended by Ctrl-C


def label(
    store: options.Store,
    llm: options.Llm = None,
    model: options.Model = None,
    base_url: options.BaseUrl = None,
    prompt: options.Prompt = DEFAULT_PROMPT,
    labelers: options.Labelers = None,
    ensemble: options.Ensemble = None,
    endpoints: options.Endpoints = None,
    aggregate: options.Aggregate = "adjudicate",
    adjudicator_prompt: options.AdjudicatorPrompt = DEFAULT_PROMPT,
    show_reliability: options.ShowReliability = False,
    repeat: options.Repeat = 1,
    rule_scope: options.RuleScope = "full",
    scope: options.Scope = "full",
    corpus: options.Corpus = None,
    split: options.Split = None,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    allow_egress_to: options.AllowEgressTo = None,
    concurrency: options.Concurrency = 16,
    rpm: options.Rpm = None,
    tpm: options.Tpm = None,
    timeout: options.Timeout = None,
    chunk: options.Chunk = None,
    batch: options.Batch = False,
    dry_run: options.DryRun = False,
    max_usd: options.MaxUsd = None,
    prices: options.Prices = None,
    as_json: options.Json = False,
) -> None:
    """Have the teacher graph label a store's reports; run it again to resume, or to retry what failed (exit code 1).

    Example: teachback label labels.duckdb --llm stand-in --limit 500
    """
    from rich.console import Console

    from teachback.agents.assemble import AGGREGATES, TeacherSettings, choose_llm
    from teachback.agents.lineup import load_endpoints
    from teachback.agents.selection import Selection
    from teachback.agents.settings import LLMSettings
    from teachback.agents.stand_in import stand_in_settings
    from teachback.agents.teach import TeachConfig
    from teachback.cli.choices import one_of
    from teachback.store.report import SCOPES
    from teachback.store.splits import SPLITS

    chosen = choose_llm(llm)
    allowed = frozenset(allow_egress_to or ())
    pace: dict[str, Any] = {"concurrency": concurrency, "rpm": rpm, "tpm": tpm, "timeout_s": timeout}
    endpoint = LLMSettings.from_env(model=model, base_url=base_url, allow_egress_to=allowed, prices=prices, **pace)
    named = load_endpoints(endpoints, endpoint)
    lineup = _lineup(ensemble, labelers, prompt)
    settings = TeacherSettings(
        chosen,
        stand_in_settings(endpoint) if chosen == "stand-in" else endpoint,
        rule_scope=one_of("--rule-scope", rule_scope, SCOPES),
        scope=one_of("--scope", scope, SCOPES),
        labeler_prompt=prompt,
        adjudicator_prompt=adjudicator_prompt,
        labelers=lineup,
        endpoints=named,
        students=_students(lineup),
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
    else:
        _label_now(console, store, settings, config, as_json)


def _show_estimate(
    console: "Console", store: Path, settings: "TeacherSettings", selection: "Selection", batch: bool, as_json: bool
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


def _hand_in(
    console: "Console", store: Path, settings: "TeacherSettings", config: "TeachConfig", as_json: bool
) -> None:
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


def _label_now(
    console: "Console", store: Path, settings: "TeacherSettings", config: "TeachConfig", as_json: bool
) -> None:
    from teachback.agents.assemble import teach_store
    from teachback.cli.label_outcome import LabelBar, outcome_json, print_outcome

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


def _students(lineup: "tuple[LabelerRef, ...]") -> "dict[str, ReportLabeler]":
    """Make the students that are named; the light part alone has none."""
    names = [ref.name for ref in lineup if ref.kind == "student"]
    if not names:
        return {}
    from teachback.distill.base import require_training
    from teachback.distill.labeler import load_student_labeler

    require_training()
    return {name: load_student_labeler(name) for name in names}


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
        "labelers": [
            f"llm:{ref.name}@{ref.prompt}" if ref.kind == "llm" else ":".join(filter(None, (ref.kind, ref.name)))
            for ref in settings.lineup
        ],
        "adjudicator_prompt": settings.adjudicator_prompt,
        "aggregate": settings.aggregate,
        "repeat": settings.repeat,
        "max_usd": settings.max_usd,
        **(asked if settings.llm != "none" else {}),
    }
