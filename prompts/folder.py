"""Where prompts are found: a file that is named by its path, a folder of one's own, the package's."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from teachback.errors import InputError, SettingError
from teachback.prompts.front_matter import ROLES, ExampleSettings, PromptSchema, PromptTask
from teachback.prompts.prompt import HERE, Prompt, parse_prompt

__all__ = ["PROMPTS_VARIABLE", "PromptListing", "list_prompts", "load_prompt"]

PROMPTS_VARIABLE = "TEACHBACK_PROMPTS"  # environment variable: a folder of one's own, with a folder for each role

# Names that mean another file.
ALIASES: Mapping[tuple[str, str], str] = {("llm_labeler", "zero-shot"): "default"}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class PromptListing:
    """One prompt that can be loaded by its name, or the reason why it cannot.

    Attributes:
        role: Which agent it is for.
        name: Its name.
        path: Its file.
        tasks: What it asks for.
        schema: The schema of its answers.
        examples: The examples that it shows, if any.
        prompt_id: Content hash; empty when the file cannot be loaded.
        note: What it says of itself.
        problem: Why it cannot be loaded; empty when it can.
    """

    role: str
    name: str
    path: Path
    tasks: tuple[PromptTask, ...] = ()
    schema: PromptSchema | None = None
    examples: ExampleSettings | None = None
    prompt_id: str = ""
    note: str = ""
    problem: str = ""


def load_prompt(role: str, name: str = "default", folder: Path | None = None) -> Prompt:
    """Load a prompt by role and name, or from the file of that path.

    Args:
        role: Which agent it is for, such as `llm_labeler`.
        name: The file's name without its ending, or a path: anything with a slash or that ends in `.md`.
        folder: Where the roles' folders stand; when not given, the folder that `TEACHBACK_PROMPTS` names, and behind
            it the package's own prompts.

    Raises:
        SettingError: There is no such prompt.
        InputError: The file is not a prompt; names the file and the line.
    """
    path = _path_of(role, name, folder)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}", "name a text file in UTF-8") from None
    return parse_prompt(text, role, path.stem, path.parent, str(path))


def list_prompts(role: str | None = None, folder: Path | None = None) -> list[PromptListing]:
    """List the prompts that `load_prompt` finds by name, each role's by name; a broken file is listed with its problem.

    Args:
        role: Only this role's; every labelling role's when not given.
        folder: As in `load_prompt`.
    """
    listings = []
    for each in (role,) if role else ROLES:
        files: dict[str, Path] = {}
        for root in _roots(folder):
            for file in sorted(root.glob(f"{each}/*.md")):
                files.setdefault(file.stem, file)
        listings += [_listing(each, name, files[name]) for name in sorted(files)]
    return listings


def _listing(role: str, name: str, path: Path) -> PromptListing:
    try:
        prompt = load_prompt(role, str(path))
    except InputError as error:
        return PromptListing(role, name, path, problem=error.message)
    note = prompt.front_matter.note
    return PromptListing(role, name, path, prompt.tasks, prompt.schema, prompt.examples, prompt.prompt_id, note)


def _path_of(role: str, name: str, folder: Path | None) -> Path:
    if folder is None and ("/" in name or name.endswith(".md")) and Path(name).expanduser().is_file():
        return Path(name).expanduser()
    roots = _roots(folder)
    named = bool(_NAME.fullmatch(role) and _NAME.fullmatch(name))
    for wanted in (name, ALIASES.get((role, name))):
        for root in roots if named and wanted else ():
            path = root / role / f"{wanted}.md"
            if path.is_file():
                return path
    known = sorted({file.stem for root in roots for file in root.glob(f"{role}/*.md")}) if _NAME.fullmatch(role) else []
    raise SettingError(
        f"there is no prompt {role}/{name} in {' or '.join(map(str, roots))}",
        f"choose one of: {', '.join(known)}" if known else f"put it at {roots[0] / role / name}.md",
    )


def _roots(folder: Path | None) -> list[Path]:
    if folder is not None:
        return [folder]
    own = os.environ.get(PROMPTS_VARIABLE)
    return [*([Path(own).expanduser()] if own else []), HERE]
