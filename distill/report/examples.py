"""Reports of the test split on which teacher and champion differ, drawn without looking at who is right.

They are drawn by the hash of their names: half of them where the champion is right, half where the teacher is, as far
as there are any; the counts say how it stands in all. Text of a corpus whose policy is `local-only`, or that has no
policy on record, never enters the page.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from teachback.store.report import SECTIONS

__all__ = ["Disagreements", "Example", "Segment", "fetch_disagreements", "highlight"]

MOST_CHARACTERS = 3000  # of a section in the page; longer ones are cut, and say so

_DIFFER = """
    CREATE OR REPLACE TEMP TABLE teachback_differ AS
    WITH champion AS (
        SELECT report_id, target, status, confidence FROM labels
        WHERE labeler_id = $champion AND task = 'findings'
        QUALIFY row_number() OVER (PARTITION BY report_id, target ORDER BY created_at DESC, label_id) = 1
    )
    SELECT c.report_id, c.target, c.status AS curated, t.status AS teacher, t.decided_by, t.label_id AS teacher_label,
        s.status AS champion, s.confidence, r.corpus, coalesce(k.egress, 'local-only') AS egress,
        (t.status = 'present') <> (s.status = 'present') AS flips,
        (s.status = 'present') = (c.status = 'present') AS champion_right,
        t.status <> s.status AS differs
    FROM curated_labels c
    JOIN splits p ON p.report_id = c.report_id AND p.split = 'test'
    JOIN reports r ON r.report_id = c.report_id
    LEFT JOIN corpora k ON k.corpus = r.corpus
    JOIN teacher_labels t ON t.report_id = c.report_id AND t.target = c.target
        AND t.task = 'findings' AND t.teacher_id = $teacher
    JOIN champion s ON s.report_id = c.report_id AND s.target = c.target
    WHERE c.task = 'findings' AND ($corpus IS NULL OR r.corpus = $corpus)
"""
_COUNTS = """
    SELECT count(*) AS cells, count(*) FILTER (differs) AS differ, count(*) FILTER (flips) AS flips,
        count(*) FILTER (flips AND champion_right) AS champion_right,
        count(*) FILTER (flips AND egress = 'local-only') AS withheld,
        list(DISTINCT corpus) FILTER (flips AND egress = 'local-only') AS withheld_corpora
    FROM teachback_differ
"""
_DRAWN = """
    WITH ranked AS (
        SELECT *,
            row_number() OVER (PARTITION BY champion_right, report_id ORDER BY md5(target || $campaign)) AS of_report,
            row_number() OVER (PARTITION BY champion_right, target ORDER BY md5(report_id || $campaign)) AS of_target
        FROM teachback_differ WHERE flips AND egress <> 'local-only'
    )
    SELECT report_id, target, curated, teacher, decided_by, teacher_label, champion, confidence, champion_right
    FROM ranked WHERE of_report = 1 ORDER BY of_target, md5(report_id || target || $campaign)
"""
_VOTES = """
    SELECT b.kind, l.status, l.evidence FROM labels l JOIN labelers b USING (labeler_id)
    JOIN teacher_members m USING (labeler_id)
    WHERE m.teacher_id = ? AND l.report_id = ? AND l.task = 'findings' AND l.target = ?
    QUALIFY row_number() OVER (PARTITION BY labeler_id ORDER BY l.created_at DESC, l.label_id) = 1
    ORDER BY m.place
"""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a section's text.

    Attributes:
        text: The characters, not escaped.
        marked: Whether a labeler's evidence covers them.
    """

    text: str
    marked: bool


@dataclass(frozen=True, slots=True)
class Example:
    """One cell of the test split on which teacher and champion differ.

    Attributes:
        report_id: The report.
        finding: The finding.
        curated: Its curated status.
        teacher: The teacher's status.
        decided_by: `rule`, `llm` or `adjudicated`.
        champion: The champion's status.
        confidence: The champion's calibrated probability of it.
        champion_right: Whether the champion calls it present or not as the curated label does; the teacher does not,
            then.
        votes: (kind, status) of the teacher's labelers.
        rationale: The adjudicator's, where it decided.
        sections: (name, segments, characters cut off).
    """

    report_id: str
    finding: str
    curated: str
    teacher: str
    decided_by: str
    champion: str
    confidence: float | None
    champion_right: bool
    votes: list[tuple[str, str]]
    rationale: str | None
    sections: list[tuple[str, list[Segment], int]]


@dataclass(frozen=True, slots=True)
class Disagreements:
    """Where teacher and champion differ on the test split.

    Attributes:
        cells: Cells that both labelled and that have a curated label.
        differ: Of those, cells with different statuses.
        flips: Of those, cells that one calls present and the other does not: what F1 sees.
        champion_right: Flips on which the champion is right; on the others the teacher is.
        withheld: Flips of corpora whose text stays where it is.
        withheld_corpora: Those corpora.
        examples: Some of the others.
    """

    cells: int
    differ: int
    flips: int
    champion_right: int
    withheld: int
    withheld_corpora: tuple[str, ...]
    examples: list[Example]


def fetch_disagreements(
    connection: duckdb.DuckDBPyConnection,
    teacher_id: str,
    champion_id: str,
    campaign_id: str,
    *,
    corpus: str | None = None,
    scope: str = "full",
    most: int = 10,
) -> Disagreements:
    """Count and draw the disagreements of teacher and champion.

    Args:
        connection: The store or a snapshot.
        teacher_id: The teacher.
        champion_id: The champion's labeler_id.
        campaign_id: Decides the draw.
        corpus: Only reports of this corpus.
        scope: What the student read; other sections are not shown.
        most: How many to draw.
    """
    cursor = connection.cursor()  # the temporary table is this cursor's own, and works on a read-only snapshot
    try:
        cursor.execute(_DIFFER, {"teacher": teacher_id, "champion": champion_id, "corpus": corpus})
        counts = cursor.execute(_COUNTS).fetchone() or (0, 0, 0, 0, 0, None)
        drawn = cursor.execute(_DRAWN, {"campaign": campaign_id}).fetchall()
        chosen = _half_and_half(drawn, most)
        examples = [_example(cursor, row, teacher_id, scope) for row in chosen]
    finally:
        cursor.execute("DROP TABLE IF EXISTS teachback_differ")
        cursor.close()
    cells, differ, flips, champion_right, withheld, corpora = counts
    return Disagreements(cells, differ, flips, champion_right, withheld, tuple(sorted(corpora or ())), examples)


def highlight(text: str, spans: Sequence[tuple[int, int]]) -> list[Segment]:
    """Cut a text at the edges of its spans; spans may overlap, and those that do not fit the text are left out."""
    covered = sorted((start, end) for start, end in spans if 0 <= start < end <= len(text))
    segments, at = [], 0
    for start, end in covered:
        if end <= at:
            continue
        start = max(start, at)
        if start > at:
            segments.append(Segment(text[at:start], False))
        elif segments and segments[-1].marked:
            start = at - len(segments.pop().text)
        segments.append(Segment(text[start:end], True))
        at = end
    return [*segments, Segment(text[at:], False)] if at < len(text) else segments


def _half_and_half(rows: Sequence[tuple[Any, ...]], most: int) -> list[tuple[Any, ...]]:
    right, left = ([row for row in rows if row[-1] is side] for side in (True, False))
    half = max(most // 2, most - len(left))
    return [*right[:half], *left[: most - min(half, len(right))]]


def _example(cursor: duckdb.DuckDBPyConnection, row: tuple[Any, ...], teacher_id: str, scope: str) -> Example:
    report_id, finding, curated, teacher, decided_by, label_id, champion, confidence, champion_right = row
    votes = cursor.execute(_VOTES, [teacher_id, report_id, finding]).fetchall()
    rationale = cursor.execute("SELECT rationale FROM adjudications WHERE label_id = ? LIMIT 1", [label_id]).fetchone()
    return Example(
        report_id=report_id,
        finding=finding,
        curated=curated,
        teacher=teacher,
        decided_by=decided_by,
        champion=champion,
        confidence=confidence,
        champion_right=champion_right,
        votes=[(kind, status) for kind, status, _ in votes],
        rationale=rationale[0] if rationale else None,
        sections=_sections(cursor, report_id, scope, [span for *_, evidence in votes for span in evidence or ()]),
    )


def _sections(
    cursor: duckdb.DuckDBPyConnection, report_id: str, scope: str, evidence: Sequence[dict[str, Any]]
) -> list[tuple[str, list[Segment], int]]:
    names = ("impression",) if scope == "impression" else ("findings", "impression")
    columns = ", ".join(f'"{name}"' for name in SECTIONS)
    found = cursor.execute(f"SELECT {columns} FROM reports WHERE report_id = ?", [report_id]).fetchone()
    texts = {name: text for name, text in zip(SECTIONS, found or (), strict=True) if text and text.strip()}
    shown = [name for name in names if name in texts] or [name for name in ("text",) if name in texts]
    return [
        (
            name,
            highlight(
                texts[name][:MOST_CHARACTERS],
                [(e["start"], min(e["end"], MOST_CHARACTERS)) for e in evidence if e["section"] == name],
            ),
            max(0, len(texts[name]) - MOST_CHARACTERS),
        )
        for name in shown
    ]
