"""`teachback distill --choose` with tiny Llamas of three sizes on a small store."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tests.synthetic_stores import copied
from typer.testing import CliRunner

from teachback.cli import app
from teachback.cli.distill_choose import next_command
from teachback.distill.choose import choose_student
from teachback.distill.choose_page import short_count
from teachback.distill.choose_points import Measured, Point, held_out, nested_sizes
from teachback.distill.choose_verdict import choose, predict_seconds
from teachback.distill.config import load_settings
from teachback.distill.init_student import init_student
from teachback.distill.prompt import load_student_prompt
from teachback.distill.recipe import Recipe
from teachback.distill.scaling import Law
from teachback.errors import SettingError, StoreError

FEW = {"epochs": 1.0, "min_steps": 0, "batch": 8, "micro_batch": 8, "learning_rate": 1e-2}


class Killed(Exception):
    """Stands for a kill in the middle of a step."""


@pytest.fixture(scope="module")
def students(torch: Any, student: Path, texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three sizes, none of which has learned to read: 64 wide, 32 wide, and 32 wide with one block."""
    folder, recipe = tmp_path_factory.mktemp("sizes"), Recipe(vocabulary=1024, hidden=32, layers=2, heads=2, steps=1)
    small = replace(recipe, feed_forward=64, batch=4, seconds=0.0)
    for name, sizes in (("narrow", small), ("shallow", replace(small, layers=1))):
        init_student(texts[:60], folder / name, sizes, load_student_prompt("short"))
    return [str(student), str(folder / "narrow"), str(folder / "shallow")]


@pytest.fixture(scope="module")
def chosen(labelled: Path, students: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Path]:
    """A choice that was killed while it trained the second student, then run to its end: store, record, folder."""
    store = copied(labelled, tmp_path_factory.mktemp("chosen"))
    settings = load_settings("tiny-cpu", train=FEW)

    def kill_at_second(what: str, done: int, total: int) -> None:
        if what.startswith("narrow: 10 reports"):
            raise Killed

    with pytest.raises(Killed):
        choose_student(store, students, settings, kill_at_second, draws=20)
    before = written(store)
    assert len(before) == 3 + 1  # all of the first student: untrained, 5 and 10 reports; 5 of the second
    record, folder = choose_student(store, students, settings, draws=20)
    assert {path: time for path, time in written(store).items() if path in before} == before
    return store, record, folder


def written(store: Path) -> dict[Path, int]:
    """Trainings that are done, and the untrained bases that were measured."""
    points = store.with_name("labels-campaigns") / "points"
    files = [*points.rglob("train.json"), *points.glob("*/0-*/point.json")]
    return {file: file.stat().st_mtime_ns for file in files}


def test_students_of_several_sizes_are_measured_on_nested_subsets(chosen: tuple[Path, Any, Path]) -> None:
    store, record, _ = chosen
    assert record["sizes"] == [5, 10]  # of 40 taught reports, up to a quarter; 2 would be too few
    assert record["full_reports"] == 40
    assert len(record["students"]) == 3
    for student in record["students"]:
        assert [point["reports"] for point in student["points"]] == [0, 5, 10]
        # One pass of batches of 8: of 5 rows (one a report) .6 steps, of 10 rows 1.25.
        assert [point["steps"] for point in student["points"]] == [0, 1, 1]
        assert student["full_steps"] == 5
        assert all(0 < point["loss"] < math.log(2) for point in student["points"])
        assert student["predicted_seconds"] > 0
    sizes = [s["parameters"] for s in sorted(record["students"], key=lambda s: -s["parameters"])]
    assert sizes[0] > sizes[1] > sizes[2] > 30_000
    assert not list(store.with_name("labels-campaigns").rglob("adapter_model.safetensors"))  # they have served


def test_few_points_fall_back_to_the_order_at_the_largest_subset(chosen: tuple[Path, Any, Path]) -> None:
    _, record, _ = chosen
    assert record["basis"] == "largest"
    losses = [student["points"][-1]["loss"] for student in record["students"]]
    assert losses == sorted(losses)
    assert record["chosen"] == record["students"][0]["name"]
    assert "3 points do not determine four numbers" in record["why"][0]
    assert record["students"][0]["verdict"] == "lowest loss at 10 reports"
    assert all(student["predicted_loss"] is None for student in record["students"])


def test_the_choice_is_a_page_of_its_own(chosen: tuple[Path, Any, Path]) -> None:
    _, record, folder = chosen
    page = (folder / "choose.html").read_text()
    assert json.loads((folder / "choose.json").read_text())["choose_id"] == record["choose_id"]
    assert page.count("<polyline") == 0  # no law without four points
    assert page.count("<circle") == 3 * 3
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page


def test_the_command_prints_the_choice_and_what_to_type_next(
    chosen: tuple[Path, Any, Path], students: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, record, _ = chosen
    preset = tmp_path / "few.yaml"
    preset.write_text(yaml.safe_dump(load_settings("tiny-cpu", train=FEW).model_dump()))
    typed = ["distill", str(store), "--choose", ",".join(students), "--choose-share", "0.25", "--preset", str(preset)]
    monkeypatch.setattr("sys.argv", ["teachback", *typed])
    before = written(store)
    told = CliRunner().invoke(app, typed)
    assert told.exit_code == 0, told.output
    assert written(store) == before  # nothing is trained twice
    best = next(path for path in students if Path(path).name == record["chosen"])
    plain = "".join(told.output.split())
    assert f"teachbackdistill{store}--preset{preset}--student{best}" in plain
    assert "3pointsdonotdeterminefournumbers" in plain
    as_json = CliRunner().invoke(app, [*typed, "--json"])
    assert json.loads(as_json.stdout)["chosen"] == record["chosen"]


def test_the_next_command_keeps_what_else_was_typed() -> None:
    typed = ["distill", "my labels.duckdb", "--choose=a,b", "--rounds", "3", "--choose-share", ".1", "--json"]
    assert next_command(typed, "a") == "teachback distill 'my labels.duckdb' --rounds 3 --student a"


@pytest.mark.parametrize("given", [["tiny"], ["tiny", " "], ["tiny", "tiny"]])
def test_a_choice_needs_two_students(chosen: tuple[Path, Any, Path], given: list[str]) -> None:
    with pytest.raises(SettingError):
        choose_student(chosen[0], given, load_settings("tiny-cpu"))


def test_too_few_reports_are_an_error(chosen: tuple[Path, Any, Path], students: list[str]) -> None:
    with pytest.raises(StoreError, match="40 labelled training reports are too few"):
        choose_student(chosen[0], students, load_settings("tiny-cpu", train=FEW), largest=0.05)


def measured(law: Law, *, pace: float, parameters: int = 1000) -> Measured:
    """A student that follows its law exactly; 100 tokens a report, two seconds of loading."""
    points = tuple(
        Point(d, 0, d, d // 8, 100 * d, 2 + pace * 100 * d if d else 0.0, False, 0.5, law.loss(d), 0.5)
        for d in (0, 25, 50, 100, 200)
    )
    return Measured("somewhere", parameters, points, 800, 100, 80_000)


def test_the_law_decides_where_points_determine_it() -> None:
    good = measured(Law(0.3, 0.03, 60.0, 1.5), pace=0.001)
    bad = measured(Law(0.3, 0.2, 40.0, 1.5), pace=0.0001)
    choice = choose({"bad": bad, "good": good}, draws=25)
    assert (choice.basis, choice.chosen) == ("law", "good")
    assert [p.verdict for p in choice.prospects] == ["worth the full budget", "not worth it"]
    assert choice.prospects[0].chance == 1.0
    assert choice.prospects[0].spent == pytest.approx(5 * 0.5 + 4 * 2 + 0.001 * 100 * 375)


def test_a_student_that_has_not_begun_to_learn_stands_behind() -> None:
    good = measured(Law(0.3, 0.03, 60.0, 1.5), pace=0.001)
    dull = measured(Law(0.3, 0.29, 60.0, 1.5), pace=0.001)
    choice = choose({"dull": dull, "good": good}, draws=5)
    assert (choice.basis, choice.chosen, choice.prospects[1].chance) == ("law", "good", None)
    assert choice.prospects[1].verdict == "not predicted; behind at 200 reports"
    assert "dull: it has not begun to learn from 200 reports" in choice.why[1]


def test_a_student_that_is_ahead_without_a_curve_hands_the_choice_to_the_largest_subset() -> None:
    good = measured(Law(0.3, 0.1, 60.0, 1.5), pace=0.001)  # .134 at 200
    points = [replace(p, loss=loss) for p, loss in zip(good.points, (0.3, 0.2, 0.1, 0.2, 0.09), strict=True)]
    choice = choose({"good": good, "jumpy": replace(good, points=tuple(points))}, draws=5)
    assert (choice.basis, choice.chosen) == ("largest", "jumpy")
    assert "jumpy: its loss rises from 50 to 100 reports" in choice.why[0]


def test_students_that_cannot_be_told_apart_are_not_ruled_out() -> None:
    law = Law(0.3, 0.05, 60.0, 1.5)
    choice = choose({"one": measured(law, pace=0.001), "two": measured(law, pace=0.0001)}, draws=40)
    assert choice.prospects[1].verdict == "cannot be ruled out"
    assert any("cannot be ruled out: two" in sentence for sentence in choice.why)
    assert any("two would take 10 s where one takes 82 s" in sentence for sentence in choice.why)


def test_time_is_extended_from_trainings_that_ran_whole() -> None:
    whole = measured(Law(0.3, 0.05, 60.0, 1.5), pace=0.001)
    assert predict_seconds(whole) == pytest.approx(2 + 0.001 * 80_000)
    cut = tuple(replace(p, resumed=True, seconds=0.1) if p.reports == 200 else p for p in whole.points)
    assert predict_seconds(replace(whole, points=cut)) == pytest.approx(82)
    assert predict_seconds(replace(whole, points=whole.points[:1])) is None
    # One training alone: loading and pace cannot be told apart. 2 + 2.5 s for 2,500 of 80,000 tokens: 144 s.
    assert predict_seconds(replace(whole, points=whole.points[:2])) == pytest.approx(144)


def test_subsets_double_up_to_the_largest() -> None:
    assert nested_sizes(900) == [14, 28, 56, 112, 225]
    assert nested_sizes(40, largest=0.5) == [5, 10, 20]
    assert nested_sizes(10) == []


def test_the_loss_of_a_student_that_knows_nothing_is_that_of_the_base_rates() -> None:
    chance = np.random.default_rng(0)
    truth = np.where(chance.random((400, 13)) < 0.1, 0, 3).astype(np.int8)
    raw = np.full((400, 13, 4), 0.25, np.float32)
    loss, f1 = held_out(raw, truth, np.arange(400))
    assert loss == pytest.approx(-(0.1 * math.log(0.1) + 0.9 * math.log(0.9)), abs=0.02)
    assert 0 <= f1 < 0.3 or math.isnan(f1)
    raw[..., 0] = np.where(truth == 0, 0.97, 0.01)
    raw[..., 1:] = (1 - raw[..., :1]) / 3
    knowing, perfect = held_out(raw, truth, np.arange(400))
    assert (knowing < 0.02, perfect) == (True, 1.0)


def test_weights_are_counted_as_people_do() -> None:
    assert [short_count(n) for n in (999, 30_000, 2_164_416, 8_030_261_248)] == ["999", "30.0 k", "2.2 M", "8.0 B"]
