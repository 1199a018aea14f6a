import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.store.exports.sample import ODD, REPORTS
from tests.store.exports.test_tables import silent

from teachback.errors import SettingError
from teachback.store.exports.chosen import Choice, Chosen
from teachback.store.exports.hf_dataset import write_hf_dataset
from teachback.store.exports.sft import write_sft
from teachback.store.exports.written import replacing
from teachback.store.label import FINDINGS, STATUSES


def read_hub_style(*args: Any, tmp_path: Path, **options: Any) -> Any:
    os.environ["HF_HUB_OFFLINE"] = "1"
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    return datasets.load_dataset(*args, cache_dir=str(tmp_path / "cache"), **options)


def test_datasets_loads_the_folder_with_its_splits_and_features(by_rules: Chosen, tmp_path: Path) -> None:
    exported = write_hf_dataset(by_rules, tmp_path / "folder", silent)
    loaded = read_hub_style(str(tmp_path / "folder"), tmp_path=tmp_path)
    assert sum(exported.files.values()) == exported.reports == REPORTS + 1
    assert {split: len(rows) for split, rows in loaded.items()} == {
        name.split("/")[1].split("-")[0]: count for name, count in exported.files.items()
    }
    rows = [row for split in loaded.values() for row in split]
    features = next(iter(loaded.values())).features
    assert all(features[finding].names == list(STATUSES) for finding in FINDINGS)
    odd = next(row for row in rows if row["report_id"] == ODD.report_id)
    assert (odd["findings"], odd["impression"]) == (ODD.sections["findings"], ODD.sections["impression"])
    assert STATUSES[odd["Pneumothorax"]] == "present"
    assert odd["labelers"] == ["rule"]


def test_the_card_names_restricted_corpora_and_is_yaml(by_rules: Chosen, tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    write_hf_dataset(by_rules, tmp_path / "folder", silent)
    card = (tmp_path / "folder" / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert [entry["split"] for entry in front["configs"][0]["data_files"]]
    assert "Not to be published as it is.** The text of odd" in card
    assert "labels are weak" in card


def test_findings_that_nobody_labelled_are_null(curated: Chosen, tmp_path: Path) -> None:
    write_hf_dataset(curated, tmp_path / "folder", silent)
    loaded = read_hub_style(str(tmp_path / "folder"), tmp_path=tmp_path)
    odd = next(row for split in loaded.values() for row in split if row["report_id"] == ODD.report_id)
    assert odd["Edema"] is None
    assert odd["diseases"] == [{"name": "pneumothorax", "icd10": "J93.9", "status": "present"}]


def test_chat_rows_are_what_a_trainer_reads(by_rules: Chosen, tmp_path: Path) -> None:
    exported = write_sft(by_rules, tmp_path / "rows.jsonl", silent)
    rows = list(read_hub_style("json", data_files=str(tmp_path / "rows.jsonl"), tmp_path=tmp_path)["train"])
    assert len(rows) == exported.reports == REPORTS + 1
    for row in rows:
        assert [message["role"] for message in row["prompt"]] == ["system", "user"]
        answer = json.loads(row["completion"][0]["content"])
        assert list(answer) == ["findings"]  # rules name no diseases, and an empty list would say that there are none
        assert list(answer["findings"]) == list(FINDINGS)
    odd = next(row for row in rows if row["report_id"] == ODD.report_id)
    assert "then:" in odd["prompt"][1]["content"]
    assert odd["prompt"][1]["content"].count("</report>") == 1


def test_reports_that_are_labelled_in_part_make_no_chat_row(curated: Chosen, tmp_path: Path) -> None:
    exported = write_sft(curated, tmp_path / "rows.jsonl", silent)
    assert exported.left_out == {"not all 13 findings are labelled": 1}
    assert exported.reports == REPORTS


def test_several_labelers_are_refused(snapshot: Any, tmp_path: Path) -> None:
    everybody = Chosen(snapshot, Choice("all"))
    with pytest.raises(SettingError, match="--labels"):
        write_sft(everybody, tmp_path / "rows.jsonl", silent)
    with pytest.raises(SettingError, match="--labels"):
        write_hf_dataset(everybody, tmp_path / "folder", silent)


def test_what_breaks_leaves_what_was_there(tmp_path: Path) -> None:
    kept = tmp_path / "kept.csv"
    kept.write_text("before")

    def break_off() -> None:
        with replacing(kept, force=True) as path:
            path.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept.csv"]
    assert kept.read_text() == "before"
    with pytest.raises(SettingError, match="--force"), replacing(kept, force=False):
        pass
