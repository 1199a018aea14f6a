"""The confidence of a status in a JSON answer, from the log-probabilities of its tokens.

Tokens do not respect JSON: `":"`, `"present` and `absent",` are single tokens, and `uncertain` and `unmentioned`
begin with the same `un`. So the value is found by character offset in the answer, and each token's alternatives are
read as continuations of the answer at that place. The probability of a status is the sum over the alternatives that
lead to it, multiplied along the tokens that were really said while they leave it open (chain rule), then renormalised
over the statuses that the schema allows. What an alternative that was not said would have continued with is unknown:
if it narrows the statuses down, its probability is shared evenly among those that it leaves open, else it says
nothing and is left out.
"""

import json
import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

from teachback.agents.completion import SaidToken

__all__ = ["entry_spans", "string_spans", "token_starts", "value_probabilities"]

Path = tuple[str | int, ...]

MOST_REMEMBERED = 4096  # continuations of each list of values
_JSON_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def string_spans(text: str) -> dict[Path, tuple[int, int]]:
    """Find every string value of a JSON text.

    Args:
        text: Valid JSON.

    Returns:
        The value's path of keys and indices, to the offsets of its characters between the quotes.
    """
    spans: dict[Path, tuple[int, int]] = {}
    stack: list[str | int] = []  # the key or index at each open level; "" before an object's first key
    expects_key = False
    for piece in _JSON_PIECE.finditer(text):
        first = text[piece.start()]
        if first == "{":
            stack.append("")
            expects_key = True
        elif first == "[":
            stack.append(0)
            expects_key = False
        elif first in "}]":
            stack.pop()
            expects_key = False
        elif first == ",":
            last = stack[-1]
            if isinstance(last, int):
                stack[-1] = last + 1
            else:
                expects_key = True
        elif first == '"':
            inside = (piece.start() + 1, piece.end() - 1)
            if expects_key:
                stack[-1] = text[inside[0] : inside[1]]
                expects_key = False
            else:
                spans[tuple(stack)] = inside
    return spans


def entry_spans(text: str, keys: Sequence[str], field: str) -> dict[str, tuple[int, int]]:
    """Find the string value of one field of some entries, where it stands unescaped; much faster than all spans.

    Args:
        text: Valid JSON, in which each of `keys` is the key of an object that has `field`.
        keys: The entries' keys.
        field: The field of the entries.

    Returns:
        Key to the offsets of the value's characters between the quotes; what has to be looked for among all values is
        missing.
    """
    # Inside a string its quotes would be escaped, so `"key": {` can be nothing else. Of a key given twice, readers of
    # JSON take the last.
    pattern, named = _entry_pattern(tuple(keys), field)
    return {named[found[1]]: found.span(2) for found in pattern.finditer(text)}


def token_starts(text: str, tokens: Sequence[str]) -> list[int] | None:
    """Return where each token begins in the text; None when the tokens do not join to exactly the text."""
    if "".join(tokens) != text:
        return None
    return [0, *accumulate(map(len, tokens))][: len(tokens)]


def value_probabilities(
    text: str, tokens: Sequence[SaidToken], starts: Sequence[int], span: tuple[int, int], values: Sequence[str]
) -> dict[str, float] | None:
    """Return the probability of each allowed value at one place of the answer.

    Args:
        text: The answer.
        tokens: Its tokens.
        starts: Where each begins, as from `token_starts`.
        span: Offsets of the value that was said, between its quotes.
        values: The allowed values.

    Returns:
        Value to probability, summing to 1; None when the tokens say nothing on any of them.
    """
    begin, end = span
    said = text[begin:end]
    allowed, open_to = len(values), _continuations(tuple(values))
    mass = dict.fromkeys(values, 0.0)
    path = 1.0  # probability of what was said of the value so far
    for index in _overlapping(starts, begin, end):
        token, start = tokens[index], starts[index]
        itself = token.token
        before = text[start:begin] if start < begin else ""  # what the token holds in front of the value
        prefix = text[begin:start] if start > begin else ""  # what was said of the value before the token
        behind = len(before)
        for other in token.alternatives():
            instead = other.token
            if instead == itself or not instead.startswith(before):
                continue
            left_open = open_to[prefix + instead[behind:]]
            if 0 < len(left_open) < allowed:
                share = path * _probability(other.logprob) / len(left_open)
                for value in left_open:
                    mass[value] += share
        path *= _probability(token.logprob)
        if len(open_to[prefix + itself[behind:]]) <= 1:
            break
    mass[said] = mass.get(said, 0.0) + path
    total = sum(mass.values())
    return {value: share / total for value, share in mass.items()} if total > 0 else None


def _probability(logprob: float) -> float:
    # Endpoints have been wrong about what a logarithm of a probability may be.
    return math.exp(logprob) if logprob < 0.0 else 1.0


def _overlapping(starts: Sequence[int], begin: int, end: int) -> range:
    # From the token that holds the value's first character to the one that holds its closing quote.
    return range(bisect_right(starts, begin) - 1, bisect_right(starts, end))


class _Continuations(dict[str, tuple[str, ...]]):
    """The values that a continuation leaves open; it may stop within a value or run past its closing quote."""

    def __init__(self, values: tuple[str, ...]) -> None:
        super().__init__()
        self._closed = [(value, f'{value}"') for value in values]

    def __missing__(self, continuation: str) -> tuple[str, ...]:
        if len(self) >= MOST_REMEMBERED:
            self.clear()
        left = [v for v, whole in self._closed if whole.startswith(continuation) or continuation.startswith(whole)]
        self[continuation] = tuple(left)
        return self[continuation]


_continuations = lru_cache(maxsize=64)(_Continuations)


@lru_cache(maxsize=1024)
def _entry_pattern(keys: tuple[str, ...], field: str) -> tuple[re.Pattern[str], dict[str, str]]:
    named = {json.dumps(key, ensure_ascii=False): key for key in keys}
    names = "|".join(re.escape(name) for name in named)
    return re.compile(rf'({names})\s*:\s*\{{[^{{}}]*?"{field}"\s*:\s*"([^"\\]*)"'), named
