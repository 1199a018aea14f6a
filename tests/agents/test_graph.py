import asyncio
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiohttp import web
from tests.loopback import serving

from teachback.agents.calls import Postponed
from teachback.agents.compare import compare
from teachback.agents.drawing import Link, draw, links_of
from teachback.agents.graph import build_graph, label_chunk
from teachback.agents.labeler import Dispute, Reply, Teachers, Verdict
from teachback.agents.nodes import ChunkState
from teachback.errors import EgressError, InputError, SettingError, TeacherReplyError
from teachback.store.label import Label, Labeler, Status
from teachback.store.report import Report, Scope

TARGETS = ("Edema", "Fracture")
RULE, MODEL = Labeler("rule", "rule", "1"), Labeler("llm", "llm:m", "1")


def vote(status: Status, spec: Labeler = RULE, target: str = "Edema", scope: Scope = "full", on: str = "r1") -> Label:
    return Label(on, "findings", target, status, spec.labeler_id, scope)


class WordRules:
    """Present where the target's name stands in the report, else unmentioned."""

    spec = RULE

    def label(self, report: Report) -> list[Label]:
        text = report.text("full").lower()
        return [
            vote("present" if target.lower() in text else "unmentioned", self.spec, target, on=report.report_id)
            for target in TARGETS
        ]


class EvenHandedModel:
    """Everything is absent; fails on reports that say so, and refuses to see restricted ones."""

    spec = MODEL

    async def label(self, report: Report, egress: str) -> Reply:
        await asyncio.sleep(0)
        if "unreadable" in report.text("full"):
            raise TeacherReplyError(report.report_id, "the answer is empty")
        if egress == "local-only":
            raise EgressError("restricted", "stay here")
        return Reply([vote("absent", self.spec, target, on=report.report_id) for target in TARGETS], "call_1")


class FirstWins:
    """Decides for the first vote."""

    spec = Labeler("adjudicator", "first", "1")

    async def decide(self, report: Report, disputes: Sequence[Dispute], egress: str) -> list[Verdict]:
        if "undecidable" in report.text("full"):
            raise TeacherReplyError(report.report_id, "no verdict")
        return [
            Verdict(
                report.report_id,
                dispute.task,
                dispute.target,
                dispute.votes[0].status,
                vote(dispute.votes[0].status, self.spec, dispute.target, on=report.report_id),
                f"{dispute.names[0]} is right",
                tuple(given.label_id for given in dispute.votes),
                self.spec.labeler_id,
            )
            for dispute in disputes
        ]


def chunk(*texts: str) -> list[Report]:
    return [Report(f"r{number}", "c", {"findings": text}) for number, text in enumerate(texts, 1)]


def run(teachers: Teachers, reports: list[Report], egress: str = "any") -> ChunkState:
    return asyncio.run(label_chunk(build_graph(teachers), {"reports": reports, "egress": {"c": egress}}))


def test_chunk_goes_from_votes_over_disputes_to_verdicts() -> None:
    state = run(Teachers((WordRules(),), (EvenHandedModel(),), FirstWins()), chunk("edema", "clear"))
    # r1: Edema present vs absent, Fracture unmentioned vs absent; r2: both unmentioned vs absent.
    assert {key: [d.target for d in found] for key, found in state["disputes"].items()} == {
        "r1": ["Edema", "Fracture"],
        "r2": ["Edema", "Fracture"],
    }
    assert [verdict.label.status for verdict in state["verdicts"]["r1"]] == ["present", "unmentioned"]
    assert state["verdicts"]["r1"][0].rationale == "rule is right"
    assert state["committed"] == ["r1", "r2"]
    assert state["failures"] == []


def test_rules_alone_are_a_teacher() -> None:
    state = run(Teachers((WordRules(),)), chunk("edema"))
    assert state["committed"] == ["r1"]
    assert list(state["votes"]) == [RULE.labeler_id]
    assert state["disputes"] == {}


def test_failure_on_one_report_leaves_its_chunk_alone() -> None:
    state = run(
        Teachers((WordRules(),), (EvenHandedModel(),), FirstWins()), chunk("edema", "unreadable", "undecidable")
    )
    assert [(f.report_id, f.labeler_id, f.reason) for f in state["failures"]] == [
        ("r2", MODEL.labeler_id, "the answer is empty"),
        ("r3", FirstWins.spec.labeler_id, "no verdict"),
    ]
    assert state["committed"] == ["r1"]
    assert "r2" not in state["disputes"]


def test_what_no_report_can_get_past_leaves_the_graph() -> None:
    with pytest.raises(EgressError):
        run(Teachers((WordRules(),), (EvenHandedModel(),)), chunk("edema", "clear"), egress="local-only")


def test_corpus_without_policy_is_local_only() -> None:
    graph = build_graph(Teachers((WordRules(),), (EvenHandedModel(),)))
    with pytest.raises(EgressError):
        asyncio.run(label_chunk(graph, {"reports": chunk("edema")}))


def test_sink_gets_the_chunk_before_it_counts_as_committed() -> None:
    kept: list[ChunkState] = []

    async def keep(state: ChunkState) -> None:
        kept.append(state)

    graph = build_graph(Teachers((WordRules(),), (EvenHandedModel(),), FirstWins()), keep)
    asyncio.run(label_chunk(graph, {"reports": chunk("edema", "unreadable"), "egress": {"c": "any"}}))
    (state,) = kept
    assert state["committed"] == ["r1"]
    assert len(state["votes"][RULE.labeler_id]) == 2
    assert len(state["failures"]) == 1


def test_reports_may_come_as_json() -> None:
    graph = build_graph(Teachers((WordRules(),)))
    flat = {"report_id": "a", "findings": "edema", "impression": "edema"}
    nested = {"report_id": "b", "corpus": "c", "sections": {"text": "clear"}}
    state = asyncio.run(graph.ainvoke({"reports": [flat, nested]}))
    assert state["reports"] == [
        Report("a", "", {"findings": "edema", "impression": "edema"}),
        Report("b", "c", {"text": "clear"}),
    ]
    with pytest.raises(InputError, match="is not a report"):
        asyncio.run(graph.ainvoke({"reports": [{"report_id": "c"}]}))


def test_graph_tells_studio_what_it_takes() -> None:
    schema = build_graph(Teachers((WordRules(),))).get_input_jsonschema()
    assert set(schema["properties"]) == {"reports", "egress"}


def test_nothing_is_traced_although_the_environment_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # A trace is a copy of the reports. The endpoint that LangSmith is pointed at is a real server that counts.
    async def check() -> int:
        requests = 0

        async def count(request: web.Request) -> web.Response:
            nonlocal requests
            requests += 1
            return web.json_response({})

        application = web.Application()
        application.router.add_route("*", "/{path:.*}", count)
        monkeypatch.setenv("LANGSMITH_TRACING", "true")
        monkeypatch.setenv("LANGSMITH_API_KEY", "key")
        async with serving(application) as address:
            monkeypatch.setenv("LANGSMITH_ENDPOINT", address)
            await label_chunk(build_graph(Teachers((WordRules(),))), {"reports": chunk("edema")})
            await asyncio.sleep(0.5)
        return requests

    assert asyncio.run(check()) == 0


@pytest.mark.parametrize(
    ("first", "second", "agreed", "disputed"),
    [("present", "present", 1, 0), ("present", "absent", 0, 1), ("uncertain", "unmentioned", 0, 1)],
)
def test_two_statuses_are_a_dispute(first: Status, second: Status, agreed: int, disputed: int) -> None:
    report = Report("r1", "c", {"findings": "x", "impression": "y"})
    found = compare(report, [[vote(first)], [vote(second, MODEL)]], {RULE.labeler_id: "rule"})
    assert (found.agreed, len(found.disputes)) == (agreed, disputed)
    if disputed:
        assert found.disputes[0].names == ("rule", MODEL.labeler_id)


def test_silence_from_a_narrower_scope_is_no_dispute() -> None:
    report = Report("r1", "c", {"findings": "edema", "impression": "normal"})
    narrow, wide = vote("unmentioned", scope="impression"), vote("present", MODEL, scope="full")
    assert compare(report, [[narrow], [wide]]).silent == 1
    assert compare(report, [[wide], [narrow]]).silent == 1
    # Silence from the wider scope is a statement, and so is a status from the narrower one.
    silent_wide = vote("unmentioned", MODEL, scope="full")
    assert len(compare(report, [[vote("present", scope="impression")], [silent_wide]]).disputes) == 1
    assert len(compare(report, [[vote("absent", scope="impression")], [wide]]).disputes) == 1


def test_scopes_that_cover_the_same_words_are_equally_wide() -> None:
    report = Report("r1", "c", {"impression": "edema"})
    found = compare(report, [[vote("unmentioned", scope="impression")], [vote("present", MODEL, scope="full")]])
    assert len(found.disputes) == 1


def test_three_votes_are_weighed_together_and_those_that_read_too_little_are_left_out() -> None:
    report = Report("r1", "c", {"findings": "edema", "impression": "normal"})
    third = Labeler("llm", "llm:n", "1")
    two_to_one = compare(report, [[vote("present")], [vote("absent", MODEL)], [vote("present", third)]])
    assert [given.status for given in two_to_one.disputes[0].votes] == ["present", "absent", "present"]
    silent = vote("unmentioned", scope="impression")
    agreeing = compare(report, [[silent], [vote("present", MODEL)], [vote("present", third)]])
    assert (agreeing.agreed, agreeing.silent, agreeing.disputes) == (0, 1, ())
    differing = compare(report, [[silent], [vote("present", MODEL)], [vote("absent", third)]])
    assert [given.labeler_id for given in differing.disputes[0].votes] == [MODEL.labeler_id, third.labeler_id]


class SecondOpinion(EvenHandedModel):
    """Another model that finds everything present, and does not get to ask about some reports."""

    spec = Labeler("llm", "llm:n", "1")

    async def label(self, report: Report, egress: str) -> Reply:
        if "later" in report.text("full"):
            raise Postponed
        return Reply([vote("present", self.spec, target, on=report.report_id) for target in TARGETS], "call_2")


def test_each_labeler_has_a_node_and_a_vote() -> None:
    teachers = Teachers((WordRules(),), (EvenHandedModel(), SecondOpinion()), FirstWins())
    graph = build_graph(teachers)
    assert {"rule_labeler", "llm_labeler", "llm_labeler_2"} <= set(graph.nodes)
    state = run(teachers, chunk("edema"))
    assert set(state["votes"]) == {spec.labeler_id for spec in teachers.voters}
    assert [len(dispute.votes) for dispute in state["disputes"]["r1"]] == [3, 3]


def test_a_report_with_a_question_that_was_not_sent_is_neither_done_nor_failed() -> None:
    state = run(Teachers((WordRules(),), (EvenHandedModel(), SecondOpinion()), FirstWins()), chunk("edema", "later"))
    assert (state["committed"], state["postponed"], state["failures"]) == (["r1"], {"r2"}, [])


def test_a_teacher_needs_labelers_each_of_them_once() -> None:
    with pytest.raises(SettingError, match="each of them once"):
        Teachers()
    with pytest.raises(SettingError, match="each of them once"):
        Teachers((WordRules(), WordRules()))


def test_diseases_and_targets_of_one_labeler_are_not_compared() -> None:
    report = Report("r1", "c", {"findings": "x"})
    disease = Label("r1", "diseases", "Edema", "present", MODEL.labeler_id, "full")
    assert compare(report, [[vote("absent")], [disease]]).disputes == ()
    assert compare(report, [[vote("absent")], []]).agreed == 0


def test_drawing_shows_every_node_once_in_the_order_of_the_links() -> None:
    links = links_of(build_graph(Teachers((WordRules(),), (EvenHandedModel(),), FirstWins())))
    assert Link("compare", "adjudicator", "disagreements") in links
    picture = draw(links)
    names = ["START", "rule_labeler", "llm_labeler", "compare", "adjudicator", "commit", "END"]
    places = [picture.index(f" {name} ") if "_" in name else picture.index(name) for name in names]
    assert places == sorted(places)
    assert all(picture.count(name) == 1 for name in names)


def test_drawing_of_a_branch_and_a_link_past_a_layer() -> None:
    drawn = draw([Link("START", "a"), Link("a", "b", "yes"), Link("a", "END", "no"), Link("b", "END")])
    assert drawn.splitlines() == [
        "   START",
        "     │",
        "   ┌─┴─┐",
        "   │ a │",
        "   └─┬─┘",
        "  ┌──┴───┐",
        " yes    no",
        "┌─┴─┐    │",
        "│ b │    │",
        "└─┬─┘    │",
        "  └──┬───┘",
        "    END",
    ]


def test_langgraph_json_names_the_graph_and_it_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "TEACHBACK_LLM"):
        monkeypatch.delenv(name, raising=False)
    root = Path(__file__).resolve().parents[2]
    named = json.loads((root / "langgraph.json").read_text())["graphs"]["teacher"]
    path, _, factory = named.partition(":")
    spec = importlib.util.spec_from_file_location("studio_entry", root / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    report = {"report_id": "a", "findings": "Moderate left pleural effusion.", "impression": "No pneumothorax."}

    async def invoke() -> ChunkState:
        async with getattr(module, factory)() as graph:
            state: ChunkState = await graph.ainvoke({"reports": [report]})
            return state

    state = asyncio.run(invoke())
    assert state["committed"] == ["a"]
    by_model, by_rules = sorted((given["a"] for given in state["votes"].values()), key=len, reverse=True)
    assert {label.target: label.status for label in by_rules}["Pleural Effusion"] == "present"
    assert len([label for label in by_model if label.task == "findings"]) == 13
