"""What `teachback evaluate` shows beside the standings: each question's figures, as tables and as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teachback.cli.evaluate_shown import Shown, Table
from teachback.store.label import FINDINGS, STATUSES

if TYPE_CHECKING:
    import duckdb

    from teachback.store.quality.subjects import Compared

__all__ = [
    "of_agreement",
    "of_calibration",
    "of_confusion",
    "of_diseases",
    "of_drift",
    "of_groups",
    "of_pairs",
    "of_rare",
]


def of_groups(connection: duckdb.DuckDBPyConnection, compared: Compared, by: str, boot: dict[str, Any]) -> Shown:
    """Figures of each labeler in each group."""
    from teachback.store.quality.breakdown import break_down

    groups = break_down(connection, compared, by, **boot)
    means = any(g.macro for g in groups)
    columns = (
        f"<{by}",
        "<labeler",
        "reports",
        "positives",
        "called",
        "P",
        "R",
        "F1 [95 %]" if not means else "micro-F1 [95 %]",
    )
    rows = [
        (
            "" if place and groups[place - 1].group == g.group else g.group,
            g.subject.name,
            g.n_reports,
            g.positives,
            g.called,
            g.precision.value,
            g.recall.value,
            g.micro,
            *((g.macro.value, g.weighted.value) if g.macro and g.weighted else ()),
        )
        for place, g in enumerate(groups)
    ]
    foot = "macro-F1: mean of the findings with a positive; weighted: by their positives" if means else ""
    heads = (*columns, "macro-F1", "weighted") if means else columns
    return Shown({"groups": [g.as_dict() for g in groups]}, [Table(heads, rows, foot=foot)], notes=compared.notes)


def of_confusion(compared: Compared, *, per_finding: bool) -> Shown:
    """Statuses of each labeler against those of the reference."""
    from teachback.store.quality.agreement import agreement

    plain, tables = [], []
    for subject in compared.masks:
        part, said = compared.part(subject)
        agreed = agreement(part.codes, said, part.clusters, n_boot=0)
        by_finding = {f.finding: f.confusion for f in agreed.findings}
        plain.append(
            {
                "labeler": subject.name,
                "rows": compared.reference,
                "statuses": list(STATUSES),
                "confusion": agreed.confusion,
                "findings": by_finding,
            }
        )
        chosen = {subject.name: agreed.confusion}
        if per_finding:
            chosen |= {f"{subject.name}: {finding}": matrix for finding, matrix in by_finding.items()}
        tables += [_confusion(title, matrix, compared.reference) for title, matrix in chosen.items()]
    return Shown({"labelers": plain}, tables, notes=compared.notes)


def of_calibration(
    connection: duckdb.DuckDBPyConnection,
    compared: Compared,
    bins: int,
    boot: dict[str, Any],
    plot: Path | None,
    *,
    per_finding: bool,
) -> Shown:
    """Whether confidences are right."""
    from teachback.errors import StoreError
    from teachback.store.quality.reliability import judge_confidence
    from teachback.store.quality.reliability_plot import reliability_svg

    wanted = (None, *FINDINGS) if per_finding else (None,)
    found = {
        (subject.name, finding): measured
        for subject in compared.masks
        for finding in wanted
        if (measured := judge_confidence(connection, compared, subject, finding=finding, bins=bins, **boot))
    }
    if not found:
        raise StoreError(
            "no label of these reports has a confidence", "an LLM's or a student's has; see --only, --split"
        )
    heads = ("<labeler", "<finding", "labels", "without", "confidence", "right", "calibration error", "Brier")
    rows = [
        (name, finding or "all", m.n, m.without, m.confidence, m.right, m.ece, m.brier)
        for (name, finding), m in found.items()
    ]
    foot = "confidence, right: means; without: labels without a confidence, left out"
    curves = {name: m for (name, finding), m in found.items() if finding is None}
    tables = [Table(heads, rows, foot=foot)]
    for name, m in curves.items():
        in_bins = [(f"{b.low:.2f}", b.n, b.confidence, b.right) for b in m.bins]
        tables.append(Table(("from", "labels", "confidence", "right [95 %]"), in_bins, title=name))
    if plot is not None:
        plot.write_text(reliability_svg(curves), encoding="utf-8")
        tables.append(Table((f"<drawn: {plot}",), []))
    plain = [{"labeler": name, "finding": finding, **m.as_dict()} for (name, finding), m in found.items()]
    return Shown({"calibration": plain}, tables, notes=compared.notes)


def of_agreement(
    connection: duckdb.DuckDBPyConnection,
    where: dict[str, Any],
    only: list[str],
    boot: dict[str, Any],
    *,
    per_finding: bool,
) -> Shown:
    """How far labelers agree among themselves."""
    from teachback.store.quality.consensus import fetch_consensus

    found = fetch_consensus(connection, **where, only=only, **boot)
    alpha = found.alpha
    title = f"Krippendorff's alpha of {alpha.n_labelers} labelers on {alpha.n_reports:,} reports"
    every = list(zip(FINDINGS, alpha.findings, strict=True)) if per_finding else []
    tables = [
        Table(("<finding", "alpha [95 %]"), [("all", alpha.overall), *every], title=title),
        Table(
            ("<labeler", "<and", "<finding", "reports", "equal", "kappa [95 %]"),
            [
                (a.name, b.name, finding, n, equal.value, kappa)
                for a, b, of in found.pairs
                for finding, n, equal, kappa in [
                    ("all", of.n_reports, of.accuracy, of.kappa),
                    *([(f.finding, f.n, f.accuracy, f.kappa) for f in of.findings] if per_finding else []),
                ]
            ],
            title="Cohen's kappa of each two",
            foot="of the four statuses, unweighted; students and teachers only when named with --only",
        ),
    ]
    return Shown(found.as_dict(), tables)


def of_drift(
    connection: duckdb.DuckDBPyConnection, where: dict[str, Any], boot: dict[str, Any], *, per_finding: bool
) -> Shown:
    """How students' labels moved from round to round."""
    from teachback.store.quality.drift import fetch_drift

    found = fetch_drift(connection, **where, **boot)
    rows = [
        (f"{d.campaign_id[:8]} {d.round} {d.arm}", d.before, *_drift_cells(f))
        for d in found
        for f in (d.overall, *(d.findings if per_finding else ()))
    ]
    heads = ("<round", "<since", "<finding", "labels", "before", "now", "change of present [95 %]", "changed", "bits")
    foot = "before, now: share of present; changed: share of other statuses; bits: Jensen-Shannon divergence, 0 to 1"
    return Shown({"drift": [d.as_dict() for d in found]}, [Table(heads, rows, foot=foot)])


def of_pairs(compared: Compared, boot: dict[str, Any], *, per_finding: bool) -> Shown:
    """Each two labelers beside each other."""
    from teachback.store.quality.pairs import compare_pairs

    found = compare_pairs(compared, **boot)
    rows = [
        (p.better.name, p.other.name, g.n_reports, g.micro, g.macro, len(g.wins), len(g.ties), len(g.losses))
        for p in found
        for g in [p.gain]
    ]
    heads = ("<labeler", "<over", "reports", "micro-F1 [95 %]", "macro-F1 [95 %]", "wins", "ties", "losses")
    foot = "gains on the reports that both labelled; wins, losses: findings whose F1 differs beyond chance"
    tables = [Table(heads, rows, foot=foot)]
    for p in found if per_finding else ():
        gains = [(f, gain) for f, gain in zip(FINDINGS, p.gain.findings, strict=True)]
        tables.append(Table(("<finding", "F1 [95 %]"), gains, title=f"{p.better.name} over {p.other.name}"))
    return Shown({"pairs": [p.as_dict() for p in found]}, tables, notes=compared.notes)


def of_rare(compared: Compared, few: int) -> Shown:
    """Rare findings, with exact intervals."""
    from teachback.store.quality.f1 import evaluate_statuses
    from teachback.store.quality.rare import rare_findings

    plain: list[dict[str, Any]] = []
    rows: list[tuple[object, ...]] = []
    for subject in compared.masks:
        part, said = compared.part(subject)
        figures = evaluate_statuses(part.codes, said, part.clusters, positive=compared.positive, n_boot=0)
        for f in rare_findings(figures, few=few):
            plain.append({"labeler": subject.name, **f.as_dict()})
            rows.append((f.finding, subject.name, f.n, f.positives, f.found, f.claimed, f.recall, f.precision))
    rows.sort(key=lambda row: (row[3], row[0]))
    heads = ("<finding", "<labeler", "reports", "positives", "found", "claimed", "recall [95 %]", "precision [95 %]")
    foot = f"findings with fewer than {few} positives; intervals: Clopper and Pearson, reports taken as independent"
    return Shown({"few": few, "rare": plain}, [Table(heads, rows, foot=foot)], notes=compared.notes)


def of_diseases(
    connection: duckdb.DuckDBPyConnection, where: dict[str, Any], only: list[str], boot: dict[str, Any]
) -> Shown:
    """Open-ended lists of diseases, by each matching rule."""
    from teachback.store.quality.disease_standings import rank_disease_lists

    found = rank_disease_lists(connection, **where, only=only, **boot)
    rows = [
        (
            "" if place else standing.name,
            of.rule,
            "" if place else standing.figures.n_reports,
            of.tp,
            of.fp,
            of.fn,
            of.left_out,
            of.precision.value,
            of.recall.value,
            of.f1,
        )
        for standing in found
        for place, of in enumerate(standing.figures.rules)
    ]
    heads = ("<labeler", "<rule", "reports", "both", "only it", "only curated", "left out", "P", "R", "F1 [95 %]")
    foot = "exact: same phrase; normalised: but for case and punctuation; icd3: same ICD-10 category; icd: same code"
    return Shown({"diseases": [d.as_dict() for d in found]}, [Table(heads, rows, foot=foot)])


def _confusion(title: str, matrix: Iterable[Sequence[int]], reference: str) -> Table:
    rows: list[tuple[object, ...]] = [
        (status, *cells, sum(cells)) for status, cells in zip(STATUSES, matrix, strict=True) if sum(cells)
    ]
    return Table((f"<{reference}", *STATUSES, "all"), rows, title=f"{title} (columns)")


def _drift_cells(of: Any) -> tuple[object, ...]:
    return (of.finding, of.n, of.before, of.now, of.change, of.changed.value, of.divergence)
