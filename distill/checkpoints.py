"""Checkpoints that can be trusted: each is sealed with the sizes and checksums of its files once it is whole.

A process may be killed while it writes, a disk may lose what it was given, a copy may stop half way. A checkpoint whose
files are not what its seal says is left aside, with the reason, and the one before it is used; so the last two stay,
and the best one where a training may stop early (`early`).
"""

import json
import shutil
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from teachback.distill.artefacts import save_json

__all__ = ["KEPT", "Checkpoint", "choose_checkpoint", "looks_of", "prune", "seal"]

KEPT = 2  # the newest, and the one before it should that prove damaged
_SEAL, _STATE = "seal.json", "trainer_state.json"
_BLOCK = 1 << 22  # bytes read at a time
# Where each process keeps its random numbers when there are several; how many may change before a training goes on.
_OF_PROCESSES = "rng_state_"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint, or none: step 0.

    Attributes:
        path: Its folder.
        step: Steps done.
        spent: What the training had taken until then, as the seal tells.
        looks: (step, loss) on the calibration split until then.
        skipped: Newer ones that were left aside, each with the reason.
    """

    path: Path | None = None
    step: int = 0
    spent: dict[str, Any] = field(default_factory=dict)
    looks: tuple[tuple[int, float], ...] = ()
    skipped: tuple[str, ...] = ()


def seal(folder: Path, spent: dict[str, Any]) -> None:
    """Write down that a checkpoint is whole: the size and checksum of each file, and what it took so far."""
    files = {file.name: _fingerprint(file) for file in sorted(folder.iterdir()) if not _passing(file)}
    save_json(folder / _SEAL, {"files": files, "spent": spent})


def choose_checkpoint(folder: Path, *, keeps_best: bool = False) -> Checkpoint:
    """Return the newest checkpoint that is what its seal says.

    Args:
        folder: Where the checkpoints lie.
        keeps_best: Whether the best one until then must be whole too.
    """
    skipped: list[str] = []
    whole: set[int] = set()
    found: list[tuple[int, Path, dict[str, Any]]] = []
    for step, path in _numbered(folder):
        fault, sealed = _examine(path)
        if fault:
            skipped.append(f"{path.name}: {fault}")
            continue
        whole.add(step)
        found.append((step, path, sealed["spent"]))
    for step, path, spent in reversed(found):
        looks = looks_of(json.loads((path / _STATE).read_text(encoding="utf-8"))["log_history"])
        best = min(looks, key=lambda look: (look[1], look[0]), default=(step, 0.0))[0]
        if keeps_best and best not in whole:
            skipped.append(f"{path.name}: checkpoint-{best}, the best until then, is not there any more")
            continue
        newer = tuple(words for words in skipped if int(words.split(":")[0].rpartition("-")[2]) > step)
        return Checkpoint(path, step, spent, looks, newer)
    return Checkpoint(skipped=tuple(skipped))


def looks_of(history: list[dict[str, Any]]) -> tuple[tuple[int, float], ...]:
    """Return (step, loss) of each look at the calibration split in a trainer's history."""
    return tuple((entry["step"], entry["calibration_loss"]) for entry in history if "calibration_loss" in entry)


def prune(folder: Path, also: Collection[int] = ()) -> None:
    """Remove all checkpoints but the last two and those of some steps."""
    numbered = _numbered(folder)
    kept = {step for step, _ in numbered[-KEPT:]} | set(also)
    for step, path in numbered:
        if step not in kept:
            shutil.rmtree(path, ignore_errors=True)


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    """Return checkpoints by step, the oldest first."""
    paths = [path for path in folder.glob("checkpoint-*") if path.name.rpartition("-")[2].isdigit()]
    return sorted((int(path.name.rpartition("-")[2]), path) for path in paths)


def _examine(path: Path) -> tuple[str, dict[str, Any]]:
    """Return what is wrong with a checkpoint, if anything, and its seal."""
    try:
        sealed = json.loads((path / _SEAL).read_text(encoding="utf-8"))
        files = {name: tuple(fingerprint) for name, fingerprint in sealed["files"].items()}
    except FileNotFoundError:
        return "it was not written to its end", {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{_SEAL} cannot be read", {}
    for name, (size, checksum) in files.items():
        try:
            found = _fingerprint(path / name)
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})", {}
        if found[0] != size:
            return f"{name} has {found[0]} bytes of {size}", {}
        if found[1] != checksum:
            return f"{name} has changed since it was written", {}
    return ("", sealed) if _STATE in files else (f"{_STATE} is missing", {})


def _passing(file: Path) -> bool:
    return not file.is_file() or file.name == _SEAL or file.name.startswith((".", _OF_PROCESSES))


def _fingerprint(file: Path) -> tuple[int, int]:
    """Return a file's size and CRC-32."""
    size = checksum = 0
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK):
            size, checksum = size + len(block), zlib.crc32(block, checksum)
    return size, checksum
