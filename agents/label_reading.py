"""From a filled-in form to labels: evidence looked up in the report, confidence from log-probabilities, codes checked.

It needs no more than plain values, so that it can be done in another process (`side_process`).
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from teachback.agents.calls import Answer
from teachback.agents.forms import DiseaseEntry, LabelForm, read_label_form, status_probabilities
from teachback.agents.grounding import ground
from teachback.agents.hedges import asserted
from teachback.agents.icd10 import check_code
from teachback.agents.rules import packaged_engine
from teachback.errors import MissingExtraError
from teachback.prompts import PromptSchema
from teachback.store.label import FINDINGS, Label, Task
from teachback.store.report import Scope

__all__ = ["LabelReading", "Reader", "disease_labels", "prepare_reading"]

OPEN_ENDED = "open-ended: there is no closed set of answers to take a probability over"


class Reader(NamedTuple):
    """What an LLM labeler's answers are read by.

    Attributes:
        tasks: What was asked for.
        schema: The form's schema.
        scope: The sections that the model was shown.
        labeler_id: Who labels.
    """

    tasks: tuple[Task, ...]
    schema: PromptSchema
    scope: Scope
    labeler_id: str


@dataclass(frozen=True, slots=True)
class LabelReading:
    """Reads the answer on one report.

    Attributes:
        reader: What it is read by.
        report_id: The report.
        sections: (name, text) of the scope's sections.
    """

    reader: Reader
    report_id: str
    sections: Sequence[tuple[str, str]]

    def __call__(self, answer: Answer) -> list[Label]:
        """Return the answer's labels: of 13 findings, of the diseases, or of both.

        Raises:
            TeacherReplyError: The answer cannot be used.
        """
        form = read_label_form(answer, self.reader.tasks, self.reader.schema)
        findings = self._findings(answer, form) if "findings" in self.reader.tasks else []
        return [*findings, *self._diseases(answer, form)]

    def _findings(self, answer: Answer, form: LabelForm) -> list[Label]:
        probabilities, why_none = status_probabilities(answer, "findings", FINDINGS)
        labels = []
        for finding in FINDINGS:
            entry = form.findings[finding]
            probs = probabilities.get(finding)
            labels.append(
                Label(
                    report_id=self.report_id,
                    task="findings",
                    target=finding,
                    status=entry.status,
                    labeler_id=self.reader.labeler_id,
                    scope=self.reader.scope,
                    confidence=probs[entry.status] if probs else None,
                    confidence_source="logprob" if probs else None,
                    confidence_note="" if probs else why_none,
                    probs=probs,
                    evidence=ground(entry.evidence, self.sections),
                    llm_call_id=answer.llm_call_id,
                )
            )
        return labels

    def _diseases(self, answer: Answer, form: LabelForm) -> list[Label]:
        reader = self.reader
        return disease_labels(
            form.diseases, self.report_id, self.sections, reader.labeler_id, reader.scope, answer.llm_call_id
        )


def prepare_reading() -> None:
    """Make what answers are read by, in a third of a second: the rules for hedged diseases, the table of codes."""
    packaged_engine()
    with suppress(MissingExtraError):  # told where an answer has a code
        check_code("J18.9")


def disease_labels(
    entries: Sequence[DiseaseEntry],
    report_id: str,
    sections: Sequence[tuple[str, str]],
    labeler_id: str,
    scope: Scope,
    llm_call_id: str | None = None,
) -> list[Label]:
    """Return listed diseases as labels, each name once: quotes looked up, hedged ones told apart, codes checked.

    Args:
        entries: The diseases, as a model listed them.
        report_id: The report.
        sections: (name, text) of the scope's sections.
        labeler_id: Who labels.
        scope: The sections that the model was shown.
        llm_call_id: The call that they come from, if one did.
    """
    by_phrase: dict[str, DiseaseEntry] = {}
    for entry in entries:
        by_phrase.setdefault(" ".join(entry.name.lower().split()), entry)
    labels = []
    for phrase, entry in by_phrase.items():
        if not phrase:
            continue
        status, evidence = asserted(phrase, entry.evidence.strip() and entry.evidence, sections)
        code = entry.icd10.strip() or None
        labels.append(
            Label(
                report_id=report_id,
                task="diseases",
                target=phrase,
                status=status,
                labeler_id=labeler_id,
                scope=scope,
                confidence_note=OPEN_ENDED,
                evidence=evidence,
                icd10=code,
                icd10_check=check_code(code) if code else None,
                llm_call_id=llm_call_id,
            )
        )
    return labels
