"""How many diseases the students list, on a sample of the gate's reports: what the gate's condition on lists asks.

A list is generated token by token, so not all of the gate is asked. From the base model nothing is asked: before a
student has been taught to list there is nothing that it could drift from.
"""

import zlib
from collections.abc import Sequence
from dataclasses import replace

import duckdb
import numpy as np
from numpy.typing import NDArray

from teachback.distill.artefacts import load_json, save_json
from teachback.distill.base import load_student
from teachback.distill.config import CampaignSettings
from teachback.distill.diseases import list_diseases_of
from teachback.distill.freeze import Frozen
from teachback.distill.gate import ListLengths
from teachback.distill.questions import Questions
from teachback.distill.round import Round, list_diseases
from teachback.distill.scored import Counter, Progress
from teachback.store.quality.diseases import fetch_diseases
from teachback.store.report import Report

__all__ = ["ASKED", "list_lengths"]

ASKED = 120  # reports: with 1 to 3 diseases each, give or take 1, the mean is then known to a tenth


def list_lengths(
    champion: Round,
    candidate: Round,
    frozen: Frozen,
    settings: CampaignSettings,
    questions: Questions,
    connection: duckdb.DuckDBPyConnection,
    progress: Progress,
) -> ListLengths | None:
    """Count what champion and candidate list, and what people did; None where either lists nothing.

    Args:
        champion: The round that stands.
        candidate: The one that would take its place.
        frozen: The campaign's inputs.
        settings: Tasks, and the form of the lists.
        questions: The student's questions.
        connection: The store, for the curated lists.
        progress: Told what is going on.
    """
    if "diseases" not in settings.tasks or not champion.training["adapter_hash"]:
        return None
    readable = [report for report in frozen.reports["gate"] if report.text(settings.scope)]
    asked = sorted(readable, key=lambda report: zlib.crc32(report.report_id.encode()))[:ASKED]
    curated = fetch_diseases(connection, [report.report_id for report in asked])
    of_champion, of_candidate = (
        _lengths(round_, asked, frozen, settings, questions, progress) for round_ in (champion, candidate)
    )
    return ListLengths(of_candidate, of_champion, np.array([len(of) for of in curated]) if any(curated) else None)


def _lengths(
    round_: Round,
    asked: Sequence[Report],
    frozen: Frozen,
    settings: CampaignSettings,
    questions: Questions,
    progress: Progress,
) -> NDArray[np.int64]:
    if settings.disease_form == "phrases":
        only = replace(frozen, reports={**frozen.reports, "gate": tuple(asked)})
        listed = list_diseases(round_, only, settings, questions, "gate", progress)
        return np.array([len(listed[report.report_id]) for report in asked])
    path = round_.folder / "disease-lengths-gate.json"
    stored = load_json(path)
    if stored is None:
        model = load_student(settings.student, round_.folder / "adapter", quantize=settings.train.quantize)
        count = Counter(progress, f"list diseases of gate, {round_.name}", len(asked))
        labels = list_diseases_of(model, questions, asked, settings.scope, "", None, count)
        lengths = [sum(label.status == "present" for label in of) for of in labels]
        stored = {report.report_id: n for report, n in zip(asked, lengths, strict=True)}
        save_json(path, stored)
    return np.array([stored[report.report_id] for report in asked])
