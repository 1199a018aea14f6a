"""The prompts of the teachers and of the student, as files versioned by their content.

A prompt is `prompts/<role>/<name>.md`: YAML front matter (`role`, `task`, `parameters`), then a Jinja2 body in parts
headed `## system` and `## user`. The body is split into its parts before anything is filled in, and a report enters
through the filter `as_data`, so nothing that stands in a report can open a new part, close its own delimiters, or run
as a template.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from teachback.errors import InputError, SettingError

__all__ = ["Prompt", "as_data", "load_prompt", "parse_prompt"]

HERE = Path(__file__).parent
PARTS = ("system", "user", "assistant")
FRONT_MATTER_KEYS = frozenset({"role", "task", "parameters", "note"})

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n(.*)\Z", re.DOTALL)
_PART_HEADING = re.compile(rf"^## ({'|'.join(PARTS)})[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Prompt:
    """One prompt file, as it was when it was loaded.

    Attributes:
        prompt_id: Content hash of role and text; the name is not part of it.
        role: Which agent it is for, such as `llm_labeler`.
        name: The file's name without its ending.
        text: The whole file, front matter included.
        front_matter: What the file says of itself: role, task, parameters.
        parts: The body's parts as (`system` or `user`, Jinja2 source), in order.
    """

    prompt_id: str
    role: str
    name: str
    text: str
    front_matter: Mapping[str, Any] = field(hash=False)
    parts: tuple[tuple[str, str], ...]

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The sampling parameters that the front matter sets."""
        parameters: Mapping[str, Any] = self.front_matter.get("parameters") or {}
        return parameters

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
        return [(part, _ENVIRONMENT.from_string(source)) for part, source in self.parts]


def load_prompt(role: str, name: str = "default", folder: Path | None = None) -> Prompt:
    """Load a prompt by role and name.

    Args:
        role: Which agent it is for, such as `llm_labeler`.
        name: The file's name without its ending.
        folder: Where the roles' folders stand; the package's own prompts when not given.

    Raises:
        SettingError: There is no such prompt.
        InputError: The file is not a prompt.
    """
    root = folder or HERE
    path = root / role / f"{name}.md"
    if not (_NAME.fullmatch(role) and _NAME.fullmatch(name) and path.is_file()):
        known = ", ".join(sorted(file.stem for file in root.glob(f"{role}/*.md"))) if _NAME.fullmatch(role) else ""
        raise SettingError(
            f"there is no prompt {role}/{name} in {root}",
            f"choose one of: {known}" if known else f"put it at {path}",
        )
    return parse_prompt(path.read_text(encoding="utf-8"), role, name)


def parse_prompt(text: str, role: str, name: str) -> Prompt:
    """Read a prompt from its text, checking all that can be checked without filling it in.

    Raises:
        InputError: The front matter or the body is not what it should be.
    """
    where = f"prompt {role}/{name}"
    text = text.replace("\r\n", "\n")
    match = _FRONT_MATTER.match(text)
    if match is None:
        raise InputError(f"{where} has no front matter", "begin the file with --- , YAML lines and another ---")
    front_matter = _front_matter(match.group(1), where, role)
    parts = _parts(match.group(2), where)
    return Prompt(_content_hash(role, text), role, name, text, front_matter, parts)


def as_data(value: object, tag: str = "report") -> str:
    """Delimit text as data: `<tag>`, the text, `</tag>`, with the delimiter itself neutralised inside the text.

    A `<` that would begin `<tag` or `</tag` becomes `‹`, in whatever case and with whatever blanks it is written, so
    the first closing delimiter is always ours.
    """
    inside = re.sub(rf"<(?=[\s/]*{re.escape(tag)})", "‹", str(value), flags=re.IGNORECASE)
    return f"<{tag}>\n{inside}\n</{tag}>"


def _front_matter(source: str, where: str, role: str) -> Mapping[str, Any]:
    try:
        front_matter = yaml.safe_load(source)
    except yaml.YAMLError as error:
        raise InputError(
            f"{where}: its front matter is not YAML ({error})", "mend the lines between the --- lines"
        ) from None
    if not isinstance(front_matter, dict):
        raise InputError(f"{where}: its front matter is empty", f"give at least the line `role: {role}`")
    if front_matter.get("role") != role:
        raise InputError(f"{where}: its front matter says role {front_matter.get('role')!r}", f"write `role: {role}`")
    unknown = sorted(set(front_matter) - FRONT_MATTER_KEYS)
    if unknown:
        raise InputError(
            f"{where}: unknown front matter {', '.join(unknown)}", f"known are {', '.join(sorted(FRONT_MATTER_KEYS))}"
        )
    return front_matter


def _parts(body: str, where: str) -> tuple[tuple[str, str], ...]:
    pieces = _PART_HEADING.split(body)
    if pieces[0].strip() or len(pieces) < 3:
        raise InputError(f"{where}: its body must begin with a part", "head the parts with `## system` and `## user`")
    parts = tuple(zip(pieces[1::2], pieces[2::2], strict=True))
    if "user" not in (part for part, _ in parts):
        raise InputError(f"{where}: it has no `## user` part", "add one with the report in it")
    for part, source in parts:
        try:
            _ENVIRONMENT.parse(source)
        except TemplateError as error:
            raise InputError(f"{where}: its {part} part is not a Jinja2 template ({error})", "mend it") from None
    return parts


def _content_hash(role: str, text: str) -> str:
    # The store's way of naming content (store/identity.py), written again because this room stands below the store.
    canonical = json.dumps([role, text], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"prm_{hashlib.blake2b(canonical.encode('utf-8', 'surrogatepass'), digest_size=12).hexdigest()}"


_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False
)
_ENVIRONMENT.filters["as_data"] = as_data
