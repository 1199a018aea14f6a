"""McNemar's test of two labelers on the same reports, exactly, and Holm's correction for several tests.

Only the reports on which one labeler is right and the other wrong say anything. If the two are equally good, each such
report falls to either side like a fair coin, so the p-value is a binomial tail (McNemar 1947, doi:10.1007/BF02295996).
The exact test is too careful; its mid-p version holds its level and finds more (Fagerland, Lydersen and Laake 2013,
doi:10.1186/1471-2288-13-91). Reports count as independent here, also those of one patient: where patients have many
reports, the bootstrap by patient beside it is the one to trust.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["McNemar", "holm", "mcnemar"]


@dataclass(frozen=True, slots=True)
class McNemar:
    """The test of two labelers, a and b.

    Attributes:
        only_a: Reports on which a alone is right.
        only_b: Reports on which b alone is right.
        exact: Two-sided exact p-value.
        mid_p: Two-sided mid-p-value; 1 where no report tells the two apart.
    """

    only_a: int
    only_b: int
    exact: float
    mid_p: float


def mcnemar(only_a: int, only_b: int) -> McNemar:
    """Test whether two labelers are right equally often.

    Args:
        only_a: Reports on which a alone is right.
        only_b: Reports on which b alone is right.

    Raises:
        ValueError: A count is negative.
    """
    if only_a < 0 or only_b < 0:
        raise ValueError(f"counts of reports cannot be negative: {only_a}, {only_b}")
    fewer, n = min(only_a, only_b), only_a + only_b
    if n == 0:
        return McNemar(0, 0, 1.0, 1.0)
    # Whole numbers until the last step: Python divides integers of any size to the nearest float.
    ways = [math.comb(n, k) for k in range(fewer + 1)]
    tail, at = sum(ways), ways[-1]
    exact = min(1.0, 2 * tail / 2**n)
    mid_p = (2 * tail - at) / 2**n if only_a != only_b else 1 - at / 2 ** (n + 1)
    return McNemar(only_a, only_b, exact, mid_p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct the p-values of a family of tests, so that any false alarm at all stays below the level.

    The smallest is multiplied by their number, the next by one less, and so on; never below the one before it (Holm
    1979, Scandinavian Journal of Statistics 6, 65-70).

    Args:
        p_values: Of all tests of the family, in any order.

    Returns:
        The corrected p-values, in the same order.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected = [1.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected
