"""A comparison in words and figures, the same on the terminal and on the page."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from teachback.agents.workbench.flipped import Outcome
from teachback.store.quality.bootstrap import Estimate
from teachback.store.quality.flips import ALPHA, FindingFlips, Kind

if TYPE_CHECKING:
    from teachback.agents.workbench.compare import Comparison

__all__ = ["METHOD", "OUTCOMES", "as_change", "as_figure", "as_flips", "as_p", "as_usd", "verdict"]

OUTCOMES: Mapping[Outcome, str] = {
    "better": "B is right",
    "worse": "A is right",
    "both right": "both are right",
    "both wrong": "both are wrong",
    "not curated": "not curated",
}
METHOD = (
    "F1 counts uncertain as not positive. Differences are B minus A with 95 % bootstrap intervals by patient. p is "
    "McNemar's mid-p-value, Holm's correction over the 13 findings. A finding is called better or worse where p is at "
    "most .05 and the interval lies on one side of zero."
)


def verdict(comparison: "Comparison") -> list[str]:
    """Say what the comparison shows, and what it does not show, in sentences."""
    flips = comparison.flips
    better, worse = (
        [f"{f.finding} ({as_change(f.gain)})" for f in flips.findings if f.shown == shown]
        for shown in ("better", "worse")
    )
    told = [f"B is {how} on {_listed(named)}." for how, named in (("better", better), ("worse", worse)) if named]
    if not told:
        told = ["On no finding is B shown to be better or worse."]
    hints = [f"{f.finding} ({as_change(f.gain)})" for f in flips.findings if _is_hint(f)]
    if hints:
        told.append(f"A hint, not shown once corrected for 13 findings: {_listed(hints)}.")
    told += [_overall(name, gain) for name, gain in (("micro", flips.gain.micro), ("macro", flips.gain.macro))]
    told.append(
        f"{flips.flipped:,} of {flips.cells:,} labels flip, in {flips.flipped_reports:,} of "
        f"{comparison.paired:,} reports: {flips.test.only_b:,} to right, {flips.test.only_a:,} to wrong."
    )
    price = _price(comparison)
    return [*told, price] if price else told


def as_change(estimate: Estimate) -> str:
    """Return `+0.041 [-0.002, +0.084]`; `-` where it is undefined."""
    if math.isnan(estimate.value):
        return "-"
    value, low, high = (f"{round(end, 3) + 0.0:+.3f}" for end in (estimate.value, estimate.low, estimate.high))
    return value if math.isnan(estimate.low) else f"{value} [{low}, {high}]"


def as_figure(estimate: Estimate) -> str:
    """Return `0.712`; `-` where it is undefined."""
    return "-" if math.isnan(estimate.value) else f"{estimate.value:.3f}"


def as_flips(flips: Mapping[Kind, int], most: int = 3) -> list[str]:
    """Return `present->uncertain 5` for the most frequent kinds of flip, and how many others there are."""
    told = [f"{old}->{new} {count:,}" for (old, new), count in flips.items()]
    others = sum(list(flips.values())[most:])
    return [*told[:most], f"others {others:,}"] if len(told) > most + 1 else told


def as_p(p: float) -> str:
    """Return a p-value as it is read: `<.001`, `.032`, `1`."""
    if p < 0.001:
        return "<.001"
    return "1" if p > 0.9995 else f"{p:.3f}".removeprefix("0")


def as_usd(cost: float | None) -> str:
    """Return a sum of money, with as many digits as it needs."""
    if cost is None:
        return "unknown"
    return f"${cost:,.2f}" if cost >= 1 or cost == 0 else f"${cost:,.4f}" if cost >= 0.001 else f"${cost:,.6f}"


def _is_hint(finding: FindingFlips) -> bool:
    return (
        finding.shown == "not shown" and finding.test.mid_p <= ALPHA and (finding.gain.low > 0 or finding.gain.high < 0)
    )


def _overall(name: str, gain: Estimate) -> str:
    if gain.low > 0:
        return f"B is better in {name}-F1: {as_change(gain)}."
    if gain.high < 0:
        return f"B is worse in {name}-F1: {as_change(gain)}."
    return f"No difference is shown in {name}-F1: {as_change(gain)}."


def _price(comparison: "Comparison") -> str:
    a, b = comparison.a.cost_per_report, comparison.b.cost_per_report
    if a is None or b is None:
        return ""
    if a == b == 0:
        before, after = (side.tokens_per_report() for side in (comparison.a, comparison.b))
        return (
            f"A report takes {sum(before):,.0f} tokens with A and {sum(after):,.0f} with B; neither costs money here."
        )
    change = f", {b / a - 1:+.0%}" if a else ""
    return f"A report costs {as_usd(a)} with A and {as_usd(b)} with B{change}."


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
