from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from teachback.distill.config import CampaignSettings, load_settings, preset_names
from teachback.distill.prompt import load_student_prompt
from teachback.errors import SettingError


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_loads_and_names_a_prompt_that_is_there(preset: str) -> None:
    settings = load_settings(preset)
    assert settings.train.batch % settings.train.micro_batch == 0
    assert load_student_prompt(settings.prompt)["finding"]


def test_the_papers_preset_has_the_papers_settings() -> None:
    settings = load_settings("paper")
    assert not settings.train.quantize  # QLoRA goes beyond the paper
    assert settings.rounds == 1  # so does feedback
    assert (settings.train.lora_r, settings.train.learning_rate, settings.train.target_modules) == (
        8,
        3e-4,
        ["q_proj", "v_proj"],
    )


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"lerning_rate": 1}, "lerning_rate: Extra inputs"),
        ({"train": {"lerning_rate": 1}}, "train.lerning_rate: Extra inputs"),
        ({"train": {"batch": 0}}, "train.batch: Input should be greater than or equal to 1"),
        ({"select": {"error": 0.5}}, "select.error: Input should be less than 0.5"),
        ({"scope": "whole"}, "scope: Input should be"),
        ({"rounds": "many"}, "rounds: Input should be a valid integer"),
        ({"tasks": ["findings", "weather"]}, "tasks.1: Input should be"),
    ],
)
def test_a_wrong_field_is_named(given: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingError, match=named) as caught:
        load_settings("tiny-cpu", **given)
    assert caught.value.message.startswith("tiny-cpu: ")


def test_what_is_given_goes_before_the_preset() -> None:
    preset = load_settings("tiny-cpu")
    settings = load_settings("tiny-cpu", student="x", rounds=None, train={"epochs": 0.5, "seed": None}, control=False)
    assert (settings.student, settings.rounds, settings.control) == ("x", preset.rounds, False)
    assert settings.train == preset.train.model_copy(update={"epochs": 0.5})


def test_settings_come_from_a_file_too(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("student: my-student\ntrain: {batch: 4}\nselect:\n")
    with pytest.raises(SettingError, match=r"mine.yaml: select: Input should be"):
        load_settings(str(path))
    settings = load_settings(str(path), select={"error": 0.1})
    assert settings == CampaignSettings(student="my-student", train={"batch": 4}, select={"error": 0.1})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("train: [", "is not YAML"), ("- a\n- b\n", "holds no fields"), ("", "student: Field required")],
)
def test_a_file_that_is_no_preset_is_named(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SettingError, match=reason) as caught:
        load_settings(str(path))
    assert str(path) in caught.value.message


@pytest.mark.parametrize("preset", ["nowhere", "nowhere.yaml"])
def test_a_missing_preset_names_those_there_are(preset: str) -> None:
    with pytest.raises(SettingError, match=f"no preset '{preset}'") as caught:
        load_settings(preset)
    assert "tiny-cpu" in caught.value.remedy


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings("tiny-cpu").rounds = 9  # type: ignore[misc]
