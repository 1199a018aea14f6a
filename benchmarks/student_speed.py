"""How fast a student answers and learns: slots beside generation and single prompts, our loop beside plain TRL.

    python benchmarks/student_speed.py [--student tiny] [--reports 200] [--steps 12] [--repeat 3]

Answering, the same student and texts on the same machine: one pass with the report's keys and values shared and the 13
slots read at once (ours); 13 separate prompts, each read at its slot; and an answer written token by token, as JSON of
the 13 statuses, as long as a valid one is (its content does not matter to its speed). The probabilities of the first
two are compared. All batches hold like lengths and the same number of tokens; since few rows are dear to write one
token at a time, JSON is also written in batches eight times as large, as the package writes its own lists.

Learning, tokens a second (padding not counted) of an optimizer step with LoRA: our loop (trees, weights on tokens, its
own order of rows), and TRL's `SFTTrainer` with its own collator and loss on the very batches of ours, as to tokens and
labels, with the same LoRA and arguments (without checkpointing of activations, which TRL has on by default). What
packing gains: ours with rows in random order shows what batches of like length do; and the tokens of a report's
questions as branches behind one report are set against those of as many prompts.

The ways take turns, so that other work on the machine meets all of them; figures are medians. The last line is one JSON
object.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from teachback.distill.base import load_base, load_tokenizer, require_training, resolve_student
from teachback.distill.config import TrainSettings
from teachback.distill.predict import TOKENS_A_BATCH, predict_findings, reading_batch
from teachback.distill.prompt import load_student_prompt
from teachback.distill.questions import Questions, Target
from teachback.distill.record import environment
from teachback.distill.trainer import build_trainer
from teachback.distill.tree import TreeRow
from teachback.store.corpora.synthetic import generate
from teachback.store.label import FINDINGS, STATUSES

TAUGHT = 1_024  # rows that training steps draw from, at least: batches of like length need a choice
BATCH = 16  # rows of a training step
WARM_UP = 2  # steps that are not counted
READ_AT_ONCE = reading_batch("cpu")  # padded tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", default="tiny", help="tiny, a folder, or a Hugging Face id")
    parser.add_argument("--prompt", default="short", help="file in prompts/student/")
    parser.add_argument("--reports", type=int, default=200)
    parser.add_argument("--steps", type=int, default=12, help="optimizer steps a way and turn")
    parser.add_argument("--repeat", type=int, default=3, help="turns")
    options = parser.parse_args()
    require_training()
    setting = {name: str(value) for name, value in vars(options).items()}
    print(f"setting: {setting}, {environment()['device']}, {environment()['cores']} cores")
    student = resolve_student(options.student)
    questions = Questions(load_tokenizer(student), max_length=1024, **load_student_prompt(options.prompt))
    written = list(generate(max(options.reports, TAUGHT), seed=0))
    texts = [entry.report.text("full") for entry in written]
    answering = _answering(student, questions, texts[: options.reports], options.repeat)
    rows = [
        questions.row(text, {f: Target(entry.statuses[f], 1.0) for f in FINDINGS})
        for text, entry in zip(texts, written, strict=True)
    ]
    learning = _learning(student, questions, rows, options)
    outcome = {"benchmark": "student_speed", "setting": setting, "environment": environment()}
    print(json.dumps(outcome | {"answering": answering, "learning": learning}))


def _answering(student: str, questions: Questions, texts: Sequence[str], repeat: int) -> dict[str, Any]:
    model = load_base(student, quantize=False).float().eval()
    ways: dict[str, Callable[[], Any]] = {
        "slots, shared report": lambda: predict_findings(model, questions, texts),
        "13 separate prompts": lambda: _one_by_one(model, questions, texts),
        "JSON, the same batches": lambda: _write_json(model, questions, texts, READ_AT_ONCE),
        "JSON, large batches": lambda: _write_json(model, questions, texts, TOKENS_A_BATCH),
    }
    seconds, answers = _in_turns(ways, repeat)
    shared, alone, *_ = answers.values()
    difference = float(np.abs(shared - alone).max())
    rates = {name: len(texts) / statistics.median(took) for name, took in seconds.items()}
    fastest = rates["slots, shared report"]
    print(f"\nanswering {len(texts)} reports, 13 findings each")
    for name, rate in rates.items():
        print(f"  {name:24}{rate:10.1f} reports/s   slots are {fastest / rate:5.1f} times as fast")
    print(f"  largest difference of a probability, shared against separate: {difference:.1e}")
    return {
        "reports_per_s": {name: round(rate, 2) for name, rate in rates.items()},
        "times_separate_prompts": round(fastest / rates["13 separate prompts"], 2),
        "times_json": round(fastest / rates["JSON, the same batches"], 2),
        "times_json_in_large_batches": round(fastest / rates["JSON, large batches"], 2),
        "largest_difference": difference,
    }


def _one_by_one(model: Any, questions: Questions, texts: Sequence[str]) -> Any:
    """Read each finding's status at the end of a prompt of its own: (N, 13, 4) probabilities."""
    import torch

    prompts = [[*questions.prefix(text), *questions.tail(finding)] for text in texts for finding in FINDINGS]
    out = np.zeros((len(prompts), len(STATUSES)), np.float32)
    with torch.inference_mode():
        for indices in _batches([len(prompt) for prompt in prompts], READ_AT_ONCE):
            ids, mask = _padded([prompts[i] for i in indices], questions.tokenizer.pad_token_id)
            logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=1).logits[:, -1]
            out[indices] = logits[:, list(questions.status_tokens)].float().softmax(-1).numpy()
    return out.reshape(len(texts), len(FINDINGS), len(STATUSES))


def _write_json(model: Any, questions: Questions, texts: Sequence[str], tokens: int) -> None:
    """Write as many tokens as a JSON object of 13 statuses has, greedily."""
    import torch

    example = json.dumps({finding: STATUSES[i % len(STATUSES)] for i, finding in enumerate(FINDINGS)})
    length = len(questions.encode_answer(example))
    prompts = [[*questions.prefix(text), *questions.tail(FINDINGS[0])] for text in texts]
    with torch.inference_mode():
        for indices in _batches([len(prompt) + length for prompt in prompts], tokens):
            ids, mask = _padded([prompts[i] for i in indices], questions.tokenizer.pad_token_id)
            model.generate(
                input_ids=ids,
                attention_mask=mask,
                min_new_tokens=length,
                max_new_tokens=length,
                do_sample=False,
                pad_token_id=questions.tokenizer.pad_token_id,
            )


def _learning(
    student: str, questions: Questions, rows: Sequence[TreeRow], options: argparse.Namespace
) -> dict[str, Any]:
    mixed = np.random.default_rng(0).permutation(len(rows)).tolist()
    ways: dict[str, Callable[[], Any]] = {
        "ours": lambda: _train(student, questions, rows, options.steps, plain=False),
        "TRL's SFT": lambda: _train(student, questions, rows, options.steps, plain=True),
        "ours, lengths mixed": lambda: _train(student, questions, rows, options.steps, plain=False, order=mixed),
    }
    _, rates = _in_turns(ways, options.repeat, keep=True)
    medians = {name: statistics.median(rate for rate, _ in found) for name, found in rates.items()}
    padded = {name: statistics.median(padding for _, padding in found) for name, found in rates.items()}
    alone = _tokens_of_single_prompts(rows)
    flat = sum(len(row) for row in rows)
    print(f"\nlearning, {options.steps} steps of {BATCH} rows, mean {flat / len(rows):.0f} tokens")
    for name, rate in medians.items():
        print(f"  {name:24}{rate:10.0f} tokens/s   {padded[name]:6.1%} padding beside them")
    against = medians["ours"] / medians["TRL's SFT"]
    print(
        f"  ours / TRL's: {against:.2f}; like lengths / mixed: {medians['ours'] / medians['ours, lengths mixed']:.2f}"
    )
    tree, single = flat / len(rows), alone / len(rows)
    print(f"  tokens a report: {tree:.0f} as a tree, {single:.0f} as 13 prompts: {single / tree:.1f} times")
    return {
        "tokens_per_s": {name: round(rate) for name, rate in medians.items()},
        "padding": {name: round(share, 3) for name, share in padded.items()},
        "over_trl": round(against, 3),
        "over_mixed_lengths": round(medians["ours"] / medians["ours, lengths mixed"], 3),
        "tokens_saved_by_sharing": round(alone / flat, 2),
    }


def _train(
    student: str,
    questions: Questions,
    rows: Sequence[TreeRow],
    steps: int,
    *,
    plain: bool,
    order: Sequence[int] | None = None,
) -> tuple[float, float]:
    """Train for some steps; return tokens a second without the first steps, and padding beside each token."""
    times: list[float] = []
    batches: list[tuple[int, int]] = []  # tokens, and places they are padded to
    settings = TrainSettings(quantize=False, batch=BATCH, micro_batch=BATCH, logging_steps=1, save_steps=10_000)
    model = load_base(student, quantize=False)
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(model, questions.tokenizer, rows, settings, Path(folder), steps=steps + WARM_UP)
        drawn = list(trainer._get_train_sampler()) if order is None else order
        if plain:
            trainer = _plain_trainer(student, questions, rows, trainer)
        trainer._get_train_sampler = lambda *_: drawn
        _count(trainer, batches)
        from transformers import TrainerCallback

        class Clock(TrainerCallback):  # type: ignore[misc]
            def on_step_end(self, *args: Any, **kwargs: Any) -> None:
                times.append(time.perf_counter())

        trainer.add_callback(Clock())
        trainer.train()
    tokens, places = map(sum, zip(*batches[WARM_UP : steps + WARM_UP], strict=True))
    return tokens / (times[-1] - times[WARM_UP - 1]), places / tokens - 1


def _count(trainer: Any, batches: list[tuple[int, int]]) -> None:
    """Note of each batch how many tokens it has, and to how many places they are padded."""
    collate = trainer.data_collator

    def counted(examples: Sequence[Any]) -> Any:
        batch = collate(examples)
        batches.append((sum(len(example["input_ids"]) for example in examples), batch["input_ids"].numel()))
        return batch

    trainer.data_collator = counted


def _plain_trainer(student: str, questions: Questions, rows: Sequence[TreeRow], ours: Any) -> Any:
    """Build TRL's trainer with our arguments and its own collator and loss, on rows of the same lengths."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    arguments = {
        name: getattr(ours.args, name)
        for name in (
            "output_dir",
            "max_steps",
            "per_device_train_batch_size",
            "gradient_accumulation_steps",
            "learning_rate",
            "lr_scheduler_type",
            "warmup_steps",
            "weight_decay",
            "max_grad_norm",
            "optim",
            "activation_checkpointing",
            "bf16",
            "use_cpu",
            "seed",
        )
    }
    flat = [list(row.input_ids) for row in rows]
    trainer = SFTTrainer(
        model=load_base(student, quantize=False),
        args=SFTConfig(
            **arguments,
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
            save_strategy="no",
            logging_steps=1,
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=Dataset.from_dict({"input_ids": flat, "labels": [list(row.labels) for row in rows]}),
        processing_class=questions.tokenizer,
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _in_turns(
    ways: dict[str, Callable[[], Any]], repeat: int, *, keep: bool = False
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Run each way `repeat` times in turns; return seconds, and the last (or, with `keep`, every) outcome."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    outcomes: dict[str, Any] = {name: [] for name in ways}
    for _ in range(repeat):
        for name, way in ways.items():
            started = time.perf_counter()
            outcome = way()
            seconds[name].append(time.perf_counter() - started)
            outcomes[name] = [*outcomes[name], outcome] if keep else outcome
    return seconds, outcomes


def _tokens_of_single_prompts(rows: Sequence[TreeRow]) -> int:
    """Count what the rows' questions would take as prompts of their own: the prefix again for each."""
    total = 0
    for row in rows:
        prefix = row.branches.count(0)
        total += len(row) - prefix + prefix * max(row.branches)
    return total


def _batches(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Batches of like length, each at most so many padded tokens."""
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > tokens:
            batches.append([])
        batches[-1].append(i)
    return batches


def _padded(prompts: Sequence[Sequence[int]], pad: int) -> tuple[Any, Any]:
    import torch

    width = max(map(len, prompts))
    ids = [[pad] * (width - len(p)) + list(p) for p in prompts]
    mask = [[0] * (width - len(p)) + [1] * len(p) for p in prompts]
    return torch.tensor(ids), torch.tensor(mask)


if __name__ == "__main__":
    main()
