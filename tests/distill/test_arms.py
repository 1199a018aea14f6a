"""Seeds and arms: several campaigns with one budget, compared on the same reports."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from rich.console import Console
from tests.synthetic_stores import copied

from teachback.cli.distill_arms import _print_arms, _print_subjects, read_seeds
from teachback.distill.arms import AS_GIVEN, Arm, arm_names, load_arms
from teachback.distill.arms_compare import Ran, compare_runs
from teachback.distill.arms_run import plan_arms, run_arms
from teachback.distill.campaign import campaign_folder
from teachback.distill.config import CampaignSettings
from teachback.errors import SettingError
from teachback.store.database import open_snapshot
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.quality.f1 import paired_difference
from teachback.store.quality.statuses import fetch_labeler

SETTINGS = CampaignSettings(student="x")
# What an arm is of the sort that there is already by the preset: it stands in the file for presets that differ.
DEFAULTS = {"as given", "by report"}


def test_packaged_arms_change_settings_that_exist() -> None:
    names = arm_names()
    assert {"as given", "no feedback", "continue", "merge", "soft labels", "labels pruned", "findings only"} <= set(
        names
    )
    for arm in load_arms("all"):
        assert arm.why
        assert (arm.settle(SETTINGS) == SETTINGS) == (arm.name in DEFAULTS)


def test_an_arm_changes_parts_of_settings_one_by_one() -> None:
    changed = Arm("a", "", {"select": {"share": 0.1}, "rounds": 1}).settle(SETTINGS)
    assert (changed.select.share, changed.select.error, changed.rounds) == (0.1, SETTINGS.select.error, 1)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("a: {rounds: 0}", "arm 'a': rounds"),
        ("a: {nothing: 1}", "arm 'a': nothing"),
        ("a: {train: {max_steps: 5}}", "arm 'a' sets train.max_steps"),
        ("a: {train: {epochs: 5}}", "arm 'a' sets train.epochs"),
        ("a: {seed: 1}", "arm 'a' sets seed"),
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
    ("written", "seeds"),
    [("3", [0, 1, 2]), ("0,4,7", [0, 4, 7]), ("5,5", [5]), ("5,5,", None), ("x", None), ("0", None), ("-1", None)],
)
def test_seeds_are_a_number_or_a_list(written: str, seeds: list[int] | None) -> None:
    if seeds is None:
        with pytest.raises(SettingError, match="not seeds"):
            read_seeds(written, None)
    else:
        assert read_seeds(written, None) == seeds


def test_seeds_are_counted_from_the_one_that_is_given() -> None:
    assert read_seeds("2", 4) == [4, 5]
    assert read_seeds(None, 4) == [4]


def test_arms_are_planned_with_the_steps_of_the_first(finished: Any) -> None:
    path, settings, *_ = finished
    arms = [Arm("first", "why", {}), Arm("half", "why", {"train": {"batch": 4, "micro_batch": 4}})]
    planned = plan_arms(path, settings, arms, [0, 1])
    # 40 lessons in batches of 8, one epoch: 5 steps; batches of 4 would take 10.
    assert [[training.steps for training in plan.trainings] for _, plan, _ in planned] == [[5, 5, 5], [5, 5, 5]]
    assert [settings.train.batch for *_, settings in planned] == [8, 4]
    ((_, alone, same),) = plan_arms(path, settings, None, [0])
    assert alone.finished  # the fixture's own campaign
    assert same == settings


def test_a_seed_that_has_been_run_is_only_read(finished: Any, tmp_path: Path) -> None:
    kept, settings, record, folder, _ = finished
    path, told = copied(kept, tmp_path), list[str]()
    comparison, file = run_arms(path, settings, None, [0], lambda what, done, total: told.append(what))
    assert told == []
    assert comparison["budget_steps"] is None
    (arm,) = comparison["arms"]
    assert arm["campaigns"] == [record["campaign_id"]]
    assert arm["over_first"] is None
    assert json.loads(file.read_text()) == comparison
    names = [subject["name"] for subject in comparison["subjects"]]
    assert set(names) >= {"rule", "teacher", "base model", "linear", "round 1", "round 2 control", record["champion"]}
    assert all(subject["figures"]["gate"]["micro"]["spread"] is None for subject in comparison["subjects"])
    assert (campaign_folder(path) / folder.name / "report.html").exists()


def test_arms_are_paired_on_the_same_reports(finished: Any) -> None:
    path, settings, record, folder, _ = finished
    rounds = {round_["name"]: round_ for round_ in record["rounds"]}
    first = Ran(AS_GIVEN, 0, record, folder)
    other = replace(
        first,
        arm=Arm("other", "why", {}),
        record={**record, "campaign_id": "cmp_other", "champion": "base model"},
    )
    again = replace(first, arm=Arm("again", "why", {}))
    connection, _ = open_snapshot(path)
    with connection:
        compared = compare_runs(connection, [[first], [other], [again]], settings.corpus)
        (seeds,) = compare_runs(connection, [[first, replace(other, seed=1)]], settings.corpus)["arms"]
        truth = _curated(connection, "test")
        labels = fetch_labeler(connection, rounds[record["champion"]]["labeler_id"], truth[0])
    base = next(subject for subject in compared["subjects"] if subject["name"] == "base model")
    champion = next(subject for subject in compared["subjects"] if subject["name"] == record["champion"])
    _, paired, same = compared["arms"]
    gain = paired["over_first"]["test"][0]["micro"]
    # The difference of two figures that were measured one by one.
    expected = base["figures"]["test"]["micro"]["mean"] - champion["figures"]["test"]["micro"]["mean"]
    assert gain["value"] == pytest.approx(expected)
    assert gain["low"] < gain["value"] < gain["high"]
    # Of two figures a and b the sample standard deviation is |a - b| / sqrt(2).
    spread = seeds["figures"]["test"]["micro"]
    assert spread["spread"] == pytest.approx(abs(expected) / 2**0.5)
    assert [seed["value"] for seed in spread["each"]] == [
        champion["figures"]["test"]["micro"]["mean"],
        base["figures"]["test"]["micro"]["mean"],
    ]
    assert same["same_as_first"]
    assert same["over_first"] is None
    # What the files hold of the champion is what the store has as its labels: the teacher's gain is the same from both.
    teacher = next(subject for subject in compared["baselines"] if subject["name"] == "teacher")
    over = rounds[record["champion"]]["test"]["over_teacher"]["micro"]["value"]
    assert teacher["over_first"]["test"][0]["micro"]["value"] == pytest.approx(-over)
    itself = paired_difference(truth[1], labels, labels, truth[2], n_boot=10)
    assert itself.micro.value == 0
    assert [subject["name"] for subject in compared["baselines"]] == [
        "rule",
        "llm:stand-in",
        "teacher",
        "base model",
        "linear",
    ]


def test_tables_fit_a_terminal_and_name_everyone(finished: Any) -> None:
    path, settings, record, folder, _ = finished
    first = Ran(Arm("first", "why", {}), 0, record, folder)
    second = replace(first, arm=Arm("second", "why", {}), record={**record, "campaign_id": "cmp_other"})
    connection, _ = open_snapshot(path)
    with connection:
        compared = {
            "seeds": [0, 1],
            "budget_steps": 5,
            **compare_runs(connection, [[first, replace(first, seed=1)], [second, second]], settings.corpus),
        }
    console = Console(width=80)
    with console.capture() as caught:
        _print_arms(compared, "test", console)
        _print_subjects(compared, "gate", console)
    printed = caught.get()
    assert max(map(len, printed.splitlines())) <= 80
    assert "5 steps a training" in " ".join(printed.split())
    for name in ("teacher", "base model", "linear", "first", "second", "round 2 control"):
        assert name in printed
    assert printed.count("+.000 [+.000, +.000]") == 2  # the second arm is the first under another name, twice
    assert "(.0" not in printed  # two equal seeds have no spread


def _curated(connection: duckdb.DuckDBPyConnection, split: str) -> tuple[Any, Any, Any]:
    from teachback.store.quality.statuses import fetch_curated

    truth = fetch_curated(connection, split)
    assert truth.codes.shape[1] == len(FINDINGS)
    assert truth.codes.max() < len(STATUSES)
    return truth.report_ids, truth.codes, truth.clusters


@pytest.mark.slow
def test_arms_share_a_budget_and_are_compared(store_path: Path, settle: Callable[..., CampaignSettings]) -> None:
    settings = settle(rounds=1, linear=False, train={"learning_rate": 3e-2})
    arms = [Arm("first", "why", {}), Arm("single task", "why", {"tasks": ["findings"]})]
    told: list[str] = []
    comparison, path = run_arms(store_path, settings, arms, [1], lambda what, done, total: told.append(what))
    assert json.loads(path.read_text()) == comparison
    first, single = comparison["arms"]
    assert len({*first["campaigns"], *single["campaigns"]}) == 2
    assert first["steps"] == single["steps"] == [comparison["budget_steps"]]
    assert [gain["seed"] for gain in single["over_first"]["test"]] == [1]
    assert {what.split(":")[0] for what in told} == {"first, seed 1", "single task, seed 1"}
    told.clear()
    again, _ = run_arms(store_path, settings, arms, [1], lambda what, done, total: told.append(what))
    assert (again, told) == (comparison, [])  # only read
    connection, _ = open_snapshot(store_path)
    with connection:
        asked = connection.execute(SPREAD).fetchall()
    expected = [(arm["name"], arm["figures"]["test"]["micro"]["mean"], None, 1) for arm in (first, single)]
    assert asked == [(name, pytest.approx(mean), spread, n) for name, mean, spread, n in expected]


# Mean and spread over the seeds, asked of the store alone.
SPREAD = """
SELECT compared.name, avg(value), stddev_samp(value), count(*)
FROM (SELECT unnest(from_json(config->'arms', '[{"name":"VARCHAR","campaigns":["VARCHAR"]}]')) AS compared
      FROM runs WHERE json_exists(config, '$.arms'))
JOIN rounds o ON list_contains(compared.campaigns, o.campaign_id)
JOIN evaluations e USING (round_id)
WHERE e.metric = 'micro_f1' AND e.split = 'test' AND o.arm = 'feedback'
GROUP BY 1 ORDER BY 1"""
