"""Runs are recorded once, in front of their rows, however they end."""

from pathlib import Path
from typing import Any

import duckdb
import pytest

from teachback.store.runs import recorded_run
from teachback.store.writer import Writer

QUERY = "SELECT command, status, summary FROM runs LEFT JOIN run_ends USING (run_id)"


def runs(store: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(QUERY).fetchall()


@pytest.mark.parametrize("later", [False, True])
def test_a_run_is_recorded_whether_or_not_it_was_begun(tmp_path: Path, later: bool) -> None:
    with Writer(tmp_path / "s.duckdb") as writer, recorded_run(writer, "label", {}, later=later) as run:
        run.summary["reports"] = 3
    assert runs(tmp_path / "s.duckdb") == [("label", "finished", '{"reports": 3}')]


def test_begun_twice_it_is_one_run(tmp_path: Path) -> None:
    with Writer(tmp_path / "s.duckdb") as writer, recorded_run(writer, "label", {}, later=True) as run:
        assert writer.reader().execute("SELECT count(*) FROM runs").fetchone() == (0,)
        assert run.begin() is run.begin()
        run.begin().result()
        assert writer.reader().execute("SELECT count(*) FROM runs").fetchone() == (1,)
    assert len(runs(tmp_path / "s.duckdb")) == 1


def test_what_failed_before_it_was_begun_says_why(tmp_path: Path) -> None:
    with Writer(tmp_path / "s.duckdb") as writer, pytest.raises(ValueError, match="no"):  # noqa: SIM117
        with recorded_run(writer, "label", {}, later=True):
            raise ValueError("no")
    assert runs(tmp_path / "s.duckdb") == [("label", "failed", '{"error": "no"}')]
