"""`teachback rules`: a table into CheXpert's format, and one sentence explained."""

import csv
import gzip
import json
import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from teachback.cli import app
from teachback.errors import InputError, SettingError
from teachback.store.label import CHEXPERT_OBSERVATIONS


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["rules", *map(str, arguments)])


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    return write(
        tmp_path / "in.csv",
        "report_id,age,indication,findings,impression",
        'a,60,Pneumonia?,"Small effusion, no pneumothorax.",Possible edema.',
        "b,61,,Heart size normal.,No acute disease.",
        "c,62,Cough,,",
        "d,63,,,Pacemaker in place.",
    )


def test_table_is_written_in_chexperts_format(reports: Path, tmp_path: Path) -> None:
    outcome = run("label", reports, tmp_path / "out.csv")
    assert outcome.exit_code == 0, outcome.output
    text = (tmp_path / "out.csv").read_text("utf-8")
    assert text.splitlines()[0] == ",".join(["report_id", *CHEXPERT_OBSERVATIONS])
    rows = {row["report_id"]: row for row in read(tmp_path / "out.csv")}
    named = {
        i: {name: value for name, value in row.items() if value and name != "report_id"} for i, row in rows.items()
    }
    assert named == {
        "a": {"Pleural Effusion": "1.0", "Pneumothorax": "0.0", "Edema": "-1.0"},
        "b": {"No Finding": "1.0", "Cardiomegaly": "0.0"},
        "c": {},  # no text in the scope: blank, No Finding too
        "d": {"No Finding": "1.0", "Support Devices": "1.0"},
    }
    assert "4 reports" in outcome.output
    assert "1 of them have no text in scope full" in outcome.output
    assert "reports/s" in outcome.output


@pytest.mark.parametrize(
    ("scope", "effusion", "without_text"),
    # full reads a's findings; impression skips them and b, d have one; mimic takes an impression before findings
    [("full", "1.0", 1), ("impression", "", 1), ("mimic", "", 1)],
)
def test_scope_decides_what_is_read(
    reports: Path, tmp_path: Path, scope: str, effusion: str, without_text: int
) -> None:
    outcome = run("label", reports, tmp_path / "out.csv", "--scope", scope, "--json")
    assert outcome.exit_code == 0, outcome.output
    said = json.loads(outcome.stdout)
    assert (said["reports"], said["without_text"], said["scope"]) == (4, without_text, scope)
    assert read(tmp_path / "out.csv")[0]["Pleural Effusion"] == effusion


def test_whole_text_column_is_enough(tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", "report_id,text", "a,FINDINGS: No effusion. IMPRESSION: Rib fracture.")
    assert run("label", source, tmp_path / "out.csv").exit_code == 0
    (row,) = read(tmp_path / "out.csv")
    assert (row["Pleural Effusion"], row["Fracture"]) == ("0.0", "1.0")


def test_unreadable_row_is_skipped_and_named(tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", "report_id,text", "a,No effusion.", "b,Edema.,too many", "c,Edema.")
    outcome = run("label", source, tmp_path / "out.csv")
    assert outcome.exit_code == 0
    assert [row["report_id"] for row in read(tmp_path / "out.csv")] == ["a", "c"]
    assert "1 rows skipped: wrong number of cells" in outcome.output
    assert "row 3" in outcome.output


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["id,text", "a,Edema."], "no column report_id; it has: id, text"),
        (["report_id,note", "a,Edema."], "none of the columns findings, impression, text"),
        (["report_id,text", "a,Edema.", "b,Clear.", "a,Clear."], "row 4: report_id 'a' stands in row 2 too"),
        (["report_id,text", "a,Edema.", " ,Clear."], "row 3: report_id is empty"),
        (["report_id,text"], "holds no report"),
    ],
)
def test_bad_table_is_refused_whole(tmp_path: Path, lines: list[str], message: str) -> None:
    source = write(tmp_path / "in.csv", *lines)
    outcome = run("label", source, tmp_path / "out.csv")
    assert isinstance(outcome.exception, InputError)
    assert message in outcome.exception.message
    assert str(source) in outcome.exception.message
    assert outcome.exception.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_wrong_encoding_names_the_row(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(b"report_id,text\na,Clear.\nb,\xd6dem\n")
    outcome = run("label", source, tmp_path / "out.csv")
    assert isinstance(outcome.exception, InputError)
    assert "row 3: text is not UTF-8" in outcome.exception.message
    assert not (tmp_path / "out.csv").exists()


# As chexpert-labeler's own sample: no header, one column, quotes where a report has commas or lines of its own.
HEADERLESS = (
    "Heart size normal and lungs are clear. No edema.\n"
    '"1. Left pleural effusion, with adjacent atelectasis.\n\n2. Cardiomegaly."\n'
    "\n"  # a blank line is no row
    '""\n'
    'Said to be ""clear"".\n'
)
HEADERLESS_TEXTS = [
    "Heart size normal and lungs are clear. No edema.",
    "1. Left pleural effusion, with adjacent atelectasis.\n\n2. Cardiomegaly.",
    "",
    'Said to be ""clear"".',
]


@pytest.mark.parametrize("name", ["in.csv", "in.tsv", "in.csv.gz"])
def test_headerless_reports_are_numbered_from_zero(tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    source.write_bytes(gzip.compress(HEADERLESS.encode()) if name.endswith(".gz") else HEADERLESS.encode())
    outcome = run("label", source, tmp_path / "out.csv", "--no-header")
    assert outcome.exit_code == 0, outcome.output
    rows = read(tmp_path / "out.csv")
    assert [row["report_id"] for row in rows] == ["0", "1", "2", "3"]
    assert [(row["Edema"], row["Pleural Effusion"], row["No Finding"]) for row in rows] == [
        ("0.0", "", "1.0"),
        ("", "1.0", ""),
        ("", "", ""),  # without text: all blank
        ("", "", "1.0"),
    ]
    assert "1 of them have no text" in outcome.output


def test_chexpert_labelers_layout_holds_the_text_as_read(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text(HEADERLESS, "utf-8")
    outcome = run("label", source, tmp_path / "out.csv", "--no-header", "--format", "chexpert-labeler")
    assert outcome.exit_code == 0, outcome.output
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    assert ",".join(header) == (  # the first line of the sample that chexpert-labeler ships
        "Reports,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Lesion,Lung Opacity,Edema,Consolidation,"
        "Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
    )
    assert [row[0] for row in rows] == HEADERLESS_TEXTS
    assert rows[1][1:] == ["", "", "1.0", "", "", "", "", "", "1.0", "", "1.0", "", "", ""]


def test_chexpert_labelers_layout_heads_the_sections_of_a_table_without_text(reports: Path, tmp_path: Path) -> None:
    assert run("label", reports, tmp_path / "out.csv", "--format", "chexpert-labeler").exit_code == 0
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as stream:
        texts = [row["Reports"] for row in csv.DictReader(stream)]
    assert texts == [
        "FINDINGS: Small effusion, no pneumothorax.\nIMPRESSION: Possible edema.",
        "FINDINGS: Heart size normal.\nIMPRESSION: No acute disease.",
        "",
        "Pacemaker in place.",
    ]


def test_unknown_format_is_refused(reports: Path, tmp_path: Path) -> None:
    refused = run("label", reports, tmp_path / "out.csv", "--format", "chexpert")
    assert isinstance(refused.exception, SettingError)
    assert "teachback, chexpert-labeler" in refused.exception.remedy


@pytest.mark.parametrize(
    ("name", "lines", "message", "remedy"),
    [
        ("in.csv", ["No edema.", "Edema, no effusion, clear."], "row 2: 3 columns", "put each report in quotes"),
        ("in.csv", ["report_id,text", "a,Edema."], "row 1: 2 columns", "drop --no-header"),
        ("in.csv", [], "holds no report", "one report a row is expected"),
        ("in.jsonl", ['{"text": "Edema."}'], "only a CSV or TSV may lack a header", "drop --no-header"),
    ],
)
def test_headerless_file_that_is_none_is_refused_whole(
    tmp_path: Path, name: str, lines: list[str], message: str, remedy: str
) -> None:
    source = write(tmp_path / name, *lines)
    refused = run("label", source, tmp_path / "out.csv", "--no-header")
    assert isinstance(refused.exception, InputError)
    assert message in refused.exception.message
    assert str(source) in refused.exception.message
    assert remedy in refused.exception.remedy
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_headerless_reports_have_no_impression_to_read(tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", "No edema.")
    refused = run("label", source, tmp_path / "out.csv", "--no-header", "--scope", "impression")
    assert isinstance(refused.exception, SettingError)  # not a table of blanks
    assert refused.exception.remedy == "drop --scope"
    assert not (tmp_path / "out.csv").exists()


def test_headerless_row_that_cannot_be_read_is_skipped_and_keeps_its_number(tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", "No edema.", '"Edema." and more', "No effusion.")
    outcome = run("label", source, tmp_path / "out.csv", "--no-header")
    assert outcome.exit_code == 0, outcome.output
    assert [row["report_id"] for row in read(tmp_path / "out.csv")] == ["0", "2"]
    assert "1 rows skipped: not readable as CSV" in outcome.output


def test_headerless_file_in_another_encoding_names_the_row(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(b"Clear.\n\xd6dem.\n")
    refused = run("label", source, tmp_path / "out.csv", "--no-header")
    assert isinstance(refused.exception, InputError)
    assert "row 2: text is not UTF-8" in refused.exception.message


@pytest.mark.parametrize(
    ("name", "lines", "hinted"),
    [
        ("in.csv", ["Clear lungs.", "No edema."], True),
        ("in.csv", ["No acute disease; " + "clear lungs " * 50, "No edema."], True),
        ("in.csv", ["Clear lungs."], True),  # the one report is taken for the header
        ("in.csv", ["id,text", "a,Edema."], False),
        ("in.jsonl", ['{"text": "Edema."}'], False),
    ],
)
def test_no_header_is_offered_where_a_csv_has_one_column(
    tmp_path: Path, name: str, lines: list[str], hinted: bool
) -> None:
    refused = run("label", write(tmp_path / name, *lines), tmp_path / "out.csv")
    assert isinstance(refused.exception, InputError)
    assert ("--no-header" in refused.exception.remedy) == hinted
    assert len(refused.exception.message) < 250 + len(str(tmp_path))  # names the file, does not print the report
    assert not (tmp_path / "out.csv").exists()


def test_missing_file_and_folder_are_named(reports: Path, tmp_path: Path) -> None:
    missing = run("label", tmp_path / "none.csv", tmp_path / "out.csv")
    assert isinstance(missing.exception, InputError)
    assert "none.csv" in missing.exception.message
    nowhere = run("label", reports, tmp_path / "none" / "out.csv")
    assert isinstance(nowhere.exception, InputError)
    assert "no folder" in nowhere.exception.message


def test_existing_output_is_kept_unless_forced(reports: Path, tmp_path: Path) -> None:
    target = write(tmp_path / "out.csv", "mine")
    refused = run("label", reports, target)
    assert isinstance(refused.exception, InputError)
    assert "--force" in refused.exception.remedy
    assert target.read_text("utf-8") == "mine\n"
    assert run("label", reports, target, "--force").exit_code == 0
    assert len(read(target)) == 4


def test_input_is_never_the_output(reports: Path) -> None:
    before = reports.read_bytes()
    refused = run("label", reports, reports, "--force")
    assert isinstance(refused.exception, InputError)
    assert reports.read_bytes() == before


def test_output_can_be_read_by_others_as_any_new_file(reports: Path, tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        assert run("label", reports, tmp_path / "out.csv").exit_code == 0
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "out.csv").stat().st_mode) == 0o644


def test_unknown_scope_is_refused(reports: Path, tmp_path: Path) -> None:
    refused = run("label", reports, tmp_path / "out.csv", "--scope", "all")
    assert isinstance(refused.exception, SettingError)


def test_sentence_is_explained() -> None:
    outcome = run("explain", "No pneumothorax, but an effusion cannot be excluded. Evaluate for pneumonia.")
    assert outcome.exit_code == 0, outcome.output
    for shown in ("Pneumothorax", "negated", "cannot be excluded", "uncertain-after", "advice", "-1.0", "other 11"):
        assert shown in outcome.output


def test_explanation_as_json_has_mentions_and_verdict() -> None:
    said = json.loads(run("explain", "Trace effusion.", "--json").stdout)
    (mention,) = said["mentions"]
    assert (mention["finding"], mention["start"], mention["end"]) == ("Pleural Effusion", 6, 14)
    assert said["verdict"]["Pleural Effusion"] == "present"
    assert said["verdict"]["Edema"] == "unmentioned"


def test_text_without_findings_is_said_to_have_none() -> None:
    assert "no mention of any finding" in run("explain", "[bold]Clear lungs.[/bold]").output
