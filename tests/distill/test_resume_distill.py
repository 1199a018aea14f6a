"""`teachback distill`, killed with SIGKILL at random points and run again: nothing is lost, nothing is done twice."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from teachback.store.database import open_snapshot

KILLS = 3
NEW_FILES = 14  # a kill comes after at most so many files more; a campaign of these settings writes about 45
# What tells when and how often a process ran, not what came of it.
PASSING = (
    "seconds",
    "tokens_per_second",
    "energy_joules",
    "energy_missing",
    "resumed",
    "skipped_checkpoints",
    "environment",
    "folder",
    "champion_adapter",
)


def ask(store: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(store)) as connection:
        return connection.execute(query).fetchall()


def lasting(record: Any) -> Any:
    """A record without what depends on the process."""
    if isinstance(record, dict):
        return {name: lasting(value) for name, value in record.items() if name not in PASSING}
    return [lasting(value) for value in record] if isinstance(record, list) else record


def finished_files(campaigns: Path) -> dict[Path, int]:
    """The files of finished steps, with their time of writing; cards are written when the campaign ends."""
    steps = [*campaigns.rglob("*.npz"), *campaigns.rglob("calibration.json"), *campaigns.rglob("train.json")]
    adapters = [file for step in campaigns.rglob("train.json") for file in (step.parent / "adapter").iterdir()]
    files = [file for file in (*steps, *adapters, *campaigns.rglob("diseases-*.json")) if file.name[0] != "."]
    files = [file for file in files if file.name != "README.md"]
    return {file: file.stat().st_mtime_ns for file in files}


def run_and_kill(command: list[str], campaigns: Path, more: int, delay_s: float) -> bool:
    """Run a command and kill it once so many files have come; return whether it was still running."""
    seen = set(campaigns.rglob("*"))
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
    while len(set(campaigns.rglob("*")) - seen) < more and running.poll() is None:
        time.sleep(0.002)
    time.sleep(delay_s)
    running.send_signal(signal.SIGKILL)
    return running.wait() == -signal.SIGKILL


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_a_killed_campaign_goes_on_where_it_was(labelled: Path, finished: Any, tmp_path: Path) -> None:
    whole, settings, uninterrupted, _, _ = finished
    chance = random.Random(0)
    preset = tmp_path / "mine.yaml"
    preset.write_text(yaml.safe_dump(settings.model_dump()))
    store = tmp_path / "labels.duckdb"
    shutil.copyfile(labelled, store)
    campaigns = store.with_name("labels-campaigns")
    command = [sys.executable, "-m", "teachback", "distill", str(store), "--preset", str(preset), "--json"]
    kills = 0
    done: dict[Path, int] = {}
    for _ in range(KILLS):
        kills += run_and_kill(command, campaigns, chance.randint(2, NEW_FILES), chance.random() * 0.2)
        now = finished_files(campaigns)
        assert {file: now[file] for file in done} == done  # no finished step is repeated
        done = now
        assert ask(store, "SELECT count(*) - count(DISTINCT label_id) FROM labels") == [(0,)]
        halves = "SELECT round_id FROM rounds ANTI JOIN training_rows USING (round_id)"
        assert ask(store, halves) == []
    assert kills == KILLS
    assert done

    ended = subprocess.run(command, check=True, capture_output=True, text=True, env=environment())
    now = finished_files(campaigns)
    assert {file: now[file] for file in done} == done
    record = json.loads(ended.stdout)
    assert lasting(record) == lasting(uninterrupted)  # adapters to the bit: their hashes are in it
    for table in ("labels", "training_rows", "evaluations", "rounds", "round_decisions"):
        apart = {"rounds": ", adapter_path"}.get(table, "")
        stamped = ", created_at" if table != "training_rows" else ""
        query = f"SELECT * EXCLUDE (round_id{apart}{stamped}), round_id FROM {table} ORDER BY ALL"
        assert ask(store, query) == ask(whole, query)
    assert ask(store, "SELECT count(*), count(DISTINCT label_id) FROM labels") == ask(
        whole, "SELECT count(*), count(*) FROM labels"
    )
    connection, _ = open_snapshot(store)
    with connection:
        assert connection.execute("SELECT count(*) FROM rounds").fetchall() == ask(whole, "SELECT count(*) FROM rounds")
