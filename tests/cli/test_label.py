import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from teachback.agents.stand_in import stand_in_endpoint
from teachback.agents.tally import Tally
from teachback.agents.teach import Progress, TeachSummary
from teachback.cli import app
from teachback.cli.label_outcome import print_outcome
from teachback.errors import EgressError, SettingError, StoreError, TeacherError
from teachback.store.database import Store, open_snapshot
from teachback.store.label import Failure
from teachback.store.report import Report
from teachback.store.rows import report_row

SPECIMENS = (
    ("Moderate left pleural effusion. No pneumothorax.", "Left effusion with adjacent atelectasis."),
    ("The heart is enlarged. Lungs are clear.", "Possible mild edema."),
    ("Right lower lobe consolidation may represent pneumonia.", "Possible pneumonia."),
)


@pytest.fixture(autouse=True)
def no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "TEACHBACK_LLM_MODEL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "labels.duckdb"
    sections = [{"findings": first, "impression": f"{last} Case {n}."} for n in range(4) for first, last in SPECIMENS]
    reports = [Report(f"r{number:02}", "c", given) for number, given in enumerate(sections)]
    with Store(path) as opened:
        corpora = [{"corpus": "c", "egress": "local-only"}]
        opened.write({"reports": [report_row(report) for report in reports], "corpora": corpora})
    return path


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "100"})


def outcome(*words: str | Path) -> dict[str, Any]:
    labelled = run("label", *words, "--json")
    assert labelled.exit_code == 0, labelled.stderr
    read: dict[str, Any] = json.loads(labelled.stdout)
    return read


def test_without_an_endpoint_the_rules_label_alone(store: Path) -> None:
    came = outcome(store)
    assert came["run"]["taught"] == 12
    assert [votes["kind"] for votes in came["teacher"]["votes"]] == ["rule"]
    assert came["run"]["bill"]["calls"] == 0


def test_stand_in_labels_and_says_that_it_is_one(store: Path) -> None:
    printed = run("label", store, "--llm", "stand-in", "--limit", "6")
    assert printed.exit_code == 0
    assert "Labelled 6 of 6 selected reports." in printed.stdout
    assert "stand-in: no money was spent" in printed.stdout
    assert "adjudicator kept the rules' status" in printed.stdout
    again = run("label", store, "--llm", "stand-in", "--limit", "6").stdout
    assert "Nothing to do" in again
    assert "0 calls" in again
    rest = outcome(store, "--llm", "stand-in")
    assert (rest["selected"], rest["run"]["taught"]) == (12, 6)
    assert rest["teacher"]["stand_in"]


def test_snapshot_has_the_labels_when_the_command_ends(store: Path) -> None:
    outcome(store, "--llm", "stand-in")
    connection, _ = open_snapshot(store)
    with connection:
        assert connection.execute("SELECT count(*) FROM committed").fetchone() == (12,)
        config = connection.execute("SELECT config FROM runs").fetchone()
    assert config is not None
    assert json.loads(config[0])["model"] == "stand-in"


def test_each_scope_is_another_teacher(store: Path) -> None:
    full, impression = outcome(store), outcome(store, "--rule-scope", "impression")
    assert full["teacher_id"] != impression["teacher_id"]
    assert impression["run"]["taught"] == 12


def test_restricted_reports_are_not_sent_to_another_machine(store: Path) -> None:
    asked = run("label", store, "--llm", "openai", "--base-url", "http://models.example:1/v1")
    assert isinstance(asked.exception, EgressError)
    assert "--allow-egress-to models.example" in asked.exception.remedy


def test_unknown_model_stops_the_run_and_leaves_it_resumable(store: Path) -> None:
    with stand_in_endpoint() as base_url:
        asked = run("label", store, "--llm", "openai", "--base-url", base_url, "--model", "gpt-4o")
    assert isinstance(asked.exception, TeacherError)
    assert "gpt-4o" in str(asked.exception)
    assert outcome(store, "--llm", "stand-in")["run"]["taught"] == 12


@pytest.mark.parametrize("words", [("--llm", "gpt"), ("--scope", "all"), ("--split", "dev"), ("--corpus", "none")])
def test_wrong_options_are_named(store: Path, words: tuple[str, str]) -> None:
    error = run("label", store, *words).exception
    assert isinstance(error, SettingError)
    assert error.remedy


def test_missing_store_is_named_and_not_made(tmp_path: Path) -> None:
    assert isinstance(run("label", tmp_path / "none.duckdb").exception, StoreError)
    assert list(tmp_path.iterdir()) == []


def test_failures_are_counted_by_reason_with_the_command_that_retries_them() -> None:
    failures = (Failure("r1", "m", "the answer is [empty]"), Failure("r2", "m", "the answer is [empty]"))
    summary = TeachSummary("tch", "run", 10, Progress(10, taught=8, failed=2), failures)
    printed = io.StringIO()
    print_outcome(Console(file=printed, width=100), Path("s.duckdb"), summary, Tally(8, ()))
    lines = [" ".join(line.split()) for line in printed.getvalue().splitlines()]
    assert "Labelled 8 of 10 selected reports." in lines
    assert "2 failures" in lines
    assert "2 r1 the answer is [empty]" in lines
    assert any("tries them again" in line for line in lines)


def test_graph_is_drawn_as_picture_mermaid_and_json() -> None:
    assert "│ adjudicator │" in run("graph").stdout
    assert "adjudicator" not in run("graph", "--llm", "none").stdout
    assert "graph TD;" in run("graph", "--mermaid").stdout
    described = json.loads(run("graph", "--json", "--llm", "stand-in").stdout)
    assert {"source": "compare", "target": "commit", "when": "agreement"} in described["edges"]
    assert [member["kind"] for member in described["members"]] == ["rule", "llm", "adjudicator"]
