"""Seeds and arms: several campaigns with one budget, compared on the same reports; and what a campaign will take."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from teachback.cli.distill_arms import read_seeds
from teachback.distill.arms import Arm, arm_names, load_arms, run_arms
from teachback.distill.campaign import campaign_folder
from teachback.distill.config import CampaignSettings
from teachback.distill.plan import count_parameters, plan_campaign, steps_of
from teachback.errors import SettingError
from teachback.store.database import open_snapshot

SETTINGS = CampaignSettings(student="x")


def test_packaged_arms_change_settings_that_exist() -> None:
    names = arm_names()
    assert {"as given", "no feedback", "continue", "merge"} <= set(names)
    for arm in load_arms(", ".join(names)):
        assert arm.why
        assert arm.name == "as given" or arm.settle(SETTINGS) != SETTINGS or arm.name == "whole text only"


def test_an_arm_changes_parts_of_settings_one_by_one() -> None:
    changed = Arm("a", "", {"select": {"share": 0.1}, "rounds": 1}).settle(SETTINGS)
    assert (changed.select.share, changed.select.error, changed.rounds) == (0.1, SETTINGS.select.error, 1)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("a: {rounds: 0}", "arm 'a': rounds"),
        ("a: {nothing: 1}", "arm 'a': nothing"),
        ("- a", "holds no arms"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, written: str, told: str) -> None:
    file = tmp_path / "arms.yaml"
    file.write_text(written)
    with pytest.raises(SettingError, match=told):
        [arm.settle(SETTINGS) for arm in load_arms(str(file))]


def test_an_unknown_arm_names_those_that_there_are() -> None:
    with pytest.raises(SettingError, match="there is no arm 'nosuch'"):
        load_arms("as given,nosuch")


@pytest.mark.parametrize(
    ("written", "seeds"), [("3", [0, 1, 2]), ("0,4,7", [0, 4, 7]), ("5,5,", None), ("x", None), ("0", None)]
)
def test_seeds_are_a_number_or_a_list(written: str, seeds: list[int] | None) -> None:
    if seeds is None:
        with pytest.raises(SettingError, match="not seeds"):
            read_seeds(written, None)
    else:
        assert read_seeds(written, None) == seeds


def test_a_plan_counts_what_training_does(finished: Any) -> None:
    path, settings, record, _, _ = finished
    connection, _ = open_snapshot(path)
    with connection:
        plan = plan_campaign(connection, settings, campaign_folder(path))
    first = next(round_ for round_ in record["rounds"] if round_["name"] == "round 1")["training"]
    assert plan.steps == first["steps"] == steps_of(plan.lessons, settings.train)
    assert (plan.lessons, plan.tokens) == (first["rows"], first["tokens"])
    assert plan.splits == record["splits"]
    assert plan.labels == {"teacher": record["training_labels"]}
    assert "trainings of this student here" in plan.seconds_from
    total = sum(round_["training"]["seconds"] for round_ in record["rounds"] if round_["training"]["steps"])
    assert 0 < plan.seconds < 100 * total  # an estimate; that it is near is the README's


def test_parameters_are_those_of_the_loaded_student(student: Path, settle: Callable[..., CampaignSettings]) -> None:
    from peft import get_peft_model

    from teachback.distill.base import load_base
    from teachback.distill.trainer import _lora

    settings = settle(train={"quantize": False})
    parameters, trained, weight_bytes, width, layers = count_parameters(settings)
    model = load_base(str(student), quantize=False)
    assert parameters == sum(p.numel() for p in model.parameters())
    assert weight_bytes == sum(p.numel() * p.element_size() for p in model.parameters())
    assert (width, layers) == (model.config.hidden_size, model.config.num_hidden_layers)
    adapted = get_peft_model(model, _lora(settings.train))
    assert trained == sum(p.numel() for p in adapted.parameters() if p.requires_grad)


@pytest.mark.slow
def test_arms_and_seeds_share_a_budget_and_are_compared(
    store_path: Path, settle: Callable[..., CampaignSettings]
) -> None:
    settings = settle(rounds=1, linear=False, train={"learning_rate": 3e-2})
    arms = [Arm("first", "why", {}), Arm("single task", "why", {"tasks": ["findings"]})]
    comparison, path = run_arms(store_path, settings, arms, [0, 1])
    assert json.loads(path.read_text()) == comparison
    first, single = comparison["arms"]
    assert len(set(first["campaigns"] + single["campaigns"])) == 4
    assert first["steps"] == single["steps"] == comparison["budget_steps"]
    assert first["over_first"] == {"gate": [], "test": []}
    assert [gain["seed"] for gain in single["over_first"]["test"]] == [0, 1]
    each = first["figures"]["test"]["micro"]["each"]
    assert first["figures"]["test"]["micro"]["mean"] == pytest.approx(sum(each) / 2)
    assert first["figures"]["test"]["micro"]["spread"] == pytest.approx(abs(each[0] - each[1]) / 2**0.5)
    assert {"teacher", "base model", "round 1"} <= {subject["name"] for subject in comparison["subjects"]}
    again, _ = run_arms(store_path, settings, arms, [0, 1])  # only read
    assert again == comparison
