"""The trainer: TRL's SFT on trees of questions, with a weight on every answer.

Departures from TRL's own: rows come as trees (`distill/tree.py`) through our collator, so TRL's dataset preparation is
skipped; the loss weighs each answer token; and LoRA stays in fp32 on a quantized base, where TRL casts it to bf16 and
small steps are lost to rounding (at lr 1e-5 only 6 % of the entries of `lora_A` change in 30 steps). A step whose
gradients are no numbers ends the training, where the trainer would go on and log an older loss in its place; and
checkpoints are sealed (`distill/checkpoints.py`), two of them kept, so that a damaged one costs a few steps.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teachback.distill.base import compute_in_bf16
from teachback.distill.checkpoints import looks_of, prune, seal
from teachback.distill.early import best_look, out_of_patience
from teachback.distill.faults import require_finite_adapter, require_finite_step, writing
from teachback.distill.ranks import agree, average_gradients, begin_alike, current_ranks, gather_parts, share_batch
from teachback.distill.shard import shard_base
from teachback.distill.trackers import open_tracker
from teachback.distill.tree import IGNORED, TreeRow, collate
from teachback.errors import TrainingError

if TYPE_CHECKING:
    from teachback.distill.config import TrainSettings

__all__ = ["build_trainer"]

_COPIES = 3  # of the adapter in a checkpoint: its weights, and two moments of each
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
    look: Callable[[Any], float] | None = None,
    spent: Callable[[], dict[str, Any]] = dict,
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
        look: Returns the loss of the model on the calibration split; asked at each checkpoint.
        spent: What the training has taken so far, to be kept with a checkpoint.

    Raises:
        TrainingError: There are no rows.
    """
    if not rows:
        raise TrainingError("there are no rows to train on", "label more reports: `teachback label --help`")
    from datasets import Dataset
    from transformers import TrainerCallback

    class Progress(TrainerCallback):  # type: ignore[misc]
        """Hands figures on as they are logged."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if progress is not None and logs and "loss" in logs:
                progress(state.global_step, {k: float(v) for k, v in logs.items() if isinstance(v, int | float)})

    ranks = current_ranks()
    members = rows if ranks.size == 1 else [*rows, _blank(rows)]
    dataset = Dataset.from_dict({field: [list(getattr(row, field)) for row in members] for field in _FIELDS})
    trainer = _trainer_class([len(row) for row in rows], settings, out, look, spent)(
        model=model,
        args=_arguments(settings, out, steps),
        data_collator=lambda batch: collate([_tree_row(row) for row in batch], tokenizer.pad_token_id, model.dtype),
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=None if hasattr(model, "peft_config") else _lora(settings),
        callbacks=[Progress(), *(open_tracker(settings.report_to) if ranks.leads else [])],
    )
    trainer.remove_callback(_printer())
    _score_answers_alone(trainer.model.get_base_model())
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    begin_alike(list(trainer.model.parameters()), settings.seed)
    if ranks.size > 1 and _shards(settings):
        shard_base(trainer.model)
    return trainer


def _trainer_class(
    lengths: Sequence[int],
    settings: "TrainSettings",
    out: Path,
    look: Callable[[Any], float] | None,
    spent: Callable[[], dict[str, Any]],
) -> Any:
    from trl import SFTTrainer

    ranks = current_ranks()
    micro_batch, _ = share_batch(settings.batch, settings.micro_batch, ranks.size)

    class TreeTrainer(SFTTrainer):  # type: ignore[misc]
        """`SFTTrainer` whose loss is the weighted mean over answer tokens."""

        def _get_train_sampler(self, train_dataset: Any = None) -> "_ByLength":
            whole = micro_batch * ranks.size if ranks.size > 1 else 1
            return _ByLength(lengths, settings.batch, settings.seed, whole)

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            weights = inputs.pop("loss_weights")[:, 1:][inputs["labels"][:, 1:] != IGNORED]
            outputs = model(**inputs, use_cache=False)
            # Of the whole step, whatever its parts: each process has the mean over all as its share to give.
            total = weights.sum() if num_items_in_batch is None else num_items_in_batch / self.args.world_size
            loss = (outputs["losses"] * weights).sum() / total.clamp(min=1e-6)
            return (loss, outputs) if return_outputs else loss

        def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> Any:
            """Sum the weights of a step's answers, over its micro-batches and processes; tokens would count alike."""
            total = sum(b["loss_weights"][:, 1:][b["labels"][:, 1:] != IGNORED].sum() for b in batch_samples)
            return self.accelerator.reduce(total.to(device), "sum") if batch_samples else None

        def _wrap_model(self, model: Any, training: bool = True, dataloader: Any = None) -> Any:
            # Only the adapter's gradients travel, and once a step: accelerate's wrappers are not needed.
            alone = ranks.size == 1
            return super()._wrap_model(model) if alone else self.accelerator.prepare_model(model, evaluation_mode=True)

        def _clip_grad_norm(self, model: Any) -> Any:
            average_gradients(list(model.parameters()))
            norm = super()._clip_grad_norm(model)
            require_finite_step(norm, self._tr_loss, self.state.global_step + 1, self._get_learning_rate())
            return norm

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            learned = [p for p in self.model.parameters() if p.requires_grad]
            require_finite_adapter(learned, self.state.global_step, self._get_learning_rate())
            looks = () if look is None else self._look_with(look)
            folder = out / f"checkpoint-{self.state.global_step}"
            with writing(folder, _COPIES * sum(p.numel() * p.element_size() for p in learned)):
                super()._save_checkpoint(model, trial)
                gather_parts(None)  # until every process has written what is its own
                if ranks.leads:
                    seal(folder, spent())
            if ranks.leads:
                prune(out, [best_look(looks)] if looks else ())

        def _look_with(self, look: Callable[[Any], float]) -> tuple[tuple[int, float], ...]:
            """Look at the calibration split, and let the training end where the last looks brought nothing."""
            self.log({"calibration_loss": agree(look(self.model))})
            looks = looks_of(self.state.log_history)
            if settings.patience is not None and out_of_patience(looks, settings.patience):
                self.control.should_training_stop = True
            return looks

    return TreeTrainer


def _shards(settings: "TrainSettings") -> bool:
    import torch

    return torch.cuda.is_available() if settings.shard_base is None else settings.shard_base


def _blank(rows: Sequence[TreeRow]) -> TreeRow:
    """Return a short row that teaches nothing: it fills the last batch of an epoch where processes share it."""
    short = min(rows, key=len)
    return replace(short, labels=(IGNORED,) * len(short), weights=(0.0,) * len(short))


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
    micro_batch, accumulation = share_batch(settings.batch, settings.micro_batch, current_ranks().size)
    return SFTConfig(
        output_dir=str(out),
        max_steps=steps,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=accumulation,
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
        report_to="none",  # trackers come as callbacks of their own
        logging_nan_inf_filter=False,  # it hides a loss that is no number; here that ends the training
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

    def __init__(self, lengths: Sequence[int], batch: int, seed: int, whole: int = 1) -> None:
        self._lengths, self._batch, self._seed, self._epoch = list(lengths), batch, seed, 0
        self._blanks = -len(lengths) % whole  # the row behind the last, until a multiple of `whole` is drawn

    def __len__(self) -> int:
        return len(self._lengths) + self._blanks

    def __iter__(self) -> Iterator[int]:
        import torch
        from transformers.trainer_pt_utils import get_length_grouped_indices

        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        drawn = get_length_grouped_indices(self._lengths, self._batch, generator=generator)
        return iter([*drawn, *[len(self._lengths)] * self._blanks])

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch to draw; the trainer and its loader call this."""
        self._epoch = epoch


def _tree_row(entry: Mapping[str, Any]) -> TreeRow:
    return TreeRow(**{field: tuple(entry[field]) for field in _FIELDS})


def _printer() -> Any:
    from transformers import PrinterCallback

    return PrinterCallback
