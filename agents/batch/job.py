"""`teachback label --batch`, one pass: fetch what is there, label what is complete, hand in what is missing."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import duckdb

from teachback.agents.assemble import Assembled, TeacherSettings, aggregate, assemble
from teachback.agents.batch.desk import BatchDesk, check_batchable
from teachback.agents.batch.outcome import Exhausted, Outcome
from teachback.agents.batch.rounds import hand_in
from teachback.agents.call_cache import StoreCallCache
from teachback.agents.calls import ChatRequest
from teachback.agents.selection import Selection
from teachback.agents.tally import Tally, tally
from teachback.agents.teach import Progress, TeachConfig, TeachSummary, teach
from teachback.errors import SettingError, StoreError
from teachback.store.writer import Writer

__all__ = ["label_in_batches"]


def label_in_batches(
    store: Path,
    settings: TeacherSettings,
    config: TeachConfig,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> tuple[Outcome[TeachSummary], Tally]:
    """Make one pass of a labeling job that goes by batches.

    Args:
        store: The DuckDB file.
        settings: Who labels.
        config: Which reports, and how.
        on_progress: Told how far the labeling of what is complete is.

    Raises:
        SettingError: The settings do not go with batches, or no report is selected.
        EgressError: A corpus's policy forbids files that stay at the endpoint.
        TeacherError: The endpoint has no batches, or none can succeed.
    """
    _check(settings)
    if not store.exists():
        raise StoreError(f"there is no store at {store}", "import reports first: `teachback import --help`")
    with ExitStack() as stack:
        writer = stack.enter_context(Writer(store))
        connection = stack.enter_context(writer.reader())
        outcome = asyncio.run(_pass(writer, connection, settings, config, on_progress))
        return outcome, tally(connection, outcome.summary.teacher_id)


def _check(settings: TeacherSettings) -> None:
    if settings.llm == "none":
        raise SettingError("--batch needs a language model", "name one: --llm openai")
    if settings.llm == "stand-in":
        raise SettingError(
            "--llm stand-in forgets its batches when this command ends",
            "run `teachback stand-in-llm` in another terminal: --llm openai --model stand-in --base-url URL",
        )
    if settings.max_usd is not None:
        raise SettingError(
            "--max-usd cannot stop a batch that is handed in", "see what it costs beforehand: --dry-run --batch"
        )


async def _pass(
    writer: Writer,
    connection: duckdb.DuckDBPyConnection,
    settings: TeacherSettings,
    config: TeachConfig,
    on_progress: Callable[[Progress], None],
) -> Outcome[TeachSummary]:
    check_batchable(_policies(connection, config.selection))
    crew = assemble(settings, StoreCallCache(writer, connection), connection=connection, postpone=True)

    async def label() -> tuple[TeachSummary, Sequence[Mapping[str, ChatRequest]]]:
        cache = StoreCallCache(writer, connection)  # made anew: it knows what has come back meanwhile
        able = assemble(settings, cache, connection=connection, postpone=True)
        summary = await teach(
            writer, connection, able.teachers, config, cache=cache, prompts=able.prompts, on_progress=on_progress
        )
        await aggregate(writer, connection, settings, able.teachers, summary)
        for client in able.clients:
            # A question may show reports of another corpus as examples.
            check_batchable({policy: policy for policy in client.outbox_egress})
        return summary, [client.outbox for client in able.clients]

    async with AsyncExitStack() as stack:
        desks = [
            await stack.enter_async_context(BatchDesk(client.settings, writer, connection)) for client in crew.clients
        ]
        outcome = await hand_in(desks, label)
    _keep_failures(writer, crew, outcome)
    return outcome


def _policies(connection: duckdb.DuckDBPyConnection, selection: Selection) -> dict[str, str]:
    query, values = selection.query()
    rows = connection.execute(
        "SELECT DISTINCT r.corpus, coalesce(c.egress, 'local-only') FROM reports r LEFT JOIN corpora c USING (corpus) "
        f"WHERE r.report_id IN (SELECT report_id FROM ({query}))",
        values,
    ).fetchall()
    return dict(rows)


def _keep_failures(writer: Writer, crew: Assembled, outcome: Outcome[TeachSummary]) -> None:
    """Write what is not handed in again as failures, so that they stand in the store like any other."""
    members = {"llm_labeler": crew.teachers.asking[0].spec.labeler_id}
    if crew.teachers.adjudicator:
        members["adjudicator"] = crew.teachers.adjudicator.spec.labeler_id
    if outcome.exhausted and outcome.summary.run_id:
        writer.write({"failures": [_failure(one, members, outcome.summary.run_id) for one in outcome.exhausted]})


def _failure(one: Exhausted, members: Mapping[str, str], run_id: str) -> dict[str, str]:
    return {
        "report_id": one.report_id,
        "labeler_id": members[one.agent],
        "run_id": run_id,
        "reason": one.reason,
        "llm_call_id": one.llm_call_id,
    }
