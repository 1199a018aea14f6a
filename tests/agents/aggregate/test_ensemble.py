"""Whether voting is worth it: labelers that lean to recall, and labelers of which one is bad."""

import numpy as np
import pytest

from teachback.agents.aggregate.dawid_skene import DawidSkene, dawid_skene
from teachback.agents.aggregate.majority import majority
from teachback.store.label import STATUSES

PRESENT, ABSENT = STATUSES.index("present"), STATUSES.index("absent")
PREVALENCE, RECALL, PRECISION = 0.15, 0.97, 0.6
# Precision p = r * q / (r * q + f * (1 - q)), so the false positive rate f is r * q * (1/p - 1) / (1 - q) = 0.114.
FALSE_POSITIVES = RECALL * PREVALENCE * (1 / PRECISION - 1) / (1 - PREVALENCE)


def f1_of_present(codes: np.ndarray, truth: np.ndarray) -> float:
    called, true = codes == PRESENT, truth == PRESENT
    return float(2 * (called & true).sum() / (called.sum() + true.sum()))


def recall_leaning(seed: int, n: int = 5000, n_labelers: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Votes and truth; the labelers err independently of each other."""
    rng = np.random.default_rng(seed)
    truth = np.where(rng.random(n) < PREVALENCE, PRESENT, ABSENT)
    chance = np.where(truth == PRESENT, RECALL, FALSE_POSITIVES)
    votes = np.where(rng.random((n, n_labelers)) < chance[:, None], PRESENT, ABSENT)
    return votes.astype(np.int8), truth


@pytest.mark.parametrize("seed", range(3))
def test_independent_false_positives_cancel(seed: int) -> None:
    votes, truth = recall_leaning(seed)
    singly = [f1_of_present(codes, truth) for codes in votes.T]
    together = majority(votes).codes
    # One alone: F1 = 2 * 0.6 * 0.97 / 1.57 = 0.741. Three of five: a false positive in 10 * f^3 * (1-f)^2 + ... = 1.2 %
    # of the negatives, a miss in 0.03 % of the positives, so precision 0.15 / (0.15 + 0.85 * 0.012) = 0.93, F1 0.965.
    assert max(singly) < 0.77
    assert f1_of_present(together, truth) == pytest.approx(0.965, abs=0.015)
    assert (together[truth == PRESENT] == PRESENT).mean() >= 0.99
    learnt = dawid_skene(votes).posteriors.argmax(axis=1)
    assert f1_of_present(learnt, truth) >= f1_of_present(together, truth) - 0.01


@pytest.mark.parametrize("seed", range(3))
def test_a_bad_labeler_costs_dawid_skene_no_more_than_a_majority(seed: int) -> None:
    votes, truth = recall_leaning(seed)
    # The last two say anything: as often `present` where it is not as where it is.
    votes[:, 3:] = np.where(np.random.default_rng(seed).random((len(votes), 2)) < 0.5, PRESENT, ABSENT)
    fit = dawid_skene(votes)
    learnt, counted = fit.posteriors.argmax(axis=1), majority(votes).codes
    assert f1_of_present(learnt, truth) > f1_of_present(counted, truth) + 0.05
    assert set(np.argsort(fit.accuracies)[:2].tolist()) == {3, 4}


def test_findings_that_lean_on_each_other_beat_findings_alone_and_a_majority() -> None:
    right: dict[str, list[float]] = {"alone": [], "leaning": [], "majority": []}
    for seed in range(10):
        rng = np.random.default_rng(seed)
        prevalence = rng.dirichlet([1, 3, 0.15, 4], size=13)  # of each finding; `uncertain` is rare in most
        groups = np.repeat(np.arange(13), 200)
        truth = np.concatenate([rng.choice(4, p=shares, size=200) for shares in prevalence])
        hits = rng.random((len(truth), 3)) < [0.9, 0.92, 0.85]
        votes = np.where(hits, truth[:, None], rng.integers(0, 4, hits.shape)).astype(np.int8)
        right["majority"].append((majority(votes).codes == truth).mean())
        for name, shrinkage in (("alone", 0.0), ("leaning", 20.0)):
            fit = dawid_skene(votes, groups=groups, model=DawidSkene(shrinkage=shrinkage))
            right[name].append((fit.posteriors.argmax(axis=1) == truth).mean())
    alone, leaning, counted = (float(np.mean(right[name])) for name in ("alone", "leaning", "majority"))
    assert leaning > counted + 0.003
    assert counted > alone + 0.005
