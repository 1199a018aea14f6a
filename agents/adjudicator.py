"""The adjudicator: sees a report, the votes that differ and their evidence, and decides target by target."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from teachback.agents.calls import Answer, ChatRequest, JsonForm
from teachback.agents.client import LLMClient
from teachback.agents.decision_form import decision_schema, read_decision_form
from teachback.agents.forms import status_probabilities
from teachback.agents.grounding import ground
from teachback.agents.labeler import Dispute, Verdict
from teachback.agents.llm_member import request_for, spec_of
from teachback.prompts import Prompt, load_prompt
from teachback.store.label import FINDINGS, TASKS, Label, Labeler
from teachback.store.report import Report, Scope

__all__ = ["Adjudicator"]

SCHEMA_NAME = "chest_report_verdicts"
# The schema changes with the disputed targets; what identifies the labeler is its form on one of them.
FORM = JsonForm(SCHEMA_NAME, decision_schema({"target": "target"}))


class Adjudicator:
    """Decides disputes by asking a language model: one call a report, whatever the number of its disputes.

    Args:
        client: Whom it asks.
        prompt: How it asks; the shipped default when not given.
        scope: The sections that it shows the model and grounds evidence in.
    """

    def __init__(
        self,
        client: LLMClient,
        prompt: Prompt | None = None,
        scope: Scope = "full",
        weighs: Sequence[str] = (),
    ) -> None:
        self.client = client
        self.weighs = tuple(weighs)
        self.prompt = prompt or load_prompt("adjudicator")
        self.scope: Scope = scope

    @cached_property
    def spec(self) -> Labeler:
        """Who it is: another prompt, form, parameter, model or endpoint, or other voters, make another labeler."""
        spec = spec_of("adjudicator", self.client.settings, self.prompt, FORM, self.scope)
        return replace(spec, parameters={**spec.parameters, "weighs": list(self.weighs)})

    def request(self, report: Report, disputes: Sequence[Dispute]) -> ChatRequest:
        """Return the request that decides a report's disputes; their order does not change it."""
        keyed = _keyed(disputes)
        shown = [
            {
                "key": key,
                "task": dispute.task,
                "target": dispute.target,
                "votes": [
                    {
                        "labeler": name,
                        "status": vote.status,
                        "evidence": " / ".join(evidence.quote for evidence in vote.evidence),
                    }
                    for vote, name in zip(dispute.votes, dispute.names, strict=True)
                ],
            }
            for key, dispute in keyed.items()
        ]
        messages = self.prompt.render(report=report.text(self.scope), disputes=shown)
        return request_for(self.prompt, messages, _form(keyed), "adjudicator", report.report_id)

    async def decide(self, report: Report, disputes: Sequence[Dispute], egress: str) -> list[Verdict]:
        """Decide a report's disputes.

        Args:
            report: The report; without a section of the scope the adjudicator abstains, and nothing is asked.
            disputes: What the labelers differ on.
            egress: Egress policy of its corpus.

        Returns:
            One verdict a dispute, findings in their fixed order before diseases.

        Raises:
            EgressError: The report may not be sent there.
            TeacherReplyError: The answer on this report cannot be used.
            TeacherError: Nothing can be asked at all.
        """
        if not disputes or not report.scoped(self.scope):
            return []
        keyed = _keyed(disputes)
        _, verdicts = await self.client.ask(
            self.request(report, disputes), lambda answer: self._verdicts(answer, report, keyed), egress=egress
        )
        return verdicts

    def _verdicts(self, answer: Answer, report: Report, keyed: Mapping[str, Dispute]) -> list[Verdict]:
        keys = list(keyed)
        form = read_decision_form(answer, keys)
        probabilities, why_none = status_probabilities(answer, "verdicts", keys)
        sections = report.scoped(self.scope)
        verdicts = []
        for key, dispute in keyed.items():
            entry, probs = form.verdicts[key], probabilities.get(key)
            label = Label(
                report_id=report.report_id,
                task=dispute.task,
                target=dispute.target,
                status=entry.status,
                labeler_id=self._labeler_id,
                scope=self.scope,
                confidence=probs[entry.status] if probs else None,
                confidence_source="logprob" if probs else None,
                confidence_note="" if probs else why_none,
                probs=probs,
                evidence=ground(entry.evidence, sections),
                icd10=next((vote.icd10 for vote in dispute.votes if vote.icd10), None),
                llm_call_id=answer.llm_call_id,
            )
            weighed = tuple(vote.label_id for vote in dispute.votes)
            verdicts.append(Verdict(label, entry.rationale.strip(), weighed, answer.llm_call_id))
        return verdicts

    @cached_property
    def _labeler_id(self) -> str:
        return self.spec.labeler_id


def _keyed(disputes: Sequence[Dispute]) -> dict[str, Dispute]:
    # Findings go by their names. A disease phrase is free text, so it goes by a number and stands in the description.
    order = {finding: rank for rank, finding in enumerate(FINDINGS)}
    ordered = sorted(
        disputes, key=lambda dispute: (TASKS.index(dispute.task), order.get(dispute.target, 0), dispute.target)
    )
    keyed: dict[str, Dispute] = {}
    for dispute in ordered:
        known = dispute.task == "findings" and dispute.target in order
        keyed[dispute.target if known else f"disease {len(keyed) + 1}"] = dispute
    return keyed


def _form(keyed: Mapping[str, Dispute]) -> JsonForm:
    return JsonForm(SCHEMA_NAME, decision_schema({key: dispute.target for key, dispute in keyed.items()}))
