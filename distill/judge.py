"""Step 6, evaluate: every labeler and every round against the curated labels of a split, and against the teacher."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from teachback.distill.calibrate import expected_calibration_error
from teachback.distill.calibration import PRESENT
from teachback.distill.gate import align_present
from teachback.distill.round import Scored
from teachback.distill.select import wrong
from teachback.store.quality.agreement import accuracy_gain
from teachback.store.quality.calibration import CalibrationReport, measure_calibration
from teachback.store.quality.f1 import F1Report, PairedReport, evaluate_statuses, paired_difference
from teachback.store.quality.statuses import StatusMatrix, fetch_curated, fetch_labeler, fetch_teacher

__all__ = ["Bench", "Judged", "align", "calibration_error", "compare_codes"]

N_FINDINGS = 13


@dataclass(frozen=True, slots=True)
class Judged:
    """How one subject does on one split.

    Attributes:
        figures: P, R, F1 with intervals.
        over_teacher: The paired change over the teacher; None for the teacher itself or where there is none.
    """

    figures: F1Report
    over_teacher: PairedReport | None

    def as_dict(self) -> dict[str, Any]:
        """Return both as plain values."""
        return {
            "figures": self.figures.as_dict(),
            "over_teacher": None if self.over_teacher is None else self.over_teacher.as_dict(),
        }


class Bench:
    """The curated labels of one split, with the teacher's beside them.

    Args:
        connection: The store or a snapshot.
        split: Which split.
        corpus: Only reports of this corpus.
        teacher_id: The teacher to compare with.
        seed: Of the bootstrap; all subjects meet the same resamples.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, split: str, corpus: str | None, teacher_id: str, *, seed: int = 0
    ) -> None:
        self.split, self.seed = split, seed
        self.truth: StatusMatrix = fetch_curated(connection, split, corpus)
        self.teacher = fetch_teacher(connection, teacher_id, self.truth.report_ids)
        self._connection, self._teacher_id = connection, teacher_id

    def members(self) -> list[tuple[str, str, NDArray[np.int8]]]:
        """Return the teacher's labelers as (name, kind, (N, 13) codes), those that labelled alone."""
        rows = self._connection.execute(
            """SELECT b.labeler_id, b.name, b.kind FROM teacher_members m JOIN labelers b USING (labeler_id)
            WHERE m.teacher_id = ? AND m.seat = 'labeler' ORDER BY m.place""",
            [self._teacher_id],
        ).fetchall()
        return [(n, k, fetch_labeler(self._connection, i, self.truth.report_ids)) for i, n, k in rows]

    def codes_of(self, scored: Mapping[str, Scored]) -> NDArray[np.int8]:
        """Return what a round decided on this split, (N, 13) codes that follow `truth.report_ids`."""
        own = scored[self.split]
        return align(self.truth.report_ids, own.report_ids, own.codes)

    def judge(self, codes: NDArray[np.int8], *, is_teacher: bool = False) -> Judged:
        """Judge (N, 13) codes that follow `truth.report_ids`.

        The paired change is taken on the reports that the teacher has labelled; None where it labelled none.
        """
        figures = evaluate_statuses(self.truth.codes, codes, self.truth.clusters, seed=self.seed)
        taught = (self.teacher >= 0).any(axis=1)
        if is_teacher or not taught.any():
            return Judged(figures, None)
        return Judged(
            figures,
            paired_difference(
                self.truth.codes[taught],
                self.teacher[taught],
                codes[taught],
                self.truth.clusters[taught],
                seed=self.seed,
            ),
        )

    def judge_calibration(self, scored: Scored) -> CalibrationReport:
        """Hold a round's probabilities of `present` against the curated labels, before and after calibration."""
        before, after = (
            align_present(self.truth.report_ids, scored.report_ids, side) for side in (scored.raw, scored.probabilities)
        )
        codes = self.truth.codes
        return measure_calibration(before, after, codes == PRESENT, codes >= 0, self.truth.clusters, seed=self.seed)


def compare_codes(truth: StatusMatrix, before: NDArray[np.int8], after: NDArray[np.int8]) -> dict[str, Any]:
    """Return what (N, 13) codes gain over others, as plain values.

    To the changes in F1 comes `accuracy`, that of the share of right statuses, all four told apart: F1 asks who calls a
    finding present, and sees nothing of what is learnt about absent ones.
    """
    gain = paired_difference(truth.codes, before, after, truth.clusters).as_dict()
    return gain | {"accuracy": accuracy_gain(truth.codes, before, after, truth.clusters).as_dict()}


def align(wanted: Sequence[str], report_ids: Sequence[str], codes: NDArray[np.int8]) -> NDArray[np.int8]:
    """Put codes in the order of the wanted reports; -1 for those that were not labelled."""
    place = {report_id: i for i, report_id in enumerate(report_ids)}
    out = np.full((len(wanted), N_FINDINGS), -1, np.int8)
    for row, report_id in enumerate(wanted):
        if report_id in place:
            out[row] = codes[place[report_id]]
    return out


def calibration_error(
    probabilities: NDArray[np.float32], codes: NDArray[np.int8], truth: NDArray[np.int8]
) -> dict[str, Any]:
    """Return the calibration error of the decided statuses, with the reliability curve behind it.

    Args:
        probabilities: (N, 13, 4).
        codes: (N, 13) decided statuses.
        truth: (N, 13) curated codes.
    """
    known = truth >= 0
    chosen = np.take_along_axis(probabilities, codes.astype(int)[..., None], axis=-1)[..., 0][known].astype(np.float64)
    right = ~wrong(codes, truth)[known]
    bins = np.minimum((chosen * 10).astype(int), 9)
    curve = [
        {"confidence": float(chosen[here].mean()), "right": float(right[here].mean()), "n": int(here.sum())}
        for here in (bins == b for b in range(10))
        if here.any()
    ]
    brier = float(((chosen - right) ** 2).mean())
    return {"ece": expected_calibration_error(chosen, right), "brier": brier, "curve": curve}
