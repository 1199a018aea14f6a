"""Two prompts side by side: settings of the front matter first, then the body line by line, changed words marked."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from teachback.prompts import Prompt

__all__ = ["DiffLine", "Hunk", "PromptDiff", "SettingChange", "Word", "diff_prompts", "diff_words"]

CONTEXT = 3  # unchanged lines around a change
UNLIKE = 0.25  # share of equal words below which two passages are shown as altogether different

_WORD = re.compile(r"\s+|\w+|[^\w\s]")
Place = Literal["same", "removed", "added"]


@dataclass(frozen=True, slots=True)
class SettingChange:
    """One setting of the front matter that differs.

    Attributes:
        name: Its name, such as `parameters.temperature`.
        a: What A says; None where it says nothing.
        b: What B says.
    """

    name: str
    a: str | None
    b: str | None


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of a line.

    Attributes:
        text: The characters.
        changed: Whether the other prompt does not have them.
    """

    text: str
    changed: bool


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line of the two bodies.

    Attributes:
        place: `same`, `removed` (A alone has it) or `added` (B alone).
        number: Its number in the file: B's, but A's where it is removed.
        words: Its pieces.
    """

    place: Place
    number: int
    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        """The whole line."""
        return "".join(word.text for word in self.words)


@dataclass(frozen=True, slots=True)
class Hunk:
    """A stretch of lines around changes.

    Attributes:
        first_a: Number of its first line in A.
        first_b: Number of its first line in B.
        lines: The lines.
    """

    first_a: int
    first_b: int
    lines: tuple[DiffLine, ...]


@dataclass(frozen=True, slots=True)
class PromptDiff:
    """What differs between two prompts.

    Attributes:
        settings: Settings of the front matter.
        hunks: Stretches of the bodies.
        pool: Whether their pools of examples differ.
    """

    settings: tuple[SettingChange, ...]
    hunks: tuple[Hunk, ...]
    pool: bool

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return not (self.settings or self.hunks or self.pool)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values."""
        return {
            "settings": [{"name": change.name, "a": change.a, "b": change.b} for change in self.settings],
            "lines": [
                {"place": line.place, "number": line.number, "text": line.text}
                for hunk in self.hunks
                for line in hunk.lines
                if line.place != "same"
            ],
            "pool": self.pool,
        }


def diff_prompts(a: Prompt, b: Prompt) -> PromptDiff:
    """Compare two prompts.

    Args:
        a: The one.
        b: The other.
    """
    return PromptDiff(tuple(_settings(a, b)), tuple(_hunks(*_body(a.text), *_body(b.text))), a.pool != b.pool)


def diff_words(a: str, b: str) -> tuple[list[Word], list[Word]]:
    """Compare two passages word by word.

    Returns:
        The pieces of each, with those marked that the other does not have; all of them where hardly a word is the same.
    """
    before, after = _WORD.findall(a), _WORD.findall(b)
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    if matcher.ratio() < UNLIKE:
        return [Word(a, True)], [Word(b, True)]
    old, new = [], []
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        if i2 > i1:
            old.append(Word("".join(before[i1:i2]), kind != "equal"))
        if j2 > j1:
            new.append(Word("".join(after[j1:j2]), kind != "equal"))
    return old, new


def _settings(a: Prompt, b: Prompt) -> Iterator[SettingChange]:
    before, after = (_flat(prompt.front_matter.model_dump(by_alias=True)) for prompt in (a, b))
    for name in dict.fromkeys([*before, *after]):
        if before.get(name) != after.get(name):
            yield SettingChange(name, before.get(name), after.get(name))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif value is not None:
            flat[f"{prefix}{name}"] = ", ".join(value) if isinstance(value, tuple) else str(value)
    return flat


def _body(text: str) -> tuple[list[str], int]:
    """Return the lines behind the front matter, and the number of the first one in the file."""
    lines = text.splitlines()
    end = next((number for number, line in enumerate(lines) if number and line == "---"), -1)
    return lines[end + 1 :], end + 2


def _hunks(a: Sequence[str], first_a: int, b: Sequence[str], first_b: int) -> Iterator[Hunk]:
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    for group in matcher.get_grouped_opcodes(CONTEXT):
        lines: list[DiffLine] = []
        for kind, i1, i2, j1, j2 in group:
            if kind == "equal":
                lines += [DiffLine("same", first_b + j, (Word(b[j], False),)) for j in range(j1, j2)]
                continue
            old, new = diff_words("\n".join(a[i1:i2]), "\n".join(b[j1:j2]))
            lines += _lines("removed", first_a + i1, old if i2 > i1 else [])
            lines += _lines("added", first_b + j1, new if j2 > j1 else [])
        yield Hunk(first_a + group[0][1], first_b + group[0][3], tuple(lines))


def _lines(place: Place, first: int, words: Sequence[Word]) -> list[DiffLine]:
    """Cut pieces that run over line ends into lines."""
    if not words:
        return []
    lines: list[list[Word]] = [[]]
    for word in words:
        for number, text in enumerate(word.text.split("\n")):
            if number:
                lines.append([])
            if text:
                lines[-1].append(Word(text, word.changed))
    return [DiffLine(place, first + number, tuple(line)) for number, line in enumerate(lines)]
