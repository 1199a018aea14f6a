"""The selection benchmark at a small size, and what it counts with."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from selection import Tally, _split
from selection_rounds import SHARES, draw_student, predict, predict_at_the_bound

from teachback.store.label import STATUSES

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "selection.py"


def test_a_tally_counts_rounds_and_classes_over_the_promise() -> None:
    # Of 40 predictions 20 are taken: one wrong is 5 %, which keeps the promise; two are 10 %, which does not.
    taken, mistakes = np.zeros(40, bool), np.zeros(40, bool)
    taken[:20], mistakes[[0, 30]] = True, True
    kept, broken = Tally(), Tally()
    kept.add(taken, mistakes)
    mistakes[1] = True
    broken.add(taken, mistakes)
    broken.add_class(mistakes[:20])  # 2 of 20 may be chance
    broken.add_class(np.ones(20, bool))  # 20 of 20 are not
    broken.add_class(np.zeros(0, bool))  # nothing was taken
    both = (kept + broken).as_dict()
    assert (both["rounds"], both["rounds_over"], both["taken"], both["wrong"]) == (2, 1, 40, 3)
    assert (both["classes"], both["classes_over"], both["classes_surely_over"]) == (2, 2, 1)
    assert (both["realised_error"], both["share_taken"]) == (0.075, 0.5)
    assert both["truly_over_share"] is None


@given(st.lists(st.integers(0, 30), min_size=20, max_size=200), st.integers(0, 5))
def test_splits_are_of_whole_groups_and_of_every_report(groups: list[int], seed: int) -> None:
    codes = np.unique(groups, return_inverse=True)[1]
    parts = _split(codes, np.random.default_rng(seed))
    assert sorted(np.concatenate(parts)) == list(range(len(codes)))
    held = [set(codes[part]) for part in parts]
    assert sum(map(len, held)) == len(set.union(*held))


def test_simulated_reports_have_real_shares_and_a_patients_mistakes_come_together() -> None:
    random = np.random.default_rng(0)
    student = draw_student(random)
    batch = predict(random, student, 20_000)
    found = np.stack([(batch.truth == status).mean(axis=0) for status in range(4)], axis=1)
    np.testing.assert_allclose(found, SHARES, atol=0.02)
    np.testing.assert_allclose(batch.raw.sum(-1), 1.0, atol=1e-5)
    wrong = batch.raw.argmax(-1) != batch.truth
    same = batch.patients[1:] == batch.patients[:-1]
    both = wrong[1:] & wrong[:-1]
    assert both[same].mean() > 2 * both[~same].mean()


def test_at_the_bound_a_students_probabilities_say_nothing() -> None:
    batch = predict_at_the_bound(np.random.default_rng(1), 5_000, 0.052)
    wrong = batch.truth != STATUSES.index("absent")
    assert wrong.mean() == pytest.approx(0.052, abs=0.01)
    sure = batch.raw.max(-1)
    assert wrong[sure > 0.95].mean() == pytest.approx(wrong[sure <= 0.95].mean(), abs=0.01)
    first = np.unique(batch.patients, return_index=True)[1]
    assert (wrong == wrong[first][batch.patients]).all()  # a patient's reports err together


@pytest.mark.slow
def test_a_small_run_keeps_the_promise() -> None:
    command = [sys.executable, str(SCRIPT), "--rounds", "3", "--repeats", "1", "--workers", "1"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, env={"PATH": ""})
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "promised" in ran.stdout
    assert "3 simulated rounds" in ran.stdout
    figures = json.loads(ran.stdout.splitlines()[-1])
    assert "openi" not in figures
    for of in ("simulated", "synthetic"):
        ours, naive = figures[of]["class"], figures[of]["naive, .95"]
        assert ours["rounds_over"] == 0
        assert 0 < ours["realised_error"] < naive["realised_error"]
    assert figures["at_the_bound"]["class"]["judged"] == 3 * 13
