"""Where in the report an evidence quote stands: models change case, blanks and signs, and sometimes make quotes up."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

from teachback.store.label import Evidence

__all__ = ["ground", "places"]

TRIMMED = " \t\n\r\"'“”‘’`.,;:…-"  # what a model adds around a quote
MAX_PLACES = 50  # places of one quote that are looked at

# Signs that models write for one another.
_SIGNS = {"‘": "'", "’": "'", "‚": "'", "`": "'", "´": "'", "“": '"', "”": '"', "„": '"'} | dict.fromkeys("‐‑‒–—−", "-")

_ASCII = {place: " " for place in range(128) if chr(place).isspace()} | {ord("`"): "'"}

_BLANKS = re.compile(" {2,}")

Span = tuple[int, int]


def ground(quote: str, sections: Sequence[tuple[str, str]]) -> tuple[Evidence, ...]:
    """Find a quote in the sections that a label was made from.

    It is looked for as it stands, then without the signs around it, then in other case, with other blanks (a line
    break, none at all) and other signs (straight quotes for curly ones, letters for ligatures). Whole words come before
    parts of words.

    Args:
        quote: The words that the model copied, as it gave them.
        sections: (name, text) of the scope's sections; offsets count in exactly these texts.

    Returns:
        Nothing for an empty quote; else one span, with start and end -1 when the quote stands nowhere.
    """
    if not quote.strip():
        return ()
    found = places(quote, sections)
    return found[:1] or (Evidence("", -1, -1, quote),)


def places(quote: str, sections: Sequence[tuple[str, str]]) -> tuple[Evidence, ...]:
    """Return every place of a quote, whole words before parts of words; none when it stands nowhere.

    Args:
        quote: The words, as in `ground`.
        sections: (name, text) of the scope's sections.
    """
    candidates = [text for text in dict.fromkeys((quote, quote.strip(), quote.strip(TRIMMED))) if text.strip()]
    for find in (_exact, _tolerant):
        for wanted in candidates:
            found = [(section, text, span) for section, text in sections for span in find(wanted, text)]
            if found:
                if len(found) > 1:
                    found.sort(key=lambda place: not _is_whole(*place[1:]))
                return tuple([Evidence(section, *span, quote) for section, _, span in found[:MAX_PLACES]])
    return ()


def _exact(quote: str, text: str) -> list[Span]:
    return [(start, start + len(quote)) for start in _starts(quote, text)] if quote in text else []


def _tolerant(quote: str, text: str) -> list[Span]:
    folded, origins = _folded(text)
    wanted = _folded(quote)[0].strip()
    if not wanted:
        return []
    size = len(wanted)
    spans = [
        (origins[start], origins[start + size - 1] + 1)
        for start in _starts(wanted, folded, 1)
        if not _is_split(origins, start) and not _is_split(origins, start + size)
    ]
    return spans or _squeezed(wanted.replace(" ", ""), folded, origins)


def _squeezed(wanted: str, folded: str, origins: Sequence[int]) -> list[Span]:
    # A blank more or less ("5mm", "edema.No effusion"): compared without any, and only as whole words.
    if wanted not in folded.replace(" ", ""):
        return []
    kept = [place for place, character in enumerate(folded) if character != " "]
    dense = "".join(folded[place] for place in kept)
    spans = []
    for start in _starts(wanted, dense):
        first, last = kept[start], kept[start + len(wanted) - 1]
        if _is_whole(folded, (first, last + 1)):
            spans.append((origins[first], origins[last] + 1))
    return spans


def _is_split(origins: Sequence[int], place: int) -> bool:
    # Whether a place lies within what one character was folded to: half of a ligature is no quote.
    return 0 < place < len(origins) and origins[place - 1] == origins[place]


def _starts(wanted: str, text: str, step: int = 0) -> Iterator[int]:
    start = text.find(wanted)
    for _ in range(MAX_PLACES):
        if start < 0:
            return
        yield start
        start = text.find(wanted, start + (step or len(wanted)))


def _is_whole(text: str, span: Span) -> bool:
    start, end = span
    cut_before = start > 0 and text[start - 1].isalnum() and text[start].isalnum()
    cut_behind = end < len(text) and text[end].isalnum() and text[end - 1].isalnum()
    return not (cut_before or cut_behind)


@lru_cache(maxsize=1024)
def _folded(text: str) -> tuple[str, Sequence[int]]:
    # One case, runs of whitespace as one blank, plain signs; with the offset in the original of each character.
    if text.isascii():
        plain = text.translate(_ASCII).lower()
        return _single_spaced(plain) if "  " in plain else (plain, range(len(text)))
    characters: list[str] = []
    origins: list[int] = []
    for offset, character in enumerate(text):
        plain = _plain(character)
        if plain == " " and characters and characters[-1] == " ":
            continue
        for folded in plain:
            characters.append(folded)
            origins.append(offset)
    return "".join(characters), tuple(origins)


def _single_spaced(text: str) -> tuple[str, Sequence[int]]:
    pieces: list[str] = []
    origins: list[int] = []
    start = 0
    for blanks in _BLANKS.finditer(text):
        pieces.append(text[start : blanks.start() + 1])
        origins.extend(range(start, blanks.start() + 1))
        start = blanks.end()
    return "".join([*pieces, text[start:]]), [*origins, *range(start, len(text))]


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    if character.isspace():
        return " "
    if unicodedata.category(character) == "Cf":  # soft hyphens, zero-width blanks
        return ""
    plain = unicodedata.normalize("NFKC", _SIGNS.get(character, character)).upper().casefold()
    return "".join(" " if part.isspace() else part for part in plain)
