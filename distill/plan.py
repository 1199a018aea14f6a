"""What a campaign will take, before anything starts: rows, tokens, steps, memory, time and disk.

Counted exactly: reports, lessons, tokens, what is cut, steps of round 1, parameters (of a model without weights).
Estimated: activations, after Korthikanti et al. 2022 (arXiv 2205.05198: 34 bytes a token, layer and unit of width at 16
bits, attention maps apart, which fused attention does not keep), and time, from the tokens a second that this student
reached here before, or else from the arithmetic, 4 FLOPs a weight and token (LoRA needs no gradients of frozen weights;
6 with checkpointing), at a share of what the device can do.
"""

import math
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from teachback.distill.artefacts import load_json
from teachback.distill.assemble import assemble
from teachback.distill.base import compute_in_bf16, load_tokenizer
from teachback.distill.config import CampaignSettings, TrainSettings
from teachback.distill.freeze import freeze
from teachback.distill.lessons import plant_rows, write_lessons
from teachback.distill.prompt import load_student_prompt
from teachback.distill.questions import Questions

__all__ = ["Plan", "count_parameters", "plan_campaign", "steps_of"]

NF4_BITS = 4.127  # a weight, with double quantisation: 4 + 8/64 + 32/(64 * 256)
ADAPTER_BYTES = 16  # a trained parameter: fp32 weight, gradient and both Adam moments
ACTIVATION_BYTES = 34  # a token, layer and unit of width, at 16 bits
GPU_SHARE, CPU_SHARE = 0.4, 0.3  # of the device's matrix product that training reaches; assumed
_OVERHEAD = 0.6e9  # bytes of the libraries themselves


@dataclass(frozen=True, slots=True)
class Plan:
    """What a campaign will take.

    Attributes:
        splits: Reports by split.
        labels: Labels to train on in round 1, by source.
        lessons: Texts to train on.
        tokens: Tokens of all lessons.
        longest: Tokens of the longest.
        cut: Reports that are cut to `max_length`.
        steps: Optimizer steps of round 1; later rounds have more where more is fed back.
        trainings: Students to be trained, at most.
        parameters: Of the base.
        trained_parameters: Of the adapter.
        weight_bytes: Of the base in memory.
        memory_bytes: Peak of training, estimated.
        memory_here: Bytes that this device has.
        device: Its name.
        seconds: Of all trainings, estimated.
        seconds_from: What the estimate rests on.
        disk_bytes: Of adapters and one training's checkpoints.
    """

    splits: dict[str, int]
    labels: dict[str, int]
    lessons: int
    tokens: int
    longest: int
    cut: int
    steps: int
    trainings: int
    parameters: int
    trained_parameters: int
    weight_bytes: int
    memory_bytes: int
    memory_here: int
    device: str
    seconds: float
    seconds_from: str
    disk_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return asdict(self)


def steps_of(lessons: int, train: TrainSettings) -> int:
    """Return the optimizer steps of a round that teaches so many lessons."""
    steps = max(1, train.min_steps, math.ceil(train.epochs * lessons / train.batch))
    return min(steps, train.max_steps or steps)


def plan_campaign(
    connection: duckdb.DuckDBPyConnection, settings: CampaignSettings, campaigns: Path, teacher_id: str | None = None
) -> Plan:
    """Count and estimate what a campaign will take; nothing is trained and nothing is written.

    Args:
        connection: The store or a snapshot.
        settings: The campaign's settings.
        campaigns: Folder of earlier campaigns, whose speed is taken where the student is the same.
        teacher_id: Which teacher to distil.

    Raises:
        StoreError: Nothing is labelled, or there are no curated labels to judge by.
        TrainingError: The base's tokenizer or configuration cannot be loaded.
    """
    frozen = freeze(connection, settings, teacher_id)
    rows = assemble(frozen, settings)
    prompt = load_student_prompt(settings.prompt)
    questions = Questions(load_tokenizer(settings.student), max_length=settings.train.max_length, **prompt)
    planted = plant_rows(rows, frozen, questions, settings)
    lengths = [len(row) for row in planted]
    steps = steps_of(len(write_lessons(rows, frozen, settings)), settings.train)
    trainings = 1 + (settings.rounds - 1) * (1 + settings.control)
    weights, trained, weight_bytes, width, layers = count_parameters(settings)
    tokens_a_step = settings.train.batch * sum(lengths) / max(1, len(lengths))
    seconds, source = _seconds(settings, campaigns, weights, tokens_a_step * steps * trainings)
    device, here = _device()
    micro = settings.train.micro_batch * max(lengths, default=0)
    kept = 1 if settings.train.gradient_checkpointing else layers
    half = 1 if compute_in_bf16() else 2  # 32 bits take twice the bytes
    activations = micro * width * half * (ACTIVATION_BYTES * kept + (2 * layers if kept == 1 else 0))
    adapter = 4 * trained
    return Plan(
        splits={split: len(reports) for split, reports in frozen.reports.items()},
        labels=dict(Counter(row.source for row in rows if row.selected)),
        lessons=len(planted),
        tokens=sum(lengths),
        longest=max(lengths, default=0),
        cut=questions.cut_reports,
        steps=steps,
        trainings=trainings,
        parameters=weights,
        trained_parameters=trained,
        weight_bytes=weight_bytes,
        memory_bytes=int(weight_bytes + ADAPTER_BYTES * trained + activations + _OVERHEAD),
        memory_here=here,
        device=device,
        seconds=seconds,
        seconds_from=source,
        disk_bytes=trainings * adapter + 2 * 3 * adapter,
    )


def count_parameters(settings: CampaignSettings) -> tuple[int, int, int, int, int]:
    """Return parameters of the base and of the adapter, the base's bytes in memory, its width, and its layers."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from teachback.distill.base import resolve_student

    student = resolve_student(settings.student)
    config = AutoConfig.from_pretrained(student, local_files_only=Path(student).is_dir())
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head]
    in_layers = sum(layer.weight.numel() for layer in linear)
    every = sum(parameter.numel() for parameter in model.parameters())
    wide = 2 if compute_in_bf16() else 4
    stored = in_layers * NF4_BITS / 8 if settings.train.quantize else in_layers * wide
    trained = sum(settings.train.lora_r * (layer.in_features + layer.out_features) for layer in linear)
    weight_bytes = int(stored + (every - in_layers) * wide)
    return every, trained, weight_bytes, int(config.hidden_size), int(config.num_hidden_layers)


def _seconds(settings: CampaignSettings, campaigns: Path, weights: int, tokens: float) -> tuple[float, str]:
    """Estimate the seconds of so many trained tokens, and say what that rests on."""
    speeds = []
    for path in campaigns.glob("*/*/train.json"):
        campaign = load_json(path.parent.parent / "campaign.json") or {}
        speed = (load_json(path) or {}).get("tokens_per_second")
        if speed and campaign.get("settings", {}).get("student") == settings.student:
            speeds.append(speed)
    if speeds:
        middle = sorted(speeds)[len(speeds) // 2]
        return tokens / middle, f"{middle:,.0f} tokens/s, the median of {len(speeds)} trainings of this student here"
    flops = weights * (6 if settings.train.gradient_checkpointing else 4)
    reached, told = _matrix_speed()
    return tokens * flops / reached, f"{flops / 1e9:,.2g} GFLOPs a token at {told}"


def _matrix_speed() -> tuple[float, str]:
    """Multiply matrices for a moment: FLOPs a second that training may reach, and in words."""
    import torch

    on_gpu = torch.cuda.is_available()
    size, share = (4096, GPU_SHARE) if on_gpu else (512, CPU_SHARE)
    kind = torch.bfloat16 if on_gpu else torch.float32
    matrix = torch.ones(size, size, device="cuda" if on_gpu else "cpu", dtype=kind)
    matrix @ matrix
    started, rounds = time.perf_counter(), 20
    for _ in range(rounds):
        product = matrix @ matrix
    product[0, 0].item()  # waits for the device
    speed = 2 * size**3 * rounds / (time.perf_counter() - started)
    return share * speed, f"{share:.0%} of {speed / 1e9:,.0f} GFLOPS, measured now"


def _device() -> tuple[str, int]:
    import os

    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return str(properties.name), int(properties.total_memory)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return f"CPU, {cores} cores", int(memory)
