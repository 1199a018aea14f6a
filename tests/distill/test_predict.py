import math
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from teachback.distill.predict import (
    DISEASE_TOKENS,
    TOKENS_A_BATCH,
    _in_batches,
    predict_diseases,
    predict_findings,
)
from teachback.distill.questions import Questions, parse_diseases
from teachback.store.label import FINDINGS


def test_probabilities_are_those_of_each_prompt_alone(
    torch: Any, llama: Any, ask: Callable[..., Questions], texts: list[str]
) -> None:
    questions = ask()
    chosen = [texts[3], "Clear.", *texts[4:8]]  # of unlike lengths: padded together
    scored = predict_findings(llama, questions, chosen)
    assert scored.shape == (6, 13, 4)
    np.testing.assert_allclose(scored.sum(-1), 1, atol=1e-5)
    for place, text in enumerate(chosen):
        for number, finding in enumerate(FINDINGS):
            prompt = [*questions.prefix(text), *questions.tail(finding)]
            with torch.inference_mode():
                logits = llama(input_ids=torch.tensor([prompt])).logits[0, -1, list(questions.status_tokens)]
            np.testing.assert_allclose(scored[place, number], logits.softmax(-1), atol=1e-4)


def test_progress_counts_every_report_once(llama: Any, ask: Callable[..., Questions], texts: list[str]) -> None:
    counted: list[int] = []
    predict_findings(llama, ask(), texts[:40], counted.append)
    assert sum(counted) == 40


def test_no_reports_give_no_predictions(llama: Any, ask: Callable[..., Questions]) -> None:
    assert predict_findings(llama, ask(), []).shape == (0, 13, 4)
    assert predict_diseases(llama, ask(), []) == []


def test_diseases_are_listed_as_for_each_report_alone(
    torch: Any, llama: Any, ask: Callable[..., Questions], texts: list[str]
) -> None:
    questions = ask()
    chosen = ["Clear.", texts[5], texts[6]]
    listed = predict_diseases(llama, questions, chosen)
    for text, diseases in zip(chosen, listed, strict=True):
        prompt, answer = [*questions.prefix(text), *questions.tail("diseases")], []
        while len(answer) < DISEASE_TOKENS:
            with torch.inference_mode():
                token = int(llama(input_ids=torch.tensor([prompt + answer])).logits[0, -1].argmax())
            if token == questions.end:
                break
            answer.append(token)
        assert diseases == parse_diseases(questions.tokenizer.decode(answer, skip_special_tokens=True))


@given(st.lists(st.integers(1, 3000), max_size=60))
def test_batches_hold_each_report_once_within_the_bound(lengths: list[int]) -> None:
    batches: list[list[int]] = []
    _in_batches(lengths, TOKENS_A_BATCH, batches.append)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[index] for index in batch)
        assert len(batch) * longest <= TOKENS_A_BATCH
    fewest = math.ceil(sum(lengths) / TOKENS_A_BATCH)
    assert fewest <= len(batches) <= 2 * fewest + 1
