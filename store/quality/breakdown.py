"""Every labeler's figures for each finding, status, split, corpus, scope, round, or slice of the patients.

A slice is what is known of a report's patient or origin, such as sex, age, site or year (table `slices`). Groups are of
reports, but a status is judged one against the rest, and a scope is that of the labels: a label made from the
impression alone is judged apart from one made from the whole report.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from teachback.errors import StoreError
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.quality.bootstrap import Estimate
from teachback.store.quality.f1 import Codes, F1Report, FindingF1, evaluate_statuses
from teachback.store.quality.statuses import NO_LABEL, StatusMatrix, fetch_cells
from teachback.store.quality.subjects import Compared, Subject
from teachback.store.report import SCOPES

__all__ = ["DIMENSIONS", "UNKNOWN", "Group", "break_down", "fetch_groups"]

DIMENSIONS = ("finding", "status", "split", "corpus", "scope", "round")
# The group of reports of which a slice says nothing.
UNKNOWN = "(unknown)"
_AGES = 20  # years of an age group


@dataclass(frozen=True, slots=True)
class Group:
    """One subject's figures in one group.

    Attributes:
        group: The group, such as `gate` or `F`.
        subject: Who.
        n: Cells (report x finding) with a reference label, or reports where the group is a finding.
        n_reports: Reports.
        positives: Cells whose reference label is positive, or is the status that the group is.
        called: Those that the subject says so of.
        precision: Of all cells.
        recall: Of all cells.
        micro: F1 of all cells.
        macro: Mean F1 of the findings with a positive; None where the group is a finding.
        weighted: The same, weighted by positives.
    """

    group: str
    subject: Subject
    n: int
    n_reports: int
    positives: int
    called: int
    precision: Estimate
    recall: Estimate
    micro: Estimate
    macro: Estimate | None = None
    weighted: Estimate | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values; undefined figures are None."""
        figures = {f: getattr(self, f) for f in ("precision", "recall", "micro", "macro", "weighted")}
        return {
            "group": self.group,
            "labeler": self.subject.name,
            "n": self.n,
            "n_reports": self.n_reports,
            "positives": self.positives,
            "called": self.called,
        } | {name: figure.as_dict() if figure else None for name, figure in figures.items()}


def break_down(
    connection: duckdb.DuckDBPyConnection,
    compared: Compared,
    by: str,
    *,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> list[Group]:
    """Judge every subject in every group, group by group.

    Args:
        connection: The store or snapshot that they were read from.
        compared: Who is judged, on what.
        by: One of `DIMENSIONS`, or the name of a slice.
        n_boot: Resamples behind the intervals.
        seed: Seed of the resamples.
        level: Coverage of the intervals.

    Raises:
        StoreError: There is no such slice, or nobody to judge.
    """
    boot: dict[str, Any] = {"n_boot": n_boot, "seed": seed, "level": level}
    if by == "finding":
        rows = [row for subject in compared.masks for row in _by_finding(compared, subject, boot)]
        return sorted(rows, key=lambda row: FINDINGS.index(row.group))
    if by == "status":
        rows = [row for subject in compared.masks for row in _by_status(compared, subject, boot)]
        return sorted(rows, key=lambda row: STATUSES.index(row.group))
    if by == "scope":
        rows = [row for s in compared.masks for row in _by_scope(connection, compared, s, boot)]
        return sorted(rows, key=lambda row: SCOPES.index(row.group))
    if by == "round":
        return list(_by_round(connection, compared, boot))
    groups = np.array(fetch_groups(connection, by, compared.truth.report_ids), dtype=object)
    rows = []
    for group in sorted(set(groups), key=lambda name: (name == UNKNOWN, name)):
        for subject in compared.masks:
            part, said = compared.part(subject, groups == group)
            if len(part):
                figures = evaluate_statuses(part.codes, said, part.clusters, positive=compared.positive, **boot)
                rows.append(_row(group, subject, figures))
    return rows


def fetch_groups(connection: duckdb.DuckDBPyConnection, by: str, report_ids: Collection[str]) -> list[str]:
    """Read the group of each report: its split, its corpus, or its value of a slice.

    Raises:
        StoreError: There is no such slice.
    """
    if by == "split":
        source = "SELECT report_id, split AS found FROM splits"
    elif by == "corpus":
        source = "SELECT report_id, corpus AS found FROM reports"
    else:
        _check_slice(connection, by)
        source = 'SELECT report_id, "value" AS found FROM slices WHERE slice = ?'
    connection.register("grouped_reports", pa.table({"report_id": pa.array(report_ids, pa.string())}))
    try:
        named = [by] if "?" in source else []
        rows = connection.execute(f"FROM ({source}) SEMI JOIN grouped_reports USING (report_id)", named).fetchall()
    finally:
        connection.unregister("grouped_reports")
    found = dict(rows)
    told = _age_group if by == "age" else str
    return [told(found[report_id]) if report_id in found else UNKNOWN for report_id in report_ids]


def _check_slice(connection: duckdb.DuckDBPyConnection, by: str) -> None:
    known = [name for (name,) in connection.execute("SELECT DISTINCT slice FROM slices ORDER BY 1").fetchall()]
    if by not in known:
        raise StoreError(
            f"no report has the slice {by!r}",
            f"by one of {', '.join((*DIMENSIONS, *known))}; `teachback import slices` brings more",
        )


def _by_finding(compared: Compared, subject: Subject, boot: dict[str, Any]) -> Iterator[Group]:
    part, said = compared.part(subject)
    figures = evaluate_statuses(part.codes, said, part.clusters, positive=compared.positive, **boot)
    for f in figures.findings:
        yield _finding_row(f, subject)


def _by_status(compared: Compared, subject: Subject, boot: dict[str, Any]) -> Iterator[Group]:
    part, said = compared.part(subject)
    for status in STATUSES:
        figures = evaluate_statuses(part.codes, said, part.clusters, positive={status}, **boot)
        if figures.positives or figures.predicted_positives:
            yield _row(status, subject, figures)


def _by_scope(
    connection: duckdb.DuckDBPyConnection, compared: Compared, subject: Subject, boot: dict[str, Any]
) -> Iterator[Group]:
    part, said = compared.part(subject)
    scopes = _fetch_scopes(connection, subject, part)
    for place, scope in enumerate(SCOPES):
        inside = scopes == place
        if inside.any():
            truth, codes = (np.where(inside, c, np.int8(NO_LABEL)) for c in (part.codes, said))
            figures = evaluate_statuses(truth, codes, part.clusters, positive=compared.positive, **boot)
            if figures.n_cells:
                yield _row(scope, subject, figures)


def _by_round(connection: duckdb.DuckDBPyConnection, compared: Compared, boot: dict[str, Any]) -> Iterator[Group]:
    rounds = connection.execute(
        'SELECT round_id, left(campaign_id, 8), "round", arm FROM rounds ORDER BY created_at, "round", arm'
    ).fetchall()
    students = {subject.round_id: subject for subject in compared.masks if subject.round_id}
    if not students:
        raise StoreError("no round has labelled these reports", "`teachback distill` makes rounds")
    for round_id, campaign, number, arm in rounds:
        if round_id in students:
            part, said = compared.part(students[round_id])
            figures = evaluate_statuses(part.codes, said, part.clusters, positive=compared.positive, **boot)
            yield _row(f"{campaign} {number} {arm}", students[round_id], figures)


def _fetch_scopes(connection: duckdb.DuckDBPyConnection, subject: Subject, part: StatusMatrix) -> Codes:
    scopes = np.full(part.codes.shape, NO_LABEL, dtype=np.int8)
    code = "CASE scope " + " ".join(f"WHEN '{s}' THEN {i}" for i, s in enumerate(SCOPES)) + " END::TINYINT"
    fetch_cells(connection, *subject.source, subject.subject_id, part.report_ids, code, scopes)
    return scopes


def _age_group(age: str) -> str:
    try:
        years = int(float(age))
    except ValueError:
        return age
    low = years // _AGES * _AGES
    return f"{low:02}-{low + _AGES - 1:02}"


def _row(group: str, subject: Subject, f: F1Report) -> Group:
    return Group(
        group,
        subject,
        f.n_cells,
        f.n_reports,
        f.positives,
        f.predicted_positives,
        f.precision,
        f.recall,
        f.micro,
        f.macro,
        f.weighted,
    )


def _finding_row(f: FindingF1, subject: Subject) -> Group:
    return Group(f.finding, subject, f.n, f.n, f.positives, f.predicted_positives, f.precision, f.recall, f.f1)
