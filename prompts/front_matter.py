"""What a prompt file says of itself: role, tasks, schema, sampling parameters and examples."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from teachback.prompts.yaml_text import line_of

__all__ = [
    "ROLES",
    "ExampleSettings",
    "FrontMatter",
    "LintMessage",
    "Parameters",
    "PromptSchema",
    "PromptTask",
    "Severity",
    "read_front_matter",
]

PromptTask = Literal["findings", "diseases"]
PromptSchema = Literal["labels", "stepwise", "verified", "verdicts"]
Severity = Literal["error", "warning"]

TASKS: tuple[PromptTask, ...] = get_args(PromptTask)


@dataclass(frozen=True)
class Role:
    """What a role's prompts may use.

    Attributes:
        schemas: The schemas that its answers may follow, the usual one first.
        variables: The variables of its body.
    """

    schemas: tuple[PromptSchema, ...]
    variables: frozenset[str]


ROLES: Mapping[str, Role] = {
    "llm_labeler": Role(("labels", "stepwise", "verified"), frozenset({"report", "examples", "findings"})),
    "adjudicator": Role(("verdicts",), frozenset({"report", "disputes"})),
}


@dataclass(frozen=True)
class LintMessage:
    """Something to mend in a prompt file.

    Attributes:
        severity: An `error` keeps the prompt from being loaded; a `warning` does not.
        line: The line of the file, from 1.
        message: What is wrong.
        remedy: What to do about it.
    """

    severity: Severity
    line: int
    message: str
    remedy: str


class Parameters(BaseModel):
    """Sampling parameters.

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


class ExampleSettings(BaseModel):
    """Where the examples come from that a prompt shows.

    Attributes:
        source: `pool` draws from a file of examples, `nearest` takes the curated reports that are most alike.
        file: The pool's file, beside the prompt's.
        count: How many are shown with each report.
        seed: What the draw from the pool follows from, together with the report's text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Literal["pool", "nearest"]
    file: str = "examples.yaml"
    count: int = Field(default=3, ge=1, le=20)
    seed: int = 0

    @field_validator("file")
    @classmethod
    def _stands_beside(cls, name: str) -> str:
        if "/" in name or "\\" in name or not name.endswith((".yaml", ".yml")):
            raise ValueError("name a .yaml file that stands beside the prompt")
        return name


class FrontMatter(BaseModel):
    """The YAML lines above a prompt's body.

    Attributes:
        role: Which agent it is for.
        task: What it asks for; both tasks when left out.
        form: The schema of the answer (`schema` in the file); the role's usual one when left out.
        parameters: Sampling parameters, as they are set.
        examples: The examples that it shows, if any.
        note: What it is, in a line.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: str
    task: tuple[PromptTask, ...] = Field(default=TASKS, min_length=1)
    form: PromptSchema | None = Field(default=None, alias="schema")
    parameters: Parameters = Parameters()
    examples: ExampleSettings | None = None
    note: str = ""

    @field_validator("task", mode="before")
    @classmethod
    def _as_list(cls, task: Any) -> Any:
        return [task] if isinstance(task, str) else task

    @field_validator("task")
    @classmethod
    def _in_order(cls, task: tuple[PromptTask, ...]) -> tuple[PromptTask, ...]:
        return tuple(name for name in TASKS if name in task)

    @field_validator("parameters", mode="before")
    @classmethod
    def _none_is_usual(cls, parameters: Any) -> Any:
        return {} if parameters is None else parameters

    @model_validator(mode="after")
    def _fits_its_role(self) -> "FrontMatter":
        role = ROLES.get(self.role)
        if role and self.form and self.form not in role.schemas:
            raise ValueError(f"a prompt of {self.role} has schema {' or '.join(role.schemas)}, not {self.form}")
        if self.examples and (self.form or "labels") != "labels":
            raise ValueError("examples show answers of schema labels, and this prompt asks for another")
        return self


def read_front_matter(source: str, role: str) -> tuple[FrontMatter | None, list[LintMessage]]:
    """Read the lines between the `---` lines.

    Args:
        source: The lines; the first is line 2 of the file.
        role: The role that it must say.

    Returns:
        What they say, or None with what is wrong with them.
    """
    try:
        said = yaml.safe_load(source)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 2 if mark else 1
        return None, [_wrong(line, f"its front matter is not YAML ({error})", "mend the lines between the --- lines")]
    if not isinstance(said, dict):
        return None, [_wrong(1, "its front matter is empty", f"give at least the line `role: {role}`")]
    if said.get("role") != role:
        line = _line(source, "role")
        return None, [_wrong(line, f"its front matter says role {said.get('role')!r}", f"write `role: {role}`")]
    try:
        return FrontMatter.model_validate({str(key): value for key, value in said.items()}), []
    except ValidationError as error:
        return None, [_invalid(source, dict(entry)) for entry in error.errors(include_url=False)]


def _invalid(source: str, entry: Mapping[str, Any]) -> LintMessage:
    path = [step for step in entry["loc"] if isinstance(step, str)]
    place = ".".join(path)
    line = _line(source, *(path or ["schema"]))  # what does not fit together is the schema and something else
    if entry["type"] == "extra_forbidden":
        models: Mapping[str, type[BaseModel]] = {"parameters": Parameters, "examples": ExampleSettings}
        model = models.get(path[0], FrontMatter) if len(path) > 1 else FrontMatter
        known = ", ".join(sorted(field.alias or name for name, field in model.model_fields.items()))
        kind = "parameter" if path[0] == "parameters" and len(path) > 1 else "front matter"
        return _wrong(line, f"unknown {kind} {place}", f"known are {known}")
    what = str(entry["msg"]).removeprefix("Value error, ")
    return _wrong(line, f"front matter {place}: {what}" if place else what, "change this line")


def _wrong(line: int, message: str, remedy: str) -> LintMessage:
    return LintMessage("error", line, message, remedy)


def _line(source: str, *path: str) -> int:
    # The line of the file on which a key of the front matter stands; the first one when it does not stand there.
    return line_of(f"# ---\n{source}", path)
