from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teachback.distill.questions import Questions, Target
from teachback.distill.tree import IGNORED, Branch, TreeRow, collate, plant

tokens = st.lists(st.integers(0, 50), min_size=1, max_size=6).map(tuple)
trees = st.tuples(tokens, st.lists(st.builds(Branch, tokens, tokens, st.floats(0, 3)), min_size=1, max_size=4))


def test_a_small_tree_laid_flat() -> None:
    row = plant([1, 2, 3], [Branch((4, 5), (6,), 2.0), Branch((7,), (8, 9), 0.5)])
    assert row == TreeRow(
        input_ids=(1, 2, 3, 4, 5, 6, 7, 8, 9),
        positions=(0, 1, 2, 3, 4, 5, 3, 4, 5),  # the second branch restarts behind the prefix
        branches=(0, 0, 0, 1, 1, 1, 2, 2, 2),
        labels=(IGNORED, IGNORED, IGNORED, IGNORED, IGNORED, 6, IGNORED, 8, 9),
        weights=(0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.5, 0.5),
        ends=(4, 6),
    )


def test_a_prefix_with_weight_is_learned_but_for_its_first_token() -> None:
    row = plant([1, 2, 3], [Branch((4,))], prefix_weight=0.3)
    assert row.labels == (IGNORED, 2, 3, IGNORED)
    assert row.weights == (0.3, 0.3, 0.3, 0.0)


@given(trees)
def test_every_branch_is_its_own_prompt(tree: tuple[tuple[int, ...], list[Branch]]) -> None:
    prefix, branches = tree
    row = plant(prefix, branches)
    for number, branch in enumerate(branches, start=1):
        own = [i for i, owner in enumerate(row.branches) if owner in (0, number)]
        assert [row.input_ids[i] for i in own] == [*prefix, *branch.question, *branch.answer]
        assert [row.positions[i] for i in own] == list(range(len(own)))
        assert row.input_ids[row.ends[number - 1]] == branch.question[-1]
        learned = [i for i in own if row.labels[i] != IGNORED]
        assert [row.labels[i] for i in learned] == list(branch.answer)
        assert all(row.weights[i] == branch.weight for i in learned)


def test_a_token_sees_the_prefix_and_its_own_branch_up_to_itself(torch: Any) -> None:
    rows = [plant([1, 2], [Branch((3,), (4,)), Branch((5,))]), plant([1], [Branch((2,))])]
    batch = collate(rows, pad_id=9)
    visible = (batch["attention_mask"][:, 0] == 0).int()[..., :5].tolist()
    assert visible[0][:5] == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],  # the second branch does not see the first
    ]
    assert visible[1][:2] == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0]]
    assert (batch["attention_mask"] == 0).any(-1).all()  # padding sees something: the softmax stays finite
    assert batch["input_ids"][1].tolist() == [1, 2, *[9] * 14]
    assert batch["labels"][1].tolist() == [IGNORED] * 16
    assert batch["loss_weights"][1].tolist() == [0.0] * 16


@pytest.mark.parametrize(("length", "padded"), [(1, 16), (16, 16), (17, 32), (300, 304)])
def test_batches_come_in_few_lengths(torch: Any, length: int, padded: int) -> None:
    assert collate([plant([1] * length, [])], pad_id=9)["input_ids"].shape == (1, padded)


def logits(torch: Any, model: Any, rows: list[TreeRow], pad_id: int) -> Any:
    batch = collate(rows, pad_id)
    with torch.inference_mode():
        return model(**{name: batch[name] for name in ("input_ids", "attention_mask", "position_ids")}).logits


@pytest.mark.parametrize("together", [1, 4])
def test_a_branch_computes_what_its_prompt_alone_would(
    torch: Any, llama: Any, ask: Callable[..., Questions], texts: list[str], together: int
) -> None:
    questions = ask()
    targets = {"Edema": Target("absent", 1.0), "Fracture": Target("uncertain", 1.0), "diseases": Target("gout M10", 1)}
    chosen = sorted(texts[:12], key=len)[:: 12 // together][:together]  # of unlike lengths, so that rows are padded
    rows = [questions.row(text, targets) for text in chosen]
    assert together == 1 or len({len(row) for row in rows}) > 1
    shared = logits(torch, llama, rows, questions.tokenizer.pad_token_id)
    for place, (text, row) in enumerate(zip(chosen, rows, strict=True)):
        for number, (question, target) in enumerate(targets.items(), start=1):
            prompt = [*questions.prefix(text), *questions.tail(question), *questions.encode_answer(target.answer)]
            with torch.inference_mode():
                alone = llama(input_ids=torch.tensor([prompt])).logits[0]
            own = [i for i, owner in enumerate(row.branches) if owner in (0, number)]
            torch.testing.assert_close(shared[place, own], alone, atol=1e-4, rtol=1e-4)
