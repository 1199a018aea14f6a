"""A whole labeling job by batches, with the real graph and the stand-in: the same labels as asking one by one."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from teachback.agents.assemble import TeacherSettings, assemble, teach_store
from teachback.agents.batch import BatchDesk, Outcome, hand_in
from teachback.agents.call_cache import StoreCallCache
from teachback.agents.settings import LLMSettings
from teachback.agents.stand_in import BatchCourse, serve, stand_in_endpoint
from teachback.agents.teach import TeachConfig, TeachSummary, teach
from teachback.errors import TeacherError
from teachback.store.corpora.synthetic import generate
from teachback.store.database import Store
from teachback.store.rows import report_row
from teachback.store.writer import Writer

Ask = Callable[[str], list[tuple[Any, ...]]]
REPORTS = 20


@pytest.fixture
def reports_store(tmp_path: Path) -> Path:
    path = tmp_path / "jobs.duckdb"
    samples = list(generate(REPORTS, 5))
    corpora = [{"corpus": corpus, "egress": "any"} for corpus in {sample.report.corpus for sample in samples}]
    with Store(path) as opened:
        opened.write({"reports": [report_row(sample.report) for sample in samples], "corpora": corpora})
    return path


async def make_pass(store: Path, url: str) -> Outcome[TeachSummary]:
    settings = TeacherSettings("openai", LLMSettings(model="stand-in", base_url=url, max_attempts=1))
    with Writer(store) as writer, duckdb.connect(str(store)) as connection:

        async def label() -> Any:
            cache = StoreCallCache(writer, connection)
            crew = assemble(settings, cache, connection=connection, postpone=True)
            config = TeachConfig(chunk=15)
            summary = await teach(writer, connection, crew.teachers, config, cache=cache, prompts=crew.prompts)
            return summary, [client.outbox for client in crew.clients]

        async with BatchDesk(settings.endpoint, writer, connection, lost_after_s=0.0) as desk:
            return await hand_in([desk], label)


async def passes_until_done(store: Path, url: str) -> list[Outcome[TeachSummary]]:
    """Make passes until one has nothing left to wait for; those that only found batches running do not count."""
    outcomes = []
    while True:
        outcome = await make_pass(store, url)
        if outcome.collected.ended or outcome.submitted or not outcome.under_way:
            outcomes.append(outcome)
        if outcome.is_done:
            return outcomes
        await asyncio.sleep(0.05)


def run(store: Path, course: BatchCourse) -> list[Outcome[TeachSummary]]:
    async def scenario() -> list[Outcome[TeachSummary]]:
        running = await serve(batches=course)
        try:
            return await passes_until_done(store, running.url)
        finally:
            await running.close()

    return asyncio.run(scenario())


def table(store: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(store)) as connection:
        return connection.execute(query).fetchall()


def test_two_batches_label_what_single_calls_label(reports_store: Path, tmp_path: Path) -> None:
    single = tmp_path / "single.duckdb"
    single.write_bytes(reports_store.read_bytes())
    first, second, third = run(reports_store, BatchCourse())
    # The labelers' answers first; then the adjudicator's, on the reports with a dispute; then nothing is left.
    assert [batch.requests for batch in first.submitted] == [REPORTS]
    assert first.summary.progress.postponed == REPORTS
    assert second.collected.bill.answered == REPORTS
    assert 0 < sum(batch.requests for batch in second.submitted) < REPORTS
    assert second.summary.progress.taught == REPORTS - second.submitted[0].requests
    assert third.summary.progress.taught == second.submitted[0].requests
    assert (third.submitted, third.exhausted, third.under_way) == ((), (), ())
    assert "run the same command again" in first.next_step
    assert "every answer is in the store" in third.next_step

    with stand_in_endpoint() as url:
        settings = TeacherSettings("openai", LLMSettings(model="stand-in", base_url=url))
        teach_store(single, settings, TeachConfig(chunk=15))
    labels = "SELECT * EXCLUDE (run_id, created_at) FROM labels ORDER BY ALL"
    assert table(reports_store, labels) == table(single, labels)
    calls = "SELECT llm_call_id, agent, report_id, prompt_tokens, error FROM llm_calls ORDER BY ALL"
    assert table(reports_store, calls) == table(single, calls)


@pytest.mark.slow
def test_failures_and_expiry_delay_reports_and_lose_none(reports_store: Path) -> None:
    outcomes = run(reports_store, BatchCourse(error_share=0.15, unanswered_share=0.1))
    last = outcomes[-1]
    ((done,),) = table(reports_store, "SELECT count(DISTINCT report_id) FROM committed")
    assert done + len({exhausted.report_id for exhausted in last.exhausted}) == REPORTS
    assert done > REPORTS * 0.8
    twice = "SELECT llm_call_id FROM llm_calls WHERE error IS NULL GROUP BY 1 HAVING count(*) > 1"
    assert table(reports_store, twice) == []
    assert table(reports_store, "SELECT max(attempts) <= 3 FROM llm_calls") == [(True,)]
    for exhausted in last.exhausted:
        assert exhausted.reason.endswith("(handed in 3 times)")
    assert not last.exhausted or "without --batch" in last.next_step


def test_what_is_complete_is_labelled_before_a_refused_file_stops_the_job(reports_store: Path) -> None:
    async def scenario() -> None:
        running = await serve(batches=BatchCourse(fails_validation=True))
        try:
            await make_pass(reports_store, running.url)
            with pytest.raises(TeacherError, match="refused batch") as caught:
                await passes_until_done(reports_store, running.url)
            assert caught.value.remedy
        finally:
            await running.close()

    asyncio.run(scenario())
    assert table(reports_store, "SELECT count(*) > 0 FROM labels") == [(True,)]  # the rules' votes are kept
    assert table(reports_store, "SELECT count(*) FROM batches") == [(1,)]  # nothing was handed in after it
