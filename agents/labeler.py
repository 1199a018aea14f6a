"""What a labeler is: the protocols of the teacher graph's members, and what they hand each other.

Whoever assembles a graph passes labelers in, so a student joins it without this room knowing how students are trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from teachback.errors import SettingError
from teachback.store.identity import content_id
from teachback.store.label import Label, Labeler, Status, Task
from teachback.store.report import Report

__all__ = [
    "AskingLabeler",
    "Decider",
    "Dispute",
    "ManyLabeler",
    "Reply",
    "ReportLabeler",
    "Teachers",
    "Verdict",
    "VerdictStatus",
]

VerdictStatus = Status | Literal["cannot_tell"]


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
    """How a dispute was decided, or that it was left to a person.

    Attributes:
        report_id: The report.
        task: The task.
        target: The target.
        status: The decision; `cannot_tell` leaves the target to a person.
        label: The decision, as a label of the adjudicator's; None where it cannot tell.
        rationale: Why, in the adjudicator's words.
        weighed: The ids of the labels that were weighed.
        labeler_id: The adjudicator.
        llm_call_id: The call that decided it.
    """

    report_id: str
    task: Task
    target: str
    status: VerdictStatus
    label: Label | None
    rationale: str
    weighed: tuple[str, ...]
    labeler_id: str
    llm_call_id: str | None = None


class ReportLabeler(Protocol):
    """Labels a report by itself, at once: rules, or a student that is loaded here."""

    @property
    def spec(self) -> Labeler:
        """Who it is."""

    def label(self, report: Report) -> list[Label]:
        """Return its labels; empty when it abstains because the report has no section of its scope."""


@runtime_checkable
class ManyLabeler(ReportLabeler, Protocol):
    """Labels many reports at a time, in a place of its own."""

    async def label_many(self, reports: Sequence[Report]) -> list[list[Label]] | None:
        """Return each report's labels, as `label` would; None where they are to be made one by one."""


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
        local: Label every report by themselves, at once: rules, students.
        asking: Label every report by asking a model.
        adjudicator: Decides where they differ; None leaves such targets undecided.
        aggregator: Who labels all targets from the votes once the graph is done; None where nobody does.
    """

    local: tuple[ReportLabeler, ...] = ()
    asking: tuple[AskingLabeler, ...] = ()
    adjudicator: Decider | None = None
    aggregator: Labeler | None = None

    def __post_init__(self) -> None:
        voters = [spec.labeler_id for spec in self.voters]
        if not voters or len(set(voters)) < len(voters):
            raise SettingError(
                "a teacher needs labelers, each of them once", "name different ones: --labelers rule,llm:gpt-4o"
            )

    @property
    def voters(self) -> list[Labeler]:
        """Who votes, in the order of their votes."""
        return [*(member.spec for member in self.local), *(member.spec for member in self.asking)]

    @property
    def specs(self) -> list[Labeler]:
        """All members: who votes, then who decides."""
        deciders = [self.adjudicator.spec] if self.adjudicator else []
        return [*self.voters, *deciders, *([self.aggregator] if self.aggregator else [])]

    @property
    def members(self) -> list[dict[str, str | int]]:
        """The members as rows of the table `teacher_members`, without the teacher's id."""
        seats = ["labeler"] * len(self.voters)
        seats += ["adjudicator"] if self.adjudicator else []
        seats += ["aggregator"] if self.aggregator else []
        return [
            {"labeler_id": spec.labeler_id, "seat": seat, "place": place}
            for place, (spec, seat) in enumerate(zip(self.specs, seats, strict=True))
        ]

    @property
    def teacher_id(self) -> str:
        """Content hash of the members: other rules, another prompt or another model make another teacher."""
        return content_id("tch", [[member["labeler_id"], member["seat"]] for member in self.members])

    @property
    def names(self) -> dict[str, str]:
        """Labeler id to readable name."""
        return {spec.labeler_id: spec.name for spec in self.specs}
