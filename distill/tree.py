"""One report, many questions, one pass: the report is a shared prefix and each question a branch behind it.

A row of a report with 13 findings would cost 13 prompts. Here the report's tokens stand once, and behind them each
question with its answer as a branch that sees the report and itself, never its siblings. Positions restart behind the
prefix, so what the model computes for a branch is what it would compute for that prompt alone, in training and in
scoring: the report's keys and values are shared, the probabilities are exact.

Departure from plain SFT: the attention mask is two-dimensional per row, and weights stand on single answer tokens, so
that one report can carry labels of several weights, and findings without a label carry none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["IGNORED", "Branch", "TreeRow", "collate", "plant"]

IGNORED = -100  # the label of a token that carries no loss, as in PyTorch's cross entropy
LENGTH_STEP = 16  # batches are padded to a multiple of this


@dataclass(frozen=True, slots=True)
class Branch:
    """A question and its answer.

    Attributes:
        question: Token ids between the shared prefix and the answer.
        answer: Token ids of the answer; empty when scoring.
        weight: What each of the answer's tokens counts in the loss.
    """

    question: tuple[int, ...]
    answer: tuple[int, ...] = ()
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class TreeRow:
    """A prefix with its branches, laid flat. All sequences have length T.

    Attributes:
        input_ids: Token ids.
        positions: Position of each token in its own prompt: branches restart behind the prefix.
        branches: 0 for the prefix, 1.. for the branches.
        labels: The token itself where it carries loss, else `IGNORED`.
        weights: Weight of each labelled token.
        ends: Flat index of each branch's last question token, where its answer is read.
    """

    input_ids: tuple[int, ...]
    positions: tuple[int, ...]
    branches: tuple[int, ...]
    labels: tuple[int, ...]
    weights: tuple[float, ...]
    ends: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.input_ids)


def plant(prefix: Sequence[int], branches: Sequence[Branch], *, prefix_weight: float = 0.0) -> TreeRow:
    """Lay a prefix and its branches flat.

    Args:
        prefix: The shared token ids.
        branches: The questions; each must have at least one question token when the prefix ends elsewhere.
        prefix_weight: Weight of the prefix's own tokens in the loss; above 0 for language modelling.
    """
    ids, positions, owners = list(prefix), list(range(len(prefix))), [0] * len(prefix)
    labels = [token if prefix_weight > 0 else IGNORED for token in prefix]
    weights, ends = [prefix_weight] * len(prefix), []
    if labels:
        labels[0] = IGNORED  # nothing stands before it
    for number, branch in enumerate(branches, start=1):
        tokens = [*branch.question, *branch.answer]
        ends.append(len(ids) + len(branch.question) - 1)
        ids += tokens
        positions += range(len(prefix), len(prefix) + len(tokens))
        owners += [number] * len(tokens)
        labels += [IGNORED] * len(branch.question) + list(branch.answer)
        weights += [0.0] * len(branch.question) + [branch.weight] * len(branch.answer)
    return TreeRow(tuple(ids), tuple(positions), tuple(owners), tuple(labels), tuple(weights), tuple(ends))


def collate(rows: Sequence[TreeRow], pad_id: int, dtype: "torch.dtype | None" = None) -> "dict[str, torch.Tensor]":
    """Pad rows into a batch.

    Args:
        rows: B rows of at most T tokens.
        pad_id: The padding token.
        dtype: Of the attention mask: the model's own; float32 if not given.

    Returns:
        `input_ids`, `position_ids`, `labels` (B, T) int64; `loss_weights` (B, T) float32; `attention_mask`
        (B, 1, T, T), added to the attention scores: 0 where the row's token may look, at earlier tokens of the prefix
        or of its own branch, and the dtype's lowest number elsewhere.
    """
    import torch

    dtype = dtype or torch.float32
    # Kernels are built for each new shape: on two cores few shapes make a step a third quicker.
    length = -(-max(len(row) for row in rows) // LENGTH_STEP) * LENGTH_STEP

    def padded(field: str, value: float, kind: "torch.dtype") -> "torch.Tensor":
        full: list[list[Any]] = [[*getattr(row, field), *[value] * (length - len(row))] for row in rows]
        return torch.tensor(full, dtype=kind)

    owners = padded("branches", -1, torch.int64)
    looks_at_prefix = (owners == 0)[:, None, :]
    same_branch = owners[:, :, None] == owners[:, None, :]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    hidden = torch.full((len(rows), length, length), torch.finfo(dtype).min, dtype=dtype)
    # Padding rows look at themselves only among each other (owner -1), which keeps the softmax finite.
    return {
        "input_ids": padded("input_ids", pad_id, torch.int64),
        "position_ids": padded("positions", 0, torch.int64),
        "labels": padded("labels", IGNORED, torch.int64),
        "loss_weights": padded("weights", 0.0, torch.float32),
        "attention_mask": hidden.masked_fill((looks_at_prefix | same_branch) & causal, 0.0)[:, None],
    }
