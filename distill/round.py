"""One round: train, predict, calibrate, evaluate; each step a file, so that a killed round goes on where it was."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teachback.distill.artefacts import load_arrays, load_json, save_arrays, save_json
from teachback.distill.assemble import TrainingRow, scoped_texts
from teachback.distill.average import average_adapters
from teachback.distill.base import load_base, load_student
from teachback.distill.calibrate import Calibration, fit_calibration
from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen
from teachback.distill.lessons import plant_rows, write_lessons
from teachback.distill.passages import Score, passages_of, read_by_sentence
from teachback.distill.predict import predict_diseases, predict_findings
from teachback.distill.questions import Questions
from teachback.distill.train import train_adapter
from teachback.store.identity import content_id
from teachback.store.label import STATUSES, Evidence, Labeler
from teachback.store.report import Report, Scope

__all__ = [
    "DECIDING_SPLITS",
    "Progress",
    "Round",
    "Scored",
    "average_round",
    "list_diseases",
    "open_test",
    "read_sentences",
    "run_round",
]

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
class Round:
    """A round that has been trained and has predicted.

    Attributes:
        round_id: Hash of everything that made it.
        number: 1, 2, ...; 0 for the base model.
        arm: `feedback`, `average`, `control`, `linear` or `base`.
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
    trained_on = sorted((r.label.label_id, r.source, round(r.weight, 6), *r.carried) for r in rows if r.selected)
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
    version = training["adapter_hash"] or content_id("mdl", arm, settings.student, trained_on)
    judged = _judge(frozen, settings, rows, questions, truth, folder, arm, version, progress)
    return Round(round_id, number, arm, folder, judged.labeler, training, judged.calibration, judged.scored)


def average_round(
    champion: Round,
    candidate: Round,
    frozen: Frozen,
    settings: CampaignSettings,
    questions: Questions,
    truth: NDArray[np.int8],
    *,
    progress: Progress,
) -> Round:
    """Average two rounds' adapters, half each and exactly, and let the average predict.

    Args:
        champion: The round that stands.
        candidate: The round that failed against it.
        frozen: The campaign's inputs.
        settings: The campaign's settings.
        questions: The student's questions.
        truth: (N, 13) curated codes of the calibration split, in the order of its texts.
        progress: Told what is going on.
    """
    round_id = content_id("rnd", frozen.campaign_id, "average", champion.round_id, candidate.round_id)
    folder = candidate.folder.with_name(f"{candidate.number}-average-{round_id[4:12]}")
    training = load_json(folder / "train.json")
    if training is None:
        average_adapters(champion.folder / "adapter", candidate.folder / "adapter", folder / "adapter")
        weights = (folder / "adapter" / "adapter_model.safetensors").read_bytes()
        training = {
            "adapter_hash": hashlib.blake2b(weights, digest_size=12).hexdigest(),
            "average_of": [champion.name, candidate.name],
            "steps": 0,
            "rows": 0,
            "seconds": 0.0,
            "losses": [],
        }
        save_json(folder / "train.json", training)
    version = training["adapter_hash"]
    judged = _judge(frozen, settings, (), questions, truth, folder, "average", version, progress)
    found = judged.labeler, training, judged.calibration, judged.scored
    return Round(round_id, candidate.number, "average", folder, *found)


@dataclass(frozen=True, slots=True)
class _Judged:
    labeler: Labeler
    calibration: Calibration
    scored: dict[str, Scored]


def _judge(
    frozen: Frozen,
    settings: CampaignSettings,
    rows: Sequence[TrainingRow],
    questions: Questions,
    truth: NDArray[np.int8],
    folder: Path,
    arm: str,
    version: str,
    progress: Progress,
) -> _Judged:
    """Let a student predict what a round may look at, and calibrate it."""
    raw = _predictions(frozen, settings, rows, questions, folder, arm, DECIDING_SPLITS, progress)
    calibration = _calibration(folder, raw["calibration"].probabilities, truth, settings)
    labeler = Labeler(
        kind="student",
        name=f"student:{Path(settings.student).name}",
        version=version,
        model="bag of words" if arm == "linear" else settings.student,
        parameters={"scope": settings.scope, "prompt": settings.prompt, "calibration": calibration.as_dict()},
    )
    scored = {
        split: _scored(predicted, calibration, frozen.reports[split], settings) for split, predicted in raw.items()
    }
    return _Judged(labeler, calibration, scored)


def open_test(
    round_: Round,
    frozen: Frozen,
    settings: CampaignSettings,
    rows: Sequence[TrainingRow],
    questions: Questions,
    progress: Progress,
) -> Scored:
    """Predict the test split, once, after every decision has been taken."""
    predicted = _predictions(frozen, settings, rows, questions, round_.folder, round_.arm, ("test",), progress)["test"]
    return _scored(predicted, round_.calibration, frozen.reports["test"], settings)


def read_sentences(
    round_: Round,
    frozen: Frozen,
    settings: CampaignSettings,
    questions: Questions,
    sentences: Sequence[str],
    progress: Progress,
) -> NDArray[np.float16]:
    """Let a round's student read single sentences: M of them to (M, 13, 4) probabilities, kept in its folder."""
    path = round_.folder / "sentences.npz"
    stored = load_arrays(path)
    if stored is None or len(stored["probabilities"]) != len(sentences):
        what = f"{round_.name} reads sentences"
        score = _score(frozen, settings, (), questions, round_.folder, round_.arm, what, progress)
        stored = {"probabilities": score(sentences).astype(np.float16)}
        save_arrays(path, **stored)
    return stored["probabilities"]


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


@dataclass(frozen=True, slots=True)
class _Predicted:
    """Raw predictions on one split: N reports, (N, 13, 4) probabilities, and as in `Scored` what decided them."""

    report_ids: tuple[str, ...]
    probabilities: NDArray[np.float32]
    deciding: NDArray[np.int16] | None


def _predictions(
    frozen: Frozen,
    settings: CampaignSettings,
    rows: Sequence[TrainingRow],
    questions: Questions,
    folder: Path,
    arm: str,
    splits: Sequence[str],
    progress: Progress,
) -> dict[str, _Predicted]:
    path = folder / f"predictions-{'-'.join(splits)}.npz"
    stored = load_arrays(path)
    if stored is None:
        score = _score(frozen, settings, rows, questions, folder, arm, f"predict {', '.join(splits)}", progress)
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
        split: _Predicted(tuple(map(str, stored[f"{split}_ids"])), stored[split], stored.get(f"{split}_deciding"))
        for split in splits
    }


def _score(
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
    if arm == "base":
        model = load_base(settings.student, quantize=quantize).eval()
    else:
        model = load_student(settings.student, folder / "adapter", quantize=quantize)
    return lambda texts: predict_findings(model, questions, texts, _Counter(progress, what, len(texts)))


def _readable(reports: Sequence[Report], settings: CampaignSettings) -> list[Report]:
    return [report for report in reports if report.text(settings.scope)]


def _calibration(
    folder: Path, raw: NDArray[np.float32], truth: NDArray[np.int8], settings: CampaignSettings
) -> Calibration:
    path = folder / "calibration.json"
    stored = load_json(path)
    if stored is None:
        stored = fit_calibration(raw, truth, settings.calibration).as_dict()
        save_json(path, stored)
    return Calibration.from_dict(stored)


def _scored(
    predicted: _Predicted, calibration: Calibration, reports: Sequence[Report], settings: CampaignSettings
) -> Scored:
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


class _Counter:
    """Adds up what a step reports and hands the sum on."""

    def __init__(self, progress: Progress, what: str, total: int) -> None:
        self._progress, self._what, self._total, self._done = progress, what, total, 0

    def __call__(self, more: int) -> None:
        self._done += more
        self._progress(self._what, self._done, self._total)
