"""A table into CheXpert's format: whatever a headerless CSV holds comes out again beside its labels."""

import csv
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from teachback.agents.rule_labeler import RuleLabeler
from teachback.agents.rule_table import label_table

LABELER = RuleLabeler()
# What CSV has a meaning for, what some readers take for a line's end, and plain letters.
TEXTS = st.text('",\r\n\t a\u00e9\u2028\U0001f4a8', max_size=4)


@settings(max_examples=60)
@example(["a\rb"])  # a lone carriage return ends a row unless it is quoted
@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_chexpert_labelers_layout_gives_each_text_back(texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.csv", Path(folder) / "out.csv"
        with source.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([text] for text in texts)
        summary = label_table(source, target, LABELER, header=False, layout="chexpert-labeler")
        with target.open(encoding="utf-8", newline="") as stream:
            header, *rows = csv.reader(stream, strict=True)
    assert [row[0] for row in rows] == texts
    assert {len(row) for row in rows} == {len(header)} == {15}
    assert (summary.reports, summary.skipped.total()) == (len(texts), 0)
