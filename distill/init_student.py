"""Make a tiny Llama from nothing and pretrain it on unlabelled reports.

Departures from ordinary language-model pretraining, because a model of a few million weights has minutes, not months:
beside the next token of the report, it learns to *recall*. Behind each report stand a few words, some drawn from it and
some from another report, in the place where the questions will stand later; the model answers with the sentence that
holds the word, or with `unmentioned`. No label of any kind is used: the words are drawn by chance, and the answers are
the text itself.
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
RECALL_WORDS = 24  # the longest sentence, in words, that a recall answer repeats
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
        absent: Share of recall questions whose word the report does not hold.
        lm_weight: Weight of a report token's loss beside a recall token's 1.
        seconds: Budget of the pretraining; ends earlier when `steps` are done.
        steps: Number of steps, 0 for as many as the budget allows.
        seed: Seed of weights, order and draws.
    """

    vocabulary: int = 2048
    hidden: int = 256
    layers: int = 4
    heads: int = 4
    feed_forward: int = 704
    context: int = 512
    batch: int = 32
    learning_rate: float = 2e-3
    recalls: int = 6
    absent: float = 0.3
    lm_weight: float = 0.3
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
            attn_implementation="eager",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
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
            rows = [_recall_row(questions, texts, index, recipe, draw) for index in order[start : start + pool]]
            rows.sort(key=len)
            batches = [rows[i : i + recipe.batch] for i in range(0, len(rows), recipe.batch)]
            draw.shuffle(batches)
            for batch in batches:
                yield collate(batch, questions.tokenizer.pad_token_id)


def _recall_row(questions: Questions, texts: Sequence[str], index: int, recipe: Recipe, draw: random.Random) -> TreeRow:
    text = texts[index]
    sentences = [s for s in _SENTENCE_END.split(text) if s.strip()]
    branches = []
    for _ in range(recipe.recalls):
        if draw.random() < recipe.absent:
            phrase = _draw_phrase(draw.choice(_SENTENCE_END.split(texts[draw.randrange(len(texts))])), draw)
            if phrase and phrase.lower() not in text.lower():
                branches.append(_recall(questions, phrase, "unmentioned"))
            continue
        sentence = draw.choice(sentences)
        if phrase := _draw_phrase(sentence, draw):
            first = next((s for s in sentences if phrase.lower() in s.lower()), sentence)
            words = first.split()
            at = next((i for i, w in enumerate(words) if phrase.split()[0].lower() in w.lower()), 0)
            begin = max(0, min(at - RECALL_WORDS // 2, len(words) - RECALL_WORDS))
            branches.append(_recall(questions, phrase, " ".join(words[begin : begin + RECALL_WORDS])))
    return plant(questions.prefix(text, recipe.context // 2), branches, prefix_weight=recipe.lm_weight)


def _draw_phrase(sentence: str, draw: random.Random) -> str:
    """Draw one to two neighbouring words of a sentence."""
    words = _WORD.findall(sentence)
    if not words:
        return ""
    start, length = draw.randrange(len(words)), 1 + draw.randrange(2)
    return " ".join(words[start : start + length])


def _recall(questions: Questions, phrase: str, answer: str) -> Branch:
    return Branch(questions.ask(phrase), questions.encode_answer(answer))
