"""Figures of each group."""

from collections.abc import Iterator

import duckdb
import numpy as np
import pytest
from tests.store.judged_store import judged_store

from teachback.errors import StoreError
from teachback.store.database import open_snapshot
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.quality.breakdown import Group, break_down, fetch_groups
from teachback.store.quality.f1 import evaluate_statuses
from teachback.store.quality.subjects import fetch_compared


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    opened, _ = open_snapshot(judged_store(tmp_path_factory.mktemp("judged")))
    with opened:
        yield opened


def groups(connection: duckdb.DuckDBPyConnection, by: str, split: str | None = "gate") -> list[Group]:
    return break_down(connection, fetch_compared(connection, split=split), by, n_boot=20)


def names(rows: list[Group]) -> list[str]:
    return list(dict.fromkeys(row.group for row in rows))


def test_a_group_has_the_figures_of_its_reports(connection: duckdb.DuckDBPyConnection) -> None:
    compared = fetch_compared(connection, split="gate")
    for row in groups(connection, "sex"):
        mask = [value == row.group for value in fetch_groups(connection, "sex", compared.truth.report_ids)]
        part, said = compared.part(row.subject, np.array(mask))
        expected = evaluate_statuses(part.codes, said, part.clusters, n_boot=20)
        assert (row.micro, row.macro, row.weighted) == (expected.micro, expected.macro, expected.weighted)
        assert row.n_reports == expected.n_reports
    assert names(groups(connection, "sex")) == ["F", "M"]


def test_every_dimension_has_its_groups(connection: duckdb.DuckDBPyConnection) -> None:
    assert names(groups(connection, "finding")) == list(FINDINGS)
    assert names(groups(connection, "status")) == list(STATUSES)
    assert names(groups(connection, "scope")) == ["impression", "full"]
    assert names(groups(connection, "round")) == ["cmp_x 1 feedback", "cmp_x 2 feedback"]
    assert names(groups(connection, "corpus", None)) == ["one", "two"]
    assert names(groups(connection, "split", None)) == ["gate", "test", "(unknown)"]
    # ages 30 to 87, by twenties; the last two reports have none
    assert names(groups(connection, "age", None)) == ["20-39", "40-59", "60-79", "80-99", "(unknown)"]


def test_students_stay_off_test(connection: duckdb.DuckDBPyConnection) -> None:
    in_test = {row.subject.kind for row in groups(connection, "split", None) if row.group == "test"}
    assert in_test == {"rule", "llm"}
    assert "student" in {row.subject.kind for row in groups(connection, "sex", "test")}


def test_scopes_are_those_of_the_labels(connection: duckdb.DuckDBPyConnection) -> None:
    # the rules read only the impression of every third of the 30 reports of gate, and left out r06, r13, r20, r27;
    # of r00, r03 ... r27 they left out r06 and r27
    rule = {row.group: row.n_reports for row in groups(connection, "scope") if row.subject.kind == "rule"}
    assert rule == {"impression": 8, "full": 18}


def test_an_unknown_slice_is_refused_with_what_there_is(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(StoreError, match="no report has the slice 'site'") as raised:
        groups(connection, "site")
    assert "age, sex" in raised.value.remedy
