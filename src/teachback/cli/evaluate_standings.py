"""What `teachback evaluate` shows first: every labeler beside the others, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from teachback.cli.evaluate_shown import Shown, Table

if TYPE_CHECKING:
    import duckdb

    from teachback.store.quality.standings import Standing, Standings
    from teachback.store.quality.subjects import Compared

__all__ = ["of_standings"]


def of_standings(
    connection: duckdb.DuckDBPyConnection, compared: Compared, show: int, boot: dict[str, Any], *, per_finding: bool
) -> Shown:
    """Everyone's figures, best first."""
    from teachback.store.quality.standings import rank_subjects
    from teachback.store.quality.subjects import CURATED

    standings = rank_subjects(connection, compared, show=show, **boot)
    to_a_labeler = standings.reference != CURATED
    tables = [_ranking(standings, to_a_labeler=to_a_labeler)]
    for row in standings.rows:
        if per_finding:
            tables.append(_findings(row, to_a_labeler=to_a_labeler))
        if row.disagreements:
            tables.append(_disagreements(row, standings.reference))
    what = f"labels of {standings.reference}" if to_a_labeler else "curated labels"
    heading = f"{standings.n_reports:,} reports with {what}, "
    return Shown(_plain(standings), tables, heading, standings.notes)


def _ranking(standings: Standings, *, to_a_labeler: bool) -> Table:
    measures = ("kappa [95 %]", "equal") if to_a_labeler else ("weighted", "P", "R", "findings")
    heads = ("<labeler", "micro-F1 [95 %]", "macro-F1 [95 %]", *measures, "reports", "positives", "coverage")
    rows: list[tuple[object, ...]] = []
    for row in standings.rows:
        f = row.figures
        cells: tuple[object, ...] = (f.weighted.value, f.precision.value, f.recall.value, len(f.macro_findings))
        if to_a_labeler:
            cells = (row.agreement.kappa, row.agreement.accuracy.value)
        rows.append((row.subject.name, f.micro, f.macro, *cells, f.n_reports, f.positives, f"{row.coverage:.0%}"))
    counted = "weighted: F1 weighted by positives; findings: how many have a positive, so count in macro-F1"
    meant = "equal: share of equal statuses" if to_a_labeler else counted
    return Table(heads, rows, foot=f"{meant}; coverage: share of the reports that it labelled")


def _findings(row: Standing, *, to_a_labeler: bool) -> Table:
    heads = ("<finding", "reports", "positives", "called", "P", "R", "F1 [95 %]")
    rows: list[tuple[object, ...]] = []
    for f, agreed in zip(row.figures.findings, row.agreement.findings, strict=True):
        cells = (f.finding, f.n, f.positives, f.predicted_positives, f.precision.value, f.recall.value, f.f1)
        rows.append((*cells, agreed.kappa) if to_a_labeler else cells)
    if not to_a_labeler:
        return Table(heads, rows, title=row.subject.name)
    by_status = ", ".join(f"{s.status} {s.f1}" for s in row.agreement.statuses)
    foot = f"F1 by status, all findings: {by_status}"
    return Table((*heads, "kappa [95 %]"), rows, title=row.subject.name, foot=foot)


def _disagreements(row: Standing, reference: str) -> Table:
    title = f"{row.subject.name} differs from {reference} in {row.differing:,} cells"
    shown = len(row.disagreements)
    title += f", {shown} of them drawn by chance" if shown < row.differing else ""
    cells = [(d.report_id, d.finding, d.reference, d.said, d.quote or "") for d in row.disagreements]
    heads = ("<report", "<finding", f"<{reference}", f"<{row.subject.name}", "~evidence")
    return Table(heads, cells, title=title)


def _plain(standings: Standings) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "reference": standings.reference,
        "n_reports": standings.n_reports,
        "labelers": [
            {
                "name": row.subject.name,
                "kind": row.subject.kind,
                "labeler_id": row.subject.labeler_id,
                "teacher_id": row.subject.subject_id if row.subject.kind == "teacher" else None,
                "round_id": row.subject.round_id,
                "coverage": row.coverage,
                "figures": row.figures.as_dict(),
                "agreement": row.agreement.as_dict(),
                "differing": row.differing,
                "disagreements": [asdict(d) for d in row.disagreements],
            }
            for row in standings.rows
        ],
    }
