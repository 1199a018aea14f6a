"""Step 3, train: an adapter from the base, from scratch each round, resumable from its last checkpoint."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from teachback.distill.artefacts import load_json, save_json
from teachback.distill.base import load_base
from teachback.distill.config import TrainSettings
from teachback.distill.ranks import agree, current_ranks, tell
from teachback.distill.trainer import build_trainer
from teachback.distill.tree import TreeRow

__all__ = ["train_adapter"]


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

    Returns:
        What `train.json` holds: adapter hash, steps, rows, tokens, seconds, the losses, whether NF4 was used.
    """
    finished = load_json(folder / "train.json")
    if finished is not None:
        return finished
    tell(train_adapter, student, tokenizer, rows, settings, folder, steps=steps, start=start)
    checkpoints, started = folder / "checkpoints", time.monotonic()
    checkpoint, done_before = agree(_newest_checkpoint(checkpoints))
    model = load_base(student, quantize=settings.quantize)
    if start is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(start), is_trainable=True)
    trainer = build_trainer(
        model,
        tokenizer,
        rows,
        settings,
        checkpoints,
        steps=steps,
        progress=lambda step, logs: progress(step, logs["loss"]),
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    if not current_ranks().leads:
        return {}
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    progress(steps, logged[-1] if logged else 0.0)
    unfinished = folder / f".adapter.{os.getpid()}"
    trainer.model.save_pretrained(unfinished)
    shutil.rmtree(folder / "adapter", ignore_errors=True)
    os.replace(unfinished, folder / "adapter")
    seconds, tokens = time.monotonic() - started, sum(len(row) for row in rows)
    record = {
        "adapter_hash": hashlib.blake2b(
            (folder / "adapter" / "adapter_model.safetensors").read_bytes(), digest_size=12
        ).hexdigest(),
        "steps": steps,
        "rows": len(rows),
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_second": tokens / len(rows) * settings.batch * (steps - done_before) / seconds,
        "resumed": checkpoint is not None,
        "quantized": settings.quantize,
        "losses": [[entry["step"], entry["loss"]] for entry in trainer.state.log_history if "loss" in entry],
    }
    save_json(folder / "train.json", record)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return record


def _newest_checkpoint(folder: Path) -> tuple[str | None, int]:
    """Return the last checkpoint that was written whole, with its step: its state is the last file of a checkpoint."""
    whole: list[tuple[int, Path]] = []
    for state in folder.glob("checkpoint-*/trainer_state.json"):
        with suppress(json.JSONDecodeError):  # killed while writing it
            whole.append((int(json.loads(state.read_text(encoding="utf-8"))["global_step"]), state.parent))
    step, newest = max(whole, default=(0, None))
    return (None if newest is None else str(newest)), step
