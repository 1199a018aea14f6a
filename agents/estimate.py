"""The bill first: what a labeling job would ask for, and what that would cost, without sending anything.

The very graph runs, with clients that only collect. So what the cache holds is known exactly, and the adjudicator's
questions on every report whose votes are in the cache. On the others its questions depend on answers that nobody has
yet: their number is estimated from the reports that are known, and bounded by asking about all of them.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from teachback.agents.assemble import Assembled, TeacherSettings, assemble
from teachback.agents.call_cache import StoreCallCache
from teachback.agents.calls import LLMCall
from teachback.agents.graph import build_graph, label_chunk
from teachback.agents.prices import BATCH_SHARE, PriceList, load_prices
from teachback.agents.selection import Selection, count_selected, pending
from teachback.agents.settings import LLMSettings
from teachback.agents.tokens import TokenCounter, token_counter
from teachback.errors import SettingError
from teachback.store.database import open_snapshot
from teachback.store.label import Labeler
from teachback.store.rows import fetch_reports

__all__ = ["AgentEstimate", "Estimate", "estimate_store"]

CHUNK = 500  # reports that the graph sees at a time
ENOUGH_REPORTS = 20  # reports from which a share of disputed ones is taken
ENOUGH_CALLS = 5  # stored calls from which a mean length of answers is taken
# Where no stored call or report tells.
TYPICAL_ANSWER = 450  # tokens; 13 findings with a quote for each that is there, and some diseases
TYPICAL_QUESTION = 1_600  # tokens; the adjudicator's instructions, a report of 250 tokens and its votes
TYPICAL_VERDICT = 160  # tokens; two disputes with a rationale each
TYPICAL_DISPUTED = 0.35  # share of reports with a dispute: rules against gpt-4o-like labels

DATE_ENDING = r"-\d{4}-\d{2}-\d{2}$"  # what an endpoint adds to a model's name when it says which one answered


@dataclass(frozen=True)
class AgentEstimate:
    """What one labeler would ask.

    Attributes:
        agent: Which agent asks.
        labeler: The labeler's name.
        prompt: The prompt's id.
        model: The model.
        cached: Questions whose answers are stored.
        calls: Questions that would be sent.
        calls_at_most: The most that could be sent.
        prompt_tokens: Tokens that would be sent.
        completion_tokens: Tokens that would come back.
        cost_usd: US dollars; None where the price is not known.
        cost_at_most_usd: US dollars if every answer were as long as it may be and every report disputed.
        basis: Where the length of the answers comes from.
    """

    agent: str
    labeler: str
    prompt: str
    model: str
    cached: int
    calls: int
    calls_at_most: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    cost_at_most_usd: float | None
    basis: str


@dataclass(frozen=True)
class Estimate:
    """What a labeling job would cost.

    Attributes:
        selected: Reports that are selected.
        pending: Of these, reports that this teacher is not done with.
        agents: By labeler.
        counted_by: How tokens were counted.
        prices_as_of: The day of the price list.
        batch: Whether the Batch API's half price is taken.
    """

    selected: int
    pending: int
    agents: tuple[AgentEstimate, ...]
    counted_by: str
    prices_as_of: str
    batch: bool = False

    @property
    def cost_usd(self) -> float | None:
        """The whole cost; None where a price is not known."""
        return _sum([agent.cost_usd for agent in self.agents])

    @property
    def cost_at_most_usd(self) -> float | None:
        """The most that it could be; None where a price is not known."""
        return _sum([agent.cost_at_most_usd for agent in self.agents])


def estimate_store(
    store: Path,
    settings: TeacherSettings,
    selection: Selection,
    *,
    batch: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Estimate:
    """Say what labeling a store's reports would cost; nothing is sent and nothing written.

    Args:
        store: The store; its newest snapshot is read.
        settings: Who would label.
        selection: Which reports.
        batch: Whether by the Batch API, at half the price.
        on_progress: Told how many of how many reports have been looked at.

    Raises:
        SettingError: No report is selected.
        EgressError: A corpus's policy forbids asking there.
    """
    connection, _ = open_snapshot(store)
    try:
        return asyncio.run(_estimate(connection, settings, selection, batch, on_progress))
    finally:
        connection.close()


@dataclass(frozen=True)
class _Asker:
    """Who asks: one prompt at two models, or two prompts at one, are two that ask."""

    agent: str
    prompt_id: str | None
    endpoint: LLMSettings


class _CountingCache:
    """The stored calls, as one client reads them, counting whose they are."""

    def __init__(self, stored: StoreCallCache, endpoint: LLMSettings, served: "Counter[_Asker]") -> None:
        self._stored, self._endpoint, self._served = stored, endpoint, served

    def get(self, request_hash: str) -> LLMCall | None:
        call = self._stored.get(request_hash)
        if call is not None:
            self._served[_Asker(call.agent, call.prompt_id, self._endpoint)] += 1
        return call

    async def put(self, call: LLMCall) -> None:
        await self._stored.put(call)


@dataclass
class _Survey:
    """What the graph would ask, as far as it is known.

    Attributes:
        questions: Asker to the tokens of each question that would be sent, and its longest answer.
        cached: Asker to the answers that are stored.
        complete: Reports on which all votes are known.
        disputed: Of these, reports with a dispute.
        waiting: Reports with a vote that is not known yet.
    """

    questions: dict[_Asker, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    cached: Counter[_Asker] = field(default_factory=Counter)
    complete: int = 0
    disputed: int = 0
    waiting: int = 0


async def _estimate(
    connection: duckdb.DuckDBPyConnection,
    settings: TeacherSettings,
    selection: Selection,
    batch: bool,
    on_progress: Callable[[int, int], None],
) -> Estimate:
    selected = count_selected(connection, selection)
    if not selected:
        raise SettingError("no report is selected", "import reports, or widen --corpus, --split and --limit")
    cache = StoreCallCache(None, connection)
    assembled = assemble(settings, cache, connection=connection, postpone=True)
    todo = pending(connection, selection, assembled.teachers.teacher_id)
    counter = token_counter()
    survey = await _look(connection, assembled, cache, todo, counter, on_progress)
    prices = load_prices(settings.endpoint.prices)
    agents = [_price(connection, prices, survey, spec, endpoint, batch) for spec, endpoint in _asking(assembled)]
    return Estimate(selected, len(todo), tuple(agents), counter.how, prices.as_of, batch)


async def _look(
    connection: duckdb.DuckDBPyConnection,
    assembled: Assembled,
    cache: StoreCallCache,
    todo: Sequence[str],
    counter: TokenCounter,
    on_progress: Callable[[int, int], None],
) -> _Survey:
    graph = build_graph(assembled.teachers)
    egress = dict(connection.execute("SELECT corpus, egress FROM corpora").fetchall())
    survey = _Survey()
    for client in assembled.clients:
        client.cache = _CountingCache(cache, client.settings, survey.cached)
    for start in range(0, len(todo), CHUNK):
        report_ids = list(todo[start : start + CHUNK])
        reports = fetch_reports(connection.cursor(), "report_id IN (SELECT unnest(?::VARCHAR[]))", [report_ids])
        await cache.load(report_ids)
        state = await label_chunk(graph, {"reports": reports, "egress": egress})
        cache.release(report_ids)
        voters = assembled.teachers.voters
        known = set.intersection(*(set(state["votes"].get(spec.labeler_id, {})) for spec in voters))
        survey.complete += len(known)
        survey.disputed += len(state["disputes"])
        survey.waiting += len(reports) - len(known)
        for client in assembled.clients:
            for request in client.outbox.values():
                asker = _Asker(request.agent, request.prompt_id, client.settings)
                survey.questions[asker].append((counter.count_request(request), request.max_tokens))
            client.outbox.clear()
        on_progress(min(start + CHUNK, len(todo)), len(todo))
    return survey


def _asking(assembled: Assembled) -> list[tuple[Labeler, LLMSettings]]:
    """Return who asks, and where."""
    specs = {spec.labeler_id: spec for spec in assembled.teachers.specs}
    return [(specs[labeler_id], endpoint) for labeler_id, endpoint in assembled.asked.items()]


def _price(
    connection: duckdb.DuckDBPyConnection,
    prices: PriceList,
    survey: _Survey,
    spec: Labeler,
    endpoint: LLMSettings,
    batch: bool,
) -> AgentEstimate:
    agent = "adjudicator" if spec.kind == "adjudicator" else "llm_labeler"
    asker = _Asker(agent, spec.prompt_id, endpoint)
    questions = survey.questions[asker]
    returned, sent, basis = _answer_length(connection, spec, agent)
    calls = at_most = len(questions)
    prompt_tokens = sum(tokens for tokens, _ in questions)
    longest = sum(room for _, room in questions)
    prompt_at_most = prompt_tokens
    if agent == "adjudicator" and survey.waiting:
        share, whence = _disputed_share(connection, survey)
        each = prompt_tokens / calls if calls else sent
        more = round(share * survey.waiting)
        calls, at_most = calls + more, at_most + survey.waiting
        prompt_tokens, prompt_at_most = round(prompt_tokens + more * each), round(prompt_tokens + survey.waiting * each)
        longest += survey.waiting * int(spec.parameters["max_tokens"])
        basis = f"{basis}; {share:.0%} of reports disputed ({whence})"
    completion_tokens = round(returned * calls)

    def cost(prompt: int, completion: int) -> float | None:
        if endpoint.is_local:
            return 0.0
        whole = prices.cost_usd(endpoint.model, prompt, 0, completion)
        return whole if whole is None or not batch else whole * BATCH_SHARE

    return AgentEstimate(
        agent=agent,
        labeler=spec.name,
        prompt=str(spec.prompt_id),
        model=endpoint.model,
        cached=survey.cached[asker],
        calls=calls,
        calls_at_most=at_most,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cost_usd=cost(prompt_tokens, completion_tokens),
        cost_at_most_usd=cost(prompt_at_most, longest),
        basis=basis,
    )


def _answer_length(connection: duckdb.DuckDBPyConnection, spec: Labeler, agent: str) -> tuple[float, float, str]:
    """Return how long answers and questions were, in tokens, and where that comes from."""
    answered = "list_contains([model, regexp_replace(model, ?, '')], ?)"  # by the model itself or a dated one of it
    for what, condition, value in (
        ("this prompt", "prompt_id = ?", spec.prompt_id),
        ("this model", "agent = ?", agent),
    ):
        row = connection.execute(
            "SELECT count(*), avg(completion_tokens), avg(prompt_tokens) FROM llm_calls "
            f"WHERE error IS NULL AND completion_tokens IS NOT NULL AND {condition} AND {answered}",
            [value, DATE_ENDING, spec.model],
        ).fetchone()
        if row and row[0] >= ENOUGH_CALLS:
            return float(row[1]), float(row[2]), f"mean answer of {row[0]:,} stored calls of {what}"
    typical = TYPICAL_VERDICT if agent == "adjudicator" else TYPICAL_ANSWER
    return float(typical), float(TYPICAL_QUESTION), "a typical answer's length: no stored calls yet"


def _disputed_share(connection: duckdb.DuckDBPyConnection, survey: _Survey) -> tuple[float, str]:
    if survey.complete >= ENOUGH_REPORTS:
        return survey.disputed / survey.complete, "as on the reports whose votes are stored"
    row = connection.execute(
        "SELECT count(*), count(a.report_id) FROM (SELECT DISTINCT report_id FROM committed SEMI JOIN "
        "(SELECT teacher_id FROM teacher_members WHERE seat = 'adjudicator') USING (teacher_id)) "
        "LEFT JOIN (SELECT DISTINCT report_id FROM adjudications) a USING (report_id)"
    ).fetchone()
    if row and row[0] >= ENOUGH_REPORTS:
        return row[1] / row[0], f"as on {row[0]:,} reports before"
    return TYPICAL_DISPUTED, "assumed: no reports yet to tell from"


def _sum(costs: Iterable[float | None]) -> float | None:
    total = 0.0
    for cost in costs:
        if cost is None:
            return None
        total += cost
    return total
