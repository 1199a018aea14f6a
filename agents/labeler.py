"""What a labeler is: the protocols of the teacher graph's members, and what they hand each other.

Whoever assembles a graph passes labelers in, so a student joins it without this room knowing how students are trained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from teachback.store.identity import content_id
from teachback.store.label import Label, Labeler, Task
from teachback.store.report import Report

__all__ = ["AskingLabeler", "Decider", "Dispute", "Reply", "ReportLabeler", "Teachers", "Verdict"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a language model says of one report.

    Attributes:
        labels: Its labels; empty when it abstains because the report has no section of its scope.
        llm_call_id: The call that they come from; None when nothing was asked.
    """

    labels: list[Label]
    llm_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Dispute:
    """One target of one report on which the labelers differ.

    Attributes:
        task: The task.
        target: The target.
        votes: The labels that differ, in the order of the graph's labelers.
        names: Name of each vote's labeler, in the same order.
    """

    task: Task
    target: str
    votes: tuple[Label, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a dispute was decided.

    Attributes:
        label: The decision, as a label of the adjudicator's.
        rationale: Why, in the adjudicator's words.
        weighed: The ids of the labels that were weighed.
        llm_call_id: The call that decided it.
    """

    label: Label
    rationale: str
    weighed: tuple[str, ...]
    llm_call_id: str | None = None


class ReportLabeler(Protocol):
    """Labels a report by itself, at once: rules, or a student that is loaded here."""

    @property
    def spec(self) -> Labeler:
        """Who it is."""

    def label(self, report: Report) -> list[Label]:
        """Return its labels; empty when it abstains because the report has no section of its scope."""


class AskingLabeler(Protocol):
    """Labels a report by asking somewhere, which takes waiting."""

    @property
    def spec(self) -> Labeler:
        """Who it is."""

    async def label(self, report: Report, egress: str) -> Reply:
        """Return its labels of one report.

        Args:
            report: The report.
            egress: Where its corpus's text may be sent: `any`, `zero-retention` or `local-only`.

        Raises:
            TeacherReplyError: The answer on this report cannot be used.
            TeacherError: Nothing can be asked at all.
            EgressError: The corpus's policy forbids asking there.
        """


class Decider(Protocol):
    """Decides the targets on which others differ."""

    @property
    def spec(self) -> Labeler:
        """Who it is."""

    async def decide(self, report: Report, disputes: Sequence[Dispute], egress: str) -> list[Verdict]:
        """Decide a report's disputes, one verdict each; raises as `AskingLabeler.label` does."""


@dataclass(frozen=True)
class Teachers:
    """The members of one teacher graph.

    Attributes:
        rule: Labels every report at once.
        llm: Labels every report by asking; None for a graph of rules alone.
        adjudicator: Decides where the two differ; None leaves such targets undecided.
    """

    rule: ReportLabeler
    llm: AskingLabeler | None = None
    adjudicator: Decider | None = None

    @property
    def specs(self) -> list[Labeler]:
        """The members, in the order of their votes; the adjudicator last."""
        return [member.spec for member in (self.rule, self.llm, self.adjudicator) if member is not None]

    @property
    def member_ids(self) -> Mapping[str, str | None]:
        """The members' labeler ids by their column in the table `teachers`."""
        return {
            "rule_labeler_id": self.rule.spec.labeler_id,
            "llm_labeler_id": self.llm.spec.labeler_id if self.llm else None,
            "adjudicator_id": self.adjudicator.spec.labeler_id if self.adjudicator else None,
        }

    @property
    def teacher_id(self) -> str:
        """Content hash of the members: other rules, another prompt or another model make another teacher."""
        return content_id("tch", *self.member_ids.values())

    @property
    def names(self) -> dict[str, str]:
        """Labeler id to readable name."""
        return {spec.labeler_id: spec.name for spec in self.specs}
