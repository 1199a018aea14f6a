"""Which phrases name the same disease: spelling, abbreviation, plural, and a list of synonyms of chest radiology."""

import re
import unicodedata
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml

__all__ = ["concept_of", "normalise_phrase"]

_NOT_WORD = re.compile(r"[\W_]+")
# `effusions` is a plural; `atelectasis`, `mass` and `pneumothoraces` are none that an s makes.
_PLURAL = re.compile(r"(?<=[^\Wsiu])s$")


def normalise_phrase(phrase: str) -> str:
    """Return a phrase without case, punctuation, width variants and repeated spaces."""
    return _NOT_WORD.sub(" ", unicodedata.normalize("NFKC", phrase).casefold()).strip()


@lru_cache(maxsize=100_000)
def concept_of(phrase: str) -> str:
    """Return what all synonyms of a phrase have in common, and no other phrase does; empty for an empty phrase."""
    plain = _singular(phrase)
    return _concepts().get(plain, plain)


def _singular(phrase: str) -> str:
    words = (_PLURAL.sub("", word) if len(word) > 3 else word for word in normalise_phrase(phrase).split())
    return " ".join(_read()["words"].get(word, word) for word in words)


@lru_cache(maxsize=1)
def _concepts() -> dict[str, str]:
    return {_singular(phrase): _singular(group[0]) for group in _read()["phrases"] for phrase in group}


@lru_cache(maxsize=1)
def _read() -> dict[str, Any]:
    text = files("teachback.store.quality").joinpath("synonyms.yaml").read_text(encoding="utf-8")
    read: dict[str, Any] = yaml.safe_load(text)
    return read
