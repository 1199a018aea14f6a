"""Curated labels from a table: a row a label, with who decided it and when.

The columns are those of `teachback export --format csv`: `report_id`, `target` and `status` are needed, `task`
(findings when left out), `icd10`, `reviewer`, `decided_at` (ISO 8601) and `note` may be there. A status may also be
CheXpert's 1, 0 or -1.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from teachback.errors import SettingError
from teachback.store.corpora.imported import Skipped
from teachback.store.corpora.rows_file import read_rows
from teachback.store.label import FINDINGS, STATUSES, TASKS, Status, from_chexpert
from teachback.store.review.decisions import Decision
from teachback.store.review.incoming import same_review_id

__all__ = ["read_curated_table"]

NEEDED = ("report_id", "target", "status")
_BY_LOWER = {finding.lower(): finding for finding in FINDINGS}


def read_curated_table(path: Path, reviewer: str | None = None) -> Iterator[tuple[Decision, Skipped] | Skipped]:
    """Yield each row's decision, or why it is left out.

    Args:
        path: CSV, TSV, JSONL (the three also `.gz`) or Parquet.
        reviewer: Whose decisions they are, where the rows do not say.

    Raises:
        InputError: The file is damaged, or lacks a column that is needed.
    """
    for read in read_rows(path, required=NEEDED):
        if isinstance(read, Skipped):
            yield read
            continue
        number, cells = read
        where = Skipped(path.name, number, "", report_id=_text(cells.get("report_id")) or None, kind="labels")
        try:
            yield _decision(cells, reviewer), where
        except (ValueError, SettingError) as error:
            yield Skipped(path.name, number, "not a decision", str(error), where.report_id, "labels")


def _decision(cells: Mapping[str, Any], reviewer: str | None) -> Decision:
    task = _text(cells.get("task")) or "findings"
    if task not in TASKS:
        raise ValueError(f"task is {task!r}, not one of {', '.join(TASKS)}")
    target = _text(cells.get("target"))
    name = _text(cells.get("reviewer")) or reviewer
    if not name:
        raise ValueError("it names no reviewer: add the column `reviewer`, or use --reviewer")
    if not _text(cells.get("report_id")):
        raise ValueError("report_id is blank")
    dated = _text(cells.get("decided_at"))
    decision = Decision(
        report_id=_text(cells.get("report_id")),
        reviewer=name,
        action="set",
        task=task,
        target=_BY_LOWER.get(target.lower(), target) if task == "findings" else target,
        status=_status(cells.get("status")),
        icd10=_text(cells.get("icd10")) or None,
        note=_text(cells.get("note")) or None,
        decided_at=_moment(cells["decided_at"]) if dated else datetime.now(UTC),
    )
    return same_review_id(decision, dated=bool(dated))


def _status(cell: Any) -> Status:
    said = _text(cell).lower()
    if said in STATUSES:
        return said
    if not said:
        raise ValueError(f"status is blank: use one of {', '.join(STATUSES)}")
    try:
        return from_chexpert(float(said))
    except ValueError:
        raise ValueError(f"status is {said!r}, not one of {', '.join(STATUSES)}, 1, 0 or -1") from None


def _moment(cell: Any) -> datetime:
    try:
        moment = cell if isinstance(cell, datetime) else datetime.fromisoformat(_text(cell))
    except ValueError:
        raise ValueError(f"decided_at is {cell!r}, not a moment such as 2026-01-31T12:00:00+00:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _text(cell: Any) -> str:
    return "" if cell is None or cell != cell else str(cell).strip()
