import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from teachback.cli import app
from teachback.errors import SettingError, TeachbackError
from teachback.prompts import PROMPTS_VARIABLE, load_prompt
from teachback.store.label import FINDINGS

VARIABLES = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "TEACHBACK_LLM_MODEL", "TEACHBACK_PRICES", PROMPTS_VARIABLE)


@pytest.fixture(autouse=True)
def no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imported")
    table, store = folder / "reports.jsonl", folder / "labels.duckdb"
    for words in (
        ("synth", table, "--n", "120", "--seed", "5"),
        ("import", "table", table, "--corpus", "synthetic", "--egress", "any", "--curated", "--store", store),
    ):
        assert run(*words).exit_code == 0
    return store


@pytest.fixture
def store(imported: Path, tmp_path: Path) -> Path:
    for file in imported.parent.glob("*.duckdb"):
        shutil.copy(file, tmp_path)
    return tmp_path / imported.name


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A prompt of one's own, with words around the report that make the stand-in err elsewhere."""
    path = tmp_path / "mine.md"
    text = load_prompt("llm_labeler").text.replace("{{ report |", '{{ ("Read at night. " ~ report) |')
    path.write_text(text.replace("You do not diagnose", "You never diagnose"), encoding="utf-8")
    return path


def run(*words: str | Path, columns: int = 140) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": str(columns)})


def said(*words: str | Path) -> Any:
    answered = run(*words, "--json")
    assert answered.exit_code == 0, answered.output
    return json.loads(answered.stdout)


def error_of(*words: str | Path) -> TeachbackError:
    error = run(*words).exception
    assert isinstance(error, TeachbackError)
    assert error.remedy
    return error


def test_the_list_names_each_prompt_with_what_it_asks_for(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder := mine.parent / "own" / "llm_labeler").mkdir(parents=True)
    shutil.copy(mine, folder / "night.md")
    (folder / "broken.md").write_text("no front matter", encoding="utf-8")
    monkeypatch.setenv(PROMPTS_VARIABLE, str(folder.parent))
    listed = {entry["name"]: entry for entry in said("prompts", "list", "--role", "llm_labeler")}
    assert {"default", "night", "broken"} <= set(listed)
    assert listed["night"]["tasks"] == ["findings", "diseases"]
    assert listed["night"]["parameters"]["max_tokens"] == 2000
    assert "no front matter" in listed["broken"]["problem"]
    printed = run("prompts", "list").stdout
    assert listed["night"]["prompt_id"][:12] in printed
    assert "adjudicator" in printed


def test_a_prompt_is_shown_as_it_stands(mine: Path) -> None:
    assert run("prompts", "show", mine).stdout == mine.read_text("utf-8")
    assert run("prompts", "show", "default", "--role", "adjudicator").stdout == load_prompt("adjudicator").text


def test_a_prompt_is_shown_as_it_would_be_sent(store: Path, mine: Path) -> None:
    shown = run("prompts", "show", mine, "--report", "syn-5-000003", "--store", store).stdout
    assert "Read at night. " in shown
    assert " tokens with the form" in shown
    assert said("prompts", "show", mine, "--report", "syn-5-000003", "--store", store)["tokens"] > 1000
    assert isinstance(error_of("prompts", "show", mine, "--report", "syn-5-000003"), SettingError)


def test_lint_names_file_and_line_and_fails_on_errors(mine: Path) -> None:
    fine = run("prompts", "lint")
    assert fine.exit_code == 0
    assert "0 errors" in fine.stdout
    mine.write_text(mine.read_text("utf-8").replace("{{ (", "{{ nonsense ~ ("), encoding="utf-8")
    wrong = run("prompts", "lint", "default", mine, columns=300)
    assert wrong.exit_code == 1
    line = next(n for n, text in enumerate(mine.read_text("utf-8").splitlines(), 1) if "nonsense" in text)
    assert f"{mine}:{line}" in wrong.stdout
    told = json.loads(run("prompts", "lint", mine, "--json").stdout)
    assert [(entry["file"], entry["severity"], entry["line"]) for entry in told] == [(str(mine), "error", line)]
    assert isinstance(error_of("prompts", "lint", "nope"), SettingError)


def test_diff_marks_what_changed(mine: Path) -> None:
    shown = run("prompts", "diff", "default", mine).stdout
    assert "You do not diagnose" in shown
    assert "You never diagnose" in shown
    lines = said("prompts", "diff", "default", mine)["lines"]
    assert [line["place"] for line in lines] == ["removed", "added"] * 2
    assert "say the same" in run("prompts", "diff", "default", "default").stdout


def test_one_report_is_tried_and_kept(store: Path, mine: Path) -> None:
    words = ("prompts", "try", mine, "--report", "syn-5-000003", "--store", store, "--llm", "stand-in")
    shown = run(*words)
    assert shown.exit_code == 0, shown.output
    assert "1 call, now stored" in shown.stdout
    assert all(finding.split()[0] in shown.stdout for finding in FINDINGS)
    again = said(*words)
    assert again["call"]["from_store"]
    assert len([label for label in again["labels"] if label["task"] == "findings"]) == 13
    assert "no call" in run(*words).stdout


def test_two_prompts_are_compared_and_the_second_time_nothing_is_asked(store: Path, mine: Path) -> None:
    page = mine.parent / "out" / "compare.html"
    words = ("prompts", "compare", "default", mine, "--store", store, "--llm", "stand-in", "--sample", "10")
    first = said(*words, "--html", page)
    assert first["calls_sent"] == 20
    assert f'<th scope="row">{FINDINGS[0]}</th>' in page.read_text("utf-8")
    printed = run(*words)
    assert printed.exit_code == 0, printed.output
    assert "10 of " in printed.stdout
    assert "Holm's correction over the 13 findings" in " ".join(printed.stdout.split())
    assert "calibration has been looked at twice by 2 different prompts" in " ".join(printed.stdout.split())
    assert said(*words)["calls_sent"] == 0
    mine.write_text(mine.read_text("utf-8").replace("You never", "You most certainly never"), encoding="utf-8")
    assert said(*words)["calls_sent"] == 10


def test_the_bill_comes_first_where_it_is_asked_for(store: Path, mine: Path) -> None:
    words = ("prompts", "compare", "default", mine, "--store", store, "--llm", "stand-in", "--sample", "10")
    before = said(*words, "--dry-run")
    assert [(agent["cached"], agent["calls"]) for agent in before["agents"]] == [(0, 10), (0, 10)]
    assert said(*words)["calls_sent"] == 20
    mine.write_text(mine.read_text("utf-8").replace("You never", "You most certainly never"), encoding="utf-8")
    after = said(*words, "--dry-run")
    assert [(agent["cached"], agent["calls"]) for agent in after["agents"]] == [(10, 0), (0, 10)]
    assert "mean answer of 20 stored calls of this model" in after["agents"][1]["basis"]
    assert said("sql", store, "SELECT count(*) AS looks FROM looks") == [{"looks": 1}]
    priced = said(
        *words[:6], "--llm", "openai", "--base-url", "http://models.example/v1", "--sample", "10", "--dry-run"
    )
    assert 0 < priced["cost_usd"] < priced["cost_at_most_usd"]


def test_test_is_kept_for_final(store: Path, mine: Path) -> None:
    words = ("prompts", "compare", "default", mine, "--store", store, "--llm", "stand-in", "--sample", "5")
    assert "--final" in error_of(*words, "--split", "test").remedy
    assert "calibration" in error_of(*words, "--split", "gate").remedy
    assert "opened before" not in run(*words, "--final").stdout
    assert "warning: test has been opened before" in run(*words, "--final").stdout


def test_without_a_model_the_way_to_one_is_named(store: Path, mine: Path) -> None:
    assert not os.environ.get("OPENAI_API_KEY")
    for words in (("compare", "default", mine), ("try", mine, "--report", "syn-5-000003")):
        assert "--llm stand-in" in error_of("prompts", *words, "--store", store).remedy
