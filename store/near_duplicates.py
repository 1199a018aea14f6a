"""Which texts say nearly the same: MinHash over word 5-shingles, banded, candidates checked exactly.

Broder 1997, doi:10.1109/SEQUEN.1997.666900. Departure: the hashes of all texts are computed as one array, so that
100,000 reports take seconds; texts that share a band are each compared with the first of them only.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

__all__ = ["NEAR_JACCARD", "near_duplicates", "normalise"]

NEAR_JACCARD = 0.8  # of two texts' shingle sets, from here on they count as the same text
SHINGLE_WORDS = 5
BANDS, ROWS = 12, 5  # a pair at Jaccard 0.8 shares a band with probability 1 - (1 - 0.8**5)**12 = 0.992

_CHUNK = 4_000_000  # shingles hashed at once, to bound memory (32 MB an array)
_SCREEN = 0.65  # estimated Jaccard below which a candidate is not worth the exact comparison (standard error 0.05)

# Numbers, dates and de-identification masks (`XXXX`, `___`, `[**...**]`) differ between copies of one text.
_FOLDED = re.compile(r"\[\*\*.*?\*\*\]|\bx{2,}\b|_+|\d+(?:[.,:/-]\d+)*", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+|#")


def normalise(text: str) -> str:
    """Return a text without what differs between copies of it: case, numbers, masks, punctuation, white space."""
    return " ".join(_WORD.findall(_FOLDED.sub("#", text.lower())))


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
    words = [text.split() or [""] for text in texts]
    vocabulary = {word: number for number, word in enumerate(sorted(set(chain.from_iterable(words))), start=1)}
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    flat = np.fromiter((vocabulary[word] for text in words for word in text), np.uint64, int(lengths.sum()))
    flat = np.concatenate([flat, np.zeros(SHINGLE_WORDS, np.uint64)])
    counts = np.maximum(lengths - SHINGLE_WORDS + 1, 1)  # a text shorter than a shingle is one shingle
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    word_starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    within = np.arange(starts[-1]) - np.repeat(starts[:-1], counts)
    positions = np.repeat(word_starts, counts) + within
    left = np.repeat(lengths, counts) - within
    hashes = np.zeros(len(positions), np.uint64)
    for offset in range(SHINGLE_WORDS):
        word = np.where(offset < left, flat[positions + offset], np.uint64(0))
        hashes = _mix(hashes * np.uint64(0x9E3779B97F4A7C15) + word)
    return hashes, starts


def _signatures(shingles: npt.NDArray[np.uint64], starts: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Return each text's least hash under each of the seeded permutations: (N, BANDS * ROWS)."""
    seeds = np.random.default_rng(0).integers(1, 2**63, BANDS * ROWS, dtype=np.uint64)
    signatures = np.empty((len(starts) - 1, len(seeds)), np.uint64)
    first = 0
    while first < len(starts) - 1:
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + _CHUNK, side="right")) - 1)
        chunk = shingles[starts[first] : starts[last]]
        for column, seed in enumerate(seeds):
            signatures[first:last, column] = np.minimum.reduceat(_mix(chunk ^ seed), starts[first:last] - starts[first])
        first = last
    return signatures


def _candidates(signatures: npt.NDArray[np.uint64]) -> set[tuple[int, int]]:
    pairs: set[tuple[int, int]] = set()
    for band in range(BANDS):
        rows = signatures[:, band * ROWS : (band + 1) * ROWS]
        key = np.zeros(len(rows), np.uint64)
        for column in range(ROWS):
            key = _mix(key * np.uint64(0x9E3779B97F4A7C15) + rows[:, column])
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


def _jaccard(a: frozenset[int], b: frozenset[int]) -> float:
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)
