"""`teachback import` as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from teachback.cli import app, main
from teachback.store.database import open_snapshot

TABLE = b"report_id,findings,impression,Edema\n1,Lungs clear.,Normal.,0\n2,,,\n3,Edema.,Edema.,1\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "t.csv").write_bytes(TABLE)
    return tmp_path / "t.csv"


def test_the_summary_names_what_was_skipped(table: Path, tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["import", "table", str(table), "--store", str(tmp_path / "s.duckdb"), "--curated"])
    assert shown.exit_code == 0
    assert "skipped t.csv, row 3: no text: findings, impression and text are all empty" in shown.output
    assert "splits of the store: train" in shown.output
    again = CliRunner().invoke(app, ["import", "table", str(table), "--store", str(tmp_path / "s.duckdb"), "--curated"])
    assert "already there: nothing new was written" in again.output


def test_json_for_programs(table: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.duckdb"
    command = ["import", "table", str(table), "--corpus", "mine", "--store", str(store), "--labels-from", "A", "--json"]
    summary = json.loads(CliRunner().invoke(app, command).stdout)
    assert (summary["corpus"], summary["read"], summary["added"], summary["labels_added"]) == ("mine", 3, 2, 2)
    assert summary["first_skipped"][0]["row"] == 3
    connection, _ = open_snapshot(store)
    with connection:
        assert connection.execute("SELECT egress FROM corpora").fetchall() == [("local-only",)]
        assert connection.execute("SELECT command, status FROM runs JOIN run_ends USING (run_id)").fetchall() == [
            ("import table", "finished")
        ]


@pytest.mark.parametrize("content", [b"id,text\n1,a\n", b"report_id,findings\n1,\n"])
def test_a_refused_file_leaves_no_store(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    command = [sys.executable, "-c", "from teachback.cli import main; main()", "import", "table", "bad.csv"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.startswith("error: bad.csv") or "reports of bad.csv can be taken" in run.stderr
    assert "Traceback" not in run.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["bad.csv"]


@pytest.mark.parametrize("verb", ["openi", "mimic-cxr"])
def test_a_missing_collection_is_an_error_with_a_remedy(
    tmp_path: Path, verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["teachback", "import", verb, str(tmp_path / "none")])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert "error: there is no" in error
    assert "  -> name the folder" in error


def test_each_verb_has_an_example() -> None:
    for verb in ("openi", "mimic-cxr", "table"):
        assert f"teachback import {verb}" in CliRunner().invoke(app, ["import", verb, "--help"]).output
