"""Open-i, from files written in its format; the marked tests read the collection itself."""

import csv
import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from teachback.errors import InputError
from teachback.store.corpora.imported import Entry, Skipped
from teachback.store.corpora.intake import import_reports
from teachback.store.corpora.openi import OPENI_LABELER, read_openi
from teachback.store.corpora.openi_mesh import FINDING_CODES, codes_to_findings
from teachback.store.database import Store
from teachback.store.label import FINDINGS

TEMPLATE = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><uId id="{uid}"/><MedlineCitation><Article><Abstract>
<AbstractText Label="COMPARISON">None.</AbstractText>
<AbstractText Label="INDICATION"/>
<AbstractText Label="FINDINGS">{findings}</AbstractText>
<AbstractText Label="IMPRESSION">{impression}</AbstractText>
</Abstract></Article></MedlineCitation>
<MeSH>{majors}<automatic>ignored</automatic></MeSH></eCitation>"""


def xml(uid: str, findings: str = "Heart is XXXX large.", impression: str = "Cardiomegaly.", codes: str = "") -> bytes:
    majors = "".join(f"<major>{code}</major>" for code in codes.split(";") if code)
    return TEMPLATE.format(uid=uid, findings=findings, impression=impression, majors=majors).encode()


def archive(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def entries(path: Path) -> dict[str, Entry]:
    return {entry.report.report_id: entry for entry in read_openi(path).entries if isinstance(entry, Entry)}


def skipped(path: Path) -> list[Skipped]:
    return [entry for entry in read_openi(path).entries if isinstance(entry, Skipped)]


def test_codes_become_curated_positives(tmp_path: Path) -> None:
    codes = "Cardiomegaly/mild;Fractures, Bone/ribs/left;Thickening/pleura/apex"
    path = archive(tmp_path / "o.tgz", {"ecgen/1.xml": xml("CXR1", codes=codes)})
    entry = entries(path)["CXR1"]
    statuses = {label.target: label.status for label in entry.labels}
    assert list(statuses) == list(FINDINGS)
    assert {t for t, s in statuses.items() if s == "present"} == {"Cardiomegaly", "Fracture", "Pleural Other"}
    assert set(statuses.values()) == {"present", "unmentioned"}
    assert {label.confidence for label in entry.labels} == {None}
    assert entry.labels[0].confidence_note == "positives only: not coded"
    assert entry.report.sections["findings"] == "Heart is XXXX large."
    assert "indication" not in entry.report.sections


def test_an_unindexed_report_has_no_labels(tmp_path: Path) -> None:
    path = archive(tmp_path / "o.tgz", {"1.xml": xml("CXR1", codes="No Indexing"), "2.xml": xml("CXR2")})
    assert {uid: entry.labels for uid, entry in entries(path).items()} == {"CXR1": (), "CXR2": ()}


def test_a_normal_report_is_coded_without_findings() -> None:
    assert codes_to_findings(["normal"]) == frozenset()
    assert codes_to_findings(["No Indexing"]) is None
    assert codes_to_findings([]) is None


def test_the_mapping_names_the_13_findings() -> None:
    assert tuple(FINDING_CODES) == FINDINGS


def test_a_folder_an_archive_and_a_csv_say_the_same(tmp_path: Path) -> None:
    codes = "Opacity/lung/base;Calcinosis"
    folder = tmp_path / "xml"
    folder.mkdir()
    (folder / "7.xml").write_bytes(xml("CXR7", codes=codes))
    kaggle = tmp_path / "kaggle"
    kaggle.mkdir()
    with (kaggle / "indiana_reports.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["uid", "MeSH", "Problems", "image", "indication", "comparison", "findings", "impression"])
        writer.writerow([7, codes, "Opacity", "PA", "", "None.", "Heart is XXXX large.", "Cardiomegaly."])
    packed = archive(tmp_path / "o.tgz", {"7.xml": xml("CXR7", codes=codes)})
    a, b, c = (entries(path)["CXR7"] for path in (folder, packed, kaggle))
    assert a.report == b.report == c.report
    assert a.labels == b.labels == c.labels
    assert entries(kaggle / "indiana_reports.csv")["CXR7"].row == 2


def test_importing_again_adds_nothing(tmp_path: Path) -> None:
    path = archive(tmp_path / "o.tgz", {f"{i}.xml": xml(f"CXR{i}", codes="normal") for i in range(5)})
    with Store(tmp_path / "s.duckdb") as store:
        first = import_reports(store, read_openi(path))
        second = import_reports(store, read_openi(path))
    assert (first.added, first.labels_added, first.already_there) == (5, 65, 0)
    assert (second.added, second.labels_added, second.already_there) == (0, 0, 5)
    assert first.splits == second.splits
    assert sum(first.splits.values()) == 5


def test_bad_files_are_named_and_the_rest_goes_in(tmp_path: Path) -> None:
    files = {
        "1.xml": xml("CXR1"),
        "2.xml": b"<eCitation><uId",
        "3.xml": b"<html/>",
        "4.xml": xml("", codes="normal"),
        "5.xml": xml("CXR5", findings="", impression=" "),
        "6.xml": xml("CXR1", impression="Another."),
        "7.xml": xml("CXR7", findings="x" * 300_000),
        "8.xml": b"x" * 3_000_000,
        "9.xml": xml("CXR9", findings="caf\u00e9").decode().encode("latin-1"),
        "readme.txt": b"not a report",
    }
    with Store(tmp_path / "s.duckdb") as store:
        summary = import_reports(store, read_openi(archive(tmp_path / "o.tgz", files)))
        rows = store.connection.execute("SELECT file, reason FROM skipped_rows ORDER BY file").fetchall()
    assert (summary.read, summary.added) == (9, 1)
    assert [(file, reason.split(":")[0]) for file, reason in rows] == [
        ("o.tgz/2.xml", "not XML"),
        ("o.tgz/3.xml", "not an Open-i report"),
        ("o.tgz/4.xml", "no report id"),
        ("o.tgz/5.xml", "no text"),
        ("o.tgz/6.xml", "id twice in this import"),
        ("o.tgz/7.xml", "longer than 200,000 characters"),
        ("o.tgz/8.xml", "larger than 2,000,000 bytes"),
        ("o.tgz/9.xml", "not XML"),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_doctype_is_refused(tmp_path: Path, encoding: str) -> None:
    bomb = (
        f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE e [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'
        "<eCitation><uId id='CXR1'/><AbstractText Label='FINDINGS'>&b;</AbstractText></eCitation>"
    ).encode(encoding)
    path = archive(tmp_path / "o.tgz", {"1.xml": bomb, "2.xml": xml("CXR2")})
    assert [s.why for s in skipped(path)] == ["not XML: DOCTYPE e is not allowed"]


@pytest.mark.parametrize("size", [2, 20, 200, -1, -9])
def test_a_truncated_archive_fails_whole(tmp_path: Path, size: int) -> None:
    whole = archive(tmp_path / "o.tgz", {f"{i}.xml": xml(f"CXR{i}") for i in range(50)}).read_bytes()
    (tmp_path / "cut.tgz").write_bytes(whole[:size])
    with pytest.raises(InputError, match=r"cut\.tgz"):
        read_openi(tmp_path / "cut.tgz")


def test_what_is_not_open_i_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.tgz").write_text("this is no archive")
    (tmp_path / "garbage.tgz").write_bytes(gzip.compress(os.urandom(5000)))
    (tmp_path / "empty").mkdir()
    (tmp_path / "indiana_reports.csv").write_text("a,b\n1,2\n")
    archive(tmp_path / "pages.tgz", {"1.xml": b"<html/>"})
    for name in ("text.tgz", "garbage.tgz", "empty", "indiana_reports.csv", "pages.tgz", "missing"):
        with pytest.raises(InputError, match=name):
            read_openi(tmp_path / name)


def test_links_and_devices_in_an_archive_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "o.tgz"
    with tarfile.open(path, "w:gz") as tar:
        link = tarfile.TarInfo("2.xml")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        member = tarfile.TarInfo("../../1.xml")
        member.size = len(xml("CXR1"))
        tar.addfile(member, io.BytesIO(xml("CXR1")))
    assert list(entries(path)) == ["CXR1"]
    assert not (tmp_path.parent.parent / "1.xml").exists()


@pytest.fixture
def collection() -> Path:
    folder = os.environ.get("TEACHBACK_OPENI")
    if not folder:
        pytest.skip("TEACHBACK_OPENI is not set")
    return Path(folder)


@pytest.mark.openi
def test_the_mapping_agrees_with_the_reference_on_every_report(collection: Path) -> None:
    # All 1,931 reports and all 13 findings agree; there are no differences to explain.
    with (collection / "openi_dev_mesh14.csv").open(newline="") as stream:
        reference = {row["id"]: row for row in csv.DictReader(stream)}
    ours = entries(collection / "openi_dev_xml.tgz")
    assert ours.keys() == reference.keys()
    assert len(ours) == 1931
    for report_id, row in reference.items():
        wanted = {finding for finding in FINDINGS if row[finding] == "1"}
        labels = ours[report_id].labels
        assert bool(labels) == (row["coded"] == "1"), report_id
        assert {label.target for label in labels if label.status == "present"} == wanted, report_id


@pytest.mark.openi
def test_the_collection_goes_in_whole(collection: Path, tmp_path: Path) -> None:
    with Store(tmp_path / "s.duckdb") as store:
        summary = import_reports(store, read_openi(collection / "openi_dev_xml.tgz"))
        straddling = store.connection.execute(
            "SELECT count(*) FROM (SELECT lower(impression), lower(findings) FROM reports JOIN splits USING (report_id)"
            " GROUP BY 1, 2 HAVING count(DISTINCT split) > 1)"
        ).fetchall()
    # 18 of the 1,931 are not indexed: (1931 - 18) * 13 = 24869 labels.
    assert (summary.read, summary.added, summary.labels_added) == (1931, 1931, 24869)
    assert straddling == [(0,)]
    assert OPENI_LABELER.kind == "human"
