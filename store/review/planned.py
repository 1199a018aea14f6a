"""An audit plan as an object: what it is to achieve, its strata, and the labels that it drew."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from teachback.errors import SettingError
from teachback.store.review.judged import Judged, Selection
from teachback.store.review.pace import Pace
from teachback.store.review.sample_size import expected_margin, zero_error_minimum

__all__ = ["Allocation", "AuditPlan", "Each", "PlanSettings", "PlannedItem", "PlannedStratum"]

Each = Literal["finding", "labeler"]
Allocation = Literal["proportional", "even", "neyman"]


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What a plan is to achieve.

    Attributes:
        precision: Expected share of right labels.
        margin: Half of the width that the interval of an error rate may have.
        level: Coverage of the intervals.
        each: Of what the error rate is to be known within the margin: of each labeler's labels of each status by
            `finding`, or of all findings together (`labeler`).
        allocation: How labels are divided among findings where these are taken together: by their number
            (`proportional`), the same for each (`even`), or more where errors are expected (`neyman`, Neyman 1934).
        seed: What the labels are drawn by.
        max_labels: Most targets to review; None for as many as the margin asks for.
        selection: Which labels are judged.
    """

    precision: float = 0.95
    margin: float = 0.02
    level: float = 0.95
    each: Each = "finding"
    allocation: Allocation = "proportional"
    seed: int = 0
    max_labels: int | None = None
    selection: Selection = field(default_factory=Selection)

    def __post_init__(self) -> None:
        if not 0 < self.precision < 1:
            raise SettingError(f"--precision {self.precision:g} is no share", "give the expected one, such as 0.95")
        if not 0 < self.margin < 0.5:
            raise SettingError(f"--margin {self.margin:g} is out of range", "give a share, such as 0.02 for 2 points")
        if not 0.5 < self.level < 1:
            raise SettingError(f"--level {self.level:g} is out of range", "give a share, such as 0.95")
        if self.each == "finding" and self.allocation != "proportional":
            raise SettingError(
                f"--allocation {self.allocation} has nothing to divide: each finding needs its own labels",
                "give --each labeler too",
            )
        if self.max_labels is not None and self.max_labels < 1:
            raise SettingError(f"--max-labels {self.max_labels} leaves nothing", "give 1 or more")


@dataclass(frozen=True, slots=True)
class PlannedStratum:
    """All labels of one status that one labeler gives of one finding.

    Attributes:
        labeler_id: Who gives them.
        task: The task.
        target: The finding; `*` for all diseases.
        status: The status.
        population: Labels that there are.
        drawn: Those to be judged; `drawn / population` is the probability with which each of them was drawn.
        error_rate: Expected share of wrong ones.
    """

    labeler_id: str
    task: str
    target: str
    status: str
    population: int
    drawn: int
    error_rate: float

    @property
    def stratum(self) -> str:
        """Its name in the plan."""
        return "/".join((self.labeler_id, self.task, self.target, self.status))


@dataclass(frozen=True, slots=True)
class PlannedItem:
    """One label to be judged.

    Attributes:
        place: When it is reviewed; labels that one review judges have the same place.
        stratum: Where it was drawn from.
        label_id: The label.
        labeler_id: Who is judged by it.
        report_id: Its report.
        task: Its task.
        target: Its target.
    """

    place: int
    stratum: str
    label_id: str
    labeler_id: str
    report_id: str
    task: str
    target: str


@dataclass(frozen=True, slots=True)
class AuditPlan:
    """A plan.

    Attributes:
        plan_id: Hash of all that it is made of: the same plan of the same store has the same id.
        name: What people call it.
        settings: What it is to achieve.
        judged: Who is judged.
        strata: The strata, in the order of labelers, findings and statuses.
        items: The labels to be judged, in the order of review.
        pace: How long a review takes.
    """

    plan_id: str
    name: str
    settings: PlanSettings
    judged: tuple[Judged, ...]
    strata: tuple[PlannedStratum, ...]
    items: tuple[PlannedItem, ...]
    pace: Pace

    @property
    def reviews(self) -> int:
        """Targets to review; each review judges the labels of several labelers where they were drawn."""
        return self.items[-1].place + 1 if self.items else 0

    @property
    def hours(self) -> float:
        """Estimated time of all reviews."""
        return self.reviews * self.pace.seconds / 3600

    def margin_of(self, strata: Iterable[PlannedStratum]) -> float:
        """Return half of the width that the interval of strata's common error rate will have, if it is as expected."""
        rows = list(strata)
        drawn, rates = [s.drawn for s in rows], [s.error_rate for s in rows]
        return expected_margin([s.population for s in rows], drawn, rates, self.settings.level)

    @property
    def widest_margin(self) -> float:
        """The largest margin of those that the plan is about."""
        whole = self.settings.each == "labeler"
        groups = defaultdict(list)
        for s in self.strata:
            groups[s.labeler_id, s.task, s.status, "" if whole else s.target].append(s)
        return max(map(self.margin_of, groups.values()), default=0.0)

    @property
    def zero_errors(self) -> int:
        """Labels of the largest stratum that show fewer than a margin of errors if none of them is wrong."""
        most = max((s.population for s in self.strata), default=0)
        return zero_error_minimum(most, self.settings.margin, self.settings.level) if most else 0

    def as_dict(self) -> dict[str, Any]:
        """Return the plan without its items, JSON-ready."""
        level, margin = self.settings.level, self.settings.margin
        return {
            "plan_id": self.plan_id,
            "name": self.name,
            "settings": asdict(self.settings),
            "labelers": [asdict(one) for one in self.judged],
            "labels": len(self.items),
            "reviews": self.reviews,
            "seconds_a_review": self.pace.seconds,
            "timed_reviews": self.pace.timed,
            "hours": self.hours,
            "widest_margin": self.widest_margin,
            "strata": [
                asdict(s)
                | {
                    "inclusion": s.drawn / s.population,
                    "expected_margin": self.margin_of([s]),
                    "zero_error_minimum": zero_error_minimum(s.population, margin, level),
                }
                for s in self.strata
            ],
        }
