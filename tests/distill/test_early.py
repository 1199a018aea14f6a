"""Early stop on `calibration`: when it stops, which step stands, what a kill changes; a campaign asks for it."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.synthetic_stores import copied

from teachback.distill.base import load_base, load_tokenizer
from teachback.distill.config import CampaignSettings, TrainSettings
from teachback.distill.early import CalibrationLook, best_look, out_of_patience
from teachback.distill.prompt import load_student_prompt
from teachback.distill.questions import Questions, Target
from teachback.distill.run import run_campaign
from teachback.distill.train import train_adapter
from teachback.distill.tree import TreeRow
from teachback.store.corpora.synthetic import generate
from teachback.store.label import FINDINGS, STATUSES

# Two looks after the second one (step 4) bring nothing lower.
LOSSES = {2: 0.5, 4: 0.3, 6: 0.35, 8: 0.3, 10: 0.1, 12: 0.05}
PATIENT = TrainSettings(
    lora_r=4,
    batch=4,
    micro_batch=4,
    logging_steps=1,
    save_steps=2,
    learning_rate=1e-2,
    schedule="constant",
    warmup_steps=0,
    patience=2,
)


class Killed(BaseException):
    """Stands for what ends a process in the middle of a training."""


def test_looks_without_a_lower_loss_use_up_patience() -> None:
    looks = [(2, 0.5), (4, 0.3), (6, 0.35), (8, 0.3)]
    assert best_look(looks) == 4  # of two equal ones the first
    assert [out_of_patience(looks[:n], 2) for n in range(5)] == [False, False, False, False, True]
    assert not out_of_patience(looks, 3)


@pytest.fixture(scope="module")
def rows(student: Path, texts: list[str]) -> list[TreeRow]:
    questions = Questions(load_tokenizer(str(student)), max_length=512, **load_student_prompt("short"))
    return [questions.row(text, {"Edema": Target("present", 1.0)}) for text in texts[:10]]


def train(student: Path, rows: list[TreeRow], settings: TrainSettings, folder: Path, **more: Any) -> dict[str, Any]:
    """Train up to 12 steps; each look has the loss of its step in `LOSSES`."""
    now = 0
    stop_at = more.pop("stop_at", None)

    def progress(step: int, loss: float) -> None:
        nonlocal now
        now = step
        if step == stop_at:
            raise Killed

    given = {"steps": 12, "look": lambda model: LOSSES[now]} | more
    return train_adapter(str(student), load_tokenizer(str(student)), rows, settings, folder, progress=progress, **given)


def test_a_training_stops_early_and_its_best_step_stands(student: Path, rows: list[TreeRow], tmp_path: Path) -> None:
    record = train(student, rows, PATIENT, tmp_path / "early")
    assert (record["steps"], record["steps_planned"], record["best_step"]) == (8, 12, 4)
    assert record["looks"] == [[2, 0.5], [4, 0.3], [6, 0.35], [8, 0.3]]
    four = train(student, rows, PATIENT.model_copy(update={"patience": None}), tmp_path / "four", steps=4)
    assert "looks" not in four
    assert record["adapter_hash"] == four["adapter_hash"]  # to the bit what four steps make
    eight = train(student, rows, PATIENT.model_copy(update={"patience": None}), tmp_path / "eight", steps=8)
    assert record["adapter_hash"] != eight["adapter_hash"]


@pytest.mark.parametrize("stop_at", [3, 7])
def test_killed_before_or_behind_its_best_step_it_ends_the_same(
    student: Path, rows: list[TreeRow], tmp_path: Path, stop_at: int
) -> None:
    whole = train(student, rows, PATIENT, tmp_path / "whole")
    with pytest.raises(Killed):
        train(student, rows, PATIENT, tmp_path / "killed", stop_at=stop_at)
    again = train(student, rows, PATIENT, tmp_path / "killed")
    assert again["resumed"]
    for name in ("looks", "best_step", "steps", "adapter_hash"):
        assert again[name] == whole[name]


def test_a_look_is_the_cross_entropy_of_present_after_calibration(
    student: Path, settle: Callable[..., CampaignSettings]
) -> None:
    written = list(generate(12, seed=3))
    codes = [[STATUSES.index(entry.statuses[finding]) for finding in FINDINGS] for entry in written]
    truth = np.array(codes, np.int8)
    settings = settle()
    questions = Questions(load_tokenizer(settings.student), max_length=512, **load_student_prompt("short"))
    model = load_base(settings.student, quantize=False).train()
    look = CalibrationLook(tuple(entry.report for entry in written), truth, questions, settings)
    loss = look(model)
    # Constant shares, which is the least that calibration leaves to a student that knows nothing, have this entropy.
    share = (truth == STATUSES.index("present")).mean()
    assert 0 < loss < 2 * -(share * math.log(share) + (1 - share) * math.log(1 - share))
    assert model.training
    assert questions.cut_reports == 0
    unknown = CalibrationLook(look.reports, np.full_like(truth, -1), questions, settings)
    assert math.isnan(unknown(model))


@pytest.mark.parametrize("unit", ["report", "sentence"])
def test_a_campaign_looks_where_its_settings_say_so(
    labelled: Path, settle: Callable[..., CampaignSettings], tmp_path: Path, unit: str
) -> None:
    train_settings = {"epochs": 1.0, "save_steps": 1, "patience": 1, "learning_rate": 1e-4}
    settings = settle(rounds=1, linear=False, tasks=["findings"], unit=unit, train=train_settings)
    record, _ = run_campaign(copied(labelled, tmp_path), settings)
    training = record["rounds"][1]["training"]
    looks = training["looks"]
    assert training["best_step"] == best_look(looks)
    assert [step for step, _ in looks] == list(range(1, training["steps"] + 1))
    assert training["steps"] == training["steps_planned"] or out_of_patience(looks, 1)
