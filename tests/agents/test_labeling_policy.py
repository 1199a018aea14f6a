"""The examples in `docs/labeling-policy.md` are what the rules say today, so the page cannot go stale."""

import re
from pathlib import Path
from typing import cast

import pytest

from teachback.agents.rule_labeler import RuleLabeler
from teachback.agents.rules import RuleEngine
from teachback.store.label import FINDINGS, Status, derive_no_finding, from_chexpert
from teachback.store.report import SCOPES, Report, Scope

PAGE = Path(__file__).parents[2] / "docs" / "labeling-policy.md"
EXAMPLE = ("sentence", "verdict")
NO_FINDING = ("sentence", "verdict", "No Finding")
SCOPED = ("findings", "impression", "scope", "verdict")
MISREAD = ("sentence", "verdict", "wanted")

Row = dict[str, str]
Table = tuple[tuple[str, ...], list[Row]]


def tables(page: str) -> list[Table]:
    """Return each table of a Markdown page as its header and its rows."""
    found: list[Table] = []
    for block in re.findall(r"(?:^\|.*\n?)+", page, re.MULTILINE):
        header, _, *rows = [tuple(cell.strip() for cell in line[1:-1].split("|")) for line in block.splitlines()]
        found.append((header, [dict(zip(header, row, strict=True)) for row in rows]))
    return found


TABLES = tables(PAGE.read_text("utf-8"))


def rows(*headers: tuple[str, ...]) -> list[Row]:
    return [row for header, body in TABLES if header in headers for row in body]


def statuses(verdict: str) -> dict[str, Status]:
    """Read `Edema=1; Pneumonia=-1`; what is not named is unmentioned."""
    pairs = (pair.split("=") for pair in verdict.split(";") if pair.strip())
    return {finding.strip(): from_chexpert(float(value)) for finding, value in pairs}


def mentioned(found: dict[str, Status]) -> dict[str, Status]:
    return {finding: status for finding, status in found.items() if status != "unmentioned"}


@pytest.fixture(scope="module")
def engine() -> RuleEngine:
    return RuleEngine()


@pytest.mark.parametrize("row", rows(EXAMPLE, NO_FINDING, MISREAD), ids=lambda row: row["sentence"])
def test_example_gets_the_verdict_on_the_page(row: Row, engine: RuleEngine) -> None:
    verdicts = engine.label_sections([("text", row["sentence"].replace(r"\n", "\n"))])
    found = {finding: status for finding, (status, _) in verdicts.items()}
    assert mentioned(found) == statuses(row["verdict"])
    if "No Finding" in row:
        assert derive_no_finding(found) == from_chexpert(float(row["No Finding"]) if row["No Finding"] else None)


@pytest.mark.parametrize("row", rows(SCOPED), ids=lambda row: "-".join(row.values()))
def test_scope_example_gets_the_verdict_on_the_page(row: Row) -> None:
    assert row["scope"] in SCOPES
    report = Report("r1", "c", {"findings": row["findings"], "impression": row["impression"]})
    labels = RuleLabeler(cast(Scope, row["scope"])).label(report)
    if row["verdict"] == "abstains":
        assert labels == []
    else:
        assert mentioned({label.target: label.status for label in labels}) == statuses(row["verdict"])


@pytest.mark.parametrize("row", rows(MISREAD), ids=lambda row: row["sentence"])
def test_misreading_wants_another_verdict_than_it_gets(row: Row) -> None:
    assert statuses(row["wanted"]) != statuses(row["verdict"])
    assert statuses(row["wanted"]).keys() <= set(FINDINGS)


def test_page_shows_every_finding_and_no_example_twice() -> None:
    assert {header for header, _ in TABLES} == {EXAMPLE, NO_FINDING, SCOPED, MISREAD}
    assert {finding for row in rows(EXAMPLE) for finding in statuses(row["verdict"])} == set(FINDINGS)
    sentences = [row["sentence"] for row in rows(EXAMPLE, NO_FINDING, MISREAD)]
    assert len(set(sentences)) == len(sentences)
    assert len(rows(MISREAD)) >= 5


def test_table_reader_keeps_empty_cells_and_ends_at_the_blank_line() -> None:
    page = "# Page\n\n| sentence | verdict |\n|---|---|\n| No edema. | Edema=0 |\n| Clear. | |\n\n| a |\n|---|\n| b |\n"
    assert tables(page) == [
        (EXAMPLE, [{"sentence": "No edema.", "verdict": "Edema=0"}, {"sentence": "Clear.", "verdict": ""}]),
        (("a",), [{"a": "b"}]),
    ]
