"""The store's benchmarks at a small size: they run, print what they promise, and their promises hold."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from teachback.store.queries import example_queries

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.slow


def run(script: str, *options: str) -> tuple[str, dict[str, Any]]:
    ran = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *options], capture_output=True, text=True, timeout=200, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout, json.loads(ran.stdout.splitlines()[-1])


def test_labels_are_written_read_meanwhile_and_asked_about(tmp_path: Path) -> None:
    options = ("--labels", "60000", "--readers", "2", "--most", "1")
    shown, figures = run("store.py", *options, "--folder", str(tmp_path / "s"))
    assert "rows/s, snapshots included" in shown
    assert figures["reader_failures"] == figures["torn_snapshots"] == 0
    assert {query["name"] for query in figures["queries"]} == {query.name for query in example_queries()}
    # Each of them finds something: a time of nothing at all would say nothing.
    assert {query["name"] for query in figures["queries"] if query["rows"] == 0} == set()
    assert {view["name"] for view in figures["views"] if view["rows"] == 0} == set()
    assert set(figures["others"]) == {"duckdb_ms", "sqlite_ms", "pandas_ms"}  # and their answers are the same
    assert abs(figures["labels"] - 60_000) < 20_000  # whole reports, whole chunks, and 13 labels of each curated one
    assert not (tmp_path / "s").exists()


def test_kills_lose_nothing() -> None:
    shown, figures = run("store_crashes.py", "--kills", "6")
    assert figures["kills"] == 6
    assert set(figures["problems"].values()) == {0}
    assert "while migrating" in shown
