"""The same questions asked of SQLite, with the indexes that it wants, and of pandas on Parquet files.

Seven of the example queries, those that need neither lists nor structs nor the macros of lineage: SQLite's are in its
own SQL below, pandas' in `store_pandas.py`. Each must come to as many rows as ours, and to the same sum of counts.
"""

import sqlite3
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb
from store_asked import chosen_report, timed
from store_pandas import PANDAS

from teachback.store.asking import ask
from teachback.store.database import open_snapshot
from teachback.store.queries import find_query

__all__ = ["ask_others"]

TABLES = {
    "labels": "SELECT label_id, report_id, task, target, status, scope, labeler_id, confidence, confidence_source, "
    "evidence[1].quote AS quote FROM labels",
    "curated": "SELECT report_id, task, target, status FROM curated_labels",
    "labelers": "SELECT labeler_id, kind, name FROM labelers",
    "members": "SELECT teacher_id, labeler_id, seat, place FROM teacher_members",
    "prompts": "SELECT prompt_id, name FROM prompts",
    "llm_calls": "SELECT report_id, model, prompt_id, agent, prompt_tokens, completion_tokens, cost_usd, error, "
    "created_at::DATE::VARCHAR AS day FROM llm_calls",
}
INDEXES = (
    *("labels (report_id)", "labels (confidence)", "curated (report_id, task, target)", "labels (labeler_id, task)"),
)
_JUDGED = "FROM curated c JOIN labels l USING (report_id, task, target) JOIN labelers b USING (labeler_id)"
SQLITE = {
    "report_votes": """
        SELECT l.target, b.kind, b.name, l.status, round(l.confidence, 3), l.quote, l.label_id
        FROM labels l JOIN labelers b USING (labeler_id) WHERE report_id = ? AND status <> 'unmentioned'
    """,
    "low_confidence": """
        SELECT l.target, b.name, l.status, l.confidence, l.report_id, l.label_id
        FROM labels l JOIN labelers b USING (labeler_id)
        WHERE confidence < 0.6 ORDER BY confidence, label_id LIMIT 50
    """,
    "bill_by_day": """
        SELECT day, model, p.name, agent, count(*) AS calls, count(error), sum(prompt_tokens) + sum(completion_tokens),
            sum(cost_usd), sum(cost_usd) / nullif(count(*) - count(error), 0)
        FROM llm_calls LEFT JOIN prompts p USING (prompt_id) GROUP BY 1, 2, 3, 4
    """,
    "wrong_labels": f"""
        SELECT l.target, b.name, l.status, c.status, l.confidence, l.quote, l.label_id {_JUDGED}
        WHERE b.kind <> 'human' AND l.task = 'findings' AND (l.status = 'present') <> (c.status = 'present')
            AND (l.status <> 'unmentioned' OR l.scope = 'full')
        ORDER BY l.confidence DESC NULLS LAST, l.target, b.name, l.label_id LIMIT 50
    """,
    "error_rates": f"""
        SELECT b.name, b.labeler_id, count(*) FILTER (WHERE l.status <> 'unmentioned' OR l.scope = 'full') AS judged,
            count(*) FILTER (WHERE c.status <> 'present' AND l.status = 'present'),
            count(*) FILTER (WHERE c.status = 'present' AND l.status <> 'present') {_JUDGED}
        WHERE b.kind <> 'human' AND l.task = 'findings' GROUP BY 1, 2
    """,
    "calibration": f"""
        SELECT b.name, b.labeler_id, CAST(min(l.confidence, 0.999999) * 10 AS INTEGER), count(*) AS labels,
            avg(l.confidence), avg(l.status = c.status) {_JUDGED}
        WHERE l.confidence IS NOT NULL AND l.task = 'findings' GROUP BY 1, 2, 3
    """,
    "disagreements": """
        SELECT a.target, m.labeler_id, n.labeler_id, count(*) AS targets, count(*) FILTER (WHERE a.status <> b.status),
            count(*) FILTER (WHERE a.status <> b.status AND a.status = c.status),
            count(*) FILTER (WHERE a.status <> b.status AND b.status = c.status)
        FROM members m
        JOIN members n ON n.teacher_id = m.teacher_id AND n.seat = 'labeler' AND n.place > m.place
        JOIN labels a ON a.labeler_id = m.labeler_id AND a.task = 'findings'
        JOIN labels b ON b.labeler_id = n.labeler_id AND b.report_id = a.report_id AND b.task = a.task
            AND b.target = a.target
        LEFT JOIN curated c ON c.report_id = a.report_id AND c.task = 'findings' AND c.target = a.target
        WHERE m.seat = 'labeler' AND (a.status <> 'unmentioned' OR a.scope = 'full')
            AND (b.status <> 'unmentioned' OR b.scope = 'full')
        GROUP BY a.target, m.labeler_id, n.labeler_id
    """,
}
# The column whose sum must be the same; none where each row is a label.
COUNTED = {"bill_by_day": "calls", "error_rates": "judged", "calibration": "labels", "disagreements": "targets"}


def ask_others(store: Path, folder: Path, most: int) -> dict[str, Any]:
    """Ask everybody; print and return the milliseconds of each, the median of the runs.

    Raises:
        SystemExit: One comes to another answer than ours.
    """
    connection, _ = open_snapshot(store)
    with connection:
        report_id = chosen_report(connection)
        ours = {name: _ours(connection, name, report_id, most) for name in SQLITE}
        _write_parquet(connection, folder)
        lite = _sqlite(connection, folder / "labels.sqlite")
    theirs = {name: _lites(lite, name, report_id, most) for name in SQLITE}
    lite.close()
    frames = {name: _pandas(folder, name, report_id, most) for name in SQLITE}
    print(f"\n{'the same question, ms':24}{'DuckDB':>10}{'SQLite':>10}{'pandas':>10}")
    for name in SQLITE:
        told = (ours[name], theirs[name], frames[name])
        print(f"{name:24}" + "".join(f"{milliseconds:>10,.1f}" for milliseconds, _ in told))
        if len({answer for _, answer in told}) != 1:
            raise SystemExit(f"{name}: the answers differ (rows, sum): {[answer for _, answer in told]}")
    shown = {"duckdb_ms": ours, "sqlite_ms": theirs, "pandas_ms": frames}
    return {who: {name: told[0] for name, told in given.items()} for who, given in shown.items()}


Told = tuple[float, tuple[int, int]]  # milliseconds; rows, and the sum of their counts


def _ours(connection: duckdb.DuckDBPyConnection, name: str, report_id: str, most: int) -> Told:
    query = find_query(name)
    sql = query.sql({"report": report_id} if name == "report_votes" else {})
    return _measured(lambda: ask(connection, sql), lambda asked: (asked.names, asked.rows()), name, most)


def _lites(lite: sqlite3.Connection, name: str, report_id: str, most: int) -> Told:
    sql = SQLITE[name]

    def read(cursor: sqlite3.Cursor) -> tuple[list[str], Iterable[Sequence[Any]]]:
        return [column[0] for column in cursor.description], cursor.fetchall()

    return _measured(lambda: lite.execute(sql, [report_id] if "?" in sql else []), read, name, most)


def _pandas(folder: Path, name: str, report_id: str, most: int) -> Told:
    return _measured(
        lambda: PANDAS[name](folder, report_id),
        lambda frame: (list(frame.columns), frame.itertuples(index=False)),
        name,
        most,
    )


def _measured(
    run: Callable[[], Any], read: Callable[[Any], tuple[list[str], Iterable[Sequence[Any]]]], name: str, most: int
) -> Told:
    def whole() -> tuple[int, int]:
        names, rows = read(run())
        found = list(rows)
        place = names.index(COUNTED[name]) if name in COUNTED else -1
        return len(found), int(sum(row[place] for row in found)) if place >= 0 else 0

    seconds, answer = timed(whole, most, fewest=1)
    return round(1000 * statistics.median(seconds), 1), answer


def _write_parquet(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    for name, query in TABLES.items():
        connection.execute(f"COPY ({query}) TO '{folder / name}.parquet' (FORMAT parquet)")


def _sqlite(connection: duckdb.DuckDBPyConnection, path: Path) -> sqlite3.Connection:
    lite = sqlite3.connect(path)
    lite.execute("PRAGMA journal_mode = OFF")
    for name, query in TABLES.items():
        relation = connection.sql(query)
        columns = ", ".join(relation.columns)
        lite.execute(f"CREATE TABLE {name} ({columns})")
        places = ", ".join("?" * len(relation.columns))
        for batch in relation.to_arrow_reader(50_000):
            rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
            lite.executemany(f"INSERT INTO {name} VALUES ({places})", rows)
    for number, columns in enumerate(INDEXES):
        lite.execute(f"CREATE INDEX by_{number} ON {columns}")
    lite.execute("ANALYZE")
    lite.commit()
    return lite
