"""What a student makes of few reports: train it on nested subsets, and measure each on the calibration split.

Every subset is trained as the full size would be: the same settings and as many passes. Where the settings' fewest or
most steps bind at the full size, the passes that they come to there are what all subsets get. The loss is that of the
calibrated probability of `present`, and so bounded by what the base rates alone give; a report's calibration is fitted
without its patient (five folds), so that nothing is asked what it was told. `gate` and `test` are not looked at.

A subset that is done lies in its folder as `point.json`; a killed training goes on from its last checkpoint.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teachback.distill.artefacts import load_json, save_json
from teachback.distill.assemble import TrainingRow, assemble
from teachback.distill.base import load_base, load_tokenizer
from teachback.distill.calibrate import Method, fit_calibration
from teachback.distill.calibration import PRESENT
from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen
from teachback.distill.judge import align
from teachback.distill.lessons import plant_rows
from teachback.distill.passages import read_by_sentence
from teachback.distill.plan import steps_of
from teachback.distill.predict import predict_findings
from teachback.distill.prompt import load_student_prompt
from teachback.distill.questions import Questions
from teachback.distill.round import Progress
from teachback.distill.train import train_adapter
from teachback.errors import TrainingError
from teachback.store.quality.f1 import f1_score
from teachback.store.quality.statuses import StatusMatrix

__all__ = ["Measured", "Point", "Subset", "held_out", "measure_student", "nested_sizes"]

FOLDS = 5
FEWEST_REPORTS = 4  # of the smallest subset
_EPSILON = 1e-6


@dataclass(frozen=True, slots=True)
class Subset:
    """A part of the training reports: so many of them, the first of an order that its seed draws."""

    reports: int
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.reports}-{self.seed}"


@dataclass(frozen=True, slots=True)
class Point:
    """What came of training on a subset.

    Attributes:
        reports: Training reports; 0 for the base untrained.
        seed: Of the subset and of its training.
        lessons: Rows that its labels made.
        steps: Optimizer steps.
        tokens: Tokens trained on, over all steps.
        seconds: Time of the training, the base's loading among it.
        resumed: Whether it went on from a checkpoint, so that `seconds` is not its whole time.
        scoring_seconds: Time of scoring the calibration split.
        loss: Mean held-out log loss of `present`.
        micro_f1: Micro-F1 on the same reports, held out too.
    """

    reports: int
    seed: int
    lessons: int
    steps: int
    tokens: int
    seconds: float
    resumed: bool
    scoring_seconds: float
    loss: float
    micro_f1: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of one student, and what training it on all reports would be.

    Attributes:
        student: The base.
        parameters: Its weights.
        points: Its points, the untrained first.
        full_reports: Training reports at the full size.
        full_steps: Optimizer steps there.
        full_tokens: Tokens trained on there.
    """

    student: str
    parameters: int
    points: tuple[Point, ...]
    full_reports: int
    full_steps: int
    full_tokens: int


def nested_sizes(full: int, *, largest: float = 0.25, count: int = 5) -> list[int]:
    """Return doubling sizes up to a share of the full one, such as 14, 28, 56, 112, 225 of 900.

    Args:
        full: Training reports.
        largest: Share of the largest subset.
        count: How many sizes; those under `FEWEST_REPORTS` are left out.
    """
    sizes = (int(full * largest / 2**halvings) for halvings in reversed(range(count)))
    return [size for size in sizes if size >= FEWEST_REPORTS]


def measure_student(
    frozen: Frozen,
    settings: CampaignSettings,
    subsets: Sequence[Subset],
    truth: StatusMatrix,
    folder: Path,
    progress: Progress,
) -> Measured:
    """Train a student on each subset and measure it; what is already done is read from the folder.

    Args:
        frozen: The inputs of a campaign with this student.
        settings: Its settings.
        subsets: What to train on.
        truth: The curated labels of the calibration split.
        folder: The student's folder.
        progress: Told what is going on.
    """
    questions = Questions(
        load_tokenizer(settings.student), max_length=settings.train.max_length, **load_student_prompt(settings.prompt)
    )
    rows = assemble(frozen, settings)
    size = _full_size(frozen, settings, questions, rows, folder)
    passes = size["steps"] * settings.train.batch / size["lessons"]
    name = Path(settings.student).name
    for subset in subsets:
        _train(frozen, settings, questions, rows, subset, passes, folder / subset.name, name, progress)
    scorer = _Scorer(frozen, settings, questions, truth, name, progress)
    points = [scorer.point(folder / subset.name, subset) for subset in (Subset(0, settings.train.seed), *subsets)]
    base = load_json(folder / "base.json") or {"parameters": scorer.parameters}
    save_json(folder / "base.json", base)
    return Measured(
        settings.student, base["parameters"], tuple(points), len(_reports(rows)), size["steps"], size["tokens"]
    )


def held_out(
    raw: NDArray[np.float32],
    truth: NDArray[np.int8],
    clusters: NDArray[np.int64],
    *,
    method: Method = "temperature",
    seed: int = 0,
) -> tuple[float, float]:
    """Return mean log loss and micro-F1 of `present`, each report calibrated and decided without its patient.

    Args:
        raw: (N, 13, 4) probabilities as the student gives them.
        truth: (N, 13) curated codes, -1 for none.
        clusters: (N,) patient of each report.
        method: How probabilities are calibrated.
        seed: Of the folds, which depend on nothing else: all students meet the same.
    """
    _, patient = np.unique(clusters, return_inverse=True)
    folds = np.random.default_rng(seed).permutation(int(patient.max(initial=0)) + 1)[patient.ravel()] % FOLDS
    losses, present = np.zeros(truth.shape), truth == PRESENT
    called = np.zeros(truth.shape, bool)
    for fold in np.unique(folds):
        out = folds == fold
        calibration = fit_calibration(raw[~out], truth[~out], method)
        calibrated = calibration.apply(raw[out])
        p = np.clip(calibrated[..., PRESENT].astype(np.float64), _EPSILON, 1 - _EPSILON)
        losses[out] = -np.where(present[out], np.log(p), np.log(1 - p))
        called[out] = calibration.decide(calibrated) == PRESENT
    known = truth >= 0
    hits = float((called & present)[known].sum())
    f1 = f1_score(hits, float(called[known].sum()) - hits, float(present[known].sum()) - hits)
    return float(losses[known].mean()), f1


def _full_size(
    frozen: Frozen, settings: CampaignSettings, questions: Questions, rows: Sequence[TrainingRow], folder: Path
) -> dict[str, Any]:
    """Count what the full budget comes to, without training anything."""
    stored = load_json(folder / "full.json")
    if stored is None:
        lessons = plant_rows(rows, frozen, questions, settings)
        if not lessons:
            raise TrainingError("there are no rows to train on", "label more reports: `teachback label --help`")
        steps = steps_of(len(lessons), settings.train)
        tokens = round(sum(len(row) for row in lessons) / len(lessons) * settings.train.batch * steps)
        stored = {"lessons": len(lessons), "steps": steps, "tokens": tokens}
        save_json(folder / "full.json", stored)
    return stored


def _reports(rows: Sequence[TrainingRow]) -> list[str]:
    return sorted({row.label.report_id for row in rows if row.selected})


def _first(rows: Sequence[TrainingRow], subset: Subset) -> list[TrainingRow]:
    """Return the rows of a subset's reports; with one seed, a larger subset holds the smaller ones."""
    ids = _reports(rows)
    order = np.random.default_rng([subset.seed, len(ids)]).permutation(len(ids))
    kept = {ids[i] for i in order[: subset.reports]}
    return [row for row in rows if row.label.report_id in kept]


def _train(
    frozen: Frozen,
    settings: CampaignSettings,
    questions: Questions,
    rows: Sequence[TrainingRow],
    subset: Subset,
    passes: float,
    folder: Path,
    name: str,
    progress: Progress,
) -> None:
    if (folder / "train.json").exists():
        return
    lessons = plant_rows(_first(rows, subset), frozen, questions, settings)
    steps = max(1, round(passes * len(lessons) / settings.train.batch))
    train_adapter(
        settings.student,
        questions.tokenizer,
        lessons,
        settings.train.model_copy(update={"seed": subset.seed}),
        folder,
        steps=steps,
        progress=lambda step, loss: progress(f"{name}: {subset.reports} reports, loss {loss:.2f}", step, steps),
        say=lambda words: progress(f"{name}: {subset.reports} reports: {words}", 0, 0),
    )


class _Scorer:
    """Scores the calibration split with the base and each adapter; the base is loaded once, if at all."""

    def __init__(
        self,
        frozen: Frozen,
        settings: CampaignSettings,
        questions: Questions,
        truth: StatusMatrix,
        name: str,
        progress: Progress,
    ) -> None:
        self._settings, self._questions, self._name, self._progress = settings, questions, name, progress
        self._reports = [report for report in frozen.reports["calibration"] if report.text(settings.scope)]
        ids = [report.report_id for report in self._reports]
        self._truth = align(ids, truth.report_ids, truth.codes)
        cluster_of = dict(zip(truth.report_ids, truth.clusters, strict=True))
        self._clusters = np.array([cluster_of[report_id] for report_id in ids], np.int64)
        self._base: Any = None
        self.parameters = 0

    def point(self, folder: Path, subset: Subset) -> Point:
        """Return a subset's point; its adapter has served its purpose then, and goes."""
        stored = load_json(folder / "point.json")
        if stored is None:
            began = time.monotonic()
            loss, micro_f1 = held_out(
                self._raw(folder, subset), self._truth, self._clusters, method=self._settings.calibration
            )
            training = load_json(folder / "train.json") or {"rows": 0, "steps": 0, "tokens": 0, "seconds": 0.0}
            stored = asdict(
                Point(
                    reports=subset.reports,
                    seed=subset.seed,
                    lessons=training["rows"],
                    steps=training["steps"],
                    tokens=round(
                        training["tokens"] / max(1, training["rows"]) * self._settings.train.batch * training["steps"]
                    ),
                    seconds=training["seconds"],
                    resumed=training.get("resumed", False),
                    scoring_seconds=time.monotonic() - began,
                    loss=loss,
                    micro_f1=micro_f1,
                )
            )
            save_json(folder / "point.json", stored)
        shutil.rmtree(folder / "adapter", ignore_errors=True)
        return Point(**stored)

    def _raw(self, folder: Path, subset: Subset) -> NDArray[np.float32]:
        from peft import PeftModel

        if self._base is None:
            self._base = load_base(self._settings.student, quantize=self._settings.train.quantize).eval()
            # A weight that NF4 packs in pairs counts as half a number otherwise.
            self.parameters = int(self._base.num_parameters())
        model = self._base
        if subset.reports:
            model = PeftModel.from_pretrained(self._base, str(folder / "adapter")).eval()
        probabilities = self._read(self._count(subset), model)
        if subset.reports:
            self._base = model.unload()
        return probabilities

    def _read(self, count: Callable[[int], None], model: Any) -> NDArray[np.float32]:
        def score(texts: Sequence[str]) -> NDArray[np.float32]:
            return predict_findings(model, self._questions, texts, count)

        scope = self._settings.scope
        if self._settings.unit == "sentence":
            return read_by_sentence(self._reports, scope, score).probabilities
        return score([report.text(scope) for report in self._reports])

    def _count(self, subset: Subset) -> Callable[[int], None]:
        done, total = 0, len(self._reports)

        def count(more: int) -> None:
            nonlocal done
            done = min(total, done + more)  # sentences are more than reports
            self._progress(f"{self._name}: score {subset.reports} reports, seed {subset.seed}", done, total)

        return count
