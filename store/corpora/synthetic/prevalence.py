"""How often each finding is present, uncertain or denied, and which findings come together.

A report draws one clinical scenario, and the scenario shifts the odds of each finding. The intercepts are solved so
that the marginal rates over all scenarios meet the targets, whichever rates are asked for.

Targets. *Present* and *uncertain* follow the label counts published for 227,827 MIMIC-CXR studies labelled with the
CheXpert labeler (Johnson et al. 2019, MIMIC-CXR-JPG, arXiv 1901.07042), rounded; compare CheXpert itself (Irvin et
al. 2019, arXiv 1901.07031, table 1). Departures: very rare uncertain classes are raised to 0.5 to 1 %, so that a
corpus of some thousand reports holds examples of each. *Absent* is far above the published figures, because those
come from the impression alone, where negatives are seldom repeated, and ours from the whole report; the order of the
findings is kept (pneumothorax, effusion, consolidation first).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from teachback.errors import SettingError
from teachback.store.label import FINDINGS

__all__ = ["MAX_RATE", "SCENARIOS", "TARGETS", "Rates", "Target", "check_prevalence", "solve_rates"]

MAX_RATE = 0.9  # highest prevalence that can be asked for; the rest stays for the other statuses


@dataclass(frozen=True, slots=True)
class Target:
    """Share of reports, each in [0, 1], in which a finding has a status."""

    present: float
    uncertain: float
    absent: float


TARGETS: Mapping[str, Target] = {
    "Enlarged Cardiomediastinum": Target(0.033, 0.030, 0.30),
    "Cardiomegaly": Target(0.185, 0.030, 0.45),
    "Lung Lesion": Target(0.035, 0.012, 0.05),
    "Lung Opacity": Target(0.220, 0.020, 0.08),
    "Edema": Target(0.120, 0.050, 0.24),
    "Consolidation": Target(0.050, 0.020, 0.48),
    "Pneumonia": Target(0.072, 0.075, 0.13),
    "Atelectasis": Target(0.200, 0.045, 0.03),
    "Pneumothorax": Target(0.048, 0.010, 0.64),
    "Pleural Effusion": Target(0.230, 0.028, 0.50),
    "Pleural Other": Target(0.015, 0.006, 0.015),
    "Fracture": Target(0.025, 0.008, 0.12),
    "Support Devices": Target(0.275, 0.005, 0.025),
}

_WRITTEN = 0.95  # share of intended denials that are written: impression-only reports leave some out

# Share of each scenario. The normal share yields when asked-for rates leave too little room.
SCENARIOS: Mapping[str, float] = {
    "normal": 0.37,
    "heart_failure": 0.12,
    "pneumonia": 0.11,
    "postoperative": 0.12,
    "trauma": 0.05,
    "cancer": 0.05,
    "copd": 0.06,
    "mixed": 0.12,
}

# Odds of a finding in a scenario, relative to the mixed scenario (1 where not named). Judged, not measured: only the
# direction of each association is textbook; the marginal rates do not depend on them.
_PRESENT_ODDS: Mapping[str, Mapping[str, float]] = {
    "normal": {"Support Devices": 0.12},
    "heart_failure": {
        "Cardiomegaly": 9,
        "Edema": 14,
        "Pleural Effusion": 5,
        "Atelectasis": 1.3,
        "Enlarged Cardiomediastinum": 2,
        "Support Devices": 1.3,
        "Lung Opacity": 0.7,
        "Fracture": 0.4,
    },
    "pneumonia": {
        "Pneumonia": 14,
        "Consolidation": 9,
        "Lung Opacity": 4.5,
        "Pleural Effusion": 1.3,
        "Edema": 0.4,
        "Atelectasis": 0.9,
    },
    "postoperative": {
        "Support Devices": 14,
        "Atelectasis": 4,
        "Pleural Effusion": 2.5,
        "Pneumothorax": 3,
        "Enlarged Cardiomediastinum": 3,
        "Edema": 1.2,
        "Pneumonia": 0.5,
    },
    "trauma": {
        "Fracture": 25,
        "Pneumothorax": 8,
        "Enlarged Cardiomediastinum": 2.5,
        "Support Devices": 1.5,
        "Edema": 0.2,
        "Lung Opacity": 1.2,
    },
    "cancer": {
        "Lung Lesion": 25,
        "Pleural Effusion": 3,
        "Lung Opacity": 1.6,
        "Support Devices": 1.6,
        "Pleural Other": 4,
        "Edema": 0.3,
        "Enlarged Cardiomediastinum": 3,
    },
    "copd": {"Lung Opacity": 1.2, "Pneumothorax": 1.8, "Pleural Other": 3, "Lung Lesion": 2, "Cardiomegaly": 0.5},
    "mixed": {},
}
_UNCERTAIN_ODDS: Mapping[str, Mapping[str, float]] = {
    "heart_failure": {"Edema": 3, "Pneumonia": 1.3, "Pleural Effusion": 2},
    "pneumonia": {"Pneumonia": 3, "Consolidation": 3, "Atelectasis": 1.6},
    "postoperative": {"Atelectasis": 2, "Pneumothorax": 2, "Enlarged Cardiomediastinum": 1.5, "Support Devices": 3},
    "trauma": {"Fracture": 8, "Pneumothorax": 2, "Enlarged Cardiomediastinum": 2},
    "cancer": {"Lung Lesion": 5, "Pneumonia": 1.3, "Pleural Other": 2},
}
_ABSENT_ODDS: Mapping[str, Mapping[str, float]] = {
    "normal": {
        "Pneumothorax": 1.6,
        "Pleural Effusion": 1.6,
        "Consolidation": 1.8,
        "Cardiomegaly": 2,
        "Lung Opacity": 2,
        "Enlarged Cardiomediastinum": 2,
    },
    "heart_failure": {"Pneumonia": 1.5, "Lung Lesion": 0.4},
    "trauma": {"Fracture": 6, "Pneumothorax": 2},
    "postoperative": {"Support Devices": 6, "Pneumothorax": 1.5, "Consolidation": 0.6},
    "cancer": {"Lung Lesion": 4},
}


@dataclass(frozen=True, slots=True)
class Rates:
    """The solved model.

    Attributes:
        scenarios: Scenario to its share.
        statuses: Scenario to one (present, uncertain, absent) triple of probabilities per finding, in FINDINGS' order.
    """

    scenarios: Mapping[str, float]
    statuses: Mapping[str, tuple[tuple[float, float, float], ...]]


def check_prevalence(prevalence: Mapping[str, float] | None) -> dict[str, float]:
    """Return the asked-for rates of *present* as a plain dict.

    Raises:
        SettingError: A finding is unknown or a rate lies outside (0, 0.9].
    """
    asked = dict(prevalence or {})
    for finding, rate in asked.items():
        if finding not in FINDINGS:
            raise SettingError(f"prevalence: unknown finding {finding!r}", f"use one of: {', '.join(FINDINGS)}")
        if not 0 < rate <= MAX_RATE:
            raise SettingError(
                f"prevalence of {finding}: {rate:g} is outside (0, {MAX_RATE:g}]",
                "give a share of reports, such as 0.2",
            )
    return asked


def solve_rates(prevalence: Mapping[str, float] | None = None) -> Rates:
    """Solve the scenario model for the targets, with the asked-for rates of *present* in their place.

    Raises:
        SettingError: A finding is unknown or a rate lies outside (0, 0.9].
    """
    return _solve(tuple(sorted(check_prevalence(prevalence).items())))


@lru_cache(maxsize=32)
def _solve(asked: tuple[tuple[str, float], ...]) -> Rates:
    overrides = dict(asked)
    highest = max((rate for finding, rate in asked if finding != "Support Devices"), default=0.0)
    shares = _scenario_shares(highest)
    columns = [_solve_finding(finding, overrides.get(finding), shares) for finding in FINDINGS]
    return Rates(shares, {name: tuple(column[name] for column in columns) for name in shares})


def _scenario_shares(highest: float) -> dict[str, float]:
    """Shrink the normal share until a finding of the highest rate is at most 85 % of the other reports."""
    normal = min(SCENARIOS["normal"], max(0.0, 1 - highest / 0.85))
    scale = (1 - normal) / (1 - SCENARIOS["normal"])
    return {name: normal if name == "normal" else share * scale for name, share in SCENARIOS.items()}


def _solve_finding(
    finding: str, asked: float | None, shares: Mapping[str, float]
) -> dict[str, tuple[float, float, float]]:
    target = TARGETS[finding]
    present_rate = target.present if asked is None else asked
    room = (1 - present_rate) / (1 - target.present)  # the other statuses keep their proportions
    silent = finding != "Support Devices"
    present = _fit(present_rate, shares, _PRESENT_ODDS, finding, dict.fromkeys(shares, 1.0), normal=not silent)
    left = {name: 1 - present[name] for name in shares}
    uncertain = _fit(target.uncertain * room, shares, _UNCERTAIN_ODDS, finding, left, normal=False)
    left = {name: left[name] - uncertain[name] for name in shares}
    absent = _fit(target.absent / _WRITTEN * room, shares, _ABSENT_ODDS, finding, left, normal=True)
    return {name: (present[name], uncertain[name], absent[name]) for name in shares}


def _fit(
    target: float,
    shares: Mapping[str, float],
    odds: Mapping[str, Mapping[str, float]],
    finding: str,
    left: Mapping[str, float],
    *,
    normal: bool,
) -> dict[str, float]:
    """Find the intercept, by bisection, at which the scenarios' rates average to the target."""

    def rates(intercept: float) -> dict[str, float]:
        fitted = {}
        for name in shares:
            weight = odds.get(name, {}).get(finding, 1.0) * math.exp(intercept)
            fitted[name] = 0.0 if name == "normal" and not normal else left[name] * weight / (1 + weight)
        return fitted

    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        reached = sum(share * rate for share, rate in zip(shares.values(), rates(middle).values(), strict=True))
        low, high = (middle, high) if reached < target else (low, middle)
    return rates((low + high) / 2)
