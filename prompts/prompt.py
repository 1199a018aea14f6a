"""A prompt, and how it is read from its text."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Template, TemplateError

from teachback.errors import InputError, SettingError
from teachback.prompts.body import ENVIRONMENT, Part, body_errors, split_body
from teachback.prompts.front_matter import (
    ROLES,
    ExampleSettings,
    FrontMatter,
    LintMessage,
    PromptSchema,
    PromptTask,
    read_front_matter,
)

__all__ = ["HERE", "Draft", "Prompt", "parse_prompt", "read_draft"]

HERE = Path(__file__).parent

_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n(.*)\Z", re.DOTALL)


@dataclass(frozen=True)
class Prompt:
    """One prompt file, as it was when it was loaded.

    Attributes:
        prompt_id: Content hash of role, text and pool; the name is not part of it.
        role: Which agent it is for, such as `llm_labeler`.
        name: The file's name without its ending.
        text: The whole file, front matter included.
        front_matter: What the file says of itself.
        parts: The body's parts as (`system` or `user`, Jinja2 source), in order.
        pool: The text of the file of examples that it draws from; empty when it draws from none.
    """

    prompt_id: str
    role: str
    name: str
    text: str
    front_matter: FrontMatter = field(hash=False)
    parts: tuple[tuple[str, str], ...]
    pool: str = ""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The sampling parameters that the front matter sets."""
        return self.front_matter.parameters.model_dump(exclude_unset=True)

    @property
    def tasks(self) -> tuple[PromptTask, ...]:
        """What it asks for."""
        return self.front_matter.task

    @property
    def schema(self) -> PromptSchema:
        """The schema of the answer."""
        role = ROLES.get(self.role)
        return self.front_matter.form or (role.schemas[0] if role else "labels")

    @property
    def examples(self) -> ExampleSettings | None:
        """Where the examples come from that it shows, if it shows any."""
        return self.front_matter.examples

    @property
    def full_text(self) -> str:
        """All that its id covers: the file, and behind it the pool of examples."""
        return f"{self.text}\n--- {self.examples.file}\n{self.pool}" if self.pool and self.examples else self.text

    def render(self, **fields: Any) -> list[dict[str, str]]:
        """Fill the prompt in.

        Args:
            fields: The values of the body's variables.

        Returns:
            Messages as `{"role": ..., "content": ...}`, in the body's order.

        Raises:
            SettingError: The body names a variable that was not given, or does what a prompt may not do.
        """
        try:
            return [{"role": part, "content": template.render(fields).strip()} for part, template in self._templates]
        except TemplateError as error:
            raise SettingError(
                f"prompt {self.role}/{self.name} cannot be filled in: {error.message}",
                f"use only these variables in its body, as text: {', '.join(sorted(fields))}",
            ) from None

    @cached_property
    def _templates(self) -> list[tuple[str, Template]]:
        templates = [(part, ENVIRONMENT.from_string(source)) for part, source in self.parts]
        for _, template in templates:
            template.globals = dict(template.globals)  # copied with each filling in, which of Jinja's chain takes long
        return templates


@dataclass(frozen=True)
class Draft:
    """A prompt's text, read as far as it can be.

    Attributes:
        text: The text, with plain line ends.
        front_matter: What it says of itself; None when that cannot be read.
        parts: Its parts.
        pool: The text of its pool of examples.
        errors: What keeps it from being a prompt.
    """

    text: str
    front_matter: FrontMatter | None
    parts: tuple[Part, ...]
    pool: str
    errors: tuple[LintMessage, ...]


def parse_prompt(text: str, role: str, name: str, beside: Path | None = None, where: str = "") -> Prompt:
    """Read a prompt from its text, checking all that can be checked without filling it in.

    Args:
        text: The whole file.
        role: The role that it must have.
        name: Its name.
        beside: The folder in which its pool of examples stands; where that has none, the package's own pool is taken.
        where: How to name it in errors; `prompt ROLE/NAME` when not given.

    Raises:
        InputError: The front matter or the body is not what it should be; names the line.
    """
    draft = read_draft(text, role, beside)
    if draft.errors or draft.front_matter is None:
        first = draft.errors[0]
        raise InputError(f"{where or f'prompt {role}/{name}'}, line {first.line}: {first.message}", first.remedy)
    parts = tuple((part.name, part.source) for part in draft.parts)
    prompt_id = _content_hash([role, draft.text, draft.pool] if draft.pool else [role, draft.text])
    return Prompt(prompt_id, role, name, draft.text, draft.front_matter, parts, draft.pool)


def read_draft(text: str, role: str, beside: Path | None = None) -> Draft:
    """Read a prompt's text as far as it can be read, with what is wrong with it; arguments as in `parse_prompt`."""
    text = text.replace("\r\n", "\n")
    match = _FRONT_MATTER.match(text)
    if match is None:
        missing = LintMessage(
            "error", 1, "it has no front matter", "begin the file with --- , YAML lines and another ---"
        )
        return Draft(text, None, (), "", (missing,))
    front_matter, errors = read_front_matter(match.group(1), role)
    parts = split_body(match.group(2), text.count("\n", 0, match.start(2)) + 1)
    shown = front_matter.examples if front_matter else None
    # What is wrong with the body can be told without the front matter, but for the examples that it should announce.
    errors = errors or body_errors(parts, role, shown is not None)
    pool = ""
    if shown and shown.source == "pool":
        file = _pool_file(role, shown.file, beside)
        if file is None:
            line = text.count("\n", 0, text.find("examples:")) + 1
            what = f"there is no file of examples {shown.file} beside it"
            errors = [*errors, LintMessage("error", line, what, "put it there, or name another file of that folder")]
        else:
            pool = file.read_text(encoding="utf-8")
    return Draft(text, front_matter, tuple(parts[1:]), pool, tuple(errors))


def _pool_file(role: str, name: str, beside: Path | None) -> Path | None:
    folders = [folder for folder in (beside, HERE / role) if folder]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _content_hash(content: list[str]) -> str:
    # The store's way of naming content (store/identity.py), written again because this room stands below the store.
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"prm_{hashlib.blake2b(canonical.encode('utf-8', 'surrogatepass'), digest_size=12).hexdigest()}"
