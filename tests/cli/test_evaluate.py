"""`teachback evaluate` on a published snapshot."""

import json
from pathlib import Path

import pytest
from tests.store.judged_store import judged_store
from typer.testing import CliRunner

from teachback.cli import app
from teachback.errors import StoreError, TeachbackError
from teachback.store.database import Store, snapshot_path
from teachback.store.label import FINDINGS, Label, Labeler, Status
from teachback.store.report import Report
from teachback.store.rows import label_row, labeler_row, report_row

READER = Labeler("human", "reader", "1")
RULE = Labeler("rule", "rule [beta]", "1")
LLM = Labeler("llm", "llm:stand-in", "1")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Twenty gate reports: Edema is present in the first ten, uncertain in the next five."""
    path = tmp_path / "labels.duckdb"
    curated: list[Status] = ["present"] * 10 + ["uncertain"] * 5 + ["unmentioned"] * 5
    rules: list[Status] = ["present"] * 8 + ["absent"] * 2 + ["present"] * 2 + ["unmentioned"] * 8
    model: list[Status] = ["present"] * 6 + ["unmentioned"] * 4
    labels = [
        label_row(Label(f"r{i:02}", "findings", f, said if f == "Edema" else "unmentioned", who.labeler_id, "full"))
        for who, statuses in ((READER, curated), (RULE, rules), (LLM, model))
        for i, said in enumerate(statuses)
        for f in FINDINGS
    ]
    with Store(path) as opened:
        opened.write(
            {
                "corpora": [{"corpus": "one", "egress": "any"}],
                "reports": [report_row(Report(f"r{i:02}", "one", {"text": "Clear."})) for i in range(20)],
                "splits": [
                    {"report_id": f"r{i:02}", "split": "gate", "group_id": f"g{i}", "seed": 0} for i in range(20)
                ],
                "labelers": [labeler_row(x) for x in (READER, RULE, LLM)],
                "labels": labels,
            }
        )
    return path


def run(*arguments: str) -> str:
    ended = CliRunner().invoke(app, ["evaluate", *arguments], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.output


def test_the_table_shows_figures_with_intervals(store: Path) -> None:
    shown = run(str(store))
    # rules: tp 8, fp 2 (of the uncertain), fn 2: F1 = 16 / 20
    assert "rule [beta]" in shown
    assert "0.800 [0." in shown
    # the model labelled ten reports: tp 6, fn 4: F1 = 12 / 16
    assert "0.750 [0." in shown
    assert "50%" in shown
    assert "20 reports with curated labels, split gate" in shown
    assert "old" in shown
    assert "--common" in shown


def test_json_has_everything(store: Path) -> None:
    found = json.loads(run(str(store), "--json", "--n-boot", "100"))
    assert found["split"] == "gate"
    assert found["snapshot_age_s"] >= 0
    assert [labeler["name"] for labeler in found["labelers"]] == ["rule [beta]", "llm:stand-in"]
    figures = found["labelers"][0]["figures"]
    assert figures["micro"]["value"] == pytest.approx(0.8)
    assert figures["macro_findings"] == ["Edema"]
    assert figures["n_boot"] == 100
    assert found["labelers"][1]["coverage"] == 0.5


def test_uncertain_may_count_as_positive(store: Path) -> None:
    figures = json.loads(run(str(store), "--json", "--uncertain", "positive"))["labelers"]
    # curated positives are now 15; rules: tp 10, fp 0, fn 5: F1 = 20 / 25
    assert {f["name"]: f["figures"]["positives"] for f in figures}["rule [beta]"] == 15
    assert {f["name"]: f["figures"]["micro"]["value"] for f in figures}["rule [beta]"] == pytest.approx(0.8)


def test_common_reports(store: Path) -> None:
    found = json.loads(run(str(store), "--json", "--common"))
    assert {labeler["figures"]["n_reports"] for labeler in found["labelers"]} == {10}


def test_per_finding_tables(store: Path) -> None:
    shown = run(str(store), "--per-finding")
    assert all(shown.count(finding) == 2 for finding in FINDINGS)


def test_against_another_labeler(store: Path) -> None:
    shown = run(str(store), "--against", "llm", "--split", "all")
    assert "kappa" in shown
    assert "…" not in shown
    assert "llm:stand-in" in shown.splitlines()[0]
    found = json.loads(run(str(store), "--against", "llm", "--json"))
    assert (found["reference"], found["n_reports"]) == ("llm:stand-in", 10)
    assert {labeler["name"] for labeler in found["labelers"]} == {"reader", "rule [beta]"}
    # over the ten reports the rules differ from the model in reports 6 to 9: 126 of 130 cells are equal
    rule = next(labeler for labeler in found["labelers"] if labeler["name"] == "rule [beta]")
    assert rule["agreement"]["accuracy"]["value"] == pytest.approx(126 / 130)


def test_reading_works_while_a_run_writes_and_changes_nothing(store: Path) -> None:
    before = snapshot_path(store).read_bytes()
    with Store(store):
        assert "rule" in run(str(store))
    assert snapshot_path(store).read_bytes() == before


def test_errors_name_the_remedy(store: Path, tmp_path: Path) -> None:
    for arguments, message in (
        ([str(tmp_path / "none.duckdb")], "there is no store"),
        ([str(store), "--split", "test"], "no curated labels in split 'test'"),
        ([str(store), "--against", "nobody"], "no labeler is called 'nobody'"),
    ):
        with pytest.raises(StoreError, match=message) as raised:
            CliRunner().invoke(app, ["evaluate", *arguments], catch_exceptions=False)
        assert raised.value.remedy


def test_two_labelers_are_compared_status_by_status_and_cell_by_cell(store: Path) -> None:
    asked = (str(store), "--against", "llm:stand-in", "--per-finding", "--disagreements", "3", "--n-boot", "100")
    shown = run(*asked)
    # both say present of six reports; the model of six in all, the rules of eight
    assert "F1 by status, all findings: present 0.857 [0." in shown
    assert "kappa [95 %]" in shown
    assert "rule [beta] differs from llm:stand-in in 4 cells, 3 of them drawn by chance" in shown
    rule = next(x for x in json.loads(run(*asked, "--json"))["labelers"] if x["kind"] == "rule")
    assert rule["differing"] == 4
    assert {d["report_id"] for d in rule["disagreements"]} < {"r06", "r07", "r08", "r09"}
    assert {(d["finding"], d["reference"]) for d in rule["disagreements"]} == {("Edema", "unmentioned")}
    counts = {s["status"]: (s["n_a"], s["n_b"]) for s in rule["agreement"]["statuses"]}
    assert counts == {"present": (6, 8), "absent": (0, 2), "uncertain": (0, 0), "unmentioned": (124, 120)}


def test_against_curated_labels_only_being_positive_differs(store: Path) -> None:
    labelers = json.loads(run(str(store), "--disagreements", "9", "--n-boot", "0", "--json"))["labelers"]
    rule = next(x for x in labelers if x["kind"] == "rule")
    assert [(d["report_id"], d["reference"], d["said"]) for d in rule["disagreements"]] == [
        ("r08", "present", "absent"),
        ("r09", "present", "absent"),
        ("r10", "uncertain", "present"),
        ("r11", "uncertain", "present"),
    ]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return judged_store(tmp_path_factory.mktemp("judged"))


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (("--by", "sex", "--split", "all"), ("sex", "(unknown)", "weighted", "student")),
        (("--by", "finding"), ("Pleural Effusion", "F1 [95 %]")),
        (("--table", "pairs"), ("over", "wins", "losses", "llm:m")),
        (("--table", "confusion"), ("rule (columns)", "unmentioned")),
        (("--table", "calibration"), ("calibration error", "Brier", "llm:m")),
        (("--table", "agreement", "--per-finding"), ("Krippendorff's alpha of 3 labelers", "kappa", "Edema")),
        (("--table", "drift", "--per-finding"), ("round 1", "bits", "Edema")),
        (("--table", "rare", "--few", "10"), ("fewer than 10 positives", "recall [95 %]")),
        (("--table", "diseases", "--split", "all"), ("exact", "normalised", "synonym", "icd3", "left out")),
    ],
)
def test_people_and_programs_see_the_same(judged: Path, asked: tuple[str, ...], shown: tuple[str, ...]) -> None:
    printed = run(str(judged), *asked, "--n-boot", "50")
    for words in (*shown, "snapshot is"):
        assert words in printed
    assert max(map(len, printed.splitlines())) <= 140
    found = json.loads(run(str(judged), *asked, "--n-boot", "50", "--json"))
    assert any(isinstance(value, list) and value for name, value in found.items() if name != "notes")
    assert found["snapshot_age_s"] >= 0


def test_a_figure_by_group_is_the_standings_figure(judged: Path) -> None:
    standings = json.loads(run(str(judged), "--n-boot", "0", "--only", "rule", "--json"))
    grouped = json.loads(run(str(judged), "--n-boot", "0", "--only", "rule", "--by", "finding", "--json"))
    by_finding = {f["finding"]: f["f1"]["value"] for f in standings["labelers"][0]["figures"]["findings"]}
    assert {g["group"]: g["micro"]["value"] for g in grouped["groups"]} == by_finding


def test_the_reliability_is_drawn(judged: Path, tmp_path: Path) -> None:
    picture = tmp_path / "reliability.svg"
    printed = run(str(judged), "--table", "calibration", "--plot", str(picture), "--n-boot", "20")
    assert str(picture) in printed.replace("\n", "")
    assert picture.read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (("--by", "site"), "no report has the slice 'site'"),
        (("--by", "sex", "--table", "rare"), "--by groups the standings, not rare"),
        (("--plot", "x.svg"), "--plot draws the calibration"),
        (("--only", "nobody"), "no labeler is called 'nobody'"),
    ],
)
def test_what_cannot_be_asked_is_refused(judged: Path, asked: tuple[str, ...], problem: str) -> None:
    with pytest.raises(TeachbackError, match=problem):
        run(str(judged), *asked)
