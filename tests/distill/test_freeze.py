from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen, freeze
from teachback.errors import StoreError
from teachback.store.database import Store
from teachback.store.label import Label, Labeler
from teachback.store.rows import label_row, labeler_row

Settle = Callable[..., CampaignSettings]
REVIEWER = Labeler("human", "reviewer", "1", parameters={"train": True})


def frozen(path: Path, settings: CampaignSettings) -> Frozen:
    with Store(path) as store:
        return freeze(store.connection, settings)


def count(path: Path, query: str) -> int:
    with Store(path) as store:
        row = store.connection.execute(query).fetchone()
        assert row is not None
        return int(row[0])


def test_training_reads_train_alone_and_judges_stay_apart(store_path: Path, settle: Settle) -> None:
    inputs = frozen(store_path, settle())
    with Store(store_path) as store:
        split_of = dict(store.connection.execute("SELECT report_id, split FROM splits").fetchall())
    for split, reports in inputs.reports.items():
        assert {split_of[report.report_id] for report in reports} == {"train" if split == "pool" else split}
    taught = {label.report_id for label in inputs.taught}
    assert taught == {report.report_id for report in inputs.reports["train"]} == set(inputs.listed) & taught
    assert not taught & {report.report_id for report in inputs.reports["pool"]}
    assert len(taught) == 40
    assert len(taught) + len(inputs.reports["pool"]) == sum(split == "train" for split in split_of.values())


def test_the_truth_that_came_with_a_corpus_is_not_trained_on_but_reviews_are(store_path: Path, settle: Settle) -> None:
    before = frozen(store_path, settle())
    assert before.curated == ()
    report_id = before.taught[0].report_id
    label = Label(report_id, "findings", "Edema", "absent", REVIEWER.labeler_id, "full")
    with Store(store_path) as store:
        store.write({"labelers": [labeler_row(REVIEWER)], "labels": [label_row(label)]})
    after = frozen(store_path, settle())
    assert [(c.report_id, c.target, c.status, c.decided_by) for c in after.curated] == [
        (report_id, "Edema", "absent", "curated")
    ]
    assert after.campaign_id != before.campaign_id


def test_the_same_inputs_have_the_same_name(store_path: Path, settle: Settle) -> None:
    assert frozen(store_path, settle()).campaign_id == frozen(store_path, settle()).campaign_id


@pytest.mark.parametrize("given", [{"seed": 1}, {"rounds": 3}, {"train": {"epochs": 0.3}}, {"prompt": "default"}])
def test_other_settings_are_another_campaign(store_path: Path, settle: Settle, given: dict[str, Any]) -> None:
    assert frozen(store_path, settle(**given)).campaign_id != frozen(store_path, settle()).campaign_id


def test_another_base_of_the_same_name_is_another_campaign(store_path: Path, settle: Settle, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "model.safetensors").write_bytes(b"weights")
    one = frozen(store_path, settle(student=str(base)))
    (base / "model.safetensors").write_bytes(b"other weights")
    assert frozen(store_path, settle(student=str(base))).campaign_id != one.campaign_id


def test_tasks_and_corpus_choose_the_labels(store_path: Path, settle: Settle) -> None:
    assert {label.task for label in frozen(store_path, settle()).taught} == {"findings", "diseases"}
    assert {label.task for label in frozen(store_path, settle(tasks=["findings"])).taught} == {"findings"}
    with pytest.raises(StoreError, match="labelled no training report"):
        frozen(store_path, settle(corpus="elsewhere"))


def test_a_store_without_labels_says_what_to_run(store_path: Path, settle: Settle) -> None:
    with Store(store_path) as store:
        store.connection.execute("DELETE FROM committed")
    with pytest.raises(StoreError, match="nothing has been labelled yet") as caught:
        frozen(store_path, settle())
    assert "teachback label" in caught.value.remedy


@pytest.mark.parametrize("split", ["calibration", "gate", "test"])
def test_a_split_without_curated_labels_is_named(store_path: Path, settle: Settle, split: str) -> None:
    with Store(store_path) as store:
        store.connection.execute(
            f"""DELETE FROM labels WHERE report_id IN (SELECT report_id FROM splits WHERE split = '{split}')
            AND labeler_id IN (SELECT labeler_id FROM labelers WHERE kind = 'human')"""
        )
    with pytest.raises(StoreError, match=f"the split '{split}' has no report with curated labels"):
        frozen(store_path, settle())


def test_the_teacher_that_asked_a_model_is_preferred(store_path: Path, settle: Settle) -> None:
    with Store(store_path) as store:
        reports = [row[0] for row in store.connection.execute("SELECT report_id FROM reports").fetchall()]
        store.write(
            {
                "teachers": [{"teacher_id": "rules-alone"}],
                "teacher_members": [{"teacher_id": "rules-alone", "labeler_id": "rule", "seat": "labeler", "place": 0}],
                "committed": [{"report_id": r, "teacher_id": "rules-alone", "run_id": "run"} for r in reports],
            }
        )
    assert frozen(store_path, settle()).teacher_id != "rules-alone"
    assert count(store_path, "SELECT count(DISTINCT teacher_id) FROM committed") == 2
