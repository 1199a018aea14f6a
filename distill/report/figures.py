"""A campaign's figures in words: who was judged, how a change reads, and what may be said of the champion.

A change is called better or worse only where its 95 % interval lies on one side of zero; anywhere else it is not shown.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "FEW_POSITIVES",
    "Direction",
    "Subject",
    "as_change",
    "as_figure",
    "direction",
    "list_subjects",
    "promise_kept",
    "wilson",
]

FEW_POSITIVES = 10  # below this, a finding's F1 is marked: one report moves it by several points
_Z = 1.959964  # 97.5 % quantile of the normal distribution

Figure = Mapping[str, float | None]
Direction = Literal["better", "worse", "not shown", "undefined"]
Role = Literal["labeler", "teacher", "champion", "student", "baseline"]


@dataclass(frozen=True, slots=True)
class Subject:
    """One that was judged against the curated labels.

    Attributes:
        name: `rule`, `teacher`, `round 2 feedback`, ...
        role: How it is drawn: the teacher and the champion stand out.
        note: What it is, in a few words.
        gate: Its `Judged.as_dict()` on `gate`; None where it was not judged.
        test: Likewise on `test`.
    """

    name: str
    role: Role
    note: str
    gate: Mapping[str, Any] | None
    test: Mapping[str, Any] | None

    def on(self, split: str) -> Mapping[str, Any] | None:
        """Return its figures on `gate` or `test`."""
        return self.gate if split == "gate" else self.test

    def measure(self, split: str, name: str) -> Figure | None:
        """Return its micro- or macro-F1 on a split."""
        judged = self.on(split)
        return None if judged is None else judged["figures"][name]

    def gain(self, split: str, name: str) -> Figure | None:
        """Return its paired change over the teacher in micro- or macro-F1 on a split."""
        judged = self.on(split)
        return None if judged is None or judged["over_teacher"] is None else judged["over_teacher"][name]


def list_subjects(record: Mapping[str, Any]) -> list[Subject]:
    """Return everyone that was judged: the teacher's labelers, the teacher, the baselines, then the rounds."""
    members = [
        Subject(
            subject["name"],
            "teacher" if subject["kind"] == "teacher" else "labeler",
            "rules, model and adjudicator together" if subject["kind"] == "teacher" else f"{subject['kind']} alone",
            subject.get("gate"),
            subject.get("test"),
        )
        for subject in record["teacher"]["subjects"]
    ]
    order = {"base": 0, "linear": 1, "feedback": 2, "average": 3, "control": 4}

    def place(round_: Mapping[str, Any]) -> tuple[int, int, int]:
        """Baselines first, then round by round; an arm that is not known stands behind those that are."""
        arm = order.get(round_["arm"], len(order))
        return min(arm, 2), round_["round"] if arm >= 2 else 0, arm

    rounds = sorted(record["rounds"], key=place)
    notes = {
        "base": "before any training",
        "linear": "bag of words, same labels",
        "average": "half champion, half the candidate that failed",
        "control": "same steps, nothing fed back",
    }
    return members + [
        Subject(
            round_["name"],
            _role(round_, record["champion"]),
            notes.get(round_["arm"], "learns from the teacher" if round_["round"] == 1 else "with its own labels back"),
            round_["gate"],
            round_["test"],
        )
        for round_ in rounds
    ]


def direction(change: Figure | None) -> Direction:
    """Say what a paired change shows."""
    if change is None or change["value"] is None or change["low"] is None or change["high"] is None:
        return "undefined"
    if change["low"] > 0:
        return "better"
    return "worse" if change["high"] < 0 else "not shown"


def as_figure(figure: Figure | None, digits: int = 3) -> str:
    """Return `0.712 [0.690, 0.733]`; `-` where it is undefined."""
    if figure is None or figure["value"] is None:
        return "-"
    value = f"{figure['value']:.{digits}f}"
    if figure["low"] is None or figure["high"] is None:
        return value
    return f"{value} [{figure['low']:.{digits}f}, {figure['high']:.{digits}f}]"


def as_change(figure: Figure | None, digits: int = 3) -> str:
    """Return `+0.041 [-0.002, +0.084]`; `-` where it is undefined."""
    if figure is None or figure["value"] is None:
        return "-"
    value = f"{figure['value']:+.{digits}f}"
    if figure["low"] is None or figure["high"] is None:
        return value
    return f"{value} [{figure['low']:+.{digits}f}, {figure['high']:+.{digits}f}]"


def wilson(errors: int, n: int) -> dict[str, float | None]:
    """Return a share with its 95 % Wilson interval (Wilson 1927), cells taken as independent."""
    if n == 0:
        return {"value": None, "low": None, "high": None}
    share, z2 = errors / n, _Z**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n**2))
    return {"value": share, "low": max(0.0, middle - half), "high": min(1.0, middle + half)}


def promise_kept(errors: int, n: int, bound: float) -> str:
    """Say whether a realised error keeps a promised bound: `kept`, `broken`, `unsettled` or `unknown`."""
    realised = wilson(errors, n)
    if realised["low"] is None or realised["high"] is None:
        return "unknown"
    if realised["high"] <= bound:
        return "kept"
    return "broken" if realised["low"] > bound else "unsettled"


def _role(round_: Mapping[str, Any], champion: str) -> Role:
    if round_["name"] == champion:
        return "champion"
    stood = round_["arm"] in ("feedback", "average") or round_["decision"] is not None
    return "student" if stood else "baseline"
