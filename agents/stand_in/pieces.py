"""The stand-in's tokens: pieces that join to exactly its answer, and their log-probabilities as JSON.

As in byte-pair encodings, punctuation sticks together (`":{"`) and sometimes to a value (`"present`, `absent"`), and
`uncertain` and `unmentioned` share their first piece. What the schema forces is all but certain.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Choice", "Piece", "count_pieces", "logprobs_json", "pieces_of"]

FORCED_LOGPROB = -2e-5  # what a token that the schema forces is given
_PIECE = re.compile(r'[{}\[\]",:]+| ?[A-Za-z]{1,7}|\d{1,3}|[^\w\s{}\[\]",:]+|\s+|\w')
_SHARED = "un"


@dataclass(frozen=True, slots=True)
class Choice:
    """A place of the answer where one of several values is said.

    Attributes:
        said: The value that is said.
        probabilities: Value to probability, the said one among them.
    """

    said: str
    probabilities: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Piece:
    """One token; `alternatives` is empty where the schema forces it, else token to probability, itself among them."""

    token: str
    alternatives: tuple[tuple[str, float], ...] = ()


def pieces_of(segments: Sequence[str | Choice]) -> list[Piece]:
    """Cut an answer into tokens.

    Args:
        segments: The answer's JSON text in order. A choice stands between two texts, of which the first ends and the
            second begins with its quotes.
    """
    pieces: list[Piece] = []
    texts = list(segments)
    choices = 0
    for index, segment in enumerate(texts):
        if isinstance(segment, str):
            pieces += [Piece(token) for token in _PIECE.findall(segment)]
            continue
        style = choices % 3  # the quotes apart, the opening one at the value, the closing one at the value
        choices += 1
        lead, trail = ("", "")
        if style == 1 and pieces[-1].token.endswith('"'):
            lead = '"'
            opening = pieces.pop().token[:-1]
            pieces += [Piece(opening)] if opening else []
        following = texts[index + 1] if index + 1 < len(texts) else ""
        if style == 2 and isinstance(following, str) and following.startswith('"'):
            trail = '"'
            texts[index + 1] = following[1:]
        pieces += _choice_pieces(segment, lead, trail)
    return pieces


def logprobs_json(pieces: Iterable[Piece], top: int) -> str:
    """Return the pieces' log-probabilities as the API writes them, with up to `top` alternatives each."""
    return (
        "[" + ",".join(_forced(piece.token) if not piece.alternatives else _open(piece, top) for piece in pieces) + "]"
    )


@lru_cache(maxsize=256)
def count_pieces(text: str) -> int:
    """Return how many tokens a text has."""
    return sum(1 for _ in _PIECE.finditer(text))


def _choice_pieces(choice: Choice, lead: str, trail: str) -> list[Piece]:
    first: dict[str, float] = {}
    second: dict[str, float] = {}
    for value, probability in choice.probabilities.items():
        if value.startswith(_SHARED):
            second[value[len(_SHARED) :] + trail] = probability
            token = lead + _SHARED
        else:
            token = lead + value + trail
        first[token] = first.get(token, 0.0) + probability
    if not choice.said.startswith(_SHARED):
        return [Piece(lead + choice.said + trail, tuple(first.items()))]
    shared = sum(second.values())
    rest = tuple((token, probability / shared) for token, probability in second.items())
    return [Piece(lead + _SHARED, tuple(first.items())), Piece(choice.said[len(_SHARED) :] + trail, rest)]


@lru_cache(maxsize=65_536)
def _forced(token: str) -> str:
    itself = f'"token":{json.dumps(token)},"logprob":{FORCED_LOGPROB},"bytes":null'
    return f'{{{itself},"top_logprobs":[{{{itself}}}]}}'


def _open(piece: Piece, top: int) -> str:
    ranked = sorted(piece.alternatives, key=lambda alternative: -alternative[1])[:top]
    others = [
        {"token": token, "logprob": math.log(max(probability, 1e-12)), "bytes": None} for token, probability in ranked
    ]
    chosen = math.log(max(dict(piece.alternatives)[piece.token], 1e-12))
    return json.dumps({"token": piece.token, "logprob": chosen, "bytes": None, "top_logprobs": others})
