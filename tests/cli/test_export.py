"""`teachback export` and the two ways back in, as a user types them."""

import json
import shutil
from pathlib import Path

import pytest
from tests.store.exports.sample import ODD, REPORTS, labelled
from typer.testing import CliRunner

from teachback.cli import app
from teachback.errors import InputError, SettingError, StoreError
from teachback.store.database import Store, open_snapshot

__all__ = ["labelled"]  # a fixture


@pytest.fixture
def store(labelled: Path, tmp_path: Path) -> Path:
    for file in labelled.parent.iterdir():
        shutil.copyfile(file, tmp_path / file.name)
    return tmp_path / labelled.name


def run(*arguments: object) -> str:
    ran = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=True)
    if ran.exception and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    assert ran.exit_code == 0, ran.output
    return ran.output


@pytest.mark.parametrize("form", ["parquet", "csv", "chexpert-csv", "sft-jsonl", "hf-dataset", "label-studio"])
def test_each_format_says_what_it_wrote(store: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / "out"
    told = json.loads(
        run("export", store, "--format", form, "--labels", "rule", "--out", out, "--json").splitlines()[-1]
    )
    assert told["reports"] == REPORTS + 1
    assert told["restricted"] == {"odd": "local-only"}
    assert all(((out / name) if name else out).exists() for name in told["files"])


def test_people_are_told_and_warned(store: Path, tmp_path: Path) -> None:
    told = run("export", store, "--format", "csv", "--out", tmp_path / "out.csv")
    assert f"{REPORTS + 1} reports from a snapshot that is" in told
    assert "warning: odd is local-only" in told
    with pytest.raises(SettingError, match="--force"):
        run("export", store, "--format", "csv", "--out", tmp_path / "out.csv")
    run("export", store, "--format", "csv", "--out", tmp_path / "out.csv", "--force")


def test_filters_choose(store: Path, tmp_path: Path) -> None:
    options = ("--corpus", "synthetic", "--split", "train", "--split", "gate", "--task", "findings", "--json")
    told = json.loads(run("export", store, "--format", "csv", "--out", tmp_path / "o.csv", *options).splitlines()[-1])
    connection, _ = open_snapshot(store)
    with connection:
        wanted = connection.execute("SELECT count(*) FROM splits WHERE split IN ('train', 'gate') AND report_id <> ?",
                                    [ODD.report_id]).fetchall()[0][0]  # fmt: skip
    assert (told["reports"], told["files"]) == (wanted, {"": 13 * wanted})


def test_decisions_come_in_from_a_table_and_bad_rows_are_named(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "reviewed.csv"
    file.write_text(
        "report_id,target,status,reviewer\n"
        "syn-3-000000,edema,1,Ann\n"
        "syn-3-000000,Edema,absent,Bob\n"
        "syn-3-000001,Edema,perhaps,Ann\n"
        "syn-3-000001,Oedema,absent,Ann\n"
        "elsewhere,Edema,absent,Ann\n"
        "syn-3-000002,Edema,absent,\n"
    )
    told = json.loads(run("import", "curated", file, "--store", store, "--json"))
    assert (told["read"], told["decisions"], told["labels"]) == (6, 2, 2)
    assert told["reviewers"] == {"Ann": 1, "Bob": 1}
    assert told["skipped"] == {"not a decision": 3, "no report of that id in the store": 1}
    assert [entry["row"] for entry in told["first_skipped"]] == [4, 5, 6, 7]
    shown = run("import", "curated", file, "--store", store)
    assert "new in" in shown
    assert "0 decisions, 0 curated labels" in shown
    assert "status is 'perhaps'" in shown
    with Store(store) as opened:
        said = opened.connection.execute(
            "SELECT reviewer, status FROM human_labels WHERE report_id = 'syn-3-000000' AND target = 'Edema' "
            "AND reviewer IN ('Ann', 'Bob') ORDER BY 1"
        ).fetchall()
    assert said == [("Ann", "present"), ("Bob", "absent")]


def test_a_file_of_which_nothing_fits_is_refused(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "reviewed.csv"
    file.write_text("report_id,target,status\nelsewhere,Edema,absent\n")
    with pytest.raises(InputError, match="names no reviewer"):
        run("import", "curated", file, "--store", store)
    with pytest.raises(InputError, match="no report of that id"):
        run("import", "curated", file, "--store", store, "--reviewer", "Ann")
    with pytest.raises(StoreError, match="there is no store"):
        run("import", "curated", file, "--store", tmp_path / "none.duckdb")


def test_label_studio_comes_back_in(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "studio"
    run("export", store, "--format", "label-studio", "--labels", "rule", "--out", out)
    tasks = json.loads((out / "tasks.json").read_text())
    for task in tasks:
        task["annotations"] = [{"completed_by": 5, "result": task["predictions"][0]["result"]}]
    (tmp_path / "back.json").write_text(json.dumps(tasks))
    told = json.loads(run("import", "label-studio", tmp_path / "back.json", "--store", store, "--json"))
    assert told["decisions"] == told["labels"] == 13 * (REPORTS + 1)
    again = json.loads(run("import", "label-studio", tmp_path / "back.json", "--store", store, "--json"))
    assert again["decisions"] == again["labels"] == 0
