"""QLoRA of a model of Llama-3.1-8B's shape on one GPU: tokens/s, share of the FLOP bound, memory, reports/s of slots.

    python benchmarks/gpu_qlora.py [--shape 8b] [--steps 20] > gpu_qlora.log
    python benchmarks/gpu_qlora.py --shape tiny --steps 2      # the same code on a CPU, to see that it runs

Weights are random and made on the device, layer by layer and quantized at once (NF4, double quantisation), so nothing
is downloaded and bf16 weights are never whole in memory. The loop is the package's own (`distill/trainer.py`): LoRA
r=16 on all linear layers in fp32, bf16 arithmetic, paged 8-bit AdamW, trees of a report with 13 questions, 8,192 tokens
a step.
It needs torch, transformers, peft, trl, datasets and bitsandbytes, and no DuckDB.

The bound is that of arithmetic: a token costs 2 FLOPs a weight forwards and, as the base is frozen, 2 backwards, and 2
more where activations are computed again; attention comes on top (4 x width x context forwards, twice that backwards).
The output layer is left out, as only answers are scored. For an 8B on an H100's 989 TFLOP/s in dense bf16 that is some
35 thousand tokens a second without recomputation; with all 8.03 B weights, output layer and longer rows counted it is
27.6 thousand, the bound that the project's figures are held against, so both shares are printed.

Each part prints as it is done, so that one that fails loses no other; the last line is one JSON object.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from teachback.distill.base import compute_in_bf16, require_training
from teachback.distill.config import TrainSettings
from teachback.distill.init_student import train_tokenizer
from teachback.distill.predict import predict_findings
from teachback.distill.prompt import load_student_prompt
from teachback.distill.questions import Questions, Target
from teachback.distill.recipe import Recipe
from teachback.distill.trainer import build_trainer
from teachback.distill.tree import TreeRow
from teachback.store.corpora.synthetic import generate
from teachback.store.label import FINDINGS

# Dense bf16, FLOP/s: NVIDIA's data sheets. Another device has no bound here.
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
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


def _model(shape: Shape) -> Any:
    """Make a quantized Llama of random weights on the device, one layer after the other."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if compute_in_bf16() else torch.float32
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=8192,
        attn_implementation="sdpa",
        dtype=dtype,
    )
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

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times.append(time.perf_counter())

    steps = options.steps + WARM_UP
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(_model(shape), questions.tokenizer, rows, settings, Path(folder), steps=steps)
        trainer.add_callback(Clock())
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    took = [after - before for before, after in zip(times[WARM_UP - 1 :], times[WARM_UP:], strict=False)]
    mean_tokens = batch * sum(lengths) / len(lengths)
    rate = mean_tokens / statistics.median(took)
    bound = _bound(shape, sum(lengths) / len(lengths), recomputing=checkpointing)
    return {
        "tokens_per_s": round(rate),
        "bound_tokens_per_s": round(bound) if bound else None,
        "share_of_bound": round(rate / bound, 3) if bound else None,
        "share_of_27_600": round(rate / FULL_BOUND, 3) if bound and shape == SHAPES["8b"] else None,
        "tokens_a_step": round(mean_tokens),
        "s_a_step": round(statistics.median(took), 3),
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
    return {
        "reports_per_s": round(len(texts) / seconds, 2),
        "tokens_per_s": round(sum(len(questions.row(text)) for text in texts) / seconds),
        "sums_to_one": bool(abs(probabilities.sum(-1) - 1).max() < 1e-3),
        "peak_gib": _peak_gib(),
    }


def _bound(shape: Shape, context: float, *, recomputing: bool) -> float | None:
    """Return the tokens a second that the device's arithmetic allows; None where its peak is not known."""
    import torch

    card = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    peak = next((flops for name, flops in PEAKS.items() if name in card), None)
    if peak is None:
        return None
    head = shape.hidden // shape.heads
    attention = shape.hidden * (2 * shape.hidden + 2 * shape.kv_heads * head)
    weights = shape.layers * (attention + 3 * shape.hidden * shape.feed_forward)
    passes = 3 if recomputing else 2
    flops = passes * 2 * weights + shape.layers * (passes + 1) * 2 * shape.hidden * context
    return peak / flops


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
