import math
from dataclasses import replace

import numpy as np
import pytest

from teachback.agents.workbench.compare import Comparison
from teachback.agents.workbench.plots import gain_scale, track
from teachback.agents.workbench.words import as_change, as_flips, as_p, as_usd, verdict
from teachback.store.label import FINDINGS
from teachback.store.quality.bootstrap import Estimate
from teachback.store.quality.flips import compare_statuses

PRESENT, ABSENT, UNMENTIONED = 0, 1, 3
EFFUSION = FINDINGS.index("Pleural Effusion")


def statuses(found: int) -> np.ndarray:
    """Codes of 60 reports, of which 40 have an effusion; so many of those are found."""
    codes = np.full((60, len(FINDINGS)), UNMENTIONED, dtype=np.int8)
    codes[:found, EFFUSION] = PRESENT
    codes[40:, EFFUSION] = ABSENT
    return codes


def judged(compared: Comparison, a: int, b: int) -> list[str]:
    flips = compare_statuses(statuses(40), statuses(a), statuses(b), np.arange(60))
    return verdict(replace(compared, flips=flips, paired=60))


def test_verdict_names_what_is_better_with_its_interval(compared: Comparison) -> None:
    # A finds 20 of 40: F1 is 40 / 60. B finds all: 1. The difference is a third.
    told = judged(compared, 20, 40)
    assert told[0].startswith("B is better on Pleural Effusion (+0.333 [")
    assert told[1].startswith("B is better in micro-F1: +0.333 [")
    assert "20 of 780 labels flip, in 20 of 60 reports: 20 to right, 0 to wrong." in told


def test_verdict_names_what_is_worse(compared: Comparison) -> None:
    told = judged(compared, 40, 20)
    assert told[0].startswith("B is worse on Pleural Effusion (-0.333 [")


def test_verdict_admits_that_nothing_is_shown(compared: Comparison) -> None:
    told = judged(compared, 40, 40)
    assert told[0] == "On no finding is B shown to be better or worse."
    assert told[1] == "No difference is shown in micro-F1: +0.000 [+0.000, +0.000]."


def test_what_correction_takes_away_is_only_a_hint(compared: Comparison) -> None:
    # B finds 7 more: mid-p is 2 ** -7 = .008, thirteen times that is .10; the interval leaves zero out all the same.
    told = judged(compared, 33, 40)
    assert told[0] == "On no finding is B shown to be better or worse."
    assert told[1].startswith("A hint, not shown once corrected for 13 findings: Pleural Effusion (+0.")


def test_a_model_that_costs_has_its_price_told(compared: Comparison) -> None:
    dear = {
        side: replace(getattr(compared, side), costs=replace(getattr(compared, side).costs, cost_usd=usd))
        for side, usd in (("a", 0.024), ("b", 0.03))
    }
    # 12 reports: $0.0020 and $0.0025 each.
    assert verdict(replace(compared, **dear))[-1] == "A report costs $0.0020 with A and $0.0025 with B, +25%."


@pytest.mark.parametrize(
    ("estimate", "said"),
    [
        (Estimate(-0.00001, -0.1, 0.1), "+0.000 [-0.100, +0.100]"),
        (Estimate(0.25, math.nan, math.nan), "+0.250"),
        (Estimate(math.nan, math.nan, math.nan), "-"),
    ],
)
def test_differences_are_signed_and_zero_is_not_negative(estimate: Estimate, said: str) -> None:
    assert as_change(estimate) == said


def test_small_figures_are_read_as_they_are() -> None:
    assert [as_p(p) for p in (0.0001, 0.0324, 0.5, 1.0)] == ["<.001", ".032", ".500", "1"]
    assert [as_usd(usd) for usd in (None, 0.0, 0.00012, 0.0123, 12.345)] == [
        "unknown",
        "$0.00",
        "$0.000120",
        "$0.0123",
        "$12.35",
    ]
    kinds = {("present", "absent"): 9, ("absent", "present"): 4, ("uncertain", "absent"): 2}
    assert as_flips(kinds) == ["present->absent 9", "absent->present 4", "uncertain->absent 2"]  # type: ignore[arg-type]
    more = {**kinds, ("absent", "uncertain"): 1, ("present", "uncertain"): 1}
    assert as_flips(more)[-1] == "others 2"  # type: ignore[arg-type]


def test_intervals_keep_within_the_plot() -> None:
    gains = [Estimate(0.1, -0.02, 0.23), Estimate(math.nan, math.nan, math.nan)]
    scale = gain_scale(gains)
    assert scale.reach == pytest.approx(0.25)
    assert scale.ticks == pytest.approx([-0.2, -0.1, 0, 0.1, 0.2])
    assert (scale.percent(-0.25), scale.percent(0), scale.percent(9)) == (0, 50, 100)
    assert "circle" not in track(gains[1], scale, "open")
