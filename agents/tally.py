"""What a teacher's labels come to, asked of the store: votes by status, agreement, verdicts, and the bill."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import duckdb

from teachback.agents.stand_in import MODEL as STAND_IN
from teachback.store.label import STATUSES

__all__ = ["LabelerVotes", "ModelBill", "Tally", "tally"]

_VOTES = """
    WITH given AS (
        SELECT m.place, m.labeler_id, l.task, count(*) AS votes,
            count(*) FILTER (l.status = 'present') AS present, count(*) FILTER (l.status = 'absent') AS absent,
            count(*) FILTER (l.status = 'uncertain') AS uncertain
        FROM committed c JOIN teacher_members m USING (teacher_id)
        JOIN labels l ON l.report_id = c.report_id AND l.labeler_id = m.labeler_id
        WHERE c.teacher_id = $teacher GROUP BY m.place, m.labeler_id, l.task, l.report_id
    )
    SELECT b.kind, b.name, g.task, count(*), b.labeler_id, sum(present)::BIGINT, sum(absent)::BIGINT,
        sum(uncertain)::BIGINT, sum(votes - present - absent - uncertain)::BIGINT
    FROM given g JOIN labelers b USING (labeler_id)
    GROUP BY b.kind, b.name, b.labeler_id, g.task, g.place ORDER BY g.task DESC, g.place
"""
_PAIRS = """
    WITH votes AS (
        SELECT l.report_id, l.target, m.seat = 'labeler' AS voter, m.seat = 'labeler' AND b.kind = 'rule' AS ruled,
            CASE l.status WHEN 'present' THEN 1 WHEN 'absent' THEN 2 WHEN 'uncertain' THEN 4 ELSE 8 END AS said
        FROM committed c JOIN teacher_members m USING (teacher_id)
        JOIN labels l ON l.report_id = c.report_id AND l.labeler_id = m.labeler_id
        JOIN labelers b ON b.labeler_id = m.labeler_id
        WHERE c.teacher_id = $teacher AND l.task = 'findings'
    ),
    targets AS (
        SELECT bit_count(bit_or(said) FILTER (voter)) = 1 AS agreed, any_value(said) FILTER (NOT voter) AS decided,
            coalesce(bit_or(said) FILTER (ruled), 0) AS by_rule,
            coalesce(bit_or(said) FILTER (voter AND NOT ruled), 0) AS by_others
        FROM votes GROUP BY report_id, target HAVING count(*) FILTER (voter) > 1
    )
    SELECT agreed, CASE WHEN decided IS NULL THEN 'undecided' WHEN decided & by_rule > 0 THEN 'rule'
        WHEN decided & by_others > 0 THEN 'llm' ELSE 'other' END AS kept, count(*)
    FROM targets GROUP BY ALL
"""
_LEFT_OPEN = """
    SELECT count(DISTINCT (a.report_id, a.task, a.target)) FROM adjudications a
    JOIN teacher_members m USING (labeler_id) JOIN committed c USING (teacher_id, report_id)
    WHERE m.teacher_id = $teacher AND a.verdict = 'cannot_tell'
"""
_BILL = """
    WITH used AS (
        SELECT DISTINCT l.llm_call_id FROM committed c JOIN teacher_members m USING (teacher_id)
        JOIN labels l ON l.report_id = c.report_id AND l.labeler_id = m.labeler_id
        WHERE c.teacher_id = $teacher AND l.llm_call_id IS NOT NULL
        UNION
        SELECT a.llm_call_id FROM committed c JOIN teacher_members m USING (teacher_id)
        JOIN adjudications a ON a.report_id = c.report_id AND a.labeler_id = m.labeler_id
        WHERE c.teacher_id = $teacher AND a.llm_call_id IS NOT NULL
        UNION  -- where several answers were asked for, a label names one of those that voted for it
        SELECT v.llm_call_id FROM committed c JOIN teacher_members m USING (teacher_id)
        JOIN labelers b ON b.labeler_id = m.labeler_id AND (b.parameters ->> '$.repeat')::INTEGER > 1
        JOIN labels l ON l.report_id = c.report_id AND l.labeler_id = b.labeler_id
        JOIN llm_calls n ON n.llm_call_id = l.llm_call_id
        JOIN llm_calls v ON (v.report_id, v.prompt_id, v.model) = (n.report_id, n.prompt_id, n.model)
        WHERE c.teacher_id = $teacher AND v.sample BETWEEN 1 AND (b.parameters ->> '$.repeat')::INTEGER - 1
    )
    SELECT model, count(*), coalesce(sum(prompt_tokens), 0)::BIGINT, coalesce(sum(completion_tokens), 0)::BIGINT,
        sum(cost_usd)
    FROM used JOIN llm_calls USING (llm_call_id) WHERE error IS NULL GROUP BY model ORDER BY model
"""


@dataclass(frozen=True)
class LabelerVotes:
    """One member's labels on the reports that its teacher is done with.

    Attributes:
        kind: Which sort of labeler it is.
        name: Its name.
        task: The task.
        reports: Reports that it gave such labels on.
        statuses: Status to number of labels.
        labeler_id: Its id.
    """

    kind: str
    name: str
    task: str
    reports: int
    statuses: Mapping[str, int]
    labeler_id: str = ""


@dataclass(frozen=True)
class ModelBill:
    """What a model's answers cost, of those that a teacher's labels rest on.

    Attributes:
        model: The model.
        calls: Answers.
        prompt_tokens: Tokens sent.
        completion_tokens: Tokens returned.
        cost_usd: US dollars; None when no price is known.
    """

    model: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None


@dataclass(frozen=True)
class Tally:
    """What a teacher's labels come to, over all runs.

    Attributes:
        reports: Reports that the teacher is done with.
        votes: Each member's labels, by task.
        agreed: Targets on which all labelers give the same status.
        kept_rule: Disputes that were decided for the rules.
        kept_llm: Disputes that were decided for a model.
        kept_other: Disputes that were decided for a third status.
        undecided: Targets on which they differ and nothing was decided: one had read too little to object, or the
            teacher has no adjudicator.
        left_open: Of these, targets of which the adjudicator could not tell: a person shall.
        bill: What the answers cost that these labels rest on, by model.
    """

    reports: int
    votes: tuple[LabelerVotes, ...]
    agreed: int = 0
    kept_rule: int = 0
    kept_llm: int = 0
    kept_other: int = 0
    undecided: int = 0
    left_open: int = 0
    bill: tuple[ModelBill, ...] = field(default=())

    @property
    def disagreed(self) -> int:
        """Targets on which labelers give different statuses."""
        return self.kept_rule + self.kept_llm + self.kept_other + self.undecided

    @property
    def stood_in(self) -> bool:
        """Whether any answer came from the stand-in endpoint."""
        return any(bill.model == STAND_IN for bill in self.bill)


def tally(connection: duckdb.DuckDBPyConnection, teacher_id: str) -> Tally:
    """Count what a teacher's labels come to.

    Args:
        connection: A store or a snapshot.
        teacher_id: The teacher.
    """
    counted = connection.execute("SELECT count(*) FROM committed WHERE teacher_id = ?", [teacher_id]).fetchone()
    if counted is None or not counted[0]:
        return Tally(0, ())
    asked = {"teacher": teacher_id}
    rows = connection.execute(_VOTES, asked).fetchall()
    pairs = connection.execute(_PAIRS, asked).fetchall()
    kept = {choice: sum(n for agreed, k, n in pairs if k == choice and not agreed) for _, choice, _ in pairs}
    left_open = connection.execute(_LEFT_OPEN, asked).fetchone()
    bill = connection.execute(_BILL, asked).fetchall()
    return Tally(
        reports=int(counted[0]),
        votes=tuple(_votes(*row) for row in rows),
        agreed=sum(n for agreed, _, n in pairs if agreed),
        kept_rule=kept.get("rule", 0),
        kept_llm=kept.get("llm", 0),
        kept_other=kept.get("other", 0),
        undecided=kept.get("undecided", 0),
        left_open=int(left_open[0]) if left_open else 0,
        bill=tuple(ModelBill(*row) for row in bill),
    )


def _votes(kind: str, name: str, task: str, reports: int, labeler_id: str, *counts: int) -> LabelerVotes:
    statuses: dict[str, int] = {status: count for status, count in zip(STATUSES, counts, strict=True) if count}
    return LabelerVotes(kind, name, task, reports, statuses, labeler_id)
