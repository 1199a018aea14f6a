"""What the page tells about a finding, a round, a prompt, and the reviewers: each a query or two."""

from collections.abc import Sequence
from typing import Any

from teachback.store.label import STATUSES
from teachback.store.page.queue import standing
from teachback.store.page.sight import Sight, Step

__all__ = ["agreement", "finding_page", "labelers", "prompt_page", "prompts", "round_page", "rounds"]

EXAMPLES = 12  # of each kind of error
# Students of several rounds have one name, so theirs is told with the round.
_NAMED = """(
    SELECT b.labeler_id, b.kind,
        b.name || coalesce(' round ' || any_value(r."round") || ' ' || any_value(r.arm), '') AS name
    FROM labelers b LEFT JOIN rounds r USING (labeler_id) GROUP BY b.labeler_id, b.kind, b.name
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
        "SELECT b.name, b.kind, b.model, b.labeler_id, b.prompt_id, g.labels, g.reports, g.present, j.tp, j.fp, j.fn, "
        "2 * j.tp / nullif(2 * j.tp + j.fp + j.fn, 0) AS f1, s.round_id "
        "FROM labelers b JOIN given g USING (labeler_id) LEFT JOIN judged j USING (labeler_id) "
        "LEFT JOIN (SELECT labeler_id, any_value(round_id) AS round_id FROM rounds GROUP BY 1) s USING (labeler_id) "
        "ORDER BY b.kind, b.name, b.labeler_id"
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
        "SELECT b.name, l.report_id, l.status AS said, c.status AS curated, l.confidence, "
        "l.evidence[1].quote AS quote "
        f"{_JUDGED} AND c.target = ? AND (l.status = 'present') <> (c.status = 'present') AND b.kind <> 'student' "
        "QUALIFY row_number() OVER (PARTITION BY b.name, l.status = 'present' ORDER BY l.confidence DESC NULLS LAST, "
        f"l.report_id) <= {EXAMPLES} ORDER BY ALL",
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
    }


def rounds(sight: Sight) -> list[dict[str, Any]]:
    """Return all rounds with what was decided of them."""
    return sight.rows(
        'SELECT r.round_id, r.campaign_id, r."round", r.arm, r.base, r.teacher_id, d.promoted, d.reason, '
        "t.trained, t.fed FROM rounds r LEFT JOIN round_decisions d USING (round_id) "
        "LEFT JOIN (SELECT round_id, count(*) AS trained, count(*) FILTER (source = 'pseudo') AS fed "
        "FROM training_rows WHERE selected GROUP BY 1) t USING (round_id) "
        'ORDER BY r.created_at, r."round", r.arm'
    )


def round_page(sight: Sight, round_id: str) -> dict[str, Any] | None:
    """Return a round: its decision, its figures, what it trained on, and how right the fed-back labels were."""
    found = [row for row in rounds(sight) if row["round_id"] == round_id]
    if not found:
        return None
    figures = sight.rows(
        "SELECT subject, split, task, target, metric, n, positives, value, low, high FROM evaluations "
        "WHERE round_id = ? ORDER BY split, metric, target LIMIT 400",
        [round_id],
    )
    sources = sight.rows(
        "SELECT source, selected, reason, count(*) AS n, avg(weight) AS weight FROM training_rows WHERE round_id = ? "
        "GROUP BY ALL ORDER BY selected DESC, n DESC LIMIT 60",
        [round_id],
    )
    fed = sight.rows(
        "SELECT t.target, count(*) AS n, count(c.status) AS judged, count(*) FILTER (c.status = t.status) AS right "
        "FROM training_rows t LEFT JOIN curated_labels c USING (report_id, task, target) "
        "WHERE t.round_id = ? AND t.source = 'pseudo' AND t.selected GROUP BY 1 ORDER BY n DESC",
        [round_id],
    )
    return {"round": found[0], "figures": figures, "sources": sources, "fed": fed}


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


def agreement(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Return, for each two reviewers, how often they set the same status, Cohen's kappa, and where they differ."""
    by_reviewer: dict[str, dict[tuple[str, str, str], str]] = {}
    for step in standing(steps):
        if step.action == "set" and step.task and step.target and step.status:
            by_reviewer.setdefault(step.reviewer, {})[step.report_id, step.task, step.target] = step.status
    names = sorted(by_reviewer)
    pairs = []
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            shared = sorted(by_reviewer[first].keys() & by_reviewer[second].keys())
            both = [(by_reviewer[first][key], by_reviewer[second][key]) for key in shared]
            if both:
                pairs.append(
                    {
                        "first": first,
                        "second": second,
                        "n": len(both),
                        "equal": sum(one == other for one, other in both),
                        "kappa": _kappa(both),
                        "differ": [(*key, *said) for key, said in zip(shared, both, strict=True) if len(set(said)) > 1],
                    }
                )
    return pairs


def _kappa(both: Sequence[tuple[str, str]]) -> float | None:
    """Return Cohen's kappa (1960, doi:10.1177/001316446002000104); None where chance alone would agree always."""
    n = len(both)
    equal = sum(one == other for one, other in both) / n
    chance = sum(
        sum(one == status for one, _ in both) * sum(other == status for _, other in both) for status in STATUSES
    ) / (n * n)
    return None if chance == 1 else (equal - chance) / (1 - chance)


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
