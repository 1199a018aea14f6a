"""`teachback adjudication` and `teachback queue`, on reports that the stand-in argued over."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from teachback.agents.assemble import TeacherSettings, teach_store
from teachback.agents.settings import LLMSettings
from teachback.agents.stand_in import stand_in_settings
from teachback.agents.teach import TeachConfig
from teachback.cli import app
from teachback.cli.adjudication import price_in_words, sentence
from teachback.errors import SettingError
from teachback.store.corpora.synthetic import generate
from teachback.store.corpora.synthetic.curated import CURATOR, curated_labels
from teachback.store.database import Store, snapshot_path
from teachback.store.quality.adjudication import AdjudicationReport, Policy
from teachback.store.quality.bootstrap import Estimate
from teachback.store.quality.disputes import Spent
from teachback.store.rows import label_row, labeler_row, report_row

SPLITS = ("calibration", "gate", "test", "train")
REPORTS = 120


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic reports, every second one curated, labelled by the rules and the stand-in."""
    path = tmp_path_factory.mktemp("judged") / "s.duckdb"
    samples = [(sample.report, curated_labels(sample)) for sample in generate(REPORTS, seed=5)]
    curated = [label_row(label) for _, labels in samples[::2] for label in labels]
    splits = [
        {"report_id": report.report_id, "split": SPLITS[i // 2 % 4], "group_id": f"g{i}", "seed": 0}
        for i, (report, _) in enumerate(samples)
    ]
    with Store(path) as opened:
        opened.write(
            {
                "corpora": [{"corpus": samples[0][0].corpus, "egress": "any"}],
                "reports": [report_row(report) for report, _ in samples],
                "splits": splits,
                "labelers": [labeler_row(CURATOR)],
                "labels": curated,
            }
        )
    teach_store(path, TeacherSettings("stand-in", stand_in_settings(LLMSettings())), TeachConfig())
    return path


def run(*arguments: str) -> str:
    ended = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.stdout


def query(store: Path, sql: str) -> list[tuple]:
    with duckdb.connect(str(snapshot_path(store)), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_what_it_says_is_what_sql_says(store: Path) -> None:
    found = json.loads(run("adjudication", str(store), "--split", "all", "--json"))
    curated = (
        "FROM adjudications a JOIN curated_labels c USING (report_id, task, target) "
        "JOIN splits USING (report_id) WHERE split <> 'test'"
    )
    decided, right, left_open = query(
        store,
        "SELECT count(*) FILTER (verdict <> 'cannot_tell'), count(*) FILTER (verdict = c.status), "
        f"count(*) FILTER (verdict = 'cannot_tell') {curated}",
    )[0]
    assert (found["n"], found["right"], found["left_open"]) == (decided, right, left_open)
    assert found["n"] > 40
    assert [policy["name"] for policy in found["policies"]] == ["rule", "llm:stand-in", "majority"]
    rule = query(
        store,
        "SELECT count(*) FROM (SELECT c.status, unnest(weighed) AS label_id "
        f"{curated} AND verdict <> 'cannot_tell') d "
        "JOIN labels l USING (label_id) JOIN labelers b ON b.labeler_id = l.labeler_id "
        "WHERE b.kind = 'rule' AND l.status = d.status",
    )
    assert found["policies"][0]["right"] == rule[0][0]
    assert found["spent"]["cost_usd"] == 0
    assert found["spent"]["calls"] > 0
    assert found["uncurated"] > 0
    assert sum(row["n"] for row in found["findings"]) == found["n"]


def test_the_table_has_a_sentence_and_a_row_for_each_policy(store: Path) -> None:
    shown = run("adjudication", str(store), "--split", "all", "--per-finding")
    words = " ".join(shown.split())
    assert "The adjudicator was right on" in words
    assert "disputes with curated labels; always taking llm:stand-in's vote:" in words
    assert "always rule" in shown
    assert "the majority" in shown
    assert "free of charge" in words
    assert "old" in shown
    assert "Cardiomegaly" in shown
    assert "Cardiomegaly" not in run("adjudication", str(store))


def test_looking_at_test_is_said(store: Path) -> None:
    ended = CliRunner().invoke(app, ["adjudication", str(store), "--split", "test"], catch_exceptions=False)
    assert "looks at `test`" in ended.stderr
    ended = CliRunner().invoke(app, ["adjudication", str(store), "--split", "gate"], catch_exceptions=False)
    assert ended.stderr == ""


def test_the_queue_is_listed_and_written(store: Path, tmp_path: Path) -> None:
    waiting = query(
        store,
        "SELECT report_id, target FROM adjudications ANTI JOIN curated_labels USING (report_id, task, target) "
        "WHERE verdict = 'cannot_tell' ORDER BY 1, 2",
    )
    assert waiting  # with this seed the stand-in cannot tell of some
    found = json.loads(run("queue", str(store), "--json"))
    assert [(entry["report_id"], entry["target"]) for entry in found["targets"]] == waiting
    assert found["waiting"] == len(waiting)
    first = found["targets"][0]
    assert [vote["labeler"] for vote in first["votes"]] == ["rule", "llm:stand-in"]
    assert first["rationale"].startswith("no vote's evidence")
    shown = run("queue", str(store), "--rows", "1")
    assert waiting[0][0] in shown
    assert "wait" in shown.splitlines()[0]
    file = tmp_path / "queue.csv"
    run("queue", str(store), "--csv", str(file))
    with file.open(newline="", encoding="utf-8") as opened:
        written = list(csv.DictReader(opened))
    assert [(row["report_id"], row["target"]) for row in written] == waiting
    assert written[0]["votes"].startswith("rule: ")
    with pytest.raises(SettingError, match="there already"):
        run("queue", str(store), "--csv", str(file))


def test_an_empty_queue_says_so(store: Path) -> None:
    assert run("queue", str(store), "--corpus", "none").strip() == "0 targets of 0 reports wait for a person."


def figure(value: float, half: float) -> Estimate:
    return Estimate(value, value - half, value + half)


def policy(name: str, accuracy: float, gain: float) -> Policy:
    return Policy(name, "llm", round(500 * accuracy), figure(accuracy, 0.02), figure(gain, 0.02), 0, 0)


def report(accuracy: float, *others: tuple[str, float], cost: float | None = 1.0) -> AdjudicationReport:
    policies = tuple(policy(name, share, accuracy - share) for name, share in others)
    return AdjudicationReport(
        teacher_id="tch",
        adjudicator="adjudicator:m",
        adjudicator_id="lbr",
        n=500,
        left_open=0,
        uncurated=0,
        coarse=0,
        n_reports=400,
        n_clusters=300,
        right=round(500 * accuracy),
        accuracy=figure(accuracy, 0.02),
        policies=(*policies, replace(policies[-1], name="majority", kind="majority")),
        reference="llm:m",
        corrected=50,
        spoiled=10,
        spent=Spent(400, 1, 1, cost),
        findings=(),
        notes=(),
        level=0.95,
        n_boot=10,
        seed=0,
    )


@pytest.mark.parametrize(
    ("others", "ending"),
    [
        ([("rule", 0.5), ("llm:m", 0.6)], "llm:m's vote: 60.0 %: it is shown to help here."),
        ([("rule", 0.5), ("llm:m", 0.71)], "llm:m's vote: 71.0 %: it is not shown to help here."),
        ([("rule", 0.5), ("llm:m", 0.8)], "llm:m's vote: 80.0 %: it is shown to do harm here."),
        (
            [("rule", 0.71), ("llm:m", 0.6)],
            "always taking rule's vote: 71.0 %: against the former it is shown to help here, against the latter it is "
            "not shown to help here.",
        ),
        ([("rule", 0.65), ("llm:m", 0.6)], "always taking rule's vote: 65.0 %: it is shown to help here."),
    ],
)
def test_the_sentence_claims_no_more_than_the_intervals_show(others: list[tuple[str, float]], ending: str) -> None:
    said = sentence(report(0.7, *others))
    assert said.startswith(
        "The adjudicator was right on 70.0 % [68.0, 72.0] of 500 disputes with curated labels; always"
    )
    assert said.endswith(ending)


def test_the_price_in_words() -> None:
    voters = [("rule", 0.5), ("llm:m", 0.6)]
    assert price_in_words(report(0.7, *voters)) == "$1.0000, $0.0250 for each label won"  # 1 USD for 50 - 10 labels
    assert "not known" in price_in_words(report(0.7, *voters, cost=None))
    assert "free" in price_in_words(report(0.7, *voters, cost=0.0))
    assert price_in_words(replace(report(0.7, *voters), corrected=10)) == "$1.0000 for nothing won"
