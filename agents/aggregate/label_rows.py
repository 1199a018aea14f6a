"""Aggregated statuses as rows of the table `labels`, each resting on the vote that supports it best."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from teachback.agents.aggregate.votes import FULL, NO_VOTE, Votes, registered
from teachback.store.identity import content_id
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.report import SCOPES

__all__ = ["Decided", "label_rows"]

ROWS = 20_000  # labels a chunk
BLOCK = 200_000  # labels whose evidence is held at the same time
DECIMALS = 6  # of a probability that is stored


@dataclass(frozen=True)
class Decided:
    """The aggregated statuses of N items, and how they came about.

    Attributes:
        codes: Index into `STATUSES`, shape `(N,)`.
        posteriors: Probability of each status, or its share of the votes' weight, shape `(N, 4)`.
        weights: The weight of each labeler's vote on each finding, shape `(13, V)`; None where all weigh the same.
        accuracies: The probability that a labeler's vote is right; None where nothing tells.
        known: Items whose curated status was held fast.
        iterations: EM steps, where a model was fitted.
        converged: Whether they ended before the limit.
    """

    codes: npt.NDArray[np.int8]
    posteriors: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64] | None
    accuracies: Sequence[float | None]
    known: int = 0
    iterations: int | None = None
    converged: bool | None = None

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """The posteriors as they are stored, shape `(N, 4)`."""
        return np.clip(np.round(self.posteriors, DECIMALS), 0.0, 1.0)

    @property
    def confidences(self) -> npt.NDArray[np.float64]:
        """The probabilities of the statuses that were decided for, shape `(N,)`."""
        chosen: npt.NDArray[np.float64] = self.probabilities[np.arange(len(self.codes)), self.codes]
        return chosen

    def take(self, items: npt.NDArray[np.int64]) -> "Decided":
        """Return some of the items."""
        return replace(self, codes=self.codes[items], posteriors=self.posteriors[items])


def label_rows(
    connection: duckdb.DuckDBPyConnection,
    votes: Votes,
    decided: Decided,
    aggregator: Mapping[str, str | None],
    items: npt.NDArray[np.int64],
    replaced: npt.NDArray[np.int64],
) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of some items' labels, `ROWS` at a time.

    Args:
        connection: A connection to the store.
        votes: All votes.
        decided: What was decided for each item.
        aggregator: The columns `labeler_id` and `run_id`.
        items: The items to label.
        replaced: The rowid of the aggregator's label that each replaces, -1 for none.
    """
    for start in range(0, len(items), BLOCK):
        block = slice(start, start + BLOCK)
        taken, decision = votes.take(items[block]), decided.take(items[block])
        best, scopes = _supporters(taken, decision)
        evidence = _column(connection, "evidence", best)
        older = _column(connection, "label_id", replaced[block])
        for first in range(0, len(taken), ROWS):
            chunk = np.arange(first, min(first + ROWS, len(taken)))
            sources = (scopes[chunk], evidence.take(chunk), older.take(chunk))
            yield _rows(taken.take(chunk), decision.take(chunk), *sources, aggregator)


def _rows(
    votes: Votes,
    decided: Decided,
    scopes: npt.NDArray[np.int8],
    evidence: pa.ChunkedArray,
    replaced: pa.ChunkedArray,
    aggregator: Mapping[str, str | None],
) -> list[dict[str, Any]]:
    voted, backed = (votes.codes != NO_VOTE).sum(axis=1), (votes.codes == decided.codes[:, None]).sum(axis=1)
    columns = (
        [votes.report_ids[report] for report in votes.reports.tolist()],
        [FINDINGS[finding] for finding in votes.findings.tolist()],
        [STATUSES[code] for code in decided.codes.tolist()],
        decided.confidences.tolist(),
        decided.probabilities.tolist(),
        [SCOPES[scope] for scope in scopes.tolist()],
        evidence.to_pylist(),
        replaced.to_pylist(),
        zip(voted.tolist(), backed.tolist(), strict=True),
    )
    return [
        {
            # What it replaces is part of its name, so that a status may come back after it was replaced.
            "label_id": content_id("lab", report_id, target, status, aggregator["labeler_id"], scope, confidence, old),
            "report_id": report_id,
            "task": "findings",
            "target": target,
            "status": status,
            "confidence": confidence,
            "confidence_source": "vote",
            "confidence_note": f"{n} of {len(votes.labeler_ids)} labelers voted, {agreed} for it",
            "probs": dict(zip(STATUSES, probabilities, strict=True)),
            "evidence": quoted or [],
            "scope": scope,
            **aggregator,
        }
        for report_id, target, status, confidence, probabilities, scope, quoted, old, (n, agreed) in zip(
            *columns, strict=True
        )
    ]


def _supporters(votes: Votes, decided: Decided) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int8]]:
    """Return the rowid of the vote that each label rests on, and the label's scope.

    It is the vote of the labeler with most weight, the later one of equals, among those for the status. Where nobody
    voted for it there is none, and the scope is that of the widest vote.
    """
    n, n_voters = votes.codes.shape
    weights = np.ones((1, n_voters)) if decided.weights is None else decided.weights[votes.findings]
    backing = votes.codes == decided.codes[:, None]
    voter = n_voters - 1 - np.where(backing, weights, -1.0)[:, ::-1].argmax(axis=1)
    rows = np.where(backing.any(axis=1), votes.label_rows[np.arange(n), voter], -1)
    spoke = np.where(votes.codes != NO_VOTE, votes.scopes, -1)
    widest = np.where((spoke == FULL).any(axis=1), FULL, spoke.max(axis=1, initial=-1))
    return rows, np.where(rows >= 0, votes.scopes[np.arange(n), voter], widest)


def _column(connection: duckdb.DuckDBPyConnection, column: str, label_rows: npt.NDArray[np.int64]) -> pa.ChunkedArray:
    """Read a column of labels by their rowids, in that order; NULL for -1."""
    kept = np.flatnonzero(label_rows >= 0)
    wanted = pa.table({"label_row": label_rows[kept], "place": kept})
    with registered(connection, wanted_rows=wanted):
        found = connection.sql(
            f"SELECT place, {column} FROM labels l JOIN wanted_rows w ON l.rowid = w.label_row"
        ).to_arrow_table()
    places = np.full(len(label_rows), -1, dtype=np.int64)
    places[found["place"].to_numpy()] = np.arange(len(kept))
    return found[column].take(pa.array(places, mask=places < 0))
