"""What a student takes in memory, from its configuration alone: no weights are read.

Counted exactly, on a model without weights: parameters of the base and of the adapter, and the base's bytes (NF4 has
4.127 bits a weight with double quantisation: 4 + 8/64 + 32/(64 * 256); embeddings and output layer stay as they are).

Estimated: what a step keeps for its backward pass. The usual 34 bytes a token, layer and unit of width (Korthikanti et
al. 2022, arXiv 2205.05198) are of a model all of whose weights learn, and of its attention. Here the base is frozen,
which keeps no inputs for it, but every adapted layer keeps its own copy of its input where the machine computes in bf16
and the adapter in fp32; Llama's norms keep fp32; and attention maps are kept where attention is not fused (on CPU). So
these are added up term by term as transformers and peft compute them; tests hold the sum against what autograd keeps.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teachback.distill.base import compute_in_bf16, resolve_student
from teachback.distill.config import CampaignSettings, TrainSettings
from teachback.distill.predict import reading_batch
from teachback.errors import TrainingError

__all__ = ["Memory", "Shape", "estimate_memory", "kept_bytes", "measure_shape"]

NF4_BYTES = 4.127 / 8
ADAPTER_BYTES = 8  # a trained parameter: fp32 weight and gradient
ADAM_BYTES, ADAM8_BYTES = 8, 2  # its two moments, in fp32 or in 8 bits
LOGIT_BYTES = 12  # an answer token and word, beside the logit itself: fp32 copy, log-softmax, gradient
CPU_LIBRARIES, GPU_LIBRARIES = 0.8e9, 0.6e9  # bytes of PyTorch and transformers at work, without any model; measured


@dataclass(frozen=True, slots=True)
class Shape:
    """A student's sizes.

    Attributes:
        parameters: Of the base.
        in_layers: Of them, those that a token is multiplied with on its way to the last layer's output.
        trained: Of the adapter.
        base_bytes: Of the base in memory.
        largest: Of the largest layer's weights.
        layers: Blocks.
        width: Of the hidden state.
        heads: Attention heads.
        head: Width of one.
        feed_forward: Width between.
        vocabulary: Words.
        rank: Of the adapter.
        adapted: Adapted layers in a block.
        inputs: Widths of their inputs, added up.
        distinct: The same, each input counted once.
    """

    parameters: int
    in_layers: int
    trained: int
    base_bytes: int
    largest: int
    layers: int
    width: int
    heads: int
    head: int
    feed_forward: int
    vocabulary: int
    rank: int
    adapted: float
    inputs: float
    distinct: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes at a campaign's peak.

    Attributes:
        base: The base's weights, and one layer's again, unpacked, where they are quantized.
        adapter: The adapter's weights and gradients.
        optimizer: Its moments.
        activations: What a step keeps for its backward pass, and the gradients of one layer of it.
        logits: Of the answers of a micro-batch.
        reading: What reading reports takes in their place, if that is more.
        libraries: PyTorch and transformers themselves.
        peak: All of it, `reading` where it is more than what training adds to the base.
    """

    base: int
    adapter: int
    optimizer: int
    activations: int
    logits: int
    reading: int
    libraries: int
    peak: int


def measure_shape(settings: CampaignSettings) -> Shape:
    """Count a student's parameters without reading its weights.

    Raises:
        TrainingError: Its configuration cannot be loaded.
    """
    import torch

    model, config = _without_weights(resolve_student(settings.student))
    head = model.get_output_embeddings()
    linear = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head}
    in_layers = sum(layer.weight.numel() for layer in linear.values())
    every = sum(parameter.numel() for parameter in model.parameters())
    wide, train = (2 if compute_in_bf16() else 4), settings.train
    adapted = {name: layer for name, layer in linear.items() if _is_adapted(name, train)}
    layers = int(config.num_hidden_layers)
    block = {name: layer.in_features for name, layer in adapted.items() if ".layers.0." in name}
    return Shape(
        parameters=every,
        in_layers=in_layers,
        trained=sum(train.lora_r * (layer.in_features + layer.out_features) for layer in adapted.values()),
        base_bytes=int(in_layers * (NF4_BYTES if train.quantize else wide) + (every - in_layers) * wide),
        largest=max(layer.weight.numel() for layer in linear.values()),
        layers=layers,
        width=int(config.hidden_size),
        heads=int(config.num_attention_heads),
        head=int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads),
        feed_forward=int(config.intermediate_size),
        vocabulary=int(config.vocab_size),
        rank=train.lora_r,
        adapted=len(adapted) / layers,
        inputs=sum(layer.in_features for layer in adapted.values()) / layers,
        distinct=sum({_input_of(name): width for name, width in block.items()}.values()),
    )


def kept_bytes(shape: Shape, train: TrainSettings, rows: int, length: int) -> int:
    """Return the bytes that autograd keeps of a step's forward pass, logits apart.

    Args:
        shape: The student's sizes.
        train: Whether it checkpoints, and its dropout.
        rows: Of a micro-batch.
        length: Tokens that they are padded to.
    """
    layer = rows * length * _token_bytes(shape, train, length)
    if not train.gradient_checkpointing:
        return int(shape.layers * layer)
    # The input of each block and what the last norm keeps; one block at a time is computed again.
    inputs = shape.layers * shape.width * (2 if compute_in_bf16() else 4) + 4 * shape.width
    return int(rows * length * inputs + layer)


def estimate_memory(shape: Shape, train: TrainSettings, rows: int, length: int, answers: int, read: int) -> Memory:
    """Estimate the bytes at a campaign's peak.

    Args:
        shape: The student's sizes.
        train: How it is trained.
        rows: Of a micro-batch.
        length: Tokens of the longest row that is trained on.
        answers: Answer tokens of a micro-batch, at most.
        read: Tokens of the longest row that is read.
    """
    import torch

    on_gpu, wide = torch.cuda.is_available(), 2 if compute_in_bf16() else 4
    kept = kept_bytes(shape, train, rows, length)
    mask = rows * length * length * (wide + 2)
    activations = kept + int(rows * length * _token_bytes(shape, train, length)) + mask
    logits = answers * shape.vocabulary * (wide + LOGIT_BYTES)
    moments = ADAM8_BYTES if on_gpu and train.quantize else ADAM_BYTES
    adapter, optimizer = ADAPTER_BYTES * shape.trained, moments * shape.trained
    reading = _reading_bytes(shape, read)
    base = shape.base_bytes + (shape.largest * wide if train.quantize else 0)
    libraries = int(GPU_LIBRARIES if on_gpu else CPU_LIBRARIES)
    peak = base + libraries + max(adapter + optimizer + activations + logits, 4 * shape.trained + reading)
    return Memory(base, adapter, optimizer, activations, logits, reading, libraries, peak)


def _token_bytes(shape: Shape, train: TrainSettings, length: int) -> float:
    """Return what one block keeps of one token."""
    attended = shape.heads * shape.head
    if compute_in_bf16():
        adapted = 2 * (shape.inputs + shape.rank * shape.adapted) + (shape.inputs if train.lora_dropout else 0)
        between = 2 * 3 * shape.feed_forward + 2 * 3 * attended + 2 * 4 * shape.width  # norms keep fp32
        maps = (4 + 2) * shape.heads * length
    else:
        adapted = 4 * (shape.distinct + shape.rank * shape.adapted) + (5 * shape.inputs if train.lora_dropout else 0)
        between = 4 * (3 * shape.feed_forward + 3 * attended + 2 * shape.width)
        maps = 4 * shape.heads * length
    return adapted + between + (2 * attended if _fuses_attention() else maps)


def _reading_bytes(shape: Shape, length: int) -> int:
    """Return what a batch of reports takes on its way through one block; nothing is kept."""
    wide = 2 if compute_in_bf16() else 4
    attended = 4 * shape.heads * shape.head * wide
    maps = 0 if _fuses_attention() else (4 + 3 * wide) * shape.heads * length
    through = wide * (3 * shape.feed_forward + 4 * shape.width) + 8 * shape.width
    mask = length * (wide + 2)  # a row of it for each token
    tokens = reading_batch("cuda" if _fuses_attention() else "cpu")
    return int(max(tokens, length) * (max(attended + maps, through) + mask))


def _fuses_attention() -> bool:
    import torch

    return torch.cuda.is_available()  # as `load_base` chooses


def _is_adapted(name: str, train: TrainSettings) -> bool:
    """Say whether peft adapts a layer: `all-linear`, endings of names, or a pattern."""
    targets = train.target_modules
    if isinstance(targets, str):
        return targets == "all-linear" or re.fullmatch(targets, name) is not None
    return any(name == target or name.endswith(f".{target}") for target in targets)


def _input_of(name: str) -> str:
    """Name what a layer of a block reads: query, key and value read the same, and so do gate and up."""
    last = name.rpartition(".")[2]
    return {"k_proj": "q_proj", "v_proj": "q_proj", "up_proj": "gate_proj"}.get(last, last)


def _without_weights(student: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(student, local_files_only=Path(student).is_dir())
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config), config
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"cannot read the configuration of {student}: {str(error).splitlines()[0]}",
            "check the name, `hf auth login` for gated models, or make a tiny one with `teachback init-student`",
        ) from error
