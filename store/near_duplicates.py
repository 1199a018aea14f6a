"""Which texts say nearly the same: MinHash over word 5-shingles, banded, candidates checked exactly.

Broder 1997, doi:10.1109/SEQUEN.1997.666900. Departure: the hashes of all texts are computed as one array, so that
100,000 reports take seconds; texts that share a band are each compared with the first of them only.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain, count

import numpy as np
import numpy.typing as npt

__all__ = ["NEAR_JACCARD", "near_duplicates", "normalise"]

NEAR_JACCARD = 0.8  # of two texts' shingle sets, from here on they count as the same text
SHINGLE_WORDS = 5
BANDS, ROWS = 12, 5  # a pair at Jaccard 0.8 shares a band with probability 1 - (1 - 0.8**5)**12 = 0.992

_CHUNK = 4_000_000  # shingles hashed at once, to bound memory (32 MB an array)
_CHUNK_TEXTS = 10_000  # texts cut into words at once, likewise
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio, as splitmix64 uses it
_SCREEN = 0.65  # estimated Jaccard below which a candidate is not worth the exact comparison (standard error 0.05)

_WORD = re.compile(r"[^\W_]+|_+")


def normalise(text: str) -> str:
    """Return a text without what differs between copies of it: case, numbers, masks, punctuation, white space."""
    normal = " ".join(map(_fold, _WORD.findall(text.lower())))
    while "# #" in normal:
        normal = normal.replace("# #", "#")
    return normal


def near_duplicates(texts: Sequence[str]) -> list[tuple[int, int]]:
    """Find pairs of texts whose shingle sets have a Jaccard similarity of at least `NEAR_JACCARD`.

    Args:
        texts: Normalised texts, each different from the others.

    Returns:
        Pairs of indices into `texts`, the smaller first, sorted.
    """
    if len(texts) < 2:
        return []
    shingles, starts = _shingles(texts)
    signatures = _signatures(shingles, starts)
    pairs = np.array(sorted(_candidates(signatures)), dtype=np.int64).reshape(-1, 2)
    alike = np.zeros(len(pairs))
    for column in range(signatures.shape[1]):
        alike += signatures[pairs[:, 0], column] == signatures[pairs[:, 1], column]
    hopeful = pairs[alike / signatures.shape[1] >= _SCREEN]
    sets: dict[int, frozenset[int]] = {}

    def words_of(index: int) -> frozenset[int]:
        if index not in sets:
            sets[index] = frozenset(shingles[starts[index] : starts[index + 1]].tolist())
        return sets[index]

    return [(a, b) for a, b in hopeful.tolist() if _jaccard(words_of(a), words_of(b)) >= NEAR_JACCARD]


def _shingles(texts: Sequence[str]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Return all texts' shingle hashes, one behind another, and where each text's begin: (S,), (N + 1,)."""
    vocabulary: defaultdict[str, int] = defaultdict(count(1).__next__)
    hashed: list[npt.NDArray[np.uint64]] = []
    counts: list[npt.NDArray[np.int64]] = []
    for first in range(0, len(texts), _CHUNK_TEXTS):
        words = [text.split() or [""] for text in texts[first : first + _CHUNK_TEXTS]]
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        numbers = map(vocabulary.__getitem__, chain.from_iterable(words))
        hashed.append(_roll(np.fromiter(numbers, np.uint64, int(lengths.sum())), lengths))
        counts.append(_shingle_counts(lengths))
    return np.concatenate(hashed), np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)


def _roll(words: npt.NDArray[np.uint64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Hash each window of words: (W,) word numbers of texts with (N,) lengths to (S,) shingle hashes."""
    counts = _shingle_counts(lengths)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    positions = np.repeat(np.cumsum(lengths) - lengths, counts) + within
    left = np.repeat(lengths, counts) - within
    padded = np.concatenate([words, np.zeros(SHINGLE_WORDS, np.uint64)])
    hashes = np.zeros(len(positions), np.uint64)
    for offset in range(SHINGLE_WORDS):
        word = np.where(offset < left, padded[positions + offset], np.uint64(0))
        hashes = _mix(hashes * _GOLDEN + word)
    return hashes


def _shingle_counts(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.maximum(lengths - SHINGLE_WORDS + 1, 1)  # a text shorter than a shingle is one shingle


def _signatures(shingles: npt.NDArray[np.uint64], starts: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Return each text's least hash under each of the seeded permutations: (N, BANDS * ROWS)."""
    seeds = np.random.default_rng(0).integers(2**62, 2**63, BANDS * ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    signatures = np.empty((len(starts) - 1, len(seeds)), np.uint64)
    first = 0
    while first < len(starts) - 1:
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + _CHUNK, side="right")) - 1)
        chunk = shingles[starts[first] : starts[last]]
        begins = starts[first:last] - starts[first]
        for column, seed in enumerate(seeds):  # the shingles are scrambled already: times an odd number permutes them
            signatures[first:last, column] = np.minimum.reduceat(chunk * seed, begins)
        first = last
    return signatures


def _candidates(signatures: npt.NDArray[np.uint64]) -> set[tuple[int, int]]:
    pairs: set[tuple[int, int]] = set()
    for band in range(BANDS):
        rows = signatures[:, band * ROWS : (band + 1) * ROWS]
        key = np.zeros(len(rows), np.uint64)
        for column in range(ROWS):
            key = _mix(key * _GOLDEN + rows[:, column])
        pairs.update(_bucket_pairs(key))
    return pairs


def _bucket_pairs(key: npt.NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    """Yield, for each text, the first text with the same key, where that is another one."""
    order = np.argsort(key, kind="stable")
    leads = np.concatenate([[True], key[order][1:] != key[order][:-1]])
    lead_of = order[leads][np.cumsum(leads) - 1]
    follows = ~leads
    return zip(lead_of[follows].tolist(), order[follows].tolist(), strict=True)


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scramble 64-bit values (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@lru_cache(maxsize=2**18)
def _fold(word: str) -> str:
    """Return the word, or one mark for every number, date and mask: `XXXX`, `___` and `12` differ between copies."""
    return word if word.isalpha() and word.strip("x") else "#"


def _jaccard(a: frozenset[int], b: frozenset[int]) -> float:
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)
