"""Choose a student before paying for it: train several on small subsets, and predict which is worth the full budget.

Reads the store's newest snapshot and writes nothing to the store; what it makes lies beside the campaigns. Points are
kept by student, so naming one more student trains that one alone.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from teachback.distill.artefacts import save_json
from teachback.distill.base import resolve_student
from teachback.distill.campaign import campaign_folder
from teachback.distill.choose_page import write_page
from teachback.distill.choose_points import Subset, measure_student, nested_sizes
from teachback.distill.choose_verdict import Choice, Prospect, choose, law_numbers
from teachback.distill.config import CampaignSettings, GateSettings, SelectSettings
from teachback.distill.freeze import freeze
from teachback.distill.record import environment
from teachback.distill.round import Progress
from teachback.errors import SettingError, StoreError
from teachback.store.database import open_snapshot
from teachback.store.identity import content_id
from teachback.store.quality.statuses import fetch_curated

__all__ = ["choose_student"]

LARGEST, SIZES = 0.25, 5  # share of the largest subset; how many sizes, each twice the one before


def choose_student(
    store: Path,
    students: Sequence[str],
    settings: CampaignSettings,
    progress: Progress = lambda what, done, total: None,
    *,
    largest: float = LARGEST,
    teacher_id: str | None = None,
    draws: int = 200,
) -> tuple[dict[str, Any], Path]:
    """Train students on small subsets and predict which is worth the full budget.

    Args:
        store: The DuckDB file.
        students: Two or more: `tiny`, local folders, or Hugging Face ids.
        settings: The settings of the campaign to come; its student is replaced by each of these.
        progress: Told what is going on.
        largest: Share of the training reports in the largest subset.
        teacher_id: Which teacher to distil; the one that has labelled most if not given.
        draws: Draws of the intervals.

    Returns:
        The record, which is also written to `choose.json` beside `choose.html`, and the folder of both.

    Raises:
        SettingError: Fewer than two students, or one named twice.
        StoreError: Nothing labelled, no curated labels, or too few reports for subsets.
        TrainingError: A base cannot be loaded.
    """
    began = time.monotonic()
    names = _names(students)
    connection, _ = open_snapshot(store)
    with connection:
        trials = {name: _only_training(settings, student) for name, student in names.items()}
        frozen = {name: freeze(connection, trial, teacher_id) for name, trial in trials.items()}
        truth = fetch_curated(connection, "calibration", settings.corpus)
    one = next(iter(frozen.values()))
    full = len({label.report_id for label in (*one.taught, *one.curated)})
    sizes = nested_sizes(full, largest=largest, count=SIZES)
    if not sizes:
        raise StoreError(
            f"{full:,} labelled training reports are too few to choose a student by subsets of them",
            "label more reports (`teachback label --help`), or raise --choose-share",
        )
    subsets = [Subset(size, settings.train.seed) for size in sizes]
    home = campaign_folder(store)
    measured = {
        name: measure_student(
            frozen[name],
            trial,
            subsets,
            truth,
            home / "points" / f"{Path(trial.student).name}-{frozen[name].campaign_id[4:12]}",
            progress,
        )
        for name, trial in trials.items()
    }
    choice = choose(measured, draws=draws, seed=settings.seed)
    choose_id = content_id("cho", sorted(each.campaign_id for each in frozen.values()), sizes)
    folder = home / f"choose-{choose_id[4:12]}"
    record = {
        "choose_id": choose_id,
        "store": str(store),
        "teacher_id": one.teacher_id,
        "settings": settings.model_dump(),
        "environment": environment(),
        "full_reports": full,
        "sizes": sizes,
        "calibration_reports": len(truth),
        **_plain(choice),
        "seconds": time.monotonic() - began,
    }
    save_json(folder / "choose.json", record)
    write_page(record, folder / "choose.html")
    return record, folder


def _names(students: Sequence[str]) -> Mapping[str, str]:
    """Return name to base; a folder goes by its last part where that is enough to tell it."""
    given = [student.strip() for student in students if student.strip()]
    if len(given) < 2:
        raise SettingError("there is nothing to choose from one student", "name two or more: --choose tiny,my-student")
    if len({resolve_student(student) for student in given}) < len(given):
        raise SettingError("--choose names a student twice", "name each once")
    short = [Path(student).name for student in given]
    return {
        part if short.count(part) == 1 else student: resolve_student(student)
        for part, student in zip(short, given, strict=True)
    }


def _only_training(settings: CampaignSettings, student: str) -> CampaignSettings:
    """Return the settings with those at their defaults that one training does not depend on: its name is their hash."""
    plain = {"rounds": 1, "control": True, "linear": True, "select": SelectSettings(), "gate": GateSettings()}
    return settings.model_copy(update={**plain, "student": student})


def _plain(choice: Choice) -> dict[str, Any]:
    return {
        "chosen": choice.chosen,
        "basis": choice.basis,
        "why": list(choice.why),
        "students": [_prospect(prospect) for prospect in choice.prospects],
    }


def _prospect(prospect: Prospect) -> dict[str, Any]:
    found, measured = prospect.forecast, prospect.measured
    return {
        "name": prospect.name,
        "student": measured.student,
        "parameters": measured.parameters,
        "points": [asdict(point) for point in measured.points],
        "full_steps": measured.full_steps,
        "full_tokens": measured.full_tokens,
        "law": None if found.law is None else law_numbers(found.law),
        "predicted_loss": found.loss,
        "interval": None if found.low is None else [found.low, found.high],
        "doubt": found.doubt,
        "accept_then_stop": found.line,
        "chance_best": prospect.chance,
        "predicted_seconds": prospect.seconds,
        "spent_seconds": prospect.spent,
        "verdict": prospect.verdict,
    }
