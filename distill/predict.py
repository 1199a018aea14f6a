"""Step 4, predict: the exact probability of each status, read at the slots of one pass.

The distribution over the four status tokens is read where each question ends and renormalised over the four, so there
is nothing to parse and nothing to fail; the report's keys and values are computed once for its 13 questions.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teachback.distill.questions import Questions, parse_diseases
from teachback.distill.tree import collate
from teachback.store.label import FINDINGS

__all__ = ["predict_diseases", "predict_findings"]

TOKENS_A_BATCH = 16_384  # padded tokens a forward pass; bounds memory whatever the lengths
DISEASE_TOKENS = 96  # longest answer, in tokens


def predict_findings(
    model: Any,
    questions: Questions,
    texts: Sequence[str],
    progress: Callable[[int], None] = lambda done: None,
) -> NDArray[np.float32]:
    """Score the 13 findings of each text.

    Args:
        model: A causal language model in eval mode.
        questions: The student's questions.
        texts: N report texts.
        progress: Called with the number of reports scored since the last call.

    Returns:
        (N, 13, 4) float32: per report and finding, the probabilities of `STATUSES`; each sums to 1.
    """
    import torch

    rows = [questions.row(text) for text in texts]
    probabilities = np.zeros((len(rows), len(FINDINGS), 4), np.float32)
    tokens = torch.tensor(questions.status_tokens, device=model.device)
    with torch.inference_mode():
        for indices in _by_length([len(row) for row in rows]):
            batch = collate([rows[i] for i in indices], questions.tokenizer.pad_token_id, model.dtype)
            ends = torch.tensor([rows[i].ends for i in indices], device=model.device)
            states = _backbone(model)(
                **{k: batch[k].to(model.device) for k in ("input_ids", "attention_mask", "position_ids")},
                use_cache=False,
            ).last_hidden_state
            slots = states.gather(1, ends[:, :, None].expand(-1, -1, states.shape[-1]))
            logits = model.get_output_embeddings()(slots)[..., tokens].float()
            probabilities[indices] = logits.softmax(-1).cpu().numpy()
            progress(len(indices))
    return probabilities


def predict_diseases(
    model: Any,
    questions: Questions,
    texts: Sequence[str],
    progress: Callable[[int], None] = lambda done: None,
) -> list[list[tuple[str, str | None]]]:
    """Let the student list the diseases of each text, greedily.

    Returns:
        For each text, its diseases as (phrase, ICD-10-CM code or None).
    """
    import torch

    tokenizer, tail = questions.tokenizer, list(questions.tail("diseases"))
    prompts = [[*questions.prefix(text, questions.max_length - DISEASE_TOKENS), *tail] for text in texts]
    answers: list[list[tuple[str, str | None]]] = [[] for _ in texts]
    with torch.inference_mode():
        for indices in _by_length([len(p) + DISEASE_TOKENS for p in prompts]):
            width = max(len(prompts[i]) for i in indices)
            padded = [[tokenizer.pad_token_id] * (width - len(prompts[i])) + prompts[i] for i in indices]
            mask = [[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in indices]
            output = model.generate(
                input_ids=torch.tensor(padded, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                max_new_tokens=DISEASE_TOKENS,
                do_sample=False,
                eos_token_id=questions.end,
                pad_token_id=tokenizer.pad_token_id,
            )
            written = tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)
            for i, answer in zip(indices, written, strict=True):
                answers[i] = parse_diseases(answer)
            progress(len(indices))
    return answers


def _backbone(model: Any) -> Any:
    """Return the model without its output layer, adapters included: the slots alone need logits."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return base.model


def _by_length(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield index batches of like length, each at most `TOKENS_A_BATCH` padded tokens, longest first."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > TOKENS_A_BATCH:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
