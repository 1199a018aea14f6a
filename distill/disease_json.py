"""Diseases in JSON: the form that a student is held to token by token, and how its answer is read.

The form is the LLM teachers' own (`agents/forms.py`): name, ICD-10-CM code and evidence. A grammar masks every token
that cannot go on to it, so that any student, trained or not, gives an answer that can be read; and the evidence can
only be words of one section, as the student reads it. An answer that comes to no end within its tokens loses the
disease that it broke off in, and says so.

The grammar is llguidance's (https://github.com/guidance-ai/llguidance), which vLLM understands too.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from teachback.agents.forms import DiseaseEntry, LabelForm
from teachback.errors import MissingExtraError, TrainingError

__all__ = ["LONGEST_EVIDENCE", "Disease", "Guides", "Written", "disease_grammar", "format_json", "read_json", "spoken"]

MOST_DISEASES = 16  # diseases of one report
LONGEST_EVIDENCE = 160  # characters of a quote
_OPEN, _CLOSE = '{"diseases":[', "]}"
# No signs that JSON would escape. A code without its letters' case: some tokenizers have none.
_NAME = r"/[A-Za-z][A-Za-z0-9 ,.'()\/-]{1,79}/"
_CODE = r"/[A-Za-z][0-9][0-9A-Za-z](\.[0-9A-Za-z]{1,4})?/"
_PLAIN = rf'/[^"\\\x00-\x1f\x7f ][^"\\\x00-\x1f\x7f]{{0,{LONGEST_EVIDENCE - 1}}}/'

Disease = tuple[str, str | None, str]  # name, ICD-10-CM code, evidence


@dataclass(frozen=True, slots=True)
class Written:
    """A student's answer.

    Attributes:
        entries: The diseases that it lists.
        cut: Whether it was still writing when its tokens were spent.
    """

    entries: tuple[DiseaseEntry, ...]
    cut: bool = False


def format_json(diseases: Sequence[Disease]) -> str:
    """Write diseases as a student should answer them, in the order of their names."""
    entries = [
        {"name": n, "icd10": code or "", "evidence": spoken(said)} for n, code, said in sorted(diseases, key=str)
    ]
    return json.dumps({"diseases": entries}, ensure_ascii=False, separators=(",", ":"))


def spoken(text: str) -> str:
    """Return a section's words without what JSON would escape: that is how evidence is quoted."""
    return " ".join(text.replace('"', "'").replace("\\", "/").split())


def read_json(answer: str, *, whole: bool = True) -> Written:
    """Read an answer that kept to the grammar; one that broke off ends behind its last whole disease."""
    if not whole:
        last = answer.rfind('"}')
        answer = answer[: last + 2] + _CLOSE if last >= 0 else _OPEN + _CLOSE
    listed = LabelForm.model_validate_json(answer).diseases
    return Written(tuple(entry.model_copy(update={"icd10": entry.icd10.upper()}) for entry in listed), not whole)


def disease_grammar(sections: Sequence[str]) -> str:
    """Return the grammar of answers on a report, in llguidance's dialect of Lark.

    Args:
        sections: The sections' texts as the student reads them; evidence is a run of whole words of one of them.
    """
    words = "\n".join(filter(None, map(spoken, sections)))
    if not words:
        return f"start: {json.dumps(_OPEN + _CLOSE)}"
    item = [
        json.dumps('{"name":"'),
        "NAME",
        json.dumps('","icd10":"'),
        "CODE?",
        json.dumps('","evidence":"'),
        "EVIDENCE",
    ]
    return "\n".join(
        (
            f'start: {json.dumps(_OPEN)} (item ("," item){{0,{MOST_DISEASES - 1}}})? {json.dumps(_CLOSE)}',
            f"item: {' '.join(item)} {json.dumps(chr(34) + '}')}",
            f"NAME: {_NAME}",
            f"CODE: {_CODE}",
            f"WORDS: %regex {json.dumps({'substring_words': words})}",
            f"EVIDENCE: WORDS & {_PLAIN}",
        )
    )


class Guides:
    """Holds a tokenizer for grammars; makes what masks a batch's tokens.

    Args:
        tokenizer: The student's, a fast one.
        end: The token that ends an answer.
        width: Size of the model's vocabulary, padding included.

    Raises:
        MissingExtraError: llguidance is not installed.
        TrainingError: The tokenizer is a slow one.
    """

    def __init__(self, tokenizer: Any, end: int, width: int) -> None:
        try:
            import llguidance
            from llguidance.hf import from_tokenizer
        except ImportError as error:
            raise MissingExtraError(
                "lists of diseases in JSON need llguidance", "pip install 'teachback[train]'"
            ) from error
        if not getattr(tokenizer, "is_fast", False):
            raise TrainingError("a slow tokenizer cannot be held to a grammar", "use a student with a fast tokenizer")
        self._llguidance, self._end, self._width = llguidance, end, width
        self._tokenizer = from_tokenizer(tokenizer, n_vocab=width, eos_token=end)

    def batch(self, grammars: Sequence[str]) -> Callable[[Any, Any], Any]:
        """Return a logits processor that holds each row of a batch to its grammar."""
        matchers = [self._llguidance.LLMatcher(self._tokenizer, grammar, log_level=0) for grammar in grammars]
        allowed = np.zeros((len(grammars), -(-self._width // 32)), np.uint32)
        only_end = np.zeros(allowed.shape[1], np.uint32)
        only_end[self._end // 32] = 1 << self._end % 32
        started = False

        def hold(input_ids: Any, scores: Any) -> Any:
            nonlocal started
            import torch

            for row, matcher in enumerate(matchers):
                if started and not matcher.is_stopped():
                    matcher.consume_token(int(input_ids[row, -1]))
                if matcher.is_error():
                    raise TrainingError(
                        f"the grammar broke off: {matcher.get_error()}", "report it with the student's name"
                    )
                if matcher.is_stopped():
                    allowed[row] = only_end
                else:
                    matcher.unsafe_compute_mask_ptr(allowed[row].ctypes.data, allowed[row].nbytes)
            started = True
            bits = np.unpackbits(allowed.view(np.uint8), axis=1, bitorder="little")[:, : scores.shape[1]]
            return scores.masked_fill(torch.from_numpy(bits == 0).to(scores.device), -torch.inf)

        return hold
