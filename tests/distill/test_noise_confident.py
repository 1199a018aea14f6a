"""Confident learning, by hand."""

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from teachback.distill.noise_confident import FEWEST, audit, joint, thresholds


def table(*rows: tuple[int, float, int]) -> tuple[np.ndarray, np.ndarray]:
    """Build labels of two statuses from (given, probability of status 0, how often)."""
    given = np.array([g for g, _, n in rows for _ in range(n)])
    first = np.array([p for _, p, n in rows for _ in range(n)])
    return given, np.stack([first, 1 - first], axis=1)


# Ten labels of status 0, two of which the student finds to be 1; ten of status 1, all of which it believes.
GIVEN, PROBABILITIES = table((0, 0.9, 8), (0, 0.1, 2), (1, 0.2, 10))


def test_a_threshold_is_the_mean_belief_in_labels_of_the_status() -> None:
    # status 0: (8 x .9 + 2 x .1) / 10 = .74; status 1: .8
    assert thresholds(GIVEN, PROBABILITIES) == pytest.approx([0.74, 0.8])


def test_the_joint_counts_labels_that_reach_another_statuss_threshold() -> None:
    # of status 0: 8 reach .74 for 0, 2 reach .8 for 1 (.9); of status 1: all ten reach .8 for 1. Shares of 20:
    assert joint(GIVEN, PROBABILITIES) == pytest.approx(np.array([[8, 2], [0, 10]]) / 20)


def test_as_many_are_suspected_as_the_joint_says_with_the_widest_margin_first() -> None:
    found = audit(GIVEN, PROBABILITIES)
    assert np.flatnonzero(found.suggested >= 0).tolist() == [8, 9]
    assert found.suggested[[8, 9]].tolist() == [1, 1]
    assert found.joint.sum() - np.trace(found.joint) == pytest.approx(2 / 20)


def test_a_rare_status_is_neither_accused_nor_suggested() -> None:
    given, probabilities = table((0, 0.9, 20), (0, 0.0, 2), (1, 0.95, FEWEST - 1))
    assert thresholds(given, probabilities)[1] == np.inf
    assert (audit(given, probabilities).suggested == -1).all()


def test_labels_that_are_all_believed_are_not_suspected() -> None:
    given, probabilities = table((0, 0.9, 10), (1, 0.1, 10))
    estimated = audit(given, probabilities).joint
    assert estimated.sum() == np.trace(estimated)
    assert (audit(given, probabilities).suggested == -1).all()


@drawn(st.lists(st.tuples(st.integers(0, 3), st.lists(st.floats(0.01, 1), min_size=4, max_size=4)), min_size=1))
def test_the_joint_keeps_the_given_statuses_shares(labels: list[tuple[int, list[float]]]) -> None:
    given = np.array([status for status, _ in labels])
    weights = np.array([p for _, p in labels])
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    found = audit(given, probabilities)
    assert found.joint.sum(axis=1) == pytest.approx(np.bincount(given, minlength=4) / len(given))
    suspected = np.flatnonzero(found.suggested >= 0)
    assert (found.suggested[suspected] != given[suspected]).all()
    believed = probabilities[suspected, given[suspected]]
    assert (probabilities[suspected, found.suggested[suspected]] > believed).all()


def test_flipped_labels_are_found() -> None:
    # A student that is right nine times in ten at 80 %, and one label in ten flipped: most suspects are flips.
    draw = np.random.default_rng(0)
    true = draw.integers(0, 4, 4000)
    flipped = draw.random(4000) < 0.1
    given = np.where(flipped, (true + draw.integers(1, 4, 4000)) % 4, true)
    read = np.where(draw.random(4000) < 0.9, true, draw.integers(0, 4, 4000))
    probabilities = np.full((4000, 4), 0.2 / 3)
    probabilities[np.arange(4000), read] = 0.8
    found = audit(given, probabilities)
    suspected = found.suggested >= 0
    assert flipped[suspected].mean() > 0.5
    assert suspected[flipped].mean() > 0.8
