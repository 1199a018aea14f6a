"""Krippendorff's alpha, against arithmetic by hand and the reference implementation."""

import math

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from teachback.store.label import FINDINGS
from teachback.store.quality.alpha import krippendorff_alpha
from teachback.store.quality.f1 import Codes

several = st.integers(2, 5).flatmap(
    lambda k: st.integers(1, 8).flatmap(
        lambda n: st.lists(arrays(np.int8, (n, 13), elements=st.integers(-1, 3)), min_size=k, max_size=k)
    )
)


def column(*statuses: int) -> Codes:
    """Codes of one finding; the others have no label."""
    codes = np.full((len(statuses), 13), -1, dtype=np.int8)
    codes[:, 0] = statuses
    return codes


def reference(codes: list[Codes], finding: int | slice) -> float:
    """Alpha by the package krippendorff, which takes no single status."""
    ratings = np.array([np.where(c[:, finding] < 0, np.nan, c[:, finding]).ravel() for c in codes])
    paired = (~np.isnan(ratings)).sum(axis=0) >= 2
    values = ratings[:, paired]
    if len(np.unique(values[~np.isnan(values)])) < 2:
        return math.nan
    return float(krippendorff.alpha(reliability_data=values, level_of_measurement="nominal"))


def test_alpha_by_hand() -> None:
    # cells: (0, 0), (0, 1), (1, 1), and (0, -) that says nothing. n = 6: three 0 and three 1.
    # observed: one cell of two that differ: (4 - 2) / 1 = 2. expected: 36 - 18 = 18. alpha = 1 - 5 * 2 / 18 = 4 / 9
    found = krippendorff_alpha([column(0, 0, 1, 0), column(0, 1, 1, -1)], np.arange(4))
    assert found.overall.value == pytest.approx(4 / 9)
    assert found.findings[0].value == pytest.approx(4 / 9)
    assert math.isnan(found.findings[1].value)
    assert (found.n_labelers, found.n_reports, found.n_cells) == (2, 3, 3)
    assert found.as_dict()["findings"][FINDINGS[1]]["value"] is None


@settings(deadline=None)
@given(several)
def test_alpha_is_that_of_the_reference(codes: list[Codes]) -> None:
    found = krippendorff_alpha(codes, np.arange(len(codes[0])), n_boot=0)
    for finding in range(13):
        expected = reference(codes, finding)
        assert found.findings[finding].value == pytest.approx(expected, nan_ok=True)
    assert found.overall.value == pytest.approx(reference(codes, slice(None)), nan_ok=True)


def test_intervals_come_from_whole_clusters() -> None:
    rng = np.random.default_rng(0)
    one = rng.integers(0, 4, (200, 13)).astype(np.int8)
    other = np.where(rng.random(one.shape) < 0.8, one, rng.integers(0, 4, one.shape)).astype(np.int8)
    alone = krippendorff_alpha([one, other], np.arange(200), n_boot=500)
    # Each report stands twice, in one cluster: as many clusters as before, so nothing is known better.
    twice = krippendorff_alpha(
        [np.repeat(c, 2, axis=0) for c in (one, other)], np.repeat(np.arange(200), 2), n_boot=500
    )
    assert alone.overall.low < alone.overall.value < alone.overall.high
    width = [found.overall.high - found.overall.low for found in (alone, twice)]
    assert width[1] == pytest.approx(width[0], rel=0.15)


def test_one_labeler_is_refused() -> None:
    with pytest.raises(ValueError, match="two labelers"):
        krippendorff_alpha([column(0)], np.arange(1))
