"""`teachback rules diff`: two rule folders over a real store."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from teachback.agents import rules as packaged_rules
from teachback.agents.rules import RuleSet
from teachback.cli import app
from teachback.errors import InputError, SettingError, StoreError
from teachback.store.database import Store
from teachback.store.report import Report
from teachback.store.rows import report_row

SHIPPED = Path(packaged_rules.__file__).parent
REPORTS = [
    Report("r1", "c", {"findings": "Moderate hiatal hernia. No edema."}),
    Report("r2", "c", {"findings": "No hiatal hernia. Small effusion."}),
    Report("r3", "d", {"impression": "Hiatal hernia and [bold]edema[/bold]."}),
    Report("r4", "d", {"findings": "Clear lungs."}),
]


def run(*arguments: object, columns: int = 80) -> Result:
    return CliRunner().invoke(app, ["rules", "diff", *map(str, arguments)], env={"COLUMNS": str(columns)})


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "labels.duckdb"
    with Store(path) as opened:
        opened.write({"reports": [report_row(report) for report in REPORTS]})
    return path


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The package's rules with a finding of one's own."""
    folder = tmp_path / "my-rules"
    folder.mkdir()
    shutil.copy(SHIPPED / "cues.yaml", folder)
    shipped = (SHIPPED / "findings.yaml").read_text("utf-8")
    edited = shipped.replace("\nfindings:\n", "\nfindings:\n  Hiatal Hernia:\n    terms: [hiatal hernia]\n")
    (folder / "findings.yaml").write_text(edited, "utf-8")
    return folder


def test_flips_are_listed_with_what_they_rest_on(mine: Path, store: Path) -> None:
    before = store.read_bytes()
    outcome = run("packaged", mine, store)
    assert outcome.exit_code == 0, outcome.output
    shown = [line.split() for line in outcome.stdout.splitlines()]
    assert "3 labels flip in 3 of 4 reports (75.0%)" in outcome.stdout
    assert "only in the new rules, so unmentioned by the others: Hiatal Hernia" in outcome.stdout
    assert ["Hiatal", "Hernia", "3", "unmentioned", "->", "present", "2"] in shown
    assert ["unmentioned", "->", "absent", "1"] in shown
    assert ["r2", "Hiatal", "Hernia", "unmentioned", "->", "absent"] in shown
    assert ["old:", "no", "mention"] in shown
    assert 'new: "hiatal hernia" in findings, cue "No", rule negated' in outcome.stdout
    assert store.read_bytes() == before


def test_a_finding_taken_out_flips_to_unmentioned(mine: Path, store: Path) -> None:
    outcome = run(mine, "packaged", store, "--json")
    assert outcome.exit_code == 0, outcome.output
    said = json.loads(outcome.stdout)
    assert said["findings"] == {"Hiatal Hernia": {"present->unmentioned": 2, "absent->unmentioned": 1}}
    assert (said["only_old"], said["only_new"]) == (["Hiatal Hernia"], [])


def test_json_holds_the_whole_diff(mine: Path, store: Path) -> None:
    said = json.loads(run("packaged", mine, store, "--json", "--examples", "1").stdout)
    assert said["old"] == {"rules": "packaged", "version": RuleSet.load().version}
    assert said["new"] == {"rules": str(mine), "version": RuleSet.load(mine).version}
    assert (said["same"], said["scope"], said["corpus"]) == (False, "full", None)
    assert (said["reports"], said["without_text"], said["touched"], said["flips"]) == (4, 0, 3, 3)
    assert said["touched_share"] == 0.75
    (example,) = said["examples"]
    assert (example["report_id"], example["old"], example["new"]) == ("r1", "unmentioned", "present")
    assert example["old_mention"] is None
    assert (example["new_mention"]["quote"], example["new_mention"]["rule"]) == ("hiatal hernia", "stated")


@pytest.mark.parametrize(
    ("options", "reports", "without_text", "flips"),
    [
        (["--corpus", "d"], 2, 0, 1),  # r3
        (["--scope", "impression"], 4, 3, 1),  # r3 alone has an impression
        (["--scope", "mimic", "--corpus", "c"], 2, 0, 2),  # r1, r2: findings where there is no impression
    ],
)
def test_options_choose_what_is_read(
    mine: Path, store: Path, options: list[str], reports: int, without_text: int, flips: int
) -> None:
    said = json.loads(run("packaged", mine, store, "--json", *options).stdout)
    assert (said["reports"], said["without_text"], said["flips"]) == (reports, without_text, flips)


@pytest.mark.parametrize("columns", [60, 240])
def test_no_line_is_longer_than_the_terminal_or_100(mine: Path, store: Path, columns: int) -> None:
    with Store(store) as opened:
        wide = Report("wide-" * 40, "c", {"findings": f"No effusion{', nor edema' * 40}. Hiatal hernia."})
        opened.write({"reports": [report_row(wide)]})
    lines = run("packaged", mine, store, "--examples", "9", columns=columns).stdout.splitlines()
    assert max(map(len, lines)) <= min(columns, 100)
    assert any(line.startswith("wide-") for line in lines)


@pytest.mark.parametrize("side", ["packaged", SHIPPED])
def test_the_same_rules_are_said_to_be_the_same(tmp_path: Path, side: object) -> None:
    outcome = run("packaged", side, tmp_path / "none.duckdb")  # it stops before it looks for a store
    assert outcome.exit_code == 0, outcome.output
    assert "are the same rules" in outcome.stdout
    assert RuleSet.load().version in outcome.stdout
    assert json.loads(run("packaged", side, tmp_path / "none.duckdb", "--json").stdout)["same"] is True


def test_an_edit_that_flips_nothing_says_so(mine: Path, store: Path) -> None:
    with (mine / "cues.yaml").open("a", encoding="utf-8") as cues:
        cues.write("# looked at\n")
    shutil.copy(SHIPPED / "findings.yaml", mine)
    outcome = run("packaged", mine, store)
    assert outcome.exit_code == 0, outcome.output
    assert "0 labels flip in 0 of 4 reports (0.0%)" in outcome.stdout


def test_a_folder_named_packaged_is_named_by_its_path(mine: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine.rename(mine.with_name("packaged"))
    monkeypatch.chdir(mine.parent)
    said = json.loads(run("packaged", "./packaged", store, "--json").stdout)
    assert said["only_new"] == ["Hiatal Hernia"]


def test_what_is_missing_is_named(mine: Path, store: Path, tmp_path: Path) -> None:
    no_rules = run("packaged", tmp_path / "nowhere", store)
    assert isinstance(no_rules.exception, InputError)
    assert str(tmp_path / "nowhere" / "findings.yaml") in no_rules.exception.message
    no_store = run("packaged", mine, tmp_path / "none.duckdb")
    assert isinstance(no_store.exception, StoreError)
    no_corpus = run("packaged", mine, store, "--corpus", "openi")
    assert isinstance(no_corpus.exception, SettingError)
    assert "holds no report of corpus openi" in no_corpus.exception.message
    no_scope = run("packaged", mine, store, "--scope", "all")
    assert isinstance(no_scope.exception, SettingError)
