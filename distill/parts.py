"""Scoring, divided among a campaign's processes: each reads every so-manieth text and the leader puts them together."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from teachback.distill.base import load_base, load_student
from teachback.distill.predict import predict_findings
from teachback.distill.questions import Questions
from teachback.distill.ranks import current_ranks, gather_parts, tell
from teachback.store.label import FINDINGS, STATUSES

__all__ = ["score_in_parts"]


def score_in_parts(
    student: str,
    adapter: Path | None,
    questions: Questions,
    texts: Sequence[str],
    *,
    quantize: bool,
    progress: Callable[[int], None] = lambda done: None,
) -> NDArray[np.float32]:
    """Score the 13 findings of each text, in all processes at once.

    Every process loads the student whole: NF4 leaves room for it where training had room for activations.

    Args:
        student: The base.
        adapter: Folder of its adapter; None for the base alone.
        questions: The student's questions.
        texts: N report texts.
        quantize: NF4 with double quantisation.
        progress: Told how many texts more the leader has scored, times the processes.

    Returns:
        (N, 13, 4) probabilities to the leader; to the others an array without texts.
    """
    tell(score_in_parts, student, adapter, questions, texts, quantize=quantize)
    ranks = current_ranks()
    if adapter is None:
        model = load_base(student, quantize=quantize).eval()
    else:
        model = load_student(student, adapter, quantize=quantize)
    part = predict_findings(model, questions, texts[ranks.rank :: ranks.size], lambda n: progress(n * ranks.size))
    parts = gather_parts(part)
    whole = np.zeros((len(texts) if parts else 0, len(FINDINGS), len(STATUSES)), np.float32)
    for rank, scored in enumerate(parts):
        whole[rank :: ranks.size] = scored
    return whole
