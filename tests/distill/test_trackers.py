"""`train.report_to`: a tracker's own files of a real training, and what is said where it cannot be used."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests.synthetic_stores import copied

from teachback.distill.base import load_tokenizer
from teachback.distill.config import TrainSettings
from teachback.distill.prompt import load_student_prompt
from teachback.distill.questions import Questions, Target
from teachback.distill.run import run_campaign
from teachback.distill.trackers import open_tracker
from teachback.distill.train import train_adapter
from teachback.errors import MissingExtraError, SettingError


def test_tensorboard_gets_each_step_and_keeps_its_files(student: Path, texts: list[str], tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    tokenizer = load_tokenizer(str(student))
    questions = Questions(tokenizer, max_length=512, **load_student_prompt("short"))
    rows = [questions.row(text, {"Edema": Target("present", 1.0)}) for text in texts[:8]]
    settings = TrainSettings(
        lora_r=4, batch=4, micro_batch=4, logging_steps=1, save_steps=1, report_to="tensorboard", patience=9
    )
    record = train_adapter(str(student), tokenizer, rows, settings, tmp_path, steps=3, look=lambda model: 0.25)
    (events,) = tmp_path.rglob("events.out.tfevents.*")
    assert events.is_relative_to(tmp_path / "runs")
    assert not (tmp_path / "checkpoints").exists()
    written = events.read_bytes()
    assert written.count(b"train/loss") == len(record["losses"]) == 3
    assert written.count(b"train/calibration_loss") == 3
    assert b"train/learning_rate" in written


def test_a_wrong_tracker_is_said_before_any_work(labelled: Path, settle: Any, tmp_path: Path) -> None:
    store = copied(labelled, tmp_path)
    before = store.read_bytes()
    with pytest.raises(SettingError, match="no tracker 'tensorbored'"):
        run_campaign(store, settle(train={"report_to": "tensorbored"}))
    assert store.read_bytes() == before


def test_none_is_none(torch: object) -> None:
    assert open_tracker("none") == []


def test_a_tracker_that_nobody_knows_is_a_setting_with_the_names_there_are(torch: object) -> None:
    with pytest.raises(SettingError, match="no tracker 'tensorbored'") as caught:
        open_tracker("tensorbored")
    for name in ("none", "all", "tensorboard", "wandb", "mlflow"):
        assert name in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [("wandb", "wandb", "wandb"), ("mlflow", "mlflow", "mlflow"), ("comet_ml", "comet_ml", "comet-ml")],
)
def test_a_tracker_that_is_not_installed_names_its_package(torch: object, name: str, module: str, package: str) -> None:
    if find_spec(module) is not None:
        pytest.skip(f"{module} is installed here")
    with pytest.raises(MissingExtraError, match=f"{name} needs the package {package}") as caught:
        open_tracker(name)
    assert caught.value.remedy.startswith(f"pip install '{package}")
