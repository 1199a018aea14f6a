"""The label path's benchmark, small: the real path against the real server, no other framework."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from answers import Knowledge
from reports import long_reports, numbered

from teachback.agents.rule_labeler import RuleLabeler
from teachback.store.label import FINDINGS

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "teacher_graph.py"


@pytest.mark.slow
def test_figures_are_printed_and_a_rerun_asks_nothing(tmp_path):
    out = tmp_path / "figures.json"
    command = [sys.executable, str(SCRIPT), "--n", "30", "--concurrency", "10", "--latency-ms", "20", "--alone"]
    ran = subprocess.run(
        [*command, "--disagree", "0.5", "--out", str(out)], capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    figures = json.loads(ran.stdout.splitlines()[-1])
    assert figures == json.loads(out.read_text())
    assert [run["who"] for run in figures["runs"]] == ["teachback", "teachback, alike", "teachback"]
    for run in figures["runs"]:
        assert (run["valid"], run["failed"]) == (30, 0)
        # One question a report, and one more for each report that the answers made disputed.
        assert run["requests"] == 30 + run["verdicts"] == run["calls"]
        assert 0 < run["verdicts"] <= run["disputed"] == run["decided"]
        assert run["most_in_flight"] <= 10
    given, alike, _ = (run["bytes_an_answer"] for run in figures["runs"])
    assert alike < given / 2  # without log-probabilities, but for the adjudicator's answers
    assert figures["warm"]["calls"] == 0
    # 10 at once, 20 ms each: 500/s at most.
    assert 0 < figures["share_of_ideal"] == figures["reports_per_second"]["teachback"] / 500


def test_reports_are_long_and_all_different():
    texts = long_reports(20)
    reports = list(numbered(texts, 45))
    lengths = [len(report.text("full")) for report in reports]
    assert 1_200 < sum(lengths) / len(lengths) < 1_800
    assert len({report.text("full") for report in reports}) == 45
    assert len({text.findings for text in texts}) == 20


def test_answers_agree_with_the_rules_but_for_the_turned_ones():
    texts = long_reports(40)
    rules = RuleLabeler()
    known = Knowledge.of_all(texts, rules, 0.25, 0)
    for number, (text, knowledge) in enumerate(zip(texts, known, strict=True)):
        verdicts = rules.verdicts(text.report(number))
        assert {finding: status for finding, (status, _) in knowledge.statuses.items()} == {
            finding: verdicts[finding][0] for finding in FINDINGS
        }
    assert 0 < sum(knowledge.turned is not None for knowledge in known) < 40
