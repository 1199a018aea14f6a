"""From Teachback's objects to table rows and back."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb

from teachback.store.label import Label, Labeler
from teachback.store.report import SECTIONS, Report

__all__ = ["fetch_reports", "label_row", "labeler_row", "report_row"]


def report_row(report: Report, source_file: str | None = None) -> dict[str, Any]:
    """Return the `reports` row of a report."""
    return {
        "report_id": report.report_id,
        "corpus": report.corpus,
        "subject_id": report.subject_id,
        "source_file": source_file,
        **{section: report.sections.get(section) for section in SECTIONS},
    }


def labeler_row(labeler: Labeler) -> dict[str, Any]:
    """Return the `labelers` row of a labeler."""
    return {
        "labeler_id": labeler.labeler_id,
        "kind": labeler.kind,
        "name": labeler.name,
        "version": labeler.version,
        "model": labeler.model,
        "prompt_id": labeler.prompt_id,
        "parameters": json.dumps(dict(labeler.parameters), sort_keys=True),
    }


def label_row(label: Label, run_id: str | None = None) -> dict[str, Any]:
    """Return the `labels` row of a label."""
    return {
        "label_id": label.label_id,
        "report_id": label.report_id,
        "task": label.task,
        "target": label.target,
        "icd10": label.icd10,
        "icd10_check": label.icd10_check,
        "status": label.status,
        "confidence": label.confidence,
        "confidence_source": label.confidence_source,
        "confidence_note": label.confidence_note or None,
        "probs": _probs(label.probs),
        "evidence": [
            {"section": e.section, "start": e.start, "end": e.end, "quote": e.quote, "cue": e.cue}
            for e in label.evidence
        ],
        "scope": label.scope,
        "labeler_id": label.labeler_id,
        "run_id": run_id,
        "round_id": label.round_id,
        "llm_call_id": label.llm_call_id,
    }


def fetch_reports(
    connection: duckdb.DuckDBPyConnection, where: str = "true", parameters: Sequence[Any] | Mapping[str, Any] = ()
) -> list[Report]:
    """Read reports, in the order of their ids.

    Args:
        connection: A store or a snapshot.
        where: SQL condition over the table `reports`, written by the program, never by a user.
        parameters: Values for its `?` places, or by name for `$name` places.
    """
    columns = ", ".join(f'"{section}"' for section in SECTIONS)
    query = f"SELECT report_id, corpus, subject_id, {columns} FROM reports WHERE {where} ORDER BY report_id"
    values = parameters if isinstance(parameters, Mapping) else list(parameters)
    return [_report(row) for row in connection.execute(query, values).fetchall()]


def _report(row: Iterable[Any]) -> Report:
    report_id, corpus, subject_id, *texts = row
    sections: dict[str, str] = {name: text for name, text in zip(SECTIONS, texts, strict=True) if text is not None}
    return Report(report_id=report_id, corpus=corpus, sections=sections, subject_id=subject_id)


def _probs(probs: Mapping[str, float] | None) -> dict[str, float] | None:
    return None if probs is None else {k: probs.get(k, 0.0) for k in ("present", "absent", "uncertain", "unmentioned")}
