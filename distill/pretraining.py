"""Pretrain a tiny Llama on the exercises, resumable from its last checkpoint."""

import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from teachback.distill.base import compute_in_bf16
from teachback.distill.exercises import exercise_batches
from teachback.distill.questions import Questions
from teachback.distill.recipe import Recipe
from teachback.distill.tree import IGNORED
from teachback.errors import TrainingError

__all__ = ["CHECKPOINT", "pretrain"]

CHECKPOINT = "pretraining.pt"


def pretrain(
    model: Any,
    questions: Questions,
    texts: Sequence[str],
    recipe: Recipe,
    folder: Path,
    recipe_id: str,
    *,
    checkpoint_seconds: float = 60.0,
    progress: Callable[[float, str], None] = lambda share, note: None,
) -> dict[str, Any]:
    """Train the model in place; what a killed run had reached by its last checkpoint is not repeated.

    Args:
        model: A causal language model with its starting weights.
        questions: In whose words the exercises are put.
        texts: Report texts.
        recipe: Exercises and budget.
        folder: Where the checkpoint lies.
        recipe_id: Hash of all that makes the student; a checkpoint of another one is refused.
        checkpoint_seconds: Time between checkpoints.
        progress: Called with the share done and a note.

    Returns:
        Steps, tokens, running loss and seconds, those before a resumption among them.

    Raises:
        TrainingError: The folder holds a checkpoint of other settings or other reports.
    """
    import torch

    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.05, fused=True
    )
    step, tokens, seconds, running = _resume(folder, recipe_id, model, optimizer)
    started, saved = time.monotonic() - seconds, time.monotonic()
    model.train()
    for batch in exercise_batches(questions, texts, recipe, skip=step):
        seconds = time.monotonic() - started
        share = max(
            seconds / recipe.seconds if recipe.seconds else 0.0,
            step / recipe.steps if recipe.steps else 0.0,
        )
        if share >= 1:
            break
        warm = min(1.0, share / 0.05 + 0.02)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=compute_in_bf16()):
            loss = _weighted_loss(model, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step, tokens = step + 1, tokens + int((batch["position_ids"] > 0).sum())
        running = loss.item() if math.isnan(running) else 0.95 * running + 0.05 * loss.item()
        progress(share, f"step {step}, loss {running:.2f}")
        if time.monotonic() - saved >= checkpoint_seconds:
            state = {"recipe_id": recipe_id, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
            _save(folder, {**state, "reached": [step, tokens, time.monotonic() - started, running]})
            saved = time.monotonic()
    return {"steps_done": step, "tokens": tokens, "loss": running, "seconds_taken": seconds}


def _resume(folder: Path, recipe_id: str, model: Any, optimizer: Any) -> tuple[int, int, float, float]:
    """Load the checkpoint, if there is one, and return step, tokens, seconds and running loss."""
    import torch

    path = folder / CHECKPOINT
    if not path.exists():
        return 0, 0, 0.0, math.nan
    state = torch.load(path, weights_only=True)
    if state["recipe_id"] != recipe_id:
        raise TrainingError(
            f"{path} belongs to a student of other settings or other reports",
            "repeat the command that it was begun with, name another folder, or add --force to begin anew",
        )
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    step, tokens, seconds, running = state["reached"]
    return step, tokens, seconds, running


def _save(folder: Path, state: dict[str, Any]) -> None:
    import torch

    temporary = folder / f".{CHECKPOINT}.{os.getpid()}"
    torch.save(state, temporary)
    os.replace(temporary, folder / CHECKPOINT)


def _weighted_loss(model: Any, batch: dict[str, Any]) -> Any:
    import torch

    states = model.model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], position_ids=batch["position_ids"]
    ).last_hidden_state[:, :-1]
    labels, weights = batch["labels"][:, 1:].flatten(), batch["loss_weights"][:, 1:].flatten()
    losses = torch.nn.functional.cross_entropy(
        model.lm_head(states).flatten(0, 1).float(), labels, reduction="none", ignore_index=IGNORED
    )
    return (losses * weights).sum() / weights.sum()
