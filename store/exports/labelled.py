"""Reports one by one, each with its chosen labels: for formats that have a document a report."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import duckdb

from teachback.store.exports.chosen import Chosen
from teachback.store.exports.written import Tick
from teachback.store.label import FINDINGS
from teachback.store.report import SECTIONS, Report

__all__ = ["Labelled", "label_order", "labelled_reports"]

AT_ONCE = 2_048  # rows in memory
TICK_EVERY = 500  # reports
_LABEL_COLUMNS = "label_id, task, target, status, icd10, confidence, evidence, scope, labeler_id"
_PLACES = {finding: place for place, finding in enumerate(FINDINGS)}


@dataclass(frozen=True, slots=True)
class Labelled:
    """A report and its chosen labels.

    Attributes:
        report: The report.
        split: Its split; None where it has none.
        labels: Rows of labels, findings first and in their own order, each with its labeler's name as `labeler`.
    """

    report: Report
    split: str | None
    labels: list[dict[str, Any]]

    def findings(self) -> dict[str, dict[str, Any]]:
        """Return finding to its label."""
        return {label["target"]: label for label in self.labels if label["task"] == "findings"}

    def labelers(self) -> list[str]:
        """Return the names of those whose labels these are."""
        return sorted({label["labeler"] for label in self.labels})

    def diseases(self) -> list[dict[str, Any]]:
        """Return the labels of diseases."""
        return [label for label in self.labels if label["task"] == "diseases"]


def labelled_reports(chosen: Chosen, tick: Tick, condition: str = "true") -> Iterator[Labelled]:
    """Yield the chosen reports in the order of their ids; DuckDB sorts, on disk where it must.

    Args:
        chosen: What to export.
        tick: Told how far it is.
        condition: SQL on the columns of `chosen_reports`, written by the program.
    """
    connection = chosen.cursor()
    total = connection.execute(f"SELECT count(*) FROM chosen_reports WHERE {condition}").fetchall()[0][0]
    sections = ", ".join(f'"{name}"' for name in SECTIONS)
    names = dict(connection.execute("SELECT labeler_id, name FROM labelers").fetchall())
    reports = _rows(
        connection, f"SELECT report_id, corpus, subject_id, split, {sections} FROM chosen_reports WHERE {condition}"
    )
    labels = groupby(
        _rows(
            chosen.cursor(),
            f"SELECT report_id, {_LABEL_COLUMNS} FROM chosen_labels "
            f"SEMI JOIN (FROM chosen_reports WHERE {condition}) USING (report_id)",
        ),
        key=itemgetter("report_id"),
    )
    for number, (row, (_, given)) in enumerate(zip(reports, labels, strict=True), start=1):
        own = [{**label, "labeler": names[label["labeler_id"]]} for label in given]
        yield Labelled(_report(row), row["split"], sorted(own, key=label_order))
        if number % TICK_EVERY == 0:
            tick(number / total)


def label_order(label: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return by what labels of a report are sorted."""
    place = _PLACES.get(label["target"], len(_PLACES))
    return label["task"] != "findings", place, label["target"], label["labeler"], label["label_id"]


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[dict[str, Any]]:
    reader = connection.sql(f"{query} ORDER BY report_id").to_arrow_reader(AT_ONCE)
    for batch in reader:
        yield from batch.to_pylist()


def _report(row: Mapping[str, Any]) -> Report:
    sections: dict[str, str] = {name: row[name] for name in SECTIONS if row[name] is not None}
    return Report(row["report_id"], row["corpus"], sections, row["subject_id"])
