"""Reading, divided among a campaign's processes: each reads every so-manieth text and the leader puts them together."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teachback.distill.base import load_base, load_student
from teachback.distill.predict import predict_findings
from teachback.distill.questions import Questions
from teachback.distill.ranks import current_ranks, gather_parts, tell
from teachback.store.label import FINDINGS, STATUSES

__all__ = ["read_in_parts", "score_in_parts"]


def read_in_parts(
    read: Callable[..., Iterable[Any]],
    student: str,
    adapter: Path | None,
    questions: Questions,
    texts: Sequence[str],
    *,
    quantize: bool,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Any]:
    """Let a student read texts, in all processes at once.

    Every process loads the student whole: NF4 leaves room for it where training had room for activations.

    Args:
        read: Makes something of each text, such as `predict_findings`.
        student: The base.
        adapter: Folder of its adapter; None for the base alone.
        questions: The student's questions.
        texts: What to read.
        quantize: NF4 with double quantisation.
        progress: Told how many texts more the leader has read, times the processes.

    Returns:
        What `read` made of each text, to the leader; nothing to the others.
    """
    tell(read_in_parts, read, student, adapter, questions, texts, quantize=quantize)
    ranks = current_ranks()
    if adapter is None:
        model = load_base(student, quantize=quantize).eval()
    else:
        model = load_student(student, adapter, quantize=quantize)
    part = read(model, questions, texts[ranks.rank :: ranks.size], lambda n: progress(n * ranks.size))
    parts = gather_parts(part)
    whole: list[Any] = [None] * (len(texts) if parts else 0)
    for rank, of in enumerate(parts):
        whole[rank :: ranks.size] = list(of)
    return whole


def score_in_parts(
    student: str,
    adapter: Path | None,
    questions: Questions,
    texts: Sequence[str],
    *,
    quantize: bool,
    progress: Callable[[int], None] = lambda done: None,
) -> NDArray[np.float32]:
    """Score the 13 findings of each text, in all processes at once: N texts to (N, 13, 4) probabilities."""
    scored = read_in_parts(predict_findings, student, adapter, questions, texts, quantize=quantize, progress=progress)
    return np.array(scored, np.float32).reshape(-1, len(FINDINGS), len(STATUSES))
