"""The trainer: TRL's SFT on trees of questions, with a weight on every answer.

Departures from TRL's own: rows come as trees (`distill/tree.py`) through our collator, so TRL's dataset preparation is
skipped; the loss weighs each answer token; and LoRA stays in fp32 on a quantized base, where TRL casts it to bf16 and
small steps are lost to rounding (at lr 1e-5 only 6 % of the entries of `lora_A` change in 30 steps).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teachback.distill.base import compute_in_bf16
from teachback.distill.tree import IGNORED, TreeRow, collate
from teachback.errors import TrainingError

if TYPE_CHECKING:
    from teachback.distill.config import TrainSettings

__all__ = ["build_trainer"]

_FIELDS = ("input_ids", "positions", "branches", "labels", "weights", "ends")


def build_trainer(
    model: Any,
    tokenizer: Any,
    rows: Sequence[TreeRow],
    settings: "TrainSettings",
    out: Path,
    *,
    steps: int,
    progress: Callable[[int, Mapping[str, float]], None] | None = None,
) -> Any:
    """Build an `SFTTrainer` for trees of questions.

    Args:
        model: The base model, quantized or not; it gets a new adapter unless it has one to go on from.
        tokenizer: Its tokenizer.
        rows: Training rows.
        settings: Batch, learning rate, LoRA, checkpoints.
        out: Folder for checkpoints.
        steps: Optimizer steps.
        progress: Called after each logged step with its number and figures.

    Raises:
        TrainingError: There are no rows.
    """
    if not rows:
        raise TrainingError("there are no rows to train on", "label more reports: `teachback label --help`")
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import SFTTrainer

    class TreeTrainer(SFTTrainer):  # type: ignore[misc]
        """`SFTTrainer` whose loss is the weighted mean over answer tokens."""

        def _get_train_sampler(self, train_dataset: Any = None) -> "_ByLength":
            return _ByLength([len(row) for row in rows], settings.batch, settings.seed)

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            weights = inputs.pop("loss_weights")[:, 1:][inputs["labels"][:, 1:] != IGNORED]
            outputs = model(**inputs, use_cache=False)
            # Normalised over the batch, not by `num_items_in_batch`: that counts tokens, ours have weights.
            loss = (outputs["losses"] * weights).sum() / weights.sum().clamp(min=1e-6)
            if num_items_in_batch is not None:  # Trainer leaves the mean over accumulation steps to the loss
                loss = loss / self.current_gradient_accumulation_steps
            return (loss, outputs) if return_outputs else loss

    class Progress(TrainerCallback):  # type: ignore[misc]
        """Hands figures on as they are logged."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if progress is not None and logs and "loss" in logs:
                progress(state.global_step, {k: float(v) for k, v in logs.items() if isinstance(v, int | float)})

    dataset = Dataset.from_dict({field: [list(getattr(row, field)) for row in rows] for field in _FIELDS})
    trainer = TreeTrainer(
        model=model,
        args=_arguments(settings, out, steps),
        data_collator=lambda batch: collate([_tree_row(row) for row in batch], tokenizer.pad_token_id, model.dtype),
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=None if hasattr(model, "peft_config") else _lora(settings),
        callbacks=[Progress()],
    )
    trainer.remove_callback(_printer())
    _score_answers_alone(trainer.model.get_base_model())
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return trainer


def _score_answers_alone(model: Any) -> None:
    """Let a causal language model return the loss of each token that has a label, and no logits of the others.

    A row's answers are one token in ten. Departure from TRL's fused head, which on CPU scores every position: that
    cost a third of a step of the tiny student.
    """
    from torch.nn.functional import cross_entropy

    def forward(labels: Any, **inputs: Any) -> dict[str, Any]:
        asked = labels[:, 1:] != IGNORED
        states = model.model(**inputs).last_hidden_state[:, :-1][asked]
        logits = model.get_output_embeddings()(states).float()
        return {"losses": cross_entropy(logits, labels[:, 1:][asked], reduction="none")}

    model.forward = forward


def _arguments(settings: "TrainSettings", out: Path, steps: int) -> Any:
    import torch
    from trl import SFTConfig

    use_cuda = torch.cuda.is_available()
    return SFTConfig(
        output_dir=str(out),
        max_steps=steps,
        per_device_train_batch_size=settings.micro_batch,
        gradient_accumulation_steps=max(1, settings.batch // settings.micro_batch),
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup_steps if settings.warmup_steps is not None else max(1, round(0.05 * steps)),
        weight_decay=settings.weight_decay,
        max_grad_norm=1.0,
        optim="paged_adamw_8bit" if use_cuda and settings.quantize else "adamw_torch",
        bf16=compute_in_bf16(),
        use_cpu=not use_cuda,
        activation_checkpointing=settings.gradient_checkpointing,
        seed=settings.seed,
        data_seed=settings.seed,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        logging_steps=settings.logging_steps,
        save_strategy="steps",
        save_steps=settings.save_steps,
        save_total_limit=1,
        report_to=settings.report_to,
        disable_tqdm=True,
        dataloader_pin_memory=use_cuda,
    )


def _lora(settings: "TrainSettings") -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=settings.target_modules,
        task_type="CAUSAL_LM",
    )


class _ByLength:
    """Draws rows so that those of a batch are of like length, in an order that seed and epoch alone decide.

    Departure from the trainer's own sampler: that one draws from the state of the global generator, which a resumed
    training does not have at an epoch's start, so it would repeat some rows of the epoch and miss others.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
        self._lengths, self._batch, self._seed, self._epoch = list(lengths), batch, seed, 0

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        import torch
        from transformers.trainer_pt_utils import get_length_grouped_indices

        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        return iter(get_length_grouped_indices(self._lengths, self._batch, generator=generator))

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch to draw; the trainer and its loader call this."""
        self._epoch = epoch


def _tree_row(entry: Mapping[str, Any]) -> TreeRow:
    return TreeRow(**{field: tuple(entry[field]) for field in _FIELDS})


def _printer() -> Any:
    from transformers import PrinterCallback

    return PrinterCallback
