import math
from typing import Any

import numpy as np
import pytest

from teachback.agents.aggregate.curated import fetch_truths
from teachback.agents.aggregate.reliability import LEAST_WEIGHT, reliability
from teachback.errors import SettingError
from teachback.store.label import FINDINGS, STATUSES

EDEMA, FRACTURE = FINDINGS.index("Edema"), FINDINGS.index("Fracture")


def test_accuracy_precision_and_recall_by_finding(store: Any) -> None:
    store.add("r1", "r2", "r3", "r4", split="calibration")
    for report_id, true, said in (
        ("r1", "present", "present"),
        ("r2", "present", "absent"),
        ("r3", "absent", "present"),
        ("r4", "absent", "absent"),
    ):
        store.vote(store.curator, report_id, "Edema", true)
        store.vote(store.one, report_id, "Edema", said)
    store.vote(store.curator, "r1", "Fracture", "absent")
    store.vote(store.one, "r1", "Fracture", "absent")
    judged = reliability(store.connection, store.member_ids)
    edema = judged.of(store.one.labeler_id, "Edema")
    assert edema is not None
    assert (edema.n, edema.accuracy, edema.precision, edema.recall) == (4, 0.5, 0.5, 0.5)
    # Overall 3 of 5 are right: (3 + 1) / (5 + 2) = 4/7. Edema: (2 + 20 * 4/7) / 24. Fracture: (1 + 20 * 4/7) / 21.
    assert judged.overall[store.one.labeler_id] == pytest.approx(4 / 7)
    assert edema.shrunk_accuracy == pytest.approx((2 + 80 / 7) / 24)
    fracture = judged.of(store.one.labeler_id, "Fracture")
    assert fracture is not None
    assert (fracture.n, fracture.accuracy, fracture.precision, fracture.recall) == (1, 1.0, None, None)
    assert fracture.shrunk_accuracy == pytest.approx((1 + 80 / 7) / 21)
    assert judged.of(store.one.labeler_id, "Pneumonia") is None
    assert judged.of(store.two.labeler_id, "Edema") is None
    assert judged.overall[store.two.labeler_id] is None


def test_weights_are_log_odds(store: Any) -> None:
    store.add(*(f"r{i}" for i in range(10)), split="calibration")
    for i in range(10):
        store.vote(store.curator, f"r{i}", "Edema", "absent")
        store.vote(store.rule, f"r{i}", "Edema", "absent")
        store.vote(store.one, f"r{i}", "Edema", "present" if i else "absent")
    weights = reliability(store.connection, store.member_ids).weights()
    assert weights is not None
    # Rules: overall 11/12, Edema (10 + 20 * 11/12) / 30 = 17/18; the odds are 17 and 11.
    assert weights[EDEMA, 0] == pytest.approx(math.log(17))
    assert weights[FRACTURE, 0] == pytest.approx(math.log(11))
    # The second is wrong more often than not, and nothing is known of the third: it weighs what the others do.
    assert weights[EDEMA, 1] == LEAST_WEIGHT
    np.testing.assert_allclose(weights[:, 2], weights[:, :2].mean(axis=1))


def test_without_curated_labels_there_are_no_weights(store: Any) -> None:
    store.add("r1", split="calibration")
    store.votes("r1", "Edema", ("present", "present", "absent"))
    assert reliability(store.connection, store.member_ids).weights() is None


def test_only_the_split_asked_for_is_looked_at(store: Any) -> None:
    for split in ("train", "calibration", "gate", "test"):
        store.add(split, split=split)
        store.vote(store.curator, split, "Edema", "present")
        store.vote(store.one, split, "Edema", "present" if split == "calibration" else "absent")
    edema = reliability(store.connection, [store.one.labeler_id]).of(store.one.labeler_id, "Edema")
    assert edema is not None
    assert (edema.n, edema.accuracy) == (1, 1.0)
    for split in ("gate", "test"):
        with pytest.raises(SettingError, match=f"split {split} is kept for judging"):
            reliability(store.connection, store.member_ids, split)


def test_silence_is_not_judged(store: Any) -> None:
    store.add("r1", "r2", split="calibration")
    for report_id, status in (("r1", "present"), ("r2", "unmentioned")):
        store.vote(store.curator, report_id, "Edema", status)
        store.vote(store.rule, report_id, "Edema", "unmentioned", "impression")
        store.vote(store.one, report_id, "Edema", "unmentioned", "full")
    judged = reliability(store.connection, store.member_ids)
    assert judged.of(store.rule.labeler_id, "Edema") is None
    one = judged.of(store.one.labeler_id, "Edema")
    assert one is not None
    assert (one.n, one.accuracy, one.recall) == (2, 0.5, 0.0)


def test_a_curator_that_marks_positives_only_does_not_judge_absent(store: Any) -> None:
    store.add("r1", "r2", "r3", split="calibration")
    for report_id, true, said in (
        ("r1", "present", "present"),
        ("r2", "unmentioned", "absent"),
        ("r3", "unmentioned", "present"),
    ):
        store.vote(store.curator, report_id, "Edema", true)
        store.vote(store.one, report_id, "Edema", said)
    edema = reliability(store.connection, [store.one.labeler_id]).of(store.one.labeler_id, "Edema")
    assert edema is not None
    assert edema.accuracy == pytest.approx(2 / 3)
    # Nor is its silence a truth to hold on to.
    curated = fetch_truths(store.connection)
    assert curated.report_ids == ("r1", "r2", "r3")
    assert curated.truths[:, EDEMA].tolist() == [STATUSES.index("present"), -1, -1]
    store.add("r4", split="calibration")
    store.vote(store.curator, "r4", "Fracture", "absent")  # it does say absent: its silence means silence
    assert fetch_truths(store.connection).truths[1, EDEMA] == STATUSES.index("unmentioned")
