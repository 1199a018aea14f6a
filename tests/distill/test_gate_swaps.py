import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teachback.distill.gate_swaps import F1Sums, compare_by_swapping, f1_of, flip_signs


def sums(champion: list[tuple[int, int]], candidate: list[tuple[int, int]], positives: list[int]) -> F1Sums:
    """One group; a pair is (hits, calls) of a cluster."""
    hits = np.array([[[a[0]], [b[0]]] for a, b in zip(champion, candidate, strict=True)], float)
    called = np.array([[[a[1]], [b[1]]] for a, b in zip(champion, candidate, strict=True)], float)
    return F1Sums(hits, called, np.array(positives, float)[:, None])


def test_p_values_by_hand() -> None:
    # Three reports with a positive each; the candidate finds all, the champion none. F1 1 against 0. Of the 8 ways to
    # swap, one gives as much (none swapped): 1/8. All give as little: p of "worse" is 1.
    tested = compare_by_swapping(sums([(0, 0)] * 3, [(1, 1)] * 3, [1] * 3), swaps=40_000)
    assert tested.gain[0] == 1
    assert tested.better[0] == pytest.approx(1 / 8, abs=0.006)
    assert tested.worse[0] == 1


def test_a_false_alarm_counts_where_there_is_nothing_to_find() -> None:
    # No positives: without a call F1 counts as 1, with calls it is 0.
    assert f1_of(np.array([0.0]), np.array([0.0]), np.array([0.0])) == 1
    tested = compare_by_swapping(sums([(0, 0)] * 4, [(0, 1)] * 4, [0] * 4), swaps=40_000)
    assert tested.gain[0] == -1
    assert tested.worse[0] == pytest.approx(1 / 16, abs=0.005)


def test_no_p_value_is_zero_and_equal_students_have_one() -> None:
    same = compare_by_swapping(sums([(1, 2)] * 5, [(1, 2)] * 5, [1] * 5), swaps=100)
    assert (same.better[0], same.worse[0]) == (1, 1)
    sure = compare_by_swapping(sums([(0, 0)] * 60, [(1, 1)] * 60, [1] * 60), swaps=99)
    assert sure.better[0] == pytest.approx(1 / 100)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_swapped_roles_swap_the_p_values(seed: int) -> None:
    random = np.random.default_rng(seed)
    positives = random.integers(0, 3, 12)
    said = [[(int(random.integers(0, p + 1)), int(p + random.integers(0, 2))) for p in positives] for _ in range(2)]
    one = compare_by_swapping(sums(said[0], said[1], list(positives)), swaps=20_000)
    other = compare_by_swapping(sums(said[1], said[0], list(positives)), swaps=20_000)
    assert one.gain[0] == -other.gain[0]
    assert one.better[0] == pytest.approx(other.worse[0], abs=0.02)


def test_under_the_null_small_p_values_are_rare() -> None:
    # Two students of the same law on 60 reports, 300 times: 5 % of the p-values are at most .05, give or take 2.5 %.
    random = np.random.default_rng(0)
    small = 0
    for draw in range(300):
        hits = random.random((60, 2, 1)) < 0.8
        tested = compare_by_swapping(F1Sums(hits * 1.0, hits * 1.0, np.ones((60, 1))), seed=draw, swaps=400)
        small += bool(tested.better[0] <= 0.05)
    assert small <= 300 * 0.075


def test_findings_are_added_up_to_groups() -> None:
    counts = F1Sums(np.ones((2, 2, 13)), np.full((2, 2, 13), 2.0), np.full((2, 13), 3.0))
    groups = np.zeros((13, 2), bool)
    groups[:, 0], groups[[1, 4, 6], 1] = True, True
    pooled = counts.pooled(groups)
    assert pooled.hits[0, 0].tolist() == [13, 3]
    assert pooled.called[0, 1].tolist() == [26, 6]
    assert pooled.positives[1].tolist() == [39, 9]


def test_signs_are_of_whole_rows() -> None:
    # Columns of a row move together: their sums differ by the same factor in each draw.
    drawn = flip_signs(np.array([[1.0, 10.0], [0.0, 0.0], [2.0, 20.0]]), 0, 50)
    assert set(drawn[:, 0]) == {-3, -1, 1, 3}
    assert (drawn[:, 1] == 10 * drawn[:, 0]).all()
