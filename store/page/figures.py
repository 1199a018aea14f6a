"""What the page tells about a finding, a round, a prompt, and the reviewers: each a query or two."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from teachback.store.label import FINDINGS, STATUSES
from teachback.store.page.queue import standing
from teachback.store.page.round_figures import fetch_round_figures
from teachback.store.page.sight import Sight, Step
from teachback.store.page.trend import fetch_charts
from teachback.store.quality.agreement import Agreement, agreement
from teachback.store.queries import find_query

__all__ = ["finding_page", "labelers", "pairs_of_reviewers", "prompt_page", "prompts", "round_page", "rounds_page"]

EXAMPLES = 5  # of each labeler and kind of error; all are a question on the SQL page
_CODES: dict[str, int] = {status: code for code, status in enumerate(STATUSES)}
# Students of several rounds have one name, so theirs is told with the round; others of one name with prompt and id.
_NAMED = """(
    SELECT b.labeler_id, b.kind, b.name || CASE
        WHEN any_value(r."round") IS NOT NULL THEN ' round ' || any_value(r."round") || ' ' || any_value(r.arm)
        WHEN count(*) OVER (PARTITION BY b.name) > 1
            THEN coalesce(' ' || any_value(p.name), '') || ' ' || substr(b.labeler_id, 5, 6)
        ELSE '' END AS name
    FROM labelers b LEFT JOIN rounds r USING (labeler_id) LEFT JOIN prompts p ON p.prompt_id = b.prompt_id
    GROUP BY b.labeler_id, b.kind, b.name
)"""
_JUDGED = """
FROM curated_labels c JOIN labels l USING (report_id, task, target) JOIN labelers b ON b.labeler_id = l.labeler_id
WHERE b.kind <> 'human' AND c.task = 'findings'
"""


def labelers(sight: Sight) -> list[dict[str, Any]]:
    """Return every labeler with what it gave, and its F1 of `present` over all findings where labels are curated."""
    return sight.rows(
        "WITH given AS (SELECT labeler_id, count(*) AS labels, count(DISTINCT report_id) AS reports, "
        "avg((status = 'present')::INTEGER) AS present FROM labels WHERE task = 'findings' GROUP BY 1), "
        "judged AS (SELECT l.labeler_id, count(*) FILTER (l.status = 'present' AND c.status = 'present') AS tp, "
        "count(*) FILTER (l.status = 'present' AND c.status <> 'present') AS fp, "
        f"count(*) FILTER (l.status <> 'present' AND c.status = 'present') AS fn {_JUDGED} GROUP BY 1) "
        "SELECT m.name, b.kind, b.model, b.labeler_id, b.prompt_id, g.labels, g.reports, g.present, j.tp, j.fp, j.fn, "
        "2 * j.tp / nullif(2 * j.tp + j.fp + j.fn, 0) AS f1, s.round_id "
        f"FROM labelers b JOIN {_NAMED} m USING (labeler_id) JOIN given g USING (labeler_id) "
        "LEFT JOIN judged j USING (labeler_id) "
        "LEFT JOIN (SELECT labeler_id, any_value(round_id) AS round_id FROM rounds GROUP BY 1) s USING (labeler_id) "
        "ORDER BY b.kind, m.name, b.labeler_id"
    )


def finding_page(sight: Sight, finding: str) -> dict[str, Any]:
    """Return a finding's statuses by labeler, its confusion with curated labels, examples of errors, and its trend."""
    counts = sight.rows(
        f"SELECT b.name, b.kind, l.status, count(*) AS n FROM labels l JOIN {_NAMED} b USING (labeler_id) "
        "WHERE l.task = 'findings' AND l.target = ? GROUP BY ALL",
        [finding],
    )
    confusion = sight.rows(
        "SELECT n.name, b.kind, l.status AS said, c.status AS curated, count(*) AS n "
        f"{_JUDGED.replace('WHERE', f'JOIN {_NAMED} n ON n.labeler_id = l.labeler_id WHERE')} "
        "AND c.target = ? GROUP BY ALL",
        [finding],
    )
    examples = sight.rows(
        "SELECT n.name, l.report_id, l.status AS said, c.status AS curated, l.confidence, l.evidence[1].quote AS quote "
        f"{_JUDGED.replace('WHERE', f'JOIN {_NAMED} n ON n.labeler_id = l.labeler_id WHERE')} "
        "AND c.target = ? AND (l.status = 'present') <> (c.status = 'present') AND b.kind <> 'student' "
        "AND (l.status <> 'unmentioned' OR l.scope = 'full') "  # who has not read all of the report may be silent
        "QUALIFY row_number() OVER (PARTITION BY l.labeler_id, l.status = 'present' "
        f"ORDER BY l.confidence DESC NULLS LAST, l.report_id) <= {EXAMPLES} ORDER BY ALL",
        [finding],
    )
    trend = sight.rows(
        'SELECT r.campaign_id, r."round", r.arm, r.round_id, count(*) AS n, '
        "count(*) FILTER (c.status = 'present') AS positives, "
        "2 * count(*) FILTER (l.status = 'present' AND c.status = 'present') / nullif(count(*) FILTER "
        "(l.status = 'present') + count(*) FILTER (c.status = 'present'), 0) AS f1, "
        "avg((l.status = 'present')::INTEGER) AS present FROM rounds r JOIN labels l ON l.labeler_id = r.labeler_id "
        "JOIN splits s ON s.report_id = l.report_id AND s.split <> 'train' "
        "JOIN curated_labels c ON c.report_id = l.report_id AND c.task = l.task AND c.target = l.target "
        "WHERE l.task = 'findings' AND l.target = ? GROUP BY ALL ORDER BY ALL",
        [finding],
    )
    names = sorted({(row["kind"], row["name"]) for row in counts})
    return {
        "finding": finding,
        "counts": [_counted(name, kind, [row for row in counts if row["name"] == name]) for kind, name in names],
        "confusion": [
            _matrix(name, [row for row in confusion if row["name"] == name])
            for kind, name in names
            if any(row["name"] == name for row in confusion)
        ],
        "examples": examples,
        "trend": trend,
        "charts": fetch_charts(sight, finding, "f1"),
        "all_errors": find_query("wrong_labels").sql({"target": finding, "most": "1000"}),
    }


def rounds_page(sight: Sight) -> dict[str, Any]:
    """Return all rounds with what was decided of them, and micro-F1 over them."""
    return {"rounds": _rounds(sight), "charts": fetch_charts(sight, "all", "micro_f1")}


def _rounds(sight: Sight) -> list[dict[str, Any]]:
    return sight.rows(
        'SELECT r.round_id, r.campaign_id, r."round", r.arm, r.base, r.teacher_id, d.promoted, d.reason, '
        "t.trained, t.fed FROM rounds r LEFT JOIN round_decisions d USING (round_id) "
        "LEFT JOIN (SELECT round_id, count(*) AS trained, count(*) FILTER (source = 'pseudo') AS fed "
        "FROM training_rows WHERE selected GROUP BY 1) t USING (round_id) "
        'ORDER BY r.created_at, r."round", r.arm'
    )


def round_page(sight: Sight, round_id: str) -> dict[str, Any] | None:
    """Return a round: its decision, its figures, what it trained on, and how right the fed-back labels were."""
    found = [row for row in _rounds(sight) if row["round_id"] == round_id]
    if not found:
        return None
    # Reasons hold figures of their own: those that differ in nothing else are one line, with one of them as it stands.
    sources = sight.rows(
        "SELECT source, selected, any_value(reason) AS reason, count(DISTINCT reason) AS reasons, count(*) AS n, "
        "avg(weight) AS weight FROM training_rows WHERE round_id = ? "
        "GROUP BY source, selected, regexp_replace(reason, '\\d[\\d.,]*', '#', 'g') "
        "ORDER BY selected DESC, n DESC LIMIT 60",
        [round_id],
    )
    fed = sight.rows(
        "SELECT t.target, count(*) AS n, count(c.status) AS judged, count(*) FILTER (c.status = t.status) AS right "
        "FROM training_rows t LEFT JOIN curated_labels c USING (report_id, task, target) "
        "WHERE t.round_id = ? AND t.source = 'pseudo' AND t.selected GROUP BY 1 ORDER BY n DESC",
        [round_id],
    )
    return {"round": found[0], "figures": fetch_round_figures(sight, round_id), "sources": sources, "fed": fed}


def prompts(sight: Sight) -> list[dict[str, Any]]:
    """Return the prompts whose answers are in the store, with what they cost."""
    return sight.rows(
        "SELECT p.prompt_id, p.role, p.name, k.model, count(k.llm_call_id) AS calls, count(k.error) AS failed, "
        "sum(k.cost_usd) AS cost_usd, sum(k.prompt_tokens) AS sent, sum(k.completion_tokens) AS returned, "
        "median(k.latency_ms) AS latency_ms FROM prompts p LEFT JOIN llm_calls k USING (prompt_id) "
        "GROUP BY ALL ORDER BY p.role, p.name, k.model"
    )


def prompt_page(sight: Sight, prompt_id: str) -> dict[str, Any] | None:
    """Return a prompt: its text, its bill, why calls failed, and how often its labels were wrong by finding."""
    found = sight.rows("SELECT prompt_id, role, name, text FROM prompts WHERE prompt_id = ?", [prompt_id])
    if not found:
        return None
    errors = sight.rows(
        "SELECT left(error, 160) AS reason, count(*) AS n FROM llm_calls WHERE prompt_id = ? AND error IS NOT NULL "
        "GROUP BY 1 ORDER BY n DESC LIMIT 20",
        [prompt_id],
    )
    wrong = sight.rows(
        "SELECT l.target, count(*) AS judged, "
        "count(*) FILTER ((l.status = 'present') <> (c.status = 'present')) AS wrong, "
        "count(*) FILTER (l.status = 'present' AND c.status <> 'present') AS added, "
        f"count(*) FILTER (l.status <> 'present' AND c.status = 'present') AS missed {_JUDGED} AND b.prompt_id = ? "
        "GROUP BY 1 ORDER BY wrong DESC, 1",
        [prompt_id],
    )
    bill = [row for row in prompts(sight) if row["prompt_id"] == prompt_id]
    return {"prompt": found[0], "bill": bill, "errors": errors, "wrong": wrong}


def pairs_of_reviewers(sight: Sight, steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Return, for each two reviewers, how often they set the same status, their kappa, and where they differ."""
    by_reviewer: dict[str, dict[tuple[str, str, str], str]] = {}
    for step in standing(steps):
        if step.action == "set" and step.task and step.target and step.status:
            by_reviewer.setdefault(step.reviewer, {})[step.report_id, step.task, step.target] = step.status
    patients = _patients(sight, {key[0] for given in by_reviewer.values() for key in given})
    return [
        _pair((first, by_reviewer[first]), (second, by_reviewer[second]), shared, patients)
        for first, second in combinations(sorted(by_reviewer), 2)
        if (shared := sorted(by_reviewer[first].keys() & by_reviewer[second].keys()))
    ]


Said = Mapping[tuple[str, str, str], str]  # (report, task, target) to status


def _pair(
    one: tuple[str, Said], other: tuple[str, Said], shared: Sequence[tuple[str, str, str]], patients: Mapping[str, str]
) -> dict[str, Any]:
    both = [(key, one[1][key], other[1][key]) for key in shared]
    found = _measured([cell for cell in both if cell[0][1] == "findings"], patients)
    return {
        "first": one[0],
        "second": other[0],
        "n": len(both),
        "equal": sum(a == b for _, a, b in both),
        "kappa": found.kappa.as_dict() if found else None,
        "differ": [(*key, a, b) for key, a, b in both if a != b],
    }


def _measured(cells: Sequence[tuple[tuple[str, str, str], str, str]], patients: Mapping[str, str]) -> Agreement | None:
    """Return the agreement on findings, its intervals by patient; None where there are none."""
    if not cells:
        return None
    reports = {report_id: row for row, report_id in enumerate(sorted({key[0] for key, _, _ in cells}))}
    codes = np.full((2, len(reports), len(FINDINGS)), -1, dtype=np.int8)
    for (report_id, _, target), *said in cells:
        place = reports[report_id], FINDINGS.index(target)
        codes[(slice(None), *place)] = [_CODES[status] for status in said]
    _, clusters = np.unique([patients.get(report_id, report_id) for report_id in reports], return_inverse=True)
    return agreement(codes[0], codes[1], clusters)


def _patients(sight: Sight, reports: Iterable[str]) -> dict[str, str]:
    rows = sight.rows(
        "SELECT report_id, subject_id FROM reports WHERE subject_id IS NOT NULL "
        "AND report_id IN (SELECT unnest(?::VARCHAR[]))",
        [sorted(reports)],
    )
    return {row["report_id"]: row["subject_id"] for row in rows}


def _counted(name: str, kind: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    by = {row["status"]: row["n"] for row in rows}
    return {"name": name, "kind": kind, "n": sum(by.values()), "by": {status: by.get(status, 0) for status in STATUSES}}


def _matrix(name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    cells = {(row["said"], row["curated"]): row["n"] for row in rows}
    return {
        "name": name,
        "n": sum(cells.values()),
        "most": max(cells.values()),
        "rows": [(said, [cells.get((said, curated), 0) for curated in STATUSES]) for said in STATUSES],
    }
