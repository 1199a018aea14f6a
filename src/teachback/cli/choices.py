"""Options that take one of a few words."""

from collections.abc import Sequence
from typing import TypeVar

from teachback.errors import SettingError

__all__ = ["one_of"]

Word = TypeVar("Word", bound=str)


def one_of(option: str, word: str, choices: Sequence[Word]) -> Word:
    """Return the choice that a word is.

    Raises:
        SettingError: It is none of them.
    """
    for choice in choices:
        if word == choice:
            return choice
    raise SettingError(f"{option} {word} is not known", f"choose one of {', '.join(choices)}")
