"""How labels move from round to round."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.judged_store import judged_store

from teachback.errors import StoreError
from teachback.store.database import Store, open_snapshot
from teachback.store.quality.drift import fetch_drift, jensen_shannon, measure_drift

counts = st.lists(st.integers(0, 50), min_size=4, max_size=4)


def test_drift_by_hand() -> None:
    before, now = (np.full((4, 13), -1, dtype=np.int8) for _ in range(2))
    before[:, 0] = [0, 0, 1, 3]
    now[:, 0] = [0, 1, 0, 0]
    found = measure_drift(before, now, np.arange(4), n_boot=200)
    edema = found[0]
    # present: 2 of 4, then 3 of 4; three statuses changed. Distributions (2, 1, 0, 1) / 4 and (3, 1, 0, 0) / 4
    assert (edema.n, edema.before, edema.now, edema.change.value, edema.changed.value) == (4, 0.5, 0.75, 0.25, 0.75)
    # middle: (5, 2, 0, 1) / 8
    p = 0.5 * math.log2(0.5 / 0.625) + 0.25 * math.log2(0.25 / 0.25) + 0.25 * math.log2(0.25 / 0.125)
    q = 0.75 * math.log2(0.75 / 0.625) + 0.25 * math.log2(0.25 / 0.25)
    assert edema.divergence == pytest.approx((p + q) / 2)
    assert edema.change.low <= 0.25 <= edema.change.high
    assert math.isnan(found[1].change.value)
    assert math.isnan(found[1].divergence)
    assert found[-1].as_dict() == edema.as_dict() | {"finding": "all"}


@settings(deadline=None)
@given(counts, counts)
def test_divergence_is_that_of_scipy(p: list[int], q: list[int]) -> None:
    distance = pytest.importorskip("scipy.spatial.distance")
    if sum(p) and sum(q):
        expected = distance.jensenshannon(p, q, base=2) ** 2
        assert jensen_shannon(np.array(p), np.array(q)) == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_each_round_is_compared_with_the_one_before(tmp_path: Path) -> None:
    connection, _ = open_snapshot(judged_store(tmp_path))
    with connection:
        drifts = fetch_drift(connection, n_boot=20)
        assert [(d.round, d.arm, d.before, d.n_reports) for d in drifts] == [(2, "feedback", "round 1", 60)]
        assert drifts[0].overall.n == 60 * 13
        gate = fetch_drift(connection, split="gate", n_boot=0)
        assert gate[0].n_reports == 30


def test_without_rounds_it_says_what_makes_them(tmp_path: Path) -> None:
    with Store(tmp_path / "s.duckdb") as store, pytest.raises(StoreError, match="distill"):
        fetch_drift(store.connection)
