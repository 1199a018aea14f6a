"""Tables: the same rows from each format, bad rows named, bad files refused whole."""

import csv
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teachback.errors import InputError, SettingError
from teachback.store.corpora.imported import Corpus, Entry, Skipped
from teachback.store.corpora.intake import import_reports, reading_of
from teachback.store.corpora.table import TableColumns, read_table
from teachback.store.database import Store
from teachback.store.label import Label, Labeler
from teachback.store.report import Report

ROWS: list[dict[str, Any]] = [
    {
        "report_id": "a1",
        "subject_id": "p1",
        "findings": 'Small, "left"\neffusion.',
        "impression": "Effusion.",
        "Pleural Effusion": 1,
        "Edema": 0,
        "Pneumonia": -1,
        "Fracture": None,
        "diseases": [{"name": "pleural effusion", "icd10": "J90"}],
    },
    {"report_id": "a2", "subject_id": "p2", "findings": "Clear.", "impression": "", "Edema": 0, "diseases": []},
]


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    stream = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(stream, columns)
    writer.writeheader()
    for row in rows:
        cells = {k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()}
        writer.writerow({column: cells.get(column, "") for column in columns})
    return stream.getvalue().encode()


def as_jsonl(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return bytes(sink.getvalue())


def table(folder: Path, content: bytes, name: str = "t.csv") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def take(folder: Path, file: Path, **options: Any) -> Any:
    with Store(folder / "s.duckdb") as store:
        return import_reports(store, read_table(file, "c", **options))


def named(folder: Path) -> list[tuple[Any, ...]]:
    with Store(folder / "s.duckdb") as store:
        query = 'SELECT "row", split_part(reason, \':\', 1) FROM skipped_rows ORDER BY "row"'
        return store.connection.execute(query).fetchall()


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (as_csv, "t.csv"),
        (lambda rows: gzip.compress(as_csv(rows)), "t.csv.gz"),
        (lambda rows: as_csv(rows).replace(b"\r\n", b"\n").join([b"\xef\xbb\xbf", b""]), "bom.csv"),
        (as_jsonl, "t.jsonl"),
        (lambda rows: gzip.compress(as_jsonl(rows)), "t.jsonl.gz"),
        (as_parquet, "t.parquet"),
    ],
)
def test_each_format_holds_the_same_reports(
    tmp_path: Path, write: Callable[[list[dict[str, Any]]], bytes], name: str
) -> None:
    reading = read_table(table(tmp_path, write(ROWS), name), "c", labels_from="human")
    first, second = (entry for entry in reading.entries if isinstance(entry, Entry))
    assert first.report.sections == {"findings": 'Small, "left"\neffusion.', "impression": "Effusion."}
    assert (first.report.report_id, first.report.subject_id, first.report.corpus) == ("a1", "p1", "c")
    assert second.report.sections == {"findings": "Clear."}
    said = {label.target: (label.task, label.status, label.icd10) for label in first.labels}
    assert said == {
        "Pleural Effusion": ("findings", "present", None),
        "Edema": ("findings", "absent", None),
        "Pneumonia": ("findings", "uncertain", None),
        "Fracture": ("findings", "unmentioned", None),
        "pleural effusion": ("diseases", "present", "J90"),
    }
    assert reading.total == 2
    assert [labeler.name for labeler in reading.labelers] == ["c-curated"]
    assert {label.labeler_id for label in first.labels} == {reading.labelers[0].labeler_id}


def test_other_columns_are_given_by_name(tmp_path: Path) -> None:
    file = table(tmp_path, b"accession,mrn,body\n17,4,Lungs clear.\n")
    columns = TableColumns(report_id="accession", subject_id="mrn", text="body")
    [entry] = read_table(file, "c", columns=columns).entries
    assert isinstance(entry, Entry)
    assert entry.report == Report("17", "c", {"text": "Lungs clear."}, "4")
    with pytest.raises(SettingError, match="no column text_body"):
        read_table(file, "c", columns=TableColumns(report_id="accession", text="text_body"))


def test_bad_rows_are_named_and_the_rest_goes_in(tmp_path: Path) -> None:
    rows = [
        b"report_id,findings,Edema",  # row 1
        b"r2,Lungs clear.,1",
        b"r3,,1",
        b"r2,Again.,1",
        b"r5,caf\xe9 au lait,0",
        b"r6,Clear.,0.5",
        b"r7,Clear.",
        b"r8," + b"x" * 5_000_000 + b",",
        b"r9,NUL \0 inside,",
        b',"No id",',
        b'r11,"mis"placed quote,1',
        b"r12,Clear.,yes",
        b"",  # a blank line is no row
        b"r13,Clear too.,-1",
    ]
    summary = take(tmp_path, table(tmp_path, b"\n".join(rows) + b"\n"), labels_from="human")
    assert named(tmp_path) == [
        (3, "no text"),
        (4, "id twice in this import"),
        (5, "not UTF-8"),
        (6, "unknown status or disease"),
        (7, "wrong number of cells"),
        (8, "longer than 200,000 characters"),
        (9, "NUL characters"),
        (10, "no report id"),
        (11, "not readable as CSV"),
        (12, "unknown status or disease"),
    ]
    assert (summary.read, summary.added, summary.skipped.total()) == (12, 2, 10)
    assert summary.labels_added == 2  # only the one finding column there is
    assert summary.first_skipped[3].why == "unknown status or disease: Edema is '0.5', not 1, 0, -1 or blank"


def test_bad_lines_of_jsonl_are_named(tmp_path: Path) -> None:
    lines = [
        b'{"report_id": 1, "text": "Clear."}',
        b"{broken",
        b"[1, 2]",
        b'{"report_id": 4, "text": "Clear.", "diseases": [{"icd10": "J90"}]}',
        b'{"report_id": 5, "text": null}',
        b'{"report_id": 6, "text": "Clear.", "diseases": [{"name": "oedema", "status": "maybe"}]}',
    ]
    summary = take(tmp_path, table(tmp_path, b"\n".join(lines), "t.jsonl"), labels_from="reader 1")
    assert (summary.read, summary.added) == (6, 1)
    assert named(tmp_path) == [
        (2, "not JSON"),
        (3, "not a JSON object"),
        (4, "unknown status or disease"),
        (5, "no text"),
        (6, "unknown status or disease"),
    ]


def refused() -> list[tuple[str, bytes]]:
    whole = gzip.compress(as_csv(ROWS * 50))
    return [
        ("no_id.csv", b"id,findings\n1,Clear.\n"),
        ("no_text.csv", b"report_id,note\n1,Clear.\n"),
        ("empty.csv", b""),
        ("header.csv", b"report_id,findings\n"),
        ("twice.csv", b"report_id,findings,findings\n1,a,b\n"),
        ("open.csv", b'report_id,findings\n1,Clear.\n2,"never closed\n3,Clear.\n'),
        ("binary.csv", bytes(range(256)) * 40),
        ("cut.csv.gz", whole[:-20]),
        ("not.csv.gz", b"report_id,findings\n1,Clear.\n"),
        ("flipped.csv.gz", whole[:60] + bytes([whole[60] ^ 255]) + whole[61:]),
        ("not.parquet", b"PAR1 but not really"),
        ("cut.parquet", as_parquet(ROWS)[:-30]),
        ("not.jsonl", b"report_id,findings\n1,Clear.\n"),
        ("no_id.jsonl", b'{"id": 1, "text": "Clear."}\n'),
        ("t.xlsx", b"PK\x03\x04"),
        ("all_bad.csv", b"report_id,findings\n1,\n2,\n"),
    ]


@pytest.mark.parametrize(("name", "content"), refused(), ids=[name for name, _ in refused()])
def test_a_file_that_is_not_what_it_claims_writes_nothing(tmp_path: Path, name: str, content: bytes) -> None:
    file = table(tmp_path, content, name)
    with Store(tmp_path / "s.duckdb") as store:
        with pytest.raises(InputError, match=name.split(".")[0]):
            import_reports(store, read_table(file, "c"))
        for written in ("corpora", "reports", "labelers", "labels", "runs", "run_ends", "skipped_rows", "splits"):
            assert store.connection.execute(f"SELECT count(*) FROM {written}").fetchall() == [(0,)]


@settings(max_examples=60)
@given(content=st.binary(max_size=300), form=st.sampled_from(["csv", "jsonl", "parquet", "csv.gz"]))
def test_any_bytes_are_refused_or_named(tmp_path_factory: pytest.TempPathFactory, content: bytes, form: str) -> None:
    file = table(tmp_path_factory.mktemp("any"), content, f"t.{form}")
    try:
        for entry in read_table(file, "c", labels_from=None).entries:
            assert isinstance(entry, Entry | Skipped)
    except InputError as error:
        assert str(file) in str(error)  # noqa: PT017 - anything else is a failure


def test_importing_again_adds_nothing_and_a_grown_file_only_what_is_new(tmp_path: Path) -> None:
    first = take(tmp_path, table(tmp_path, as_jsonl(ROWS), "t.jsonl"), labels_from="human")
    again = take(tmp_path, table(tmp_path, as_jsonl(ROWS), "t.jsonl"), labels_from="human")
    more = [*ROWS, {"report_id": "a3", "text": "New.", "Edema": 1}, {"report_id": "a1", "text": "Changed.", "Edema": 1}]
    grown = take(tmp_path, table(tmp_path, as_jsonl(more), "t.jsonl"), labels_from="human")
    assert (first.added, first.labels_added) == (2, 4 + 1 + 1)
    assert (again.added, again.already_there, again.labels_added) == (0, 2, 0)
    assert (grown.added, grown.already_there, grown.labels_added) == (1, 2, 1)
    assert grown.first_skipped[0].why == "id twice in this import: a1"
    with pytest.raises(InputError, match=r"u\.jsonl, row 1: id already in the store with other text: a1"):
        take(tmp_path, table(tmp_path, as_jsonl(more[3:]), "u.jsonl"))


def test_skipped_rows_are_recorded_once(tmp_path: Path) -> None:
    file = table(tmp_path, b"report_id,findings\n1,Clear.\n2,\n")
    for _ in range(2):
        take(tmp_path, file)
    assert named(tmp_path) == [(3, "no text")]


def test_label_columns_are_left_aside_unless_asked_for(tmp_path: Path) -> None:
    summary = take(tmp_path, table(tmp_path, as_csv(ROWS)))
    assert summary.labels_added == 0
    assert summary.notes[:1] == ["5 label columns left aside: --curated or --labels-from NAME takes them"]
    with pytest.raises(SettingError, match="no label columns"):
        read_table(table(tmp_path, b"report_id,text\n1,a\n"), "c", labels_from="human")


def test_labels_that_come_after_the_split_are_pointed_out(tmp_path: Path) -> None:
    file = table(tmp_path, as_csv(ROWS))
    take(tmp_path, file)
    late = take(tmp_path, file, labels_from="human")
    assert late.splits["train"] == 2
    assert late.notes[0].startswith("2 reports got their first curated labels after they had gone to split train")


def test_a_corpus_keeps_its_egress_policy(tmp_path: Path) -> None:
    take(tmp_path, table(tmp_path, as_csv(ROWS)))
    with pytest.raises(SettingError, match="under egress policy local-only"):
        take(tmp_path, table(tmp_path, as_csv(ROWS)), egress="any")
    with pytest.raises(SettingError, match="egress policy public"):
        take(tmp_path, table(tmp_path, as_csv(ROWS)), egress="public")


def test_a_program_hands_over_its_own_reports(tmp_path: Path) -> None:
    truth = Labeler("human", "synthetic-truth", "1")
    reports = [Report(f"s{i}", "made", {"text": f"Report {'abcdefghij'[i]} is clear."}) for i in range(10)]
    pairs = [(r, [Label(r.report_id, "findings", "Edema", "absent", truth.labeler_id, "full")]) for r in reports]
    corpus = Corpus("made", None, "any", "seed 1")
    seen: list[int] = []
    with Store(tmp_path / "s.duckdb") as store:
        summary = import_reports(store, reading_of(pairs, corpus, [truth]), batch_size=4, on_progress=seen.append)
        runs = store.connection.execute("SELECT command, status FROM runs JOIN run_ends USING (run_id)").fetchall()
    assert (summary.added, summary.labels_added, seen) == (10, 10, [4, 8, 10])
    assert runs == [("import", "finished")]


def test_a_killed_import_goes_on(tmp_path: Path) -> None:
    rows = [{"report_id": f"r{i}", "text": f"Report {i} " + "word " * 40, "Edema": i % 2} for i in range(6000)]
    file = table(tmp_path, as_jsonl(rows), "t.jsonl")
    script = (
        "import sys; from teachback.store.database import Store; from teachback.store.corpora.table import read_table\n"
        "from teachback.store.corpora.intake import import_reports\n"
        "def advance(n): print(n, flush=True)\n"
        "import_reports(Store(sys.argv[1]), read_table(sys.argv[2], 'c', labels_from='human'), batch_size=200,"
        " on_progress=advance)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "s.duckdb"), str(file)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child:
        while (line := child.stdout.readline()) and int(line) < 600:
            pass
        os.kill(child.pid, signal.SIGKILL)
    time.sleep(0.05)
    summary = take(tmp_path, file, labels_from="human")
    assert summary.already_there >= 600
    assert summary.added + summary.already_there == 6000
    with Store(tmp_path / "s.duckdb") as store:
        counts = store.connection.execute(
            "SELECT (SELECT count(*) FROM reports), (SELECT count(DISTINCT report_id) FROM reports), "
            "(SELECT count(*) FROM labels), (SELECT count(DISTINCT label_id) FROM labels), "
            "(SELECT count(*) FROM splits)"
        ).fetchall()
    assert counts == [(6000, 6000, 6000, 6000, 6000)]
