"""Which reports a teacher is asked about, and which of them it is not done with yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

__all__ = ["Selection", "count_selected", "pending"]


@dataclass(frozen=True)
class Selection:
    """Which reports to label.

    Attributes:
        corpus: Only this corpus.
        splits: Only these splits; empty means all reports, split or not.
        limit: Only the first so many, in an order that the seed decides.
        seed: Decides the order, that of a hash of seed and report id: the order of import does not matter.
    """

    corpus: str | None = None
    splits: tuple[str, ...] = ()
    limit: int | None = None
    seed: int = 0

    def query(self) -> tuple[str, list[Any]]:
        """Return SQL that selects `report_id` and `place` in the order, and its parameters."""
        conditions = ["true"]
        values: list[Any] = [f"{self.seed}:"]
        if self.corpus is not None:
            conditions.append("corpus = ?")
            values.append(self.corpus)
        if self.splits:
            chosen = "SELECT report_id FROM splits WHERE split IN (SELECT unnest(?::VARCHAR[]))"
            conditions.append(f"report_id IN ({chosen})")
            values.append(list(self.splits))
        limit = ""
        if self.limit is not None:
            limit = " LIMIT ?"
            values.append(self.limit)
        where = " AND ".join(conditions)
        columns = "report_id, md5(? || report_id) AS place"
        return f"SELECT {columns} FROM reports WHERE {where} ORDER BY place{limit}", values


def count_selected(connection: duckdb.DuckDBPyConnection, selection: Selection) -> int:
    """Return how many reports a selection has, done or not."""
    query, values = selection.query()
    counted = connection.execute(f"SELECT count(*) FROM ({query})", values).fetchone()
    return int(counted[0]) if counted else 0


def pending(connection: duckdb.DuckDBPyConnection, selection: Selection, teacher_id: str) -> Sequence[str]:
    """Return the selected reports that a teacher is not done with, in the selection's order."""
    query, values = selection.query()
    todo = f"""
        SELECT report_id FROM ({query}) ANTI JOIN (SELECT report_id FROM committed WHERE teacher_id = ?)
        USING (report_id) ORDER BY place
    """
    return [report_id for (report_id,) in connection.execute(todo, [*values, teacher_id]).fetchall()]
