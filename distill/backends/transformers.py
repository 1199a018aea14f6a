"""transformers: a report's questions as branches of one pass, its keys and values shared (`distill/tree.py`).

It is what runs here, and with `python -m teachback.distill.backends.transformers` it answers on a pipe as vLLM does.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teachback.distill.backends.protocol import LogProbabilities, Opening, SlotRequest, serve_stdio
from teachback.distill.predict import slot_log_probabilities
from teachback.distill.tree import Branch, plant

__all__ = ["TransformersBackend", "open_transformers"]


class TransformersBackend:
    """A student in this process.

    Args:
        model: A causal language model in eval mode, with its adapter.
        pad_id: The padding token.
        version: Name and version of what computes.
    """

    def __init__(self, model: Any, pad_id: int, version: str = "transformers") -> None:
        self.model, self._pad_id, self.version = model, pad_id, version

    def log_probabilities(
        self, requests: Sequence[SlotRequest], progress: Callable[[int], None] = lambda done: None
    ) -> list[NDArray[np.float32]]:
        """Return for each request a (questions, tokens) array of log-probabilities over the whole vocabulary."""
        rows = [plant(r.prefix, [Branch(question) for question in r.questions]) for r in requests]
        return slot_log_probabilities(self.model, rows, [r.tokens for r in requests], self._pad_id, progress)

    def answer(self, requests: Sequence[SlotRequest]) -> list[LogProbabilities]:
        """Return the same as lists, for a pipe."""
        return [found.astype(float).tolist() for found in self.log_probabilities(requests)]

    def close(self) -> None:
        """Nothing to end: the model lives in this process."""


def open_transformers(opening: Opening) -> TransformersBackend:
    """Load a student as training left it.

    Raises:
        MissingExtraError: The training part is not installed.
        TrainingError: There is no such model.
    """
    import torch
    import transformers

    from teachback.distill.base import load_base, load_student, load_tokenizer, require_training

    require_training()
    if opening.adapter is None:
        model = load_base(opening.student, quantize=opening.quantize).eval()
    else:
        model = load_student(opening.student, Path(opening.adapter), quantize=opening.quantize)
    if opening.dtype == "float32" and not opening.quantize:
        model = model.to(torch.float32)
    pad_id = load_tokenizer(opening.student).pad_token_id
    return TransformersBackend(model, pad_id, f"transformers {transformers.__version__}")


if __name__ == "__main__":
    serve_stdio(open_transformers)
