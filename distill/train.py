"""Step 3, train: an adapter from the base, from scratch each round, resumable from its last checkpoint.

A training that runs out of memory goes on from its last checkpoint with micro-batches of half the size, and as many
more of them a step; it remembers that should it be killed, so that no step is computed twice in two ways.
"""

import gc
import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teachback.distill.artefacts import load_json, save_json
from teachback.distill.base import load_base
from teachback.distill.checkpoints import Checkpoint, choose_checkpoint, looks_of
from teachback.distill.config import TrainSettings
from teachback.distill.early import best_look, out_of_patience
from teachback.distill.faults import (
    NoMemory,
    is_out_of_memory,
    require_finite_adapter,
    require_finite_step,
    writing,
)
from teachback.distill.meter import Meter, Spent
from teachback.distill.ranks import agree, current_ranks, share_batch, tell
from teachback.distill.trackers import open_tracker
from teachback.distill.trainer import build_trainer
from teachback.distill.tree import TreeRow, collate
from teachback.errors import TrainingError

__all__ = ["train_adapter"]

_SHORTAGES = "memory.json"  # beside the checkpoints: where memory ran out


@dataclass(frozen=True, slots=True)
class _Lesson:
    """What `train_adapter` was called with, but for what may change while it trains."""

    student: str
    tokenizer: Any
    rows: Sequence[TreeRow]
    folder: Path
    steps: int
    start: Path | None
    progress: Callable[[int, float], None]
    look: Callable[[Any], float] | None

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"


def train_adapter(
    student: str,
    tokenizer: Any,
    rows: Sequence[TreeRow],
    settings: TrainSettings,
    folder: Path,
    *,
    steps: int,
    start: Path | None = None,
    progress: Callable[[int, float], None] = lambda step, loss: None,
    say: Callable[[str], None] = lambda words: None,
    look: Callable[[Any], float] | None = None,
    audit: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Train an adapter, unless the folder holds a finished one.

    Args:
        student: The base.
        tokenizer: Its tokenizer.
        rows: Training rows.
        settings: How to train.
        folder: Receives `adapter/` and, last, `train.json`.
        steps: Optimizer steps.
        start: An adapter to go on from; a new one if not given.
        progress: Called with the step and its loss.
        say: Called with what else a user should know: memory that ran out, checkpoints left aside.
        look: Returns a model's loss on the calibration split, where `settings.patience` may stop the training early.
        audit: What was counted as the rows were made, such as what was cut: for the record.

    Returns:
        What `train.json` holds: adapter hash, steps, rows, tokens, seconds, energy, the losses, whether NF4 was used,
        the micro-batch that there was memory for, what was left aside.

    Raises:
        TrainingError: Memory does not suffice for one report, a loss is no number, or there is no room on the disk.
        MissingExtraError: The tracker in `settings.report_to` is not installed.
    """
    finished = load_json(folder / "train.json")
    if finished is not None:
        return finished
    open_tracker(settings.report_to)  # before anything is loaded
    tell(train_adapter, student, tokenizer, rows, settings, folder, steps=steps, start=start, look=look)
    look = None if settings.patience is None else look
    lesson = _Lesson(student, tokenizer, rows, folder, steps, start, progress, look)
    for unfinished in folder.glob(".adapter.*"):  # of a process that was killed
        shutil.rmtree(unfinished, ignore_errors=True)
    with Meter() as meter:
        first = _newest(lesson, say)
        trainer, shortages = _run_in_memory(lesson, settings, first, say, lambda: _spent(first, meter).as_dict())
        _require_sane(trainer, rows)
        if not current_ranks().leads:
            return {}
        done, tokens = trainer.state.global_step, sum(len(row) for row in rows)
        looks = looks_of(trainer.state.log_history)
        losses = [[entry["step"], entry["loss"]] for entry in trainer.state.log_history if "loss" in entry]
        progress(done, losses[-1][1] if losses else 0.0)
        seconds = meter.read().seconds
        record = {
            "adapter_hash": _save_adapter(trainer, folder),
            "steps": done,
            "rows": len(rows),
            "tokens": tokens,
            "longest_row": max(map(len, rows)),
            **(audit or {}),
            **_spent(first, meter).as_dict(),
            "tokens_per_second": tokens / len(rows) * settings.batch * (done - first.step) / seconds,
            "resumed": first.path is not None,
            "skipped_checkpoints": list(first.skipped),
            "quantized": settings.quantize,
            "micro_batch": _micro_batch(_shrunk(settings, shortages)),
            "out_of_memory": shortages,
            "losses": losses,
        }
    if lesson.look is not None:
        record |= {"looks": [list(look) for look in looks], "best_step": best_look(looks), "steps_planned": steps}
    save_json(folder / "train.json", record)
    _tidy(lesson)
    return record


def _run_in_memory(
    lesson: _Lesson,
    settings: TrainSettings,
    checkpoint: Checkpoint,
    say: Callable[[str], None],
    spent: Callable[[], dict[str, Any]],
) -> tuple[Any, list[dict[str, int]]]:
    """Train with the largest micro-batch that there is memory for; return the trainer, and where it ran out."""
    noted = lesson.checkpoints / _SHORTAGES
    shortages: list[dict[str, int]] = agree((load_json(noted) or {"steps": []})["steps"])
    while True:
        fitting = _shrunk(settings, shortages)
        try:
            return _run(lesson, fitting, checkpoint, spent), shortages
        except NoMemory as short:
            shortages = [*shortages, _shortage(short, fitting)]
        gc.collect()  # the model that found no room; the error held it until here
        _empty_cache()
        save_json(noted, {"steps": shortages})
        say("step {step}: out of memory with micro-batches of {micro_batch}; now {now}".format(**shortages[-1]))
        checkpoint = _newest(lesson)


def _run(lesson: _Lesson, settings: TrainSettings, checkpoint: Checkpoint, spent: Callable[[], dict[str, Any]]) -> Any:
    """Train from a checkpoint to the end; return the trainer with the adapter that stands.

    Raises:
        NoMemory: A step found none.
        TrainingError: The base itself found none.
    """
    try:
        trainer = _build(lesson, settings, spent)
    except (RuntimeError, MemoryError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            f"there is no memory to load {lesson.student}",
            "set train.quantize: true, take a smaller student, or end what else uses the memory",
        ) from error
    ended = checkpoint.step >= lesson.steps or out_of_patience(checkpoint.looks, settings.patience or lesson.steps)
    if checkpoint.path is None or not ended:
        try:
            trainer.train(resume_from_checkpoint=checkpoint.path and str(checkpoint.path))
        except (RuntimeError, MemoryError, OSError) as error:
            if not is_out_of_memory(error):
                raise
            raise NoMemory(trainer.state.global_step + 1, str(error)) from None
    else:  # killed after the last step: another one would be one too many
        trainer.state = trainer.state.load_from_json(str(checkpoint.path / "trainer_state.json"))
        _load_adapter(trainer.model, checkpoint.path)
    if lesson.look is not None:
        best = best_look(looks_of(trainer.state.log_history))
        _load_adapter(trainer.model, lesson.checkpoints / f"checkpoint-{best}")
    return trainer


def _build(lesson: _Lesson, settings: TrainSettings, spent: Callable[[], dict[str, Any]]) -> Any:
    model = load_base(lesson.student, quantize=settings.quantize)
    if lesson.start is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(lesson.start), is_trainable=True)
    return build_trainer(
        model,
        lesson.tokenizer,
        lesson.rows,
        settings,
        lesson.checkpoints,
        steps=lesson.steps,
        progress=lambda step, logs: lesson.progress(step, logs["loss"]),
        look=lesson.look,
        spent=spent,
    )


def _load_adapter(model: Any, checkpoint: Path) -> None:
    from peft.utils.save_and_load import load_peft_weights, set_peft_model_state_dict

    set_peft_model_state_dict(model, load_peft_weights(str(checkpoint), device="cpu"))


def _newest(lesson: _Lesson, say: Callable[[str], None] = lambda words: None) -> Checkpoint:
    """Return the checkpoint to go on from, and remove those that cannot be used."""
    checkpoint: Checkpoint = agree(choose_checkpoint(lesson.checkpoints, keeps_best=lesson.look is not None))
    for words in checkpoint.skipped:
        say(f"left aside {words}")
        if current_ranks().leads:
            shutil.rmtree(lesson.checkpoints / words.split(":")[0], ignore_errors=True)
    return checkpoint


def _shortage(short: NoMemory, settings: TrainSettings) -> dict[str, int]:
    """Return what was too much for the memory, and the micro-batch to try next.

    Raises:
        TrainingError: It was one report already, or other processes would have to follow.
    """
    if current_ranks().size > 1:
        rank, tried = current_ranks().rank, settings.micro_batch
        raise TrainingError(
            f"step {short.step}: process {rank} is out of memory with micro-batches of at most {tried}",
            f"set train.micro_batch to {max(1, tried // 2)}: several processes do not change it by themselves",
        )
    tried, _ = share_batch(settings.batch, settings.micro_batch, 1)
    if tried == 1:
        raise TrainingError(
            f"step {short.step}: there is no memory for even one report at a time ({short.said})",
            "set train.max_length lower, train.gradient_checkpointing or train.quantize to true, or take a smaller "
            "student",
        )
    now, _ = share_batch(settings.batch, tried // 2, 1)
    return {"step": short.step, "micro_batch": tried, "now": now}


def _shrunk(settings: TrainSettings, shortages: Sequence[dict[str, int]]) -> TrainSettings:
    """Return settings of the same effective batch, in micro-batches that there was no shortage for yet."""
    if not shortages:
        return settings
    return settings.model_copy(update={"micro_batch": shortages[-1]["now"]})


def _micro_batch(settings: TrainSettings) -> int:
    """Return the reports that a forward pass of this process takes."""
    return share_batch(settings.batch, settings.micro_batch, current_ranks().size)[0]


def _tidy(lesson: _Lesson) -> None:
    """Remove the checkpoints; what a tracker wrote beside them stays, in the folder of the training."""
    for left in lesson.checkpoints.iterdir():
        if left.is_dir() and not left.name.startswith("checkpoint-"):
            shutil.copytree(left, lesson.folder / left.name, dirs_exist_ok=True)
    shutil.rmtree(lesson.checkpoints, ignore_errors=True)


def _empty_cache() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _spent(first: Checkpoint, meter: Meter) -> Spent:
    """Return what the training has taken, earlier sittings among it up to the checkpoint that is gone on from."""
    return Spent.from_dict(first.spent) + meter.read()


def _require_sane(trainer: Any, rows: Sequence[TreeRow]) -> None:
    """Raise unless the trained student gives its shortest row a loss: the last step is followed by no other."""
    import torch

    learned = [p for p in trainer.model.parameters() if p.requires_grad]
    done, rate = trainer.state.global_step, trainer.args.learning_rate
    require_finite_adapter(learned, done, rate)
    with torch.no_grad():
        batch = collate([min(rows, key=len)], trainer.processing_class.pad_token_id, trainer.model.dtype)
        loss = trainer.compute_loss(trainer.model.eval(), trainer._prepare_inputs(batch))
    require_finite_step(torch.zeros_like(loss), loss, done, rate)


def _save_adapter(trainer: Any, folder: Path) -> str:
    """Write the adapter whole or not at all; return the hash of its weights."""
    adapter, unfinished = folder / "adapter", folder / f".adapter.{os.getpid()}"
    size = sum(p.numel() * p.element_size() for p in trainer.model.parameters() if p.requires_grad)
    with writing(adapter, size, under=unfinished):
        trainer.model.save_pretrained(unfinished)
        shutil.rmtree(adapter, ignore_errors=True)
        os.replace(unfinished, adapter)
    return hashlib.blake2b((adapter / "adapter_model.safetensors").read_bytes(), digest_size=12).hexdigest()
