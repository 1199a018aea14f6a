"""What is promised of: a class, all classes at once, or rare classes together; and what may not be taken at all."""

import numpy as np
import pytest
from numpy.typing import NDArray

from teachback.distill.config import SelectSettings
from teachback.distill.select import certify, select
from teachback.store.label import FINDINGS, STATUSES

PRESENT, ABSENT, SILENT = (STATUSES.index(status) for status in ("present", "absent", "unmentioned"))
CLASS = SelectSettings()
ALL = SelectSettings(promise="all")
POOL = SelectSettings(rare="pool")
NO_CAP = np.ones((13, 4))


def calibration(said: dict[int, int], wrong: dict[int, int] | None = None, status: int = PRESENT) -> tuple:
    """Predictions of .99 for so many reports of each finding, the last ones wrong; nothing else is curated."""
    n = max(said.values())
    probabilities = np.full((n, 13, 4), 0.01 / 3, np.float32)
    codes, truth = np.full((n, 13), SILENT, np.int8), np.full((n, 13), -1, np.int8)
    truth[0, 12] = ABSENT  # so that the curated labels know more than positives
    for f, count in said.items():
        codes[:count, f], truth[:count, f] = status, status
        probabilities[:count, f, status] = 0.99
        if bad := (wrong or {}).get(f, 0):
            truth[count - bad : count, f] = SILENT
    return probabilities, codes, truth


def certified(settings: SelectSettings, *given: NDArray) -> set[int]:
    found = certify(*given[:3], settings, *given[3:])
    return {f for (f, s), certificate in found.items() if certificate.threshold is not None and s == PRESENT}


def test_of_all_classes_at_once_each_needs_more() -> None:
    # Two classes share 5 %: 0.95 ** 72 = .0249 <= .025, 0.95 ** 71 = .0262.
    assert certified(CLASS, *calibration({0: 59, 1: 59})) == {0, 1}
    assert certified(ALL, *calibration({0: 71, 1: 71})) == set()
    assert certified(ALL, *calibration({0: 72, 1: 72})) == {0, 1}


def test_a_class_that_is_alone_shares_with_nobody() -> None:
    assert certified(ALL, *calibration({0: 59, 1: 58})) == {0}


def test_what_is_done_leaves_its_share_to_the_others() -> None:
    """Holm: one error in 100 passes at 5 % (.037) but not at 2.5 %; it passes once the other class is through."""
    assert certified(ALL, *calibration({0: 100}, {0: 1})) == {0}
    assert certified(ALL, *calibration({0: 100, 1: 72}, {0: 1})) == {0, 1}
    assert certified(ALL, *calibration({0: 100, 1: 72}, {0: 1, 1: 20})) == set()


def test_rare_classes_of_a_status_are_certified_together_if_asked() -> None:
    given = calibration({0: 30, 1: 30, 2: 100})
    clusters = np.arange(len(given[1]))
    given[1][:30, 1], given[2][:30, 1] = SILENT, -1  # of other reports than the first finding's
    given[1][40:70, 1], given[2][40:70, 1], given[0][40:70, 1, PRESENT] = PRESENT, PRESENT, 0.98
    assert certified(CLASS, *given, clusters) == {2}
    assert certified(POOL, *given, clusters) == {0, 1, 2}
    found = certify(*given, POOL, clusters)
    rare = found[0, PRESENT]
    assert rare.group == FINDINGS[:2]  # those that have some, but too few
    assert (rare.accepted, rare.errors, rare.candidates, rare.clusters) == (60, 0, 30, 30)
    assert rare.threshold == pytest.approx(0.98)
    assert found[2, PRESENT].group == ()
    assert found[0, ABSENT].threshold is None


def test_in_a_group_a_report_is_one_piece_of_news_too() -> None:
    # The same 30 reports have both findings: 60 predictions, 30 clusters.
    assert certified(POOL, *calibration({0: 30, 1: 30})) == set()
    assert certified(POOL, *calibration({0: 58, 1: 58})) == set()


def test_a_group_answers_for_the_errors_of_all_in_it() -> None:
    # 40 and 40 predictions of different reports, none wrong: certified. Five of the 80 wrong in one: neither is.
    def split(wrong: int) -> tuple:
        probabilities, codes, truth = calibration({0: 80, 1: 80})
        codes[:40, 1], truth[:40, 1] = SILENT, -1
        codes[40:, 0], truth[40:, 0] = SILENT, -1
        truth[80 - wrong :, 1] = SILENT
        return probabilities, codes, truth

    assert certified(POOL, *split(0)) == {0, 1}
    assert certified(POOL, *split(5)) == set()


def test_whether_a_class_is_rare_does_not_depend_on_what_is_right() -> None:
    groups = [
        {key: of.group for key, of in certify(*calibration({0: 50, 1: 70}, {0: bad, 1: bad}), POOL).items()}
        for bad in (0, 50)
    ]
    assert groups[0] == groups[1]


def test_patients_are_counted_where_they_are_known() -> None:
    given = calibration({0: 100})
    assert certified(CLASS, *given) == {0}
    assert certified(CLASS, *given, np.repeat(np.arange(50), 2)) == set()
    assert certify(*given, CLASS, np.repeat(np.arange(50), 2))[0, PRESENT].clusters == 50


def test_a_prediction_that_may_not_be_taken_says_why_and_its_place_goes_to_the_next() -> None:
    # Four reports, the class is capped at 25 %: one. The surest is vetoed, the second surest comes in its place.
    probabilities, codes, _ = calibration({0: 4})
    probabilities[:, 0, PRESENT] = (0.999, 0.995, 0.993, 0.991)
    certificates = certify(*calibration({0: 59}), CLASS)
    vetoes = np.full(codes.shape, "", object)
    vetoes[0, 0] = "refused: somebody objects"
    prior = np.full((13, 4), 0.25)
    selection = select(probabilities, codes, certificates, prior, 100, vetoes=vetoes)
    assert selection.selected[:, 0].tolist() == [False, True, False, False]
    assert selection.reasons[0, 0] == "refused: somebody objects"
    assert selection.reasons[2, 0] == "refused: the class is capped at its share, 1 of 4"
    # What is kept for another round is not even looked at.
    later = select(probabilities, codes, certificates, prior, 100, np.array([False, True, True, True]), vetoes)
    assert later.reasons[0, 0] == "refused: kept for another round"


def test_the_reason_of_what_is_taken_names_the_group() -> None:
    probabilities, codes, truth = calibration({0: 80, 1: 80})
    codes[:40, 1], truth[:40, 1], codes[40:, 0], truth[40:, 0] = SILENT, -1, SILENT, -1
    certificates = certify(probabilities, codes, truth, POOL)
    selection = select(probabilities, codes, certificates, NO_CAP, 1000)
    assert selection.reasons[0, 0] == "certified at 0.990 in a group of 2 rare classes: 0 errors in 80"
