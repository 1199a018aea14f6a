"""How long answers take: each example query, and each measure that the store has as a view or a macro."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from teachback.store.asking import ask
from teachback.store.database import open_snapshot
from teachback.store.queries import example_queries

__all__ = ["ask_all", "ask_views", "chosen_report", "timed"]

LONGEST_S = 4.0  # what a slow question may take in all; it is then asked less often
FEWEST = 3
WAIT_MS = 100.0
VIEWS = (
    *("scores()", "status_confusion()", "calibration_scores()", "judged_labels", "round_drift", "disease_scores"),
    *("kappas", "alphas"),
)
LINEAGE = "label_lineage(label_id)"  # of a label whose report nobody names


def ask_all(store: Path, most: int) -> list[dict[str, Any]]:
    """Ask all example queries; print and return what each takes."""
    print(f"\n{'query':24}{'waits':>6}{_HEADER}")
    shown = []
    for query in example_queries():
        connection, _ = open_snapshot(store)
        with connection:
            named = {parameter.name for parameter in query.parameters}
            values = {name: value for name, value in _values(connection, query.name).items() if name in named}
            figures = {"name": query.name, "waits": query.waits, **_asked(connection, query.sql(values), most)}
        shown.append(figures)
        print(f"{query.name:24}{'yes' if query.waits else '':>6}{_line(figures)}")
    slow = [query["name"] for query in shown if query["waits"] and query["p50_ms"] > WAIT_MS]
    print(f"over {WAIT_MS:.0f} ms among those that a person waits for: {', '.join(slow) or 'none'}")
    return shown


def ask_views(store: Path, most: int) -> list[dict[str, Any]]:
    """Read all measures; print and return what each takes."""
    print(f"\n{'measure':24}{'':>6}{_HEADER}")
    shown = []
    for view in (*VIEWS, LINEAGE):
        connection, _ = open_snapshot(store)
        with connection:
            asked = view if view != LINEAGE else f"label_lineage('{_values(connection, view)['label']}')"
            figures = {"name": view, **_asked(connection, f"FROM {asked}", most)}
        shown.append(figures)
        print(f"{view:24}{'':>6}{_line(figures)}")
    return shown


def chosen_report(connection: duckdb.DuckDBPyConnection) -> str:
    """Return a report from the middle of the store, of which an adjudicator was asked something."""
    found = connection.execute(
        "SELECT min(report_id) FROM adjudications WHERE report_id >= ("
        "SELECT report_id FROM reports ORDER BY report_id LIMIT 1 OFFSET (SELECT count(*) // 2 FROM reports))"
    )
    return str(found.fetchall()[0][0])


def timed(run: Callable[[], Any], most: int, fewest: int = FEWEST) -> tuple[list[float], Any]:
    """Return the seconds that each of several runs took, sorted, and what the last one came to."""
    seconds: list[float] = []
    answer = None
    while len(seconds) < most and (len(seconds) < fewest or sum(seconds) < LONGEST_S):
        started = time.perf_counter()
        answer = run()
        seconds.append(time.perf_counter() - started)
    return sorted(seconds), answer


_HEADER = f"{'rows':>9}{'asked':>7}{'p50 ms':>10}{'p99 ms':>10}{'CPU ms':>10}"


def _line(figures: dict[str, Any]) -> str:
    shown = (f"{figures[name]:>10}" for name in ("p50_ms", "p99_ms", "cpu_ms"))
    return f"{figures['rows']:>9,}{figures['asked']:>7}{''.join(shown)}"


def _asked(connection: duckdb.DuckDBPyConnection, sql: str, most: int) -> dict[str, Any]:
    worked = time.process_time()
    seconds, rows = timed(lambda: sum(1 for _ in ask(connection, sql).rows()), most)
    worked = time.process_time() - worked
    # Of fewer than a hundred the 99th percentile is the slowest.
    slow = seconds[min(len(seconds) - 1, round(0.99 * len(seconds)))]
    # CPU time of all cores together: what other work on the machine changes least.
    asked = {"rows": rows, "asked": len(seconds), "cpu_ms": round(1000 * worked / len(seconds), 1)}
    return asked | {"p50_ms": round(1000 * statistics.median(seconds), 1), "p99_ms": round(1000 * slow, 1)}


def _values(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, str]:
    """Return what the parameters of questions about one thing are set to."""
    found = "SELECT max((report_id, label_id)) FROM adjudications WHERE report_id = ?"
    if query == "label_reach":  # what a label did is asked of one that was trained on
        found = "SELECT min((report_id, label_id)) FROM training_rows WHERE source = 'teacher' AND report_id > ?"
    report, label = connection.execute(found, [chosen_report(connection)]).fetchall()[0][0]
    return {"report": report, "label": label}
