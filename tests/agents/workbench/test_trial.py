import json
from pathlib import Path

import duckdb
import pytest

from teachback.agents.settings import LLMSettings
from teachback.agents.workbench.desk import Model
from teachback.agents.workbench.trial import render_prompt, try_prompt
from teachback.errors import SettingError
from teachback.prompts import load_prompt
from teachback.store.label import FINDINGS

STAND_IN = Model("stand-in", LLMSettings())
DEFAULT = load_prompt("llm_labeler")


def a_report(store: Path, split: str) -> str:
    with duckdb.connect(str(store)) as connection:
        found = connection.execute("SELECT min(report_id) FROM splits WHERE split = ?", [split]).fetchone()
    assert found
    return str(found[0])


def test_one_report_costs_one_call_once(store: Path) -> None:
    report = a_report(store, "calibration")
    first, again = (try_prompt(store, DEFAULT, report, STAND_IN) for _ in range(2))
    assert (first.from_store, again.from_store) == (False, True)
    assert first.call is not None
    assert first.call == again.call
    assert [label.target for label in first.labels if label.task == "findings"] == list(FINDINGS)
    assert first.labels == again.labels
    assert json.loads(json.dumps(again.as_dict()))["call"]["from_store"]
    with duckdb.connect(str(store)) as connection:
        assert connection.execute("SELECT count(*) FROM llm_calls").fetchone() == (1,)
        # A look at one report is no labeling: whoever counts labelers finds none.
        assert connection.execute("SELECT count(*) FROM labelers WHERE kind = 'llm'").fetchone() == (0,)


def test_curated_labels_and_other_labelers_stand_beside_it(store: Path, framed: Path, compare: object) -> None:
    report = a_report(store, "calibration")
    trial = try_prompt(store, DEFAULT, report, STAND_IN)
    assert trial.curated is not None
    with duckdb.connect(str(store)) as connection:
        truth = connection.execute(
            "SELECT target, status FROM curated_labels WHERE task = 'findings' AND report_id = ?", [report]
        ).fetchall()
    assert dict(trial.curated.statuses) == dict(truth)
    compare(sample=1_000)  # type: ignore[operator]
    others = try_prompt(store, DEFAULT, report, STAND_IN).others
    assert [opinion.name for opinion in others] == ["llm:stand-in@framed"]
    assert set(others[0].statuses) == set(FINDINGS)


@pytest.mark.parametrize("split", ["gate", "test"])
def test_curated_labels_of_kept_splits_are_not_shown(store: Path, split: str) -> None:
    trial = try_prompt(store, DEFAULT, a_report(store, split), STAND_IN)
    assert trial.curated is None
    assert trial.withheld == split


def test_rendering_is_what_would_be_sent_and_sends_nothing(store: Path) -> None:
    report = a_report(store, "calibration")
    rendered = render_prompt(store, DEFAULT, report)
    assert [message["role"] for message in rendered.messages] == ["system", "user"]
    with duckdb.connect(str(store)) as connection:
        texts = connection.execute(
            "SELECT coalesce(impression, findings, text) FROM reports WHERE report_id = ?", [report]
        ).fetchone()
    assert texts
    assert texts[0].strip() in rendered.messages[1]["content"]
    assert rendered.tokens > sum(len(message["content"]) for message in rendered.messages) / 8
    with duckdb.connect(str(store)) as connection:
        assert connection.execute("SELECT count(*) FROM llm_calls").fetchone() == (0,)


def test_an_unknown_report_is_named_with_some_that_there_are(store: Path) -> None:
    with pytest.raises(SettingError, match="no report 'nope'") as refused:
        try_prompt(store, DEFAULT, "nope", STAND_IN)
    assert "syn-3-" in refused.value.remedy
