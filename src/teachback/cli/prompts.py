"""`teachback prompts`: prompts as files, and what a change to one does to the labels."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from teachback.agents.workbench.desk import Model

__all__ = ["app"]

app = typer.Typer(help="List, check and compare prompts, and try them on reports.", no_args_is_help=True)

HAS_ERRORS = 1
INTERRUPTED = 130  # what a shell reports for a command ended by Ctrl-C
WHO, WHICH, COST = "Who answers", "Which reports", "What it may cost"

RoleOption = Annotated[str | None, typer.Option(help="llm_labeler or adjudicator; any, when left out.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A prompt's name, or the path of a .md file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ScopeOption = Annotated[str, typer.Option(help="What of a report is shown: impression, full or mimic.")]
LlmOption = Annotated[
    str | None,
    typer.Option(
        help="openai (any OpenAI-compatible endpoint) or stand-in. Default: openai when OPENAI_API_KEY or "
        "OPENAI_BASE_URL is set.",
        rich_help_panel=WHO,
    ),
]
ModelOption = Annotated[str | None, typer.Option(help="The endpoint's model. Default: gpt-4o.", rich_help_panel=WHO)]
BaseUrlOption = Annotated[
    str | None, typer.Option(help="The endpoint, instead of OPENAI_BASE_URL.", rich_help_panel=WHO)
]
EgressOption = Annotated[
    list[str] | None,
    typer.Option("--allow-egress-to", help="A host that may receive restricted reports.", rich_help_panel=WHICH),
]
PricesOption = Annotated[
    Path | None,
    typer.Option(help="A price list, instead of TEACHBACK_PRICES or the shipped one.", rich_help_panel=COST),
]


@app.command("list")
def list_(role: RoleOption = None, as_json: JsonOption = False) -> None:
    """List the prompts that can be named: your own folder's (TEACHBACK_PROMPTS), then the package's.

    Example: teachback prompts list --role llm_labeler
    """
    from rich.console import Console

    from teachback.cli.prompts_outcome import listing_json, print_listing
    from teachback.prompts import list_prompts

    listing = list_prompts(role)
    if as_json:
        typer.echo(json.dumps([listing_json(each) for each in listing], indent=2))
    else:
        print_listing(Console(highlight=False), listing)


@app.command()
def show(
    name: NameArgument,
    role: RoleOption = None,
    report: Annotated[
        str | None, typer.Option("--report", metavar="ID", help="Show the messages that this report would send.")
    ] = None,
    store: Annotated[Path | None, typer.Option("--store", help="The store that holds the report.")] = None,
    scope: ScopeOption = "full",
    as_json: JsonOption = False,
) -> None:
    """Show a prompt's file, or the very messages that it would send for a report, and how many tokens they are.

    Example: teachback prompts show default --report r17 --store labels.duckdb
    """
    from rich.console import Console

    from teachback.agents.workbench.desk import load_asking_prompt
    from teachback.agents.workbench.shelf import find_files, read_text
    from teachback.agents.workbench.trial import render_prompt
    from teachback.cli.choices import one_of
    from teachback.cli.prompts_outcome import print_messages
    from teachback.errors import SettingError
    from teachback.store.report import SCOPES

    if (report is None) != (store is None):
        raise SettingError("--report and --store belong together", "give both, or none to see the file")
    if report is None or store is None:
        for file in find_files([name], role):
            typer.echo(read_text(file.path), nl=False)
        return
    rendered = render_prompt(store, load_asking_prompt(name), report, one_of("--scope", scope, SCOPES))
    if as_json:
        messages = [dict(message) for message in rendered.messages]
        told = {"messages": messages, "tokens": rendered.tokens, "counted_by": rendered.counted_by}
        typer.echo(json.dumps(told, indent=2))
    else:
        print_messages(Console(highlight=False), rendered)


@app.command()
def lint(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Names or paths; all prompts when left out.")
    ] = None,
    role: RoleOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check prompts before they cost money; exit code 1 where one has errors.

    Example: teachback prompts lint ./prompts/mine.md
    """
    from dataclasses import asdict

    from rich.console import Console

    from teachback.agents.workbench.shelf import find_files, lint_file
    from teachback.cli.prompts_outcome import print_lint

    checked = [(file, lint_file(file)) for file in find_files(names or [], role)]
    if as_json:
        told = [{"file": str(file.path), **asdict(message)} for file, messages in checked for message in messages]
        typer.echo(json.dumps(told, indent=2))
    else:
        print_lint(Console(highlight=False), checked)
    if any(message.severity == "error" for _, messages in checked for message in messages):
        raise typer.Exit(HAS_ERRORS)


@app.command()
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A prompt's name or path.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    role: Annotated[str, typer.Option(help="Whose prompts.")] = "llm_labeler",
    as_json: JsonOption = False,
) -> None:
    """Show how two prompts differ: settings first, then the body, the changed words marked.

    Example: teachback prompts diff default ./mine.md
    """
    from rich.console import Console

    from teachback.agents.workbench.prompt_diff import diff_prompts
    from teachback.cli.prompts_outcome import print_diff
    from teachback.prompts import load_prompt

    before, after = load_prompt(role, a), load_prompt(role, b)
    found = diff_prompts(before, after)
    if as_json:
        typer.echo(json.dumps({"a": before.prompt_id, "b": after.prompt_id, **found.as_dict()}, indent=2))
    else:
        print_diff(Console(highlight=False), a, b, found)


@app.command("try")
def try_(
    name: NameArgument,
    report: Annotated[str, typer.Option("--report", metavar="ID", help="The report to ask about.")],
    store: Annotated[Path, typer.Option("--store", help="The store that holds it, and keeps the answer.")],
    scope: ScopeOption = "full",
    llm: LlmOption = None,
    model: ModelOption = None,
    base_url: BaseUrlOption = None,
    allow_egress_to: EgressOption = None,
    prices: PricesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask about one report and show what came back, beside what others say of it; one call, or none if it is stored.

    Example: teachback prompts try default --report r17 --store labels.duckdb --llm stand-in
    """
    from rich.console import Console

    from teachback.agents.workbench.desk import load_asking_prompt
    from teachback.agents.workbench.trial import try_prompt
    from teachback.cli.choices import one_of
    from teachback.cli.prompts_outcome import print_trial
    from teachback.store.report import SCOPES

    asked = _model(llm, model, base_url, allow_egress_to, prices)
    trial = try_prompt(store, load_asking_prompt(name), report, asked, one_of("--scope", scope, SCOPES))
    if as_json:
        typer.echo(json.dumps(trial.as_dict(), indent=2))
    else:
        print_trial(Console(highlight=False), trial)


@app.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="The prompt to beat: its name or path.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The other one.")],
    store: Annotated[Path, typer.Option("--store", help="The store with curated reports; keeps the labels.")],
    sample: Annotated[int, typer.Option(min=1, help="How many curated reports.", rich_help_panel=WHICH)] = 300,
    split: Annotated[
        str | None, typer.Option(help="calibration (the default) or train.", rich_help_panel=WHICH)
    ] = None,
    final: Annotated[
        bool, typer.Option("--final", help="Open test, once, for the prompt that you chose.", rich_help_panel=WHICH)
    ] = False,
    corpus: Annotated[str | None, typer.Option(help="Only this corpus.", rich_help_panel=WHICH)] = None,
    scope: ScopeOption = "full",
    seed: Annotated[int, typer.Option(help="Decides which reports, and the resamples.", rich_help_panel=WHICH)] = 0,
    llm: LlmOption = None,
    model: ModelOption = None,
    base_url: BaseUrlOption = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Most requests at once.", rich_help_panel=WHO)] = 16,
    allow_egress_to: EgressOption = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print calls, tokens and USD, and send nothing.", rich_help_panel=COST),
    ] = False,
    max_usd: Annotated[
        float | None, typer.Option(min=0, help="Stop before more than this is spent.", rich_help_panel=COST)
    ] = None,
    prices: PricesOption = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also write a page with every flipped report.")
    ] = None,
    restricted_text: Annotated[
        bool,
        typer.Option("--restricted-text", help="Put reports into the page whose corpus may not be passed on."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Label curated reports with two prompts, asking only what is not stored, and show what flips and if it is better.

    Example: teachback prompts compare default ./mine.md --sample 300 --store labels.duckdb --html compare.html
    """
    from rich.console import Console

    from teachback.agents.workbench.compare import CompareSettings, compare_prompts
    from teachback.agents.workbench.forecast import estimate_compare
    from teachback.agents.workbench.page import write_page
    from teachback.cli.choices import one_of
    from teachback.cli.estimate_outcome import estimate_json, print_estimate
    from teachback.cli.prompts_compare import CompareBar, print_comparison
    from teachback.store.report import SCOPES

    settings = CompareSettings(
        a=a,
        b=b,
        model=_model(llm, model, base_url, allow_egress_to, prices, concurrency),
        sample=sample,
        split=split,
        final=final,
        corpus=corpus,
        scope=one_of("--scope", scope, SCOPES),
        seed=seed,
        max_usd=max_usd,
    )
    console = Console(stderr=as_json, highlight=False)
    if dry_run:
        estimate = estimate_compare(store, settings)
        if as_json:
            typer.echo(json.dumps(estimate_json(estimate), indent=2))
        else:
            print_estimate(console, estimate)
        return
    try:
        with CompareBar() as show_progress:
            comparison = compare_prompts(store, settings, show_progress)
    except KeyboardInterrupt:
        console.print("interrupted: what was answered is in the store; the same command goes on from there")
        raise typer.Exit(INTERRUPTED) from None
    page = write_page(comparison, html, restricted_text=restricted_text) if html else None
    if as_json:
        typer.echo(json.dumps(comparison.as_dict(), indent=2))
    else:
        print_comparison(console, comparison, page)


def _model(
    llm: str | None,
    model: str | None,
    base_url: str | None,
    allow_egress_to: list[str] | None,
    prices: Path | None,
    concurrency: int | None = None,
) -> "Model":
    from teachback.agents.assemble import choose_llm
    from teachback.agents.settings import LLMSettings
    from teachback.agents.workbench.desk import Model

    endpoint = LLMSettings.from_env(
        model=model,
        base_url=base_url,
        allow_egress_to=frozenset(allow_egress_to or ()),
        prices=prices,
        concurrency=concurrency,
    )
    return Model(choose_llm(llm), endpoint)
