"""Which file is meant by a prompt's name or path, also where the file is broken: whoever mends it needs to see it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from teachback.errors import InputError
from teachback.prompts import LintMessage, lint_prompt, list_prompts, load_prompt

__all__ = ["PromptFile", "find_files", "lint_file", "read_text"]

DEFAULT_ROLE = "llm_labeler"

_ROLE_LINE = re.compile(r"^role:[ \t]*(\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class PromptFile:
    """A prompt's file.

    Attributes:
        role: The role that it must have.
        name: Its name.
        path: Where it is.
    """

    role: str
    name: str
    path: Path


def find_files(names: Sequence[str], role: str | None = None) -> list[PromptFile]:
    """Find the files of prompts.

    Args:
        names: Names or paths; all that can be loaded by name where there are none.
        role: Whose prompts; where not given, a name may be any role's, and a file's role is what it says.

    Raises:
        SettingError: There is no such prompt.
    """
    listed = [PromptFile(each.role, each.name, each.path) for each in list_prompts(role)]
    if not names:
        return listed
    found: list[PromptFile] = []
    for name in names:
        path = Path(name).expanduser()
        if ("/" in name or name.endswith(".md")) and path.is_file():
            found.append(PromptFile(role or _role_of(path), path.stem, path))
            continue
        named = [each for each in listed if each.name == name]
        if not named:
            known_as = load_prompt(role or DEFAULT_ROLE, name)  # an alias, or an error that lists the names
            named = [each for each in listed if (each.role, each.name) == (known_as.role, known_as.name)]
        found += named
    return found


def lint_file(file: PromptFile) -> list[LintMessage]:
    """Check a prompt's file.

    Raises:
        InputError: It cannot be read.
    """
    return lint_prompt(read_text(file.path), file.role, file.name, file.path.parent)


def read_text(path: Path) -> str:
    """Return a file's text.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}", "name a text file in UTF-8") from None


def _role_of(path: Path) -> str:
    match = _ROLE_LINE.search(read_text(path).partition("\n---")[0])
    return match[1] if match else DEFAULT_ROLE
