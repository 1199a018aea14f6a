"""What the members of the graph that ask a language model have in common: who they are, and how they ask."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from teachback.agents.calls import ChatRequest, JsonForm
from teachback.agents.settings import LLMSettings
from teachback.prompts import Parameters, Prompt
from teachback.store.identity import content_id
from teachback.store.label import Labeler
from teachback.store.report import Scope

__all__ = ["Parameters", "parameters_of", "request_for", "spec_of"]

DEFAULT_PROMPT = "default"  # the name that a labeler's own name leaves out


def parameters_of(prompt: Prompt) -> Parameters:
    """Return the sampling parameters of a prompt."""
    return prompt.front_matter.parameters


def request_for(
    prompt: Prompt,
    messages: Sequence[Mapping[str, str]],
    form: JsonForm,
    agent: str,
    report_id: str,
) -> ChatRequest:
    """Return the request that asks with a prompt's messages and parameters."""
    parameters = parameters_of(prompt)
    return ChatRequest(
        messages=tuple(messages),
        form=form,
        agent=agent,
        report_id=report_id,
        prompt_id=prompt.prompt_id,
        temperature=parameters.temperature,
        max_tokens=parameters.max_tokens,
        seed=parameters.seed,
        top_logprobs=parameters.top_logprobs,
    )


def spec_of(
    kind: Literal["llm", "adjudicator"],
    settings: LLMSettings,
    prompt: Prompt,
    form: JsonForm,
    scope: Scope,
    **more: Any,
) -> Labeler:
    """Return who a labeler is that asks a language model; the key is no part of it.

    Args:
        kind: Which sort of labeler it is.
        settings: The endpoint and its model.
        prompt: How it asks.
        form: What its answers follow.
        scope: The sections that it reads.
        more: Whatever else changes what it says.
    """
    parameters: dict[str, Any] = {"scope": scope, **parameters_of(prompt).model_dump(), **more}
    if not settings.is_openai:
        parameters["endpoint"] = settings.identity
    variant = "" if prompt.name == DEFAULT_PROMPT else f"@{prompt.name}"
    return Labeler(
        kind=kind,
        name=f"{kind}:{settings.model}{variant}",
        version=content_id("ver", prompt.prompt_id, form.form_id, parameters),
        model=settings.model,
        prompt_id=prompt.prompt_id,
        parameters=parameters,
    )
