"""How long reviewers take, from what they took so far."""

from dataclasses import dataclass

import duckdb

__all__ = ["ASSUMED_S", "Pace", "fetch_pace"]

ASSUMED_S = 20.0  # a decision, while too few were timed: to find the words and press a key
FEWEST_TIMED = 20  # decisions that tell more than the assumption
PAUSE_S = 300.0  # who looks longer has left the desk


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a review takes.

    Attributes:
        seconds: Mean time of a decision.
        timed: Decisions that it was measured on; 0 where it is assumed.
    """

    seconds: float = ASSUMED_S
    timed: int = 0


def fetch_pace(connection: duckdb.DuckDBPyConnection) -> Pace:
    """Read how long a decision took in this store, pauses cut short; an assumption where few were timed."""
    timed, mean = connection.execute(
        "SELECT count(*), avg(least(seconds, ?)) FROM reviews WHERE \"action\" = 'set' AND seconds > 0", [PAUSE_S]
    ).fetchone() or (0, None)
    return Pace(mean, timed) if timed >= FEWEST_TIMED else Pace()
