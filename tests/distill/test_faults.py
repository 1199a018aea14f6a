"""Faults that a training meets, each a real one: an address space that ends, a disk of some kB, a rate too high."""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import yaml
from tests.distill.short_of_memory import LARGE, rows_of
from tests.distill.test_resume_distill import environment, lasting
from tests.synthetic_stores import copied

from teachback.distill.artefacts import load_arrays, load_json, save_arrays, save_json
from teachback.distill.base import load_student, load_tokenizer
from teachback.distill.campaign import campaign_folder
from teachback.distill.config import CampaignSettings
from teachback.distill.faults import human_bytes
from teachback.distill.run import run_campaign
from teachback.distill.train import train_adapter
from teachback.distill.tree import TreeRow
from teachback.errors import TrainingError

Finished = tuple[Path, CampaignSettings, dict[str, Any], Path, list[str]]
ROOM = 245_000_000  # bytes: too few for a step of 32 such rows, enough to begin again with 16
READING_ROOM = 150_000_000  # too few to read 24 long texts at once
# glibc: what is freed goes back to the system at once, so that what was taken before counts no more.
GIVES_BACK = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
KEPT = ("labels", "training_rows", "rounds", "round_decisions")  # what a campaign leaves for others to build on


@pytest.fixture(scope="module")
def rows(student: Path) -> list[TreeRow]:
    return rows_of(str(student))


def train_short_of_memory(student: Path, folder: Path, room: int, batch: int) -> dict[str, Any]:
    """Train in a process of its own: one that has met the end of its memory is no place for other tests."""
    words = [sys.executable, "-W", "ignore", "-m", "tests.distill.short_of_memory", str(student), str(folder)]
    ended = subprocess.run(
        [*words, str(room), str(batch)], capture_output=True, text=True, env=environment() | GIVES_BACK
    )
    assert ended.stdout, ended.stderr[-2000:]
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return told


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its own size in /proc")


@needs_proc
@pytest.mark.slow
def test_memory_that_runs_out_halves_the_micro_batch_and_nothing_else(
    student: Path, rows: list[TreeRow], tmp_path: Path
) -> None:
    tokenizer, ordered = load_tokenizer(str(student)), sorted(rows, key=len)
    whole = train_adapter(str(student), tokenizer, ordered, LARGE, tmp_path / "whole", steps=4)
    assert (whole["micro_batch"], whole["out_of_memory"]) == (32, [])
    folder = tmp_path / "short"
    said = train_short_of_memory(student, folder, ROOM, 32)["said"]
    assert said[0] == "step 2: out of memory with micro-batches of 32; now 16"
    assert not (folder / "adapter").exists()  # killed at its third step
    # There is memory again; but a step shall not be computed in two ways, so what was learnt of it stays.
    record = train_adapter(str(student), tokenizer, ordered, LARGE, folder, steps=4)
    assert record["resumed"]
    assert len(record["out_of_memory"]) == len(said)
    assert record["out_of_memory"][0] == {"step": 2, "micro_batch": 32, "now": 16}
    assert record["micro_batch"] == record["out_of_memory"][-1]["now"] < 32
    assert 32 % record["micro_batch"] == 0
    # The step is what it was: the same losses but for the order in which bf16 products are added.
    assert [step for step, _ in record["losses"]] == [1, 2, 3, 4]
    assert [loss for _, loss in record["losses"]] == pytest.approx([loss for _, loss in whole["losses"]], rel=2e-3)


@needs_proc
def test_memory_for_not_even_one_report_is_told_with_what_would_help(student: Path, tmp_path: Path) -> None:
    told = train_short_of_memory(student, tmp_path, 0, 1)
    assert "no memory for even one report" in told["error"]
    assert "train.gradient_checkpointing" in told["remedy"]
    assert not (tmp_path / "adapter").exists()


def read_short_of_memory(student: Path, room: int, out: Path) -> dict[str, Any]:
    words = [sys.executable, "-W", "ignore", "-m", "tests.distill.reading_short_of_memory", str(student)]
    ended = subprocess.run(
        [*words, str(room), str(out)], capture_output=True, text=True, env=environment() | GIVES_BACK
    )
    assert ended.stdout, ended.stderr[-2000:]
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return told


@needs_proc
def test_memory_that_runs_out_while_reading_makes_batches_smaller_and_nothing_else(
    student: Path, tmp_path: Path
) -> None:
    plenty, little = tmp_path / "plenty.npy", tmp_path / "little.npy"
    assert read_short_of_memory(student, 1 << 40, plenty)["read"] == [24]
    told = read_short_of_memory(student, READING_ROOM, little)
    assert "error" not in told
    assert len(told["read"]) > 1
    assert sum(told["read"]) == 24
    np.testing.assert_allclose(np.load(little), np.load(plenty), atol=1e-4)


@needs_proc
def test_memory_to_read_not_even_one_text_is_told_with_what_would_help(student: Path, tmp_path: Path) -> None:
    told = read_short_of_memory(student, 20_000_000, tmp_path / "none.npy")
    assert "no memory to read even one text" in told["error"]
    assert "train.max_length" in told["remedy"]
    assert sum(told["read"]) < 24


def test_a_loss_that_is_no_number_ends_a_training_and_leaves_no_adapter(
    student: Path, rows: list[TreeRow], tmp_path: Path
) -> None:
    high = LARGE.model_copy(update={"learning_rate": 1e30, "warmup_steps": 0, "schedule": "constant", "save_steps": 1})
    with pytest.raises(
        TrainingError, match=r"step [12]\b.* infinite or no number.* at a learning rate of 1.0e\+30"
    ) as c:
        train_adapter(str(student), load_tokenizer(str(student)), rows, high, tmp_path, steps=4)
    assert "train.learning_rate" in c.value.remedy
    assert not (tmp_path / "adapter").exists()
    assert not (tmp_path / "train.json").exists()


def contents(store: Path) -> dict[str, list[Any]]:
    with duckdb.connect(str(store), read_only=True) as connection:
        return {table: connection.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall() for table in KEPT}


def test_a_campaign_that_cannot_train_leaves_champion_and_store_as_they_were(
    finished: Finished, settle: Callable[..., CampaignSettings], tmp_path: Path
) -> None:
    store = copied(finished[0], tmp_path)
    champion = campaign_folder(store) / finished[3].name
    files = {path: path.read_bytes() for path in champion.rglob("*") if path.is_file()}
    assert any(path.name == "adapter_model.safetensors" for path in files)
    before = contents(store)
    train = {"learning_rate": 1e30, "warmup_steps": 0, "schedule": "constant"}
    with pytest.raises(TrainingError, match="infinite or no number"):
        run_campaign(store, settle(rounds=1, linear=False, train=train))
    assert contents(store) == before
    assert {path: path.read_bytes() for path in champion.rglob("*") if path.is_file()} == files


SMALL_DISKS = shutil.which("unshare") and not subprocess.run(["unshare", "-Urm", "true"], check=False).returncode


@pytest.mark.slow
@pytest.mark.skipif(not SMALL_DISKS, reason="a disk of its own needs user namespaces (unshare -Urm)")
def test_a_full_disk_is_told_and_survived(labelled: Path, finished: Finished, tmp_path: Path) -> None:
    """The second round's folder is a disk of 1.2 MB: two of its checkpoints fit. Then it gets room."""
    _, settings, uninterrupted, folder, _ = finished
    store = copied(labelled, tmp_path)
    second = next(path.name for path in folder.iterdir() if path.name.startswith("2-feedback"))
    small = store.with_name("labels-campaigns") / folder.name / second
    small.mkdir(parents=True)
    preset = tmp_path / "mine.yaml"
    preset.write_text(yaml.safe_dump(settings.model_dump()))
    distill = shlex.join([sys.executable, "-m", "teachback", "distill", str(store), "--preset", str(preset), "--json"])
    at = shlex.quote(str(small))
    script = f"""
        mount -t tmpfs -o size=1200k none {at}
        {distill} >{tmp_path}/first.out 2>{tmp_path}/first.err; echo $? >{tmp_path}/first.rc
        cp {store} {tmp_path}/full.duckdb; ls -A {at}/checkpoints >{tmp_path}/left
        mount -o remount,size=64m {at}
        {distill} >{tmp_path}/second.out 2>{tmp_path}/second.err; echo $? >{tmp_path}/second.rc
    """
    subprocess.run(["unshare", "-Urm", "sh", "-c", script], check=True, env=environment())

    told = " ".join((tmp_path / "first.err").read_text().split())
    assert (tmp_path / "first.rc").read_text() == "2\n", told[-2000:]
    assert "Traceback" not in told
    assert "there is no room for it (about" in told
    assert "make room there" in told
    left = (tmp_path / "left").read_text().split()
    assert "checkpoint-1" in left  # whole ones alone
    assert all(name.startswith("checkpoint-") or name == "README.md" for name in left)
    with duckdb.connect(str(tmp_path / "full.duckdb"), read_only=True) as connection:
        names = connection.execute("SELECT round, arm FROM rounds ORDER BY ALL").fetchall()
        promoted = connection.execute("SELECT promoted FROM round_decisions").fetchall()
        assert names == [(1, "feedback")]  # the champion's round; of the second nothing
        assert promoted == [(True,)]

    assert (tmp_path / "second.rc").read_text() == "0\n", (tmp_path / "second.err").read_text()[-2000:]
    assert lasting(json.loads((tmp_path / "second.out").read_text())) == lasting(uninterrupted)
    assert contents(store)["labels"]


def test_a_file_that_is_no_longer_what_was_written_is_named(tmp_path: Path) -> None:
    import numpy as np

    note, arrays = tmp_path / "train.json", tmp_path / "predictions.npz"
    save_json(note, {"steps": 3})
    save_arrays(arrays, probabilities=np.ones((2, 3), np.float32))
    note.write_text(note.read_text()[:5])
    arrays.write_bytes(arrays.read_bytes()[:40])
    for load, path in ((load_json, note), (load_arrays, arrays)):
        with pytest.raises(TrainingError, match=f"{path.name} in .* is damaged") as caught:
            load(path)  # type: ignore[operator]
        assert "remove it" in caught.value.remedy


def test_an_adapter_that_is_no_longer_what_was_trained_is_named(finished: Finished, tmp_path: Path) -> None:
    store, settings, record, folder, _ = finished
    mine = copied(store, tmp_path)
    (campaign_folder(mine) / folder.name / "campaign.json").unlink()  # a finished campaign is only shown
    (first,) = (campaign_folder(mine) / folder.name).glob("1-feedback-*")
    weights = first / "adapter" / "adapter_model.safetensors"
    whole = weights.read_bytes()
    for damaged in (whole[:-1] + b"\x55", whole[:1000]):
        weights.write_bytes(damaged)
        with pytest.raises(TrainingError, match="is not the adapter that was trained") as caught:
            run_campaign(mine, settings)
        assert caught.value.remedy == f"remove {first}, and the same command trains it again"
    with pytest.raises(TrainingError, match="cannot load the adapter"):
        load_student(settings.student, first / "adapter", quantize=True)
    shutil.rmtree(first)
    again, _ = run_campaign(mine, settings)
    assert lasting(again) == lasting(record)


def test_sizes_are_told_in_words() -> None:
    assert [human_bytes(n) for n in (999, 1_000, 1_499_000, 2_000_000_000)] == [
        "999 bytes",
        "1.0 kB",
        "1.5 MB",
        "2.0 GB",
    ]
