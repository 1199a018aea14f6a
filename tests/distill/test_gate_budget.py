from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teachback.distill.gate_budget import spend


@pytest.mark.parametrize(
    ("earlier", "level"),
    [
        ([], 0.04),  # 80 % of .05
        ([True], 0.048),  # its own 80 % of the .01 that is left, and the first look's .04
        ([True, True], 0.0496),  # and 80 % of .002
        ([False], 0.008),  # the .04 is spent
        ([False, True], 0.0096),  # .0016 of its own and the second look's .008
        ([True, False], 0.0016),  # the .048 is spent
    ],
)
def test_levels_by_hand(earlier: list[bool], level: float) -> None:
    look = spend(0.05, 0.8, earlier)
    assert look.level == pytest.approx(level)
    assert (look.number, look.earlier, look.total) == (len(earlier) + 1, tuple(earlier), 0.05)


def test_a_share_of_one_tests_at_the_whole_level_until_a_refusal_and_never_again() -> None:
    assert [spend(0.05, 1.0, earlier).level for earlier in ([], [True], [True, True])] == pytest.approx([0.05] * 3)
    assert [spend(0.05, 1.0, earlier).level for earlier in ([False], [True, False], [False, True])] == [0, 0, 0]


@given(st.floats(0.01, 0.2), st.floats(0.1, 1.0), st.lists(st.booleans(), min_size=1, max_size=8))
def test_looks_at_worse_students_never_sum_to_more_than_the_whole(
    total: float, first: float, worse: list[bool]
) -> None:
    # Until the first mistake a worse student is refused; whatever happens to the better ones, the union bound holds.
    for luck in product([True, False], repeat=len(worse) - sum(worse)):
        verdicts: list[bool] = []
        better, spent = iter(luck), 0.0
        for is_worse in worse:
            level = spend(total, first, verdicts).level
            spent += level if is_worse else 0.0
            verdicts.append(False if is_worse else next(better))
        assert spent <= total * (1 + 1e-9)
