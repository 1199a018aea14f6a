"""What calibration did, finding by finding: on reports that it was not fitted on where there are any."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from teachback.distill.report.figures import FEW_POSITIVES, Figure
from teachback.distill.report.plots import reliability_plot, small_reliability

__all__ = ["Calibrated", "CalibratedFinding", "CalibratedRound", "calibrated"]

HELD_OUT = ("test", "gate")  # the calibration was not fitted on these; the first that there is, is shown


@dataclass(frozen=True, slots=True)
class CalibratedFinding:
    """One finding of the champion.

    Attributes:
        finding: The finding.
        method: `temperature` or `isotonic`.
        n: Curated labels.
        positives: Those that are present.
        few: Whether these are too few to lean on.
        before: ECE and Brier score as the student gave its probabilities.
        after: The same, calibrated.
        plot: Its reliability, before and after.
    """

    finding: str
    method: str
    n: int
    positives: int
    few: bool
    before: Mapping[str, Figure]
    after: Mapping[str, Figure]
    plot: Markup


@dataclass(frozen=True, slots=True)
class CalibratedRound:
    """One round, all findings together.

    Attributes:
        name: The round.
        is_champion: Whether it is the champion.
        splits: (split, before, after) with ECE and Brier score of each.
    """

    name: str
    is_champion: bool
    splits: list[tuple[str, Mapping[str, Figure], Mapping[str, Figure]]]


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The calibration section.

    Attributes:
        split: The split that plots and findings are of.
        plot: The champion's reliability over all findings.
        findings: The champion's findings.
        rounds: Every round.
        isotonic: How many of the champion's findings have an isotonic curve.
    """

    split: str
    plot: Markup
    findings: list[CalibratedFinding]
    rounds: list[CalibratedRound]
    isotonic: int


def calibrated(record: Mapping[str, Any]) -> Calibrated | None:
    """Read a record's calibration; None where it is an old one that does not tell, or the champion is not in it."""
    champion = next((r for r in record["rounds"] if r["name"] == record["champion"]), None)
    measured = champion["reliability"].get("splits") if champion else None
    split = next((name for name in HELD_OUT if measured and name in measured), None)
    if champion is None or not measured or split is None:
        return None
    methods = champion["reliability"]["methods"]
    overall = measured[split]["overall"]
    return Calibrated(
        split,
        reliability_plot(_plain(overall["before"]), _plain(overall["after"]), "share that is present"),
        [_finding(of, method) for of, method in zip(measured[split]["findings"], methods, strict=True)],
        [_round(r, record["champion"]) for r in record["rounds"] if r["reliability"].get("splits")],
        sum(method == "isotonic" for method in methods),
    )


def _finding(of: Mapping[str, Any], method: str) -> CalibratedFinding:
    before, after = of["before"], of["after"]
    few = of["positives"] < FEW_POSITIVES
    plot = small_reliability(_plain(before), _plain(after), of["finding"])
    return CalibratedFinding(of["finding"], method, of["n"], of["positives"], few, before, after, plot)


def _round(round_: Mapping[str, Any], champion: str) -> CalibratedRound:
    splits = round_["reliability"]["splits"]
    shown = [name for name in ("calibration", "gate", "test") if name in splits]
    return CalibratedRound(
        round_["name"],
        round_["name"] == champion,
        [(name, splits[name]["overall"]["before"], splits[name]["overall"]["after"]) for name in shown],
    )


def _plain(side: Mapping[str, Any]) -> dict[str, Any]:
    return {"ece": side["ece"]["value"], "curve": side["curve"]}
