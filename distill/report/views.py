"""From the record to the rows that the page shows: panels of intervals, findings, rounds, pseudo-labels."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from teachback.distill.report.figures import FEW_POSITIVES, Figure, Subject, as_figure, promise_kept, wilson
from teachback.distill.report.gates import GateView, gate_view
from teachback.distill.report.plots import Scale, axis, interval_scale, interval_track, loss_curve, reliability_plot
from teachback.store.label import FINDINGS

__all__ = [
    "FindingRow",
    "Panel",
    "PseudoClass",
    "PseudoView",
    "RoundView",
    "finding_rows",
    "forest_panels",
    "round_views",
]


@dataclass(frozen=True, slots=True)
class Panel:
    """One dot plot with intervals.

    Attributes:
        title: What it shows.
        rows: (name, role, plot, figure in words).
        axis: The numbers below.
    """

    title: str
    rows: Sequence[tuple[str, str, Markup, str]]
    axis: Markup


@dataclass(frozen=True, slots=True)
class FindingRow:
    """One finding's F1, subject by subject.

    Attributes:
        finding: The finding.
        n: Reports with a curated label of it.
        positives: Those where it is positive.
        few: Whether the positives are too few to lean on.
        cells: (role, figure) in the order of the columns.
        change: The champion's paired change over the teacher.
    """

    finding: str
    n: int
    positives: int
    few: bool
    cells: list[tuple[str, Figure | None]]
    change: Figure | None


@dataclass(frozen=True, slots=True)
class PseudoClass:
    """What was fed back of one finding and status.

    Attributes:
        finding: The finding.
        status: The status.
        threshold: Probability from which predictions were taken; None where none was certified.
        certificate: Errors among the accepted calibration predictions, in words.
        candidates: Predictions of the class in the pool.
        selected: Those fed back.
        realised: Wrong of known, in words.
        verdict: `kept`, `broken`, `unsettled` or `unknown`.
        track: The realised error with its interval, against the bound.
    """

    finding: str
    status: str
    threshold: float | None
    certificate: str
    candidates: int
    selected: int
    realised: str
    verdict: str
    track: Markup


@dataclass(frozen=True, slots=True)
class PseudoView:
    """What was fed back into a round.

    Attributes:
        summary: The record's own counts.
        realised: Share that is wrong where it is known, with a Wilson interval.
        verdict: Whether the promise was kept over all classes together.
        bound: The promised error.
        confidence: With which probability.
        refused: (reason, predictions).
        classes: Classes of which something was fed back or certified.
        uncertified: Classes of which nothing was.
        axis: The numbers below the tracks.
        held_out: The same of what the certificates let through on gate, in the record's own words: `known`, `wrong`,
            `realised_error`, `realised_interval`; None where that is not on record or nothing is known.
        held_out_verdict: Whether the promise was kept there.
    """

    summary: Mapping[str, Any]
    realised: Figure
    verdict: str
    bound: float
    confidence: float
    refused: list[tuple[str, int]]
    classes: list[PseudoClass]
    uncertified: int
    axis: Markup
    held_out: Mapping[str, Any] | None
    held_out_verdict: str


@dataclass(frozen=True, slots=True)
class RoundView:
    """One round for the page.

    Attributes:
        round: Its record.
        status: `promoted`, `rolled back`, `passed over`, `control arm`, `baseline`.
        is_champion: Whether it is the champion.
        loss: Its loss curve; empty where it was not trained by steps.
        reliability: Its reliability plot.
        pseudo: What was fed back into it; None where nothing was.
        gate: The gate's decision; None where it did not stand for promotion.
    """

    round: Mapping[str, Any]
    status: str
    is_champion: bool
    loss: Markup
    reliability: Markup
    pseudo: PseudoView | None
    gate: GateView | None


def forest_panels(subjects: Sequence[Subject], splits: Sequence[str]) -> list[Panel]:
    """Return a panel for each split and measure, all on one scale.

    The untrained base model does not stretch the scale: where it lies beyond the edge, an arrow head says so.
    """
    pairs = [(split, name) for split in splits for name in ("micro", "macro")]
    trained = [subject for subject in subjects if subject.name != "base model"]
    scale = interval_scale([subject.measure(*pair) for subject in trained for pair in pairs])
    return [_panel(subjects, split, name, scale) for split, name in pairs]


def finding_rows(subjects: Sequence[Subject], split: str, champion: Subject | None) -> list[FindingRow]:
    """Return a row for each finding.

    Args:
        subjects: The columns.
        split: `gate` or `test`.
        champion: Whose change over the teacher stands in the last column.
    """
    judged = [(subject, found["figures"]["findings"]) for subject in subjects if (found := subject.on(split))]
    if not judged:
        return []
    own = champion.on(split) if champion else None
    changes = own["over_teacher"]["findings"] if own and own["over_teacher"] else {}
    return [
        FindingRow(
            finding=finding,
            n=judged[0][1][i]["n"],
            positives=judged[0][1][i]["positives"],
            few=judged[0][1][i]["positives"] < FEW_POSITIVES,
            cells=[(subject.role, figures[i]["f1"]) for subject, figures in judged],
            change=changes.get(finding),
        )
        for i, finding in enumerate(FINDINGS)
    ]


def round_views(record: Mapping[str, Any]) -> list[RoundView]:
    """Return every round, in the order that they ran."""
    return [
        RoundView(
            round=round_,
            status=_status(round_),
            is_champion=round_["name"] == record["champion"],
            loss=loss_curve(round_["training"].get("losses") or []),
            reliability=reliability_plot(round_["reliability"]["before"], round_["reliability"]["after"]),
            pseudo=_pseudo(round_["pseudo"], record["settings"]["select"]) if round_["pseudo"] else None,
            gate=gate_view(round_["name"], round_["decision"]) if round_["decision"] else None,
        )
        for round_ in record["rounds"]
    ]


def _panel(subjects: Sequence[Subject], split: str, name: str, scale: Scale) -> Panel:
    judged = [subject for subject in subjects if subject.on(split)]
    teacher = next((s.measure(split, name) for s in judged if s.role == "teacher"), None)
    reference = teacher["value"] if teacher else None
    rows = [
        (
            subject.name,
            subject.role,
            interval_track(subject.measure(split, name), scale, subject.role, reference),
            as_figure(subject.measure(split, name)),
        )
        for subject in judged
    ]
    return Panel(f"{name}-F1 on {split}", rows, axis(scale))


def _status(round_: Mapping[str, Any]) -> str:
    if round_["decision"] is not None:
        return "promoted" if round_["decision"]["promoted"] else "rolled back"
    if round_.get("passed_over"):
        return "passed over"
    return "control arm" if round_["arm"] == "control" else "baseline"


def _pseudo(summary: Mapping[str, Any], select: Mapping[str, Any]) -> PseudoView:
    bound = select["error"]
    taken = [c for c in summary["classes"] if c["threshold"] is not None]
    realised = {id(c): wilson(c["wrong"], c["known"]) for c in taken}
    scale = interval_scale([*realised.values(), {"value": bound, "low": 0.0, "high": bound * 2}])
    classes = [
        PseudoClass(
            finding=c["finding"],
            status=c["status"],
            threshold=c["threshold"],
            certificate=f"{c['calibration_errors']:,} of {c['calibration_accepted']:,}",
            candidates=c["candidates"],
            selected=c["selected"],
            realised=f"{c['wrong']:,} of {c['known']:,}",
            verdict=promise_kept(c["wrong"], c["known"], bound),
            track=interval_track(realised[id(c)], scale, "champion", bound),
        )
        for c in sorted(taken, key=lambda c: -c["selected"])
    ]
    held_out = summary.get("held_out")
    held_out = held_out if held_out and held_out["known"] else None
    return PseudoView(
        summary=summary,
        realised=wilson(summary["wrong"], summary["known"]),
        verdict=promise_kept(summary["wrong"], summary["known"], bound),
        bound=bound,
        confidence=select["confidence"],
        refused=[(_reason(reason), n) for reason, n in summary["refused"].items()],
        classes=classes,
        uncertified=len(summary["classes"]) - len(taken),
        axis=axis(scale),
        held_out=held_out,
        held_out_verdict=promise_kept(held_out["wrong"], held_out["known"], bound) if held_out else "unknown",
    )


def _reason(reason: str) -> str:
    """`refused: the class is capped at its share, # of #` without its holes."""
    named = reason.removeprefix("refused: ").replace("certified #", "certified threshold")
    return re.split(r",? (?:of )?#", named)[0]
