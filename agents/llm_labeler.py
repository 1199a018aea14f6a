"""The LLM labeler: one call a report, both tasks, strict JSON, evidence quotes, confidence from log-probabilities."""

from collections.abc import Sequence
from functools import cached_property

from teachback.agents.calls import Answer, ChatRequest, JsonForm
from teachback.agents.client import LLMClient
from teachback.agents.forms import DiseaseEntry, LabelForm, label_schema, read_label_form, status_probabilities
from teachback.agents.grounding import ground
from teachback.agents.labeler import Reply
from teachback.agents.llm_member import request_for, spec_of
from teachback.prompts import Prompt, load_prompt
from teachback.store.label import FINDINGS, Label, Labeler
from teachback.store.report import Report, Scope

__all__ = ["LLMLabeler"]

FORM = JsonForm("chest_report_labels", label_schema())
OPEN_ENDED = "open-ended: there is no closed set of answers to take a probability over"


class LLMLabeler:
    """Labels reports by asking a language model.

    Args:
        client: Whom it asks.
        prompt: How it asks; the shipped default when not given.
        scope: The sections that it shows the model and grounds evidence in.
    """

    def __init__(self, client: LLMClient, prompt: Prompt | None = None, scope: Scope = "full") -> None:
        self.client = client
        self.prompt = prompt or load_prompt("llm_labeler")
        self.scope: Scope = scope

    @cached_property
    def spec(self) -> Labeler:
        """Who it is: another prompt, schema, parameter, model or endpoint makes another labeler."""
        return spec_of("llm", self.client.settings, self.prompt, FORM, self.scope)

    def request(self, report: Report) -> ChatRequest:
        """Return the request that labels a report."""
        messages = self.prompt.render(report=report.text(self.scope))
        return request_for(self.prompt, messages, FORM, "llm_labeler", report.report_id)

    async def label(self, report: Report, egress: str) -> Reply:
        """Return all 13 findings of a report and its diseases.

        Args:
            report: The report; without a section of the scope the labeler abstains, and nothing is asked.
            egress: Egress policy of its corpus.

        Raises:
            EgressError: The report may not be sent there.
            TeacherReplyError: The answer on this report cannot be used.
            TeacherError: Nothing can be asked at all.
        """
        sections = report.scoped(self.scope)
        if not sections:
            return Reply([], None)
        call, labels = await self.client.ask(
            self.request(report), lambda answer: self._labels(answer, report, sections), egress=egress
        )
        return Reply(labels, call.llm_call_id)

    def _labels(self, answer: Answer, report: Report, sections: Sequence[tuple[str, str]]) -> list[Label]:
        form = read_label_form(answer)
        return [*self._findings(answer, form, report, sections), *self._diseases(answer, form, report, sections)]

    def _findings(
        self, answer: Answer, form: LabelForm, report: Report, sections: Sequence[tuple[str, str]]
    ) -> list[Label]:
        probabilities, why_none = status_probabilities(answer, "findings", FINDINGS)
        labels = []
        for finding in FINDINGS:
            entry = form.findings[finding]
            probs = probabilities.get(finding)
            labels.append(
                Label(
                    report_id=report.report_id,
                    task="findings",
                    target=finding,
                    status=entry.status,
                    labeler_id=self._labeler_id,
                    scope=self.scope,
                    confidence=probs[entry.status] if probs else None,
                    confidence_source="logprob" if probs else None,
                    confidence_note="" if probs else why_none,
                    probs=probs,
                    evidence=ground(entry.evidence, sections),
                    llm_call_id=answer.llm_call_id,
                )
            )
        return labels

    def _diseases(
        self, answer: Answer, form: LabelForm, report: Report, sections: Sequence[tuple[str, str]]
    ) -> list[Label]:
        by_phrase: dict[str, DiseaseEntry] = {}
        for entry in form.diseases:
            by_phrase.setdefault(" ".join(entry.name.lower().split()), entry)
        return [
            Label(
                report_id=report.report_id,
                task="diseases",
                target=phrase,
                status="present",
                labeler_id=self._labeler_id,
                scope=self.scope,
                confidence_note=OPEN_ENDED,
                evidence=ground(entry.evidence, sections),
                icd10=entry.icd10.strip() or None,
                llm_call_id=answer.llm_call_id,
            )
            for phrase, entry in by_phrase.items()
            if phrase
        ]

    @cached_property
    def _labeler_id(self) -> str:
        return self.spec.labeler_id
