"""Every labeler beside the others, against the curated labels or against one of them.

A labeler is judged on the reports that it labelled, and their number stands beside its figures: an adjudicator's own
verdicts (disagreements only) are judged as part of its teacher, never alone.
"""

from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt

from teachback.store.label import FINDINGS, STATUSES, Status
from teachback.store.quality.agreement import Agreement, agreement
from teachback.store.quality.f1 import Codes, F1Report, evaluate_statuses
from teachback.store.quality.statuses import StatusMatrix
from teachback.store.quality.subjects import Compared, Subject

__all__ = ["Disagreement", "Standing", "Standings", "rank_subjects"]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One cell on which a subject differs from the reference.

    Attributes:
        report_id: The report.
        finding: The finding.
        reference: The reference's status.
        said: The subject's.
        quote: The first words that the subject gave as evidence; None where it gave none.
    """

    report_id: str
    finding: str
    reference: Status
    said: Status
    quote: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """One subject's figures.

    Attributes:
        subject: Who.
        figures: How well it matches the reference.
        agreement: Accuracy and kappa of the four statuses with the reference.
        coverage: Share of the reference's reports that it labelled.
        differing: Cells on which it differs from the reference: in status, or from `curated` in being positive.
        disagreements: Some of these, drawn by chance and in the order of reports.
    """

    subject: Subject
    figures: F1Report
    agreement: Agreement
    coverage: float
    differing: int = 0
    disagreements: tuple[Disagreement, ...] = ()


@dataclass(frozen=True, slots=True)
class Standings:
    """All subjects' figures against one reference.

    Attributes:
        reference: `curated`, or the name of the labeler that the others are compared with.
        n_reports: Reports of the reference.
        rows: Best micro-F1 first.
        notes: What a reader must know to compare the rows.
    """

    reference: str
    n_reports: int
    rows: tuple[Standing, ...]
    notes: tuple[str, ...]


def rank_subjects(
    connection: duckdb.DuckDBPyConnection,
    compared: Compared,
    *,
    show: int = 0,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Standings:
    """Judge every subject.

    Args:
        connection: The store or snapshot that they were read from.
        compared: Who is judged, on what.
        show: Disagreements of each subject to give, at most.
        n_boot: Resamples behind the intervals.
        seed: Seed of the resamples, and of the choice of disagreements.
        level: Coverage of the intervals.
    """
    rows = []
    for subject, mask in compared.masks.items():
        part, said = compared.part(subject)
        figures = evaluate_statuses(
            part.codes, said, part.clusters, positive=compared.positive, n_boot=n_boot, seed=seed, level=level
        )
        agreed = agreement(part.codes, said, part.clusters, n_boot=n_boot, seed=seed, level=level)
        cells = np.argwhere(compared.differing(part.codes, said))
        shown = _drawn(connection, subject, part, said, cells, show, seed)
        rows.append(Standing(subject, figures, agreed, float(mask.mean()), len(cells), shown))
    rows.sort(key=lambda row: -np.nan_to_num(row.figures.micro.value))
    silent = [
        f"{row.subject.name} gave no status in {row.figures.abstained:,} cells: counted as not positive"
        for row in rows
        if row.figures.abstained
    ]
    return Standings(compared.reference, len(compared.truth), tuple(rows), (*compared.notes, *silent))


def _drawn(
    connection: duckdb.DuckDBPyConnection,
    subject: Subject,
    reference: StatusMatrix,
    said: Codes,
    cells: npt.NDArray[np.intp],
    show: int,
    seed: int,
) -> tuple[Disagreement, ...]:
    """Draw some of the cells that differ, each with the subject's evidence."""
    if not show or not len(cells):
        return ()
    chosen = np.sort(np.random.default_rng(seed).permutation(len(cells))[:show])
    places = [(int(report), int(finding)) for report, finding in cells[chosen]]
    reports = [reference.report_ids[report] for report, _ in places]
    # A teacher's evidence is that of the labeler that it followed.
    table, column = subject.source
    found = connection.execute(
        f"SELECT report_id, target, evidence[1].quote FROM {table} WHERE {column} = ? AND task = 'findings' "
        "AND report_id IN (SELECT unnest(?::VARCHAR[]))",
        [subject.subject_id, reports],
    ).fetchall()
    quotes = {(report_id, target): quote for report_id, target, quote in found}
    return tuple(
        Disagreement(
            report_id,
            FINDINGS[finding],
            STATUSES[reference.codes[report, finding]],
            STATUSES[said[report, finding]],
            quotes.get((report_id, FINDINGS[finding])),
        )
        for report_id, (report, finding) in zip(reports, places, strict=True)
    )
