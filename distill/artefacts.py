"""The files a round leaves behind: written whole or not at all, so that their existence means the step is done."""

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teachback.distill.faults import writing
from teachback.errors import TrainingError

__all__ = ["load_arrays", "load_json", "save_arrays", "save_json"]


def save_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically, with its folder.

    Raises:
        TrainingError: It cannot be written, for want of room or of leave.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    with writing(path, len(text), under=temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)


def load_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON file, None when the step that writes it has not finished.

    Raises:
        TrainingError: It is not what was written.
    """
    if not path.exists():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(path, error) from error
    return content


def save_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write a compressed NumPy archive atomically, with its folder.

    Raises:
        TrainingError: It cannot be written, for want of room or of leave.
    """
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    with writing(path, sum(array.nbytes for array in arrays.values()), under=temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(temporary, allow_pickle=False, **arrays)
        os.replace(temporary, path)


def load_arrays(path: Path) -> dict[str, NDArray[Any]] | None:
    """Read a NumPy archive, None when the step that writes it has not finished.

    Raises:
        TrainingError: It is not what was written.
    """
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return dict(archive)
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> TrainingError:
    return TrainingError(
        f"{path.name} in {path.parent} is damaged: {error}", "remove it, and the same command does its step again"
    )
