"""What can go wrong while a student trains, put in words with a remedy: memory, numbers, room on the disk.

Memory that runs out is mended where it can be: `train` halves the micro-batch, which leaves the step what it was. A
loss that is no number is not: whatever came next, the adapter would be spoilt. What could not be written is removed, so
that the step before it still stands and the same command goes on from there.
"""

import errno
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from teachback.errors import TrainingError

__all__ = ["NoMemory", "human_bytes", "is_out_of_memory", "require_finite_adapter", "require_finite_step", "writing"]

# What PyTorch, oneDNN and cuBLAS say when they get no memory; only CUDA's allocator has an exception of its own. oneDNN
# does not say what it lacked, but for kernels that worked with the model's layers before it is little else.
_MEMORY_WORDS = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "std::bad_alloc",
    "cublas_status_alloc_failed",
    "could not create a primitive",
    "could not create a memory object",
    "could not execute a primitive",
)
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# What libraries that write in Rust and C++ say in place of an `OSError`; PyTorch's writer does not name the reason.
_ROOM_WORDS = ("no space left", "os error 28", "quota exceeded", "os error 122", "file too large", "os error 27")
_WRITER_WORDS = ("pytorchstreamwriter failed", "inline_container", "i/o error")


class NoMemory(Exception):  # `train` deals with it: no error for the user
    """A step found no memory.

    Args:
        step: The step.
        said: What the allocator said.
    """

    def __init__(self, step: int, said: str) -> None:
        super().__init__(f"no memory for step {step}")
        self.step = step
        self.said = said.splitlines()[0] if said else "MemoryError"


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory ran out, on a GPU or on the host."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _MEMORY_WORDS)


def require_finite_step(norm: Any, loss: Any, step: int, learning_rate: float) -> None:
    """Raise unless a step's gradients and loss are numbers; looks at both at once, since a GPU must wait for it.

    Args:
        norm: The norm of all gradients, as a tensor or a number.
        loss: The loss since it was last logged, as a tensor.
        step: The step, from 1.
        learning_rate: Its learning rate.

    Raises:
        TrainingError: One of them is infinite or not a number.
    """
    import torch

    if not bool(torch.isfinite(norm + loss)):
        what = "gradients are" if bool(torch.isfinite(loss)) else "loss is"
        raise TrainingError(
            f"step {step}: the {what} infinite or no number, at a learning rate of {learning_rate:.1e}",
            f"nothing of this step was saved; set train.learning_rate lower than {learning_rate:.1e} (a tenth of it, "
            "say), or train.warmup_steps higher",
        )


def require_finite_adapter(parameters: Sequence[Any], step: int, learning_rate: float) -> None:
    """Raise unless all that was learned is numbers: nothing else is ever saved.

    Raises:
        TrainingError: A weight is infinite or not a number.
    """
    if not all(bool(p.detach().isfinite().all()) for p in parameters if p.requires_grad):
        raise TrainingError(
            f"step {step} left weights that are infinite or no numbers, at a learning rate of {learning_rate:.1e}",
            "the adapter was not saved; set train.learning_rate lower, or train.warmup_steps higher",
        )


@contextmanager
def writing(target: Path, needed: int | None = None, *, under: Path | None = None) -> Iterator[None]:
    """Write a file or a folder whole or not at all, and say what was missing.

    Args:
        target: What is written.
        needed: Its size in bytes, about.
        under: What it is called until it is whole; if writing fails, this is removed.

    Raises:
        TrainingError: There was no room, or the folder cannot be written to.
    """
    try:
        yield
    except _write_errors() as error:
        said = str(error)
        words = said.lower()
        no_room = getattr(error, "errno", None) in _NO_ROOM or any(known in words for known in _ROOM_WORDS)
        unwritten = no_room or isinstance(error, OSError) or any(known in words for known in _WRITER_WORDS)
        if not unwritten:
            raise
        _remove(under or target)
        free = shutil.disk_usage(next(folder for folder in target.absolute().parents if folder.is_dir())).free
        no_room = no_room or (needed is not None and free < needed)  # PyTorch's writer does not say so
        needs = "" if needed is None else f"about {human_bytes(needed)} are needed, "
        reason = "there is no room for it" if no_room else said.splitlines()[0]
        raise TrainingError(
            f"cannot write {target.name} in {target.parent}: {reason} ({needs}{human_bytes(free)} are free)",
            "make room there; what was half written is removed, and the same command goes on from what was done before",
        ) from error


def _remove(partial: Path) -> None:
    if partial.is_dir():
        shutil.rmtree(partial, ignore_errors=True)
    else:
        partial.unlink(missing_ok=True)


def _write_errors() -> tuple[type[Exception], ...]:
    """Return what writers raise: the system, torch, and safetensors where it is installed."""
    try:
        from safetensors import SafetensorError
    except ImportError:  # the light part alone: nothing of it was written
        return OSError, RuntimeError
    return OSError, RuntimeError, SafetensorError


def human_bytes(count: int) -> str:
    """Write a number of bytes as people do: `1.5 GB`."""
    size, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.0f} {units[0]}" if units[0] == "bytes" else f"{size:.1f} {units[0]}"
