"""The adjudicator: sees a report, the votes that differ and their evidence, and decides target by target.

What it cannot tell from the report it leaves to a person: such a verdict makes no label.
"""

import string
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

from teachback.agents.calls import Answer, ChatRequest, JsonForm
from teachback.agents.client import LLMClient
from teachback.agents.decision_form import (
    CANNOT_TELL,
    DecisionEntry,
    Leaning,
    decision_schema,
    read_decision_form,
    read_leanings,
)
from teachback.agents.grounding import ground
from teachback.agents.labeler import Dispute, Verdict
from teachback.agents.llm_member import request_for, spec_of
from teachback.prompts import Prompt, load_prompt
from teachback.store.identity import content_id
from teachback.store.label import FINDINGS, TASKS, Label, Labeler, Status
from teachback.store.report import Report, Scope

__all__ = ["Adjudicator", "KnownReliability", "VoterReliability"]

SCHEMA_NAME = "chest_report_verdicts"
# The schema changes with the disputed targets; what identifies the labeler is its form on one of them.
FORM = JsonForm(SCHEMA_NAME, decision_schema({"target": "target"}))
FEWEST_CHECKED = 20  # checked reports below which a voter's accuracy says too little to be shown
NOTED_OPEN_SHARE = 0.05  # probability of `cannot_tell` from which a label's confidence mentions it


class KnownReliability(Protocol):
    """How often a voter was right on checked reports, for one finding."""

    @property
    def n(self) -> int:
        """The checked reports."""

    @property
    def accuracy(self) -> float:
        """Share of them on which it was right."""


class VoterReliability(Protocol):
    """What curated labels say of the voters."""

    def of(self, labeler_id: str, finding: str) -> KnownReliability | None:
        """Return what is known of a voter on a finding; None where nothing is."""


class Adjudicator:
    """Decides disputes by asking a language model: one call a report, whatever the number of its disputes.

    Args:
        client: Whom it asks.
        prompt: How it asks; the shipped default when not given.
        scope: The sections that it shows the model and grounds evidence in.
        weighs: The voters, by their labeler ids.
        reliability: How often each of these voters proved right, to be shown beside its votes; not shown when left out.
    """

    def __init__(
        self,
        client: LLMClient,
        prompt: Prompt | None = None,
        scope: Scope = "full",
        weighs: Sequence[str] = (),
        reliability: VoterReliability | None = None,
    ) -> None:
        self.client = client
        self.weighs = tuple(weighs)
        self.prompt = prompt or load_prompt("adjudicator")
        self.scope: Scope = scope
        self._facts = _facts(self.weighs, reliability) if reliability else {}

    @cached_property
    def spec(self) -> Labeler:
        """Who it is: another prompt, form, parameter or model, other voters or figures on them make another labeler."""
        more: dict[str, Any] = {"weighs": list(self.weighs)}
        if self._facts:
            more["reliability"] = content_id("rel", sorted([*key, fact] for key, fact in self._facts.items()))
        spec = spec_of("adjudicator", self.client.settings, self.prompt, FORM, self.scope)
        return replace(spec, parameters={**spec.parameters, **more})

    def request(self, report: Report, disputes: Sequence[Dispute]) -> ChatRequest:
        """Return the request that decides a report's disputes; their order does not change it."""
        keyed, text = _keyed(disputes), report.text(self.scope)
        letters = _letters(disputes, text)
        shown = [self._shown(key, dispute, letters) for key, dispute in keyed.items()]
        messages = self.prompt.render(report=text, disputes=shown)
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

    def _shown(self, key: str, dispute: Dispute, letters: Mapping[str, str]) -> dict[str, Any]:
        # A prompt shows `votes`, or `blind_votes`: the same under letters, in the letters' order.
        votes = [
            {
                "labeler": name,
                "status": vote.status,
                "evidence": " / ".join(evidence.quote for evidence in vote.evidence),
                "confidence": None if vote.confidence is None else round(vote.confidence, 2),
                "reliability": self._facts.get((vote.labeler_id, dispute.target)),
            }
            for vote, name in zip(dispute.votes, dispute.names, strict=True)
        ]
        blind = [
            {**shown, "labeler": letters[vote.labeler_id]} for vote, shown in zip(dispute.votes, votes, strict=True)
        ]
        blind.sort(key=lambda shown: (len(str(shown["labeler"])), shown["labeler"]))
        return {"key": key, "task": dispute.task, "target": dispute.target, "votes": votes, "blind_votes": blind}

    def _verdicts(self, answer: Answer, report: Report, keyed: Mapping[str, Dispute]) -> list[Verdict]:
        keys = list(keyed)
        form = read_decision_form(answer, keys)
        leanings, why_none = read_leanings(answer, keys)
        verdicts = []
        for key, dispute in keyed.items():
            entry, leaning, label = form.verdicts[key], leanings.get(key), None
            if entry.status != CANNOT_TELL:
                label = self._label(answer, report, dispute, entry, entry.status, leaning, why_none)
            verdicts.append(
                Verdict(
                    report_id=report.report_id,
                    task=dispute.task,
                    target=dispute.target,
                    status=entry.status,
                    label=label,
                    rationale=entry.rationale.strip(),
                    weighed=tuple(vote.label_id for vote in dispute.votes),
                    labeler_id=self._labeler_id,
                    llm_call_id=answer.llm_call_id,
                )
            )
        return verdicts

    def _label(
        self,
        answer: Answer,
        report: Report,
        dispute: Dispute,
        entry: DecisionEntry,
        status: Status,
        leaning: Leaning | None,
        why_none: str,
    ) -> Label:
        coded = next((vote for vote in dispute.votes if vote.icd10), None)
        return Label(
            report_id=report.report_id,
            task=dispute.task,
            target=dispute.target,
            status=status,
            labeler_id=self._labeler_id,
            scope=self.scope,
            confidence=leaning.probs[status] if leaning else None,
            confidence_source="logprob" if leaning else None,
            confidence_note=_confidence_note(leaning) if leaning else why_none,
            probs=leaning.probs if leaning else None,
            evidence=ground(entry.evidence, report.scoped(self.scope)),
            icd10=coded.icd10 if coded else None,
            icd10_check=coded.icd10_check if coded else None,
            llm_call_id=answer.llm_call_id,
        )

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


def _letters(disputes: Sequence[Dispute], text: str) -> dict[str, str]:
    # Dealt by a hash of the report's text: over many reports each voter is first equally often, in one always the same.
    voters = {vote.labeler_id for dispute in disputes for vote in dispute.votes}
    dealt = sorted(voters, key=lambda voter: content_id("deal", text, voter))
    alphabet = string.ascii_uppercase
    return {voter: alphabet[rank % len(alphabet)] * (1 + rank // len(alphabet)) for rank, voter in enumerate(dealt)}


def _facts(voters: Sequence[str], reliability: VoterReliability) -> dict[tuple[str, str], str]:
    facts = {}
    for voter in voters:
        for finding in FINDINGS:
            known = reliability.of(voter, finding)
            if known and known.n >= FEWEST_CHECKED:
                share = f"{100 * known.accuracy:.0f} %"
                facts[voter, finding] = f"right on {share} of {known.n:,} checked reports for this finding"
    return facts


def _confidence_note(leaning: Leaning) -> str:
    if leaning.open_share <= NOTED_OPEN_SHARE:
        return ""
    return f"given that it can be told: cannot_tell had {100 * leaning.open_share:.0f} % of the probability"
