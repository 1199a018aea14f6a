"""The bill first, worked by hand: tokens, dollars, what the cache holds, and what nobody can know yet."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from teachback.agents.assemble import TeacherSettings, teach_store
from teachback.agents.calls import ChatRequest, JsonForm
from teachback.agents.client import LLMClient
from teachback.agents.estimate import AgentEstimate, Estimate, estimate_store
from teachback.agents.lineup import parse_lineup
from teachback.agents.llm_labeler import LLMLabeler
from teachback.agents.selection import Selection
from teachback.agents.settings import LLMSettings
from teachback.agents.stand_in import stand_in_endpoint
from teachback.agents.teach import TeachConfig
from teachback.agents.tokens import TokenCounter, token_counter
from teachback.errors import EgressError, SettingError
from teachback.prompts import load_prompt
from teachback.store.corpora.synthetic import generate
from teachback.store.database import Store, open_snapshot
from teachback.store.report import Report
from teachback.store.rows import report_row

PRICES = """
as_of: 2031-02-03
models:
  stand-in: {input: 2, cached: 1, output: 8}
  other: {input: 20, cached: 1, output: 80}
"""
REPORTS, KNOWN = 40, 24
LONGEST_LABELS, LONGEST_VERDICTS = 2000, 1500  # max_tokens of the shipped prompts


@dataclass(frozen=True)
class Bench:
    """A store, a price list, and the stand-in's address.

    Attributes:
        store: Synthetic reports that may be sent anywhere.
        here: The endpoint on this machine.
        there: The same endpoint, for all that its answers go by, at a host whose calls have a price; nobody is there.
    """

    store: Path
    here: LLMSettings
    there: LLMSettings

    def settings(self, labelers: str = "llm", **more: Any) -> TeacherSettings:
        return TeacherSettings("openai", self.there, labelers=parse_lineup(labelers), **more)

    def estimate(
        self, labelers: str = "llm", *, limit: int | None = None, batch: bool = False, **more: Any
    ) -> Estimate:
        return estimate_store(self.store, self.settings(labelers, **more), Selection(limit=limit), batch=batch)

    def label(self, labelers: str, limit: int | None, **more: Any) -> None:
        settings = replace(self.settings(labelers, **more), endpoint=self.here)
        teach_store(self.store, settings, TeachConfig(Selection(limit=limit)))

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        connection, _ = open_snapshot(self.store)
        with connection:
            return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("estimate")
    (prices := folder / "prices.yaml").write_text(PRICES, encoding="utf-8")
    with Store(folder / "s.duckdb") as store:
        reports = [report_row(entry.report) for entry in generate(REPORTS, seed=11)]
        store.write({"reports": reports, "corpora": [{"corpus": "synthetic", "egress": "any"}]})
    with stand_in_endpoint() as url:
        here = LLMSettings("stand-in", url, endpoint="one and the same", prices=prices)
        yield Bench(folder / "s.duckdb", here, replace(here, base_url="https://models.example/v1"))


def copied(bench: Bench, folder: Path) -> Bench:
    for file in bench.store.parent.glob("*.duckdb"):
        shutil.copy(file, folder)
    return replace(bench, store=folder / bench.store.name)


@pytest.fixture
def bench(unlabelled: Bench, tmp_path: Path) -> Bench:
    return copied(unlabelled, tmp_path)


@pytest.fixture(scope="module")
def labelled(unlabelled: Bench, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A model's answers on 24 of the 40 reports; no adjudicator's."""
    bench = copied(unlabelled, tmp_path_factory.mktemp("labelled"))
    bench.label("llm", KNOWN)
    return bench


def only(estimate: Estimate) -> AgentEstimate:
    (agent,) = estimate.agents
    return agent


def dollars(prompt_tokens: float, completion_tokens: float) -> Any:
    """The price of the list above: 2 dollars a million tokens sent, 8 a million returned."""
    return pytest.approx((2 * prompt_tokens + 8 * completion_tokens) / 1_000_000)


def requests(bench: Bench, limit: int) -> list[ChatRequest]:
    """What the labeler would send, made without the estimate."""
    with duckdb.connect(str(bench.store), read_only=True) as connection:
        rows = connection.execute("SELECT report_id, findings, impression, text FROM reports").fetchall()
    labeler = LLMLabeler(LLMClient(bench.there, None))  # type: ignore[arg-type]  # nothing is asked
    reports = [
        Report(
            row[0],
            "synthetic",
            {name: text for name, text in zip(("findings", "impression", "text"), row[1:], strict=True) if text},
        )
        for row in rows
    ]
    assert len(reports) >= limit
    return [labeler.request(report) for report in reports]


def test_a_request_is_its_messages_what_stands_around_them_and_its_form() -> None:
    form = JsonForm("f", {})
    asked = ({"role": "system", "content": "a" * 42}, {"role": "user", "content": "b" * 63})
    request = ChatRequest(asked, form, "llm_labeler", "r1")
    # At 4.2 characters a token: 42 -> 10, 63 -> 15. Around two messages 2 x 4, for the answer 3.
    shape = round(len(form.response_format) / 4.2)
    assert TokenCounter("estimated").count_request(request) == 10 + 15 + 8 + 3 + shape
    longer = ChatRequest((asked[0], {"role": "user", "content": "b" * 42_000}), form, "llm_labeler", "r1")
    for _ in range(2):  # a long text's count is remembered, and is the same
        assert TokenCounter("estimated").count_request(longer) == 10 + 10_000 + 8 + 3 + shape


def test_tokens_are_counted_by_the_models_own_vocabulary_where_it_is_installed() -> None:
    pytest.importorskip("rs_bpe")
    counter = token_counter()
    assert counter.how == "o200k_base"
    assert [counter.count(text) for text in ("", "hello world", "\0")] == [0, 2, 1]


def test_a_first_bill_counts_questions_and_assumes_a_typical_answer(bench: Bench) -> None:
    estimate = bench.estimate()
    agent, counter = only(estimate), token_counter()
    sent = sum(map(counter.count_request, requests(bench, REPORTS)))
    assert (estimate.selected, estimate.pending, agent.calls, agent.calls_at_most, agent.cached) == (40, 40, 40, 40, 0)
    assert (agent.prompt_tokens, agent.completion_tokens) == (sent, 40 * 450)
    assert agent.cost_usd == estimate.cost_usd == dollars(sent, 40 * 450)
    assert agent.cost_at_most_usd == estimate.cost_at_most_usd == dollars(sent, 40 * LONGEST_LABELS)
    assert "typical" in agent.basis
    assert (estimate.counted_by, estimate.prices_as_of) == (counter.how, "2031-02-03")


def test_nothing_is_sent_and_nothing_written(bench: Bench) -> None:
    before = bench.store.read_bytes()
    bench.estimate("rule,llm")  # nobody listens at models.example
    assert bench.store.read_bytes() == before


def test_asking_three_times_costs_three_times(bench: Bench) -> None:
    once, thrice = only(bench.estimate(limit=10)), only(bench.estimate(limit=10, repeat=3))
    assert (thrice.calls, thrice.prompt_tokens) == (3 * once.calls, 3 * once.prompt_tokens)
    assert thrice.cost_usd == pytest.approx(3 * (once.cost_usd or 0))


def test_each_labeler_has_its_own_line_and_price(bench: Bench) -> None:
    estimate = bench.estimate("rule,llm,llm:other,llm@terse", limit=10, aggregate="majority")
    names = [agent.labeler for agent in estimate.agents]
    assert names == ["llm:stand-in", "llm:other", "llm:stand-in@terse"]  # rules are free, a vote asks nobody
    first, other, terse = estimate.agents
    assert [agent.calls for agent in estimate.agents] == [10, 10, 10]
    assert first.prompt_tokens == other.prompt_tokens == only(bench.estimate(limit=10)).prompt_tokens
    assert other.cost_usd == pytest.approx(10 * (first.cost_usd or 0))
    assert terse.prompt_tokens < first.prompt_tokens
    assert estimate.cost_usd == pytest.approx(sum(agent.cost_usd or 0 for agent in estimate.agents))


def test_what_is_on_this_machine_is_free(bench: Bench) -> None:
    settings = replace(bench.settings("rule,llm"), endpoint=bench.here)
    estimate = estimate_store(bench.store, settings, Selection())
    assert [(agent.cost_usd, agent.cost_at_most_usd) for agent in estimate.agents] == [(0, 0), (0, 0)]
    assert (estimate.cost_usd, estimate.cost_at_most_usd) == (0, 0)
    assert estimate.agents[0].prompt_tokens > 0


def test_a_batch_is_half_the_price_of_the_same_tokens(bench: Bench) -> None:
    whole, half = bench.estimate(), bench.estimate(batch=True)
    assert (half.batch, only(half).prompt_tokens) == (True, only(whole).prompt_tokens)
    assert half.cost_usd == pytest.approx((whole.cost_usd or 0) / 2)
    assert half.cost_at_most_usd == pytest.approx((whole.cost_at_most_usd or 0) / 2)


def test_a_price_that_is_not_known_makes_no_sum(bench: Bench) -> None:
    estimate = bench.estimate("llm,llm:unlisted", limit=5, aggregate="adjudicate")
    assert [agent.cost_usd is None for agent in estimate.agents] == [False, True, False]
    assert (estimate.cost_usd, estimate.cost_at_most_usd) == (None, None)


def test_what_the_cache_holds_is_held_out(labelled: Bench) -> None:
    done = labelled.estimate(limit=KNOWN)
    assert (done.selected, done.pending, only(done).calls, done.cost_usd) == (24, 0, 0, 0)
    more = labelled.estimate()  # the same teacher: it is done with 24
    assert (more.pending, only(more).calls, only(more).cached) == (16, 16, 0)
    another = labelled.estimate("llm,rule", aggregate="adjudicate").agents[0]  # another teacher, the same questions
    assert (another.calls, another.cached) == (16, 24)
    assert another.prompt_tokens == only(more).prompt_tokens
    two = labelled.estimate("llm,llm:other", aggregate="adjudicate").agents[:2]  # one prompt at two models
    assert [(agent.calls, agent.cached) for agent in two] == [(16, 24), (40, 0)]
    assert only(labelled.estimate(repeat=2)).cached == 0  # asked at another temperature
    assert only(labelled.estimate("llm@terse")).cached == 0


def test_answers_are_as_long_as_those_of_this_prompt_were(labelled: Bench) -> None:
    ((mean,),) = labelled.ask("SELECT avg(completion_tokens) FROM llm_calls")
    agent = only(labelled.estimate())
    assert agent.completion_tokens == round(16 * mean)
    assert agent.basis == "mean answer of 24 stored calls of this prompt"
    other = only(labelled.estimate("llm@terse"))  # of another prompt, as long as the model's others
    assert other.completion_tokens == round(40 * mean)
    assert other.basis == "mean answer of 24 stored calls of this model"


def test_a_dated_model_that_answered_is_the_model_that_was_asked(labelled: Bench, tmp_path: Path) -> None:
    bench = copied(labelled, tmp_path)
    for name, known in (("stand-in-2031-01-02", True), ("stand-in-mini", False), ("stand-in-mini-2031-01-02", False)):
        with Store(bench.store) as store:
            store.connection.execute("UPDATE llm_calls SET model = ?", [name])
            store.publish(anyway=True)
        assert ("24 stored calls of this prompt" in only(bench.estimate()).basis) is known


def test_fewer_than_five_answers_are_no_mean(bench: Bench) -> None:
    bench.label("llm", 4)
    assert only(bench.estimate()).completion_tokens == 36 * 450
    bench.label("llm", 5)
    assert "5 stored calls" in only(bench.estimate()).basis


def test_disputes_that_are_known_are_counted_and_the_others_follow_their_share(labelled: Bench, tmp_path: Path) -> None:
    bench = copied(labelled, tmp_path)
    adjudicator = bench.estimate("rule,llm").agents[1]
    known = bench.estimate("rule,llm", limit=KNOWN).agents[1]  # all of its votes are at hand
    disputed = known.calls
    assert 0 < disputed < KNOWN
    assert known.calls_at_most == disputed
    # 24 reports tell the share for the other 16; at most all of them are disputed.
    assert adjudicator.calls == disputed + round(disputed / KNOWN * 16)
    assert adjudicator.calls_at_most == disputed + 16
    each = known.prompt_tokens / disputed
    assert adjudicator.prompt_tokens == round(known.prompt_tokens + round(disputed / KNOWN * 16) * each)
    assert adjudicator.completion_tokens == adjudicator.calls * 160
    assert adjudicator.cost_usd == dollars(adjudicator.prompt_tokens, adjudicator.completion_tokens)
    sent_at_most = round(known.prompt_tokens + 16 * each)
    assert adjudicator.cost_at_most_usd == dollars(sent_at_most, (disputed + 16) * LONGEST_VERDICTS)
    assert f"{disputed / KNOWN:.0%} of reports disputed (as on the reports whose votes are stored)" in adjudicator.basis
    # And that is what it then asks: the same number of questions, once.
    bench.label("rule,llm", KNOWN)
    assert bench.ask("SELECT count(*) FROM llm_calls WHERE agent = 'adjudicator' AND error IS NULL") == [(disputed,)]


def test_where_no_vote_is_known_a_third_or_so_is_assumed_to_be_disputed(bench: Bench) -> None:
    adjudicator = bench.estimate("rule,llm").agents[1]
    # 0.35 x 40 = 14 questions of 1,600 tokens and answers of 160; at most 40, of up to 1,500.
    assert (adjudicator.calls, adjudicator.calls_at_most, adjudicator.cached) == (14, 40, 0)
    assert (adjudicator.prompt_tokens, adjudicator.completion_tokens) == (14 * 1600, 14 * 160)
    assert adjudicator.cost_usd == dollars(22_400, 2_240)  # $0.0448 and $0.01792
    assert adjudicator.cost_usd == pytest.approx(0.06272)
    assert adjudicator.cost_at_most_usd == dollars(64_000, 60_000)
    assert adjudicator.cost_at_most_usd == pytest.approx(0.608)
    assert "assumed" in adjudicator.basis


def test_reports_without_a_dispute_before_tell_the_share_too(bench: Bench) -> None:
    bench.label("rule,llm", KNOWN)
    ((disputed,),) = bench.ask("SELECT count(DISTINCT report_id) FROM adjudications")
    adjudicator = bench.estimate("rule,llm").agents[1]
    assert adjudicator.calls == round(disputed / KNOWN * 16)
    assert f"as on {KNOWN} reports before" in adjudicator.basis


def test_what_may_not_be_asked_has_no_price(bench: Bench) -> None:
    with Store(bench.store) as store:
        store.connection.execute("UPDATE corpora SET egress = 'local-only'")
        store.publish(anyway=True)
    with pytest.raises(EgressError, match="models"):
        bench.estimate()
    assert estimate_store(bench.store, replace(bench.settings(), endpoint=bench.here), Selection()).pending == 40
    assert bench.estimate("rule").cost_usd == 0
    with pytest.raises(SettingError, match="no report is selected"):
        estimate_store(bench.store, bench.settings(), Selection(corpus="other"))


def test_progress_is_told_to_the_end(bench: Bench) -> None:
    told: list[tuple[int, int]] = []
    estimate_store(
        bench.store, bench.settings(), Selection(), on_progress=lambda done, total: told.append((done, total))
    )
    assert told[-1] == (40, 40)


def test_the_prompts_that_the_arithmetic_rests_on_allow_answers_that_long() -> None:
    assert load_prompt("llm_labeler").front_matter.parameters.max_tokens == LONGEST_LABELS
    assert load_prompt("adjudicator").front_matter.parameters.max_tokens == LONGEST_VERDICTS
