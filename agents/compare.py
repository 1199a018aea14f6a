"""Where labelers differ: the step between voting and deciding, a pure function of their labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from teachback.agents.labeler import Dispute
from teachback.store.label import Label
from teachback.store.report import Report

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the labelers' votes on one report come to.

    Attributes:
        agreed: Targets on which all that voted give the same status.
        silent: Targets on which those that differ had read too little of the report to object.
        disputes: Targets that need a decision.
    """

    agreed: int
    silent: int
    disputes: tuple[Dispute, ...]


def compare(report: Report, votes: Sequence[Sequence[Label]], names: Mapping[str, str] | None = None) -> Comparison:
    """Compare the labelers' votes on the closed-set task of one report.

    A dispute is a target with more than one status. A vote of `unmentioned` made from less of the report than another
    vote was is no objection to it: the words may stand in the part that it did not read. Targets that only one of them
    voted on are not compared, and diseases come from language models alone, in words of their own, so they are never
    disputed.

    Args:
        report: The report, which tells how much of it each scope covers.
        votes: Each labeler's labels of it; the first one's order of targets decides the order of disputes.
        names: Labeler id to readable name; the id stands in where it is missing.
    """
    names = names or {}
    by_target: dict[str, list[Label]] = {}
    for labels in votes:
        for label in labels:
            if label.task == "findings":
                by_target.setdefault(label.target, []).append(label)
    agreed = silent = 0
    disputes: list[Dispute] = []
    for target, given in by_target.items():
        if len(given) < 2:
            continue
        if len({vote.status for vote in given}) == 1:
            agreed += 1
            continue
        objecting = tuple(vote for vote in given if not _is_silence(report, vote, given))
        if len({vote.status for vote in objecting}) < 2:
            silent += 1
        else:
            who = tuple(names.get(vote.labeler_id, vote.labeler_id) for vote in objecting)
            disputes.append(Dispute("findings", target, objecting, who))
    return Comparison(agreed, silent, tuple(disputes))


def _is_silence(report: Report, label: Label, given: Sequence[Label]) -> bool:
    if label.status != "unmentioned":
        return False
    read = _length_read(report, label)
    return any(other.status != label.status and read < _length_read(report, other) for other in given)


def _length_read(report: Report, label: Label) -> int:
    # Scopes of one report are nested wherever both exist, so the shorter one is the narrower one.
    return sum(len(text) for _, text in report.scoped(label.scope))
