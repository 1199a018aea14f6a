"""Typing errors: a long word one slip away from a finding's word is read as that word.

One slip is a letter left out, put in, exchanged, or two neighbours swapped (Damerau 1964, doi:10.1145/363958.363994).
Candidates are found through the forms with one letter deleted, so a look-up costs the length of the word, not of the
vocabulary.
"""

from collections.abc import Iterable

__all__ = ["Speller"]

# Shortest word that is mended, in letters: short words have too many real neighbours.
MIN_LENGTH = 7


class Speller:
    """Mends the words of a vocabulary.

    Args:
        vocabulary: The words to mend towards; those shorter than `MIN_LENGTH` are left out.
        exceptions: Real words that must stay as they are.
    """

    def __init__(self, vocabulary: Iterable[str], exceptions: Iterable[str] = ()) -> None:
        self._kept = frozenset(exceptions)
        self._shortened: dict[str, list[str]] = {}
        for word in sorted(set(vocabulary)):
            if len(word) >= MIN_LENGTH and word.isalpha():
                for form in {word, *_one_deleted(word)}:
                    self._shortened.setdefault(form, []).append(word)

    def mend(self, word: str) -> str:
        """Return the vocabulary's word that this one was meant to be, or the word itself."""
        if len(word) < MIN_LENGTH or word in self._kept or not word.isalpha():
            return word
        for form in (word, *_one_deleted(word)):
            for candidate in self._shortened.get(form, ()):
                if candidate[0] == word[0] and one_slip(word, candidate):
                    return candidate
        return word


def one_slip(one: str, other: str) -> bool:
    """Whether two different words are one deletion, insertion, exchange or swap of neighbours apart."""
    if one == other or abs(len(one) - len(other)) > 1:
        return False
    shortest = min(len(one), len(other))
    same = next((place for place in range(shortest) if one[place] != other[place]), shortest)
    if len(one) > len(other):
        return one[same + 1 :] == other[same:]
    if len(one) < len(other):
        return one[same:] == other[same + 1 :]
    swapped = one[same + 1 : same + 2] + one[same : same + 1] == other[same : same + 2]
    return one[same + 1 :] == other[same + 1 :] or (swapped and one[same + 2 :] == other[same + 2 :])


def _one_deleted(word: str) -> list[str]:
    return [word[:place] + word[place + 1 :] for place in range(len(word))]
