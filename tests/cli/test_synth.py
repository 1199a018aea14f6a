"""`teachback synth` writes the reports it says it does, whole or not at all."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from teachback.cli import app
from teachback.errors import SettingError
from teachback.store.corpora.synthetic import generate
from teachback.store.corpora.synthetic.table import COLUMNS
from teachback.store.corpora.table import read_table
from teachback.store.label import FINDINGS, from_chexpert


def synth(*arguments: str) -> str:
    ended = CliRunner().invoke(app, ["synth", *arguments], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.output


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return list(pq.read_table(path).to_pylist())
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return [{name: cell or None for name, cell in row.items()} for row in csv.DictReader(file)]
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_the_table_holds_the_reports_and_their_truth(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"reports{suffix}"
    synth(str(out), "--n", "60", "--seed", "4", "--start", "5")
    rows = read(out)
    reports = list(generate(60, 4, start=5))
    assert [row["report_id"] for row in rows] == [report.report.report_id for report in reports]
    for row, report in zip(rows, reports, strict=True):
        assert tuple(row) == COLUMNS
        assert row["text"] == report.text
        assert row["subject_id"] == report.report.subject_id
        for section in ("indication", "comparison", "findings", "impression"):
            assert row[section] == report.report.sections.get(section)
        for finding in FINDINGS:
            cell = row[finding]
            assert from_chexpert(None if cell is None else float(cell)) == report.statuses[finding]
        assert [(d["name"], d["icd10"]) for d in json.loads(row["diseases"])] == [
            (d.name, d.icd10) for d in report.diseases
        ]


def test_parquet_is_written_in_groups(tmp_path: Path) -> None:
    out = tmp_path / "reports.parquet"
    synth(str(out), "--n", "5100")
    file = pq.ParquetFile(out)
    assert (file.num_row_groups, file.metadata.num_rows) == (2, 5100)


def test_the_import_reads_what_synth_writes(tmp_path: Path) -> None:
    out = tmp_path / "reports.jsonl"
    synth(str(out), "--n", "20")
    reading = read_table(out, "synthetic", egress="any", labels_from="human")
    assert reading.total == 20


def test_totals_as_json_and_as_a_table(tmp_path: Path) -> None:
    totals = json.loads(synth(str(tmp_path / "a.jsonl"), "--n", "200", "--json"))
    assert totals["reports"] == 200
    assert all(sum(counts.values()) == 200 for counts in totals["statuses"].values())
    shown = synth(str(tmp_path / "b.jsonl"), "--n", "200")
    assert all(finding in shown for finding in FINDINGS)
    assert "200 reports" in " ".join(shown.split())


def test_prevalence_is_read_from_the_option(tmp_path: Path) -> None:
    asked = "Pneumothorax=0.8, Pleural Other=0.5"
    totals = json.loads(synth(str(tmp_path / "a.jsonl"), "--n", "300", "--prevalence", asked, "--json"))
    assert totals["statuses"]["Pneumothorax"]["present"] > 200  # 240 expected, standard error about 9
    assert totals["statuses"]["Pleural Other"]["present"] > 100  # 150 expected, standard error about 11


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["a.txt"], "a.txt"),
        (["nowhere/a.csv"], "nowhere"),
        (["a.csv", "--prevalence", "Pneumothorax"], "Pneumothorax"),
        (["a.csv", "--prevalence", "Cough=0.1"], "Cough"),
        (["a.csv", "--prevalence", "Edema=2"], "Edema"),
    ],
)
def test_a_wrong_setting_is_named_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match=named):
        synth(*arguments)
    assert not list(tmp_path.iterdir())


def test_a_file_is_not_replaced_without_force(tmp_path: Path) -> None:
    out = tmp_path / "reports.csv"
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(SettingError, match="already there"):
        synth(str(out), "--n", "3")
    assert out.read_text(encoding="utf-8") == "mine"
    synth(str(out), "--n", "3", "--force")
    assert len(read(out)) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["reports.csv"]
