"""What a labeler's silence is worth in sections that it did not read: nothing, unless `unmentioned: negative` says so.

A labeler of impressions that gives no status to a finding has said nothing of the findings section. With `scope`, the
default, each label is taught on the text of its own scope, and nothing is said of the rest. With `negative` labels are
taught on all that the student reads, and silence is `unmentioned` there, as is commonly done: it costs .03 to .05
micro-F1 (docs/decisions/0014), and is kept as the arm that shows so. Positive-unlabelled weights (Elkan & Noto 2008),
between the two in what they assume, were between the two in what they gave.
"""

from collections.abc import Sequence
from dataclasses import replace

from teachback.distill.assemble import TrainingRow
from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen
from teachback.distill.noise_folds import audited
from teachback.store.report import Report

__all__ = ["read_everywhere"]


def read_everywhere(rows: Sequence[TrainingRow], frozen: Frozen, settings: CampaignSettings) -> list[TrainingRow]:
    """Teach the teacher's labels on all that the student reads.

    Args:
        rows: A round's rows without pseudo-labels.
        frozen: The campaign's inputs.
        settings: The student's scope.
    """
    reports = {report.report_id: report for report in frozen.reports["train"]}
    return [
        _widen(row, settings) if audited(row) and _unread(reports[row.label.report_id], row, settings) else row
        for row in rows
    ]


def _unread(report: Report, row: TrainingRow, settings: CampaignSettings) -> bool:
    read = {section for section, _ in report.scoped(row.label.scope)}  # type: ignore[arg-type]
    return any(section not in read for section, _ in report.scoped(settings.scope))


def _widen(row: TrainingRow, settings: CampaignSettings) -> TrainingRow:
    return replace(
        row,
        label=replace(row.label, scope=settings.scope),
        reason=f"{row.reason}; from {row.label.scope}, on all that the student reads",
    )
