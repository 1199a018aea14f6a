"""Step 4, predict: the exact probability of each status, read at the slots of one pass.

The distribution over the four status tokens is read where each question ends and renormalised over the four, so there
is nothing to parse and nothing to fail; the report's keys and values are computed once for its 13 questions.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teachback.distill.backends.protocol import SlotRequest
from teachback.distill.disease_json import Guides, Written, disease_grammar, read_json
from teachback.distill.faults import is_out_of_memory
from teachback.distill.questions import DISEASES, DISEASES_JSON, VERIFY, Questions, parse_diseases
from teachback.distill.shard import outermost_whole
from teachback.distill.tree import Branch, TreeRow, collate, plant
from teachback.errors import TrainingError
from teachback.store.label import FINDINGS

__all__ = [
    "TOKENS_A_BATCH",
    "predict_diseases",
    "predict_findings",
    "reading_batch",
    "slot_log_probabilities",
    "verify_diseases",
    "write_diseases",
]

# Padded tokens a forward pass; they bound memory whatever the lengths.
TOKENS_A_BATCH = 16_384
# Of reading on a CPU: its caches hold so many, and fewer rows are more alike in length. In all it reads twice as fast.
TOKENS_A_CPU_BATCH = 2_048
DISEASE_TOKENS, JSON_TOKENS = 96, 384  # longest answers in either form, in tokens


def predict_findings(
    student: Any,
    questions: Questions,
    texts: Sequence[str],
    progress: Callable[[int], None] = lambda done: None,
) -> NDArray[np.float32]:
    """Score the 13 findings of each text.

    Args:
        student: A causal language model in eval mode, or a backend that runs one.
        questions: The student's questions.
        texts: N report texts.
        progress: Called with the number of reports scored since the last call.

    Returns:
        (N, 13, 4) float32: per report and finding, the probabilities of `STATUSES`; each sums to 1.
    """
    tails = tuple(questions.tail(finding) for finding in FINDINGS)
    room = questions.max_length - sum(map(len, tails))
    requests = [SlotRequest(tuple(questions.prefix(text, room)), tails, questions.status_tokens) for text in texts]
    return _renormalised(_log_probabilities(student, questions, requests, progress), (len(FINDINGS), 4))


def verify_diseases(
    student: Any,
    questions: Questions,
    texts: Sequence[str],
    listed: Sequence[Sequence[str]],
    progress: Callable[[int], None] = lambda done: None,
) -> list[NDArray[np.float32]]:
    """Ask of each disease whether the report states it: one question a disease, the report shared.

    Args:
        student: A causal language model in eval mode, or a backend that runs one.
        questions: The student's questions.
        texts: N report texts.
        listed: The diseases to ask for, per text.
        progress: Called with the number of reports since the last call.

    Returns:
        Per text, an array of P(yes) / (P(yes) + P(no)), in the order of its diseases.
    """
    requests, asked = [], [i for i, diseases in enumerate(listed) if diseases]
    for i in asked:
        tails = tuple(questions.tail(VERIFY + disease) for disease in listed[i])
        prefix = questions.prefix(texts[i], questions.max_length - sum(map(len, tails)))
        requests.append(SlotRequest(tuple(prefix), tails, questions.yes_no_tokens))
    progress(len(texts) - len(asked))
    found = [np.zeros(0, np.float32) for _ in texts]
    for i, logs in zip(asked, _log_probabilities(student, questions, requests, progress), strict=True):
        found[i] = _renormalised([logs], (len(listed[i]), 2))[0, :, 0]
    return found


def slot_log_probabilities(
    model: Any,
    rows: Sequence[TreeRow],
    tokens: Sequence[Sequence[int]],
    pad_id: int,
    progress: Callable[[int], None] = lambda done: None,
) -> list[NDArray[np.float32]]:
    """Read the log-probabilities of tokens where each branch's question ends, in one pass a row.

    Args:
        model: A causal language model in eval mode.
        rows: Rows whose branches have no answers.
        tokens: Per row, the token ids to read.
        pad_id: The padding token.
        progress: Called with the number of rows since the last call.

    Returns:
        Per row, a (branches, tokens) float32 array, over the whole vocabulary.
    """
    import torch

    found: list[NDArray[np.float32]] = [np.zeros(0, np.float32) for _ in rows]

    def read(indices: list[int]) -> None:
        batch = collate([rows[i] for i in indices], pad_id, model.dtype)
        states = _backbone(model)(
            **{k: batch[k].to(model.device) for k in ("input_ids", "attention_mask", "position_ids")},
            use_cache=False,
        ).last_hidden_state
        places = [(row, end) for row, i in enumerate(indices) for end in rows[i].ends]
        slots = states[[row for row, _ in places], [end for _, end in places]]
        logs = model.get_output_embeddings()(slots).float().log_softmax(-1)
        for i, of in zip(indices, logs.split([len(rows[i].ends) for i in indices]), strict=True):
            found[i] = of[:, list(tokens[i])].cpu().numpy()
        progress(len(indices))

    with torch.inference_mode(), outermost_whole(model):
        _in_batches([len(row) for row in rows], reading_batch(model.device.type), read)
    return found


def predict_diseases(
    model: Any,
    questions: Questions,
    texts: Sequence[str],
    progress: Callable[[int], None] = lambda done: None,
) -> list[list[tuple[str, str | None]]]:
    """Let the student list the diseases of each text, greedily and as it likes.

    Returns:
        For each text, its diseases as (phrase, ICD-10-CM code or None).
    """
    answers = _write(model, questions, DISEASES, texts, DISEASE_TOKENS, progress)
    decode = questions.tokenizer.decode
    return [parse_diseases(decode(answer, skip_special_tokens=True)) for answer in answers]


def write_diseases(
    model: Any,
    questions: Questions,
    sections: Sequence[Sequence[tuple[str, str]]],
    texts: Sequence[str],
    progress: Callable[[int], None] = lambda done: None,
) -> list[Written]:
    """Let the student list the diseases of each report with code and evidence, in JSON that it cannot depart from.

    Args:
        model: A causal language model in eval mode; any: the form is no question of its training.
        questions: The student's questions.
        sections: (name, text) of the sections that evidence is quoted from, per report.
        texts: What the student reads of each.
        progress: Called with the number of reports since the last call.
    """
    if not texts:
        return []
    guides = Guides(questions.tokenizer, questions.end, model.get_output_embeddings().weight.shape[0])
    grammars = [disease_grammar([questions.seen(text) for _, text in of]) for of in sections]

    def hold(indices: Sequence[int]) -> list[Any]:
        return [guides.batch([grammars[i] for i in indices])]

    answers = _write(model, questions, DISEASES_JSON, texts, JSON_TOKENS, progress, hold)
    decode = questions.tokenizer.decode
    return [read_json(decode(answer, skip_special_tokens=True), whole=questions.end in answer) for answer in answers]


def _write(
    model: Any,
    questions: Questions,
    question: str,
    texts: Sequence[str],
    length: int,
    progress: Callable[[int], None],
    hold: Callable[[Sequence[int]], list[Any]] = lambda indices: [],
) -> list[list[int]]:
    """Answer a question on each text greedily: the tokens of each answer, the end of the turn among them."""
    import torch

    tokenizer, tail = questions.tokenizer, list(questions.tail(question))
    length = min(length, questions.max_length // 2)
    prompts = [[*questions.prefix(text, questions.max_length - length - len(tail)), *tail] for text in texts]
    answers: list[list[int]] = [[] for _ in texts]

    def read(indices: list[int]) -> None:
        width = max(len(prompts[i]) for i in indices)
        padded = [[tokenizer.pad_token_id] * (width - len(prompts[i])) + prompts[i] for i in indices]
        mask = [[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in indices]
        output = model.generate(
            input_ids=torch.tensor(padded, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            max_new_tokens=length,
            do_sample=False,
            eos_token_id=questions.end,
            pad_token_id=tokenizer.pad_token_id,
            logits_processor=hold(indices),
        )
        for i, written in zip(indices, output[:, width:].tolist(), strict=True):
            answers[i] = written
        progress(len(indices))

    with torch.inference_mode():
        _in_batches([len(p) + length for p in prompts], TOKENS_A_BATCH, read)
    return answers


def _log_probabilities(
    student: Any, questions: Questions, requests: Sequence[SlotRequest], progress: Callable[[int], None]
) -> list[NDArray[np.float32]]:
    if hasattr(student, "log_probabilities"):  # a backend
        answered: list[NDArray[np.float32]] = student.log_probabilities(requests, progress)
        return answered
    rows = [plant(r.prefix, [Branch(question) for question in r.questions]) for r in requests]
    pad_id = questions.tokenizer.pad_token_id
    return slot_log_probabilities(student, rows, [r.tokens for r in requests], pad_id, progress)


def _renormalised(logs: Sequence[NDArray[np.float32]], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Turn log-probabilities into distributions over the asked tokens alone: N of `shape` to (N, *shape)."""
    stacked = np.stack(logs) if logs else np.zeros((0, *shape), np.float32)
    raised = np.exp(stacked - stacked.max(-1, keepdims=True))
    shares: NDArray[np.float32] = raised / raised.sum(-1, keepdims=True)
    return shares


def _backbone(model: Any) -> Any:
    """Return the model without its output layer, adapters included: the slots alone need logits."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return base.model


def reading_batch(device: str) -> int:
    """Return the padded tokens that are read at once on a device such as `cpu` or `cuda`."""
    return TOKENS_A_CPU_BATCH if device == "cpu" else TOKENS_A_BATCH


def _in_batches(lengths: Sequence[int], tokens: int, read: Callable[[list[int]], None]) -> None:
    """Read all of it, batches of like length, each at most so many padded tokens, longest first.

    Where memory runs out, batches are half as large from there on; nothing is read twice.

    Raises:
        TrainingError: There is no memory for even one.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    place = 0
    while place < len(order):
        longest = lengths[order[place]]
        batch = order[place : place + max(1, tokens // max(1, longest))]
        said = _out_of_memory(read, batch)
        if said is None:
            place += len(batch)
        elif len(batch) == 1:
            raise TrainingError(
                f"there is no memory to read even one text of {longest} tokens ({said})",
                "end other programs that use memory, or set train.max_length lower, or take a smaller student",
            )
        else:
            tokens = len(batch) // 2 * longest


def _out_of_memory(read: Callable[[list[int]], None], batch: list[int]) -> str | None:
    """Read a batch; return what the allocator says where it cannot be read, when all that it took is free again."""
    import torch

    try:
        read(batch)
    except (MemoryError, OSError, RuntimeError) as error:  # as allocators raise, and not they alone
        if not is_out_of_memory(error):
            raise
        said = (str(error).splitlines() or ["MemoryError"])[0]
    else:
        return None
    torch.cuda.empty_cache()
    return said
