"""What a student makes of reports: probabilities of each status, calibrated and decided, each split a file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teachback.distill.artefacts import load_arrays, load_json, save_arrays, save_json
from teachback.distill.assemble import TrainingRow
from teachback.distill.backends import backend_name, open_backend
from teachback.distill.base import load_base, load_student
from teachback.distill.calibrate import Calibration, fit_calibration
from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen
from teachback.distill.lessons import write_lessons
from teachback.distill.parts import score_in_parts
from teachback.distill.passages import Score, passages_of, read_by_sentence
from teachback.distill.predict import predict_findings
from teachback.distill.questions import Questions
from teachback.distill.ranks import current_ranks
from teachback.store.label import STATUSES, Evidence
from teachback.store.report import Report, Scope

__all__ = [
    "DECIDING_SPLITS",
    "Counter",
    "Predicted",
    "Progress",
    "Scored",
    "calibrate_on",
    "predict_splits",
    "score_split",
    "score_with",
]

DECIDING_SPLITS = ("calibration", "gate", "pool")  # what a round may look at; `test` is opened once, at the end

# Called with what is being done, how much is done, and of how much; or, of nothing, with something to know.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Scored:
    """A round's predictions on one split.

    Attributes:
        report_ids: N reports.
        raw: (N, 13, 4) probabilities as the student gave them.
        probabilities: (N, 13, 4) calibrated.
        codes: (N, 13) decided statuses.
        deciding: (N, 13, 4) the passage that has each status most surely; None where reports were read whole.
        reports: The reports, where there are passages.
        scope: What was read of them.
    """

    report_ids: tuple[str, ...]
    raw: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    codes: NDArray[np.int8]
    deciding: NDArray[np.int16] | None = None
    reports: tuple[Report, ...] = ()
    scope: Scope = "full"

    def evidence(self, place: int) -> list[tuple[Evidence, ...]]:
        """Return, for each finding of a report, the sentence that decided it; nothing where it is unmentioned."""
        codes = self.codes[place]
        if self.deciding is None:
            return [()] * len(codes)
        passages = passages_of(self.reports[place], self.scope)
        deciding = (passages[self.deciding[place, f, code]] for f, code in enumerate(codes))
        return [
            () if STATUSES[code] == "unmentioned" else (Evidence(p.section, p.start, p.end, p.text),)
            for code, p in zip(codes, deciding, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Predicted:
    """Raw predictions on one split: N reports, (N, 13, 4) probabilities, and as in `Scored` what decided them."""

    report_ids: tuple[str, ...]
    probabilities: NDArray[np.float32]
    deciding: NDArray[np.int16] | None


def predict_splits(
    frozen: Frozen,
    settings: CampaignSettings,
    rows: Sequence[TrainingRow],
    questions: Questions,
    folder: Path,
    arm: str,
    splits: Sequence[str],
    progress: Progress,
) -> dict[str, Predicted]:
    """Let a student read splits, all at once; what its folder holds already is not done again."""
    path = folder / f"predictions-{'-'.join(splits)}.npz"
    stored = load_arrays(path)
    if stored is None:
        score = score_with(frozen, settings, rows, questions, folder, arm, f"predict {', '.join(splits)}", progress)
        readable = {split: _readable(frozen.reports[split], settings) for split in splits}
        every = [report for split in splits for report in readable[split]]
        whole: dict[str, NDArray[Any]] = {}
        if settings.unit == "sentence":
            reading = read_by_sentence(every, settings.scope, score)
            whole = {"": reading.probabilities, "_deciding": reading.deciding}
        else:
            whole = {"": score([report.text(settings.scope) for report in every])}
        stored, start = {}, 0
        for split in splits:
            end = start + len(readable[split])
            stored[f"{split}_ids"] = np.array([report.report_id for report in readable[split]], dtype=str)
            stored |= {f"{split}{what}": array[start:end] for what, array in whole.items()}
            start = end
        save_arrays(path, **stored)
    return {
        split: Predicted(tuple(map(str, stored[f"{split}_ids"])), stored[split], stored.get(f"{split}_deciding"))
        for split in splits
    }


def score_with(
    frozen: Frozen,
    settings: CampaignSettings,
    rows: Sequence[TrainingRow],
    questions: Questions,
    folder: Path,
    arm: str,
    what: str,
    progress: Progress,
) -> Score:
    """Return what gives texts their probabilities: the trained student, the base, or the baseline."""
    if arm == "linear":
        from teachback.distill.linear import fit_linear

        return fit_linear(write_lessons(rows, frozen, settings), seed=settings.seed)
    quantize = settings.train.quantize
    backend = backend_name(settings.backend)
    if backend == "transformers" and current_ranks().size > 1:
        trained = None if arm == "base" else folder / "adapter"
        return lambda texts: score_in_parts(
            settings.student,
            trained,
            questions,
            texts,
            quantize=quantize,
            progress=Counter(progress, what, len(texts)),
        )
    if backend != "transformers":
        adapter = None if arm == "base" else folder / "adapter"
        length = settings.train.max_length
        model = open_backend(backend, settings.student, adapter, quantize=quantize, max_length=length)
    elif arm == "base":
        model = load_base(settings.student, quantize=quantize).eval()
    else:
        model = load_student(settings.student, folder / "adapter", quantize=quantize)
    return lambda texts: predict_findings(model, questions, texts, Counter(progress, what, len(texts)))


def _readable(reports: Sequence[Report], settings: CampaignSettings) -> list[Report]:
    return [report for report in reports if report.text(settings.scope)]


def calibrate_on(
    folder: Path, raw: NDArray[np.float32], truth: NDArray[np.int8], settings: CampaignSettings
) -> Calibration:
    """Fit a student's calibration to the (N, 13) curated codes of the calibration split, or read it from the folder."""
    path = folder / "calibration.json"
    stored = load_json(path)
    if stored is None:
        stored = fit_calibration(raw, truth, settings.calibration).as_dict()
        save_json(path, stored)
    return Calibration.from_dict(stored)


def score_split(
    predicted: Predicted, calibration: Calibration, reports: Sequence[Report], settings: CampaignSettings
) -> Scored:
    """Calibrate what a student predicted of a split's reports, and decide each finding."""
    probabilities = calibration.apply(predicted.probabilities)
    codes = calibration.decide(probabilities)
    return Scored(
        predicted.report_ids,
        predicted.probabilities,
        probabilities,
        codes,
        predicted.deciding,
        tuple(_readable(reports, settings)) if predicted.deciding is not None else (),
        settings.scope,
    )


class Counter:
    """Adds up what a step reports and hands the sum on."""

    def __init__(self, progress: Progress, what: str, total: int) -> None:
        self._progress, self._what, self._total, self._done = progress, what, total, 0

    def __call__(self, more: int) -> None:
        """Count what has been done since the last call."""
        self._done += more
        if self._total:
            self._progress(self._what, self._done, self._total)
