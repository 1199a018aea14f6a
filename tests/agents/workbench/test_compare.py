import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from aiohttp import web

from teachback.agents.settings import LLMSettings
from teachback.agents.stand_in.answer import StandInMind
from teachback.agents.stand_in.mistakes import MistakeRates
from teachback.agents.stand_in.pieces import pieces_of
from teachback.agents.workbench.compare import CompareSettings, Comparison, compare_prompts
from teachback.agents.workbench.desk import Model
from teachback.errors import BudgetError, EgressError, SettingError, StoreError, TeacherError
from teachback.store.label import FINDINGS

Compare = Callable[..., Comparison]
Serve = Callable[..., AbstractAsyncContextManager[str]]


def sent(comparison: Comparison) -> tuple[int, int]:
    return comparison.a.costs.sent, comparison.b.costs.sent


def rows(store: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(store)) as connection:
        return connection.execute(query).fetchall()


def test_only_what_is_not_stored_is_asked(compare: Compare, framed: Path, tmp_path: Path) -> None:
    first = compare()
    assert sent(first) == (12, 12)
    again = compare()
    assert sent(again) == (0, 0)
    assert (again.a.costs.reused, again.b.costs.reused) == (12, 12)
    assert again.flips.as_dict() == first.flips.as_dict()
    assert sent(compare(sample=15)) == (3, 3)  # the larger sample holds the smaller one
    edited = tmp_path / "edited.md"
    edited.write_text(framed.read_text("utf-8").replace("You label", "You carefully label"), "utf-8")
    assert sent(compare(b=str(edited))) == (0, 12)


def test_flips_and_figures_are_those_of_the_labels_in_the_store(compare: Compare, store: Path) -> None:
    comparison = compare()
    said = {
        side: {
            (report, target): status
            for report, target, status in rows(
                store,
                f"SELECT report_id, target, status FROM labels WHERE task = 'findings' "
                f"AND labeler_id = '{labeler.labeler_id}'",
            )
        }
        for side, labeler in (("a", comparison.a.labeler), ("b", comparison.b.labeler))
    }
    assert len(said["a"]) == len(said["b"]) == 12 * len(FINDINGS)
    differing = {cell for cell, status in said["a"].items() if said["b"][cell] != status}
    assert comparison.flips.flipped == len(differing) > 10
    assert {(r.report_id, f.finding) for r in comparison.flipped for f in r.flips} == differing
    truth = dict.fromkeys(said["a"], "") | {
        (report, target): status
        for report, target, status in rows(store, "SELECT report_id, target, status FROM curated_labels")
        if (report, target) in said["a"]
    }
    found = sum(truth[cell] == status == "present" for cell, status in said["a"].items())
    called, positives = (sum(s == "present" for s in statuses.values()) for statuses in (said["a"], truth))
    assert comparison.flips.a.micro.value == pytest.approx(2 * found / (called + positives))


def test_the_answers_are_billed_to_their_prompt(compare: Compare, store: Path) -> None:
    comparison = compare()
    for side in (comparison.a, comparison.b):
        booked = rows(
            store,
            "SELECT count(*), sum(prompt_tokens), sum(completion_tokens) FROM llm_calls "
            f"WHERE prompt_id = '{side.prompt.prompt_id}' AND run_id = '{comparison.run_id}'",
        )
        assert booked == [(12, side.costs.prompt_tokens, side.costs.completion_tokens)]
    assert comparison.b.costs.prompt_tokens > comparison.a.costs.prompt_tokens  # it says more


def test_everything_can_be_said_as_json(compare: Compare) -> None:
    told = json.loads(json.dumps(compare().as_dict()))
    assert told["calls_sent"] == 24
    assert list(told["compared"]["findings"]) == list(FINDINGS)
    assert told["flipped"][0]["flips"][0]["a"]["status"] != told["flipped"][0]["flips"][0]["b"]["status"]
    assert told["stand_in"]
    assert any("micro-F1" in sentence for sentence in told["verdict"])


def test_each_comparison_is_a_look_at_its_split(compare: Compare, framed: Path, tmp_path: Path) -> None:
    assert "looked at once by 2 different prompts" in compare().looks.sentence()
    third = tmp_path / "third.md"
    third.write_text(framed.read_text("utf-8") + "\nOnce more: fill in the form.\n", "utf-8")
    looks = compare(b=str(third)).looks
    assert (looks.times, looks.prompts) == (2, 3)
    assert looks.earlier[0].names == ("default", "framed")


def test_test_is_opened_by_final_alone_and_that_is_remembered(compare: Compare, store: Path) -> None:
    for split in ("test", "gate", "dev"):
        with pytest.raises(SettingError) as refused:
            compare(split=split)
        assert refused.value.remedy
    first = compare(final=True)
    assert first.sample.split == "test"
    assert first.looks.warning() == ""
    again = compare(final=True)
    assert "test has been opened before" in again.looks.warning()
    assert "for default and framed" in again.looks.warning()
    assert rows(store, "SELECT DISTINCT split, command FROM looks") == [("test", "prompts compare --final")]
    assert ("prompts compare --final",) in rows(store, "SELECT command FROM runs")


def test_fewer_reports_than_asked_for_are_counted(compare: Compare) -> None:
    comparison = compare(sample=10_000)
    assert comparison.sample.available == len(comparison.sample.reports) < 10_000
    assert comparison.paired == comparison.sample.available


def test_what_cannot_be_compared_is_refused(compare: Compare, store: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="same prompt"):
        compare(b="default")
    with pytest.raises(SettingError, match="no model to ask"):
        compare(model=Model("none", LLMSettings()))
    with pytest.raises(StoreError, match="no report of calibration of corpus other"):
        compare(corpus="other")
    settings = CompareSettings("default", "default", Model("stand-in", LLMSettings()))
    with pytest.raises(SettingError):
        compare_prompts(store, settings)
    assert not list(tmp_path.glob("*.html"))


async def on_server(
    serve: Serve, store: Path, b: Path, spoil: Callable[[str], bool], **given: object
) -> tuple[Comparison, int]:
    """Compare against a server that answers as the stand-in does, but spoils what a condition on the messages names."""
    mind, asked = StandInMind(0, MistakeRates()), 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        body = await request.json()
        schema = body["response_format"]["json_schema"]["schema"]
        text = "".join(piece.token for piece in pieces_of(mind.answer(body["messages"], schema)))
        if spoil("".join(message["content"] for message in body["messages"])):
            text = "no JSON"
        said = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 1000, "completion_tokens": 200}
        return web.json_response({"model": "gpt-4o", "choices": [said], "usage": usage})

    async with serve(answer) as url:
        model = Model("openai", LLMSettings("gpt-4o", url, api_key="k"))
        settings = replace(CompareSettings("default", str(b), model, sample=8), **given)  # type: ignore[arg-type]
        return await asyncio.to_thread(compare_prompts, store, settings), asked


def test_reports_that_a_prompt_fails_on_are_counted_left_out_and_asked_again(
    store: Path, framed: Path, serve_chat: Serve
) -> None:
    # B, which alone speaks of the night, is answered badly wherever the report mentions an effusion.
    def spoil(said: str) -> bool:
        shown = said.rpartition("<report>")[2]
        return "at night" in shown and "effusion" in shown

    comparison, _ = asyncio.run(on_server(serve_chat, store, framed, spoil))
    failed = {failure.report_id for failure in comparison.b.failures}
    assert 0 < len(failed) < 8
    assert set(comparison.left_out) == failed
    assert comparison.paired == comparison.flips.a.n_reports == 8 - len(failed)
    assert not comparison.a.failures
    assert comparison.b.costs.failed >= len(failed)
    assert {report for (report,) in rows(store, "SELECT report_id FROM failures")} == failed
    again, asked = asyncio.run(on_server(serve_chat, store, framed, lambda said: False))
    assert asked == len(failed)
    assert not again.left_out


def test_nothing_is_compared_where_one_prompt_always_fails(store: Path, framed: Path, serve_chat: Serve) -> None:
    with pytest.raises(TeacherError, match="no report was labelled with both prompts"):
        asyncio.run(on_server(serve_chat, store, framed, lambda said: "at night" in said))
    assert rows(store, "SELECT look_id FROM looks") == []


def test_the_budget_stops_it_and_what_was_paid_is_reused(store: Path, framed: Path, tmp_path: Path) -> None:
    # Nothing can be spent at all, so nothing is sent: the address need not exist.
    model = Model("openai", LLMSettings("gpt-4o", "http://models.example/v1", api_key="k"))
    settings = CompareSettings("default", str(framed), model, sample=8, max_usd=0.0)
    with pytest.raises(BudgetError):
        compare_prompts(store, settings)
    assert rows(store, "SELECT look_id FROM looks") == []
    unpriced = replace(settings, model=Model("openai", replace(model.endpoint, model="unheard-of")))
    with pytest.raises(SettingError, match="price of unheard-of is not known"):
        compare_prompts(store, unpriced)


def test_restricted_reports_are_not_sent_to_another_machine(store: Path, framed: Path) -> None:
    with duckdb.connect(str(store)) as connection:
        connection.execute("UPDATE corpora SET egress = 'local-only'")
    model = Model("openai", LLMSettings("gpt-4o", "http://models.example/v1", api_key="k"))
    with pytest.raises(EgressError):
        compare_prompts(store, CompareSettings("default", str(framed), model, sample=8))
