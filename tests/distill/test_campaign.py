import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.synthetic_stores import copied

from teachback.distill.artefacts import load_arrays, save_arrays
from teachback.distill.campaign import campaign_folder
from teachback.distill.config import CampaignSettings
from teachback.distill.judge import align
from teachback.distill.run import run_campaign
from teachback.errors import StoreError
from teachback.store.database import open_snapshot
from teachback.store.quality.statuses import fetch_curated

Settle = Callable[..., CampaignSettings]
LEARNING = {"epochs": 1.0, "learning_rate": 3e-2}  # enough to change some of the gate's labels


def ask(path: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_a_campaign_trains_gates_feeds_back_and_controls(finished: Any) -> None:
    _, _, record, folder, _ = finished
    assert record == json.loads((folder / "campaign.json").read_text())
    names = [round_["name"] for round_ in record["rounds"]]
    assert names == ["base model", "round 1", "round 2 feedback", "round 2 control", "round 2 average", "linear"]
    by_name = dict(zip(names, record["rounds"], strict=True))
    assert by_name["base model"]["decision"] is None
    assert by_name["round 1"]["decision"]["against"] == "base model"
    assert by_name["round 2 feedback"]["decision"]["against"] == "round 1"
    assert by_name["round 2 control"]["decision"] is None
    # The arms share budget and seed, and differ in the pseudo-labels alone.
    fed, control = by_name["round 2 feedback"], by_name["round 2 control"]
    assert fed["training"]["steps"] == control["training"]["steps"]
    assert fed["labels_by_source"]["pseudo"] == fed["pseudo"]["selected"] > 0
    assert control["labels_by_source"] == by_name["round 1"]["labels_by_source"]
    assert fed["labels_by_source"]["teacher"] == control["labels_by_source"]["teacher"] == record["training_labels"]
    assert [compared["round"] for compared in record["feedback_over_control"]] == [2]
    assert fed["pseudo"]["predictions"] == 13 * record["splits"]["pool"]
    assert fed["pseudo"]["selected"] + sum(fed["pseudo"]["refused"].values()) == fed["pseudo"]["predictions"]


def test_feedback_and_control_are_compared_in_right_statuses(finished: Any) -> None:
    path, _, record, _, _ = finished
    ids = {round_["name"]: round_["round_id"] for round_ in record["rounds"]}
    right = """SELECT avg((l.status = c.status)::INTEGER) FROM labels l JOIN splits s USING (report_id)
        JOIN curated_labels c ON c.report_id = l.report_id AND c.task = l.task AND c.target = l.target
        WHERE l.task = 'findings' AND s.split = '{}' AND l.round_id = '{}'"""
    (compared,) = record["feedback_over_control"]
    for split in ("gate", "test"):
        fed, control = (ask(path, right.format(split, ids[f"round 2 {arm}"]))[0][0] for arm in ("feedback", "control"))
        assert compared[split]["accuracy"]["value"] == pytest.approx(fed - control)
        assert compared[split]["accuracy"]["low"] <= fed - control <= compared[split]["accuracy"]["high"]


def test_every_subject_is_judged_on_gate_and_test(finished: Any) -> None:
    _, _, record, _, _ = finished
    for judged in (*record["rounds"], *record["teacher"]["subjects"]):
        for split in ("gate", "test"):
            figures = judged[split]["figures"]
            assert figures["n_reports"] == record["splits"][split]
            assert figures["micro"]["low"] <= figures["micro"]["value"] <= figures["micro"]["high"]
    assert [subject["kind"] for subject in record["teacher"]["subjects"]] == ["rule", "llm", "teacher"]
    champion = next(round_ for round_ in record["rounds"] if round_["name"] == record["champion"])
    assert record["champion_adapter"] == f"{champion['folder']}/adapter"
    assert set(record["diseases"]) == {"n", record["champion"], "teacher"}


def test_the_store_holds_rounds_rows_labels_figures_and_decisions(finished: Any) -> None:
    path, _, record, _, _ = finished
    rounds = ask(path, 'SELECT "round", arm, adapter_hash IS NULL FROM rounds ORDER BY 1, 2')
    second = [(2, arm, False) for arm in ("average", "control", "feedback")]
    assert rounds == [(1, "feedback", False), (1, "linear", True), *second]
    for round_ in record["rounds"][1:]:
        chosen = f"round_id = '{round_['round_id']}'"
        taken = f"SELECT source, count(*) FROM training_rows WHERE {chosen} AND selected GROUP BY 1"
        assert dict(ask(path, taken)) == round_["labels_by_source"]
        labelled = sum(record["splits"][split] for split in ("pool", "calibration", "gate", "test"))
        assert ask(path, f"SELECT count(*) FROM labels WHERE {chosen}") == [(13 * labelled,)]
        for split in ("gate", "test"):
            micro = f"split = '{split}' AND metric = 'micro_f1'"
            stored = ask(path, f"SELECT value FROM evaluations WHERE {chosen} AND {micro}")
            assert stored == [(round_[split]["figures"]["micro"]["value"],)]
    decided = ask(path, "SELECT round_id, promoted FROM round_decisions ORDER BY created_at, round_id")
    assert dict(decided) == {
        round_["round_id"]: round_["decision"]["promoted"] for round_ in record["rounds"] if round_["decision"]
    }
    ends = "SELECT status FROM run_ends JOIN runs USING (run_id) WHERE command = 'distill'"
    assert ask(path, ends) == [("finished",)]


def test_a_refused_candidate_stands_once_more_as_an_average_with_the_champion(finished: Any) -> None:
    _, _, record, _, _ = finished
    by_name = {round_["name"]: round_ for round_ in record["rounds"]}
    champion, failed, average = (by_name[name] for name in ("round 1", "round 2 feedback", "round 2 average"))
    assert not failed["decision"]["promoted"]
    assert average["training"]["average_of"] == ["round 1", "round 2 feedback"]
    assert average["decision"]["against"] == "round 1"
    assert average["decision"]["alpha"]["earlier"] == [True, False]  # a look more, at what the budget has left
    change = [_change(round_, "q_proj") for round_ in (champion, failed, average)]
    assert torch.allclose(change[2], (change[0] + change[1]) / 2, atol=1e-6)


def test_of_two_arms_the_better_one_on_calibration_goes_to_the_gate(
    finished: Any, labelled: Path, tmp_path: Path
) -> None:
    _, settings, _, folder, _ = finished
    path = copied(labelled, tmp_path)
    here = campaign_folder(path) / folder.name
    shutil.copytree(folder, here)
    (here / "campaign.json").unlink()
    _let_read_the_truth(next(here.glob("2-control-*")), path)
    record, _ = run_campaign(path, settings)
    by_name = {round_["name"]: round_ for round_ in record["rounds"]}
    fed, control = by_name["round 2 feedback"], by_name["round 2 control"]
    assert fed["decision"] is None
    assert fed["passed_over"].startswith(
        "not put to the gate: round 2 control is better on calibration, micro-F1 1.000"
    )
    assert control["decision"]["promoted"]
    assert control["decision"]["alpha"]["earlier"] == [True]  # the choice was no look at the gate
    assert record["champion"] == "round 2 control"
    assert record["feedback_over_control"][0]["to_the_gate"] == "control"
    decided = dict(
        ask(path, 'SELECT arm, promoted FROM round_decisions JOIN rounds USING (round_id) WHERE "round" = 2')
    )
    assert decided == {"feedback": False, "control": True}
    said = f"SELECT reason, figures FROM round_decisions WHERE round_id = '{fed['round_id']}'"
    assert ask(path, said) == [(fed["passed_over"], None)]


def _let_read_the_truth(round_: Path, store: Path) -> None:
    """Put curated statuses in the place of what a round read, and have it calibrated anew."""
    (round_ / "calibration.json").unlink()
    with duckdb.connect(str(store), read_only=True) as connection:
        for file in round_.glob("predictions-*.npz"):
            read = load_arrays(file)
            for split in {name.removesuffix("_ids") for name in read if name.endswith("_ids")}:
                truth = fetch_curated(connection, "train" if split == "pool" else split)
                codes = align([str(i) for i in read[f"{split}_ids"]], truth.report_ids, truth.codes)
                read[split] = (0.01 + 0.96 * np.eye(4)[codes]).astype(np.float32)
            save_arrays(file, **read)


def _change(round_: Any, layer: str) -> Any:
    """Return what an adapter adds to the first such layer."""
    folder = Path(round_["folder"]) / "adapter"
    weights = load_file(str(folder / "adapter_model.safetensors"))
    config = json.loads((folder / "adapter_config.json").read_text())
    down, up = (next(w for name, w in sorted(weights.items()) if layer in name and ab in name) for ab in ("_A", "_B"))
    return up @ down * (config["lora_alpha"] / config["r"])


def test_refused_predictions_are_kept_with_their_reason(finished: Any) -> None:
    path, _, record, _, _ = finished
    fed = next(round_ for round_ in record["rounds"] if round_["name"] == "round 2 feedback")
    chosen = f"round_id = '{fed['round_id']}' AND source = 'pseudo'"
    rows = ask(path, f"SELECT selected, reason, weight FROM training_rows WHERE {chosen}")
    assert len(rows) == fed["pseudo"]["predictions"]
    for selected, reason, weight in rows:
        assert reason.startswith("certified at" if selected else "refused: ")
        assert 0 < weight <= 0.4 if selected else weight == 0


def test_pseudo_labels_come_from_reports_that_no_teacher_labelled_and_no_judge_holds(finished: Any) -> None:
    path, _, _, _, _ = finished
    strays = """SELECT count(*) FROM training_rows w JOIN splits s USING (report_id)
        WHERE s.split <> 'train' OR (w.source = 'pseudo' AND w.report_id IN (SELECT report_id FROM committed))"""
    assert ask(path, strays) == [(0,)]


def test_one_query_goes_from_an_adapter_to_the_prompts(finished: Any) -> None:
    path, _, record, _, _ = finished
    champion = next(round_ for round_ in record["rounds"] if round_["name"] == record["champion"])
    query = f"""SELECT labeler_kind, count(DISTINCT label_id), count(prompt_text), count(response)
        FROM adapter_lineage('{champion["training"]["adapter_hash"]}') GROUP BY 1 ORDER BY 1"""
    kinds = {kind: counts for kind, *counts in ask(path, query)}
    assert set(kinds) >= {"llm", "adjudicator"}
    for kind in ("llm", "adjudicator"):
        labels, prompts, responses = kinds[kind]
        assert labels == prompts == responses > 0
    assert sum(labels for labels, *_ in kinds.values()) == sum(champion["labels_by_source"].values())


def test_readers_see_the_finished_campaign(finished: Any) -> None:
    path, _, _, _, _ = finished
    connection, _ = open_snapshot(path)
    with connection:
        assert connection.execute("SELECT count(*) FROM rounds").fetchone() == (5,)


def test_test_is_opened_once_after_the_last_decision(finished: Any) -> None:
    path, _, record, folder, told = finished
    opened = [what for what in told if what == "predict test"]
    last_training = max(i for i, what in enumerate(told) if what.startswith("train round"))
    assert told.index("predict test") > last_training
    assert opened
    for predictions in folder.rglob("predictions-*.npz"):
        assert predictions.name in ("predictions-calibration-gate-pool.npz", "predictions-test.npz")
    last_calibration = max(file.stat().st_mtime_ns for file in folder.rglob("calibration.json"))
    assert all(file.stat().st_mtime_ns > last_calibration for file in folder.rglob("predictions-test.npz"))
    looks = ask(path, "SELECT split, command, len(compared), reports FROM looks")
    assert looks == [("test", "distill", len(record["rounds"]), record["splits"]["test"])]
    assert record["test_looked_at_before"] == 0


def test_the_gate_asks_students_that_list_diseases_for_the_length_of_their_lists(finished: Any) -> None:
    _, _, record, _, _ = finished
    lists = {
        round_["name"]: next(check for check in round_["decision"]["checks"] if check["name"] == "list length")
        for round_ in record["rounds"]
        if round_["decision"]
    }
    assert lists["round 1"]["passed"] is None  # the base model was never taught to list
    for name in ("round 2 feedback", "round 2 average"):
        assert lists[name]["passed"] is not None
        assert " diseases a report, " in lists[name]["words"]


def test_run_again_nothing_is_done_again(finished: Any) -> None:
    path, settings, record, folder, _ = finished
    times = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    counts = "SELECT (SELECT count(*) FROM labels), (SELECT count(*) FROM runs), (SELECT count(*) FROM evaluations)"
    before = ask(path, counts)
    told: list[str] = []
    again, _ = run_campaign(path, settings, lambda what, done, total: told.append(what))
    assert again == record
    assert told == []
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == times
    assert ask(path, counts) == before


def test_without_its_record_a_campaign_is_put_together_from_its_files(finished: Any, tmp_path: Path) -> None:
    path, settings, _, folder, _ = finished
    (folder / "campaign.json").rename(tmp_path / "campaign.json")
    times = {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}
    counts = """SELECT (SELECT count(*) FROM labels), (SELECT count(*) FROM training_rows),
        (SELECT count(*) FROM evaluations), (SELECT count(*) FROM rounds), (SELECT count(*) FROM labelers)"""
    before = ask(path, counts)
    told: list[str] = []
    again, _ = run_campaign(path, settings, lambda what, done, total: told.append(what))
    assert told == []
    assert {**again, "seconds": 0} == {**json.loads((tmp_path / "campaign.json").read_text()), "seconds": 0}
    assert {file: file.stat().st_mtime_ns for file in times} == times
    assert ask(path, counts) == before


def test_where_nothing_can_be_certified_the_campaign_says_so_and_stops(
    torch: Any, store_path: Path, settle: Settle
) -> None:
    record, _ = run_campaign(store_path, settle(train=LEARNING, linear=False, tasks=["findings"]))
    assert [round_["name"] for round_ in record["rounds"]] == ["base model", "round 1"]
    assert record["champion"] == "round 1"
    assert record["stopped"] == "round 2 has no certified prediction to feed back"
    assert record["feedback_over_control"] == []
    assert record["diseases"] is None


def test_a_round_that_changes_nothing_is_the_last(torch: Any, store_path: Path, settle: Settle) -> None:
    still = {"epochs": 0.1, "min_steps": 4, "learning_rate": 1e-9}
    record, _ = run_campaign(store_path, settle(train=still, linear=False, tasks=["findings"]))
    assert record["rounds"][1]["training"]["steps"] == 4  # 0.1 epochs of 40 reports in batches of 8 would be one
    assert record["stopped"] == "round 1 changed 0.0% of the gate's labels, under 1%"
    assert record["rounds"][1]["decision"]["change"]["micro"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_a_missing_store_is_named(torch: Any, tmp_path: Path, settle: Settle) -> None:
    with pytest.raises(StoreError, match="there is no store at"):
        run_campaign(tmp_path / "nowhere.duckdb", settle())


def test_calibration_is_judged_by_finding_and_split_before_and_after(finished: Any) -> None:
    path, _, record, _, _ = finished
    for round_ in record["rounds"]:
        rows = ask(
            path,
            "SELECT split, metric, count(*), count(DISTINCT target), any_value(note) FROM evaluations "
            f"WHERE subject = '{round_['name']}' AND (metric LIKE 'ece_%' OR metric LIKE 'brier_%') GROUP BY 1, 2",
        )
        sides = {"ece_before", "ece_after", "brier_before", "brier_after"}
        assert {(split, metric) for split, metric, *_ in rows} == {
            (split, metric) for split in ("calibration", "gate", "test") for metric in sides
        }
        assert {(n, targets) for _, _, n, targets, _ in rows} == {(14, 14)}  # 13 findings, and all together
        assert all((note is not None) == (split == "calibration") for split, *_, note in rows)
        told = round_["reliability"]
        assert set(told["splits"]) == {"calibration", "gate", "test"}
        assert set(told["methods"]) == {"temperature"}
    # What calibration is fitted to lower, it lowers on the reports that it was fitted on.
    fitted = record["rounds"][0]["reliability"]["splits"]["calibration"]["overall"]
    assert fitted["after"]["brier"]["value"] < fitted["before"]["brier"]["value"]


def test_every_adapter_and_the_training_rows_have_a_card_that_the_hub_reads(finished: Any, torch: Any) -> None:
    hub = pytest.importorskip("huggingface_hub")
    path, settings, record, folder, _ = finished
    trained = [round_ for round_ in record["rounds"] if round_["training"]["adapter_hash"]]
    for round_ in trained:
        page = (folder / Path(round_["folder"]).name / "adapter" / "README.md").read_text()
        card = hub.ModelCard(page, ignore_metadata_errors=False)
        assert (card.data.base_model, card.data.library_name) == (
            Path(settings.student).name,
            "peft",
        )  # no path of this machine
        assert {"stand-in-teacher", "fictitious-reports"} <= set(card.data.tags)
        micro = round_["test"]["figures"]["micro"]
        told = next(of for of in card.data.eval_results if of.dataset_split == "test" and "micro" in of.metric_name)
        assert told.metric_value == micro["value"]
        assert f"{micro['low']:.3f} to {micro['high']:.3f}" in told.metric_name
        assert "was a stand-in" in card.text
        assert "More Information Needed" not in card.text
        assert str(folder) not in page
        # The prompts that made the labels, by their hashes.
        hashes = ask(path, "SELECT prompt_id FROM labelers WHERE kind IN ('llm', 'adjudicator')")
        assert all(hash_ in card.text for (hash_,) in hashes)
    card = hub.DatasetCard((folder / "dataset" / "README.md").read_text(), ignore_metadata_errors=False)
    named = card.data.configs[0]["data_files"][0]["path"]
    rows = duckdb.sql(
        f"SELECT round, arm, source, count(*) FROM '{folder / 'dataset' / named}' WHERE selected GROUP BY ALL"
    ).fetchall()
    counted = {(number, arm, source): n for number, arm, source, n in rows}
    assert counted == {
        (round_["round"], round_["arm"], source): n
        for round_ in trained
        for source, n in round_["labels_by_source"].items()
    }


def test_the_cards_snippet_loads_the_adapter_and_answers(finished: Any, torch: Any, capsys: Any) -> None:
    _, settings, record, folder, _ = finished
    adapter = folder / Path(record["rounds"][1]["folder"]).name / "adapter"
    code = (adapter / "README.md").read_text().split("```python\n")[1].split("```")[0]
    exec(code.replace("BASE_FOLDER", settings.student).replace("ADAPTER_FOLDER", str(adapter)), {})
    assert capsys.readouterr().out.strip()
