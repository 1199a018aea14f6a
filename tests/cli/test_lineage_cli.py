"""`teachback lineage` and `teachback sql --example`, on a store of which every step is known."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from tests.store import audited_store as known
from typer.testing import CliRunner

from teachback.cli import app
from teachback.errors import SettingError, StoreError
from teachback.store.database import Store
from teachback.store.label import Evidence, Label
from teachback.store.report import Report
from teachback.store.rows import label_row, labeler_row, report_row


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return known.build(tmp_path_factory.mktemp("told") / "labels.duckdb")


def run(*words: str | Path, columns: int = 100) -> Result:
    return CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": str(columns)})


def words_of(ended: Result) -> str:
    assert ended.exit_code == 0, ended.output
    return " ".join(ended.stdout.split())


def error_of(*words: str | Path) -> SettingError:
    error = run(*words).exception
    assert isinstance(error, SettingError)
    return error


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_a_label_is_told_from_report_to_what_replaced_it(store: Path, columns: int) -> None:
    told = run("lineage", store, "--label", known.JUDGE_EDEMA.label_id, columns=columns)
    assert max(map(len, told.stdout.splitlines())) <= columns
    assert f"snapshot of {store}, " in told.stderr
    text = words_of(told)
    for part in (
        "Edema: present, said by adjudicator:m, 80 % sure (logprob)",
        "report r1, open, split train",
        'findings 0-6: "Edema."',
        "Prompt judge (prm_judge) Judge.",
        "Answer of m (call_judge) answer judge 50 + 5 tokens, $0.0500 for the whole call",
        "Adjudication: adjudicator:m decided it",
        "why: it says edema",
        'llm:m: present (90 %), "Edema."',
        "ann: absent, not the same; is curated",
        "bob accepted it",
        "`label`",
    ):
        assert part in text


def test_a_label_that_was_taken_back_says_so(store: Path) -> None:
    given = next(decision.label() for decision in known.decisions() if decision.review_id == "rev_03")
    assert given is not None
    text = words_of(run("lineage", store, "--label", given.label_id))
    assert "no longer what its labeler says" in text
    assert "ann set it, 2026-03-03 09:03 UTC, taken back since" in text


def test_evidence_that_is_not_in_the_report_is_marked(store: Path) -> None:
    text = words_of(run("lineage", store, "--label", known.OLD_R2.label_id))
    assert 'findings NOT IN THE REPORT: "no oedema at all"' in text


def test_an_adapter_is_told_with_weights_and_cost(store: Path) -> None:
    text = words_of(run("lineage", store, "--adapter", "abd"))
    for part in (
        "Adapter abd222, round 2, feedback",
        "not shown to be better",
        "2 pseudo labels by student:tiny on 1 reports: taken; weight 0.32 to 0.36",
        "2 calls of m, prompt old (prm_old): 300 + 30 tokens, $0.0300",
        "closed: 1 reports of 1 subjects",
        "adapter_lineage('abd222')",
    ):
        assert part in text


def test_an_impact_is_told_adapter_by_adapter(store: Path) -> None:
    text = words_of(run("lineage", store, "--impact", known.OLD_EDEMA.label_id))
    for part in (
        f"{known.JUDGE_EDEMA.label_id}: present, it says edema",
        "round 1 feedback, abc111: weight 1, taken; promoted",
        "round 1 linear, rnd_linear: weight 1, taken",
        "round 3 feedback, eee333",
        "round 1 feedback, abc111: 2 trained on in rnd_2, 1 refused there",
    ):
        assert part in text
    nothing = words_of(run("lineage", store, "--impact", known.RULE_EDEMA.label_id))
    assert nothing.count("none") == 4


def test_json_gives_everything(store: Path) -> None:
    label = json.loads(run("lineage", store, "--label", known.JUDGE_EDEMA.label_id, "--json").stdout)
    assert label["adjudications"][0]["votes"][0]["label_id"] == known.OLD_EDEMA.label_id
    impact = json.loads(run("lineage", store, "--impact", known.OLD_PNEUMONIA.label_id, "--json").stdout)
    assert (len(impact["adapters"]), len(impact["pseudo_labels"])) == (4, 4)
    made = json.loads(run("lineage", store, "--adapter", "abc111", "--json").stdout)
    assert made["rounds"][0]["round_id"] == "rnd_1"


def test_wrong_ids_and_options_are_explained(store: Path, tmp_path: Path) -> None:
    assert "label_votes" in error_of("lineage", store, "--label", "lab_x").remedy
    assert "abc111" in error_of("lineage", store, "--adapter", "ab").remedy
    assert "exactly one" in error_of("lineage", store).message
    assert "exactly one" in error_of("lineage", store, "--label", "a", "--impact", "b").message
    assert isinstance(run("lineage", tmp_path / "none.duckdb", "--label", "a").exception, StoreError)


def test_what_reports_say_is_printed_as_it_stands_and_steers_no_terminal(tmp_path: Path) -> None:
    text = "[red]Edema[/red] \x1b[2J \u202eabc"
    label = Label(
        "r", "findings", "Edema", "present", known.RULE.labeler_id, "full", evidence=(Evidence("findings", 0, 5, text),)
    )
    with Store(tmp_path / "s.duckdb") as opened:
        opened.write(
            {
                "reports": [report_row(Report("r", "c", {"findings": text}))],
                "labelers": [labeler_row(known.RULE)],
                "labels": [label_row(label)],
            }
        )
    told = run("lineage", tmp_path / "s.duckdb", "--label", label.label_id).stdout
    assert "[red]Edema[/red]" in told
    assert not {"\x1b", "\u202e"} & set(told)


def test_examples_are_listed_with_their_parameters(store: Path) -> None:
    text = words_of(run("sql", store, "--examples"))
    assert "wrong_labels -p target=... -p most=..." in text
    assert "How often" in text or "how many miss a finding" in text


def test_an_example_is_run_with_parameters_and_says_what_it_answers(store: Path) -> None:
    asked = run("sql", store, "--example", "wrong_labels", "-p", "target=Edema", "-p", "most=2", "--json")
    assert [row["target"] for row in json.loads(asked.stdout)] == ["Edema", "Edema"]
    assert "Which labels contradict the curated one" in asked.stderr
    assert f"snapshot of {store}, " in asked.stderr


def test_show_prints_sql_that_can_be_run_as_it_is(store: Path) -> None:
    shown = run("sql", store, "--example", "error_rates", "-p", "split=train", "--show")
    assert "corpus=" in shown.stderr
    again = run("sql", store, shown.stdout, "--csv").stdout
    assert again == run("sql", store, "--example", "error_rates", "-p", "split=train", "--csv").stdout
    assert "llm:m" in again


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--example", "wrong"], "no example query"),
        (["--example", "wrong_labels", "-p", "most"], "no key=value"),
        (["--example", "wrong_labels", "-p", "most=many"], "no number"),
        (["--example", "wrong_labels", "-p", "other=1"], "no parameter other"),
        (["SELECT 1", "--examples"], "several are given"),
        (["SELECT 1", "--show"], "are for an example"),
    ],
)
def test_wrong_use_of_examples_is_explained(store: Path, words: list[str], said: str) -> None:
    error = error_of("sql", store, *words)
    assert said in error.message
    assert error.remedy
