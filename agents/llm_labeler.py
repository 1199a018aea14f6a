"""The LLM labeler: strict JSON, evidence quotes, confidence from log-probabilities or from the votes of answers."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from teachback.agents.ballot import vote
from teachback.agents.calls import ChatRequest
from teachback.agents.client import LLMClient
from teachback.agents.examples import Example, ExampleSource, example_source, strictest
from teachback.agents.forms import form_for
from teachback.agents.hedges import hedge_rules_version
from teachback.agents.label_reading import LabelReading, Reader
from teachback.agents.labeler import Reply
from teachback.agents.llm_member import request_for, spec_of
from teachback.errors import SettingError, TeacherReplyError
from teachback.prompts import Prompt, load_prompt
from teachback.store.label import FINDINGS, Labeler
from teachback.store.report import Report, Scope

__all__ = ["LLMLabeler"]

SAMPLING_TEMPERATURE = 0.7  # the lowest at which several answers to one question are asked for


class LLMLabeler:
    """Labels reports by asking a language model.

    Args:
        client: Whom it asks.
        prompt: How it asks; the shipped default when not given.
        scope: The sections that it shows the model and grounds evidence in.
        examples: Where the examples come from that the prompt shows; its pool when not given.
        repeat: How often each report is asked about; the labels are the vote of the answers.

    Raises:
        SettingError: The prompt shows curated reports, and `examples` is not given; or `repeat` is no count.
    """

    def __init__(
        self,
        client: LLMClient,
        prompt: Prompt | None = None,
        scope: Scope = "full",
        examples: ExampleSource | None = None,
        repeat: int = 1,
    ) -> None:
        if repeat < 1:
            raise SettingError(f"a report cannot be asked about {repeat} times", "use --repeat 1 or more")
        self.client = client
        self.prompt = prompt or load_prompt("llm_labeler")
        self.scope: Scope = scope
        self.examples = examples or example_source(self.prompt, None, scope)
        self.repeat = repeat
        self.form = form_for(self.prompt)

    @cached_property
    def spec(self) -> Labeler:
        """Who it is: another prompt, schema, parameter, example, model or endpoint makes another labeler."""
        more: dict[str, Any] = {}
        if "diseases" in self.prompt.tasks:
            more["hedge_rules"] = hedge_rules_version()
        if self.examples:
            more["examples"] = self.examples.version
        if self.repeat > 1:
            more["repeat"] = self.repeat
        return spec_of("llm", self.client.settings, self.prompt, self.form, self.scope, **more)

    def request(self, report: Report, examples: Sequence[Example] | None = None) -> ChatRequest:
        """Return the request that labels a report.

        Args:
            report: The report.
            examples: What to show with it; what the labeler's source picks when not given.
        """
        if examples is None:
            examples = self._picked(report)
        shown = [{"report": example.text, "answer": example.answer(self.prompt.tasks)} for example in examples]
        messages = self.prompt.render(report=report.text(self.scope), examples=shown, findings=FINDINGS)
        return request_for(self.prompt, messages, self.form, "llm_labeler", report.report_id)

    async def label(self, report: Report, egress: str) -> Reply:
        """Return a report's labels of the prompt's tasks: all 13 findings, the diseases, or both.

        Args:
            report: The report; without a section of the scope the labeler abstains, and nothing is asked.
            egress: Egress policy of its corpus; what is asked follows the strictest of this and the examples'.

        Raises:
            EgressError: The report, or an example, may not be sent there.
            TeacherReplyError: The answer on this report cannot be used; of several, none can.
            TeacherError: Nothing can be asked at all.
        """
        sections = report.scoped(self.scope)
        if not sections:
            return Reply([], None)
        async with self.client.turns:
            return await self._label(report, sections, egress)

    async def _label(self, report: Report, sections: Sequence[tuple[str, str]], egress: str) -> Reply:
        async with self.client.making:
            examples = self._picked(report)
            request = self.request(report, examples)
            await asyncio.sleep(0)
        policy = strictest([egress, *(example.egress for example in examples)])
        if self.repeat == 1:
            return await self._ask(request, report, sections, policy)
        replies = await asyncio.gather(
            *(self._ask(asked, report, sections, policy) for asked in self._samples(request)), return_exceptions=True
        )
        return _elected(replies)

    async def _ask(
        self, request: ChatRequest, report: Report, sections: Sequence[tuple[str, str]], policy: str
    ) -> Reply:
        call, labels = await self.client.ask(
            request, LabelReading(self._reader, report.report_id, sections), egress=policy
        )
        return Reply(labels, call.llm_call_id)

    def _samples(self, request: ChatRequest) -> list[ChatRequest]:
        # The votes are the confidence, so log-probabilities are not asked for.
        temperature = max(request.temperature, SAMPLING_TEMPERATURE)
        seeds = [None if request.seed is None else request.seed + sample for sample in range(self.repeat)]
        return [
            replace(request, sample=sample, seed=seed, temperature=temperature, top_logprobs=None)
            for sample, seed in enumerate(seeds)
        ]

    def _picked(self, report: Report) -> list[Example]:
        return self.examples.pick(report) if self.examples else []

    @cached_property
    def _reader(self) -> Reader:
        return Reader(self.prompt.tasks, self.prompt.schema, self.scope, self.spec.labeler_id)


def _elected(replies: Sequence[Reply | BaseException]) -> Reply:
    """Return the vote of those that answered.

    Raises:
        BaseException: The first failure that is not this report's own, else, if nobody answered, the first of all.
    """
    answered = [reply for reply in replies if isinstance(reply, Reply)]
    failed = [reply for reply in replies if isinstance(reply, BaseException)]
    reasons = [error.reason for error in failed if isinstance(error, TeacherReplyError)]
    if len(reasons) < len(failed):
        raise next(error for error in failed if not isinstance(error, TeacherReplyError))
    if not answered:
        raise failed[0]
    note = f"{len(failed)} of {len(replies)} answers failed: {reasons[0]}" if failed else ""
    return Reply(vote([reply.labels for reply in answered], note), answered[0].llm_call_id)
