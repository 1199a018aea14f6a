"""Several processes on one campaign: real ones on two CPU cores, started as on GPUs, by `torchrun`."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.synthetic_stores import copied

from teachback.distill.artefacts import load_arrays
from teachback.distill.config import CampaignSettings
from teachback.distill.ranks import agree, current_ranks, gather_parts, share_batch, tell
from teachback.distill.run import run_campaign
from teachback.distill.trainer import _blank, _ByLength
from teachback.distill.tree import IGNORED, Branch, plant
from teachback.errors import SettingError


def test_a_batch_is_shared_so_that_a_step_stays_what_it_was() -> None:
    assert share_batch(32, 4, 1) == (4, 8)
    assert share_batch(32, 4, 2) == (4, 4)  # 2 processes x 4 reports x 4 passes = 32
    assert share_batch(16, 16, 2) == (8, 1)  # a forward pass of 16 has to be divided
    assert share_batch(24, 4, 4) == (3, 2)  # of its own 6 reports 4 would leave 2: two passes of 3


@given(st.integers(1, 256), st.integers(1, 64), st.integers(2, 16))
def test_a_shared_batch_is_whole_or_refused_with_a_remedy(batch: int, micro_batch: int, size: int) -> None:
    try:
        micro, passes = share_batch(batch, micro_batch, size)
    except SettingError as error:
        assert batch % size
        words = error.remedy.replace(",", "").split()
        fewer, below, above = int(words[1]), int(words[-3]), int(words[-1])
        assert batch % fewer == 0
        assert below % size == above % size == 0
        assert above > batch
    else:
        assert micro * passes * size == batch
        assert micro <= micro_batch


def test_blanks_fill_the_last_batch_of_an_epoch_and_teach_nothing() -> None:
    sampler = _ByLength([9, 5, 7, 8, 6], batch=4, seed=0, whole=4)
    drawn = list(sampler)
    assert len(sampler) == len(drawn) == 8
    assert sorted(drawn[:5]) == [0, 1, 2, 3, 4]
    assert drawn[5:] == [5, 5, 5]  # the row behind the last one
    rows = [plant((1, 2, 3), [Branch((4, 5), (6,))]), plant((1, 2), [Branch((4,), (6,))])]
    assert _blank(rows).input_ids == rows[1].input_ids
    assert set(_blank(rows).labels) == {IGNORED}
    assert set(_blank(rows).weights) == {0.0}


def test_alone_there_is_nobody_to_tell() -> None:
    assert current_ranks().leads
    assert current_ranks().size == 1
    tell(print, "nothing happens")
    assert agree("mine") == "mine"
    assert gather_parts(3) == [3]


def launch(store: Path, preset: Path, log: Path) -> "subprocess.Popen[bytes]":
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    verb = ["--max-restarts", "1", "-m", "teachback", "distill", str(store), "--preset", str(preset), "--json"]
    with log.open("wb") as err, log.with_suffix(".json").open("wb") as out:
        return subprocess.Popen([*launcher, *verb], stdout=out, stderr=err, env={**os.environ, "OMP_NUM_THREADS": "1"})


def followers(launcher: int) -> Iterator[int]:
    """The processes of a launcher whose rank is not 0."""
    for child in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        if b"RANK=1" in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            yield int(child)


def wait_for(found: Callable[[], bool], running: "subprocess.Popen[bytes]") -> None:
    while not found():
        assert running.poll() is None, "ended before its time"
        time.sleep(0.002)


def ask(store: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes in /proc")
def test_two_processes_train_to_the_bit_what_one_trains_though_one_of_them_is_killed(
    labelled: Path, settle: Callable[..., CampaignSettings], tmp_path: Path
) -> None:
    """A base in NF4 of which each process holds a half (FSDP), killed after a checkpoint, started again by `torchrun`.

    Equal to the bit, since the micro-batches are the same ones: 6 reports twice, after one another or beside another.
    40 reports in steps of 12 leave 4 at the end of an epoch, so that blanks fill what the second process gets.
    At such a learning rate the calibration loss soon rises again, and all processes stop early, at the same step.
    """
    train = {"batch": 12, "micro_batch": 6, "epochs": 3.2, "save_steps": 1, "shard_base": True}
    train |= {"learning_rate": 0.05, "patience": 4}
    settings = settle(rounds=1, tasks=["findings"], linear=False, train=train)
    preset = tmp_path / "mine.yaml"
    preset.write_text(yaml.safe_dump(settings.model_dump()))
    alone, shared = (copied(labelled, tmp_path / name) for name in ("alone", "shared"))
    expected, folder = run_campaign(alone, settings)

    log, campaigns = tmp_path / "log", shared.with_name(f"{shared.stem}-campaigns")
    running = launch(shared, preset, log)
    wait_for(lambda: any(campaigns.rglob("checkpoint-*/seal.json")), running)
    for victim in followers(running.pid):
        os.kill(victim, signal.SIGKILL)
    assert running.wait(timeout=300) == 0, log.read_text()[-3000:]
    assert "error: process 0 of 2" in log.read_text()
    assert "the same command goes on at the step it was in" in log.read_text()

    record = json.loads(log.with_suffix(".json").read_text())
    one, two = (r["rounds"][1]["training"] for r in (expected, record))
    assert two["resumed"]
    assert two["steps"] < two["steps_planned"] == 11  # 3.2 x 40 / 12
    assert two["steps"] == two["best_step"] + 4
    assert two["looks"] == one["looks"]
    assert two["losses"] == one["losses"]
    assert two["adapter_hash"] == one["adapter_hash"]
    read = [
        load_arrays(next(path.glob("1-*/predictions-calibration*.npz"))) or {}
        for path in (folder, *campaigns.iterdir())
    ]
    assert abs(read[0]["gate"] - read[1]["gate"]).max() < 0.02  # scored in other batches: bf16 where it is multiplied
    for table in ("labels", "training_rows", "evaluations", "rounds", "round_decisions"):
        count = f"SELECT count(*) FROM {table}"
        assert ask(shared, count) == ask(alone, count)
    assert ask(shared, "SELECT count(*) - count(DISTINCT label_id) FROM labels") == [(0,)]
