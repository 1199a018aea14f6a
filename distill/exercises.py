"""What a tiny student is pretrained on: a report's next token, and two exercises that no label is needed for.

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

import itertools
import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

from teachback.distill.questions import Questions
from teachback.distill.recipe import Recipe
from teachback.distill.tree import Branch, TreeRow, collate, plant

__all__ = ["exercise_batches", "exercise_row"]

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
        "Mild {}.",
        "{}.",
        "Findings consistent with {}.",
    ),
    "absent": (
        "No {}.",
        "Without {}.",
        "There is no {}.",
        "{} is not seen.",
        "No evidence of {}.",
        "Negative for {}.",
        "Free of {}.",
        "No {} or other abnormality.",
        "{} has resolved.",
    ),
    "uncertain": (
        "Possible {}.",
        "{} cannot be excluded.",
        "May represent {}.",
        "Questionable {}.",
        "Suspected {}.",
        "{} is not entirely excluded.",
        "Cannot rule out {}.",
    ),
}
RECALL_BEFORE, RECALL_AFTER = 8, 12  # words around a recalled one that the answer repeats
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_WORD = re.compile(r"[A-Za-z][A-Za-z-]{2,}")


def exercise_batches(
    questions: Questions, texts: Sequence[str], recipe: Recipe, skip: int = 0
) -> Iterator[dict[str, Any]]:
    """Yield batches for ever, of reports of like length.

    The order depends on the seed and the place alone, so that a resumed pretraining goes on with the very batches that
    it would have seen.

    Args:
        questions: In whose words the exercises are put.
        texts: Report texts.
        recipe: Batch size, exercises, seed.
        skip: Batches to leave out.
    """
    pool = recipe.batch * 16
    for epoch in itertools.count():
        order = random.Random(f"{recipe.seed}:{epoch}").sample(range(len(texts)), len(texts))
        for start in range(0, len(order), pool):
            chosen = order[start : start + pool]
            count = -(-len(chosen) // recipe.batch)
            if skip >= count:
                skip -= count
                continue
            draw = random.Random(f"{recipe.seed}:{epoch}:{start}")
            rows = sorted((exercise_row(questions, texts, index, recipe, draw) for index in chosen), key=len)
            batches = [rows[i : i + recipe.batch] for i in range(0, len(rows), recipe.batch)]
            draw.shuffle(batches)
            for batch in batches[skip:]:
                yield collate(batch, questions.tokenizer.pad_token_id)
            skip = 0


def exercise_row(
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
