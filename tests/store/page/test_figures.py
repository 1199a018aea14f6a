"""What the pages of findings, rounds and reviewers tell, on a store whose figures are known."""

from collections.abc import Iterator

import pytest
from tests.store.audited_store import NEW, OLD
from tests.store.page import rounds_store

from teachback.store.page import figures
from teachback.store.page.app import _templates
from teachback.store.page.round_figures import fetch_round_figures
from teachback.store.page.sight import Sight
from teachback.store.page.trend import BOTTOM, LEFT, RIGHT, TOP, fetch_charts


@pytest.fixture(scope="module")
def sight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sight]:
    seen = Sight(rounds_store.build(tmp_path_factory.mktemp("rounds") / "labels.duckdb"))
    yield seen
    seen.close()


def test_a_chart_has_a_place_for_each_round_and_a_line_through_those_with_feedback(sight: Sight) -> None:
    gate, test = fetch_charts(sight, "Edema", "f1")
    assert (gate.split, test.split) == ("gate", "test")
    # Three rounds from left to right; the lowest end is .5, so the plane is .5 to 1.
    middle = (LEFT + RIGHT) / 2
    assert gate.ticks == ((LEFT, 1), (middle, 2), (RIGHT, 3))
    assert [figure for _, figure in gate.grid] == [".50", ".75", "1.00"]
    told = {mark.round_id: mark for mark in gate.marks}
    height = BOTTOM - TOP
    assert told["rnd_1"].y == pytest.approx(BOTTOM - 0.2 * height)  # (.6 - .5) / .5
    assert told["rnd_2"].y == pytest.approx(BOTTOM - 0.6 * height)
    assert (told["rnd_2"].top, told["rnd_2"].bottom) == pytest.approx((BOTTOM - 0.8 * height, BOTTOM - 0.4 * height))
    assert (told["rnd_3"].y, told["rnd_3"].top) == (TOP, None)
    assert told["rnd_2"].told == "round 2, feedback: 0.800 [0.700, 0.900], 12 of 40 positive"
    assert len(gate.line.split()) == 3  # the linear student stands beside it
    assert told["rnd_linear"].x > told["rnd_1"].x
    # One round makes no line, and a low figure needs the plane from 0 on.
    assert (test.line, test.grid[0][1], len(test.marks)) == ("", ".00", 1)
    assert fetch_charts(sight, "Fracture", "f1") == []


def test_figures_of_a_round_are_a_line_a_finding(sight: Sight) -> None:
    gate, calibration = fetch_round_figures(sight, "rnd_2")
    assert (gate["split"], calibration["split"]) == ("gate", "calibration")
    assert gate["columns"] == ["F1", "F1 over the teacher's", "ECE, calibrated"]
    values = {
        target: [cell and (cell[0]["value"], cell[1] and cell[1]["value"]) for cell in cells]
        for target, cells in gate["lines"]
    }
    assert values == {
        "all findings": [(0.75, None), None, None],
        "Edema": [(0.8, None), (-0.1, None), (0.3, 0.1)],
    }
    assert [(told, figure["value"]) for told, figure in gate["means"]] == [("macro-F1", 0.7)]
    assert calibration["notes"] == ["the calibration was fitted on these reports"]


def test_reasons_that_differ_in_figures_alone_are_one_line(sight: Sight) -> None:
    page = figures.round_page(sight, "rnd_2")
    assert page is not None
    told = {(row["source"], row["selected"], row["reason"]): row["n"] for row in page["sources"]}
    assert told == {
        ("teacher", True, "taken"): 3,
        ("pseudo", True, "taken"): 2,
        ("pseudo", False, "refused: not certified"): 1,
    }
    assert figures.round_page(sight, "rnd_9") is None


def test_labelers_of_one_name_are_told_apart(sight: Sight) -> None:
    names = [row["name"] for row in figures.labelers(sight)]
    assert "student:tiny round 1 feedback" in names
    # Two prompts of one model are told by the prompt's name and the labeler's id.
    prompted = {f"llm:m {name} {one.labeler_id[4:10]}" for name, one in (("old", OLD), ("new", NEW))}
    assert prompted | {"rule"} <= set(names)
    assert len(names) == len(set(names))


def test_two_reviewers_have_a_kappa_with_its_interval(sight: Sight) -> None:
    # ann and bob both decided Edema of r1 (absent, present) and r2 (present, present): one of two the same, and as
    # much by chance: bob says present twice, ann once, 1/2 x 1. Kappa is (1/2 - 1/2) / (1/2) = 0.
    (pair,) = figures.pairs_of_reviewers(sight, sight.steps())
    assert (pair["first"], pair["second"], pair["n"], pair["equal"]) == ("ann", "bob", 2, 1)
    assert pair["kappa"]["value"] == 0
    assert pair["kappa"]["low"] <= 0 <= pair["kappa"]["high"]
    assert pair["differ"] == [("r1", "findings", "Edema", "absent", "present")]


def test_the_sql_page_is_given_all_errors_of_a_finding(sight: Sight) -> None:
    page = figures.finding_page(sight, "Edema")
    assert "l.target = 'Edema'" in page["all_errors"]
    assert len(sight.rows(page["all_errors"])) == len(page["examples"]) == 4  # there are no more than five of a kind


@pytest.mark.parametrize(
    ("promoted", "reason", "verdict", "why"),
    [
        (True, "promoted over round 1: micro-F1 +0.012", "promoted", "over round 1: micro-F1 +0.012"),
        (False, "rolled back: no gain is shown", "rolled back", "no gain is shown"),
        (False, "not put to the gate: its control arm is better", "not put to the gate", "its control arm is better"),
        (False, "an imported decision", "not promoted", "an imported decision"),
    ],
)
def test_what_was_decided_of_a_round_is_said_before_the_reason(
    promoted: bool, reason: str, verdict: str, why: str
) -> None:
    filters = _templates().filters
    assert filters["verdict"]({"promoted": promoted, "reason": reason}) == verdict
    assert filters["reason"](reason) == why
