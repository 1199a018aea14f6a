"""How often a split has been looked at: each choice that is made on it makes its figures say less about new reports."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb

from teachback.store.database import Rows

__all__ = ["COMMAND", "FINAL_COMMAND", "Look", "Looks", "look_row", "read_looks"]

COMMAND = "prompts compare"
FINAL_COMMAND = "prompts compare --final"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOOKS = """
    SELECT epoch_us(created_at), command, reports, compared FROM looks WHERE split = ? ORDER BY created_at, look_id
"""


@dataclass(frozen=True, slots=True)
class Look:
    """One comparison that was made on a split.

    Attributes:
        at: When, in UTC.
        command: By which command.
        reports: On how many reports.
        compared: The ids of what was compared.
        names: Their names, where they are prompts.
    """

    at: datetime
    command: str
    reports: int
    compared: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Looks:
    """All comparisons that were made on a split before this one, and this one.

    Attributes:
        split: The split.
        earlier: The ones before, oldest first.
        compared: The ids that this one compares.
    """

    split: str
    earlier: tuple[Look, ...]
    compared: tuple[str, ...]

    @property
    def times(self) -> int:
        """How often the split has been looked at, this time included."""
        return len(self.earlier) + 1

    @property
    def prompts(self) -> int:
        """How many different prompts have been compared on it, this time's included."""
        return len({*self.compared, *(each for look in self.earlier for each in look.compared)})

    def sentence(self) -> str:
        """Say how often, and what follows from it."""
        times = "once" if self.times == 1 else "twice" if self.times == 2 else f"{self.times:,} times"
        counted = f"{self.split} has been looked at {times} by {self.prompts:,} different prompts, this time included"
        if self.split != "test":
            return f"{counted}; the more often, the more its best figure flatters: settle on one prompt, then --final"
        if not self.earlier:
            return f"{counted}: its figures are those to report, as long as nothing is changed after them"
        return f"{counted}; figures of a test that was opened before are no longer those of unseen reports"

    def warning(self) -> str:
        """Say when `test` was opened before, and for which prompts; empty where it was not."""
        if self.split != "test" or not self.earlier:
            return ""
        told = [f"{look.at:%Y-%m-%d %H:%M} UTC for {' and '.join(look.names)}" for look in self.earlier]
        return f"test has been opened before: {'; '.join(told)}"

    def as_dict(self) -> dict[str, Any]:
        """Return the counts, and what was looked at before, as JSON-ready values."""
        return {
            "split": self.split,
            "times": self.times,
            "prompts": self.prompts,
            "earlier": [
                {
                    "at": look.at.isoformat(timespec="seconds"),
                    "command": look.command,
                    "reports": look.reports,
                    "compared": list(look.compared),
                    "names": list(look.names),
                }
                for look in self.earlier
            ],
        }


def read_looks(connection: duckdb.DuckDBPyConnection, split: str, compared: Sequence[str]) -> Looks:
    """Read how often a split has been looked at before these are compared on it.

    Args:
        connection: A store or a snapshot.
        split: The split.
        compared: The ids of what is compared now.
    """
    names = dict(connection.execute("SELECT prompt_id, name FROM prompts").fetchall())
    rows = connection.execute(_LOOKS, [split]).fetchall()
    earlier = [
        Look(
            _EPOCH + timedelta(microseconds=at),
            command,
            reports,
            tuple(ids),
            tuple(names.get(each, each) for each in ids),
        )
        for at, command, reports, ids in rows
    ]
    return Looks(split, tuple(earlier), tuple(compared))


def look_row(looks: Looks, reports: int, run_id: str) -> Rows:
    """Return the row that records this look."""
    row = {
        "look_id": f"look_{uuid.uuid4().hex[:24]}",
        "split": looks.split,
        "command": FINAL_COMMAND if looks.split == "test" else COMMAND,
        "compared": list(looks.compared),
        "reports": reports,
        "run_id": run_id,
    }
    return {"looks": [row]}
