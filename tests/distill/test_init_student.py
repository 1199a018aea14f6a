import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from teachback.distill.base import load_base, load_tokenizer
from teachback.distill.exercises import exercise_batches
from teachback.distill.init_student import SPECIAL_TOKENS, begin_anew, init_student
from teachback.distill.prompt import load_student_prompt
from teachback.distill.questions import Questions
from teachback.distill.recipe import Recipe
from teachback.errors import TrainingError
from teachback.store.label import FINDINGS, STATUSES


def test_a_student_loads_as_any_model_does(torch: Any, student: Path, recipe: Recipe) -> None:
    model, tokenizer = load_base(str(student), quantize=False), load_tokenizer(str(student))
    assert (model.config.model_type, model.config.hidden_size, model.config.num_hidden_layers) == ("llama", 64, 2)
    assert len(tokenizer) == model.config.vocab_size == recipe.vocabulary
    assert tokenizer.pad_token == "<|pad|>"
    assert tokenizer.chat_template
    questions = Questions(tokenizer, max_length=recipe.context, **load_student_prompt("short"))
    assert questions.prefix("No edema.")[0] == tokenizer.bos_token_id


def test_the_recipe_says_what_was_made(student: Path, recipe: Recipe) -> None:
    record = json.loads((student / "recipe.json").read_text())
    assert record["steps_done"] == recipe.steps == 5
    assert record["reports"] == 200
    assert record["tokens"] > 1000
    # Embeddings (tied) 1024 x 64; a block: four 64 x 64, three 64 x 192, two norms; one norm at the end.
    assert record["weights"] == 1024 * 64 + 2 * (4 * 64 * 64 + 3 * 64 * 192 + 2 * 64) + 64


def test_a_student_is_the_same_for_the_same_seed(
    torch: Any, student: Path, texts: list[str], recipe: Recipe, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    prompt = load_student_prompt("short")
    init_student(texts, tmp_path / "again", recipe, prompt)
    init_student(texts, tmp_path / "other", replace(recipe, seed=1), prompt)
    first, again, other = (
        load_file(folder / "model.safetensors") for folder in (student, *map(tmp_path.joinpath, ("again", "other")))
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_pretraining_learns(torch: Any, texts: list[str], recipe: Recipe, tmp_path: Path) -> None:
    losses: list[float] = []
    longer = replace(recipe, steps=30)
    init_student(
        texts, tmp_path, longer, load_student_prompt("short"), lambda _, note: losses.append(float(note.split()[-1]))
    )
    assert len(losses) == 30
    assert losses[-1] < losses[0] - 1  # running mean of the loss, in nats


class Killed(Exception):
    """Stands for a kill in the middle of a step."""


def test_a_killed_pretraining_goes_on_to_the_same_weights(
    torch: Any, student: Path, texts: list[str], recipe: Recipe, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    steps: list[str] = []

    def kill_at_third(share: float, note: str) -> None:
        steps.append(note.split(",")[0])
        if len(steps) == 3:
            raise Killed

    prompt = load_student_prompt("short")
    with pytest.raises(Killed):
        init_student(texts, tmp_path, recipe, prompt, kill_at_third, checkpoint_seconds=0)
    assert not (tmp_path / "recipe.json").exists()
    with pytest.raises(TrainingError, match="belongs to a student of other settings"):
        init_student(texts, tmp_path, replace(recipe, seed=1), prompt)
    init_student(texts, tmp_path, recipe, prompt, lambda _, note: steps.append(note.split(",")[0]))
    assert steps == [f"step {n}" for n in (1, 2, 3, 3, 4, 5)]  # the killed step is the one that is repeated
    uninterrupted, resumed = (load_file(folder / "model.safetensors") for folder in (student, tmp_path))
    assert all(torch.equal(uninterrupted[name], resumed[name]) for name in uninterrupted)
    assert not list(tmp_path.glob("*pretraining*"))


def test_a_finished_student_is_not_made_again(
    torch: Any, student: Path, texts: list[str], recipe: Recipe, tmp_path: Path
) -> None:
    prompt, steps = load_student_prompt("short"), []
    first = init_student(texts, tmp_path, recipe, prompt)
    assert init_student(texts, tmp_path, recipe, prompt, lambda _, note: steps.append(note)) == first
    assert steps == []
    with pytest.raises(TrainingError, match="there is another student"):
        init_student(texts[:100], tmp_path, recipe, prompt)
    begin_anew(tmp_path)
    assert init_student(texts[:100], tmp_path, recipe, prompt)["reports"] == 100


def test_a_student_can_start_from_another(
    torch: Any, student: Path, texts: list[str], recipe: Recipe, tmp_path: Path
) -> None:
    prompt, longer = load_student_prompt("short"), replace(recipe, hidden=32, steps=20)
    losses: dict[str, list[float]] = {"fresh": [], "started": []}
    for name, start in (("fresh", None), ("started", str(student))):
        record = init_student(
            texts[100:],
            tmp_path / name,
            longer,
            prompt,
            lambda _, note, name=name: losses[name].append(float(note.split()[-1])),
            start=start,
        )
        assert record["hidden"] == (32 if start is None else 64)  # sizes are the start's own
    assert losses["started"][0] < losses["fresh"][0]
    kept, own = load_tokenizer(str(tmp_path / "started")), load_tokenizer(str(student))
    assert kept.get_vocab() == own.get_vocab()
    with pytest.raises(TrainingError, match="no student in nowhere"):
        init_student(texts, tmp_path / "other", recipe, prompt, start="nowhere")


def test_batches_go_on_where_they_were(ask: Callable[..., Questions], texts: list[str], recipe: Recipe) -> None:
    def first_ids(skip: int, count: int) -> list[list[int]]:
        batches = exercise_batches(ask(), texts, recipe, skip)
        return [next(batches)["input_ids"].flatten().tolist() for _ in range(count)]

    per_epoch = -(-len(texts) // recipe.batch)
    whole = first_ids(0, 2 * per_epoch + 2)
    for skip in (1, per_epoch - 1, per_epoch, 2 * per_epoch):
        assert first_ids(skip, 2) == whole[skip : skip + 2]


def test_the_time_budget_ends_the_pretraining(torch: Any, texts: list[str], recipe: Recipe, tmp_path: Path) -> None:
    record = init_student(texts, tmp_path, replace(recipe, steps=0, seconds=0.5), load_student_prompt("short"))
    assert 0 < record["steps_done"] < 1000
    assert record["seconds_taken"] < 10


def test_too_few_reports_are_refused(torch: Any, texts: list[str], recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="49 reports are too few"):
        init_student(texts[:49], tmp_path, recipe, load_student_prompt("short"))
    assert list(tmp_path.iterdir()) == []


def test_the_tokenizer_has_whole_tokens_for_what_is_asked_and_answered(tokenizer: Any) -> None:
    for word in (*STATUSES, *SPECIAL_TOKENS):
        assert len(tokenizer.encode(word, add_special_tokens=False)) == 1
    for finding in FINDINGS:
        assert tokenizer.decode(tokenizer.encode(finding, add_special_tokens=False)) == finding.lower()


def test_a_missing_student_names_the_command_that_makes_one(torch: Any, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="there is no student folder") as caught:
        load_base(str(tmp_path / "nowhere"), quantize=False)
    assert "teachback init-student" in caught.value.remedy


def test_a_student_without_weights_is_named(torch: Any, student: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((student / "config.json").read_bytes())
    with pytest.raises(TrainingError, match=f"cannot load {tmp_path}"):
        load_base(str(tmp_path), quantize=False)


def test_a_model_without_a_chat_template_is_refused(torch: Any, student: Path, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        (tmp_path / name).write_bytes((student / name).read_bytes())
    with pytest.raises(TrainingError, match="has no chat template"):
        load_tokenizer(str(tmp_path))


def test_questions_of_a_saved_tokenizer_are_those_of_the_trained_one(
    ask: Callable[..., Questions], student: Path, texts: list[str]
) -> None:
    saved = Questions(load_tokenizer(str(student)), max_length=512, **load_student_prompt("short"))
    assert saved.row(texts[0]) == ask().row(texts[0])
