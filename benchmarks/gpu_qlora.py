"""QLoRA of a model of Llama-3.1-8B's shape on one GPU: tokens/s, share of the FLOP bound, memory, reports/s of slots.

    python benchmarks/gpu_qlora.py [--shape 8b] [--steps 20] > gpu_qlora.log
    python benchmarks/gpu_qlora.py --shape tiny --steps 2      # the same code on a CPU, to see that it runs

Weights are random and made on the device, layer by layer and quantized at once (NF4, double quantisation), so nothing
is downloaded and bf16 weights are never whole in memory. The loop is the package's own (`distill/trainer.py`): LoRA
r=16 on all linear layers in fp32, bf16 arithmetic, paged 8-bit AdamW, trees of a report with 13 questions, 8,192 tokens
a step.
On a machine with one H100: `pip install -e ".[train]"` in a checkout, then the first command. The last line, which
names hardware and versions, belongs into `benchmarks/results/gpu_qlora.json`.

The bound is that of arithmetic, counted as `distill/plan_time.py` counts it: a token costs 2 FLOPs a weight of a layer
forwards and, as the base is frozen, 2 backwards (LoRA 4), and 2 more where activations are computed again; attention
4 x width a layer and token that is looked at, twice that backwards. A token looks at its prefix and its own branch, not
at all before it; padding and what kernels compute for nothing count as no work; and the output layer counts for answers
alone, as only they are scored. For an 8B on an H100's 989 TFLOP/s in dense bf16 that is 34.5 thousand tokens a second
without recomputation, 23.1 thousand with. With all 8.03 B weights and longer rows counted it is 27.6 thousand, the
bound that the project's figures are held against, so the share of both is printed. Tokens are real, never padding.

Each part prints as it is done, so that one that fails loses no other; the last line is one JSON object.
"""

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from teachback.distill.base import compute_in_bf16, require_training
from teachback.distill.config import CampaignSettings, TrainSettings
from teachback.distill.init_student import train_tokenizer
from teachback.distill.plan_model import measure_shape
from teachback.distill.plan_time import flops_a_token
from teachback.distill.predict import predict_findings
from teachback.distill.prompt import load_student_prompt
from teachback.distill.questions import Questions, Target
from teachback.distill.recipe import Recipe
from teachback.distill.trainer import build_trainer
from teachback.distill.tree import IGNORED, TreeRow
from teachback.store.corpora.synthetic import generate
from teachback.store.label import FINDINGS

# Dense bf16, FLOP/s: NVIDIA's data sheets; the first name that fits counts. Another device has no bound here.
PEAKS = {
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H200 NVL": 835e12,
    "H200": 989e12,
    "A100": 312e12,
}
FULL_BOUND = 27_600  # tokens/s of an 8B on an H100, everything counted
TOKENS_A_STEP = 8_192
WARM_UP = 3  # steps that are not counted
VOCABULARY = 2_048  # of the benchmark's own tokenizer; the model has its shape's


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama's sizes (of Llama 3.1 8B: arXiv 2407.21783, table 3)."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    feed_forward: int
    vocabulary: int


SHAPES = {
    "8b": Shape(4096, 32, 32, 8, 14336, 128_256),
    "1b": Shape(2048, 16, 32, 8, 8192, 128_256),
    "tiny": Shape(64, 2, 4, 2, 192, 4096),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="8b", choices=list(SHAPES))
    parser.add_argument("--steps", type=int, default=20, help="optimizer steps that are counted")
    parser.add_argument("--reports", type=int, default=512, help="reports that are scored")
    parser.add_argument("--tokens", type=int, default=TOKENS_A_STEP, help="tokens an optimizer step, about")
    options = parser.parse_args()
    require_training()
    outcome: dict[str, Any] = {"benchmark": "gpu_qlora", "setting": vars(options), "environment": _environment()}
    print(f"setting: {outcome['setting']}\n{outcome['environment']}", flush=True)
    shape = SHAPES[options.shape]
    written = list(generate(max(options.reports, 256), seed=0))
    texts = [entry.report.text("full") for entry in written]
    questions = Questions(
        train_tokenizer(texts, Recipe(vocabulary=VOCABULARY)), max_length=1024, **load_student_prompt("short")
    )
    rows = [
        questions.row(text, {f: Target(entry.statuses[f], 1.0) for f in FINDINGS})
        for text, entry in zip(texts, written, strict=True)
    ]
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "training": lambda: _train(shape, questions, rows, options, checkpointing=False),
        "training, recomputing": lambda: _train(shape, questions, rows, options, checkpointing=True),
        "slots": lambda: _score(shape, questions, texts[: options.reports]),
    }
    for name, part in parts.items():
        try:
            outcome[name] = part()
        except RuntimeError as error:  # out of memory, or a kernel that this machine lacks
            outcome[name] = {"failed": " ".join(str(error).split())[:300]}
        print(f"{name}: {outcome[name]}", flush=True)
    print(json.dumps(outcome))


def _environment() -> dict[str, Any]:
    import torch

    card = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU"
    versions = {name: version(name) for name in ("torch", "transformers", "trl", "peft", "bitsandbytes")}
    return {"device": card, "python": platform.python_version(), **versions}


def _config(shape: Shape) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=8192,
        tie_word_embeddings=False,
    )


def _model(shape: Shape) -> Any:
    """Make a quantized Llama of random weights on the device, one layer after the other."""
    import torch
    from transformers import LlamaForCausalLM

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if compute_in_bf16() else torch.float32
    config = _config(shape)
    config._attn_implementation, config.dtype = "sdpa", dtype
    with torch.device("meta"):
        model = LlamaForCausalLM(config).to(dtype)
    torch.manual_seed(0)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.Linear) and name != "lm_head":
                setattr(module, name, _quantized(child, dtype, device))
    for name, parameter in list(model.named_parameters()):
        if parameter.is_meta:
            place, _, own_name = name.rpartition(".")
            made = torch.ones(parameter.shape, dtype=dtype, device=device)
            if "norm" not in name:
                made.normal_(std=0.02)
            setattr(model.get_submodule(place), own_name, torch.nn.Parameter(made, requires_grad=False))
    # Rotary frequencies are no parameters: they are made anew where the model now lies.
    model.model.rotary_emb = type(model.model.rotary_emb)(config).to(device)
    model.is_loaded_in_4bit = True
    return model


def _quantized(linear: Any, dtype: Any, device: Any) -> Any:
    """Make a linear layer of the same sizes with random weights in NF4."""
    import torch
    from bitsandbytes.nn import Linear4bit, Params4bit

    sizes = (linear.in_features, linear.out_features)
    made = Linear4bit(
        *sizes, bias=False, compute_dtype=dtype, compress_statistics=True, quant_type="nf4", device="meta"
    )
    weights = torch.empty(sizes[::-1], dtype=dtype, device=device).normal_(std=0.02)
    made.weight = Params4bit(weights, requires_grad=False, compress_statistics=True, quant_type="nf4").to(device)
    if hasattr(made, "support_avx512bf16_for_cpu"):
        made.support_avx512bf16_for_cpu = False  # as in distill/base.py
    return made


def _train(
    shape: Shape, questions: Questions, rows: Sequence[TreeRow], options: argparse.Namespace, *, checkpointing: bool
) -> dict[str, Any]:
    import torch
    from transformers import TrainerCallback

    _clear()
    lengths = sorted(len(row) for row in rows)
    batch = max(1, options.tokens // lengths[len(lengths) // 2])
    settings = TrainSettings(
        quantize=True,
        batch=batch,
        micro_batch=batch,
        gradient_checkpointing=checkpointing,
        logging_steps=1,
        save_steps=10_000,
    )
    times: list[float] = []
    tokens: list[int] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times.append(time.perf_counter())

    steps = options.steps + WARM_UP
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(_model(shape), questions.tokenizer, rows, settings, Path(folder), steps=steps)
        collate = trainer.data_collator

        def counted(examples: Sequence[Any]) -> Any:
            tokens.append(sum(len(example["input_ids"]) for example in examples))  # padding is not counted
            return collate(examples)

        trainer.data_collator = counted
        trainer.add_callback(Clock())
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    done = sum(tokens[WARM_UP:steps])
    seconds = times[-1] - times[WARM_UP - 1]
    trained, _ = _flops(shape, settings, rows)
    return {
        "tokens_per_s": round(done / seconds),
        **_shares(done / seconds, trained, "tokens", _peak_flops()),
        "share_of_27_600": round(done / seconds / FULL_BOUND, 3) if _peak_flops() and shape == SHAPES["8b"] else None,
        "tokens_a_step": round(done / options.steps),
        "s_a_step": round(seconds / options.steps, 3),
        "peak_gib": _peak_gib(),
        "first_loss": round(losses[0], 3),
        "last_loss": round(losses[-1], 3),
    }


def _score(shape: Shape, questions: Questions, texts: Sequence[str]) -> dict[str, Any]:
    _clear()
    model = _model(shape).eval()
    predict_findings(model, questions, texts[:64])
    started = time.perf_counter()
    probabilities = predict_findings(model, questions, texts)
    seconds = time.perf_counter() - started
    rows = [questions.row(text) for text in texts]
    _, read = _flops(shape, TrainSettings(), rows)
    tokens = sum(map(len, rows))
    return {
        "reports_per_s": round(len(texts) / seconds, 2),
        **_shares(len(texts) / seconds, read * tokens / len(texts), "reports", _peak_flops()),
        "tokens_per_s": round(tokens / seconds),
        "sums_to_one": bool(abs(probabilities.sum(-1) - 1).max() < 1e-3),
        "peak_gib": _peak_gib(),
    }


def _flops(shape: Shape, settings: TrainSettings, rows: Sequence[TreeRow]) -> tuple[float, float]:
    """Return the FLOPs that a token of these rows needs, trained and read."""
    tokens = sum(map(len, rows))
    seen = sum(position + 1 for row in rows for position in row.positions) / tokens  # of its prefix and its branch
    with tempfile.TemporaryDirectory() as folder:
        _config(shape).save_pretrained(folder)
        sizes = measure_shape(CampaignSettings(student=folder, train=settings))
    trained, read = flops_a_token(sizes, settings, seen)
    word = 2 * shape.hidden * shape.vocabulary  # the output layer, where it is asked: forwards, and as much backwards
    answers = sum(label != IGNORED for row in rows for label in row.labels) / tokens
    return trained + 2 * word * answers, read + word * sum(len(row.ends) for row in rows) / tokens


def _shares(rate: float, flops: float, what: str, peak: float | None) -> dict[str, Any]:
    """Return the rate that the device's arithmetic allows, and the share of it that was reached."""
    if peak is None:
        return {f"bound_{what}_per_s": None, "share_of_bound": None}
    return {f"bound_{what}_per_s": round(peak / flops), "share_of_bound": round(rate * flops / peak, 3)}


def _peak_flops() -> float | None:
    import torch

    card = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    return next((flops for name, flops in PEAKS.items() if name in card), None)


def _clear() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak_gib() -> float | None:
    import torch

    return round(torch.cuda.max_memory_allocated() / 2**30, 2) if torch.cuda.is_available() else None


if __name__ == "__main__":
    main()
