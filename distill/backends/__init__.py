"""Who computes a student's probabilities: transformers in this process, or vLLM in an environment of its own.

Both answer the same question with the same signature: per report and question, the log-probabilities of some tokens
where the answer starts, over the whole vocabulary.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from teachback.distill.artefacts import load_json
from teachback.distill.backends.protocol import Opening, SlotRequest
from teachback.errors import SettingError

__all__ = ["BACKENDS", "Backend", "BackendName", "Opening", "SlotRequest", "backend_name", "open_backend"]

BackendName = Literal["transformers", "vllm"]
BACKENDS: tuple[BackendName, ...] = get_args(BackendName)


@runtime_checkable
class Backend(Protocol):
    """Computes a student's probabilities."""

    version: str

    def log_probabilities(
        self, requests: Sequence[SlotRequest], progress: Callable[[int], None] = ...
    ) -> list[NDArray[np.float32]]:
        """Return for each request a (questions, tokens) array of log-probabilities over the whole vocabulary."""

    def close(self) -> None:
        """End what it has started."""


def backend_name(chosen: str = "transformers", env: Mapping[str, str] | None = None) -> BackendName:
    """Return which backend to use: `TEACHBACK_BACKEND` goes before the settings.

    Raises:
        SettingError: There is no such backend.
    """
    wanted = (os.environ if env is None else env).get("TEACHBACK_BACKEND") or chosen
    for name in BACKENDS:
        if wanted == name:
            return name
    raise SettingError(f"there is no backend {wanted!r}", f"set TEACHBACK_BACKEND to one of {', '.join(BACKENDS)}")


def open_backend(
    name: BackendName,
    student: str,
    adapter: Path | None,
    *,
    quantize: bool,
    max_length: int,
    env: Mapping[str, str] | None = None,
) -> Backend:
    """Load a student into a backend.

    Args:
        name: Which backend.
        student: The base.
        adapter: Folder of its adapter; None for the base alone.
        quantize: NF4 with double quantisation.
        max_length: The longest prompt in tokens.
        env: The environment; `TEACHBACK_VLLM_PYTHON` in it names the interpreter of vLLM's environment.

    Raises:
        TrainingError: The student cannot be loaded, or vLLM cannot be had; with the remedy.
    """
    from teachback.distill.base import compute_in_bf16

    dtype = "bfloat16" if compute_in_bf16() else "float32"
    opening = Opening(student, None if adapter is None else str(adapter), _rank(adapter), quantize, dtype, max_length)
    if name == "transformers":
        from teachback.distill.backends.transformers import open_transformers

        return open_transformers(opening)
    from teachback.distill.backends.served import ServedBackend
    from teachback.distill.backends.vllm import REMEDY

    env = os.environ if env is None else env
    python = env.get("TEACHBACK_VLLM_PYTHON") or sys.executable
    return ServedBackend([python, "-m", "teachback.distill.backends.vllm"], opening, REMEDY, env)


def _rank(adapter: Path | None) -> int:
    stored: dict[str, Any] = (load_json(adapter / "adapter_config.json") if adapter else None) or {}
    return int(stored.get("r", 16))
