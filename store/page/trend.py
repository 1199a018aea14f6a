"""F1 over a campaign's rounds, as it was measured when each round ended: where marks, whiskers and lines of charts lie.

One chart a campaign and split, the newest campaign first. Feedback rounds are joined by a line; other arms stand beside
them. The drawing itself is in `parts.html.jinja`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from teachback.store.page.sight import Sight

__all__ = ["ARMS", "Chart", "Mark", "charts", "fetch_charts"]

ARMS = ("feedback", "average", "control", "linear")
MOST_CAMPAIGNS = 3
WIDTH, HEIGHT = 420, 200  # of a chart, in its own units
LEFT, RIGHT, TOP, BOTTOM = 62, 368, 12, 168  # of the plane that is drawn on
APART = 13  # between arms of one round
_FIGURES = """
SELECT r.campaign_id, r."round", r.arm, r.round_id, e.split, e."value", e.low, e.high, e.n, e.positives,
    max(r.created_at) OVER (PARTITION BY r.campaign_id) AS newest
FROM evaluations e JOIN rounds r USING (round_id)
WHERE e.split IN ('gate', 'test') AND e.task = 'findings' AND e.target = ? AND e.metric = ? AND e."value" IS NOT NULL
ORDER BY newest DESC, r.campaign_id, e.split, r."round", r.arm
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """One round's figure.

    Attributes:
        arm: The round's arm.
        round_id: The round.
        x: Where it lies.
        y: Likewise, of the figure.
        top: Of the interval's upper end; None where there is no interval.
        bottom: Of its lower end; likewise.
        told: The figure in words.
    """

    arm: str
    round_id: str
    x: float
    y: float
    top: float | None
    bottom: float | None
    told: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A campaign's figures on a split; `ticks` are places and numbers of rounds, `grid` heights and figures.

    Attributes:
        campaign: The campaign.
        split: The split.
        marks: Its rounds.
        line: The points of the line through the feedback rounds; empty where there is one alone.
        ticks: Places and numbers of the rounds.
        grid: Heights and figures of the lines across.
    """

    campaign: str
    split: str
    marks: tuple[Mark, ...]
    line: str
    ticks: tuple[tuple[float, int], ...]
    grid: tuple[tuple[float, str], ...]


def fetch_charts(sight: Sight, target: str, metric: str) -> list[Chart]:
    """Read the charts of a target's figure; `all` and `micro_f1` are those of all findings together."""
    return charts(sight.rows(_FIGURES, [target, metric]))


def charts(rows: Sequence[dict[str, Any]]) -> list[Chart]:
    """Lay figures out, in the order in which their campaigns and splits come."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["campaign_id"], row["split"]), []).append(row)
    shown = list(dict.fromkeys(campaign for campaign, _ in groups))[:MOST_CAMPAIGNS]
    return [_chart(*named, group) for named, group in groups.items() if named[0] in shown]


def _chart(campaign: str, split: str, rows: Sequence[dict[str, Any]]) -> Chart:
    numbers = sorted({row["round"] for row in rows})
    step = (RIGHT - LEFT) / max(1, len(numbers) - 1)
    places = {number: LEFT + step * place for place, number in enumerate(numbers)}
    lowest = min(row["value"] if row["low"] is None else row["low"] for row in rows)
    floor = 0.5 if lowest >= 0.5 else 0.0
    marks = tuple(_mark(row, places[row["round"]], floor) for row in rows)
    joined = [f"{mark.x:.1f},{mark.y:.1f}" for mark in marks if mark.arm == "feedback"]
    figures = (floor, (floor + 1) / 2, 1.0)
    return Chart(
        campaign,
        split,
        marks,
        " ".join(joined) if len(joined) > 1 else "",
        tuple((place, number) for number, place in places.items()),
        tuple((_height(figure, floor), f"{figure:.2f}".removeprefix("0")) for figure in figures),
    )


def _mark(row: dict[str, Any], place: float, floor: float) -> Mark:
    arm, low, high = row["arm"], row["low"], row["high"]
    beside = APART * (ARMS.index(arm) if arm in ARMS else len(ARMS))
    interval = "" if low is None else f" [{low:.3f}, {high:.3f}]"
    return Mark(
        arm,
        row["round_id"],
        place + beside,
        _height(row["value"], floor),
        None if high is None else _height(high, floor),
        None if low is None else _height(low, floor),
        f"round {row['round']}, {arm}: {row['value']:.3f}{interval}, {row['positives']} of {row['n']} positive",
    )


def _height(figure: float, floor: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * (figure - floor) / (1 - floor)
