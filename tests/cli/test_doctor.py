"""`teachback doctor` says what is there, shows no secrets and always exits 0."""

import importlib.util
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from teachback.cli import app, doctor
from teachback.store.database import Store

SECRET = "sk-very-secret"


def examine(*arguments: str) -> dict[str, dict[str, str]]:
    ended = CliRunner().invoke(app, ["doctor", "--json", *arguments], catch_exceptions=False)
    assert ended.exit_code == 0
    assert SECRET not in ended.output
    return {check["name"]: check for check in json.loads(ended.output)}


@pytest.mark.timeout(300)
def test_json_names_what_is_there_and_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://me:{SECRET}@127.0.0.1:8000/v1?key={SECRET}")
    found = examine("--store", str(tmp_path / "none.duckdb"))
    assert found["Python"]["state"] == "ok"
    assert "duckdb" in found["teachback"]["found"]
    assert "torch" not in found["teachback"]["found"]
    assert found["OPENAI_API_KEY"]["state"] == "ok"
    assert found["OPENAI_BASE_URL"]["found"] == "http://127.0.0.1:8000/v1"
    assert found["loopback"]["state"] == "ok"
    assert found["store"]["state"] == "missing"
    assert "teachback import" in found["store"]["remedy"]
    trainable = all(importlib.util.find_spec(name) for name in ("torch", "bitsandbytes", "trl", "peft"))
    assert found["train extra"]["state"] == ("ok" if trainable else "missing")
    assert found["bitsandbytes"]["state"] in ("ok", "missing")
    for check in found.values():
        assert (check["state"] == "ok") == (not check["gives"])


def test_a_crash_of_a_probe_is_only_a_line() -> None:
    answered, said = doctor._probe([doctor.sys.executable, "-c", "import os; os.abort()"])
    assert not answered
    assert said
    assert doctor._probe([doctor.sys.executable, "-c", "raise SystemExit('no such card')"]) == (False, "no such card")
    assert doctor._probe(["no-such-program"])[0] is False


def test_missing_key_says_what_it_would_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    check = doctor._check_key()
    assert check.state == "note"
    assert "OPENAI_API_KEY" in check.remedy


def test_a_store_is_counted(tmp_path: Path) -> None:
    with Store(tmp_path / "labels.duckdb"):
        pass
    check = doctor._check_store(tmp_path / "labels.duckdb")
    assert check.state == "ok"
    assert check.found.startswith("0 reports, 0 labels, 0 rounds; snapshot ")


def test_the_table_is_readable_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    doctor._print(
        [
            doctor.Check("cores", "ok", "2"),
            doctor.Check("train extra", "missing", "without torch", "students " * 20, "pip install 'teachback[train]'"),
        ]
    )
    shown = capsys.readouterr().out
    assert "pip install 'teachback[train]'" in shown
    assert "would give: students" in shown
    assert max(map(len, shown.splitlines())) <= 80
