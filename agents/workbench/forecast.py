"""What a comparison would cost, before anything is sent: the very labelers run, with clients that only collect."""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path

import duckdb

from teachback.agents.call_cache import StoreCallCache
from teachback.agents.calls import ChatRequest, Postponed
from teachback.agents.client import LLMClient
from teachback.agents.estimate import DATE_ENDING, ENOUGH_CALLS, TYPICAL_ANSWER, AgentEstimate, Estimate
from teachback.agents.llm_labeler import LLMLabeler
from teachback.agents.nodes import STRICTEST
from teachback.agents.prices import PriceList, load_prices
from teachback.agents.settings import LLMSettings
from teachback.agents.stand_in import stand_in_settings
from teachback.agents.tokens import TokenCounter, token_counter
from teachback.agents.workbench.compare import CompareSettings
from teachback.agents.workbench.desk import ROLE, check_model, labeler_for, load_asking_prompt
from teachback.agents.workbench.sample import Sample, check_split, draw_sample
from teachback.errors import TeacherReplyError
from teachback.store.database import open_snapshot
from teachback.store.label import Labeler

__all__ = ["estimate_compare"]

_LENGTHS = """
    SELECT count(*), avg(completion_tokens) FROM llm_calls
    WHERE error IS NULL AND completion_tokens IS NOT NULL AND agent = $agent
        AND list_contains([model, regexp_replace(model, $dated, '')], $model)
        AND ($prompt IS NULL OR prompt_id = $prompt)
"""


def estimate_compare(store: Path, settings: CompareSettings) -> Estimate:
    """Say what a comparison would ask for and cost; nothing is sent, nothing written, and it is no look at the split.

    Args:
        store: The store; its newest snapshot is read.
        settings: What would be compared, and on what.

    Raises:
        SettingError: There is no such prompt, no model to ask, or the split is kept for something else.
        StoreError: There is no such store, or no curated report.
        EgressError: A corpus's policy forbids asking there.
    """
    check_model(settings.model)
    split = check_split(settings.split, settings.final)
    prompts = [load_asking_prompt(name) for name in (settings.a, settings.b)]
    stood_in = settings.model.llm == "stand-in"
    endpoint = stand_in_settings(settings.model.endpoint) if stood_in else settings.model.endpoint
    connection, _ = open_snapshot(store)
    try:
        sample = draw_sample(
            connection, split, settings.sample, scope=settings.scope, seed=settings.seed, corpus=settings.corpus
        )
        egress = dict(connection.execute("SELECT corpus, egress FROM corpora").fetchall())
        counter, prices = token_counter(), load_prices(endpoint.prices)
        agents: list[AgentEstimate] = []
        asked: dict[str, ChatRequest] = {}
        waiting: set[str] = set()
        for letter, prompt in zip("AB", prompts, strict=True):
            client = LLMClient(endpoint, StoreCallCache(None, connection), postpone=True)
            labeler = labeler_for(client, prompt, settings.scope, connection)
            waiting |= asyncio.run(_collect(labeler, sample, egress))
            # A question that both prompts ask in the same words is sent once.
            questions = {key: request for key, request in client.outbox.items() if key not in asked}
            asked |= questions
            name = f"{letter} {prompt.name}"
            agents.append(_price(connection, name, labeler.spec, endpoint, prices, counter, client.served, questions))
        return Estimate(len(sample.reports), len(waiting), tuple(agents), counter.how, prices.as_of)
    finally:
        connection.close()


async def _collect(labeler: LLMLabeler, sample: Sample, egress: Mapping[str, str]) -> set[str]:
    """Let a labeler ask for every report, and return those on which a question is not answered yet."""
    waiting = set()
    for report in sample.reports:
        with contextlib.suppress(TeacherReplyError):
            try:
                await labeler.label(report, egress.get(report.corpus, STRICTEST))
            except Postponed:
                waiting.add(report.report_id)
    return waiting


def _price(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    spec: Labeler,
    endpoint: LLMSettings,
    prices: PriceList,
    counter: TokenCounter,
    stored: int,
    questions: Mapping[str, ChatRequest],
) -> AgentEstimate:
    each, basis = _answer_length(connection, spec)
    sent = sum(counter.count_request(request) for request in questions.values())
    returned, longest = round(each * len(questions)), sum(request.max_tokens for request in questions.values())

    def cost(completion: int) -> float | None:
        return 0.0 if endpoint.is_local else prices.cost_usd(endpoint.model, sent, 0, completion)

    return AgentEstimate(
        agent=ROLE,
        labeler=name,
        prompt=str(spec.prompt_id),
        model=endpoint.model,
        cached=stored,
        calls=len(questions),
        calls_at_most=len(questions),
        prompt_tokens=sent,
        completion_tokens=returned,
        cost_usd=cost(returned),
        cost_at_most_usd=cost(longest),
        basis=basis,
    )


def _answer_length(connection: duckdb.DuckDBPyConnection, spec: Labeler) -> tuple[float, str]:
    """Return how long an answer is in tokens, and where that comes from."""
    for what, prompt in (("this prompt", spec.prompt_id), ("this model", None)):
        asked = {"agent": ROLE, "model": spec.model, "prompt": prompt, "dated": DATE_ENDING}
        row = connection.execute(_LENGTHS, asked).fetchone()
        if row and row[0] >= ENOUGH_CALLS:
            return float(row[1]), f"mean answer of {row[0]:,} stored calls of {what}"
    return float(TYPICAL_ANSWER), "a typical answer's length: no stored calls yet"
