"""What a teacher's labels come to, asked of the store: votes by status, agreement, verdicts, and the bill."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import duckdb

from teachback.agents.stand_in import MODEL as STAND_IN

__all__ = ["LabelerVotes", "ModelBill", "Tally", "tally"]

_VOTES = """
    SELECT b.kind, b.name, l.task, count(DISTINCT l.report_id), histogram(l.status), b.labeler_id
    FROM committed c JOIN teacher_members m USING (teacher_id)
    JOIN labels l ON l.report_id = c.report_id AND l.labeler_id = m.labeler_id
    JOIN labelers b ON b.labeler_id = m.labeler_id
    WHERE c.teacher_id = $teacher GROUP BY b.kind, b.name, b.labeler_id, l.task, m.place ORDER BY l.task DESC, m.place
"""
_PAIRS = """
    WITH votes AS (
        SELECT l.report_id, l.target, l.status, m.seat, b.kind
        FROM committed c JOIN teacher_members m USING (teacher_id)
        JOIN labels l ON l.report_id = c.report_id AND l.labeler_id = m.labeler_id
        JOIN labelers b ON b.labeler_id = m.labeler_id
        WHERE c.teacher_id = $teacher AND l.task = 'findings'
    ),
    targets AS (
        SELECT count(DISTINCT status) FILTER (seat = 'labeler') = 1 AS agreed,
            any_value(status) FILTER (seat <> 'labeler') AS decided,
            list(status) FILTER (seat = 'labeler' AND kind = 'rule') AS by_rule,
            list(status) FILTER (seat = 'labeler' AND kind <> 'rule') AS by_others
        FROM votes GROUP BY report_id, target HAVING count(*) FILTER (seat = 'labeler') > 1
    )
    SELECT agreed, CASE WHEN decided IS NULL THEN 'undecided' WHEN list_contains(by_rule, decided) THEN 'rule'
        WHEN list_contains(by_others, decided) THEN 'llm' ELSE 'other' END AS kept, count(*)
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
        votes=tuple(LabelerVotes(*row) for row in rows),
        agreed=sum(n for agreed, _, n in pairs if agreed),
        kept_rule=kept.get("rule", 0),
        kept_llm=kept.get("llm", 0),
        kept_other=kept.get("other", 0),
        undecided=kept.get("undecided", 0),
        left_open=int(left_open[0]) if left_open else 0,
        bill=tuple(ModelBill(*row) for row in bill),
    )
