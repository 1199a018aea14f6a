"""Everything but training works where the training libraries are not installed."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

# Takes the place of an installation without `[train]`: none of its libraries can be imported.
_LIGHT = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    names = {"torch", "transformers", "trl", "peft", "bitsandbytes", "accelerate", "datasets", "safetensors",
             "tokenizers", "sklearn", "scipy", "matplotlib", "pandas"}

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)

sys.meta_path.insert(0, Absent())
from teachback.cli import main
main()
"""


@pytest.fixture(autouse=True)
def no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "TEACHBACK_LLM_MODEL"):
        monkeypatch.delenv(name, raising=False)


def teachback(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _LIGHT, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


def printed(folder: Path, *words: str) -> str:
    ran = teachback(folder, *words)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_an_auditor_needs_no_training_library(tmp_path: Path) -> None:
    printed(tmp_path, "synth", "reports.jsonl", "--n", "120")
    options = ("--corpus", "synthetic", "--egress", "any", "--curated", "--store", "labels.duckdb")
    printed(tmp_path, "import", "table", "reports.jsonl", *options)
    labelled = json.loads(printed(tmp_path, "label", "labels.duckdb", "--llm", "stand-in", "--limit", "60", "--json"))
    assert labelled["run"]["taught"] == 60
    query = "SELECT kind, count(*) AS n FROM labels JOIN labelers USING (labeler_id) GROUP BY 1"
    counted = {row["kind"]: row["n"] for row in json.loads(printed(tmp_path, "sql", "labels.duckdb", query, "--json"))}
    assert {"human", "rule", "llm"} <= set(counted)
    assert counted["rule"] == 60 * 13
    judged = json.loads(printed(tmp_path, "evaluate", "labels.duckdb", "--split", "all", "--n-boot", "50", "--json"))
    assert "rule" in json.dumps(judged)


def test_a_table_is_labelled_by_rules(tmp_path: Path) -> None:
    printed(tmp_path, "synth", "reports.csv", "--n", "30")
    printed(tmp_path, "rules", "label", "reports.csv", "labels.csv")
    with (tmp_path / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    assert {row["Pneumothorax"] for row in rows} <= {"1.0", "0.0", "-1.0", ""}


@pytest.mark.parametrize(
    "words", [("distill", "labels.duckdb"), ("demo", "demo"), ("init-student", "student")], ids=lambda words: words[0]
)
def test_training_says_what_to_install(tmp_path: Path, words: tuple[str, ...]) -> None:
    refused = teachback(tmp_path, *words)
    assert refused.returncode == 2
    assert "pip install 'teachback[train]'" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_doctor_and_graph_answer(tmp_path: Path) -> None:
    checks = json.loads(printed(tmp_path, "doctor", "--json"))
    assert {check["state"] for check in checks} <= {"ok", "missing", "note"}
    assert "adjudicator" in printed(tmp_path, "graph")
