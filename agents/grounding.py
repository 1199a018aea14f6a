"""Where in the report an evidence quote stands: models change case and whitespace, and sometimes make quotes up."""

from collections.abc import Sequence
from functools import lru_cache

from teachback.store.label import Evidence

__all__ = ["ground"]

TRIMMED = " \t\n\r\"'“”‘’`.,;:…-"  # what a model adds around a quote


def ground(quote: str, sections: Sequence[tuple[str, str]]) -> tuple[Evidence, ...]:
    """Find a quote in the sections that a label was made from.

    Args:
        quote: The words that the model copied, as it gave them.
        sections: (name, text) of the scope's sections; offsets count in exactly these texts.

    Returns:
        Nothing for an empty quote; else one span, with start and end -1 when the quote stands nowhere.
    """
    if not quote.strip():
        return ()
    candidates = (quote, quote.strip(), quote.strip(TRIMMED))
    for find in (_find_exact, _find_tolerant):
        for wanted in candidates:
            for section, text in sections:
                span = find(wanted, text)
                if span is not None:
                    return (Evidence(section, *span, quote),)
    return (Evidence("", -1, -1, quote),)


def _find_exact(quote: str, text: str) -> tuple[int, int] | None:
    start = text.find(quote) if quote else -1
    return (start, start + len(quote)) if start >= 0 else None


def _find_tolerant(quote: str, text: str) -> tuple[int, int] | None:
    wanted = _folded(quote)[0].strip()
    if not wanted:
        return None
    folded, origins = _folded(text)
    start = folded.find(wanted)
    return (origins[start], origins[start + len(wanted) - 1] + 1) if start >= 0 else None


@lru_cache(maxsize=1024)
def _folded(text: str) -> tuple[str, tuple[int, ...]]:
    # Case-folded, runs of whitespace as one blank; with the offset in the original of each character.
    characters: list[str] = []
    origins: list[int] = []
    for offset, character in enumerate(text):
        if character.isspace():
            if characters and characters[-1] == " ":
                continue
            character = " "
        for folded in character.casefold():
            characters.append(folded)
            origins.append(offset)
    return "".join(characters), tuple(origins)
