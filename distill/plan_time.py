"""How long a campaign will take: from the speed that this student reached before, or else from arithmetic.

FLOPs a token: 2 a weight on the way forward and 2 on the way back, where the gradients of frozen weights are not needed
(LoRA); 2 again where checkpoints are recomputed; attention, 4 a layer, unit of width and token that is looked at.
Reading takes the forward part alone.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import duckdb

from teachback.distill.artefacts import load_json
from teachback.distill.config import CampaignSettings, TrainSettings
from teachback.distill.plan_model import Shape

__all__ = ["Device", "Speed", "flops_a_token", "known_speed", "probed_speed", "this_device"]

GPU_SHARE, CPU_SHARE = 0.4, 0.3  # of the device's matrix products that training reaches; assumed, and said
PROBE_SECONDS = 0.5
PROBE_FLOPS = 2e10  # a product, at most


@dataclass(frozen=True, slots=True)
class Device:
    """What computes.

    Attributes:
        name: In words; of a GPU as PyTorch calls it.
        memory: Its bytes.
        free: Bytes of it that are free now.
    """

    name: str
    memory: int
    free: int


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second of training, and what that rests on, in words."""

    tokens_a_second: float
    told: str


def flops_a_token(shape: Shape, train: TrainSettings, length: float) -> tuple[float, float]:
    """Return the FLOPs of a token, trained and read, in rows of so many tokens."""
    looked_at = 4 * shape.layers * shape.heads * shape.head * length
    forward = 2 * (shape.in_layers + shape.trained) + looked_at
    backward = 2 * shape.in_layers + 4 * shape.trained + 2 * looked_at
    return forward * (2 if train.gradient_checkpointing else 1) + backward, forward


def known_speed(connection: duckdb.DuckDBPyConnection, settings: CampaignSettings, device: Device) -> Speed | None:
    """Return the median speed of earlier trainings of this student in the store, set up and run in the same way.

    Args:
        connection: The store or a snapshot.
        settings: The campaign's settings.
        device: Where it would run; trainings elsewhere say nothing.
    """
    paths = connection.execute(
        """SELECT adapter_path FROM rounds WHERE base = ? AND adapter_path IS NOT NULL
            AND json_extract_string(config, '$.train.quantize') = ?
            AND json_extract_string(config, '$.train.gradient_checkpointing') = ?
        ORDER BY created_at DESC LIMIT 20""",
        [settings.student, *(str(v).lower() for v in (settings.train.quantize, settings.train.gradient_checkpointing))],
    ).fetchall()
    speeds = []
    for folder in (Path(path).parent for (path,) in paths):
        reached = (load_json(folder / "train.json") or {}).get("tokens_per_second")
        campaign = load_json(folder.parent / "campaign.json") or {}
        where = campaign.get("environment", {}).get("device", device.name)
        if reached and where == device.name:
            speeds.append(float(reached))
    if not speeds:
        return None
    of = "one earlier training" if len(speeds) == 1 else f"{len(speeds)} earlier trainings (median)"
    return Speed(median(speeds), f"{median(speeds):,.0f} tokens/s, the speed of {of} of this student in this store")


def probed_speed(shape: Shape, train: TrainSettings, rows: int, length: int, tokens: float) -> Speed:
    """Multiply matrices of the student's shape for a moment, and reckon with a share of that.

    Args:
        shape: The student's sizes.
        train: Whether it checkpoints.
        rows: Of a micro-batch.
        length: Tokens that they are padded to.
        tokens: Of a row, on average.
    """
    import torch

    on_gpu = torch.cuda.is_available()
    flops, _ = flops_a_token(shape, train, tokens)
    speed = _matrix_speed(rows * length, shape.width, shape.feed_forward)
    share = GPU_SHARE if on_gpu else CPU_SHARE
    reached = share * speed / flops
    shown = f"{reached:,.0f}" if reached >= 10 else f"{reached:.2g}"
    return Speed(
        reached,
        f"{shown} tokens/s: {share:.0%} (assumed) of {speed / 1e9:,.0f} GFLOP/s, measured now, "
        f"at {flops / 1e9:,.3g} GFLOP a token",
    )


def this_device() -> Device:
    """Return the device that training would use."""
    import torch

    if torch.cuda.is_available():
        free, memory = torch.cuda.mem_get_info()
        return Device(torch.cuda.get_device_name(0), memory, free)
    memory, free = _host_memory()
    return Device("CPU", memory, free)


def _matrix_speed(tokens: int, width: int, between: int) -> float:
    """Return FLOP/s of (tokens, width) @ (width, between), in the kind of number that training computes in."""
    import torch

    from teachback.distill.base import compute_in_bf16

    device, kind = (
        "cuda" if torch.cuda.is_available() else "cpu",
        torch.bfloat16 if compute_in_bf16() else torch.float32,
    )
    tokens = max(16, min(tokens, int(PROBE_FLOPS / (2 * width * between))))
    left = torch.ones(tokens, width, device=device, dtype=kind)
    right = torch.ones(width, between, device=device, dtype=kind)
    (left @ right)[0, 0].item()  # the first one builds the kernel
    started, products = time.perf_counter(), 0
    while (seconds := time.perf_counter() - started) < PROBE_SECONDS:  # what the machine gives now, others beside it
        (left @ right)[0, 0].item()  # waits for the device
        products += 1
    return 2 * tokens * width * between * products / seconds


def _host_memory() -> tuple[int, int]:
    """Return the bytes of this machine and those that are free; of the container, where one has a limit."""
    names = getattr(os, "sysconf_names", {})
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if "SC_PHYS_PAGES" in names else 0
    free, meminfo = memory, Path("/proc/meminfo")
    if meminfo.is_file():
        lines = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines() if ":" in line)
        free = int(lines.get("MemAvailable", f"{memory // 1024} kB").split()[0]) * 1024
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (told := limit.read_text(encoding="ascii").strip()).isdigit():
        memory = min(memory or int(told), int(told))
    return memory, min(memory, free)
