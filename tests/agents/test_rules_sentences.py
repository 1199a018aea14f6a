"""What the rules make of sentences written for this project, one line of `rule_sentences.csv` a phenomenon's case."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from teachback.agents.rules import RuleEngine
from teachback.store.label import FINDINGS, Status, from_chexpert

ROWS = list(csv.DictReader((Path(__file__).parent / "rule_sentences.csv").read_text("utf-8").splitlines()))


@pytest.fixture(scope="module")
def engine() -> RuleEngine:
    return RuleEngine()


def wanted(row: dict[str, str]) -> dict[str, Status]:
    """Read `Edema=1; Pneumonia=-1`; what is not named is unmentioned."""
    pairs = (pair.split("=") for pair in row["wanted"].split(";") if pair.strip())
    return {finding.strip(): from_chexpert(float(value)) for finding, value in pairs}


@pytest.mark.parametrize("row", ROWS, ids=[f"{i}-{row['phenomenon']}" for i, row in enumerate(ROWS)])
def test_sentence_gets_the_wanted_statuses(row: dict[str, str], engine: RuleEngine) -> None:
    verdicts = engine.label_sections([("text", row["text"])])
    found = {finding: status for finding, (status, _) in verdicts.items() if status != "unmentioned"}
    assert found == wanted(row)


def test_sentences_cover_every_finding_in_several_phenomena() -> None:
    named = {finding for row in ROWS for finding in wanted(row)}
    assert named == set(FINDINGS)
    assert len(ROWS) >= 80
    assert len(Counter(row["phenomenon"] for row in ROWS)) >= 20
    assert len({row["text"] for row in ROWS}) == len(ROWS)
