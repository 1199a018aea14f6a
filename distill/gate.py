"""Step 7, promote or roll back: a candidate takes the champion's place only if it is shown to be better.

A gain in micro-F1 must be shown at the level that the campaign's error budget leaves for this look (`gate_budget`);
macro-F1 must not be much worse, no finding harmed (`gate_checks`); neither rates nor probabilities nor the length of
disease lists may drift (`gate_drift`). A candidate that is merely not proven better stays out: the champion is known,
and a round costs less than a worse student in use.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teachback.distill.config import GateSettings
from teachback.distill.gate_budget import Look, spend
from teachback.distill.gate_checks import Check, GateReports, check_f1, resample, skipped
from teachback.distill.gate_drift import ListLengths, calibration_counts, check_calibration, check_lists, check_rates
from teachback.store.label import STATUSES
from teachback.store.quality.f1 import PairedReport, paired_difference

__all__ = ["Decision", "ListLengths", "align_present", "decide"]

_DEFAULT = GateSettings()
_PRESENT = STATUSES.index("present")


@dataclass(frozen=True, slots=True)
class Decision:
    """The gate's verdict on a candidate.

    Attributes:
        promoted: Whether it becomes the champion.
        reason: Why, in words.
        change: The paired change of its figures over the champion's.
        against: Name of the champion that it was compared with.
        checks: Every condition with what came of it, those that were not asked among them.
        alpha: Which look at the gate this was, and its level.
    """

    promoted: bool
    reason: str
    change: PairedReport
    against: str
    checks: tuple[Check, ...]
    alpha: Look

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as plain values."""
        return {
            "promoted": self.promoted,
            "reason": self.reason,
            "against": self.against,
            "change": self.change.as_dict(),
            "checks": [check.as_dict() for check in self.checks],
            "alpha": self.alpha.as_dict(),
        }


def decide(
    truth: NDArray[np.int8],
    champion: NDArray[np.int8],
    candidate: NDArray[np.int8],
    clusters: NDArray[Any],
    against: str,
    *,
    seed: int = 0,
    settings: GateSettings = _DEFAULT,
    earlier: Sequence[bool] = (),
    probabilities: tuple[NDArray[Any], NDArray[Any]] | None = None,
    lists: ListLengths | None = None,
) -> Decision:
    """Judge a candidate on the gate split.

    Args:
        truth: (N, 13) curated status codes.
        champion: (N, 13) the champion's.
        candidate: (N, 13) the candidate's.
        clusters: (N,) which reports belong together.
        against: The champion's name, for the record.
        seed: Of bootstrap and swaps.
        settings: Levels, margins and limits.
        earlier: Verdicts of the campaign's looks before this one; they share its error budget.
        probabilities: (N, 13) calibrated probabilities of `present`, the champion's and the candidate's; NaN where
            there is none. Calibration is not asked without.
        lists: Lengths of the disease lists; not asked without.
    """
    look = spend(settings.alpha, settings.first_share, earlier)
    curated = (truth >= 0).any(axis=1)
    reports = GateReports.read(truth[curated], champion[curated], candidate[curated], clusters[curated])
    parts = [reports.counts()]
    if probabilities is not None:
        before, after = (p[curated] for p in probabilities)
        parts.append(calibration_counts(reports, before, after))
    of_f1, *of_calibration = resample(parts, seed)
    checks = [*check_f1(reports, of_f1, settings, look, seed=seed), check_rates(reports, settings, seed=seed)]
    if of_calibration:
        checks += check_calibration(parts[1], of_calibration[0], settings)
    else:
        checks.append(skipped("calibration", settings.brier_margin, "no probabilities were given"))
    if lists is None:
        checks.append(skipped("list length", settings.list_band, "no disease lists were given"))
    else:
        checks.append(check_lists(lists, settings))
    change = paired_difference(truth, champion, candidate, clusters, seed=seed)
    failed = [check.words for check in checks if check.passed is False]
    return Decision(not failed, _reason(failed, change, against, look), change, against, tuple(checks), look)


def align_present(
    wanted: Sequence[str], report_ids: Sequence[str], probabilities: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Put probabilities of `present` in the order of the wanted reports.

    Args:
        wanted: N report ids.
        report_ids: Those that were predicted, M of them.
        probabilities: (M, 13, 4) their probabilities.

    Returns:
        (N, 13), NaN for reports that were not predicted.
    """
    place = {report_id: row for row, report_id in enumerate(report_ids)}
    out = np.full((len(wanted), probabilities.shape[1]), np.nan)
    for row, report_id in enumerate(wanted):
        if report_id in place:
            out[row] = probabilities[place[report_id], :, _PRESENT]
    return out


def _reason(failed: Sequence[str], change: PairedReport, against: str, look: Look) -> str:
    if failed:
        return f"rolled back: {'; '.join(failed)}"
    gains = f"micro-F1 {change.micro.value:+.3f}, macro-F1 {change.macro.value:+.3f}"
    return f"promoted over {against}: {gains}, at level {look.level:.3f} of look {look.number}; every condition is met"
