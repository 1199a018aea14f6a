"""What a campaign writes down: rows for the store, and the record that its report is made from."""

import json
import os
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from teachback import __version__
from teachback.distill.assemble import TrainingRow
from teachback.distill.config import CampaignSettings
from teachback.distill.disease_round import keep_diseases
from teachback.distill.freeze import Frozen
from teachback.distill.gate import Decision
from teachback.distill.judge import Bench, Judged
from teachback.distill.questions import Questions
from teachback.distill.round import Progress, Round, list_diseases
from teachback.store.database import Store
from teachback.store.identity import content_id
from teachback.store.quality.calibration import CalibrationReport
from teachback.store.quality.diseases import evaluate_diseases, fetch_diseases
from teachback.store.quality.statuses import cluster_codes
from teachback.store.quality.tables import evaluation_rows
from teachback.store.runs import git_revision

__all__ = ["RoundRecord", "disease_figures", "environment", "record_look", "round_rows", "run_row"]


@dataclass(slots=True)
class RoundRecord:
    """One round with everything that was found out about it.

    Attributes:
        round_: The round.
        rows: What it trained on, and the pseudo-labels that it refused.
        decision: The gate's verdict; None for arms that were not put to it.
        passed_over: Why its control arm was put to the gate in its place; None where that was not so.
        pseudo: What was fed back into it; None where nothing was.
        gate: Its figures on `gate`.
        reliability: Calibration error of decided statuses on `calibration`, before and after.
        test: Its figures on `test`, once that is open.
        calibrated: By split, what calibration did to its probabilities of `present`, finding by finding.
    """

    round_: Round
    rows: Sequence[TrainingRow]
    decision: Decision | None
    pseudo: dict[str, Any] | None
    gate: Judged
    reliability: dict[str, Any]
    test: Judged | None = field(default=None)
    calibrated: dict[str, CalibrationReport] = field(default_factory=dict)
    passed_over: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain values."""
        sources = Counter(row.source for row in self.rows if row.selected)
        return {
            "round_id": self.round_.round_id,
            "round": self.round_.number,
            "arm": self.round_.arm,
            "name": self.round_.name,
            "labeler_id": self.round_.labeler.labeler_id,
            "folder": str(self.round_.folder),
            "threshold": self.round_.calibration.threshold,
            "training": self.round_.training,
            "labels_by_source": dict(sources),
            "decision": None if self.decision is None else self.decision.as_dict(),
            "passed_over": self.passed_over,
            "pseudo": self.pseudo,
            "gate": self.gate.as_dict(),
            "test": None if self.test is None else self.test.as_dict(),
            "reliability": {
                **self.reliability,
                "methods": list(self.round_.calibration.methods),
                "splits": {split: report.as_dict() for split, report in self.calibrated.items()},
            },
        }

    def calibration_rows(self, splits: Sequence[str]) -> list[dict[str, Any]]:
        """Return the rows of `evaluations` that say what calibration did on these splits."""
        fitted = "the calibration was fitted on these reports"
        names = {"labeler_id": self.round_.labeler.labeler_id, "round_id": self.round_.round_id}
        return [
            row
            for split in splits
            for row in evaluation_rows(
                self.calibrated[split],
                subject=self.round_.name,
                split=split,
                note=fitted if split == "calibration" else None,
                **names,
            )
        ]


def run_row(run_id: str, command: str, settings: CampaignSettings) -> dict[str, Any]:
    """Return the `runs` row of a campaign."""
    return {
        "run_id": run_id,
        "command": command,
        "config": settings.model_dump_json(),
        "version": __version__,
        "git_revision": git_revision(),
        "seed": settings.seed,
    }


def round_rows(
    round_: Round,
    rows: Sequence[TrainingRow],
    decision: Decision | str | None,
    frozen: Frozen,
    settings: CampaignSettings,
    run_id: str,
) -> dict[str, list[dict[str, Any]]]:
    """Return a round's rows of `rounds`, `training_rows` and `round_decisions`; the base model has none.

    Args:
        round_: The round.
        rows: What it trained on, and the pseudo-labels that it refused.
        decision: The gate's verdict, or why it was not put to the gate; None where nothing was to be decided.
        frozen: The campaign's inputs.
        settings: The campaign's settings.
        run_id: The run that it belongs to.
    """
    if round_.arm == "base":
        return {}
    rounds = {
        "round_id": round_.round_id,
        "campaign_id": frozen.campaign_id,
        "round": round_.number,
        "arm": round_.arm,
        "labeler_id": round_.labeler.labeler_id,
        "adapter_hash": round_.training["adapter_hash"],
        "adapter_path": str(round_.folder / "adapter") if round_.training["adapter_hash"] else None,
        "base": settings.student,
        "teacher_id": frozen.teacher_id,
        "config": json.dumps(settings.model_dump()),
        "seed": settings.seed,
        "run_id": run_id,
    }
    trained = [
        {
            "round_id": round_.round_id,
            "report_id": row.label.report_id,
            "task": row.label.task,
            "target": row.label.target,
            "label_id": row.label.label_id,
            "scope": row.label.scope,
            "status": row.label.status,
            "source": row.source,
            "weight": row.weight,
            "selected": row.selected,
            "reason": row.reason,
        }
        for row in rows
    ]
    decided = [] if decision is None else [_decision_row(round_, decision)]
    return {"rounds": [rounds], "training_rows": trained, "round_decisions": decided}


def record_look(store: Store, campaign_id: str, compared: Sequence[str], reports: int) -> int:
    """Record that a campaign opens `test`, once however often it is resumed.

    Args:
        store: The store.
        campaign_id: The campaign.
        compared: Ids of the labelers that are judged there.
        reports: How many reports it has.

    Returns:
        How often anybody had looked at `test` before: the more often, the less its figures say of new reports.
    """
    look_id = content_id("look", campaign_id)
    store.write(
        {
            "looks": [
                {
                    "look_id": look_id,
                    "split": "test",
                    "command": "distill",
                    "compared": list(compared),
                    "reports": reports,
                    "run_id": f"run_{campaign_id[4:]}",
                }
            ]
        }
    )
    counted = store.connection.execute(
        """SELECT count(*) FROM looks, (SELECT created_at AS own FROM looks WHERE look_id = $look)
        WHERE split = 'test' AND look_id <> $look AND created_at <= own""",
        {"look": look_id},
    ).fetchone()
    return int(counted[0]) if counted else 0


def disease_figures(
    champion: Round,
    frozen: Frozen,
    settings: CampaignSettings,
    questions: Questions,
    store: Store,
    test: Bench,
    progress: Progress,
) -> dict[str, Any] | None:
    """Compare the champion's and the teacher's disease lists with the curated ones on `test`.

    Returns:
        Figures by matching rule; None where the champion is no student, diseases are no task, or none are curated.
    """
    ids = list(test.truth.report_ids)
    curated = fetch_diseases(store.connection, ids)
    if "diseases" not in settings.tasks or not champion.training["adapter_hash"] or not any(curated):
        return None
    if settings.disease_form == "json":
        listed = keep_diseases(champion, frozen, settings, questions, store, progress)
    else:
        listed = list_diseases(champion, frozen, settings, questions, "test", progress)
    clusters = cluster_codes([str(cluster) for cluster in test.truth.clusters])
    llm = store.connection.execute(
        "SELECT labeler_id FROM teacher_members JOIN labelers USING (labeler_id) "
        "WHERE teacher_id = ? AND seat = 'labeler' AND kind = 'llm' ORDER BY place LIMIT 1",
        [frozen.teacher_id],
    ).fetchone()
    figures = {champion.name: evaluate_diseases(curated, [listed.get(i, []) for i in ids], clusters)}
    if llm and llm[0]:
        figures["teacher"] = evaluate_diseases(curated, fetch_diseases(store.connection, ids, llm[0]), clusters)
    by_rule = {name: {of.rule: of.as_dict() for of in judged.rules} for name, judged in figures.items()}
    return {"n": len(ids), **by_rule}


def environment() -> dict[str, Any]:
    """Return the machine and the versions that a figure depends on."""
    import torch

    packages = ("torch", "transformers", "trl", "peft", "bitsandbytes", "duckdb")
    return {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU",
        "teachback": __version__,
        **{package: version(package) for package in packages},
    }


def _decision_row(round_: Round, decision: Decision | str) -> dict[str, Any]:
    if isinstance(decision, str):
        never = {"promoted": False, "champion_round_id": None, "figures": None}
        return {"round_id": round_.round_id, "reason": decision, **never}
    return {
        "round_id": round_.round_id,
        "promoted": decision.promoted,
        "champion_round_id": round_.round_id if decision.promoted else None,
        "reason": decision.reason,
        "figures": json.dumps(decision.change.as_dict()),
    }
