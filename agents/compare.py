"""Where two labelers differ: the step between voting and deciding, a pure function of their labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from teachback.agents.labeler import Dispute
from teachback.store.label import Label
from teachback.store.report import Report

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two labelers' votes on one report come to.

    Attributes:
        agreed: Targets on which both give the same status.
        silent: Targets on which one is silent because it read less of the report than the other.
        disputes: Targets that need a decision.
    """

    agreed: int
    silent: int
    disputes: tuple[Dispute, ...]


def compare(
    report: Report, first: Sequence[Label], second: Sequence[Label], names: Mapping[str, str] | None = None
) -> Comparison:
    """Compare two labelers' votes on the closed-set task of one report.

    A dispute is a target with two statuses. A vote of `unmentioned` made from less of the report than the other vote
    was is no dispute: the words may stand in the part that it did not read. Targets that one of the two did not vote
    on are not compared, and diseases come from the language model alone, so they are never disputed.

    Args:
        report: The report, which tells how much of it each scope covers.
        first: One labeler's labels of it; order of targets decides the order of disputes.
        second: The other's.
        names: Labeler id to readable name; the id stands in where it is missing.
    """
    names = names or {}
    other = {label.target: label for label in second if label.task == "findings"}
    agreed = silent = 0
    disputes: list[Dispute] = []
    for label in first:
        against = other.get(label.target) if label.task == "findings" else None
        if against is None:
            continue
        if label.status == against.status:
            agreed += 1
        elif _is_silence(report, label, against) or _is_silence(report, against, label):
            silent += 1
        else:
            votes = (label, against)
            who = tuple(names.get(vote.labeler_id, vote.labeler_id) for vote in votes)
            disputes.append(Dispute(label.task, label.target, votes, who))
    return Comparison(agreed, silent, tuple(disputes))


def _is_silence(report: Report, label: Label, against: Label) -> bool:
    return label.status == "unmentioned" and _length_read(report, label) < _length_read(report, against)


def _length_read(report: Report, label: Label) -> int:
    # Scopes of one report are nested wherever both exist, so the shorter one is the narrower one.
    return sum(len(text) for _, text in report.scoped(label.scope))
