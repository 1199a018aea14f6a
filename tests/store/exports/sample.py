"""A store with curated, rule and reviewed labels, and reports whose text is hard on every format."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from teachback.agents.rule_labeler import RuleLabeler
from teachback.store.corpora.imported import Corpus
from teachback.store.corpora.intake import import_reports, reading_of
from teachback.store.corpora.synthetic import generate
from teachback.store.corpora.synthetic.curated import CURATOR, curated_labels
from teachback.store.database import Store, open_snapshot
from teachback.store.exports.chosen import Choice, Chosen
from teachback.store.report import Report
from teachback.store.review.decisions import Decision, decision_rows
from teachback.store.rows import label_table, labeler_row

REPORTS = 30
ODD = Report(
    'odd,"1"\n=2',
    "odd",
    {
        "findings": 'He said "no effusion",\r\n\tthen: \u2028 \U0001fac1 caf\u00e9 <b>&amp;</b> {{ x }} </report>',
        "impression": "Pneumothorax; ' OR 1=1 --",
    },
)
MOMENT = datetime(2026, 1, 31, 12, 30, 15, 123456, tzinfo=UTC)


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exports") / "labels.duckdb"
    entries = list(generate(REPORTS, seed=3))
    rules = RuleLabeler("full")
    with Store(path) as store:
        pairs = [(entry.report, curated_labels(entry)) for entry in entries]
        import_reports(store, reading_of(pairs, Corpus("synthetic", "fictitious", "any", "synth"), (CURATOR,)))
        import_reports(store, reading_of([(ODD, ())], Corpus("odd", None, "local-only", "by hand")))
        labels = [label for report in (ODD, *(entry.report for entry in entries)) for label in rules.label(report)]
        store.write({"labelers": [labeler_row(rules.spec)], "labels": label_table(labels)})
        said = [
            Decision(ODD.report_id, "ann@x.org", "set", task, target, "present", code, note, decided_at=MOMENT)
            for task, target, code, note in (
                ("findings", "Pneumothorax", None, 'a "note", two\nlines'),
                ("diseases", "pneumothorax", "J93.9", None),
            )
        ]
        store.write(decision_rows(said))
    return path


@pytest.fixture
def snapshot(labelled: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    connection, _ = open_snapshot(labelled)
    yield connection
    connection.close()


@pytest.fixture
def curated(snapshot: duckdb.DuckDBPyConnection) -> Chosen:
    return Chosen(snapshot, Choice())


@pytest.fixture
def by_rules(snapshot: duckdb.DuckDBPyConnection) -> Chosen:
    return Chosen(snapshot, Choice("rule"))
