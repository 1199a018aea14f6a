"""What is known of patients and origins comes in beside their reports."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from teachback.errors import InputError, SettingError
from teachback.store.corpora.intake import import_reports
from teachback.store.corpora.slices import take_slices
from teachback.store.corpora.table import TableColumns, read_table
from teachback.store.database import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Two reports of patient p1, one of p2, one of nobody known."""
    table = tmp_path / "reports.csv"
    table.write_text("report_id,subject_id,text\na,p1,Clear.\nb,p1,Clear lungs.\nc,p2,Edema.\nd,,Normal.\n")
    with Store(tmp_path / "labels.duckdb") as opened:
        import_reports(opened, read_table(table, "one"))
        yield opened


def slices(store: Store) -> set[tuple[str, str, str]]:
    return set(store.connection.execute('SELECT report_id, slice, "value" FROM slices').fetchall())


def test_a_patients_row_is_of_all_its_reports(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "patients.csv.gz"
    file.write_bytes(gzip.compress(b"subject_id,gender,anchor_age,dod\np1,F,52,\np2,M,60,\np9,F,33,\n"))
    taken = take_slices(store, file, ["gender=sex", "anchor_age=age"])
    assert slices(store) == {
        *(("a", "sex", "F"), ("b", "sex", "F"), ("c", "sex", "M")),
        *(("a", "age", "52"), ("b", "age", "52"), ("c", "age", "60")),
    }
    assert (taken.read, taken.reports, dict(taken.slices)) == (3, 3, {"sex": 3, "age": 3})
    assert [(s.row, s.reason, s.detail) for s in taken.first_skipped] == [
        (4, "no report of this subject_id in the store", "p9")
    ]
    again = take_slices(store, file, ["gender=sex", "anchor_age=age"])
    assert (again.reports, dict(again.slices)) == (3, {})


def test_a_slice_is_told_once(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "sites.jsonl"
    file.write_text(
        '{"report_id": "a", "site": "north", "year": 2019}\n{"report_id": "d", "site": "", "year": 2020.0}\n'
    )
    take_slices(store, file)
    file.write_text('{"report_id": "a", "site": "south", "year": 2019}\n')
    take_slices(store, file)
    assert slices(store) == {("a", "site", "north"), ("a", "year", "2019"), ("d", "year", "2020")}


def test_what_is_missing_is_named(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("patient,sex\np1,F\n")
    with pytest.raises(InputError, match="neither report_id nor subject_id; it has: patient, sex"):
        take_slices(store, file)
    file.write_text("subject_id,gender\np1,F\n")
    with pytest.raises(SettingError, match="none of sex, age, site, year; it has: subject_id, gender"):
        take_slices(store, file)
    with pytest.raises(SettingError, match="no column site"):
        take_slices(store, file, ["site"])
    file.write_text("subject_id,sex\nq7,F\n")
    with pytest.raises(InputError, match="no row is about a report"):
        take_slices(store, file)
    assert slices(store) == set()


def test_a_table_of_reports_brings_its_own(tmp_path: Path) -> None:
    table = tmp_path / "reports.csv"
    table.write_text("report_id,text,sex,ward\na,Clear.,F,ICU\nb,Edema.,,ICU\n")
    with Store(tmp_path / "labels.duckdb") as store:
        summary = import_reports(store, read_table(table, "one", columns=TableColumns(slices=("sex", "ward"))))
        assert slices(store) == {("a", "sex", "F"), ("a", "ward", "ICU"), ("b", "ward", "ICU")}
        assert "slices for `teachback evaluate --by`: sex, ward" in summary.notes
        with pytest.raises(SettingError, match="no column clinic"):
            read_table(table, "one", columns=TableColumns(slices=("clinic",)))
