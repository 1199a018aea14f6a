import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from teachback.agents.aggregate.majority import majority
from teachback.agents.aggregate.patterns import collapse
from teachback.store.label import STATUSES

PRESENT, ABSENT, UNCERTAIN, UNMENTIONED = range(len(STATUSES))
VOTES = arrays(np.int8, st.tuples(st.integers(0, 30), st.integers(1, 4)), elements=st.integers(-1, 3))


def codes(*rows: tuple[int, ...]) -> np.ndarray:
    return np.array(rows, dtype=np.int8)


def test_the_status_with_most_votes_wins_and_its_share_is_its_confidence() -> None:
    found = majority(codes((PRESENT, ABSENT, PRESENT), (ABSENT, ABSENT, -1)))
    assert found.codes.tolist() == [PRESENT, ABSENT]
    np.testing.assert_allclose(found.posteriors, [[2 / 3, 1 / 3, 0, 0], [0, 1, 0, 0]])


def test_the_later_labeler_breaks_a_tie() -> None:
    found = majority(codes((PRESENT, ABSENT, -1), (ABSENT, PRESENT, UNCERTAIN), (ABSENT, -1, PRESENT)))
    assert found.codes.tolist() == [ABSENT, UNCERTAIN, PRESENT]


def test_a_tie_goes_to_a_status_that_is_in_it() -> None:
    # Two for present, two for absent; the last labeler stands alone with uncertain.
    found = majority(codes((ABSENT, PRESENT, PRESENT, ABSENT, UNCERTAIN)))
    assert found.codes.tolist() == [ABSENT]


def test_weights_can_outvote_a_majority() -> None:
    # 3 against 1 + 1: the first labeler wins with 3/5. With 1.9 it loses.
    votes = codes((PRESENT, ABSENT, ABSENT))
    heavy = majority(votes, weights=np.array([3.0, 1.0, 1.0]))
    assert heavy.codes.tolist() == [PRESENT]
    np.testing.assert_allclose(heavy.posteriors[0, PRESENT], 3 / 5)
    assert majority(votes, weights=np.array([1.9, 1.0, 1.0])).codes.tolist() == [ABSENT]


def test_weights_may_differ_by_group() -> None:
    votes = codes((PRESENT, ABSENT, ABSENT), (PRESENT, ABSENT, ABSENT))
    weights = np.array([[1.0, 1.0, 1.0], [3.0, 1.0, 1.0]])
    assert majority(votes, weights=weights, groups=np.array([0, 1])).codes.tolist() == [ABSENT, PRESENT]


def test_sums_that_differ_only_by_rounding_tie() -> None:
    # 0.1 + 0.2 is 0.30000000000000004 in floating point: it must not beat 0.3.
    found = majority(codes((PRESENT, PRESENT, ABSENT)), weights=np.array([0.1, 0.2, 0.3]))
    assert found.codes.tolist() == [ABSENT]


def test_nobody_voted() -> None:
    found = majority(codes((-1, -1)))
    assert found.codes.tolist() == [-1]
    np.testing.assert_allclose(found.posteriors, 1 / 4)
    assert majority(np.empty((0, 3), dtype=np.int8)).posteriors.shape == (0, 4)


@given(VOTES)
def test_the_winner_has_the_largest_share_and_somebodys_vote(votes: np.ndarray) -> None:
    found = majority(votes)
    voted = (votes >= 0).any(axis=1)
    np.testing.assert_allclose(found.posteriors.sum(axis=1), 1.0)
    assert ((found.codes >= 0) == voted).all()
    shares = found.posteriors[np.arange(len(votes)), found.codes]
    np.testing.assert_allclose(shares[voted], found.posteriors.max(axis=1)[voted])
    assert (votes == found.codes[:, None]).any(axis=1).all()


@given(VOTES, st.integers(0, 3))
def test_patterns_give_every_item_back(votes: np.ndarray, n_groups: int) -> None:
    groups = np.arange(len(votes)) % (n_groups + 1)
    found = collapse(votes, 4, groups)
    assert (found.codes[found.index] == votes).all()
    assert (found.groups[found.index] == groups).all()
    assert (np.diff(found.groups) >= 0).all()
    assert found.weights.sum() == len(votes)
    assert len({(g, *row) for g, row in zip(found.groups, map(tuple, found.codes), strict=True)}) == len(found.codes)


@pytest.mark.parametrize("n_voters", [12, 60])  # more numbers than are counted, and more than 64 bits hold
def test_patterns_of_many_labelers(n_voters: int) -> None:
    rng = np.random.default_rng(0)
    votes = rng.integers(-1, 4, (40, n_voters)).astype(np.int8)[rng.integers(0, 40, 200)]
    found = collapse(votes, 4, np.arange(200) % 3)
    assert (found.codes[found.index] == votes).all()
    assert len(found.codes) == len({(i % 3, *row) for i, row in enumerate(map(tuple, votes))})
