"""One round: train, predict, calibrate, evaluate; each step a file, so that a killed round goes on where it was."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teachback.distill.artefacts import load_arrays, load_json, save_arrays, save_json
from teachback.distill.assemble import TrainingRow, scoped_texts
from teachback.distill.average import average_adapters, stock_adapters
from teachback.distill.calibrate import Calibration
from teachback.distill.config import CampaignSettings
from teachback.distill.early import CalibrationLook
from teachback.distill.freeze import Frozen
from teachback.distill.lessons import plant_rows
from teachback.distill.parts import read_in_parts
from teachback.distill.predict import predict_diseases
from teachback.distill.questions import Questions
from teachback.distill.scored import (
    DECIDING_SPLITS,
    Counter,
    Progress,
    Scored,
    calibrate_on,
    predict_splits,
    score_split,
    score_with,
)
from teachback.distill.train import train_adapter
from teachback.distill.tree import TreeRow
from teachback.errors import TrainingError
from teachback.store.identity import content_id
from teachback.store.label import Labeler

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
    champion: Round | None = None,
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
        champion: The round to go on from or to be joined with, where the settings' `start` says so.
        progress: Told what is going on.
    """
    trained_on = sorted(
        (r.label.label_id, r.source, round(r.weight, 6), *r.carried, *map(astuple, r.label.shares))
        for r in rows
        if r.selected
    )
    if champion is None or not champion.training["adapter_hash"] or settings.start == "restart":
        champion = None
    begun = () if champion is None else (settings.start, champion.round_id)
    round_id = content_id("rnd", frozen.campaign_id, number, arm, steps, trained_on, *begun)
    folder = folder / f"{number}-{arm}-{round_id[4:12]}"
    training: dict[str, Any] = {"adapter_hash": None, "steps": 0, "rows": 0, "seconds": 0.0, "losses": []}
    if arm != "base" and arm != "linear":
        what = f"train round {number}" if number == 1 else f"train round {number} {arm}"
        look = CalibrationLook(frozen.reports["calibration"], truth, questions, settings)
        training = _trained(folder) or _train(
            settings,
            questions,
            lambda: plant_rows(rows, frozen, questions, settings),
            folder,
            steps,
            champion,
            progress=lambda step, loss: progress(f"{what}, loss {loss:.2f}", step, steps),
            say=lambda words: progress(f"{what}: {words}", 0, 0),
            look=None if settings.train.patience is None else look,
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
        training = {
            "adapter_hash": _hash_adapter(folder / "adapter"),
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


def _train(
    settings: CampaignSettings,
    questions: Questions,
    plant: Callable[[], list[TreeRow]],
    folder: Path,
    steps: int,
    champion: Round | None,
    **told: Any,
) -> dict[str, Any]:
    """Train an adapter from the base, or on from the champion's, or from the base and join it with the champion's."""
    join = {"merge": stock_adapters, "average": average_adapters}.get(settings.start) if champion else None
    counts = ("cut_reports", "cut_tokens", "long_lists")
    before = {name: getattr(questions, name) for name in counts}
    rows = plant()
    training = train_adapter(
        settings.student,
        questions.tokenizer,
        rows,
        settings.train,
        folder / "unmerged" if join else folder,
        steps=steps,
        start=None if champion is None or join else champion.folder / "adapter",
        audit={name: getattr(questions, name) - before[name] for name in counts},
        **told,
    )
    if champion is not None and join:
        join(champion.folder / "adapter", folder / "unmerged" / "adapter", folder / "adapter")
        training |= {"adapter_hash": _hash_adapter(folder / "adapter"), "merged_with": champion.name}
        save_json(folder / "train.json", training)
    return training


def _trained(folder: Path) -> dict[str, Any] | None:
    """Return the record of a training that is done, with the adapter that it made.

    Raises:
        TrainingError: The adapter is another one, or not there.
    """
    training = load_json(folder / "train.json")
    weights = folder / "adapter" / "adapter_model.safetensors"
    if training is not None and (not weights.exists() or _hash_adapter(folder / "adapter") != training["adapter_hash"]):
        raise TrainingError(
            f"{weights} is not the adapter that was trained: it is missing, damaged or of another training",
            f"remove {folder}, and the same command trains it again",
        )
    return training


def _hash_adapter(folder: Path) -> str:
    return hashlib.blake2b((folder / "adapter_model.safetensors").read_bytes(), digest_size=12).hexdigest()


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
    raw = predict_splits(frozen, settings, rows, questions, folder, arm, DECIDING_SPLITS, progress)
    calibration = calibrate_on(folder, raw["calibration"].probabilities, truth, settings)
    labeler = Labeler(
        kind="student",
        name=f"student:{Path(settings.student).name}",
        version=version,
        model="bag of words" if arm == "linear" else settings.student,
        parameters={"scope": settings.scope, "prompt": settings.prompt, "calibration": calibration.as_dict()},
    )
    scored = {
        split: score_split(predicted, calibration, frozen.reports[split], settings) for split, predicted in raw.items()
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
    read = predict_splits(frozen, settings, rows, questions, round_.folder, round_.arm, ("test",), progress)
    return score_split(read["test"], round_.calibration, frozen.reports["test"], settings)


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
    of = content_id("txt", list(sentences))
    if stored is None or str(stored.get("of")) != of:
        what = f"{round_.name} reads sentences"
        score = score_with(frozen, settings, (), questions, round_.folder, round_.arm, what, progress)
        stored = {"probabilities": score(sentences).astype(np.float16), "of": np.array(of)}
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
        listed_by = settings.student, round_.folder / "adapter", questions
        count = Counter(progress, f"list diseases, {round_.name}", len(texts))
        lists = read_in_parts(predict_diseases, *listed_by, texts, quantize=settings.train.quantize, progress=count)
        stored = dict(zip(ids, lists, strict=True))
        save_json(path, stored)
    return {report_id: [(name, code) for name, code in listed] for report_id, listed in stored.items()}
