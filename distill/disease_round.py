"""What a round's student lists in JSON: how sure it may be called, its card, its labels, and its list of a split."""

from typing import Any

import numpy as np

from teachback.distill.artefacts import load_json, save_json
from teachback.distill.base import load_student
from teachback.distill.config import CampaignSettings
from teachback.distill.diseases import Verification, fit_verification, is_curated, list_diseases_of, verification_from
from teachback.distill.freeze import Frozen
from teachback.distill.labeler import CARD, lists_diseases
from teachback.distill.questions import Questions
from teachback.distill.round import Round
from teachback.distill.scored import Counter, Progress
from teachback.store.database import Store
from teachback.store.label import Label, Labeler
from teachback.store.quality.diseases import fetch_diseases
from teachback.store.report import Report
from teachback.store.rows import label_row, labeler_row

__all__ = ["keep_diseases"]


def keep_diseases(
    round_: Round, frozen: Frozen, settings: CampaignSettings, questions: Questions, store: Store, progress: Progress
) -> dict[str, list[tuple[str, str | None]]]:
    """Let a student list the diseases of `test` with evidence and confidence, and keep them as labels.

    How its yes and no become a confidence is fitted on `calibration` and written to its card, with which the adapter
    lists diseases wherever it labels.

    Returns:
        The diseases that it calls present, per report.
    """
    path = round_.folder / "diseases-test.json"
    stored = load_json(path)
    if stored is None:
        model = load_student(settings.student, round_.folder / "adapter", quantize=settings.train.quantize)

        def listed(split: str, labeler_id: str, verification: Verification | None) -> list[list[Label]]:
            reports: tuple[Report, ...] = frozen.reports[split]
            count = Counter(progress, f"list diseases of {split}, {round_.name}", len(reports))
            return list_diseases_of(model, questions, reports, settings.scope, labeler_id, verification, count)

        fitted = load_json(round_.folder / "verification.json")
        if fitted is None:
            fitted = _fit(listed, frozen, settings, store)
            save_json(round_.folder / "verification.json", fitted)
        labeler = _write_card(round_, fitted)
        labels = listed("test", labeler.labeler_id, verification_from(fitted["verification"]))
        run_id = f"run_{frozen.campaign_id[4:]}"
        rows = [label_row(label.changed(round_id=round_.round_id), run_id) for of in labels for label in of]
        store.write({"labelers": [labeler_row(labeler)], "labels": rows})
        stored = {
            report.report_id: [(label.target, label.icd10) for label in of if label.status == "present"]
            for report, of in zip(frozen.reports["test"], labels, strict=True)
        }
        save_json(path, stored)
    return {report_id: [(name, code) for name, code in of] for report_id, of in stored.items()}


def _fit(listed: Any, frozen: Frozen, settings: CampaignSettings, store: Store) -> dict[str, Any]:
    if settings.verify_weight == 0:
        return {"verification": None}
    reports = frozen.reports["calibration"]
    curated = fetch_diseases(store.connection, [report.report_id for report in reports])
    if not any(curated):
        return {"verification": Verification().as_dict()}
    labels = listed("calibration", "", Verification())
    judged = [
        (label.confidence, is_curated(label, known))
        for of, known in zip(labels, curated, strict=True)
        for label in of
        if label.status == "present"
    ]
    p, right = np.array([p for p, _ in judged]), np.array([known for _, known in judged], dtype=bool)
    return {"verification": fit_verification(p, right).as_dict()}


def _write_card(round_: Round, fitted: dict[str, Any]) -> Labeler:
    path = round_.folder / "adapter" / CARD
    card = load_json(path) or {}
    save_json(path, card | {"diseases": fitted})
    return lists_diseases(round_.labeler, fitted)
