"""MIMIC-CXR, from files written in its layout and its reports' manner."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teachback.errors import InputError
from teachback.store.corpora.imported import Entry
from teachback.store.corpora.intake import import_reports
from teachback.store.corpora.mimic_cxr import MIMIC_LICENCE, read_mimic_cxr
from teachback.store.corpora.mimic_sections import split_sections
from teachback.store.database import Store
from teachback.store.label import FINDINGS
from teachback.store.report import Report

FULL = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)
 |
 INDICATION:  ___ year old woman with cough  // pneumonia?
 |
 TECHNIQUE:  Chest PA and lateral
 |
 COMPARISON:  Chest radiograph ___.
 |
 FINDINGS: |
 |
 The heart is mildly enlarged.  There is no
 focal consolidation.
 |
 Degenerative changes of the spine.
 |
 IMPRESSION: |
 |
 1. Mild cardiomegaly.
 2. No acute
 process.
""".replace("|", "")  # MIMIC-CXR's blank lines hold a space

BARE = """                                 FINAL REPORT
 REASON FOR EXAMINATION:  Line placement.
 |
 AP radiograph was reviewed.
 The line ends in the SVC.
 |
 No pneumothorax.
""".replace("|", "")


def lay(root: Path, texts: dict[str, str | bytes]) -> Path:
    for place, text in texts.items():
        subject, study = place.split("/")
        file = root / "files" / subject[:3] / subject / f"{study}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def label_table(rows: dict[int, dict[str, str]], lung_opacity: str = "Lung Opacity", subject: bool = True) -> str:
    columns = [lung_opacity if finding == "Lung Opacity" else finding for finding in FINDINGS]
    head = (["subject_id"] if subject else []) + ["study_id", "No Finding", *columns]
    lines = [",".join(head)]
    for study, values in rows.items():
        cells = [values.get(column, "") for column in ("No Finding", *columns)]
        lines.append(",".join((["10000032"] if subject else []) + [str(study), *cells]))
    return "\n".join(lines) + "\n"


def test_sections_are_found_and_lines_joined() -> None:
    assert split_sections(FULL) == {
        "indication": "___ year old woman with cough // pneumonia?",
        "comparison": "Chest radiograph ___.",
        "findings": "The heart is mildly enlarged. There is no focal consolidation.\n\nDegenerative changes of the "
        "spine.",
        "impression": "1. Mild cardiomegaly.\n2. No acute process.",
    }


def test_without_findings_and_impression_what_follows_the_first_blank_line_counts() -> None:
    sections = split_sections(BARE)
    assert sections == {
        "indication": "Line placement.",
        "text": "AP radiograph was reviewed. The line ends in the SVC.\nNo pneumothorax.",
    }
    assert Report("s1", "mimic-cxr", sections).text("mimic") == sections["text"]


def test_a_report_without_headings_is_read_from_its_second_paragraph() -> None:
    text = "  FINAL REPORT\n PORTABLE CHEST ___\n \n Lungs are clear.\n \n No effusion.\n"
    assert split_sections(text) == {"text": "Lungs are clear.\nNo effusion."}


def test_the_comparison_is_the_last_resort() -> None:
    assert split_sections(" EXAM:  Chest.\n COMPARISON:  ___.  Lungs are clear.\n TECHNIQUE:  AP.\n")["text"] == (
        "___. Lungs are clear."
    )
    assert split_sections(" EXAM:  Chest.\n TECHNIQUE:  AP.\n") == {}


@pytest.mark.parametrize(
    ("heading", "section"),
    [
        ("CONCLUSION", "impression"),
        ("OPINION", "impression"),
        ("FINDINGS AND IMPRESSION", "impression"),
        ("FINDINGS / IMPRESSION", "impression"),
        ("PROVISIONAL FINDINGS IMPRESSION (PFI)", "impression"),
        ("IMPRESSOIN", "impression"),
        ("FINIDNGS", "findings"),
        ("CHEST, PA AND LATERAL", "findings"),
        ("PORTABLE SUPINE FRONTAL VIEW", "findings"),
        ("COMPARISION", "comparison"),
        ("COMPARISONS", "comparison"),
        ("REASON FOR EXAM", "indication"),
        ("CLINICAL HISTORY", "indication"),
        ("RECOMMENDATION(S)", None),
        ("NOTIFICATION", None),
    ],
)
def test_headings_are_known_by_their_other_names(heading: str, section: str | None) -> None:
    sections = split_sections(f"   FINAL REPORT\n {heading}:  Some words.\n")
    assert {name for name in sections if name != "text"} == ({section} if section else set())


def test_the_last_filled_section_of_a_name_counts() -> None:
    text = " IMPRESSION:  Old.\n \n ADDENDUM:  Seen.\n \n IMPRESSION:  New.\n \n FINDINGS:\n \n IMPRESSION:\n \n"
    assert split_sections(text) == {"impression": "New."}


def test_a_heading_that_stands_alone_owns_the_next_line() -> None:
    text = " FINDINGS:\n LINES:  Port in place.\n \n IMPRESSION:  Fine.\n"
    assert split_sections(text) == {"findings": "LINES: Port in place.", "impression": "Fine."}


def test_capitals_within_a_sentence_open_no_section() -> None:
    assert split_sections(" FINDINGS:  Seen at CT: clear.\n The ETT: fine.\n") == {
        "findings": "Seen at CT: clear. The ETT: fine."
    }


@given(st.text(alphabet="AB :\n.xIMPRESSION", max_size=200))
def test_any_text_splits_into_words_of_its_own(text: str) -> None:
    words = set(text.split())
    for section in split_sections(text).values():
        assert section.strip()
        assert set(section.split()) <= words | {word.split(":", 1)[-1] for word in words}


def test_reports_labels_and_subjects_go_in(tmp_path: Path) -> None:
    root = lay(tmp_path, {"p10000032/s50414267": FULL, "p10000032/s50414268": BARE, "p11000033/s50000001": FULL})
    chexpert = label_table({50414267: {"Cardiomegaly": "1.0", "Consolidation": "0.0", "Edema": "-1.0"}, 59999999: {}})
    (root / "mimic-cxr-2.0.0-chexpert.csv.gz").write_bytes(gzip.compress(chexpert.encode()))
    (root / "mimic-cxr-2.0.0-negbio.csv").write_text(label_table({50414267: {"Cardiomegaly": "1.0"}}))
    (root / "mimic-cxr-2.1.0-test-set-labeled.csv").write_text(
        label_table({50000001: {"Airspace Opacity": "1"}}, "Airspace Opacity", subject=False)
    )
    with Store(tmp_path / "s.duckdb") as store:
        summary = import_reports(store, read_mimic_cxr(root))
        again = import_reports(store, read_mimic_cxr(root))
        ask = store.connection.execute
        reports = ask("SELECT report_id, subject_id, source_file FROM reports ORDER BY 1").fetchall()
        labelers = ask("SELECT kind, name FROM labelers ORDER BY name").fetchall()
        said = ask(
            "SELECT name, l.report_id, target, status, scope FROM labels l JOIN labelers USING (labeler_id)"
            " WHERE status != 'unmentioned' ORDER BY ALL"
        ).fetchall()
        corpus = ask("SELECT corpus, egress, licence FROM corpora").fetchall()
        together = ask("SELECT count(DISTINCT split) FROM splits WHERE report_id LIKE 's504%'").fetchall()
        skipped = ask('SELECT file, "row", report_id, reason FROM skipped_rows').fetchall()
    assert reports == [
        ("s50000001", "11000033", "files/p11/p11000033/s50000001.txt"),
        ("s50414267", "10000032", "files/p10/p10000032/s50414267.txt"),
        ("s50414268", "10000032", "files/p10/p10000032/s50414268.txt"),
    ]
    assert labelers == [("rule", "chexpert"), ("human", "mimic-test-set"), ("rule", "negbio")]
    assert said == [
        ("chexpert", "s50414267", "Cardiomegaly", "present", "mimic"),
        ("chexpert", "s50414267", "Consolidation", "absent", "mimic"),
        ("chexpert", "s50414267", "Edema", "uncertain", "mimic"),
        ("mimic-test-set", "s50000001", "Lung Opacity", "present", "full"),
        ("negbio", "s50414267", "Cardiomegaly", "present", "mimic"),
    ]
    assert corpus == [("mimic-cxr", "local-only", MIMIC_LICENCE)]
    assert together == [(1,)]
    assert (summary.read, summary.added, summary.labels_added) == (3, 3, 39)
    assert summary.skipped_labels == {"no such report": 1}
    assert skipped == [
        ("mimic-cxr-2.0.0-chexpert.csv.gz", 3, "s59999999", "no such report: s59999999"),
    ]
    assert (again.added, again.already_there, again.labels_added) == (0, 3, 0)


@pytest.mark.parametrize("inner", ["", "files", "mimic-cxr-reports", "mimic-cxr-reports/files"])
def test_the_folder_may_be_any_of_the_usual_ones(tmp_path: Path, inner: str) -> None:
    lay(tmp_path, {"p10000032/s50414267": FULL})
    if inner.startswith("mimic-cxr-reports"):
        target = tmp_path / "box" / inner
        target.parent.mkdir(parents=True)
        (tmp_path / "files").rename(target)
        root = tmp_path / "box"
    else:
        root = tmp_path / inner
    [entry] = read_mimic_cxr(root).entries
    assert isinstance(entry, Entry)
    assert entry.report.report_id == "s50414267"


def test_bad_files_and_bad_label_rows_are_named(tmp_path: Path) -> None:
    root = lay(
        tmp_path,
        {
            "p10000032/s50000001": FULL,
            "p10000032/s50000002": "",
            "p10000032/s50000003": " FINDINGS:  caf\u00e9.\n".encode("latin-1"),
            "p10000032/s50000004": " FINDINGS:  " + "x" * 5_000_000,
            "p10000032/s50000005": " FINDINGS:  NUL\0.\n",
            "p10000032/s50000006": " EXAM:  Chest.\n",
            "p10000032/notes": "not a study",
            "p10000099/s50000001": FULL,
        },
    )
    rows = label_table({50000001: {"Edema": "0.5"}, 50000002: {}}) + "10000032,50000001,1\n"
    (root / "mimic-cxr-2.0.0-chexpert.csv").write_text(rows)
    with Store(tmp_path / "s.duckdb") as store:
        summary = import_reports(store, read_mimic_cxr(root))
        named = dict(store.connection.execute("SELECT coalesce(report_id, file), reason FROM skipped_rows").fetchall())
    assert (summary.read, summary.added, summary.labels_added) == (8, 1, 0)
    assert summary.skipped == {
        "not in MIMIC-CXR's layout": 1,
        "no text": 1,
        "not UTF-8": 1,
        "longer than 200,000 characters": 1,
        "NUL characters": 1,
        "no section to label": 1,
        "id twice in this import": 1,
    }
    assert summary.skipped_labels == {"unknown status": 1, "wrong number of cells": 1}
    assert summary.notes[-1].startswith("no report outside split train")
    assert named["files/p10/p10000032/notes.txt"] == "not in MIMIC-CXR's layout"


def test_what_is_not_mimic_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for name in ("nothing", "empty", "no_studies/files/p10/p10000032"):
        if name != "nothing":
            (tmp_path / name).mkdir(parents=True)
        with pytest.raises(InputError, match=name.split("/")[0]):
            read_mimic_cxr(tmp_path / name.split("/")[0])
    root = lay(tmp_path / "whole", {"p10000032/s50414267": FULL})
    whole = gzip.compress(label_table({50414267: {}}).encode() * 9)
    for bad in (whole[:-9], b"not gzip", gzip.compress(b"study,Edema\n1,1\n"), gzip.compress(b"study_id,Edema\n1,1\n")):
        (root / "mimic-cxr-2.0.0-negbio.csv.gz").write_bytes(bad)
        with pytest.raises(InputError, match="negbio"):
            read_mimic_cxr(root)


def test_label_tables_may_lie_elsewhere(tmp_path: Path) -> None:
    root = lay(tmp_path / "reports", {"p10000032/s50414267": FULL})
    (tmp_path / "jpg").mkdir()
    (tmp_path / "jpg" / "mimic-cxr-2.1.0-negbio.csv").write_text(label_table({50414267: {"Edema": "1"}}))
    assert [labeler.name for labeler in read_mimic_cxr(root, tmp_path / "jpg").labelers] == ["negbio"]
    assert read_mimic_cxr(root).notes == [
        "no label tables found (mimic-cxr-2.0.0-chexpert.csv.gz and the like): reports only"
    ]
    with pytest.raises(InputError, match="no folder"):
        read_mimic_cxr(root, tmp_path / "png")
