"""One radiology report, and the part of it that a label was made from (its scope)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

__all__ = ["SCOPES", "SECTIONS", "Report", "Scope", "Section"]

Section = Literal["indication", "comparison", "findings", "impression", "text"]
Scope = Literal["impression", "full", "mimic"]

SECTIONS: tuple[Section, ...] = get_args(Section)
SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True, slots=True)
class Report:
    """One radiology report.

    Attributes:
        report_id: Unique in the store.
        corpus: The corpus it came from, such as `openi`.
        sections: Section name to text, only those that the report has. `text` holds the whole report where the
            corpus has no sections.
        subject_id: The patient, where the corpus tells; keeps a patient's reports in one split.
        slices: What else is known of the patient or the origin, such as `{"sex": "F", "site": "A"}`: groups in which
            labelers are judged. No labeler sees it.
    """

    report_id: str
    corpus: str
    sections: Mapping[str, str] = field(default_factory=dict)
    subject_id: str | None = None
    slices: Mapping[str, str] = field(default_factory=dict)

    def scoped(self, scope: Scope) -> list[tuple[str, str]]:
        """Return the sections of a scope that this report has, as (name, text), in reading order.

        `impression`: the impression alone. `full`: findings and impression, else the whole text. `mimic`: MIMIC-CXR's
        rule, impression, else findings, else the last paragraph of the text. Empty when the report has no such
        section: a labeler then abstains, which is not the same as `unmentioned`.
        """
        present = {name: text for name, text in self.sections.items() if text.strip()}
        if scope == "impression":
            return _pick(present, "impression")
        if scope == "full":
            return _pick(present, "findings", "impression") or _pick(present, "text")
        return _pick(present, "impression") or _pick(present, "findings") or _last_paragraph(present.get("text", ""))

    def text(self, scope: Scope) -> str:
        """Return the scope's text as one string, sections headed by their name when there is more than one."""
        parts = self.scoped(scope)
        if len(parts) == 1:
            return parts[0][1].strip()
        return "\n".join(f"{name.upper()}: {text.strip()}" for name, text in parts)


def _pick(present: Mapping[str, str], *names: str) -> list[tuple[str, str]]:
    return [(name, present[name]) for name in names if name in present]


def _last_paragraph(text: str) -> list[tuple[str, str]]:
    paragraphs = [block for block in text.split("\n\n") if block.strip()]
    return [("text", paragraphs[-1])] if paragraphs else []
