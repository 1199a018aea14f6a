"""The reports on which two prompts differ, with what each rests on."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from teachback.agents.nodes import STRICTEST
from teachback.store.label import FINDINGS, STATUSES, Label, Status
from teachback.store.quality.f1 import POSITIVE
from teachback.store.quality.statuses import StatusMatrix
from teachback.store.report import Report, Scope

__all__ = ["Flip", "FlippedReport", "Outcome", "Segment", "Span", "cut", "find_flipped"]

# What the flip did to being right, as F1 reads it: `better` where B alone is right, `worse` where A alone is.
Outcome = Literal["better", "worse", "both right", "both wrong", "not curated"]

_OUTCOMES: Mapping[tuple[bool, bool], Outcome] = {
    (True, True): "both right",
    (True, False): "worse",
    (False, True): "better",
    (False, False): "both wrong",
}


@dataclass(frozen=True, slots=True)
class Flip:
    """One finding of one report on which the two prompts differ.

    Attributes:
        finding: Which one.
        a: The label under A.
        b: The label under B.
        curated: The curated status; None where there is none.
        outcome: What it did to being right.
    """

    finding: str
    a: Label
    b: Label
    curated: Status | None
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of evidence in a section.

    Attributes:
        start: Offset of its first character.
        end: Offset behind its last one.
        side: `a` or `b`.
        finding: What it is evidence for.
    """

    start: int
    end: int
    side: str
    finding: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of text that the same evidence covers.

    Attributes:
        text: The characters, not escaped.
        spans: The evidence that covers it.
    """

    text: str
    spans: tuple[Span, ...]

    @property
    def sides(self) -> str:
        """`a`, `b`, `ab`, or nothing."""
        return "".join(sorted({span.side for span in self.spans}))

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings that it is evidence for."""
        return tuple(sorted({span.finding for span in self.spans}))


@dataclass(frozen=True, slots=True)
class FlippedReport:
    """One report on which the two prompts differ.

    Attributes:
        report_id: The report.
        corpus: Its corpus.
        restricted: Whether its text must not be passed on.
        sections: (name, text cut where evidence begins and ends) of what the prompts were shown.
        flips: The findings that differ, in the order of `FINDINGS`.
    """

    report_id: str
    corpus: str
    restricted: bool
    sections: tuple[tuple[str, tuple[Segment, ...]], ...]
    flips: tuple[Flip, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the flips with their evidence as JSON-ready values; the text itself is in the store."""
        return {
            "report_id": self.report_id,
            "flips": [
                {
                    "finding": flip.finding,
                    "a": _side(flip.a),
                    "b": _side(flip.b),
                    "curated": flip.curated,
                    "outcome": flip.outcome,
                }
                for flip in self.flips
            ],
        }


def find_flipped(
    truth: StatusMatrix,
    reports: Sequence[Report],
    a: Mapping[str, Sequence[Label]],
    b: Mapping[str, Sequence[Label]],
    *,
    scope: Scope,
    egress: Mapping[str, str],
    positive: Collection[Status] = POSITIVE,
) -> tuple[FlippedReport, ...]:
    """Find the reports on which two labelers differ, those where it changed what is right first.

    Args:
        truth: The curated statuses of the reports.
        reports: The reports, in the same order.
        a: Report id to labels under A.
        b: Report id to labels under B.
        scope: What both were shown.
        egress: Corpus to egress policy; a corpus that is not named counts as `local-only`.
        positive: Statuses that are read as positive.
    """
    found = []
    for place, report in enumerate(reports):
        by_a, by_b = (
            {label.target: label for label in said.get(report.report_id, ()) if label.task == "findings"}
            for said in (a, b)
        )
        flips = tuple(
            _flip(finding, by_a[finding], by_b[finding], int(truth.codes[place, column]), positive)
            for column, finding in enumerate(FINDINGS)
            if finding in by_a and finding in by_b and by_a[finding].status != by_b[finding].status
        )
        if flips:
            restricted = egress.get(report.corpus, STRICTEST) != "any"
            sections = tuple((name, tuple(cut(text, _spans(flips, name)))) for name, text in report.scoped(scope))
            found.append(FlippedReport(report.report_id, report.corpus, restricted, sections, flips))
    return tuple(sorted(found, key=lambda each: (-_changes(each), each.report_id)))


def cut(text: str, spans: Sequence[Span]) -> list[Segment]:
    """Cut a text where evidence begins and ends; spans may overlap, and those that do not fit are left out."""
    fitting = [span for span in spans if 0 <= span.start < span.end <= len(text)]
    edges = sorted({0, len(text), *(span.start for span in fitting), *(span.end for span in fitting)})
    return [
        Segment(text[start:end], tuple(span for span in fitting if span.start <= start and end <= span.end))
        for start, end in pairwise(edges)
    ]


def _flip(finding: str, a: Label, b: Label, code: int, positive: Collection[Status]) -> Flip:
    if code < 0:
        return Flip(finding, a, b, None, "not curated")
    curated = STATUSES[code]
    right_a, right_b = ((label.status in positive) == (curated in positive) for label in (a, b))
    return Flip(finding, a, b, curated, _OUTCOMES[right_a, right_b])


def _spans(flips: Sequence[Flip], section: str) -> list[Span]:
    return [
        Span(evidence.start, evidence.end, side, flip.finding)
        for flip in flips
        for side, label in (("a", flip.a), ("b", flip.b))
        for evidence in label.evidence
        if evidence.grounded and evidence.section == section
    ]


def _changes(report: FlippedReport) -> int:
    return sum(flip.outcome in ("better", "worse") for flip in report.flips)


def _side(label: Label) -> dict[str, Any]:
    return {
        "status": label.status,
        "confidence": label.confidence,
        "evidence": [
            {"section": e.section, "start": e.start, "end": e.end, "quote": e.quote, "grounded": e.grounded}
            for e in label.evidence
        ],
    }
