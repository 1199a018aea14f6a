"""Make a tiny Llama from nothing and pretrain it on unlabelled reports: a student for machines without a hub."""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from teachback.distill.artefacts import load_json, save_json
from teachback.distill.base import load_base, load_tokenizer
from teachback.distill.pretraining import CHECKPOINT, pretrain
from teachback.distill.questions import Questions
from teachback.distill.recipe import Recipe
from teachback.errors import TrainingError
from teachback.store.identity import content_id
from teachback.store.label import FINDINGS, STATUSES

__all__ = ["begin_anew", "init_student", "train_tokenizer"]

# A chat template of four marks, so that tiny students go through the same code as instruction-tuned ones.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>{{ message.content }}"
    "{% if message.role == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL_TOKENS = ("<|pad|>", "<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")


def init_student(
    texts: Sequence[str],
    out: Path,
    recipe: Recipe,
    prompt: Any,
    progress: Callable[[float, str], None] = lambda share, note: None,
    *,
    start: str | None = None,
    checkpoint_seconds: float = 60.0,
) -> dict[str, Any]:
    """Train a tokenizer and a tiny Llama on report texts, and save them in Hugging Face's format.

    A killed run goes on from its last checkpoint; a finished one is not repeated.

    Args:
        texts: Report texts, unlabelled.
        out: Folder to write `config.json`, `model.safetensors`, the tokenizer's files and `recipe.json` to.
        recipe: Sizes and budget.
        prompt: The student prompt (see `load_student_prompt`) in whose words the recall questions are put.
        progress: Called with the share done and a note.
        start: A tiny student to go on from, in place of random weights: its tokenizer and sizes are kept.
        checkpoint_seconds: Time between checkpoints.

    Returns:
        The recipe with what came of it: weights, steps, tokens, loss, seconds.

    Raises:
        TrainingError: There are too few reports to learn from, or the folder holds a student of other settings.
    """
    import torch

    if len(texts) < 50:
        raise TrainingError(f"{len(texts)} reports are too few to pretrain on", "give at least 50, better 10,000")
    if start is not None:
        recipe = _sizes_of(start, recipe)
    recipe_id = _recipe_id(texts, recipe, prompt, start)
    finished = load_json(out / "recipe.json")
    if finished is not None:
        if finished.get("recipe_id") == recipe_id:
            return finished
        raise TrainingError(f"there is another student in {out} already", "name another folder, or add --force")
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(texts, recipe) if start is None else load_tokenizer(start)
    model = _fresh_llama(tokenizer, recipe) if start is None else load_base(start, quantize=False).float()
    questions = Questions(tokenizer, max_length=recipe.context, **prompt)
    outcome = pretrain(
        model, questions, texts, recipe, out, recipe_id, checkpoint_seconds=checkpoint_seconds, progress=progress
    )
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    record = {
        **asdict(recipe),
        **outcome,
        "start": start and Path(start).name,
        "reports": len(texts),
        "weights": sum(p.numel() for p in model.parameters()),
        "recipe_id": recipe_id,
    }
    save_json(out / "recipe.json", record)  # last: it says that the student is whole
    (out / CHECKPOINT).unlink(missing_ok=True)
    return record


def _fresh_llama(tokenizer: Any, recipe: Recipe) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

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
    return model


def begin_anew(out: Path) -> None:
    """Forget the student that a folder holds, finished or not, so that another can be made there."""
    for name in ("recipe.json", CHECKPOINT):
        (out / name).unlink(missing_ok=True)


def _sizes_of(start: str, recipe: Recipe) -> Recipe:
    """Return the recipe with the sizes of the student that it starts from."""
    folder = Path(start)
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        raise TrainingError(
            f"there is no student in {start} to start from", "use `tiny`, or a folder of init-student's"
        )
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return replace(
        recipe,
        vocabulary=config["vocab_size"],
        hidden=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        feed_forward=config["intermediate_size"],
        context=config["max_position_embeddings"],
    )


def _recipe_id(texts: Sequence[str], recipe: Recipe, prompt: Any, start: str | None) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    begun_with = start and hashlib.blake2b((Path(start) / "model.safetensors").read_bytes(), digest_size=12).hexdigest()
    return content_id("rcp", asdict(recipe), prompt, digest.hexdigest(), begun_with)


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
