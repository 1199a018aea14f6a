"""What `teachback label` asks for and costs: the bill first, a hard stop, and nothing asked twice."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from teachback.cli import app
from teachback.errors import BudgetError, SettingError, TeacherError
from teachback.prompts import load_prompt
from teachback.store.database import open_snapshot

INPUT_USD, OUTPUT_USD = 2.50e-6, 10.00e-6  # a token of gpt-4o, by the shipped list
REPORTS = 12


@pytest.fixture(autouse=True)
def keyed(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "TEACHBACK_LLM_MODEL", "TEACHBACK_PRICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", gate.key)


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "140"})


def outcome(*words: str | Path) -> dict[str, Any]:
    labelled = run(*words, "--json")
    assert labelled.exit_code == 0, labelled.output + repr(labelled.exception)
    read: dict[str, Any] = json.loads(labelled.stdout)
    return read


def ask(store: Path, query: str) -> list[tuple[Any, ...]]:
    connection, _ = open_snapshot(store)
    with connection:
        return connection.execute(query).fetchall()


@pytest.fixture
def label(sendable: Path, gate: Any) -> tuple[str | Path, ...]:
    """The words of a job of twelve reports at a host whose calls have a price."""
    limit = ("--limit", str(REPORTS))
    return ("label", sendable, "--llm", "openai", "--base-url", gate.priced_url, *limit, "--concurrency", "8")


def edit(prompt: Path) -> Path:
    """Change a prompt's words, and not what it shows of the report."""
    text = prompt.read_text(encoding="utf-8")
    prompt.write_text(text.replace("You ", "You, dear model, ", 1), encoding="utf-8")
    assert prompt.read_text(encoding="utf-8") != text
    return prompt


def agents_of(bodies: list[dict[str, Any]]) -> Counter[str]:
    """Who asked, by what only the adjudicator's form has: a rationale."""
    forms = (json.dumps(body["response_format"]) for body in bodies)
    return Counter("adjudicator" if '"rationale"' in form else "llm_labeler" for form in forms)


def test_a_dry_run_says_calls_tokens_and_usd_by_labeler_and_sends_nothing(
    label: Any, gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")  # nobody is asked, so no key is needed
    estimate = outcome(*label, "--dry-run")
    model, adjudicator = estimate["agents"]
    assert (model["labeler"], model["calls"], model["cached"]) == ("llm:gpt-4o", REPORTS, 0)
    for agent in (model, adjudicator):
        priced = agent["prompt_tokens"] * INPUT_USD + agent["completion_tokens"] * OUTPUT_USD
        assert agent["cost_usd"] == pytest.approx(priced)
        assert agent["cost_usd"] < agent["cost_at_most_usd"]
    assert estimate["cost_usd"] == pytest.approx(model["cost_usd"] + adjudicator["cost_usd"])
    printed = run(*label, "--dry-run").stdout
    assert "12 of 12 selected reports are to be labelled; nothing was sent." in printed
    assert all(f"{model[name]:,}" in printed for name in ("prompt_tokens", "completion_tokens"))
    assert f"${estimate['cost_usd']:.4f}" in printed
    assert (gate.bodies, gate.keys) == ([], set())
    assert ask(label[1], "SELECT (SELECT count(*) FROM llm_calls), (SELECT count(*) FROM committed)") == [(0, 0)]


def test_a_dry_run_is_what_the_run_then_asks_for(label: Any, gate: Any, tmp_path: Path) -> None:
    outcome(*label)
    (mine := tmp_path / "mine.md").write_text(load_prompt("adjudicator").text, encoding="utf-8")
    changed = (*label, "--adjudicator-prompt", edit(mine))
    gate.bodies.clear()
    model, adjudicator = outcome(*changed, "--dry-run")["agents"]
    assert (model["cached"], model["calls"], model["cost_usd"]) == (REPORTS, 0, 0)
    disputed = ask(label[1], "SELECT count(DISTINCT report_id) FROM adjudications")[0][0]
    assert (adjudicator["cached"], adjudicator["calls"], adjudicator["calls_at_most"]) == (0, disputed, disputed)
    assert gate.bodies == []
    bill = outcome(*changed)["run"]["bill"]
    assert (bill["calls"], bill["reused"]) == (disputed, REPORTS)
    # The endpoint counts tokens its own way, so the bill is only near what was expected.
    assert bill["cost_usd"] == pytest.approx(adjudicator["cost_usd"], rel=0.5)


def test_what_is_on_this_machine_costs_nothing_and_a_batch_half(label: Any, gate: Any) -> None:
    local = outcome("label", label[1], "--llm", "openai", "--base-url", gate.url, "--dry-run")
    assert local["agents"][0]["calls"] > 0
    assert (local["cost_usd"], local["cost_at_most_usd"]) == (0, 0)
    whole, half = outcome(*label, "--dry-run"), outcome(*label, "--dry-run", "--batch")
    assert half["cost_usd"] == pytest.approx(whole["cost_usd"] / 2)
    assert "half price" in run(*label, "--dry-run", "--batch").stdout


def test_prices_are_the_users_to_edit(label: Any, tmp_path: Path) -> None:
    unknown = run(*label, "--model", "second", "--dry-run").stdout
    assert "unknown" in unknown
    assert "--prices FILE" in unknown
    refused = run(*label, "--model", "second", "--max-usd", "1")
    assert isinstance(refused.exception, SettingError)
    assert "price of second is not known" in refused.exception.message
    prices = tmp_path / "prices.yaml"
    prices.write_text("as_of: 2031-02-03\nmodels: {second: {input: 1000000, cached: 0, output: 0}}", "utf-8")
    estimate = outcome(*label, "--model", "second", "--prices", prices, "--dry-run")
    assert estimate["prices_as_of"] == "2031-02-03"
    assert estimate["agents"][0]["cost_usd"] == estimate["agents"][0]["prompt_tokens"]  # a dollar a token


def test_the_budget_stops_the_run_and_a_higher_one_goes_on_from_there(label: Any, gate: Any) -> None:
    alone = (*label, "--labelers", "llm")
    stopped = run(*alone, "--max-usd", "0.05")
    assert isinstance(stopped.exception, BudgetError)
    assert "the budget of $0.0500 is reached" in stopped.exception.message
    ((stored, spent),) = ask(label[1], "SELECT count(*), sum(cost_usd) FROM llm_calls WHERE error IS NULL")
    assert 0 < spent <= 0.05
    assert 0 < stored == len(gate.bodies) < REPORTS  # each call that was sent is paid for, and kept
    assert ask(label[1], "SELECT count(*) FROM committed") == [(stored,)]
    more = outcome(*alone, "--max-usd", "2")
    assert more["run"]["taught"] == REPORTS - stored
    assert len(gate.bodies) == len({json.dumps(body) for body in gate.bodies}) == REPORTS


def test_with_nothing_to_spend_nothing_is_sent(label: Any, gate: Any) -> None:
    assert isinstance(run(*label, "--max-usd", "0").exception, BudgetError)
    assert gate.bodies == []


def test_an_endpoint_that_wants_a_key_is_told_none(label: Any, gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    error = run(*label, "--labelers", "llm").exception
    assert isinstance(error, TeacherError)
    assert "401" in error.message
    assert "set OPENAI_API_KEY to a key for this endpoint" in error.remedy
    assert gate.bodies == []


def test_no_more_is_asked_at_once_than_was_allowed(label: Any, gate: Any) -> None:
    outcome(*label, "--concurrency", "3")
    assert 1 < gate.most_at_once <= 3


def test_a_warm_rerun_asks_nothing(label: Any, gate: Any) -> None:
    first = outcome(*label)
    assert len(gate.bodies) == first["run"]["bill"]["calls"]
    gate.bodies.clear()
    assert "Nothing to do" in run(*label).stdout
    # Another teacher, but the same questions: the answers are in the store.
    other = outcome(*label, "--labelers", "llm")
    assert (other["run"]["taught"], other["run"]["bill"]["reused"]) == (REPORTS, REPORTS)
    assert gate.bodies == []


@pytest.mark.parametrize("role", ["llm_labeler", "adjudicator"])
def test_an_edited_prompt_asks_again_for_its_agent_only(label: Any, gate: Any, tmp_path: Path, role: str) -> None:
    mine = {name: tmp_path / f"{name}.md" for name in ("llm_labeler", "adjudicator")}
    for name, path in mine.items():
        path.write_text(load_prompt(name).text, encoding="utf-8")
    words = (*label, "--prompt", mine["llm_labeler"], "--adjudicator-prompt", mine["adjudicator"])
    outcome(*words)
    before = agents_of(gate.bodies)
    assert before["llm_labeler"] == REPORTS > before["adjudicator"] > 0
    gate.bodies.clear()
    edit(mine[role])
    outcome(*words)
    assert agents_of(gate.bodies) == {role: before[role]}


def test_new_reports_are_asked_about_once_by_each_labeler(label: Any, gate: Any, tmp_path: Path) -> None:
    words = (*label[:6], "--labelers", "rule,llm,llm:second", "--aggregate", "majority")
    before = outcome(*words)
    gate.bodies.clear()
    table = tmp_path / "more.jsonl"
    assert run("synth", table, "--n", "7", "--seed", "99").exit_code == 0
    added = run("import", "table", table, "--corpus", "more", "--egress", "any", "--store", label[1])
    assert added.exit_code == 0, added.output
    after = outcome(*words)
    assert after["selected"] == before["selected"] + 7
    assert Counter(body["model"] for body in gate.bodies) == {"gpt-4o": 7, "second": 7}


def test_asking_again_and_again_gives_confidence_by_votes(label: Any, gate: Any) -> None:
    words = (*label, "--labelers", "llm")
    first = outcome(*words, "--repeat", "3")
    assert first["run"]["bill"]["calls"] == 3 * REPORTS
    assert len(gate.bodies) == 3 * REPORTS
    (behind,) = first["teacher"]["bill"]  # a label names one answer, and rests on all three
    assert behind["calls"] == 3 * REPORTS
    assert behind["prompt_tokens"] == first["run"]["bill"]["prompt_tokens"]
    sources = ask(
        label[1],
        "SELECT DISTINCT confidence_source FROM labels JOIN labelers USING (labeler_id) "
        "WHERE kind = 'llm' AND task = 'findings' AND confidence IS NOT NULL",
    )
    assert sources == [("vote",)]
    gate.bodies.clear()
    assert "Nothing to do" in run(*words, "--repeat", "3").stdout
    outcome(*words, "--repeat", "5")  # another teacher, of whose five questions three are answered
    assert len(gate.bodies) == 2 * REPORTS


@pytest.mark.parametrize("how", ["majority", "dawid-skene"])
def test_three_labelers_are_settled_by_a_vote(label: Any, gate: Any, how: str) -> None:
    came = outcome(*label[:6], "--labelers", "rule,llm,llm:second", "--aggregate", how)
    assert agents_of(gate.bodies) == {"llm_labeler": len(gate.bodies)}  # no adjudicator
    assert [member["votes"] for member in came["aggregated"]["members"]] == [came["selected"] * 13] * 3
    assert all(0.5 < member["accuracy"] <= 1 for member in came["aggregated"]["members"])
    settled = """
        SELECT count(*), count(*) FILTER (decided.status = v.status) FROM (
            SELECT report_id, target, any_value(status) AS status
            FROM labels JOIN labelers USING (labeler_id)
            WHERE kind IN ('rule', 'llm') AND task = 'findings'
            GROUP BY ALL HAVING count(*) = 3 AND count(DISTINCT status) = 1
        ) v JOIN teacher_labels decided USING (report_id, target)
    """
    ((unanimous, followed),) = ask(label[1], settled)
    assert followed == unanimous > came["selected"] * 13 / 2
    decided = dict(ask(label[1], "SELECT decided_by, count(*) FROM teacher_labels WHERE task = 'findings' GROUP BY 1"))
    assert sum(decided.values()) == came["selected"] * 13
    assert decided["aggregated"] > 0


def test_models_without_a_prompt_of_their_own_take_the_one_that_is_given(label: Any, gate: Any) -> None:
    came = outcome(*label, "--labelers", "llm,llm:second@default", "--prompt", "terse", "--aggregate", "adjudicate")
    names = {votes["name"] for votes in came["teacher"]["votes"] if votes["kind"] == "llm"}
    assert names == {"llm:gpt-4o@terse", "llm:second"}
    for words in (("--labelers", "rule"), ("--ensemble", "high-recall"), ("--labelers", "llm@default")):
        error = run(*label, *words, "--prompt", "terse").exception
        assert isinstance(error, SettingError)
        assert "--prompt terse is used by no labeler" in error.message


def test_another_way_to_vote_asks_nobody(label: Any, gate: Any) -> None:
    words = (*label, "--labelers", "rule,llm,llm:second,llm:third", "--aggregate")
    outcome(*words, "majority")
    assert len(gate.bodies) == 3 * REPORTS
    outcome(*words, "dawid-skene")
    assert len(gate.bodies) == 3 * REPORTS
    voted = ask(
        label[1],
        "SELECT name, count(*) FROM labels JOIN labelers USING (labeler_id) "
        "WHERE name IN ('majority', 'dawid-skene') GROUP BY 1 ORDER BY 1",
    )
    assert voted == [("dawid-skene", REPORTS * 13), ("majority", REPORTS * 13)]


def test_a_vote_of_two_is_refused(label: Any, gate: Any) -> None:
    error = run(*label, "--aggregate", "dawid-skene").exception
    assert isinstance(error, SettingError)
    assert "needs 3 labelers" in error.message
    assert "--labelers" in error.remedy
    assert gate.bodies == []


def test_five_prompts_that_lean_to_recall_vote_together(label: Any, gate: Any) -> None:
    came = outcome(*label, "--ensemble", "high-recall", "--aggregate", "majority")
    assert len(gate.bodies) == 5 * REPORTS
    assert len({body["messages"][0]["content"] for body in gate.bodies}) == 5
    assert len(came["aggregated"]["members"]) == 5
    gate.bodies.clear()
    joined = outcome(*label, "--ensemble", "high-recall", "--labelers", "rule", "--aggregate", "majority")
    assert len(joined["aggregated"]["members"]) == 6
    assert gate.bodies == []
    assert "rules' status" not in run(*label, "--ensemble", "high-recall").stdout  # no rules among them


def test_a_batch_is_handed_in_and_fetched_by_the_same_command(label: Any, gate: Any) -> None:
    words = ("label", label[1], "--llm", "openai", "--model", "stand-in", "--base-url", gate.url, "--limit", "12")
    first = run(*words, "--batch")
    assert first.exit_code == 0, first.output + repr(first.exception)
    assert "Next: " in first.stdout
    passes = [outcome(*words, "--batch")]
    while not passes[-1]["done"]:
        assert len(passes) < 10
        passes.append(outcome(*words, "--batch"))
    assert ask(label[1], "SELECT count(*) FROM committed") == [(REPORTS,)]
    assert gate.bodies == []  # nothing was asked one by one
    assert "Nothing to do" in run(*words).stdout
