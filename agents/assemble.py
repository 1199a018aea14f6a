"""From settings to a working teacher, and from a store to its labels: whoever needs a teacher starts here."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import duckdb

from teachback.agents.adjudicator import Adjudicator
from teachback.agents.aggregate.consolidate import Aggregate, Consolidated, aggregator_spec, consolidate
from teachback.agents.aggregate.reliability import reliability
from teachback.agents.batch.ledger import Ledger
from teachback.agents.budget import Budget
from teachback.agents.call_cache import StoreCallCache
from teachback.agents.calls import CallCache
from teachback.agents.client import LLMClient
from teachback.agents.collections import rare_collections
from teachback.agents.examples import example_source
from teachback.agents.labeler import ReportLabeler, Teachers
from teachback.agents.lineup import DEFAULT_PROMPT, LabelerRef, settings_of
from teachback.agents.llm_labeler import LLMLabeler
from teachback.agents.rule_labeler import RuleLabeler
from teachback.agents.settings import LLMSettings
from teachback.agents.side_process import RulesBeside, SideProcess
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


AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)
T = TypeVar("T")


@dataclass(frozen=True)
class TeacherSettings:
    """Who the teacher's members are.

    Attributes:
        llm: `none` for rules alone, `openai` for any OpenAI-compatible endpoint, `stand-in` for the package's own.
        endpoint: The endpoint, when `llm` is `openai`; its concurrency counts for the stand-in too.
        rule_scope: The sections that the rules read.
        scope: The sections that the model and the adjudicator read.
        labeler_prompt: The LLM labeler's prompt, where `labelers` does not name another.
        adjudicator_prompt: The adjudicator's prompt.
        labelers: Who votes; the rules and, unless `llm` is `none`, one LLM labeler when left out.
        endpoints: Endpoints that `labelers` may name.
        students: Those that `labelers` names, by the name that they have there.
        aggregate: Who decides: an adjudicator where they differ, or a vote over all targets.
        repeat: How often each LLM labeler is asked for each report.
        show_reliability: Whether the adjudicator is told how often each voter was right on curated reports.
        max_usd: What a run may spend.
    """

    llm: LLMChoice = "none"
    endpoint: LLMSettings = field(default_factory=LLMSettings)
    rule_scope: Scope = "full"
    scope: Scope = "full"
    labeler_prompt: str = DEFAULT_PROMPT
    adjudicator_prompt: str = DEFAULT_PROMPT
    labelers: tuple[LabelerRef, ...] = ()
    endpoints: Mapping[str, LLMSettings] = field(default_factory=dict)
    students: Mapping[str, ReportLabeler] = field(default_factory=dict)
    aggregate: Aggregate = "adjudicate"
    repeat: int = 1
    show_reliability: bool = False
    max_usd: float | None = None

    @property
    def lineup(self) -> tuple[LabelerRef, ...]:
        """Who votes."""
        if self.labelers:
            return self.labelers
        rule = LabelerRef("rule")
        return (rule,) if self.llm == "none" else (rule, LabelerRef("llm", prompt=self.labeler_prompt))


@dataclass(frozen=True)
class Assembled:
    """A teacher, and what it works with.

    Attributes:
        teachers: The members.
        clients: The clients through which they ask, one for each endpoint's model.
        prompts: The prompts that they use.
        asked: Labeler id of those that ask to where they ask, in the order of the members.
        side: The process that does rules and readings of a large job, where a model is asked.
    """

    teachers: Teachers
    clients: tuple[LLMClient, ...] = ()
    prompts: tuple[Prompt, ...] = ()
    asked: Mapping[str, LLMSettings] = field(default_factory=dict)
    side: SideProcess = field(default_factory=SideProcess)

    async def aclose(self) -> None:
        """Close the clients, once the answers that are under way are stored."""
        await asyncio.gather(*(client.aclose() for client in self.clients))
        await self.side.aclose()


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


def assemble(
    settings: TeacherSettings,
    cache: CallCache,
    *,
    connection: duckdb.DuckDBPyConnection | None = None,
    postpone: bool = False,
) -> Assembled:
    """Make the members; nothing is asked, and no key is needed, before a report is labelled.

    Args:
        settings: Who they are.
        cache: Where their calls are kept.
        connection: A connection to the store, for prompts that show curated reports and for voters' reliability.
        postpone: Whether the clients only collect what they would ask.

    Raises:
        SettingError: The members do not go together.
    """
    side = SideProcess()
    crew = _Crew(settings, cache, connection, postpone, side)
    asks = any(ref.kind == "llm" for ref in settings.lineup)
    scope, beside = settings.rule_scope, asks and not postpone
    here: list[ReportLabeler] = []
    for ref in settings.lineup:
        if ref.kind == "rule":
            here.append(RulesBeside(scope, side) if beside else RuleLabeler(scope))
        elif ref.kind == "student":
            here.append(settings.students[ref.name])
    local = tuple(here)
    asking = tuple(crew.llm_labeler(ref) for ref in settings.lineup if ref.kind == "llm")
    voters = [*(member.spec.labeler_id for member in local), *(member.spec.labeler_id for member in asking)]
    adjudicator = aggregator = None
    if settings.aggregate != "adjudicate":
        aggregator = aggregator_spec(settings.aggregate, voters)
    elif asking and len(voters) > 1:
        adjudicator = crew.adjudicator(voters)
    who: list[LLMLabeler | Adjudicator] = [*asking, *([adjudicator] if adjudicator else [])]
    asked = {member.spec.labeler_id: member.client.settings for member in who}
    teachers = Teachers(local, asking, adjudicator, aggregator)
    return Assembled(teachers, tuple(crew.clients.values()), tuple(crew.prompts), asked, side)


class _Crew:
    """Makes the members that ask; those at the same endpoint and model share a client."""

    def __init__(
        self,
        settings: TeacherSettings,
        cache: CallCache,
        connection: duckdb.DuckDBPyConnection | None,
        postpone: bool,
        side: SideProcess,
    ) -> None:
        self.clients: dict[LLMSettings, LLMClient] = {}
        self.prompts: list[Prompt] = []
        self._settings, self._cache, self._connection, self._postpone = settings, cache, connection, postpone
        self._budget, self._side = Budget(settings.max_usd), side

    def llm_labeler(self, ref: LabelerRef) -> LLMLabeler:
        settings = self._settings
        prompt = self._prompt("llm_labeler", ref.prompt)
        examples = example_source(prompt, self._connection, settings.scope)
        return LLMLabeler(self._client(ref), prompt, settings.scope, examples, settings.repeat)

    def adjudicator(self, voters: Sequence[str]) -> Adjudicator:
        # Its verdicts belong to these voters: another teacher's disputes in the same store are none of its business.
        settings = self._settings
        prompt = self._prompt("adjudicator", settings.adjudicator_prompt)
        first = next(ref for ref in settings.lineup if ref.kind == "llm")
        shown = None
        if settings.show_reliability and self._connection is not None:
            shown = reliability(self._connection, voters)
        return Adjudicator(self._client(first), prompt, settings.scope, voters, shown)

    def _client(self, ref: LabelerRef) -> LLMClient:
        endpoint = settings_of(ref, self._settings.endpoint, self._settings.endpoints)
        if endpoint not in self.clients:
            client = LLMClient(endpoint, self._cache, budget=self._budget, postpone=self._postpone, side=self._side)
            if self._budget.max_usd is not None and not client.is_priced:
                raise SettingError(
                    f"--max-usd cannot be kept: the price of {endpoint.model} is not known",
                    "add the model to a price list and name it with --prices FILE",
                )
            self.clients[endpoint] = client
        return self.clients[endpoint]

    def _prompt(self, role: str, name: str) -> Prompt:
        prompt = load_prompt(role, name)
        self.prompts.append(prompt)
        return prompt


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
        stack.enter_context(rare_collections())
        writer = stack.enter_context(Writer(store))
        connection = stack.enter_context(writer.reader())
        if settings.llm == "stand-in":
            base_url = stack.enter_context(stand_in_endpoint())
            settings = replace(settings, endpoint=stand_in_settings(settings.endpoint, base_url))
        summary = _run(_teach(writer, connection, settings, config, on_progress))
        return summary, tally(connection, summary.teacher_id)


async def _teach(
    writer: Writer,
    connection: duckdb.DuckDBPyConnection,
    settings: TeacherSettings,
    config: TeachConfig,
    on_progress: Callable[[Progress], None],
) -> TeachSummary:
    cache = StoreCallCache(writer, connection)
    assembled = assemble(settings, cache, connection=connection)
    try:
        _refuse_open_batches(connection, assembled)
        summary = await teach(
            writer,
            connection,
            assembled.teachers,
            config,
            cache=cache if assembled.clients else None,
            prompts=assembled.prompts,
            expecting=assembled.side.expect,
            stopped=lambda: next((client.stopped for client in assembled.clients if client.stopped), None),
            on_progress=on_progress,
        )
    finally:
        await assembled.aclose()
    left_out = {f"{client.settings.model}: {name}" for client in assembled.clients for name in client.left_out}
    aggregated = await aggregate(writer, connection, settings, assembled.teachers, summary)
    return replace(summary, left_out=tuple(sorted(left_out)), aggregated=aggregated)


def _refuse_open_batches(connection: duckdb.DuckDBPyConnection, assembled: Assembled) -> None:
    for client in assembled.clients:
        waiting = Ledger(connection, client.settings.identity, client.settings.model).open_batches()
        if waiting:
            raise SettingError(
                f"{len(waiting)} batches of {client.settings.model} are under way, and asking one by one would pay for "
                "their requests twice",
                "run the same command with --batch: it fetches what is there; cancelled batches are fetched too",
            )


async def aggregate(
    writer: Writer,
    connection: duckdb.DuckDBPyConnection,
    settings: TeacherSettings,
    teachers: Teachers,
    summary: TeachSummary,
) -> Consolidated | None:
    """Have the teacher's aggregator vote over all targets, where it has one."""
    if teachers.aggregator is None:
        return None
    return await asyncio.to_thread(
        consolidate, connection, writer, summary.teacher_id, teachers.aggregator, settings.aggregate, summary.run_id
    )


def _run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine, on uvloop where it can be had: it takes a third off what a request costs in CPU."""
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.run(main)
    return uvloop.run(main)
