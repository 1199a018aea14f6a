"""The options of `teachback label`, each with its help: who labels, which reports, how fast, and what it may cost."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "AdjudicatorPrompt",
    "Aggregate",
    "AllowEgressTo",
    "BaseUrl",
    "Batch",
    "Chunk",
    "Concurrency",
    "Corpus",
    "DryRun",
    "Endpoints",
    "Ensemble",
    "Json",
    "Labelers",
    "Limit",
    "Llm",
    "MaxUsd",
    "Model",
    "Prices",
    "Prompt",
    "Repeat",
    "Rpm",
    "RuleScope",
    "Scope",
    "Seed",
    "ShowReliability",
    "Split",
    "Store",
    "Timeout",
    "Tpm",
]

WHO, WHICH, FAST, COST = "Who labels", "Which reports", "How fast", "What it may cost"

Store = Annotated[Path, typer.Argument(help="The store that holds the reports.")]
Llm = Annotated[
    str | None,
    typer.Option(
        help="none, openai (any OpenAI-compatible endpoint) or stand-in. Default: openai when OPENAI_API_KEY or "
        "OPENAI_BASE_URL is set, else none.",
        rich_help_panel=WHO,
    ),
]
Model = Annotated[str | None, typer.Option(help="The endpoint's model. Default: gpt-4o.", rich_help_panel=WHO)]
BaseUrl = Annotated[str | None, typer.Option(help="The endpoint, instead of OPENAI_BASE_URL.", rich_help_panel=WHO)]
Prompt = Annotated[str, typer.Option(help="The LLM labeler's prompt: a name, or a file.", rich_help_panel=WHO)]
Labelers = Annotated[
    str | None,
    typer.Option(
        help="Who votes, by commas: rule, llm, llm:MODEL, llm:ENDPOINT@PROMPT, student:ADAPTER. "
        "Default: rule, llm if there is one.",
        rich_help_panel=WHO,
    ),
]
Ensemble = Annotated[
    str | None,
    typer.Option(
        help="high-recall: five recall-leaning prompts whose false positives a vote drops.", rich_help_panel=WHO
    ),
]
Endpoints = Annotated[
    Path | None,
    typer.Option(help="A YAML file of endpoints that --labelers may name.", rich_help_panel=WHO),
]
Aggregate = Annotated[
    str,
    typer.Option(
        help="Who decides: adjudicate (where they differ), majority or dawid-skene (three labelers or more).",
        rich_help_panel=WHO,
    ),
]
AdjudicatorPrompt = Annotated[
    str, typer.Option(help="The adjudicator's prompt: a name, or a file.", rich_help_panel=WHO)
]
ShowReliability = Annotated[
    bool,
    typer.Option(
        "--show-reliability",
        help="Tell the adjudicator how often each voter was right on curated reports.",
        rich_help_panel=WHO,
    ),
]
Repeat = Annotated[
    int, typer.Option(min=1, help="Ask each model so often for a report, and vote.", rich_help_panel=WHO)
]
RuleScope = Annotated[str, typer.Option(help="What the rules read: impression, full or mimic.", rich_help_panel=WHO)]
Scope = Annotated[str, typer.Option(help="What the models and the adjudicator read.", rich_help_panel=WHO)]
Corpus = Annotated[str | None, typer.Option(help="Only this corpus.", rich_help_panel=WHICH)]
Split = Annotated[
    list[str] | None, typer.Option(help="Only this split; give it again for more.", rich_help_panel=WHICH)
]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Only the first N reports, in the seed's order.", rich_help_panel=WHICH)
]
Seed = Annotated[int, typer.Option(help="Decides the order of the reports.", rich_help_panel=WHICH)]
AllowEgressTo = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-egress-to",
        "--allow-egress",
        help="A host that may receive restricted reports.",
        rich_help_panel=WHICH,
    ),
]
Concurrency = Annotated[int, typer.Option(min=1, help="Most requests at once.", rich_help_panel=FAST)]
Rpm = Annotated[
    float | None,
    typer.Option(help="Requests a minute.", show_default="what the endpoint says", rich_help_panel=FAST),
]
Tpm = Annotated[
    float | None,
    typer.Option(help="Tokens a minute.", show_default="what the endpoint says", rich_help_panel=FAST),
]
Timeout = Annotated[
    float | None,
    typer.Option(help="Seconds that one attempt may take.", show_default="120", rich_help_panel=FAST),
]
Chunk = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Reports an invocation of the graph, and a commit.",
        show_default="200; rules alone 2000",
        rich_help_panel=FAST,
    ),
]
Batch = Annotated[
    bool,
    typer.Option(
        "--batch",
        help="Hand the questions in at the Batch API, at half the price, and exit; the same command goes on.",
        rich_help_panel=COST,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Print calls, tokens and USD, and send nothing.", rich_help_panel=COST),
]
MaxUsd = Annotated[float | None, typer.Option(min=0, help="Stop before more than this is spent.", rich_help_panel=COST)]
Prices = Annotated[
    Path | None,
    typer.Option(help="A price list, instead of TEACHBACK_PRICES or the shipped one.", rich_help_panel=COST),
]
Json = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")]
