"""What a synthetic report says, and how single statements add up to the truth of a whole report."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from teachback.store.label import FINDINGS, Status
from teachback.store.report import Report

__all__ = ["Disease", "Fact", "Statement", "SyntheticReport", "aggregate"]

Fact = tuple[str, Status]

# A report that both denies and asserts a finding asserts it: CheXpert's order of aggregation (arXiv 1901.07031).
_RANK: dict[Status, int] = {"unmentioned": 0, "absent": 1, "uncertain": 2, "present": 3}


@dataclass(frozen=True, slots=True)
class Disease:
    """A disease that the report asserts.

    Attributes:
        name: Its usual name in lower case, such as `pleural effusion`, whichever synonym the report uses.
        icd10: The billable ICD-10-CM code of that name, such as `J90`.
    """

    name: str
    icd10: str


@dataclass(frozen=True, slots=True)
class Statement:
    """One clause or sentence of a report together with what it says.

    Attributes:
        text: The words, without first capital and full stop.
        facts: The status it gives to each finding it speaks of; empty for a distractor.
        diseases: What it asserts.
        system: Where it belongs in the reading order: `devices`, `lungs`, `pleura`, `heart`, `bones` or `other`.
    """

    text: str
    facts: tuple[Fact, ...] = ()
    diseases: tuple[Disease, ...] = ()
    system: str = "other"


@dataclass(frozen=True, slots=True)
class SyntheticReport:
    """A fictitious report with its truth.

    Attributes:
        report: The report, in corpus `synthetic`.
        statuses: Finding to true status, all 13, over all sections that state one.
        diseases: What the report asserts (neither hedged nor denied), in order of first mention.
        statuses_by_section: Section to finding to status, for `findings`, `impression` and `text`, those there are.
        text: The whole report as one document, with the headings as its radiologist writes them.
    """

    report: Report
    statuses: dict[str, Status]
    diseases: tuple[Disease, ...]
    statuses_by_section: Mapping[str, dict[str, Status]]
    text: str


def aggregate(facts: Iterable[Fact]) -> dict[str, Status]:
    """Add up facts to one status a finding: present > uncertain > absent > unmentioned."""
    statuses: dict[str, Status] = dict.fromkeys(FINDINGS, "unmentioned")
    for finding, status in facts:
        if _RANK[status] > _RANK[statuses[finding]]:
            statuses[finding] = status
    return statuses
