"""What a teacher's labels come to, asked of the store: votes by status, agreement, verdicts, and the bill."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import duckdb

from teachback.agents.stand_in import MODEL as STAND_IN

__all__ = ["LabelerVotes", "ModelBill", "Tally", "tally"]

_VOTES = """
    SELECT b.kind, b.name, l.task, count(DISTINCT l.report_id), histogram(l.status)
    FROM labels l JOIN committed c USING (report_id) JOIN labelers b USING (labeler_id)
    WHERE c.teacher_id = $teacher AND l.labeler_id IN ($rule, $llm, $adjudicator) GROUP BY ALL
    ORDER BY any_value(l.task) DESC, list_position(['rule', 'llm', 'adjudicator'], any_value(b.kind))
"""
_PAIRS = """
    WITH votes AS (
        SELECT report_id, target, labeler_id, status FROM labels JOIN committed USING (report_id)
        WHERE teacher_id = $teacher AND task = 'findings' AND labeler_id IN ($rule, $llm, $adjudicator)
    )
    SELECT r.status = m.status AS agreed,
        CASE WHEN d.status IS NULL THEN 'undecided' WHEN d.status = r.status THEN 'rule'
            WHEN d.status = m.status THEN 'llm' ELSE 'other' END AS kept,
        count(*)
    FROM (FROM votes WHERE labeler_id = $rule) r
    JOIN (FROM votes WHERE labeler_id = $llm) m USING (report_id, target)
    LEFT JOIN (FROM votes WHERE labeler_id = $adjudicator) d USING (report_id, target)
    GROUP BY ALL
"""
_BILL = """
    WITH used AS (
        SELECT DISTINCT l.llm_call_id FROM labels l JOIN committed c USING (report_id)
        WHERE c.teacher_id = $teacher AND l.labeler_id IN ($llm, $adjudicator) AND l.llm_call_id IS NOT NULL
    )
    SELECT model, count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0), sum(cost_usd)
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
    """

    kind: str
    name: str
    task: str
    reports: int
    statuses: Mapping[str, int]


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
        agreed: Targets on which rules and model give the same status.
        kept_rule: Disputes that were decided for the rules.
        kept_llm: Disputes that were decided for the model.
        kept_other: Disputes that were decided for a third status.
        undecided: Targets on which they differ and nothing was decided: one had read too little to object, or the
            teacher has no adjudicator.
        bill: What the answers cost that these labels rest on, by model.
    """

    reports: int
    votes: tuple[LabelerVotes, ...]
    agreed: int = 0
    kept_rule: int = 0
    kept_llm: int = 0
    kept_other: int = 0
    undecided: int = 0
    bill: tuple[ModelBill, ...] = field(default=())

    @property
    def disagreed(self) -> int:
        """Targets on which rules and model give different statuses."""
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
    members = connection.execute(
        "SELECT rule_labeler_id, llm_labeler_id, adjudicator_id FROM teachers WHERE teacher_id = ?", [teacher_id]
    ).fetchone()
    counted = connection.execute("SELECT count(*) FROM committed WHERE teacher_id = ?", [teacher_id]).fetchone()
    if members is None or counted is None:
        return Tally(0, ())
    names = dict(zip(("rule", "llm", "adjudicator"), members, strict=True))
    rows = connection.execute(_VOTES, {"teacher": teacher_id, **names}).fetchall()
    pairs = connection.execute(_PAIRS, {"teacher": teacher_id, **names}).fetchall()
    kept = {choice: sum(n for agreed, k, n in pairs if k == choice and not agreed) for _, choice, _ in pairs}
    bill_names = {name: names[name] for name in ("llm", "adjudicator")}
    bill = connection.execute(_BILL, {"teacher": teacher_id, **bill_names}).fetchall()
    return Tally(
        reports=int(counted[0]),
        votes=tuple(LabelerVotes(*row) for row in rows),
        agreed=sum(n for agreed, _, n in pairs if agreed),
        kept_rule=kept.get("rule", 0),
        kept_llm=kept.get("llm", 0),
        kept_other=kept.get("other", 0),
        undecided=kept.get("undecided", 0),
        bill=tuple(ModelBill(*row) for row in bill),
    )
