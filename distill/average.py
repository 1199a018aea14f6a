"""Average a candidate with the champion: one adapter whose change of each weight is exactly the mean of both.

An adapter changes a weight by `scale * B @ A`. The mean of two such changes has in general the sum of their ranks, so
it is written with both side by side: `A = [A1; A2]` and `B = [w1 * scale1 * B1, w2 * scale2 * B2]`, at scale 1.
Averaging A and B themselves, as `combination_type="linear"` does, multiplies one student's A with the other's B. The
base is never touched, so it makes no difference whether it is quantized. Averages of students that were trained from
the same base often do better than either (model soups: Wortsman et al. 2022, arXiv 2203.05482).
"""

import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teachback.errors import TrainingError

__all__ = ["average_adapters", "stock_adapters"]

_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"
_A, _B = ".lora_A.weight", ".lora_B.weight"
# Settings that make an adapter more than `scale * B @ A` on linear layers; unset or false in a plain one.
_BEYOND = (
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "modules_to_save",
    "trainable_token_indices",
    "layer_replication",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "velora_config",
    "rank_pattern",
    "alpha_pattern",
)
_RESTRICTIONS = ("layers_to_transform", "layers_pattern", "exclude_modules")
_PLAIN_STARTS = (True, False, None, "gaussian")  # others, such as PiSSA, change the base too
_SHARED = ("peft_type", "task_type", "base_model_name_or_path", "fan_in_fan_out", "target_parameters")


def average_adapters(champion: Path, candidate: Path, out: Path, *, weight: float = 0.5) -> Path:
    """Write the average of two LoRA adapters of the same base.

    Args:
        champion: Folder of the first adapter, as PEFT saves it.
        candidate: Folder of the second; its rank and its layers may differ.
        out: Folder for the average; written whole or not at all. What is there is replaced.
        weight: Share of the candidate, in [0, 1].

    Returns:
        `out`.

    Raises:
        TrainingError: A folder holds no plain LoRA adapter, or the two are of different bases.
    """
    if not 0 <= weight <= 1:
        raise TrainingError(f"the candidate's weight is {weight}", "give a share from 0 to 1; 0.5 is the mean")
    pair = _read_pair(champion, candidate)
    return _write(pair, dict.fromkeys(pair.changes, (1 - weight, weight)), out)


def stock_adapters(champion: Path, candidate: Path, out: Path) -> Path:
    """Write the model stock of two LoRA adapters of the same base: their mean, drawn towards the base.

    In each layer the mean of both changes is multiplied by `2 cos / (1 + cos)` of the angle between them: where two
    students agree on the direction it stays, where they have nothing in common the base stays as it was (Jang et al.
    2024, Model Stock, arXiv 2403.19522).

    Args:
        champion: Folder of the first adapter, as PEFT saves it.
        candidate: Folder of the second; its rank and its layers may differ.
        out: Folder for the merged adapter; written whole or not at all. What is there is replaced.

    Returns:
        `out`.

    Raises:
        TrainingError: A folder holds no plain LoRA adapter, or the two are of different bases.
    """
    pair = _read_pair(champion, candidate)
    shares = {layer: (_drawn(*changes) / 2,) * 2 for layer, changes in pair.changes.items()}
    return _write(pair, shares, out)


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two adapters: their configs, and of each layer what both change as (A, scale * B)."""

    configs: list[dict[str, Any]]
    layers: list[set[str]]
    changes: dict[str, tuple[tuple[Any, Any], tuple[Any, Any]]]


def _read_pair(champion: Path, candidate: Path) -> _Pair:
    import torch
    from safetensors.torch import load_file

    configs = [_read_config(folder) for folder in (champion, candidate)]
    _check_bases(configs, champion, candidate)
    factors = [_factors(load_file(str(folder / _WEIGHTS)), folder) for folder in (champion, candidate)]
    changes: dict[str, Any] = {}
    for layer in sorted(factors[0] | factors[1]):
        shapes = next(of[layer] for of in factors if layer in of)
        width, height = shapes[0].shape[1], shapes[1].shape[0]
        both = []
        for of, config in zip(factors, configs, strict=True):
            # A layer that one adapter leaves alone is changed by zero there.
            rank = int(config["r"])
            down, up = of.get(layer) or (torch.zeros(rank, width), torch.zeros(height, rank))
            both.append((down.float(), up.float() * _scale(config)))
        changes[layer] = tuple(both)
    return _Pair(configs, [set(of) for of in factors], changes)


def _drawn(first: tuple[Any, Any], second: tuple[Any, Any]) -> float:
    """Return how much of the mean of two changes is kept: 0 where they are at right angles or opposed."""

    def inner(one: tuple[Any, Any], other: tuple[Any, Any]) -> float:
        return float(((one[1].T @ other[1]) * (one[0] @ other[0].T)).sum())

    lengths = math.sqrt(max(inner(first, first) * inner(second, second), 0.0))
    cosine = inner(first, second) / lengths if lengths else 0.0
    return max(0.0, 2 * cosine / (1 + cosine)) if cosine > -1 else 0.0


def _write(pair: _Pair, shares: Mapping[str, tuple[float, float]], out: Path) -> Path:
    import torch
    from safetensors.torch import save_file

    joined = {}
    for layer, changes in pair.changes.items():
        joined[layer + _A] = torch.cat([down for down, _ in changes])
        joined[layer + _B] = torch.cat([up * s for (_, up), s in zip(changes, shares[layer], strict=True)], dim=1)
    unfinished = out.with_name(f".{out.name}.{os.getpid()}")
    unfinished.mkdir(parents=True)
    save_file({name: tensor.contiguous() for name, tensor in joined.items()}, str(unfinished / _WEIGHTS))
    config = _joined_config(pair.configs, pair.layers)
    (unfinished / _CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    os.replace(unfinished, out)
    return out


def _joined_config(configs: list[dict[str, Any]], layers: list[set[str]]) -> dict[str, Any]:
    """Scale 1 at the joined rank, on the layers of both: named one by one where the two differ in them."""
    rank = sum(int(config["r"]) for config in configs)
    joined = configs[0] | {"r": rank, "lora_alpha": rank, "use_rslora": False, "inference_mode": True}
    if layers[0] == layers[1]:
        return joined
    named = sorted(layer.removeprefix("base_model.model.") for layer in layers[0] | layers[1])
    return joined | {"target_modules": named} | dict.fromkeys(_RESTRICTIONS)


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise TrainingError(f"{folder} holds no adapter: {error}", "name a folder that PEFT wrote") from error
    if not (folder / _WEIGHTS).is_file():
        raise TrainingError(f"{folder} has no {_WEIGHTS}", "name a folder that PEFT wrote")
    beyond = [name for name in _BEYOND if config.get(name)]
    beyond += ["bias"] if config.get("bias", "none") != "none" else []
    beyond += ["init_lora_weights"] if config.get("init_lora_weights") not in _PLAIN_STARTS else []
    if config.get("peft_type") != "LORA" or beyond:
        what = ", ".join(f"{name} is {config.get(name)!r}" for name in beyond or ["peft_type"])
        raise TrainingError(f"{folder} is no plain LoRA adapter: {what}", "average adapters of plain LoRA only")
    return config


def _check_bases(configs: list[dict[str, Any]], champion: Path, candidate: Path) -> None:
    for name in _SHARED:
        first, second = (config.get(name) for config in configs)
        if first != second:
            raise TrainingError(
                f"{champion} and {candidate} differ in {name}: {first!r}, {second!r}",
                "average adapters of one base that were saved alike",
            )


def _scale(config: Mapping[str, Any]) -> float:
    rank = int(config["r"])
    return float(config["lora_alpha"]) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _factors(tensors: Mapping[str, Any], folder: Path) -> dict[str, tuple[Any, Any]]:
    """Return A, (r, width), and B, (height, r), of each layer."""
    strange = [name for name in tensors if not name.endswith((_A, _B))]
    if strange:
        raise TrainingError(f"{folder} changes {strange[0]}, which is no linear layer", "average plain LoRA only")
    layers = {name.removesuffix(_A) for name in tensors if name.endswith(_A)}
    return {layer: (tensors[layer + _A], tensors[layer + _B]) for layer in layers}
