"""What a card says, and what it must not leave out."""

import copy
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from teachback.distill.cards import write_dataset_card, write_model_card
from teachback.store.label import FINDINGS

Campaign = tuple[dict[str, Any], Path]


def card_of(record: dict[str, Any], store: Path, name: str, folder: Path) -> tuple[dict[str, Any], str]:
    """Write a round's card; return its header and its text."""
    round_ = next(round_ for round_ in record["rounds"] if round_["name"] == name)
    folder.mkdir(exist_ok=True)
    with duckdb.connect(str(store), read_only=True) as connection:
        page = write_model_card(record, round_, connection, folder).read_text(encoding="utf-8")
    _, header, text = page.split("---\n", 2)
    return yaml.safe_load(header), text


def test_the_header_is_what_the_hub_asks_for_and_leaves_the_licence_open(campaign: Campaign, tmp_path: Path) -> None:
    record = copy.deepcopy(campaign[0])
    record["settings"]["student"] = "meta-llama/Llama-3.1-8B-Instruct"
    header, text = card_of(record, campaign[1], record["champion"], tmp_path / "adapter")
    assert header["base_model"] == "meta-llama/Llama-3.1-8B-Instruct"
    assert (header["library_name"], header["datasets"]) == ("peft", ["synthetic"])
    assert "license" not in header
    assert "Left to whoever publishes it" in text
    results = header["model-index"][0]["results"]
    assert [of["dataset"]["split"] for of in results] == ["test", "gate"]
    assert all("95 % interval" in metric["name"] for of in results for metric in of["metrics"])
    assert "vllm serve meta-llama/Llama-3.1-8B-Instruct --enable-lora --max-lora-rank 16" in text
    assert "--labelers rule,student:ADAPTER_FOLDER" in text


def test_the_card_is_one_that_the_hubs_own_reader_takes(campaign: Campaign, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    card_of(*campaign, campaign[0]["champion"], tmp_path / "adapter")
    card = hub.ModelCard.load(tmp_path / "adapter" / "README.md", ignore_metadata_errors=False)
    assert len(card.data.eval_results) == 8  # F1 twice, precision and recall, on two splits
    assert card.data.model_name == "tiny, round 2 feedback"


def test_figures_stand_beside_the_teachers_and_every_finding_is_there(campaign: Campaign, tmp_path: Path) -> None:
    _, text = card_of(*campaign, campaign[0]["champion"], tmp_path / "adapter")
    table = text.split("| on test |")[1].split("\n\n")[0]
    assert "| teacher |" in table
    assert "| **round 2 feedback** |" in table
    assert "round 2 control" not in table
    assert all(f"\n| {finding} |" in text for finding in FINDINGS)
    assert "| test | 0." in text.split("## Calibration")[1]
    assert "Not a medical device" in text


def test_a_stand_in_and_fictitious_reports_are_named_before_anything_is_promised(
    campaign: Campaign, tmp_path: Path
) -> None:
    header, text = card_of(*campaign, campaign[0]["champion"], tmp_path / "adapter")
    assert {"stand-in-teacher", "fictitious-reports"} <= set(header["tags"])
    assert text.index("was a stand-in") < text.index("reports are fictitious") < text.index("## Intended use")


def test_what_is_no_champion_says_which_one_is(campaign: Campaign, tmp_path: Path) -> None:
    record = copy.deepcopy(campaign[0])
    _, control = card_of(record, campaign[1], "round 2 control", tmp_path / "adapter")
    assert "It is a control arm" in control
    assert "The champion of its campaign is round 2 feedback" in control
    record["champion"] = "round 1"
    record["rounds"][2]["decision"]["promoted"] = False
    _, failed = card_of(record, campaign[1], "round 2 feedback", tmp_path / "adapter")
    assert "It did not pass the gate.** The champion of its campaign is round 1" in failed


def test_a_corpus_that_may_not_leave_is_a_warning_on_both_cards(campaign: Campaign, tmp_path: Path) -> None:
    store = Path(shutil.copy(campaign[1], tmp_path / "labels.duckdb"))
    with duckdb.connect(str(store)) as connection:
        connection.execute("UPDATE corpora SET egress = 'local-only'")
    _, text = card_of(campaign[0], store, campaign[0]["champion"], tmp_path / "adapter")
    with duckdb.connect(str(store), read_only=True) as connection:
        rows = write_dataset_card(campaign[0], connection, tmp_path / "dataset").read_text(encoding="utf-8")
    assert "Not to be published as it is.** synthetic may not leave" in text
    assert "Not to be published as it is.** synthetic may not leave" in rows


def test_training_rows_hold_reasons_and_no_text(campaign: Campaign, tmp_path: Path) -> None:
    with duckdb.connect(str(campaign[1]), read_only=True) as connection:
        write_dataset_card(campaign[0], connection, tmp_path / "dataset")
        stored = connection.execute(
            "SELECT count(*) FROM training_rows JOIN rounds USING (round_id) WHERE arm <> 'linear'"
        ).fetchone()
        texts = connection.execute("SELECT impression FROM reports WHERE length(impression) > 20").fetchall()
    rows = duckdb.sql(f"FROM '{tmp_path / 'dataset' / 'training_rows.parquet'}'")
    names, held = rows.columns, rows.fetchall()
    assert (len(held),) == stored
    assert all(row[names.index("reason")] for row in held)
    assert {row[names.index("selected")] for row in held} == {True, False}
    raw = str(held)
    assert not any(text in raw for (text,) in texts)
    header = (tmp_path / "dataset" / "README.md").read_text(encoding="utf-8").split("---\n")[1]
    assert yaml.safe_load(header)["configs"][0]["data_files"][0]["path"] == "training_rows.parquet"
