"""Where a campaign's figures come from: the one query from adapter to prompt, what ran, and what was left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from teachback.agents.stand_in import MODEL as STAND_IN

__all__ = ["Caveats", "Provenance", "find_caveats", "flatten", "trace"]

MOST_REASONS = 12  # reasons listed for skipped rows and failures, most frequent first

_LINEAGE = """
    SELECT source, labeler_kind, coalesce(model, '') AS model, count(*) AS row_count,
        count(DISTINCT report_id) AS reports, count(DISTINCT llm_call_id) AS calls, count(DISTINCT prompt_id) AS prompts
    FROM adapter_lineage(?) GROUP BY ALL ORDER BY row_count DESC
"""
_SYNTHETIC = """
    SELECT count(*) FILTER (corpus = 'synthetic' OR regexp_full_match(report_id, 'syn-\\d+-\\d{6,}')), count(*)
    FROM reports WHERE $corpus IS NULL OR corpus = $corpus
"""


@dataclass(frozen=True, slots=True)
class Caveats:
    """What stands at the very top, because it changes what every figure means.

    Attributes:
        stand_in_teaches: Whether the distilled teacher's model is the stand-in.
        stand_in_stored: Whether the store holds calls or labelers of the stand-in at all.
        fictitious: Reports of the synthetic corpus.
        reports: Reports in all.
    """

    stand_in_teaches: bool
    stand_in_stored: bool
    fictitious: int
    reports: int


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made the champion.

    Attributes:
        store_name: File name of the store; None for a store in memory.
        query: The SQL to type; None where the champion has no adapter.
        lineage: What that query finds, counted by source and labeler.
        run: The campaign's row of `runs`, with its end.
        skipped: (reason, rows) that importing left out.
        failures: (reason, reports) that a labeler could not do.
        corpora: (corpus, reports, licence, egress policy).
    """

    store_name: str | None
    query: str | None
    lineage: list[tuple[Any, ...]]
    run: Mapping[str, Any] | None
    skipped: list[tuple[Any, ...]]
    failures: list[tuple[Any, ...]]
    corpora: list[tuple[Any, ...]]


def find_caveats(connection: duckdb.DuckDBPyConnection, teacher_id: str, corpus: str | None = None) -> Caveats:
    """Look for a stand-in among the teachers and for fictitious reports."""
    teaches = connection.execute(
        """SELECT count(*) FROM teacher_members m JOIN labelers b USING (labeler_id)
        WHERE m.teacher_id = ? AND b.model = ?""",
        [teacher_id, STAND_IN],
    ).fetchone()
    stored = connection.execute(
        """SELECT (SELECT count(*) FROM labelers WHERE model = $model)
            + (SELECT count(*) FROM llm_calls WHERE model = $model)""",
        {"model": STAND_IN},
    ).fetchone()
    fictitious, reports = connection.execute(_SYNTHETIC, {"corpus": corpus}).fetchone() or (0, 0)
    return Caveats(bool(teaches and teaches[0]), bool(stored and stored[0]), int(fictitious), int(reports))


def trace(connection: duckdb.DuckDBPyConnection, record: Mapping[str, Any]) -> Provenance:
    """Follow the champion back to what made it.

    Args:
        connection: The store or a snapshot.
        record: The campaign's record.
    """
    name = _store_name(connection)
    champion = next((r for r in record["rounds"] if r["name"] == record["champion"]), None)
    adapter = champion["training"]["adapter_hash"] if champion else None
    query = f"SELECT * FROM adapter_lineage('{adapter}')" if adapter else None
    lineage = connection.execute(_LINEAGE, [champion["round_id"]]).fetchall() if champion else []
    corpus = record["settings"]["corpus"]
    corpora = connection.execute(
        """SELECT r.corpus, count(*), any_value(k.licence), any_value(k.egress) FROM reports r
        LEFT JOIN corpora k USING (corpus) WHERE ? IS NULL OR r.corpus = ? GROUP BY r.corpus ORDER BY r.corpus""",
        [corpus, corpus],
    ).fetchall()
    return Provenance(
        store_name=name,
        query=query,
        lineage=lineage,
        run=_run(connection, f"run_{record['campaign_id'][4:]}"),
        skipped=_reasons(connection, "skipped_rows"),
        failures=_reasons(connection, "failures"),
        corpora=corpora,
    )


def flatten(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as (`train.lora_r`, `16`) pairs, in order; of a folder's path only its end."""
    pairs: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            pairs += flatten(value, f"{prefix}{name}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            folder = isinstance(value, str) and Path(value).is_absolute()
            pairs.append((f"{prefix}{name}", f".../{Path(value).name}" if folder else text))
    return pairs


def _run(connection: duckdb.DuckDBPyConnection, run_id: str) -> dict[str, Any] | None:
    found = connection.execute(
        """SELECT run_id, command, version, git_revision, seed, started_at::VARCHAR AS started,
            (SELECT max(ended_at)::VARCHAR FROM run_ends e WHERE e.run_id = r.run_id) AS ended
        FROM runs r WHERE run_id = ?""",
        [run_id],
    )
    names, row = [column[0] for column in found.description or ()], found.fetchone()
    return None if row is None else dict(zip(names, row, strict=True))


def _reasons(connection: duckdb.DuckDBPyConnection, table: str) -> list[tuple[Any, ...]]:
    return connection.execute(
        f"SELECT reason, count(*) AS n FROM {table} GROUP BY reason ORDER BY n DESC, reason LIMIT {MOST_REASONS}"
    ).fetchall()


def _store_name(connection: duckdb.DuckDBPyConnection) -> str | None:
    """Return the store's file name, also when a snapshot of it is open; folders stay private."""
    row = connection.execute("SELECT path FROM duckdb_databases() WHERE database_name = current_database()").fetchone()
    if row is None or not row[0]:
        return None
    path = Path(row[0])
    return f"{path.stem.removesuffix('.snapshot')}{path.suffix}"
