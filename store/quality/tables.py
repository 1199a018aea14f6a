"""From figures to rows of the table `evaluations`, one row a metric."""

from typing import Any

from teachback.store.identity import content_id
from teachback.store.label import FINDINGS
from teachback.store.quality.agreement import Agreement
from teachback.store.quality.bootstrap import Estimate
from teachback.store.quality.calibration import CalibrationReport
from teachback.store.quality.diseases import DiseaseReport
from teachback.store.quality.f1 import F1Report, PairedReport

__all__ = ["ALL_TARGETS", "evaluation_rows"]

# The `target` of a figure over all findings, or all diseases.
ALL_TARGETS = "all"

# Metric, target, n, positives, figure.
_Figure = tuple[str, str, int, int | None, Estimate]


def evaluation_rows(
    figures: F1Report | PairedReport | DiseaseReport | Agreement | CalibrationReport,
    *,
    subject: str,
    split: str,
    labeler_id: str | None = None,
    round_id: str | None = None,
    note: str | None = None,
) -> list[dict[str, Any]]:
    """Return rows for the table `evaluations`; equal figures have equal ids, so writing twice adds nothing.

    Metrics are `micro_f1`, `macro_f1`, `weighted_f1`, `precision`, `recall`, and `f1`, `precision`, `recall` a finding;
    a paired report gives `delta_micro_f1`, `delta_macro_f1` and `delta_f1`; an agreement `accuracy` and `kappa`;
    a calibration `ece_before`, `brier_before`, `ece_after` and `brier_after`, a finding and over all;
    diseases `exact_f1`, `normalised_f1`, `synonym_f1`, `icd3_f1`, `icd_f1` and their precision and recall.

    Args:
        figures: What was measured.
        subject: What was judged, such as a labeler's name, `teacher` or `round 2 feedback`.
        split: The split it was judged on, or `all`.
        labeler_id: The labeler, where it is one.
        round_id: The round, where it belongs to one.
        note: What the reader must know, such as the labeler it was compared with.
    """
    task = "diseases" if isinstance(figures, DiseaseReport) else "findings"
    return [
        _row(subject, labeler_id, round_id, split, task, target, metric, n, positives, estimate, note)
        for metric, target, n, positives, estimate in _list_figures(figures)
    ]


def _list_figures(
    figures: F1Report | PairedReport | DiseaseReport | Agreement | CalibrationReport,
) -> list[_Figure]:
    if isinstance(figures, CalibrationReport):
        return [
            (f"{metric}_{side}", of.finding, n, of.positives, getattr(getattr(of, side), metric))
            for of, n in [(figures.overall, figures.n_reports)] + [(of, of.n) for of in figures.findings]
            for side in ("before", "after")
            for metric in ("ece", "brier")
        ]
    if isinstance(figures, F1Report):
        return _of_f1(figures)
    if isinstance(figures, PairedReport):
        n = figures.n_reports
        overall: list[_Figure] = [
            ("delta_micro_f1", ALL_TARGETS, n, None, figures.micro),
            ("delta_macro_f1", ALL_TARGETS, n, None, figures.macro),
        ]
        by_finding = zip(FINDINGS, figures.findings, strict=True)
        return overall + [("delta_f1", finding, n, None, gain) for finding, gain in by_finding]
    if isinstance(figures, DiseaseReport):
        return [
            (f"{by.rule}_{metric}", ALL_TARGETS, figures.n_reports, by.tp + by.fn, getattr(by, metric))
            for by in figures.rules
            for metric in ("f1", "precision", "recall")
        ]
    return [
        (metric, target, n, None, estimate)
        for target, n, of in [(ALL_TARGETS, figures.n_reports, figures)]
        + [(f.finding, f.n, f) for f in figures.findings]
        for metric, estimate in (("accuracy", of.accuracy), ("kappa", of.kappa))
    ]


def _of_f1(report: F1Report) -> list[_Figure]:
    overall: list[_Figure] = [
        (metric, ALL_TARGETS, report.n_reports, report.positives, estimate)
        for metric, estimate in (
            ("micro_f1", report.micro),
            ("macro_f1", report.macro),
            ("weighted_f1", report.weighted),
            ("precision", report.precision),
            ("recall", report.recall),
        )
    ]
    return overall + [
        (metric, f.finding, f.n, f.positives, estimate)
        for f in report.findings
        for metric, estimate in (("f1", f.f1), ("precision", f.precision), ("recall", f.recall))
    ]


def _row(
    subject: str,
    labeler_id: str | None,
    round_id: str | None,
    split: str,
    task: str,
    target: str,
    metric: str,
    n: int,
    positives: int | None,
    estimate: Estimate,
    note: str | None,
) -> dict[str, Any]:
    row = {
        "subject": subject,
        "labeler_id": labeler_id,
        "round_id": round_id,
        "split": split,
        "task": task,
        "target": target,
        "metric": metric,
        "n": n,
        "positives": positives,
        **estimate.as_dict(),
        "note": note,
    }
    return {"evaluation_id": content_id("evl", row), **row}
