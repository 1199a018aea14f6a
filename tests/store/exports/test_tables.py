import csv
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from tests.store.exports.sample import MOMENT, ODD, REPORTS

from teachback.errors import SettingError
from teachback.store.database import Store
from teachback.store.exports.chosen import Choice, Chosen
from teachback.store.exports.tables import write_chexpert, write_labels_csv, write_parquet
from teachback.store.label import CHEXPERT_OBSERVATIONS, derive_no_finding
from teachback.store.review.curated_table import read_curated_table
from teachback.store.review.incoming import take

STATUS_OF = {1.0: "present", 0.0: "absent", -1.0: "uncertain"}


def silent(share: float) -> None:
    assert 0 <= share <= 1


def test_parquet_keeps_every_column_of_every_label(
    snapshot: duckdb.DuckDBPyConnection, by_rules: Chosen, tmp_path: Path
) -> None:
    exported = write_parquet(by_rules, tmp_path / "out", silent)
    assert exported.files["labels.parquet"] == 13 * (REPORTS + 1)
    differing = snapshot.execute(
        "SELECT count(*) FROM (SELECT * FROM labels JOIN labelers b USING (labeler_id) WHERE b.name = 'rule') l "
        f"ANTI JOIN '{tmp_path}/out/labels.parquet' p USING (label_id, evidence, status, created_at, scope)"
    ).fetchall()
    assert differing == [(0,)]
    frame = pd.read_parquet(tmp_path / "out" / "reports.parquet")
    assert frame.set_index("report_id").loc[ODD.report_id, "findings"] == ODD.sections["findings"]


def test_one_parquet_file_has_the_labelers_names(snapshot: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    write_parquet(Chosen(snapshot, Choice("all")), tmp_path / "all.parquet", silent)
    frame = pd.read_parquet(tmp_path / "all.parquet")
    assert set(frame["labeler"]) == {"rule", "synthetic-truth", "ann@x.org"}
    assert len(frame) == snapshot.execute("SELECT count(*) FROM labels").fetchall()[0][0]


def test_chexpert_has_its_columns_and_no_finding_is_derived(by_rules: Chosen, tmp_path: Path) -> None:
    exported = write_chexpert(by_rules, tmp_path / "out.csv", silent)
    frame = pd.read_csv(tmp_path / "out.csv", dtype={"report_id": str})
    assert tuple(frame.columns[3:]) == CHEXPERT_OBSERVATIONS
    assert exported.reports == len(frame) == REPORTS + 1
    assert not exported.notes
    for row in frame.to_dict("records"):
        statuses = {name: STATUS_OF.get(row[name], "unmentioned") for name in CHEXPERT_OBSERVATIONS[1:]}
        wanted = derive_no_finding(statuses) == "present"  # type: ignore[arg-type]
        assert (row["No Finding"] == 1.0) is wanted
    assert ODD.report_id in set(frame["report_id"])


def test_no_finding_is_blank_where_not_all_is_labelled(curated: Chosen, tmp_path: Path) -> None:
    # Of the odd report only one finding is curated: what the other twelve are, nobody said.
    exported = write_chexpert(curated, tmp_path / "out.csv", silent)
    frame = pd.read_csv(tmp_path / "out.csv").set_index("report_id")
    assert frame.loc[ODD.report_id, "Pneumothorax"] == 1.0
    assert pd.isna(frame.loc[ODD.report_id, "No Finding"])
    assert exported.notes == ["No Finding is blank in 1 rows: not all findings are labelled there"]


@pytest.mark.parametrize(("choice", "said"), [(Choice("all"), "one label"), (Choice(task="diseases"), "no diseases")])
def test_chexpert_refuses_what_it_cannot_hold(
    snapshot: duckdb.DuckDBPyConnection, tmp_path: Path, choice: Choice, said: str
) -> None:
    with pytest.raises(SettingError, match=said):
        write_chexpert(Chosen(snapshot, choice), tmp_path / "out.csv", silent)


def test_a_csv_of_curated_labels_comes_back_as_the_same_labels(
    snapshot: duckdb.DuckDBPyConnection, labelled: Path, curated: Chosen, tmp_path: Path
) -> None:
    write_labels_csv(curated, tmp_path / "out.csv", silent)
    with Store(tmp_path / "new.duckdb") as store:
        store.connection.execute(f"ATTACH '{labelled.with_name('labels.snapshot.duckdb')}' AS old (READ_ONLY)")
        for table in ("reports", "splits", "corpora"):
            store.connection.execute(f"INSERT INTO {table} FROM old.{table}")
        first = take(store, read_curated_table(tmp_path / "out.csv"))
        again = take(store, read_curated_table(tmp_path / "out.csv"))
        columns = "report_id, task, target, status, icd10"
        found = store.connection.execute(f"SELECT {columns} FROM curated_labels ORDER BY ALL").fetchall()
        moment = store.connection.execute(
            "SELECT epoch_us(decided_at), note FROM reviews WHERE reviewer = 'ann@x.org' AND task = 'findings'"
        ).fetchall()
    assert found == snapshot.execute(f"SELECT {columns} FROM curated_labels ORDER BY ALL").fetchall()
    assert first.decisions == first.labels == len(found)
    assert (again.decisions, again.labels) == (0, 0)
    assert moment == [(int(MOMENT.timestamp() * 1_000_000), 'a "note", two\nlines')]


def test_a_programs_labels_do_not_come_back_as_a_persons(by_rules: Chosen, tmp_path: Path) -> None:
    write_labels_csv(by_rules, tmp_path / "out.csv", silent)
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["reviewer"] for row in rows} == {""}
    assert {row["labeler"] for row in rows} == {"rule"}


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (Choice("nobody"), "no labeler is named 'nobody'"),
        (Choice("teacher"), "no teacher has labelled"),
        (Choice(splits=("gate'; DROP TABLE labels; --",)), "no report has a label"),
        (Choice(corpora=("elsewhere",)), "no report has a label"),
    ],
)
def test_what_nothing_fits_is_said(snapshot: duckdb.DuckDBPyConnection, choice: Choice, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        Chosen(snapshot, choice)
