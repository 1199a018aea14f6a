"""An adjudicator's disputes that have a curated label: what was voted, decided and true, as arrays, and what it cost.

Only the closed-set task is disputed. A code is the index of the status in `STATUSES`; -1 is no vote. Curators that
never say `absent`, such as those of Open-i, mark only what is there: against their labels a status is right where it
is `present` exactly when theirs is. Against all others it must be the same of the four.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from teachback.store.label import FINDINGS, STATUSES
from teachback.store.quality.statuses import cluster_codes

__all__ = ["CANNOT_TELL", "LEFT_OPEN", "Disputes", "Spent", "fetch_disputes", "fetch_spent"]

CANNOT_TELL = "cannot_tell"  # the verdict that is no status
LEFT_OPEN = len(STATUSES)  # its code
NO_VOTE = -1

_PRESENT = STATUSES.index("present")


@dataclass(frozen=True, slots=True)
class Disputes:
    """N disputes with a curated label, V voters.

    Attributes:
        report_ids: Each dispute's report, shape `(N,)`.
        findings: Index into `FINDINGS`, shape `(N,)`.
        clusters: Number of the report's subject or group, shape `(N,)`.
        truths: Curated codes, shape `(N,)`.
        coarse: Where the curator marks only what is there, shape `(N,)`.
        verdicts: The adjudicator's codes, `LEFT_OPEN` where it could not tell, shape `(N,)`.
        votes: The voters' codes, -1 for one that was not weighed, shape `(N, V)`.
        call_ids: The call that decided each dispute; None where none did.
        uncurated: Further disputes of the selected reports, without a curated label.
        coarse_curators: Names of the curators that mark only what is there.
    """

    report_ids: npt.NDArray[np.object_]
    findings: npt.NDArray[np.int64]
    clusters: npt.NDArray[np.int64]
    truths: npt.NDArray[np.int64]
    coarse: npt.NDArray[np.bool_]
    verdicts: npt.NDArray[np.int64]
    votes: npt.NDArray[np.int64]
    call_ids: tuple[str | None, ...]
    uncurated: int
    coarse_curators: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.truths)

    @property
    def open(self) -> npt.NDArray[np.bool_]:
        """Where the adjudicator could not tell, shape `(N,)`."""
        left_open: npt.NDArray[np.bool_] = self.verdicts == LEFT_OPEN
        return left_open

    def right(self, codes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Tell where statuses are right; shape `(N,)` or `(N, V)`, as the codes."""
        truths, coarse = (x if codes.ndim == 1 else x[:, None] for x in (self.truths, self.coarse))
        right: npt.NDArray[np.bool_] = np.where(coarse, (codes == _PRESENT) == (truths == _PRESENT), codes == truths)
        right &= (codes != LEFT_OPEN) & (codes != NO_VOTE)
        return right

    def alike(self) -> npt.NDArray[np.bool_]:
        """Tell where, as judged coarsely, all votes are right or none is, shape `(N,)`."""
        weighed, right = self.votes != NO_VOTE, self.right(self.votes)
        judged_alike: npt.NDArray[np.bool_] = (right | ~weighed).all(axis=1) | ~right.any(axis=1)
        return judged_alike & self.coarse

    def majority(self) -> npt.NDArray[np.int64]:
        """Return the status that most voters gave; of those with as many, that of the last voter; shape `(N,)`."""
        counts = (self.votes[:, :, None] == np.arange(len(STATUSES))).sum(axis=1)
        most = counts == counts.max(axis=1, keepdims=True)
        majority = np.full(len(self), NO_VOTE, dtype=np.int64)
        rows = np.arange(len(self))
        for votes in self.votes.T:  # later voters overrule earlier ones
            elected = (votes != NO_VOTE) & most[rows, votes]
            majority[elected] = votes[elected]
        return majority


@dataclass(frozen=True, slots=True)
class Spent:
    """What disputes cost to decide: of each call, the share of those of its disputes that are counted.

    Attributes:
        calls: Calls, each time that one was sent and answered or refused.
        prompt_tokens: Tokens sent.
        completion_tokens: Tokens returned.
        cost_usd: US dollars; 0.0 on one's own machine, None where a price is not known.
    """

    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None


def fetch_disputes(
    connection: duckdb.DuckDBPyConnection,
    adjudicator_id: str,
    voter_ids: Sequence[str],
    split: str | None = None,
    corpus: str | None = None,
) -> Disputes:
    """Read an adjudicator's newest verdicts beside the votes and the curated labels.

    Args:
        connection: A store or a snapshot.
        adjudicator_id: Whose verdicts.
        voter_ids: Whose votes, in the order of the columns.
        split: Only reports of this split; None for all but `test`, which is looked at only when it is named.
        corpus: Only reports of this corpus.
    """
    disputes, parameters = _disputes_query(adjudicator_id, split, corpus)
    rows = connection.execute(
        f"{disputes} SELECT adjudication_id, report_id, target, verdict, llm_call_id, status, coarse, curator, cluster "
        "FROM disputes ORDER BY report_id, target",
        parameters,
    ).fetchall()
    kept = [row for row in rows if row[5] is not None]
    columns = list(zip(*kept, strict=True)) or [()] * 9
    place_of = {adjudication_id: place for place, adjudication_id in enumerate(columns[0])}
    votes = np.full((len(kept), len(voter_ids)), NO_VOTE, dtype=np.int64)
    column_of = {voter: column for column, voter in enumerate(voter_ids)}
    given = connection.execute(
        f"{disputes} SELECT adjudication_id, l.labeler_id, l.status "
        "FROM (SELECT adjudication_id, unnest(weighed) AS label_id FROM disputes) JOIN labels l USING (label_id)",
        parameters,
    ).fetchall()
    for adjudication_id, voter, status in given:
        if adjudication_id in place_of and voter in column_of:
            votes[place_of[adjudication_id], column_of[voter]] = STATUSES.index(status)
    return Disputes(
        report_ids=np.array(columns[1], dtype=object),
        findings=np.array([FINDINGS.index(finding) for finding in columns[2]], dtype=np.int64),
        clusters=cluster_codes(columns[8]),
        truths=np.array([STATUSES.index(status) for status in columns[5]], dtype=np.int64),
        coarse=np.array(columns[6], dtype=bool),
        verdicts=np.array(
            [LEFT_OPEN if verdict == CANNOT_TELL else STATUSES.index(verdict) for verdict in columns[3]], dtype=np.int64
        ),
        votes=votes,
        call_ids=tuple(columns[4]),
        uncurated=len(rows) - len(kept),
        coarse_curators=tuple(sorted({row[7] for row in kept if row[6]})),
    )


def fetch_spent(connection: duckdb.DuckDBPyConnection, adjudicator_id: str, call_ids: Sequence[str | None]) -> Spent:
    """Read what an adjudicator's calls cost, failed and repeated ones included.

    A call decides all disputes of a report, of which only some may be counted here: they bear their share.

    Args:
        connection: A store or a snapshot.
        adjudicator_id: Whose verdicts the calls made.
        call_ids: The call behind each dispute that is counted, one entry a dispute.
    """
    # What came back without a price is of unknown cost; what never came back cost nothing.
    rows = connection.execute(
        "WITH counted AS (SELECT unnest(?::VARCHAR[]) AS llm_call_id, count(*) AS n GROUP BY 1), "
        "decided AS (SELECT llm_call_id, count(*) AS n FROM adjudications WHERE labeler_id = ? GROUP BY 1), "
        "shares AS (SELECT llm_call_id, c.n / d.n AS share FROM counted c JOIN decided d USING (llm_call_id)) "
        "SELECT count(*), sum(share * prompt_tokens), sum(share * completion_tokens), sum(share * cost_usd), "
        "bool_or(cost_usd IS NULL AND response IS NOT NULL), count(DISTINCT llm_call_id) "
        "FROM shares JOIN llm_calls USING (llm_call_id)",
        [list(call_ids), adjudicator_id],
    ).fetchall()
    calls, sent, returned, cost, unpriced, found = rows[0]
    complete = None not in call_ids and found == len(set(call_ids)) and not unpriced
    return Spent(int(calls), round(sent or 0), round(returned or 0), float(cost or 0.0) if complete else None)


def _disputes_query(adjudicator_id: str, split: str | None, corpus: str | None) -> tuple[str, list[Any]]:
    query = f"""
        WITH curators AS (
            SELECT labeler_id, b.name AS curator, NOT bool_or(l.status = 'absent') AS coarse
            FROM labels l JOIN labelers b USING (labeler_id) WHERE b.kind = 'human' AND l.task = 'findings' GROUP BY ALL
        ),
        disputes AS (
            SELECT a.adjudication_id, a.report_id, a.target, a.verdict, a.llm_call_id, a.weighed, c.status, u.coarse,
                u.curator, coalesce(s.group_id, r.subject_id, r.report_id) AS cluster
            FROM adjudications a
            JOIN reports r USING (report_id)
            LEFT JOIN splits s USING (report_id)
            LEFT JOIN curated_labels c ON c.report_id = a.report_id AND c.task = a.task AND c.target = a.target
            LEFT JOIN curators u ON u.labeler_id = c.labeler_id
            WHERE a.labeler_id = ? AND a.task = 'findings' AND a.target IN (SELECT unnest(?::VARCHAR[]))
                AND {"coalesce(s.split, '') <> 'test'" if split is None else "s.split = ?"}
                AND {"true" if corpus is None else "r.corpus = ?"}
            QUALIFY row_number() OVER (
                PARTITION BY a.report_id, a.target ORDER BY a.created_at DESC, a.adjudication_id) = 1
        )
    """
    return query, [adjudicator_id, list(FINDINGS), *(name for name in (split, corpus) if name is not None)]
