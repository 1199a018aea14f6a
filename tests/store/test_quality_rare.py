"""Rare findings, their intervals against scipy's."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teachback.store.label import FINDINGS
from teachback.store.quality.f1 import evaluate_statuses
from teachback.store.quality.rare import rare_findings
from teachback.store.review.intervals import binomial_interval


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 400), st.sampled_from([0.8, 0.95, 0.99]))
def test_intervals_are_those_of_scipy(part: int, rest: int, level: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    if part + rest:
        expected = stats.binomtest(part, part + rest).proportion_ci(level, method="exact")
        found = binomial_interval(part, part + rest, level)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_rare_findings_by_hand() -> None:
    truth, said = (np.full((100, 13), 3, dtype=np.int8) for _ in range(2))
    truth[:3, 0] = said[:3, 0] = 0  # three of three found
    said[3, 0] = 0  # and one claimed
    truth[:60, 1] = 0  # not rare
    rare = rare_findings(evaluate_statuses(truth, said, np.arange(100), n_boot=0))
    assert FINDINGS[1] not in [r.finding for r in rare]
    assert [r.positives for r in rare] == [0] * 11 + [3]
    first, last = rare[0], rare[-1]
    assert (last.finding, last.found, last.claimed) == (FINDINGS[0], 3, 1)
    # 0.025 ** (1 / 3): with three of three found, a recall below it would have found three seldomer than one in forty
    assert (last.recall.value, last.recall.low, last.recall.high) == (1.0, pytest.approx(0.025 ** (1 / 3)), 1.0)
    assert last.precision.value == 0.75
    assert math.isnan(first.recall.value)
    assert first.as_dict()["recall"] == {"value": None, "low": None, "high": None}
