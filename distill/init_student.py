"""Make a tiny Llama from nothing and pretrain it on unlabelled reports.

Departures from ordinary language-model pretraining, because a model of a few million weights has minutes, not months.
Beside the next token of the report it does two exercises, each asked in the place where the questions will stand later:

- *recall*: a word drawn from the report is answered with the words that stand around it, a word from elsewhere with
  `unmentioned`;
- *status words*: a word from another report is put into this one in an invented sentence ("No <word>.", "Possible
  <word>."), and the answer is what that sentence says of it.

No label of any report is used. The second exercise is what an instruction-tuned model brings along, the plain meaning
of `present`, `absent` and `uncertain`, on words drawn by chance; which findings a report states, and how reports really
speak of them, the student has to learn from its teacher. What the base can do by itself is scored beside every round.
"""

import json
import math
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from teachback.distill.base import compute_in_bf16
from teachback.distill.questions import Questions
from teachback.distill.tree import Branch, TreeRow, collate, plant
from teachback.errors import TrainingError
from teachback.store.label import FINDINGS, STATUSES

__all__ = ["Recipe", "init_student", "train_tokenizer"]

# A chat template of four marks, so that tiny students go through the same code as instruction-tuned ones.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>{{ message.content }}"
    "{% if message.role == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL_TOKENS = ("<|pad|>", "<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
# How invented sentences speak of a word, by status.
FRAMES = {
    "present": (
        "There is {}.",
        "{} is seen.",
        "{} again noted.",
        "Stable {}.",
        "New {}.",
        "With {}.",
        "Persistent {}.",
    ),
    "absent": ("No {}.", "Without {}.", "There is no {}.", "{} is not seen.", "No evidence of {}.", "Negative for {}."),
    "uncertain": ("Possible {}.", "{} cannot be excluded.", "May represent {}.", "Questionable {}.", "Suspected {}."),
}
RECALL_BEFORE, RECALL_AFTER = 8, 12  # words around a recalled one that the answer repeats
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_WORD = re.compile(r"[A-Za-z][A-Za-z-]{2,}")


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


def init_student(
    texts: Sequence[str],
    out: Path,
    recipe: Recipe,
    prompt: Any,
    progress: Callable[[float, str], None] = lambda share, note: None,
) -> dict[str, Any]:
    """Train a tokenizer and a tiny Llama on report texts, and save them in Hugging Face's format.

    Args:
        texts: Report texts, unlabelled.
        out: Folder to write `config.json`, `model.safetensors`, the tokenizer's files and `recipe.json` to.
        recipe: Sizes and budget.
        prompt: The student prompt (see `load_student_prompt`) in whose words the recall questions are put.
        progress: Called with the share done and a note.

    Returns:
        The recipe with what came of it: weights, steps, tokens, loss, seconds.

    Raises:
        TrainingError: There are too few reports to learn from.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    if len(texts) < 50:
        raise TrainingError(f"{len(texts)} reports are too few to pretrain on", "give at least 50, better 10,000")
    tokenizer = train_tokenizer(texts, recipe)
    torch.manual_seed(recipe.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.hidden,
            intermediate_size=recipe.feed_forward,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.heads,
            max_position_embeddings=recipe.context,
            tie_word_embeddings=True,
            initializer_range=0.8 / math.sqrt(recipe.hidden),  # the usual 0.02 suits widths of thousands
            attn_implementation="eager",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    _start_by_matching(model)
    questions = Questions(tokenizer, max_length=recipe.context, **prompt)
    outcome = _pretrain(model, questions, texts, recipe, progress)
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    record = {
        **asdict(recipe),
        **outcome,
        "reports": len(texts),
        "weights": sum(p.numel() for p in model.parameters()),
    }
    (out / "recipe.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record


def train_tokenizer(texts: Sequence[str], recipe: Recipe) -> Any:
    """Train a lower-casing byte-level BPE on report texts, with the questions' words as whole tokens."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    asked = [" ".join(("", *FINDINGS, *STATUSES)), *STATUSES]
    bpe.train_from_iterator([*texts[:20_000], *asked * max(50, len(texts) // 100)], trainer=trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|begin|>",
        eos_token="<|end|>",
        pad_token="<|pad|>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=recipe.context,
    )


def _start_by_matching(model: Any) -> None:
    """Let every attention layer but the first start out by looking for tokens like its own.

    Queries and keys share one random orthonormal projection per head, so equal tokens attract each other from the first
    step on (mimetic initialisation, Trockman and Kolter 2023, arXiv 2305.09828). From plain random weights a model this
    small takes millions of tokens to find out that a question's word stands in the report.
    """
    import torch

    heads = model.config.num_attention_heads
    for block in model.model.layers[1:]:
        width = block.self_attn.q_proj.weight.shape[1]
        shared = torch.cat([torch.nn.init.orthogonal_(torch.empty(width // heads, width)) for _ in range(heads)])
        with torch.no_grad():
            block.self_attn.q_proj.weight.copy_(shared + 0.1 * block.self_attn.q_proj.weight)
            block.self_attn.k_proj.weight.copy_(shared + 0.1 * block.self_attn.k_proj.weight)


def _pretrain(
    model: Any, questions: Questions, texts: Sequence[str], recipe: Recipe, progress: Callable[[float, str], None]
) -> dict[str, Any]:
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.05)
    started, tokens, step, running = time.monotonic(), 0, 0, math.nan
    model.train()
    for batch in _batches(questions, texts, recipe):
        share = max(
            (time.monotonic() - started) / recipe.seconds if recipe.seconds else 0.0,
            step / recipe.steps if recipe.steps else 0.0,
        )
        if share >= 1:
            break
        warm = min(1.0, share / 0.05 + 0.02)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=compute_in_bf16()):
            loss = _weighted_loss(model, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step, tokens = step + 1, tokens + int((batch["position_ids"] > 0).sum())
        running = loss.item() if math.isnan(running) else 0.95 * running + 0.05 * loss.item()
        progress(share, f"step {step}, loss {running:.2f}")
    return {"steps_done": step, "tokens": tokens, "loss": running, "seconds_taken": time.monotonic() - started}


def _weighted_loss(model: Any, batch: dict[str, Any]) -> Any:
    import torch

    states = model.model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], position_ids=batch["position_ids"]
    ).last_hidden_state[:, :-1]
    wanted = batch["labels"][:, 1:] >= 0
    weights = batch["loss_weights"][:, 1:][wanted]
    losses = torch.nn.functional.cross_entropy(
        model.lm_head(states[wanted]).float(), batch["labels"][:, 1:][wanted], reduction="none"
    )
    return (losses * weights).sum() / weights.sum()


def _batches(questions: Questions, texts: Sequence[str], recipe: Recipe) -> Iterator[dict[str, Any]]:
    """Yield batches for ever, of reports of like length, in a seeded order."""
    draw = random.Random(recipe.seed)
    pool = recipe.batch * 16
    while True:
        order = draw.sample(range(len(texts)), len(texts))
        for start in range(0, len(order), pool):
            rows = [_exercise_row(questions, texts, index, recipe, draw) for index in order[start : start + pool]]
            rows.sort(key=len)
            batches = [rows[i : i + recipe.batch] for i in range(0, len(rows), recipe.batch)]
            draw.shuffle(batches)
            for batch in batches:
                yield collate(batch, questions.tokenizer.pad_token_id)


def _exercise_row(
    questions: Questions, texts: Sequence[str], index: int, recipe: Recipe, draw: random.Random
) -> TreeRow:
    """Build one report's row: the report itself, recall questions and status-word questions behind it."""
    text = texts[index]
    sentences = [s for s in _SENTENCE_END.split(text) if s.strip()]
    branches = []
    for _ in range(recipe.recalls):
        if phrase := _draw_phrase(draw.choice(sentences), draw):
            branches.append(_ask(questions, phrase, _around(phrase, sentences)))
    for _ in range(recipe.absents):
        if phrase := _foreign_phrase(text, texts, draw):
            branches.append(_ask(questions, phrase, "unmentioned", recipe.status_weight))
    for _ in range(recipe.statuses):
        if phrase := _foreign_phrase(text, texts, draw):
            status = draw.choice(tuple(FRAMES))
            sentences.insert(draw.randrange(len(sentences) + 1), draw.choice(FRAMES[status]).format(phrase))
            branches.append(_ask(questions, phrase, status, recipe.status_weight))
    return plant(questions.prefix(" ".join(sentences), recipe.context // 2), branches, prefix_weight=recipe.lm_weight)


def _around(phrase: str, sentences: Sequence[str]) -> str:
    """Return the words around a phrase's first mention, within its sentence."""
    words = next(s for s in sentences if phrase.lower() in s.lower()).split()
    at = next((i for i, word in enumerate(words) if phrase.split()[0].lower() in word.lower()), 0)
    return " ".join(words[max(0, at - RECALL_BEFORE) : at + RECALL_AFTER])


def _foreign_phrase(text: str, texts: Sequence[str], draw: random.Random) -> str:
    """Draw a phrase of another report that this text does not hold; empty when the draw fails."""
    phrase = _draw_phrase(draw.choice(_SENTENCE_END.split(texts[draw.randrange(len(texts))])), draw)
    return "" if phrase.lower() in text.lower() else phrase


def _draw_phrase(sentence: str, draw: random.Random) -> str:
    """Draw one to two neighbouring words of a sentence."""
    words = list(_WORD.finditer(sentence))
    if not words:
        return ""
    first = draw.randrange(len(words))
    last = min(len(words) - 1, first + draw.randrange(2))
    return sentence[words[first].start() : words[last].end()]


def _ask(questions: Questions, phrase: str, answer: str, weight: float = 1.0) -> Branch:
    return Branch(questions.ask(phrase), questions.encode_answer(answer), weight)
