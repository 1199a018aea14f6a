import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from teachback.cli import app
from teachback.errors import SettingError, StoreError
from teachback.store.database import Store
from teachback.store.report import Report
from teachback.store.rows import report_row


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "labels.duckdb"
    reports = [Report(f"r{number:03}", "c", {"findings": f"Film {number}. " + "x" * 300}) for number in range(150)]
    with Store(path) as opened:
        opened.write({"reports": [report_row(report) for report in reports]})
    return path


def sql(*words: str | Path, columns: int = 100) -> Result:
    return CliRunner().invoke(app, ["sql", *map(str, words)], env={"COLUMNS": str(columns)})


def error_of(*words: str | Path) -> BaseException | None:
    return sql(*words).exception


def test_table_is_printed_with_the_age_of_the_snapshot(store: Path) -> None:
    asked = sql(store, "SELECT corpus, count(*) AS n FROM reports GROUP BY 1")
    assert asked.exit_code == 0
    assert asked.stdout.split() == ["corpus", "n", *[word for word in asked.stdout.split() if "─" in word], "c", "150"]
    assert f"snapshot of {store}, " in asked.stderr
    assert " s old" in asked.stderr


def test_no_query_lists_tables_and_views_with_their_rows(store: Path) -> None:
    listed = json.loads(sql(store, "--json").stdout)
    rows = {(entry["kind"], entry["name"]): entry["rows"] for entry in listed}
    assert rows["table", "reports"] == 150
    assert rows["table", "labels"] == 0
    assert rows["view", "teacher_labels"] == 0


def test_json_and_csv_give_every_row_whole(store: Path) -> None:
    query = "SELECT report_id, findings, imported_at, [1, 2] AS pair FROM reports ORDER BY 1"
    found = json.loads(sql(store, query, "--json").stdout)
    assert len(found) == 150
    assert len(found[0]["findings"]) == len("Film 0. ") + 300
    assert found[0]["imported_at"].endswith("+00:00")
    rows = list(csv.DictReader(io.StringIO(sql(store, query, "--csv").stdout)))
    assert [row["findings"] for row in rows] == [row["findings"] for row in found]
    assert rows[0]["pair"] == "[1, 2]"


def test_sums_of_integers_are_numbers_in_json(store: Path) -> None:
    # 0 + 1 + 2 + 3 = 6, whose type in DuckDB is HUGEINT; 1.5 is a decimal.
    assert json.loads(sql(store, "SELECT sum(i) AS s, 1.5 AS d FROM range(4) t(i)", "--json").stdout) == [
        {"s": 6, "d": 1.5}
    ]


def test_what_is_not_shown_is_said(store: Path) -> None:
    shown = sql(store, "SELECT report_id FROM reports").stdout
    assert "The first 100 rows; there are more." in shown
    whole = sql(store, "SELECT report_id FROM reports ORDER BY 1", "--rows", "150").stdout
    assert "r149" in whole
    assert "there are more" not in whole
    cut = sql(store, "SELECT findings FROM reports LIMIT 2").stdout
    assert "2 values cut at 200 characters" in cut
    assert "No rows" in sql(store, "SELECT * FROM labels").stdout


def test_columns_that_do_not_fit_are_printed_as_blocks(store: Path) -> None:
    narrow = sql(store, "SELECT * FROM reports ORDER BY report_id", columns=60).stdout
    assert narrow.startswith("report_id    r000")
    assert "The first 10 rows; there are more." in narrow
    assert "r009" in narrow
    assert "r010" not in narrow


def test_markup_in_a_report_is_printed_as_it_stands(store: Path) -> None:
    assert "[bold]x[/bold]" in sql(store, "SELECT '[bold]x[/bold]' AS t").stdout


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT nothing FROM reports", 'Referenced column "nothing" not found'),
        ("SELEC 1", "syntax error"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("", "0 statements"),
        ("SELECT CASE WHEN i > 998 THEN CAST('x' || i AS INT) END FROM range(1000) t(i)", "Could not convert"),
    ],
)
def test_wrong_query_is_explained_in_one_line(store: Path, query: str, said: str) -> None:
    error = error_of(store, query)
    assert isinstance(error, SettingError)
    assert said in error.message
    assert "\n" not in error.message
    assert error.remedy


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM reports",
        "CREATE TABLE t AS SELECT 1",
        "SET enable_external_access = true",
        "COPY reports TO 'stolen.csv'",
        "SELECT * FROM read_text('/etc/hostname')",
        "ATTACH 'other.duckdb'",
    ],
)
def test_query_can_neither_write_nor_leave_the_snapshot(store: Path, query: str) -> None:
    assert isinstance(error_of(store, query), SettingError)
    assert json.loads(sql(store, "SELECT count(*) AS n FROM reports", "--json").stdout) == [{"n": 150}]


def test_store_can_be_asked_while_it_is_open_for_writing(store: Path) -> None:
    with Store(store) as opened:
        opened.write({"reports": [report_row(Report("late", "c", {"text": "x"}))]})
        query = "SELECT count(*) AS n FROM reports"
        assert json.loads(sql(store, query, "--json").stdout) == [{"n": 150}]
        opened.publish()
        assert json.loads(sql(store, query, "--json").stdout) == [{"n": 151}]


def test_missing_store_and_contradicting_options_are_named(store: Path, tmp_path: Path) -> None:
    assert isinstance(error_of(tmp_path / "none.duckdb", "SELECT 1"), StoreError)
    assert isinstance(error_of(store, "SELECT 1", "--json", "--csv"), SettingError)
