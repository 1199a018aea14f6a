"""The gate's decisions in words: what each condition asked, what was found, and whether it was met."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Condition", "GateView", "gate_view"]

Verdict = Literal["met", "not met", "not asked"]

# What each condition asks, from what it is held against.
_ASKED: dict[str, Callable[[float], str]] = {
    "micro-F1": lambda limit: f"a gain shown: its lower bound at or above {limit:g}",
    "micro-F1 by swapping": lambda limit: f"chance gains as much in {limit:.1%} of draws or fewer",
    "macro-F1": lambda limit: f"not much worse: its lower bound at or above {limit:+.3f}",
    "harm by finding": lambda limit: f"no finding worse beyond chance, at {limit:.0%} over all of them",
    "rates": lambda limit: f"no finding called ever more or less often, at {limit:.0%} over all of them",
    "Brier score": lambda limit: f"probabilities as good: its upper bound at or below {limit:+.4f}",
    "calibration error": lambda limit: f"probabilities as honest: its upper bound at or below {limit:+.4f}",
    "list length": lambda limit: f"disease lists within {limit:.0%} of the usual length",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of the gate.

    Attributes:
        name: Which one.
        asked: What it asks, in words; empty where that is not known.
        found: What came of it, in words.
        verdict: Whether it was met.
    """

    name: str
    asked: str
    found: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class GateView:
    """One decision of the gate.

    Attributes:
        title: The decision in one sentence.
        look: Which look at the gate reports it was, and how sure it had to be; empty where that is not on record.
        conditions: Every condition.
    """

    title: str
    look: str
    conditions: list[Condition]


def gate_view(name: str, decision: Mapping[str, Any]) -> GateView:
    """Put a decision into words.

    Args:
        name: The candidate's.
        decision: `Decision.as_dict()`; conditions and look may be missing from an old one.
    """
    conditions = [_condition(check) for check in decision.get("checks", ())]
    failed = [condition.name for condition in conditions if condition.verdict == "not met"]
    asked = sum(condition.verdict != "not asked" for condition in conditions)
    if decision["promoted"]:
        title = f"Promoted: {name} takes the place of {decision['against']}"
        title += f"; it meets all {asked} conditions." if asked else "."
    else:
        title = f"Rolled back: {decision['against']} stays champion"
        title += f"; {name} fails {len(failed)} of {asked} conditions ({', '.join(failed)})." if failed else "."
    return GateView(title, _look(decision.get("look") or decision.get("alpha")), conditions)


def _condition(check: Mapping[str, Any]) -> Condition:
    asked = _ASKED.get(check["name"])
    verdict: Verdict = "not asked" if check["passed"] is None else "met" if check["passed"] else "not met"
    return Condition(check["name"], asked(check["limit"]) if asked else "", check["words"], verdict)


def _look(look: Mapping[str, Any] | None) -> str:
    if look is None:
        return ""
    earlier = ["promoted" if promoted else "refused" for promoted in look["earlier"]]
    before = f"after {', '.join(earlier)}" if earlier else "the first of the campaign"
    return (
        f"Look {look['number']} at the gate reports ({before}): a worse student may pass by luck with probability "
        f"{look['level']:.3f}, of {look['total']:.2f} for all looks of the campaign together."
    )
