"""`teachback demo`: killed at random points it goes on, run again it redoes nothing, and its page opens offline."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from teachback.store.asking import ask as ask_locked
from teachback.store.asking import lock_down
from teachback.store.database import open_snapshot
from teachback.store.queries import example_queries

KILLS = 3
SECONDS = (4.0, 14.0)  # when a kill comes; the demo of these settings takes about half a minute


MEASURES = (
    *("scores()", "scores('sex')", "scores('age')", "status_confusion()", "calibration_scores()", "kappas", "alphas"),
    *("disease_scores", "label_votes", "judged_labels"),
)
# Questions that a demo of 600 reports may have no answer to: it may feed nothing back, and err in no code.
RARELY = ("drift", "fed_back", "repeated_reports", "ungrounded", "unfinished_runs", "wrong_codes", "adapter_diet")


def ask(store: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(query).fetchall()


def times(folder: Path) -> dict[str, int]:
    """When each file of a finished demo was written, without the store's own and the page, which are written anew."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if (path.is_file() and path.suffix in (".npz", ".safetensors")) or path.name == "train.json"
    }


@pytest.mark.slow
def test_a_killed_demo_goes_on_and_a_finished_one_rests(tmp_path: Path) -> None:
    for module in ("torch", "bitsandbytes", "peft", "trl"):
        pytest.importorskip(module)
    train = {"lora_r": 4, "epochs": 1.0, "batch": 16, "micro_batch": 16, "save_steps": 2, "learning_rate": 3e-3}
    preset = tmp_path / "short.yaml"
    preset.write_text(yaml.safe_dump({"student": "tiny", "prompt": "short", "rounds": 2, "train": train}))
    folder = tmp_path / "demo"
    command = [sys.executable, "-m", "teachback", "demo", str(folder), "--reports", "600", "--taught", "100"]
    command += ["--preset", str(preset), "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    chance = random.Random(1)
    for _ in range(KILLS):
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        time.sleep(chance.uniform(*SECONDS))
        running.send_signal(signal.SIGKILL)
        running.wait()
    first = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    record = json.loads(first.stdout)
    store = folder / "labels.duckdb"
    assert ask(store, "SELECT count(*), count(DISTINCT report_id) FROM reports") == [(600, 600)]
    assert ask(store, "SELECT count(*) - count(DISTINCT label_id) FROM labels") == [(0,)]
    assert ask(store, "SELECT count(*) - count(DISTINCT llm_call_id) FROM llm_calls WHERE error IS NULL") == [(0,)]
    assert ask(store, "SELECT DISTINCT model FROM labelers WHERE kind IN ('llm', 'adjudicator')") == [("stand-in",)]
    assert {"base", "feedback", "linear"} <= {round_["arm"] for round_ in record["rounds"]}
    assert "stand-in" in first.stderr

    connection, _ = open_snapshot(store)
    with connection:
        lock_down(connection)
        answered = {q.name: len(list(ask_locked(connection, q.sql()).rows())) for q in example_queries()}
        measures = {name: len(list(ask_locked(connection, f"FROM {name}").rows())) for name in MEASURES}
    # A demo has no reviewer, one version of each prompt, no failed report, and no text twice.
    silent = {name for name, rows in answered.items() if rows == 0}
    assert silent <= {"failed_reports", "prompt_flips", "reviewer_agreement", "reviewer_changes", *RARELY}
    assert all(measures.values()), measures

    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "stand-in" in page
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)  # nothing is fetched

    before, calls = times(folder), ask(store, "SELECT count(*) FROM llm_calls")
    again = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert times(folder) == before
    assert ask(store, "SELECT count(*) FROM llm_calls") == calls
    assert [r["test"] for r in json.loads(again.stdout)["rounds"]] == [r["test"] for r in record["rounds"]]
    assert "0 written, 600 were there before" in again.stderr
    assert "0 reports labelled now" in again.stderr
