import json

import numpy as np
import pytest

from teachback.store.label import FINDINGS
from teachback.store.quality.calibration import measure_calibration
from teachback.store.quality.tables import evaluation_rows


def cells(column: list[float], finding: int, rest: float = np.nan) -> np.ndarray:
    out = np.full((len(column), len(FINDINGS)), rest)
    out[:, finding] = column
    return out


def test_error_and_brier_of_one_finding_by_hand() -> None:
    # Before: .9 and .9 in one bin, one of them present, off by 1.8 - 1; .2 alone, absent, off by .2. ECE (.8 + .2) / 3.
    # Brier (.01 + .81 + .04) / 3. After: 1, 0, 0 is right every time.
    there = cells([1, 0, 0], 2, 0).astype(bool)
    found = measure_calibration(
        cells([0.9, 0.9, 0.2], 2), cells([1.0, 0.0, 0.0], 2), there, np.ones_like(there), np.arange(3), n_boot=0
    )
    of = found.findings[2]
    assert (of.n, of.positives, found.n_reports) == (3, 1, 3)
    assert of.before.ece.value == pytest.approx(1 / 3, abs=1e-6)
    assert of.before.brier.value == pytest.approx(0.86 / 3, abs=1e-6)
    assert (of.after.ece.value, of.after.brier.value) == (0.0, 0.0)
    assert [(p.confidence, p.right, p.n) for p in of.before.curve] == [(0.2, 0.0, 1), (0.9, 0.5, 2)]
    assert np.isnan(found.findings[0].before.ece.value)  # nobody gave a probability
    assert found.overall.before.brier.value == of.before.brier.value


def test_gaps_of_two_findings_do_not_cancel_within_a_finding_but_may_over_all() -> None:
    # Two findings at .5: one always present, the other never. Each is off by .5; together, half are present: off by 0.
    before = np.full((4, 13), np.nan)
    before[:, :2] = 0.5
    there = np.zeros((4, 13), bool)
    there[:, 0] = True
    found = measure_calibration(before, before, there, np.ones_like(there), np.arange(4), n_boot=0)
    assert [found.findings[f].after.ece.value for f in (0, 1)] == [0.5, 0.5]
    assert found.overall.after.ece.value == 0.0


def test_intervals_follow_patients_and_hold_the_figure() -> None:
    random = np.random.default_rng(0)
    before = random.random((200, 13))
    there = random.random((200, 13)) < before
    known = np.ones_like(there)
    alone, twice = (
        measure_calibration(before, before, there, known, clusters).overall.before.brier
        for clusters in (np.arange(200), np.arange(200) // 20)
    )
    assert alone.low < alone.value < alone.high
    assert alone.value == twice.value
    one = measure_calibration(before, before, there, known, np.zeros(200, int)).overall.before.brier
    assert np.isnan(one.low)  # a single patient shows no spread


def test_rows_name_side_metric_and_finding() -> None:
    before = np.random.default_rng(1).random((30, 13))
    there = before > 0.5
    found = measure_calibration(before, before, there, np.ones_like(there), np.arange(30), n_boot=50)
    rows = evaluation_rows(found, subject="round 1", split="gate", round_id="rnd_1")
    assert {row["metric"] for row in rows} == {"ece_before", "ece_after", "brier_before", "brier_after"}
    assert {row["target"] for row in rows} == {"all", *FINDINGS}
    assert len({row["evaluation_id"] for row in rows}) == len(rows) == 4 * 14
    whole = next(row for row in rows if row["target"] == "all" and row["metric"] == "brier_after")
    assert (whole["n"], whole["split"]) == (30, "gate")
    assert whole["low"] <= whole["value"] <= whole["high"]


def test_as_dict_is_json_without_nan() -> None:
    there = cells([1, 0], 0, 0).astype(bool)
    found = measure_calibration(cells([0.3, 0.4], 0), cells([0.3, 0.4], 0), there, np.ones_like(there), np.arange(2))
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert plain["findings"][5]["before"]["ece"]["value"] is None
    assert plain["findings"][0]["n"] == 2
