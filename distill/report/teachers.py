"""What the report says of the teachers: who they are, how far they agree, who was right, and the bill."""

from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np

from teachback.agents.stand_in import MODEL as STAND_IN
from teachback.agents.tally import Tally, tally
from teachback.distill.select import wrong
from teachback.store.label import FINDINGS
from teachback.store.quality.agreement import Agreement, agreement
from teachback.store.quality.statuses import StatusMatrix, fetch_curated, fetch_labeler, fetch_taught

__all__ = ["Dispute", "Referee", "TeacherStory", "tell_teachers"]

_MEMBERS = """
    SELECT b.labeler_id, b.kind, b.name, b.version, b.model, p.name AS prompt
    FROM teacher_members m JOIN labelers b USING (labeler_id)
    LEFT JOIN prompts p ON p.prompt_id = b.prompt_id
    WHERE m.teacher_id = ? ORDER BY m.place
"""
_CALLS = """
    SELECT agent, model, sum(calls)::BIGINT AS calls, sum(failed)::BIGINT AS failed,
        coalesce(sum(prompt_tokens), 0)::BIGINT AS prompt_tokens,
        coalesce(sum(completion_tokens), 0)::BIGINT AS completion_tokens, sum(cost_usd) AS cost_usd
    FROM bill GROUP BY agent, model ORDER BY model, agent DESC
"""


@dataclass(frozen=True, slots=True)
class Dispute:
    """What became of the disputes over one finding.

    Attributes:
        finding: The finding.
        cells: Reports on which rules and model differ.
        kept_rule: Decided for the rules.
        kept_llm: Decided for the model.
        kept_other: Decided for a third status.
    """

    finding: str
    cells: int
    kept_rule: int
    kept_llm: int
    kept_other: int


@dataclass(frozen=True, slots=True)
class Referee:
    """Who was right where rules and model differ and curated labels can tell.

    Attributes:
        cells: Disputed and decided cells with a curated label.
        rule_right: Of those, where the rules are right.
        llm_right: Where the model is.
        adjudicator_right: Where the verdict is.
    """

    cells: int
    rule_right: int
    llm_right: int
    adjudicator_right: int


@dataclass(frozen=True, slots=True)
class TeacherStory:
    """All that the report says of one teacher.

    Attributes:
        members: Its labelers: kind, name, version, model, prompt.
        tally: Votes, verdicts and the bill of its labels.
        agreement: Rules against model; None where one is missing.
        disputes: By finding, most disputed first.
        referee: None where no dispute has a curated label.
        calls: Every call in the store by agent and model, failed ones too.
        stood_in: Whether one of its members is the stand-in.
    """

    members: list[dict[str, Any]]
    tally: Tally
    agreement: Agreement | None
    disputes: list[Dispute]
    referee: Referee | None
    calls: list[dict[str, Any]]
    stood_in: bool


def tell_teachers(connection: duckdb.DuckDBPyConnection, teacher_id: str, corpus: str | None = None) -> TeacherStory:
    """Read what there is to say of a teacher.

    Args:
        connection: The store or a snapshot.
        teacher_id: The teacher.
        corpus: Only reports of this corpus, where agreement is counted.
    """
    members = _rows(connection, _MEMBERS, [teacher_id])
    by_kind = {member["kind"]: member["labeler_id"] for member in members}
    taught = fetch_taught(connection, teacher_id, None, corpus)
    codes = {kind: fetch_labeler(connection, key, taught.report_ids) for kind, key in by_kind.items()}
    agreed = None
    if "rule" in codes and "llm" in codes and len(taught):
        agreed = agreement(codes["rule"], codes["llm"], taught.clusters, n_boot=1000)
    return TeacherStory(
        members=members,
        tally=tally(connection, teacher_id),
        agreement=agreed,
        disputes=_disputes(codes) if agreed else [],
        referee=_referee(codes, taught, fetch_curated(connection, None, corpus)) if agreed else None,
        calls=_rows(connection, _CALLS, []),
        stood_in=any(member["model"] == STAND_IN for member in members),
    )


def _disputes(codes: dict[str, Any]) -> list[Dispute]:
    rule, llm = codes["rule"], codes["llm"]
    verdict = codes.get("adjudicator", np.full_like(rule, -1))
    differ = (rule >= 0) & (llm >= 0) & (rule != llm)
    counted = [
        Dispute(
            finding,
            int(differ[:, f].sum()),
            int((differ & (verdict == rule))[:, f].sum()),
            int((differ & (verdict == llm))[:, f].sum()),
            int((differ & (verdict >= 0) & (verdict != rule) & (verdict != llm))[:, f].sum()),
        )
        for f, finding in enumerate(FINDINGS)
    ]
    return sorted((dispute for dispute in counted if dispute.cells), key=lambda dispute: -dispute.cells)


def _referee(codes: dict[str, Any], taught: StatusMatrix, curated: StatusMatrix) -> Referee | None:
    if "adjudicator" not in codes:
        return None
    truth = np.full_like(codes["rule"], -1)
    place = {report_id: row for row, report_id in enumerate(taught.report_ids)}
    for row, report_id in enumerate(curated.report_ids):
        if report_id in place:
            truth[place[report_id]] = curated.codes[row]
    rule, llm, verdict = codes["rule"], codes["llm"], codes["adjudicator"]
    cells = (truth >= 0) & (rule >= 0) & (llm >= 0) & (rule != llm) & (verdict >= 0)
    if not cells.any():
        return None
    rights = (int((~wrong(said, truth) & cells).sum()) for said in (rule, llm, verdict))
    return Referee(int(cells.sum()), *rights)


def _rows(connection: duckdb.DuckDBPyConnection, query: str, parameters: list[Any]) -> list[dict[str, Any]]:
    found = connection.execute(query, parameters)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
