"""How a tiny student is made: its sizes, its exercises and its budget."""

from dataclasses import dataclass

__all__ = ["Recipe"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a tiny student is made.

    Attributes:
        vocabulary: Tokens of the byte-level BPE.
        hidden: Width of the model.
        layers: Number of blocks.
        heads: Attention heads; `hidden` is divisible by it.
        feed_forward: Width of the gated feed-forward layer.
        context: Longest row in tokens.
        batch: Reports a step.
        learning_rate: Peak of the cosine schedule, after 5 % warm-up.
        recalls: Recall questions a report.
        statuses: Status-word questions a report.
        absents: Questions on words that the report does not hold.
        status_weight: Weight of a status word's loss beside a recall token's 1.
        lm_weight: Weight of a report token's loss beside a recall token's 1.
        seconds: Budget of the pretraining; ends earlier when `steps` are done.
        steps: Number of steps, 0 for as many as the budget allows.
        seed: Seed of weights, order and draws.
    """

    vocabulary: int = 2048
    hidden: int = 192
    layers: int = 4
    heads: int = 6
    feed_forward: int = 512
    context: int = 512
    batch: int = 16
    learning_rate: float = 2.5e-3
    recalls: int = 1
    statuses: int = 2
    absents: int = 1
    status_weight: float = 1.0
    lm_weight: float = 1.0
    seconds: float = 60.0
    steps: int = 0
    seed: int = 0
