"""What the members of the graph that ask a language model have in common: who they are, and how they ask."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from teachback.agents.calls import ChatRequest, JsonForm
from teachback.agents.settings import LLMSettings
from teachback.errors import InputError
from teachback.prompts import Prompt
from teachback.store.identity import content_id
from teachback.store.label import Labeler
from teachback.store.report import Scope

__all__ = ["Parameters", "parameters_of", "request_for", "spec_of"]


class Parameters(BaseModel):
    """Sampling parameters that a prompt's front matter may set.

    Attributes:
        temperature: 0 takes the likeliest token each time.
        max_tokens: Longest answer, in tokens.
        seed: Sampling seed, for endpoints that take one; null sends none.
        top_logprobs: Alternatives to return for each token; null asks for no log-probabilities.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float = Field(default=0.0, ge=0, le=2)
    max_tokens: int = Field(default=2000, ge=1)
    seed: int | None = 0
    top_logprobs: int | None = Field(default=8, ge=0, le=20)


def parameters_of(prompt: Prompt) -> Parameters:
    """Read the sampling parameters of a prompt.

    Raises:
        InputError: The front matter sets something else.
    """
    try:
        return Parameters.model_validate(dict(prompt.parameters))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(
            f"prompt {prompt.role}/{prompt.name}: parameter {'.'.join(map(str, first['loc']))}: {first['msg']}",
            f"known are {', '.join(Parameters.model_fields)}",
        ) from None


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
    kind: Literal["llm", "adjudicator"], settings: LLMSettings, prompt: Prompt, form: JsonForm, scope: Scope
) -> Labeler:
    """Return who a labeler is that asks a language model; the key is no part of it."""
    parameters: dict[str, Any] = {"scope": scope, **parameters_of(prompt).model_dump()}
    if not settings.is_openai:
        parameters["endpoint"] = settings.identity
    return Labeler(
        kind=kind,
        name=f"{kind}:{settings.model}",
        version=content_id("ver", prompt.prompt_id, form.form_id, parameters),
        model=settings.model,
        prompt_id=prompt.prompt_id,
        parameters=parameters,
    )
