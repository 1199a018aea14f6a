import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from teachback.agents.aggregate.dawid_skene import DawidSkene, dawid_skene
from teachback.agents.aggregate.majority import majority

# Four items, labelers A, B, C, two statuses. The majority says:
#   i0 (2/3, 1/3)   i1 (0, 1)   i2 (1, 0)   i3 (1/3, 2/3)
SMALL = np.array([[0, 0, 1], [1, 1, 1], [0, 0, 0], [1, 0, 1]], dtype=np.int8)


def after(iterations: int, smoothing: float = 0, shrinkage: float = 20) -> DawidSkene:
    return DawidSkene(iterations, tolerance=-1, smoothing=smoothing, shrinkage=shrinkage)


def test_the_first_model_is_that_of_the_majority() -> None:
    fit = dawid_skene(SMALL, n_statuses=2, model=after(0))
    np.testing.assert_allclose(fit.posteriors, [[2 / 3, 1 / 3], [0, 1], [1, 0], [1 / 3, 2 / 3]], atol=1e-9)
    # Status 0: 2/3 + 0 + 1 + 1/3 = 2 of 4 items.
    np.testing.assert_allclose(fit.priors, [[1 / 2, 1 / 2]], atol=1e-9)
    # A says 0, 1, 0, 1. Where 0 is true: says 0 on i0 (2/3) and i2 (1), 1 on i3 (1/3); 5/3 and 1/3 of 2.
    np.testing.assert_allclose(fit.confusion[0, 0], [[5 / 6, 1 / 6], [1 / 6, 5 / 6]], atol=1e-9)
    # B says 0, 1, 0, 0. Where 0 is true always 0; where 1 is, 0 on i0 (1/3) and i3 (2/3), 1 on i1 (1).
    np.testing.assert_allclose(fit.confusion[0, 1], [[1, 0], [1 / 2, 1 / 2]], atol=1e-9)
    # C says 1, 1, 0, 1. Where 0 is true: 0 on i2 (1), 1 on i0 (2/3) and i3 (1/3); where 1 is, always 1.
    np.testing.assert_allclose(fit.confusion[0, 2], [[1 / 2, 1 / 2], [0, 1]], atol=1e-9)
    # Right: 1/2 of the time 0 is true and 1/2 it is 1, so A 5/6, B and C (1 + 1/2) / 2.
    np.testing.assert_allclose(fit.accuracies, [5 / 6, 3 / 4, 3 / 4], atol=1e-9)
    assert (fit.iterations, fit.converged) == (0, False)


def test_one_step_worked_by_hand() -> None:
    fit = dawid_skene(SMALL, n_statuses=2, model=after(1))
    # i0 says 0, 0, 1. If 0 is true: 1/2 * 5/6 * 1 * 1/2 = 5/24; if 1 is: 1/2 * 1/6 * 1/2 * 1 = 1/24. So 5/6.
    # i1 cannot be 0 (B never says 1 then), i2 cannot be 1 (C never says 0 then); i3 is i0 with A's vote turned.
    np.testing.assert_allclose(fit.posteriors, [[5 / 6, 1 / 6], [0, 1], [1, 0], [1 / 6, 5 / 6]], atol=1e-9)
    # A where 0 is true: says 0 on i0 (5/6) and i2 (1), 1 on i3 (1/6); 11/6 and 1/6 of 2.
    np.testing.assert_allclose(fit.confusion[0, 0], [[11 / 12, 1 / 12], [1 / 12, 11 / 12]], atol=1e-9)
    assert fit.iterations == 1


def test_posteriors_are_those_of_crowd_kit() -> None:
    # Six items, three labelers, three statuses, one vote missing. The figures are those of crowd-kit 1.4.2:
    # DawidSkene(n_iter=1 and 10, tol=-1e9).fit(votes).probas_
    votes = np.array([[0, 0, 1], [1, 1, 1], [0, 1, -1], [0, 0, 0], [2, 1, 2], [2, 2, 0]], dtype=np.int8)
    first = [
        [0.8243902439, 0.1756097561, 0],
        [0, 1, 0],
        [0.3806306306, 0.6193693693, 0],
        [1, 0, 0],
        [0, 0.1447368421, 0.8552631579],
        [0.0816326531, 0, 0.9183673469],
    ]
    tenth = [
        [0.9999338934, 6.61066e-05, 0],
        [0, 1, 0],
        [0.3113373268, 0.6886626732, 0],
        [1, 0, 0],
        [0, 0, 1],
        [0, 0, 1],
    ]
    np.testing.assert_allclose(dawid_skene(votes, n_statuses=3, model=after(1)).posteriors, first, atol=1e-8)
    fit = dawid_skene(votes, n_statuses=3, model=after(10))
    np.testing.assert_allclose(fit.posteriors, tenth, atol=1e-8)
    np.testing.assert_allclose(fit.priors, [[0.38521187, 0.2814547966, 0.3333333333]], atol=1e-8)
    np.testing.assert_allclose(fit.confusion[0, 1, 0], [0.865296, 0.134704, 0], atol=1e-6)


def test_counts_are_smoothed_by_votes_of_a_decent_labeler() -> None:
    fit = dawid_skene(SMALL, n_statuses=2, model=after(0, smoothing=1))
    # B where 0 is true: 2 votes of 0, and 0.8 and 0.2 added: 2.8/3 and 0.2/3.
    np.testing.assert_allclose(fit.confusion[0, 1, 0], [2.8 / 3, 0.2 / 3], atol=1e-9)
    np.testing.assert_allclose(fit.priors, [[2.5 / 5, 2.5 / 5]], atol=1e-9)


def test_a_rare_group_leans_on_the_others() -> None:
    # The four items in group 0, and one more item (0, 0, 0) in group 1.
    votes, groups = np.vstack([SMALL, [[0, 0, 0]]]).astype(np.int8), np.array([0, 0, 0, 0, 1])
    pooled = dawid_skene(votes, n_statuses=2, model=after(0))
    fit = dawid_skene(votes, n_statuses=2, groups=groups, model=after(0, shrinkage=20))
    # Nothing of group 1 is of status 1: its row is the pooled one.
    np.testing.assert_allclose(fit.confusion[1, :, 1], pooled.confusion[0, :, 1], atol=1e-9)
    # A where 0 is true, all together: 8/3 votes of 0 and 1/3 of 1, 8/9 and 1/9.
    # Group 0: (5/3 + 20 * 8/9) / 22. Group 1: (1 + 20 * 8/9) / 21.
    np.testing.assert_allclose(fit.confusion[0, 0, 0, 0], (5 / 3 + 160 / 9) / 22, atol=1e-9)
    np.testing.assert_allclose(fit.confusion[1, 0, 0, 0], (1 + 160 / 9) / 21, atol=1e-9)
    # Priors of 0, all together 3/5. Group 0: (2 + 12) / 24; group 1: (1 + 12) / 21.
    np.testing.assert_allclose(fit.priors[:, 0], [14 / 24, 13 / 21], atol=1e-9)


def test_groups_that_have_enough_votes_are_fitted_apart() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (2, 3000))
    # The third labeler turns everything round in group 1 only.
    groups = np.repeat([0, 1], 3000)
    right = rng.random((6000, 3)) < 0.9
    right[3000:, 2] = rng.random(3000) < 0.1
    votes = np.where(right, truth.reshape(-1, 1), 1 - truth.reshape(-1, 1)).astype(np.int8)
    fit = dawid_skene(votes, n_statuses=2, groups=groups)
    assert fit.converged
    np.testing.assert_allclose(fit.confusion[0, 2, 0, 0], 0.9, atol=0.03)
    np.testing.assert_allclose(fit.confusion[1, 2, 0, 0], 0.1, atol=0.03)


def test_known_truths_are_held_fast_and_teach_the_model() -> None:
    known = np.array([1, -1, -1, -1], dtype=np.int8)
    fit = dawid_skene(SMALL, n_statuses=2, known=known, model=after(0))
    np.testing.assert_array_equal(fit.posteriors[0], [0, 1])
    # A where 1 is true: says 0 on i0 (now 1), 1 on i1 (1) and i3 (2/3): 3/8 and 5/8.
    np.testing.assert_allclose(fit.confusion[0, 0, 1], [3 / 8, 5 / 8], atol=1e-9)
    np.testing.assert_array_equal(dawid_skene(SMALL, n_statuses=2, known=known).posteriors[0], [0, 1])


def test_no_items_and_items_without_votes() -> None:
    empty = dawid_skene(np.empty((0, 3), dtype=np.int8))
    assert empty.posteriors.shape == (0, 4)
    votes = np.vstack([SMALL, [[-1, -1, -1]]]).astype(np.int8)
    fit = dawid_skene(votes, n_statuses=2)
    np.testing.assert_allclose(fit.posteriors[4], fit.priors[0], atol=1e-5)  # nothing but the priors tells of it


@settings(max_examples=50)
@given(
    arrays(np.int8, st.tuples(st.integers(1, 25), st.integers(2, 4)), elements=st.integers(-1, 3)),
    st.integers(0, 2),
    st.integers(0, 9),
)
def test_order_changes_nothing(votes: np.ndarray, n_groups: int, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(votes))
    groups = np.arange(len(votes)) % (n_groups + 1)
    fit = dawid_skene(votes, groups=groups)
    np.testing.assert_allclose(fit.posteriors.sum(axis=1), 1.0)
    shuffled = dawid_skene(votes[order], groups=groups[order])
    np.testing.assert_allclose(shuffled.posteriors, fit.posteriors[order], atol=1e-6)


@pytest.mark.parametrize("accuracy", [0.3, 0.5])
def test_a_bad_labeler_is_found_out_and_costs_less_than_in_a_majority(accuracy: float) -> None:
    rng = np.random.default_rng(1)
    truth = rng.choice(4, p=[0.15, 0.4, 0.05, 0.4], size=4000)
    right = rng.random((4000, 3)) < [0.92, 0.9, accuracy]
    votes = np.where(right, truth[:, None], rng.integers(0, 4, (4000, 3))).astype(np.int8)
    fit = dawid_skene(votes)
    assert fit.accuracies.argmin() == 2
    hits = (fit.posteriors.argmax(axis=1) == truth).mean()
    assert hits >= (majority(votes).codes == truth).mean()
