import csv
import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from teachback.cli import app
from teachback.errors import SettingError, StoreError
from teachback.store.database import Store, open_snapshot
from teachback.store.label import STATUSES, Label, Labeler
from teachback.store.report import Report
from teachback.store.review.decisions import Decision, deliver, record
from teachback.store.rows import label_row, labeler_row, report_row

RULE, LLM = Labeler("rule", "rule", "1"), Labeler("llm", "llm:[bold]x", "1", "x")
FINDINGS = ("Edema", "Fracture")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two labelers' labels of 200 reports; the second says `absent` where the first says `present`, of Fracture."""
    path, draw = tmp_path / "labels.duckdb", random.Random(0)
    labels = []
    for number in range(200):
        for finding in FINDINGS:
            said = draw.choices(STATUSES, (2, 2, 1, 5))[0]
            other = "absent" if (said, finding) == ("present", "Fracture") else said
            labels += [
                Label(f"r{number:03}", "findings", finding, status, labeler.labeler_id, "full")
                for labeler, status in ((RULE, said), (LLM, other))
            ]
    with Store(path) as opened:
        opened.write(
            {
                "reports": [report_row(Report(f"r{n:03}", "c", {"text": "x"})) for n in range(200)],
                "labelers": [labeler_row(labeler) for labeler in (RULE, LLM)],
                "labels": [label_row(label) for label in labels],
            }
        )
    return path


def audit(*words: str | Path, columns: int = 120) -> Result:
    return CliRunner().invoke(app, ["audit", *map(str, words)], env={"COLUMNS": str(columns)})


def words(*given: str | Path) -> str:
    """Return what is printed, on one line."""
    return " ".join(audit(*given).stdout.split())


def told(*words: str | Path) -> Any:
    asked = audit(*words, "--json")
    assert asked.exit_code == 0, asked.output
    return json.loads(asked.stdout)


def review(store: Path, share: float = 1.0) -> int:
    """Decide what was drawn as the rules say, in order, up to a share of it."""
    connection, _ = open_snapshot(store)
    with connection:
        rows = connection.execute(
            "SELECT DISTINCT i.place, i.plan_id, i.report_id, i.target, l.status FROM audit_items i "
            "JOIN labels l USING (report_id, task, target) WHERE l.labeler_id = ? ORDER BY i.place",
            [RULE.labeler_id],
        ).fetchall()
    drawn = rows[: int(share * len(rows))]
    steps = [
        Decision(report_id, "Ann", "set", "findings", target, status, plan_id=plan_id, seconds=6.0)
        for _, plan_id, report_id, target, status in drawn
    ]
    record(store, steps)
    assert deliver(store)
    return len(steps)


def test_a_plan_says_how_many_how_long_and_what_next(store: Path) -> None:
    said = words("plan", store, "--margin", "0.05")
    assert "audit-1: the error rates of llm:[bold]x, rule of every finding, for each status, within 5 points" in said
    for phrase in ("Edema", "Fracture", "in all", "unmentioned", "20 s each (assumed", "rule of three 60"):
        assert phrase in said
    assert f"teachback audit estimate {store} audit-1" in said
    assert "--each labeler" in said
    plan = told("plan", store, "--margin", "0.05")
    assert plan["name"] == "audit-1"  # the same plan again
    assert f"{plan['reviews']:,} reviews for {plan['labels']:,} labels" in said
    assert plan["hours"] == pytest.approx(plan["reviews"] * 20 / 3600)
    assert all(s["expected_margin"] <= 0.05 and 0 < s["inclusion"] <= 1 for s in plan["strata"])
    assert sum(s["drawn"] for s in plan["strata"]) == plan["labels"] > plan["reviews"]


def test_a_dry_run_writes_nothing(store: Path) -> None:
    assert "Nothing was written" in audit("plan", store, "--dry-run").stdout
    assert told("plan", store, "--dry-run")["written"] is None
    with pytest.raises(StoreError, match="no audit plan"):
        raise audit("estimate", store).exception or AssertionError


def test_filters_labelers_and_limits_are_taken(store: Path) -> None:
    plan = told("plan", store, "--labelers", "rule", "--finding", "Edema", "--status", "present", "--status", "absent")
    assert {(s["target"], s["status"]) for s in plan["strata"]} == {("Edema", "present"), ("Edema", "absent")}
    assert [one["name"] for one in plan["labelers"]] == ["rule"]
    few = told("plan", store, "--max-labels", "30", "--name", "short")
    assert (few["reviews"], few["name"]) == (30, "short")
    assert few["widest_margin"] > 0.02
    assert "(at most 30 reviews)" in words("plan", store, "--max-labels", "30")


def test_an_estimate_follows_the_reviews(store: Path) -> None:
    plan = told("plan", store, "--margin", "0.1")
    nothing = words("estimate", store)
    assert "Nothing can be estimated yet" in nothing
    assert f"To go on: teachback audit {store}" in nothing
    half = review(store, 0.5)
    assert f"{half:,} of {plan['reviews']:,} targets are reviewed by Ann" in words("estimate", store)
    review(store)
    found = told("estimate", store, "audit-1")
    assert found["progress"]["open"] == 0
    rates = {(r["labeler"], r["target"], r["status"]): r for r in found["rates"]}
    # The truth is what the rules say: they never err, and the model misses every fracture.
    assert all(rates["rule", "all", status]["errors"] == 0 for status in STATUSES)
    assert rates["rule", "all", "all"]["high"] <= 0.05
    missed = rates["llm:[bold]x", "Fracture", "absent or unmentioned"]
    connection, _ = open_snapshot(store)
    with connection:
        counted = connection.execute(
            "SELECT count(*) FILTER (status = 'present'), count(*) FILTER (status <> 'uncertain') FROM labels "
            "WHERE target = 'Fracture' AND labeler_id = ?",
            [RULE.labeler_id],
        ).fetchone()
    assert counted is not None
    truth = counted[0] / counted[1]
    assert missed["low"] <= truth <= missed["high"]
    shown = audit("estimate", store, "--per-finding").stdout
    for phrase in ("llm:[bold]x, findings", "absent or unmentioned, but is present", "not there: missed", "Fracture"):
        assert phrase in shown
    rows = list(csv.DictReader(io.StringIO(audit("estimate", store, "--csv").stdout)))
    assert len(rows) == len(found["rates"])
    assert rows[0]["labeler"] == found["rates"][0]["labeler"]


def test_time_is_what_decisions_took(store: Path) -> None:
    told("plan", store, "--margin", "0.1")
    decided = review(store)
    assert f"6 s each (as {decided:,} timed decisions took)" in words("plan", store, "--margin", "0.05")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["plan", "--margin", "2"], "--margin 2"),
        (["plan", "--precision", "95"], "--precision 95"),
        (["plan", "--finding", "Oedema"], "--finding Oedema"),
        (["plan", "--status", "maybe"], "--status maybe"),
        (["plan", "--each", "report"], "--each report"),
        (["plan", "--allocation", "even"], "--allocation even"),
        (["plan", "--labelers", "nobody"], "named 'nobody'"),
        (["plan", "--teacher", "newest"], "no teacher begins"),
        (["plan", "--corpus", "none"], "no label with these filters"),
        (["estimate", "--json", "--csv"], "both given"),
    ],
)
def test_what_cannot_be_asked_for_is_named_with_a_remedy(store: Path, given: list[str], said: str) -> None:
    error = audit(given[0], store, *given[1:]).exception
    assert isinstance(error, SettingError)
    assert said in error.message
    assert error.remedy


def test_a_narrow_terminal_cuts_no_number(store: Path) -> None:
    assert "…" not in audit("plan", store, columns=60).stdout
    review(store)
    assert "…" not in audit("estimate", store, "--per-finding", columns=60).stdout
