"""One round: train, predict, calibrate, evaluate; each step a file, so that a killed round goes on where it was."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teachback.distill.artefacts import load_arrays, load_json, save_arrays, save_json
from teachback.distill.assemble import TrainingRow, plant_rows, scoped_texts
from teachback.distill.base import load_base, load_student
from teachback.distill.calibrate import Calibration, fit_calibration
from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen
from teachback.distill.predict import predict_diseases, predict_findings
from teachback.distill.questions import Questions
from teachback.distill.train import train_adapter
from teachback.store.identity import content_id
from teachback.store.label import Labeler

__all__ = ["DECIDING_SPLITS", "Progress", "Round", "Scored", "list_diseases", "open_test", "run_round"]

DECIDING_SPLITS = ("calibration", "gate", "pool")  # what a round may look at; `test` is opened once, at the end

# Called with what is being done, how much is done, and of how much.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Scored:
    """A round's predictions on one split.

    Attributes:
        report_ids: N reports.
        raw: (N, 13, 4) probabilities as the student gave them.
        probabilities: (N, 13, 4) calibrated.
        codes: (N, 13) decided statuses.
    """

    report_ids: tuple[str, ...]
    raw: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    codes: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Round:
    """A round that has been trained and has predicted.

    Attributes:
        round_id: Hash of everything that made it.
        number: 1, 2, ...; 0 for the base model.
        arm: `feedback`, `control`, `linear` or `base`.
        folder: Where its files lie.
        labeler: The student as a labeler.
        training: What the training recorded.
        calibration: Fitted on the calibration split.
        scored: Predictions by split.
    """

    round_id: str
    number: int
    arm: str
    folder: Path
    labeler: Labeler
    training: dict[str, Any]
    calibration: Calibration
    scored: dict[str, Scored]

    @property
    def name(self) -> str:
        """Readable name, such as `round 2 feedback`; to round 1 nothing is fed back yet."""
        plain = {"base": "base model", "linear": "linear"}
        return plain.get(self.arm, f"round {self.number}" if self.number == 1 else f"round {self.number} {self.arm}")


def run_round(
    frozen: Frozen,
    settings: CampaignSettings,
    rows: Sequence[TrainingRow],
    questions: Questions,
    truth: NDArray[np.int8],
    folder: Path,
    *,
    number: int,
    arm: str,
    steps: int,
    progress: Progress,
) -> Round:
    """Train a student on rows and let it predict; what is already done is read from the folder.

    Args:
        frozen: The campaign's inputs.
        settings: The campaign's settings.
        rows: The round's rows, refused ones among them.
        questions: The student's questions.
        truth: (N, 13) curated codes of the calibration split, in the order of its texts.
        folder: The campaign's folder.
        number: The round's number.
        arm: Its arm; `base` scores the base model without training.
        steps: Optimizer steps: the budget that arms share.
        progress: Told what is going on.
    """
    trained_on = sorted((r.label.label_id, r.source, round(r.weight, 6)) for r in rows if r.selected)
    round_id = content_id("rnd", frozen.campaign_id, number, arm, steps, trained_on)
    folder = folder / f"{number}-{arm}-{round_id[4:12]}"
    training: dict[str, Any] = {"adapter_hash": None, "steps": 0, "rows": 0, "seconds": 0.0, "losses": []}
    if arm != "base" and arm != "linear":
        what = f"train round {number}" if number == 1 else f"train round {number} {arm}"
        training = load_json(folder / "train.json") or train_adapter(
            settings.student,
            questions.tokenizer,
            plant_rows(rows, frozen, questions, settings),
            settings.train,
            folder,
            steps=steps,
            progress=lambda step, loss: progress(f"{what}, loss {loss:.2f}", step, steps),
        )
    raw = _predictions(frozen, settings, rows, questions, folder, arm, DECIDING_SPLITS, progress)
    calibration = _calibration(folder, raw["calibration"][1], truth)
    labeler = Labeler(
        kind="student",
        name=f"student:{Path(settings.student).name}",
        version=training["adapter_hash"] or content_id("mdl", arm, settings.student, trained_on),
        model="bag of words" if arm == "linear" else settings.student,
        parameters={"scope": settings.scope, "prompt": settings.prompt, "calibration": asdict(calibration)},
    )
    scored = {split: _scored(ids, probs, calibration) for split, (ids, probs) in raw.items()}
    return Round(round_id, number, arm, folder, labeler, training, calibration, scored)


def open_test(
    round_: Round,
    frozen: Frozen,
    settings: CampaignSettings,
    rows: Sequence[TrainingRow],
    questions: Questions,
    progress: Progress,
) -> Scored:
    """Predict the test split, once, after every decision has been taken."""
    ids, raw = _predictions(frozen, settings, rows, questions, round_.folder, round_.arm, ("test",), progress)["test"]
    return _scored(ids, raw, round_.calibration)


def list_diseases(
    round_: Round, frozen: Frozen, settings: CampaignSettings, questions: Questions, split: str, progress: Progress
) -> dict[str, list[tuple[str, str | None]]]:
    """Let a round's student list the diseases of a split's reports."""
    path = round_.folder / f"diseases-{split}.json"
    stored = load_json(path)
    if stored is None:
        ids, texts = scoped_texts(frozen.reports[split], settings)
        model = load_student(settings.student, round_.folder / "adapter", quantize=settings.train.quantize)
        count = _Counter(progress, f"list diseases, {round_.name}", len(texts))
        stored = dict(zip(ids, predict_diseases(model, questions, texts, count), strict=True))
        save_json(path, stored)
    return {report_id: [(name, code) for name, code in listed] for report_id, listed in stored.items()}


def _predictions(
    frozen: Frozen,
    settings: CampaignSettings,
    rows: Sequence[TrainingRow],
    questions: Questions,
    folder: Path,
    arm: str,
    splits: Sequence[str],
    progress: Progress,
) -> dict[str, tuple[tuple[str, ...], NDArray[np.float32]]]:
    path = folder / f"predictions-{'-'.join(splits)}.npz"
    stored = load_arrays(path)
    if stored is None:
        texts = {split: scoped_texts(frozen.reports[split], settings) for split in splits}
        every = [text for split in splits for text in texts[split][1]]
        if arm == "linear":
            from teachback.distill.linear import fit_and_predict

            probabilities = fit_and_predict(rows, frozen, every, seed=settings.seed)
        else:
            quantize = settings.train.quantize
            model = (
                load_base(settings.student, quantize=quantize).eval()
                if arm == "base"
                else load_student(settings.student, folder / "adapter", quantize=quantize)
            )
            count = _Counter(progress, f"predict {', '.join(splits)}", len(every))
            probabilities = predict_findings(model, questions, every, count)
        stored, start = {}, 0
        for split in splits:
            ids = texts[split][0]
            stored[f"{split}_ids"] = np.array(ids, dtype=str)
            stored[split] = probabilities[start : start + len(ids)]
            start += len(ids)
        save_arrays(path, **stored)
    return {split: (tuple(map(str, stored[f"{split}_ids"])), stored[split]) for split in splits}


def _calibration(folder: Path, raw: NDArray[np.float32], truth: NDArray[np.int8]) -> Calibration:
    path = folder / "calibration.json"
    stored = load_json(path)
    if stored is None:
        stored = asdict(fit_calibration(raw, truth))
        save_json(path, stored)
    return Calibration(tuple(stored["slopes"]), tuple(stored["offsets"]), stored["threshold"])


def _scored(ids: tuple[str, ...], raw: NDArray[np.float32], calibration: Calibration) -> Scored:
    probabilities = calibration.apply(raw)
    return Scored(ids, raw, probabilities, calibration.decide(probabilities))


class _Counter:
    """Adds up what a step reports and hands the sum on."""

    def __init__(self, progress: Progress, what: str, total: int) -> None:
        self._progress, self._what, self._total, self._done = progress, what, total, 0

    def __call__(self, more: int) -> None:
        self._done += more
        self._progress(self._what, self._done, self._total)
