"""The phrase language of the rule files: one readable line stands for the many ways of saying it.

A phrase is words in order, with three signs:

    effusion(s)?                 an optional piece
    (small|trace) effusion       one of several; a piece may hold more than one word
    blunting ... costophrenic    up to `GAP_WORDS` other words between, but no punctuation
    <lung> opacity               any phrase of the list called `lung` in the same file

`XXXX` is a de-identification mask and `$` the end of the sentence.
"""

import re
from collections.abc import Mapping, Sequence
from math import prod

__all__ = ["GAP", "GAP_WORDS", "MAX_EXPANSIONS", "pieces"]

GAP = "..."
# Words that may stand in a gap: enough for "of the left lateral", too few to leave the noun phrase.
GAP_WORDS = 4
# One line of a rule file may stand for this many word sequences; more is a slip of the pen.
MAX_EXPANSIONS = 4000
MAX_DEPTH = 20

_LIST_NAME = re.compile(r"<([a-z_]+)>")


def pieces(phrase: str, lists: Mapping[str, Sequence[str]] | None = None) -> list[list[tuple[str, ...]]]:
    """Return the pieces of a phrase, in order: for each the words that it may stand for, in lower case.

    Args:
        phrase: A line of the phrase language.
        lists: Named lists that `<name>` refers to.

    Raises:
        ValueError: A bracket is open, a list unknown, or the phrase stands for nothing or for too much.
    """
    spelled = _LIST_NAME.sub(lambda match: _alternatives(match[1], lists or {}), phrase.lower())
    found = [list(dict.fromkeys(tuple(text.split()) for text in _expand(piece, 0))) for piece in _split(spelled)]
    if prod(map(len, found)) > MAX_EXPANSIONS:
        raise ValueError(f"{phrase!r} stands for more than {MAX_EXPANSIONS} phrases")
    if all(() in choices for choices in found):
        raise ValueError(f"{phrase!r} may stand for no word at all")
    if GAP in _at_the_edge(found, 0) or GAP in _at_the_edge(found[::-1], -1):
        raise ValueError(f"{phrase!r} begins or ends with a gap")
    return found


def _split(text: str) -> list[str]:
    """Split a phrase at the blanks that stand in no bracket."""
    found, start, depth = [], 0, 0
    for place, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if sign.isspace() and depth <= 0:
            found.append(text[start:place])
            start = place + 1
    return [piece for piece in (*found, text[start:]) if piece]


def _at_the_edge(found: Sequence[Sequence[tuple[str, ...]]], place: int) -> set[str]:
    """Return the words that may come first, given the pieces; or last, given them backwards."""
    words: set[str] = set()
    for choices in found:
        words.update(choice[place] for choice in choices if choice)
        if () not in choices:
            break
    return words


def _alternatives(name: str, lists: Mapping[str, Sequence[str]]) -> str:
    if name not in lists:
        raise ValueError(f"there is no list called <{name}>")
    return "(" + "|".join(line.lower() for line in lists[name]) + ")"


def _expand(text: str, depth: int) -> list[str]:
    """Expand the first bracket and go on with what follows it."""
    if depth > MAX_DEPTH:
        raise ValueError(f"{text!r} has brackets within brackets without end")
    opening = text.find("(")
    if opening < 0:
        if ")" in text or "|" in text or "<" in text:
            raise ValueError(f"{text!r} has a bracket or bar that belongs to nothing")
        return [text]
    closing, alternatives = _bracket(text, opening)
    optional = text[closing + 1 : closing + 2] == "?"
    choices = [choice for alternative in alternatives for choice in _expand(alternative, depth + 1)]
    if optional:
        choices.append("")
    endings = _expand(text[closing + 1 + optional :], depth)
    if len(choices) * len(endings) > MAX_EXPANSIONS:
        raise ValueError(f"{text!r} stands for more than {MAX_EXPANSIONS} phrases")
    return [text[:opening] + choice + ending for choice in choices for ending in endings]


def _bracket(text: str, opening: int) -> tuple[int, list[str]]:
    """Return where the bracket closes, and its alternatives."""
    alternatives: list[str] = []
    depth, start = 0, opening + 1
    for place in range(opening, len(text)):
        sign = text[place]
        if sign == "(":
            depth += 1
        elif sign == ")":
            depth -= 1
            if depth == 0:
                return place, [*alternatives, text[start:place]]
        elif sign == "|" and depth == 1:
            alternatives.append(text[start:place])
            start = place + 1
    raise ValueError(f"{text!r} has a bracket that does not close")
