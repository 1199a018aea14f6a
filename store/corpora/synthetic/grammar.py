"""A small phrase grammar: `[one|other|]` draws an alternative, `{slot}` takes a word from the context.

Alternatives nest. A leading `+` marks a noun phrase that is always plural, and what follows ` => ` is a note on what
the phrase asserts. The mark `a~` becomes `a` or `an` once the next word is known (`fix_articles`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from teachback.store.identity import content_id

__all__ = ["Draw", "Template", "compile_template", "fix_articles", "render", "tidy"]

T = TypeVar("T")

_ARTICLE = re.compile(r"a~ (?=([aeiou])?)", re.IGNORECASE)
_TOKEN = re.compile(r"[\[\]|]|\{\w+\}|[^\[\]|{]+")


class Draw:
    """Seeded draws, from `random()` alone so that no change of Python's derived methods changes a corpus."""

    __slots__ = ("random",)

    def __init__(self, *identity: object) -> None:
        self.random = Random(int(content_id("rng", *identity)[4:], 16)).random

    def pick(self, items: Sequence[T]) -> T:
        """Draw one item, all equally likely."""
        return items[int(self.random() * len(items))]

    def chance(self, probability: float) -> bool:
        """Draw true with this probability."""
        return self.random() < probability

    def weighted(self, weights: Mapping[T, float]) -> T:
        """Draw one key in proportion to its weight."""
        left = self.random() * sum(weights.values())
        for item, weight in weights.items():
            left -= weight
            if left < 0:
                return item
        return next(iter(weights))

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return the items in a drawn order."""
        return [item for _, item in sorted(((self.random(), i), item) for i, item in enumerate(items))]


@dataclass(frozen=True, slots=True)
class Slot:
    """A word taken from the context."""

    name: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Alternatives, each a sequence of parts."""

    options: tuple[tuple["str | Slot | Choice", ...], ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled phrase.

    Attributes:
        parts: What it is made of.
        plural: Whether the noun phrase is plural whatever the side.
        note: What stands behind ` => `; empty without one.
        slots: Names of the slots it can ask for.
    """

    parts: tuple["str | Slot | Choice", ...]
    plural: bool
    note: str
    slots: frozenset[str]


def compile_template(source: str) -> Template:
    """Compile a phrase of the bank.

    Raises:
        ValueError: Brackets do not match.
    """
    body, _, note = source.partition(" => ")
    plural = body.startswith("+")
    tokens = _TOKEN.findall(body.removeprefix("+"))
    parts, end = _sequence(tokens, 0)
    if end != len(tokens):
        raise ValueError(f"unmatched bracket in phrase {source!r}")
    return Template(parts, plural, note.strip(), frozenset(re.findall(r"\{(\w+)\}", body)))


def render(template: Template, draw: Draw, context: Mapping[str, str]) -> str:
    """Return the phrase in words."""
    words: list[str] = []
    _render(template.parts, draw, context, words)
    return "".join(words)


def tidy(text: str) -> str:
    """Close the gaps that empty alternatives leave."""
    return " ".join(text.split()).replace(" ,", ",").replace(" .", ".").replace(" ;", ";")


def fix_articles(text: str) -> str:
    """Turn each `a~` into `a` or `an`."""
    if "~" not in text:
        return text
    return _ARTICLE.sub(lambda found: found[0][0] + ("n " if found[1] else " "), text)


def _sequence(tokens: list[str], at: int) -> tuple[tuple["str | Slot | Choice", ...], int]:
    parts: list[str | Slot | Choice] = []
    while at < len(tokens) and tokens[at] not in "|]":
        token = tokens[at]
        if token == "[":
            options = []
            while tokens[at] != "]":
                option, at = _sequence(tokens, at + 1)
                options.append(option)
                if at == len(tokens):
                    raise ValueError(f"unmatched bracket in phrase {''.join(tokens)!r}")
            parts.append(Choice(tuple(options)))
        elif token[0] == "{":
            parts.append(Slot(token[1:-1]))
        else:
            parts.append(token)
        at += 1
    return tuple(parts), at


def _render(parts: tuple["str | Slot | Choice", ...], draw: Draw, context: Mapping[str, str], words: list[str]) -> None:
    for part in parts:
        if type(part) is str:
            words.append(part)
        elif type(part) is Slot:
            words.append(context[part.name])
        elif type(part) is Choice:
            options = part.options
            _render(options[int(draw.random() * len(options))], draw, context, words)
