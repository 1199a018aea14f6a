"""From settings to a working teacher, and from a store to its labels: whoever needs a teacher starts here."""

import asyncio
import gc
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import duckdb

from teachback.agents.adjudicator import Adjudicator
from teachback.agents.call_cache import StoreCallCache
from teachback.agents.calls import CallCache
from teachback.agents.client import LLMClient
from teachback.agents.labeler import Teachers
from teachback.agents.llm_labeler import LLMLabeler
from teachback.agents.rule_labeler import RuleLabeler
from teachback.agents.settings import LLMSettings
from teachback.agents.stand_in import stand_in_endpoint, stand_in_settings
from teachback.agents.tally import Tally, tally
from teachback.agents.teach import Progress, TeachConfig, TeachSummary, teach
from teachback.errors import SettingError, StoreError
from teachback.prompts import Prompt, load_prompt
from teachback.store.report import Scope
from teachback.store.writer import Writer

__all__ = ["LLM_CHOICES", "Assembled", "LLMChoice", "TeacherSettings", "assemble", "choose_llm", "teach_store"]

LLMChoice = Literal["none", "openai", "stand-in"]
LLM_CHOICES: tuple[LLMChoice, ...] = get_args(LLMChoice)
COLLECT_AFTER = 100_000  # allocations between two passes of the cycle collector


@dataclass(frozen=True)
class TeacherSettings:
    """Who the teacher's members are.

    Attributes:
        llm: `none` for rules alone, `openai` for any OpenAI-compatible endpoint, `stand-in` for the package's own.
        endpoint: The endpoint, when `llm` is `openai`; its concurrency counts for the stand-in too.
        rule_scope: The sections that the rules read.
        scope: The sections that the model and the adjudicator read.
        labeler_prompt: Name of the LLM labeler's prompt.
        adjudicator_prompt: Name of the adjudicator's prompt.
    """

    llm: LLMChoice = "none"
    endpoint: LLMSettings = field(default_factory=LLMSettings)
    rule_scope: Scope = "full"
    scope: Scope = "full"
    labeler_prompt: str = "default"
    adjudicator_prompt: str = "default"


@dataclass(frozen=True)
class Assembled:
    """A teacher, and what it works with.

    Attributes:
        teachers: The members.
        client: The client through which they ask; None for rules alone.
        prompts: The prompts that they use.
    """

    teachers: Teachers
    client: LLMClient | None = None
    prompts: tuple[Prompt, ...] = ()


def choose_llm(asked: str | None, env: Mapping[str, str] | None = None) -> LLMChoice:
    """Return the language model to use: what was asked for, else `openai` where the environment names one, else none.

    Raises:
        SettingError: There is no such choice.
    """
    env = os.environ if env is None else env
    if asked is None:
        return "openai" if env.get("OPENAI_API_KEY") or env.get("OPENAI_BASE_URL") else "none"
    for choice in LLM_CHOICES:
        if asked == choice:
            return choice
    raise SettingError(f"--llm {asked} is not known", f"choose one of {', '.join(LLM_CHOICES)}")


def assemble(settings: TeacherSettings, cache: CallCache) -> Assembled:
    """Make the members; nothing is asked, and no key is needed, before a report is labelled.

    Args:
        settings: Who they are.
        cache: Where their calls are kept.
    """
    rule = RuleLabeler(scope=settings.rule_scope)
    if settings.llm == "none":
        return Assembled(Teachers(rule))
    client = LLMClient(settings.endpoint, cache)
    prompts = (
        load_prompt("llm_labeler", settings.labeler_prompt),
        load_prompt("adjudicator", settings.adjudicator_prompt),
    )
    llm = LLMLabeler(client, prompts[0], settings.scope)
    # Its verdicts belong to these voters: another teacher's disputes in the same store are none of its business.
    voters = (rule.spec.labeler_id, llm.spec.labeler_id)
    adjudicator = Adjudicator(client, prompts[1], settings.scope, weighs=voters)
    return Assembled(Teachers(rule, llm, adjudicator), client, prompts)


def teach_store(
    store: Path,
    settings: TeacherSettings,
    config: TeachConfig,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> tuple[TeachSummary, Tally]:
    """Label a store's reports: opens it, starts the stand-in where it is asked for, labels, and counts.

    Args:
        store: The DuckDB file.
        settings: Who labels.
        config: Which reports, and how.
        on_progress: Told how far the job is.

    Raises:
        StoreError: There is no such store, or another process writes it.
        SettingError: No report is selected.
        TeacherError: A teacher cannot go on at all; what was finished is in the store.
        EgressError: A corpus's policy forbids asking there.
    """
    if not store.exists():
        raise StoreError(f"there is no store at {store}", "import reports first: `teachback import --help`")
    with ExitStack() as stack:
        stack.enter_context(_rare_collections())
        writer = stack.enter_context(Writer(store))
        connection = stack.enter_context(duckdb.connect(str(store)))
        if settings.llm == "stand-in":
            base_url = stack.enter_context(stand_in_endpoint())
            settings = replace(settings, endpoint=stand_in_settings(settings.endpoint, base_url))
        summary = asyncio.run(_teach(writer, connection, settings, config, on_progress))
        return summary, tally(connection, summary.teacher_id)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Keep the cycle collector from walking the imported modules and the chunk at hand over and over.

    A chunk is a hundred thousand small objects without cycles; by default they cost as much to walk as to make.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


async def _teach(
    writer: Writer,
    connection: duckdb.DuckDBPyConnection,
    settings: TeacherSettings,
    config: TeachConfig,
    on_progress: Callable[[Progress], None],
) -> TeachSummary:
    cache = StoreCallCache(writer, connection)
    assembled = assemble(settings, cache)
    try:
        return await teach(
            writer,
            connection,
            assembled.teachers,
            config,
            cache=cache if assembled.client else None,
            prompts=assembled.prompts,
            on_progress=on_progress,
        )
    finally:
        if assembled.client:
            await assembled.client.aclose()
