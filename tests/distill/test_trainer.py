import copy
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from teachback.distill.base import load_base, load_tokenizer
from teachback.distill.config import TrainSettings
from teachback.distill.prompt import load_student_prompt
from teachback.distill.questions import Questions, Target
from teachback.distill.train import train_adapter
from teachback.distill.trainer import build_trainer
from teachback.distill.tree import TreeRow, collate
from teachback.errors import TrainingError

PLAIN = TrainSettings(quantize=False, lora_r=4, batch=4, micro_batch=4, schedule="constant", warmup_steps=0)
TARGETS = (
    {"Edema": Target("present", 1.0), "Fracture": Target("unmentioned", 0.4)},
    {"Pneumonia": Target("uncertain", 2.0), "diseases": Target("pleural effusion J90; gout M10.9", 0.2)},
)


@pytest.fixture
def rows(ask: Callable[..., Questions], texts: list[str]) -> list[TreeRow]:
    questions = ask()
    return [questions.row(text, TARGETS[i % 2]) for i, text in enumerate(texts[:8])]


def by_hand(torch: Any, model: Any, rows: Sequence[TreeRow]) -> float:
    """The weighted mean of the answer tokens' cross entropies, each branch computed as a prompt of its own."""
    total = weights = 0.0
    for row in rows:
        for number in range(1, len(row.ends) + 1):
            own = [i for i, owner in enumerate(row.branches) if owner in (0, number)]
            with torch.inference_mode():
                scores = model(input_ids=torch.tensor([[row.input_ids[i] for i in own]])).logits[0].log_softmax(-1)
            for place, i in enumerate(own):
                if row.labels[i] >= 0:
                    total -= row.weights[i] * float(scores[place - 1, row.labels[i]])
                    weights += row.weights[i]
    return total / weights


def loss_of(trainer: Any, rows: Sequence[TreeRow], items: Any = None) -> float:
    batch = collate(rows, trainer.processing_class.pad_token_id)
    return float(trainer.compute_loss(trainer.model.eval(), batch, num_items_in_batch=items).detach())


def test_the_loss_is_the_weighted_mean_over_answer_tokens(
    torch: Any, llama: Any, tokenizer: Any, rows: list[TreeRow], tmp_path: Path
) -> None:
    expected = by_hand(torch, copy.deepcopy(llama), rows[:4])
    trainer = build_trainer(llama, tokenizer, rows, PLAIN, tmp_path, steps=1)
    assert loss_of(trainer, rows[:4]) == pytest.approx(expected, rel=1e-4)
    assert loss_of(trainer, rows[4:]) != pytest.approx(expected, rel=1e-4)


def test_answers_of_weight_zero_change_nothing(
    llama: Any, tokenizer: Any, rows: list[TreeRow], ask: Callable[..., Questions], tmp_path: Path
) -> None:
    weightless = ask().row("Edema. " * 30, {"Edema": Target("absent", 0.0), "Fracture": Target("present", 0.0)})
    trainer = build_trainer(llama, tokenizer, rows, PLAIN, tmp_path, steps=1)
    assert loss_of(trainer, [*rows[:2], weightless]) == pytest.approx(loss_of(trainer, rows[:2]), rel=1e-4)
    assert loss_of(trainer, [weightless]) == 0.0  # and no division by zero


def test_a_step_is_the_mean_over_all_its_answers_whatever_its_micro_batches_weigh(
    torch: Any, llama: Any, tokenizer: Any, rows: list[TreeRow], tmp_path: Path
) -> None:
    trainer = build_trainer(llama, tokenizer, rows, PLAIN, tmp_path, steps=1)
    batches = [collate(part, tokenizer.pad_token_id) for part in (rows[:1], rows[1:3])]
    weighed = trainer._get_num_items_in_batch(batches, torch.device("cpu"))
    assert float(weighed) == pytest.approx(sum(sum(row.weights) for row in rows[:3]))
    parts = [loss_of(trainer, part, items=weighed) for part in (rows[:1], rows[1:3])]
    assert sum(parts) == pytest.approx(loss_of(trainer, rows[:3]), rel=1e-5)


def gradients(torch: Any, model: Any, tokenizer: Any, rows: list[TreeRow], settings: TrainSettings, out: Path) -> Any:
    """Train one step; return the gradients that the optimizer saw, as one vector."""
    from transformers import TrainerCallback

    seen: list[Any] = []

    class Look(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
            grads = [p.grad.flatten().clone() for p in model.parameters() if p.requires_grad]
            seen.append(torch.cat(grads))

    trainer = build_trainer(model, tokenizer, rows, settings, out, steps=1)
    trainer.add_callback(Look())
    trainer.train()
    (gradient,) = seen
    return gradient


def test_accumulating_micro_batches_is_one_large_batch(
    torch: Any, llama: Any, tokenizer: Any, rows: list[TreeRow], tmp_path: Path
) -> None:
    at_once, in_four = (PLAIN.model_copy(update={"batch": 8, "micro_batch": size}) for size in (8, 2))
    whole = gradients(torch, copy.deepcopy(llama), tokenizer, rows, at_once, tmp_path)
    parts = gradients(torch, llama, tokenizer, rows, in_four, tmp_path)
    assert whole.norm() > 0
    # bf16 products where the machine has them: three digits
    assert (whole - parts).norm() / whole.norm() < 0.02


def test_adapters_are_fp32_on_an_nf4_base_and_alone_learn(
    torch: Any, student: Path, texts: list[str], tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(str(student))
    questions = Questions(tokenizer, max_length=512, **load_student_prompt("short"))
    rows = [questions.row(text, TARGETS[0]) for text in texts[:8]]
    model = load_base(str(student), quantize=True)
    settings = PLAIN.model_copy(update={"quantize": True, "learning_rate": 1e-5})
    trainer = build_trainer(model, tokenizer, rows, settings, tmp_path, steps=3)
    learning = {name: p for name, p in trainer.model.named_parameters() if p.requires_grad}
    assert learning
    assert all("lora_" in name and p.dtype == torch.float32 for name, p in learning.items())
    # Seven linear layers in each of two blocks, two matrices each; the output layer stays out.
    assert len(learning) == 7 * 2 * 2
    frozen = {name: p for name, p in trainer.model.named_parameters() if not p.requires_grad}
    assert sum(type(p).__name__ == "Params4bit" for p in frozen.values()) == 14
    before = {name: p.detach().clone() for name, p in (learning | frozen).items()}
    trainer.train()
    assert all(p.dtype == torch.float32 for p in learning.values())
    assert all(torch.equal(p, before[name]) for name, p in frozen.items())
    # At a learning rate at which bf16 would round nearly every step of lora_A away.
    changed = torch.cat([(p != before[name]).flatten() for name, p in learning.items() if "lora_A" in name])
    assert changed.float().mean() > 0.9


def test_every_epoch_has_an_order_of_its_own_that_follows_from_the_seed(
    torch: Any, llama: Any, tokenizer: Any, rows: list[TreeRow], tmp_path: Path
) -> None:
    trainer = build_trainer(llama, tokenizer, rows, PLAIN, tmp_path, steps=1)

    def order(epoch: int, noise: int) -> list[int]:
        torch.manual_seed(noise)  # what else was drawn before does not matter
        sampler = trainer._get_train_sampler()
        sampler.set_epoch(epoch)
        return list(sampler)

    orders = [order(epoch, noise=epoch) for epoch in range(4)]
    assert all(sorted(drawn) == list(range(8)) for drawn in orders)
    assert len({tuple(drawn) for drawn in orders}) == 4
    assert orders == [order(epoch, noise=9) for epoch in range(4)]


def test_no_rows_is_an_error(llama: Any, tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no rows to train on"):
        build_trainer(llama, tokenizer, [], PLAIN, tmp_path, steps=1)


class Killed(BaseException):
    """Stands for what ends a process in the middle of a training."""


@pytest.fixture(scope="module")
def lesson(student: Path, texts: list[str]) -> Callable[..., dict[str, Any]]:
    """Train six steps with a checkpoint every second, into a folder; stop when a step is told, for the last time."""
    tokenizer = load_tokenizer(str(student))
    questions = Questions(tokenizer, max_length=512, **load_student_prompt("short"))
    rows = [questions.row(text, TARGETS[i % 2]) for i, text in enumerate(texts[:10])]
    settings = TrainSettings(
        lora_r=4, lora_dropout=0.1, batch=4, micro_batch=4, logging_steps=1, save_steps=2, learning_rate=1e-2
    )

    def train(folder: Path, stop_at: int = 0, said: list[str] | None = None, last: bool = False) -> dict[str, Any]:
        times = 0

        def progress(step: int, loss: float) -> None:
            nonlocal times
            times += step == stop_at
            if times > last:
                raise Killed

        say = [].append if said is None else said.append
        return train_adapter(str(student), tokenizer, rows, settings, folder, steps=6, progress=progress, say=say)

    return train


@pytest.fixture(scope="module")
def whole(
    torch: Any, lesson: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The record of the lesson when nothing stopped it."""
    return lesson(tmp_path_factory.mktemp("whole"))


def test_a_training_is_the_same_for_the_same_seed_and_learns(
    whole: dict[str, Any], lesson: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    other = lesson(tmp_path)
    assert whole["adapter_hash"] == other["adapter_hash"]
    assert whole["losses"] == other["losses"]
    assert [step for step, _ in whole["losses"]] == [1, 2, 3, 4, 5, 6]
    assert whole["losses"][-1][1] < whole["losses"][0][1]
    assert whole["rows"] == 10
    assert not whole["resumed"]
    assert not (tmp_path / "checkpoints").exists()


def test_a_finished_training_is_not_repeated(torch: Any, lesson: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    first = lesson(tmp_path)
    written = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    again = lesson(tmp_path)
    assert again == json.loads(json.dumps(first))
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == written


@pytest.fixture(scope="module")
def killed(lesson: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a lesson that was killed at its fifth step."""
    folder = tmp_path_factory.mktemp("killed")
    with pytest.raises(Killed):
        lesson(folder, stop_at=5)
    checkpoints = sorted(entry.name for entry in (folder / "checkpoints").glob("checkpoint-*"))
    assert checkpoints == ["checkpoint-2", "checkpoint-4"]
    assert not (folder / "train.json").exists()
    return folder


def damage(checkpoints: Path, kind: str) -> None:
    """Do to checkpoints what kills, disks and copies do; 4 is the newest that was written."""
    newest, next_one = checkpoints / "checkpoint-4", checkpoints / "checkpoint-6"
    if kind == "half written":  # killed while writing the next one
        next_one.mkdir()
        (next_one / "adapter_model.safetensors").write_bytes(b"\0" * 10)
        (next_one / "trainer_state.json").write_text('{"global_step": 6, ')
    if kind == "cut short":
        with (newest / "optimizer.pt").open("r+b") as file:
            file.truncate(1000)
    if kind == "a byte changed":
        with (newest / "adapter_model.safetensors").open("r+b") as file:
            file.seek(-5, 2)
            file.write(b"\x7f")
    if kind == "all lost":
        (newest / "scheduler.pt").unlink()
        (checkpoints / "checkpoint-2" / "seal.json").write_text("{")


@pytest.mark.parametrize(
    ("kind", "left_aside"),
    [
        ("none", []),
        ("half written", ["checkpoint-6: it was not written to its end"]),
        ("cut short", ["checkpoint-4: optimizer.pt has 1000 bytes of"]),
        ("a byte changed", ["checkpoint-4: adapter_model.safetensors has changed since it was written"]),
        ("all lost", ["checkpoint-2: seal.json cannot be read", "checkpoint-4: scheduler.pt cannot be read"]),
    ],
)
def test_a_stopped_training_goes_on_from_its_last_whole_checkpoint(
    whole: dict[str, Any],
    lesson: Callable[..., dict[str, Any]],
    killed: Path,
    tmp_path: Path,
    kind: str,
    left_aside: list[str],
) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(killed, folder)
    damage(folder / "checkpoints", kind)
    said: list[str] = []
    record = lesson(folder, said=said)
    assert len(said) == len(record["skipped_checkpoints"]) == len(left_aside)
    for words, told, expected in zip(said, record["skipped_checkpoints"], left_aside, strict=True):
        assert words == f"left aside {told}"
        assert told.startswith(expected)
    assert record["resumed"] == (kind != "all lost")
    assert [step for step, _ in record["losses"]] == [1, 2, 3, 4, 5, 6]
    assert record["losses"] == whole["losses"]
    assert record["adapter_hash"] == whole["adapter_hash"]  # to the bit, optimizer and dropout included


def test_a_training_that_was_killed_behind_its_last_step_trains_no_more(
    whole: dict[str, Any], lesson: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        lesson(tmp_path, stop_at=6, last=True)  # told as it is logged, and once more when it is saved
    assert (tmp_path / "checkpoints" / "checkpoint-6" / "seal.json").exists()
    record = lesson(tmp_path)
    assert record["resumed"]
    assert record["losses"] == whole["losses"]
    assert record["adapter_hash"] == whole["adapter_hash"]
