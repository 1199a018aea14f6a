"""The label: one labeler's status for one target of one report, and who may give one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from msgspec import Struct, structs

from teachback.store.identity import content_id, plain_id, plain_number
from teachback.store.report import Scope

__all__ = [
    "CHEXPERT_OBSERVATIONS",
    "FINDINGS",
    "STATUSES",
    "TASKS",
    "ConfidenceSource",
    "Evidence",
    "Failure",
    "Label",
    "Labeler",
    "LabelerKind",
    "Status",
    "Task",
    "derive_no_finding",
    "from_chexpert",
    "to_chexpert",
]

Status = Literal["present", "absent", "uncertain", "unmentioned"]
Task = Literal["findings", "diseases"]
LabelerKind = Literal["rule", "llm", "adjudicator", "student", "human"]
ConfidenceSource = Literal["logprob", "vote", "self_report", "rule"]

STATUSES: tuple[Status, ...] = get_args(Status)
TASKS: tuple[Task, ...] = get_args(Task)

# CheXpert's observations without No Finding, in CheXpert's own column order (Irvin et al. 2019, arXiv 1901.07031).
FINDINGS: tuple[str, ...] = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Lesion",
    "Lung Opacity",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
CHEXPERT_OBSERVATIONS: tuple[str, ...] = ("No Finding", *FINDINGS)

_TO_CHEXPERT: dict[Status, float | None] = {"present": 1.0, "absent": 0.0, "uncertain": -1.0, "unmentioned": None}


class _Record(Struct, frozen=True, array_like=True, gc=False):
    """What there are millions of: made and copied between processes at a tenth of a dataclass's cost."""

    def _asdict(self) -> dict[str, Any]:
        # By this name LangGraph knows what can be saved and shown by its fields, as of named tuples.
        return structs.asdict(self)


class Evidence(_Record, frozen=True):
    """A span of the report that a label rests on.

    Attributes:
        section: The section it stands in.
        start: Offset of its first character in that section's text; -1 when the quote was not found there.
        end: Offset behind its last character; -1 likewise.
        quote: The words themselves, as the labeler gave them.
        cue: What decided the status, such as a negation word or a rule's name; empty when the labeler has none.
    """

    section: str
    start: int
    end: int
    quote: str
    cue: str = ""

    @property
    def grounded(self) -> bool:
        """Whether the quote was found in the report."""
        return self.start >= 0


@dataclass(frozen=True, slots=True)
class Labeler:
    """Anything that labels, identified by the content of what makes its output.

    Attributes:
        kind: Which sort of labeler it is.
        name: Short readable name, such as `rule` or `llm:gpt-4o`.
        version: Hash or version of what makes the output: rules version, prompt hash, adapter hash.
        model: The model behind it, such as `gpt-4o-2024-08-06` or `stand-in`; None for rules and people.
        prompt_id: The prompt it uses, if any.
        parameters: What else changes its output: schema, temperature, seed, scope.
    """

    kind: LabelerKind
    name: str
    version: str
    model: str | None = None
    prompt_id: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def labeler_id(self) -> str:
        """Content hash of all fields."""
        return content_id("lbr", self.kind, self.name, self.version, self.model, self.prompt_id, dict(self.parameters))


class Label(_Record, frozen=True, eq=False):
    """One labeler's status for one target of one report. Append-only: never updated, only superseded in a view.

    Attributes:
        report_id: The report.
        task: `findings` (closed set) or `diseases` (open-ended).
        target: One of `FINDINGS`, or a disease phrase.
        status: `present`, `absent`, `uncertain` or `unmentioned`.
        labeler_id: Who says so.
        scope: The sections it was made from.
        confidence: Probability of the status in [0, 1], or None with the reason in `confidence_note`.
        confidence_source: Where the confidence comes from; None when there is none.
        confidence_note: Why there is no confidence, or what it means.
        probs: Status to probability, where the labeler gives the whole distribution.
        evidence: Spans it rests on.
        icd10: ICD-10-CM code, for diseases.
        llm_call_id: The call that produced it, if one did.
        round_id: The distillation round that produced it, if one did.
        icd10_check: What a table of ICD-10-CM says of the code: `billable`, `category` or `unknown`; None where there
            is no code or nobody looked. No part of the label's id.
    """

    report_id: str
    task: Task
    target: str
    status: Status
    labeler_id: str
    scope: Scope
    confidence: float | None = None
    confidence_source: ConfidenceSource | None = None
    confidence_note: str = ""
    probs: Mapping[str, float] | None = None
    evidence: tuple[Evidence, ...] = ()
    icd10: str | None = None
    llm_call_id: str | None = None
    round_id: str | None = None
    icd10_check: str | None = None
    _known_id: str | None = None  # once it was asked for; goes with the label into another process

    @property
    def label_id(self) -> str:
        """Content hash: the same verdict by the same labeler on the same scope has one id."""
        if self._known_id is None:
            structs.force_setattr(self, "_known_id", self._content_id())
        return self._known_id or ""

    def changed(self, **fields: Any) -> "Label":
        """Return the label with some fields changed, and an id of its own."""
        return structs.replace(self, **fields, _known_id=None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Label) and structs.astuple(self)[:-1] == structs.astuple(other)[:-1]

    def __hash__(self) -> int:
        return hash(self.label_id)

    def _content_id(self) -> str:
        return plain_id(
            "lab",
            self.report_id,
            self.task,
            self.target,
            self.status,
            self.labeler_id,
            self.scope,
            self.icd10,
            None if self.confidence is None else plain_number(round(self.confidence, 6)),
            [(e.section, e.start, e.end, e.quote) for e in self.evidence],
            self.llm_call_id,
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """What one labeler could not do for one report; stored, counted and retried, never turned into a label."""

    report_id: str
    labeler_id: str
    reason: str
    llm_call_id: str | None = None


def to_chexpert(status: Status) -> float | None:
    """Return CheXpert's value: 1.0, 0.0, -1.0 or None (blank)."""
    return _TO_CHEXPERT[status]


def from_chexpert(value: float | None) -> Status:
    """Return the status of CheXpert's value.

    Raises:
        ValueError: The value is none of 1, 0, -1, None or NaN.
    """
    if value is None or value != value:
        return "unmentioned"
    for status, number in _TO_CHEXPERT.items():
        if number == value:
            return status
    raise ValueError(f"{value!r} is not one of 1, 0, -1 or blank")


def derive_no_finding(statuses: Mapping[str, Status]) -> Status:
    """Derive CheXpert's No Finding: present when nothing but Support Devices is present or uncertain.

    Args:
        statuses: Finding to status; a missing finding counts as unmentioned.
    """
    troubling = any(
        statuses.get(finding, "unmentioned") in ("present", "uncertain")
        for finding in FINDINGS
        if finding != "Support Devices"
    )
    return "unmentioned" if troubling else "present"
