import asyncio
import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from teachback.agents.adjudicator import Adjudicator
from teachback.agents.call_cache import StoreCallCache, call_row
from teachback.agents.calls import LLMCall
from teachback.agents.client import LLMClient
from teachback.agents.labeler import Reply, Teachers
from teachback.agents.llm_labeler import LLMLabeler
from teachback.agents.selection import Selection, count_selected, pending
from teachback.agents.settings import LLMSettings
from teachback.agents.stand_in import stand_in_endpoint, stand_in_settings
from teachback.agents.tally import tally
from teachback.agents.teach import Progress, TeachConfig, TeachSummary, teach
from teachback.errors import EgressError, SettingError, TeacherError, TeacherReplyError
from teachback.store.database import Store
from teachback.store.label import FINDINGS, Label, Labeler, Status
from teachback.store.report import Report
from teachback.store.rows import report_row
from teachback.store.writer import Writer, writing_alone

SPECIMENS = (
    ("Moderate left pleural effusion. No pneumothorax.", "Left effusion with adjacent atelectasis."),
    ("The heart is enlarged. Lungs are clear.", "Cardiomegaly. No acute disease."),
    ("Right lower lobe consolidation may represent pneumonia.", "Possible pneumonia."),
    ("Heart size normal. No effusion or pneumothorax.", "No acute cardiopulmonary abnormality."),
)


class WordRules:
    """Present where a finding's first word stands in the report, else unmentioned."""

    spec = Labeler("rule", "words", "1", parameters={"scope": "full"})

    def label(self, report: Report) -> list[Label]:
        text = report.text("full").lower()
        statuses: dict[str, Status] = {
            finding: "present" if finding.split()[-1].lower() in text else "unmentioned" for finding in FINDINGS
        }
        return [
            Label(report.report_id, "findings", finding, status, self.spec.labeler_id, "full")
            for finding, status in statuses.items()
        ]


class Moody:
    """Labels everything absent, but fails on the reports it is told to, for as long as it is told to."""

    spec = Labeler("llm", "moody", "1")

    def __init__(self, failing: Sequence[str] = (), stop_at: str = "") -> None:
        self.failing = set(failing)
        self.stop_at = stop_at
        self.asked: list[str] = []

    async def label(self, report: Report, egress: str) -> Reply:
        self.asked.append(report.report_id)
        await asyncio.sleep(0)
        if report.report_id == self.stop_at:
            raise TeacherError("the key is not valid", "check it")
        if report.report_id in self.failing:
            raise TeacherReplyError(report.report_id, "the answer is empty")
        return Reply([Label(report.report_id, "findings", "Edema", "absent", self.spec.labeler_id, "full")])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "labels.duckdb"
    reports = [
        Report(f"r{number:03}", "c", {"findings": findings, "impression": f"{impression} Case {number}."})
        for number in range(40)
        for findings, impression in [SPECIMENS[number % len(SPECIMENS)]]
    ]
    splits = [
        {"report_id": report.report_id, "split": "train" if number % 2 else "test", "group_id": "g", "seed": 0}
        for number, report in enumerate(reports)
    ]
    with Store(path) as opened:
        rows = [report_row(report) for report in reports]
        opened.write({"reports": rows, "splits": splits, "corpora": [{"corpus": "c", "egress": "local-only"}]})
    return path


def label(store: Path, teachers: Teachers, chunk: int = 8, **selection: Any) -> TeachSummary:
    config = TeachConfig(Selection(**selection), chunk)
    with Writer(store) as writer, duckdb.connect(str(store)) as connection:
        return asyncio.run(teach(writer, connection, teachers, config))


def label_by_stand_in(store: Path, settings: LLMSettings, chunk: int = 8) -> tuple[TeachSummary, LLMClient]:
    async def job() -> tuple[TeachSummary, LLMClient]:
        cache = StoreCallCache(writer, connection)
        async with LLMClient(settings, cache) as client:
            teachers = Teachers((WordRules(),), (LLMLabeler(client),), Adjudicator(client))
            prompts = (teachers.asking[0].prompt, teachers.adjudicator.prompt)  # type: ignore[union-attr]
            config = TeachConfig(chunk=chunk)
            return await teach(writer, connection, teachers, config, cache=cache, prompts=prompts), client

    with Writer(store) as writer, duckdb.connect(str(store)) as connection:
        return asyncio.run(job())


def ask(store: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_rules_alone_label_every_report_once(store: Path) -> None:
    first = label(store, Teachers((WordRules(),)))
    assert (first.progress.taught, first.selected) == (40, 40)
    again = label(store, Teachers((WordRules(),)))
    assert (again.run_id, again.progress.total) == (None, 0)
    assert ask(store, "SELECT count(*), count(DISTINCT label_id) FROM labels") == [(520, 520)]  # 40 x 13
    assert ask(store, "SELECT count(*) FROM committed") == [(40,)]
    assert ask(store, "SELECT count(*) FROM runs") == [(1,)]  # doing nothing is no run


def test_run_is_recorded_with_what_it_ran_with(store: Path) -> None:
    label(store, Teachers((WordRules(),)), limit=5, seed=3)
    ((command, config, seed, version, status, summary),) = ask(
        store, "SELECT command, config, seed, version, status, summary FROM runs JOIN run_ends USING (run_id)"
    )
    assert (command, seed, status) == ("label", 3, "finished")
    assert json.loads(config)["selection"] == {"corpus": None, "splits": [], "limit": 5, "seed": 3}
    assert version
    assert json.loads(summary)["taught"] == 5


def test_chunks_and_their_order_change_nothing(store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.duckdb"
    other.write_bytes(store.read_bytes())
    label(store, Teachers((WordRules(),)), chunk=7)
    label(other, Teachers((WordRules(),)), chunk=40, seed=9)
    labels = "SELECT * EXCLUDE (run_id, created_at) FROM labels ORDER BY label_id"
    assert ask(store, labels) == ask(other, labels)


def test_failed_report_is_named_and_tried_again(store: Path) -> None:
    model = Moody(failing=["r001", "r002"])
    first = label(store, Teachers((WordRules(),), (model,)))
    assert (first.progress.taught, first.progress.failed) == (38, 2)
    assert sorted(failure.report_id for failure in first.failures) == ["r001", "r002"]
    assert ask(store, "SELECT report_id, reason FROM failures ORDER BY 1") == [
        ("r001", "the answer is empty"),
        ("r002", "the answer is empty"),
    ]
    model.failing, model.asked = set(), []
    second = label(store, Teachers((WordRules(),), (model,)))
    assert sorted(model.asked) == ["r001", "r002"]
    assert (second.progress.taught, second.progress.failed) == (2, 0)
    assert ask(store, "SELECT count(*), count(DISTINCT label_id) FROM labels") == [(560, 560)]  # 40 x (13 + 1)


def test_fatal_error_ends_the_run_and_keeps_finished_chunks(store: Path) -> None:
    with duckdb.connect(str(store)) as connection:
        order = pending(connection, Selection(), "none")
    model = Moody(stop_at=order[-1])
    with pytest.raises(TeacherError, match="key is not valid"):
        label(store, Teachers((WordRules(),), (model,)), chunk=10)
    ((status, summary),) = ask(store, "SELECT status, summary FROM run_ends")
    assert status == "failed"
    assert "key is not valid" in json.loads(summary)["error"]
    model.stop_at = ""
    label(store, Teachers((WordRules(),), (model,)), chunk=10)
    assert ask(store, "SELECT count(*), count(DISTINCT report_id) FROM committed") == [(40, 40)]


def test_cancelled_run_is_recorded_as_interrupted(store: Path) -> None:
    class Slow(Moody):
        async def label(self, report: Report, egress: str) -> Reply:
            await asyncio.sleep(60)
            return Reply([])

    async def interrupted() -> None:
        task = asyncio.create_task(teach(writer, connection, Teachers((WordRules(),), (Slow(),)), TeachConfig()))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Writer(store) as writer, duckdb.connect(str(store)) as connection:
        asyncio.run(interrupted())
    assert ask(store, "SELECT status FROM run_ends") == [("interrupted",)]
    assert ask(store, "SELECT count(*) FROM committed") == [(0,)]


def test_selection_by_corpus_split_and_seed(store: Path) -> None:
    with duckdb.connect(str(store)) as connection:
        assert count_selected(connection, Selection()) == 40
        assert count_selected(connection, Selection(splits=("train",))) == 20
        assert count_selected(connection, Selection(corpus="other")) == 0
        ten = pending(connection, Selection(limit=10, seed=1), "none")
        twenty = pending(connection, Selection(limit=20, seed=1), "none")
        assert twenty[:10] == ten
        assert pending(connection, Selection(limit=10, seed=2), "none") != ten
    with pytest.raises(SettingError, match="no report is selected"):
        label(store, Teachers((WordRules(),)), corpus="other")


def test_limit_counts_reports_that_are_done(store: Path) -> None:
    label(store, Teachers((WordRules(),)), limit=10)
    more = label(store, Teachers((WordRules(),)), limit=15)
    assert (more.selected, more.progress.taught) == (15, 5)


def test_progress_is_told_up_to_the_end(store: Path) -> None:
    told: list[int] = []

    def note(progress: Progress) -> None:
        told.append(progress.taught)

    with Writer(store) as writer, duckdb.connect(str(store)) as connection:
        asyncio.run(teach(writer, connection, Teachers((WordRules(),)), TeachConfig(chunk=5), on_progress=note))
    assert told == sorted(told)
    assert told[-1] == 40


def test_stand_in_labels_adjudicates_and_is_asked_once(store: Path) -> None:
    with stand_in_endpoint() as base_url:
        settings = stand_in_settings(LLMSettings(), base_url)
        first, client = label_by_stand_in(store, settings)
        assert first.progress.bill.calls == client.sent
        assert first.progress.disputed == first.progress.decided + first.progress.left_open > 0
        again, idle = label_by_stand_in(store, settings)
        assert (again.run_id, idle.sent) == (None, 0)
    assert ask(store, "SELECT DISTINCT model FROM labelers WHERE kind <> 'rule'") == [("stand-in",)]
    assert ask(store, "SELECT DISTINCT model, cost_usd FROM llm_calls") == [("stand-in", 0.0)]
    assert ask(store, "SELECT count(*) FROM llm_calls WHERE run_id IS NULL OR prompt_id IS NULL") == [(0,)]
    assert ask(store, "SELECT count(*) FROM prompts") == [(2,)]
    # Every verdict weighed one label of the rules' and one of the model's, and both are in the store.
    weighed = """
        SELECT count(*), count(b.kind) FROM (SELECT unnest(weighed) AS label_id FROM adjudications)
        LEFT JOIN labels USING (label_id) LEFT JOIN labelers b USING (labeler_id)
    """
    assert ask(store, weighed) == [(2 * first.progress.disputed, 2 * first.progress.disputed)]


def test_answers_are_reused_by_another_teacher(store: Path) -> None:
    with stand_in_endpoint() as base_url:
        settings = stand_in_settings(LLMSettings(), base_url)
        first, _ = label_by_stand_in(store, settings)
        with duckdb.connect(str(store)) as connection:  # as if the teacher had not been done with anything
            connection.execute("DELETE FROM committed")
        again, client = label_by_stand_in(store, settings, chunk=40)
    assert client.sent == 0
    assert again.progress.bill.calls == 0
    assert again.progress.bill.reused == first.progress.bill.calls + first.progress.bill.reused
    assert ask(store, "SELECT count(*) - count(DISTINCT label_id) FROM labels") == [(0,)]


def test_report_of_a_restricted_corpus_stays_here(store: Path) -> None:
    settings = LLMSettings(base_url="http://models.example:1/v1", api_key="k")
    with pytest.raises(EgressError, match="models"):
        label_by_stand_in(store, settings)
    assert ask(store, "SELECT count(*) FROM llm_calls") == [(0,)]


def test_tally_counts_votes_agreement_and_verdicts(store: Path) -> None:
    with stand_in_endpoint() as base_url:
        summary, _ = label_by_stand_in(store, stand_in_settings(LLMSettings(), base_url))
    with duckdb.connect(str(store), read_only=True) as connection:
        counted = tally(connection, summary.teacher_id)
    assert counted.reports == 40
    rules, model, adjudicator, *_ = counted.votes
    assert (rules.kind, sum(rules.statuses.values()), rules.reports) == ("rule", 520, 40)
    assert (model.kind, sum(model.statuses.values())) == ("llm", 520)
    assert sum(adjudicator.statuses.values()) == summary.progress.decided
    assert (counted.agreed, counted.disagreed) == (summary.progress.agreed, summary.progress.disputed)
    assert counted.kept_rule + counted.kept_llm + counted.kept_other == summary.progress.decided
    assert counted.left_open == summary.progress.left_open <= counted.undecided
    assert counted.agreed + counted.disagreed == 520
    assert counted.stood_in
    assert sum(bill.calls for bill in counted.bill) == summary.progress.bill.calls


def test_long_reports_with_long_answers_are_read_within_what_a_writing_job_may_have(store: Path) -> None:
    at, count = datetime(2026, 1, 2, tzinfo=UTC), 1400
    long = [random.Random(number).randbytes(15_000).hex() for number in range(count)]
    reports = [Report(f"x{number:04}", "c", {"findings": text}) for number, text in enumerate(long)]
    calls = [
        LLMCall(f"call{n}", "m", None, "llm_labeler", f"x{n:04}", text, 5, 0, 7, 0.25, 1.0, 1, None, at)
        for n, text in enumerate(long)
    ]
    with Store(store) as opened:
        opened.write({"reports": [report_row(report) for report in reports]})
        opened.write({"llm_calls": [call_row(call, "run_0") for call in calls]})
    # Reopened: what lies in the file is compressed, and takes more to read.
    with Writer(store) as writer, duckdb.connect(str(store)) as connection:
        teachers = Teachers((WordRules(),), (Moody(),))
        cache = StoreCallCache(writer, connection)
        summary = asyncio.run(teach(writer, connection, teachers, TeachConfig(chunk=200), cache=cache))
    assert (summary.progress.taught, summary.failures) == (count + 40, ())


def test_answers_longer_than_a_writing_job_may_have_are_read_all_the_same(store: Path) -> None:
    at, length = datetime(2026, 1, 2, tzinfo=UTC), 2_000_000
    calls = [
        LLMCall(f"call{n}", "m", None, "llm_labeler", f"r{n}", f"{n}" * length, 5, 0, 7, 0.25, 1.0, 1, None, at)
        for n in range(10, 45)
    ]
    with Store(store) as opened:
        opened.write({"llm_calls": [call_row(one, "run_1") for one in calls]})
        with writing_alone(opened.connection):
            cache = StoreCallCache(None, opened.connection)
            asyncio.run(cache.load([one.report_id for one in calls]))
            assert [cache.get(one.llm_call_id) for one in calls] == calls


def test_cache_serves_only_answers_that_are_on_disk(store: Path) -> None:
    def call(name: str, error: str | None = None) -> LLMCall:
        response = None if error else "{}"
        at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
        return LLMCall(name, "m", None, "llm_labeler", "r001", response, 5, 0, 7, 0.25, 1.0, 1, error, at)

    async def keep(cache: StoreCallCache) -> None:
        await cache.put(call("good"))
        await cache.put(call("bad", "HTTP 500"))

    with Writer(store) as writer, duckdb.connect(str(store)) as connection:
        cache = StoreCallCache(writer, connection, "run_1")
        asyncio.run(keep(cache))
        assert cache.get("good") == call("good")
        assert cache.get("bad") is None
        assert (cache.bill.calls, cache.bill.failed, cache.bill.cost_usd) == (1, 1, 0.5)
        fresh = StoreCallCache(writer, connection, "run_2")
        assert fresh.get("good") == call("good")  # not loaded with any chunk: read when asked for
        fresh.release(["r001"])
        assert fresh.get("good") == call("good")
        assert fresh.get("bad") is None
    assert ask(store, "SELECT llm_call_id, run_id FROM llm_calls ORDER BY 1") == [("bad", "run_1"), ("good", "run_1")]
