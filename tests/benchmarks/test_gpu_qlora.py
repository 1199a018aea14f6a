"""benchmarks/gpu_qlora.py on a CPU, at a size that no GPU is needed for: that it runs, and what it calls work."""

import json
import sys
from pathlib import Path
from typing import Any

import gpu_qlora
import pytest

from teachback.distill.base import require_training
from teachback.distill.config import TrainSettings
from teachback.distill.init_student import train_tokenizer
from teachback.distill.recipe import Recipe
from teachback.distill.trainer import build_trainer
from teachback.distill.tree import Branch, plant
from teachback.store.corpora.synthetic import generate

for module in ("bitsandbytes", "peft", "trl"):
    pytest.importorskip(module)
require_training()
from transformers import TrainerCallback  # noqa: E402

# 40 tokens of report, two questions of 3 tokens, each with an answer of 1: 48 tokens, a multiple of 16.
ROW = plant(list(range(10, 50)), [Branch((5, 6, 7), (8,)), Branch((5, 6, 7), (9,))])


@pytest.mark.slow
def test_all_parts_run_and_both_ways_to_train_learn_alike(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--shape", "tiny", "--steps", "2", "--tokens", "512", "--reports", "16"]
    monkeypatch.setattr(sys, "argv", ["gpu_qlora.py", *few])
    gpu_qlora.main()
    outcome = json.loads(capsys.readouterr().out.splitlines()[-1])
    plain, again = outcome["training"], outcome["training, recomputing"]
    assert plain["last_loss"] < plain["first_loss"]
    for name in ("first_loss", "last_loss"):
        assert again[name] == pytest.approx(plain[name], abs=2e-3)
    assert 300 < plain["tokens_a_step"] < 700
    assert plain["share_of_bound"] is None  # nothing is known of a CPU's arithmetic
    assert outcome["slots"]["sums_to_one"]
    assert outcome["slots"]["reports_per_s"] > 0


def test_a_token_looks_at_its_prefix_and_its_own_branch() -> None:
    """Of attention: 1 + ... + 40 in the prefix, then 41 + 42 + 43 + 44 in each branch, over 48 tokens."""
    seen = (40 * 41 / 2 + 2 * (41 + 42 + 43 + 44)) / 48
    shape = gpu_qlora.SHAPES["tiny"]
    attention = 4 * shape.layers * shape.hidden * seen
    layer = (
        2 * shape.hidden**2 + 2 * shape.hidden * 32 + 3 * shape.hidden * shape.feed_forward
    )  # k and v: 2 heads of 16
    lora = 16 * (2 * 128 + 2 * 96 + 3 * 256)  # r x (in + out) of q and o, k and v, gate and up and down
    head = 2 * shape.hidden * shape.vocabulary * 2 / 48
    trained, read = gpu_qlora._flops(shape, TrainSettings(), [ROW])
    assert read == pytest.approx(2 * shape.layers * (layer + lora) + attention + head)
    assert trained == pytest.approx(shape.layers * (4 * layer + 6 * lora) + 3 * attention + 2 * head)


@pytest.mark.parametrize("recomputing", [False, True])
def test_its_flops_are_those_that_pytorch_counts(tmp_path: Path, recomputing: bool) -> None:
    """But for attention, which a CPU computes whole, and for the way back into the first layer, which nobody needs."""
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import LlamaForCausalLM

    shape = gpu_qlora.SHAPES["tiny"]
    config = gpu_qlora._config(shape)
    config._attn_implementation = "eager"
    settings = TrainSettings(quantize=False, batch=4, micro_batch=4, gradient_checkpointing=recomputing)
    tokenizer = train_tokenizer([entry.report.text("full") for entry in generate(40, seed=0)], Recipe(vocabulary=512))
    rows = [ROW] * 4
    trainer = build_trainer(LlamaForCausalLM(config), tokenizer, rows, settings, tmp_path, steps=1)
    counted = []
    compute_loss = trainer.compute_loss

    def compute(*args: Any, **named: Any) -> Any:
        counter.__enter__()
        return compute_loss(*args, **named)

    class Stop(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
            counter.__exit__(None, None, None)
            counted.append(counter.get_total_flops())

    counter = FlopCounterMode(display=False)
    trainer.compute_loss = compute
    trainer.add_callback(Stop())
    trainer.train()
    seen = sum(position + 1 for position in ROW.positions) / 48
    whole = (4 if recomputing else 3) * 4 * shape.layers * shape.hidden * (48 - seen)
    unneeded = 0 if recomputing else 2 * (64 * (64 + 32 + 32) + 3 * 16 * 64)  # q, k and v, and their adapters
    expected = (gpu_qlora._flops(shape, settings, rows)[0] + whole - unneeded) * 4 * 48
    assert counted == [pytest.approx(expected, rel=0.01)]


def test_the_bound_of_an_8b_is_that_of_its_weights() -> None:
    """6.98 billion weights in layers at 4 FLOPs and 42 million of LoRA at 6: 28.2 GFLOP; the rest is attention."""
    peak = gpu_qlora.PEAKS["H100"]
    trained, _ = gpu_qlora._flops(gpu_qlora.SHAPES["8b"], TrainSettings(), [ROW])
    assert trained == pytest.approx(28.5e9, rel=0.02)
    shares = gpu_qlora._shares(17_000, trained, "tokens", peak)
    assert shares["bound_tokens_per_s"] == round(peak / trained)
    assert shares["share_of_bound"] == pytest.approx(17_000 * trained / peak, abs=1e-3)
