"""Arms and seeds: the same campaign in several ways, with equal budget, compared on the same reports.

Every arm and seed is a campaign of its own in the store, so what is finished is only read, and what was killed goes on.
All trainings of all arms take as many steps as round 1 of the first arm would.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import yaml
from pydantic import ValidationError

from teachback.distill.artefacts import save_json
from teachback.distill.base import resolve_student
from teachback.distill.campaign import campaign_folder
from teachback.distill.config import CampaignSettings
from teachback.distill.judge import Bench
from teachback.distill.plan import plan_campaign
from teachback.distill.round import Progress
from teachback.distill.run import run_campaign
from teachback.errors import SettingError
from teachback.store.database import open_snapshot
from teachback.store.identity import content_id
from teachback.store.quality.f1 import paired_difference
from teachback.store.quality.statuses import fetch_labeler

__all__ = ["AS_GIVEN", "Arm", "arm_names", "load_arms", "run_arms"]

SPLITS = ("gate", "test")
BASELINES = ("base model", "linear")


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to run a campaign.

    Attributes:
        name: What it is called.
        why: Why it is compared.
        changes: Fields of `CampaignSettings` that it changes; those of `train`, `select` and `gate` one by one.
    """

    name: str
    why: str
    changes: Mapping[str, Any]

    def settle(self, settings: CampaignSettings) -> CampaignSettings:
        """Change settings as this arm does.

        Raises:
            SettingError: A field is unknown or out of range; names the arm and the field.
        """
        fields = settings.model_dump()
        for name, value in self.changes.items():
            part = fields.get(name)
            fields[name] = {**part, **value} if isinstance(part, dict) and isinstance(value, dict) else value
        try:
            return CampaignSettings(**fields)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise SettingError(f"arm {self.name!r}: {where}: {first['msg']}", "see distill/config.py") from error


AS_GIVEN = Arm("as given", "the settings that were given", {})


def arm_names() -> list[str]:
    """Return the names of the arms that ship with the package."""
    return [arm.name for arm in _packaged()]


def load_arms(wanted: str) -> list[Arm]:
    """Read arms: a YAML file, or names of packaged ones with commas between, in the order that is asked for.

    Raises:
        SettingError: No such file or arm, or the file holds something else.
    """
    if wanted.endswith((".yaml", ".yml")):
        path = Path(wanted)
        if not path.is_file():
            raise SettingError(f"there is no file {wanted}", f"name one, or arms of {', '.join(arm_names())}")
        return _read(path.read_text(encoding="utf-8"), wanted)
    by_name = {arm.name: arm for arm in _packaged()}
    names = [name.strip() for name in wanted.split(",")]
    for name in names:
        if name not in by_name:
            raise SettingError(f"there is no arm {name!r}", f"use {', '.join(by_name)}, or a .yaml file")
    return [by_name[name] for name in dict.fromkeys(names)]


def run_arms(
    store: Path,
    settings: CampaignSettings,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    progress: Progress = lambda what, done, total: None,
    *,
    teacher_id: str | None = None,
    command: str = "distill",
) -> tuple[dict[str, Any], Path]:
    """Run every arm with every seed, and compare their champions on the same reports.

    Args:
        store: The DuckDB file.
        settings: What the arms change.
        arms: The first is the one that others are held against.
        seeds: Of training and bootstrap.
        progress: Told what is going on.
        teacher_id: Which teacher to distil; the one that has labelled most if not given.
        command: The command line, for the record.

    Returns:
        The comparison, which is also written as JSON beside the campaigns, and that file.

    Raises:
        SettingError: An arm changes a field that does not exist.
        StoreError: As for a campaign.
    """
    settings = settings.model_copy(update={"student": resolve_student(settings.student)})
    settled = [(arm, arm.settle(settings)) for arm in arms]
    budget = _budget(store, settled[0][1], teacher_id)
    found = []
    for arm, changed in settled:
        runs: list[dict[str, Any]] = []
        for seed in seeds:
            train = changed.train.model_copy(update={"min_steps": budget, "max_steps": budget, "seed": seed})
            seeded = changed.model_copy(update={"seed": seed, "train": train})

            def told(what: str, done: int, total: int, name: str = arm.name, seed: int = seed) -> None:
                progress(f"{name}, seed {seed}: {what}", done, total)

            record, folder = run_campaign(store, seeded, told, teacher_id=teacher_id, command=command)
            runs.append({"seed": seed, "record": record, "folder": folder})
        found.append((arm, runs))
    comparison = {
        "budget_steps": budget,
        "seeds": list(seeds),
        "arms": [_arm(store, arm, runs, found[0][1], settings) for arm, runs in found],
        "subjects": _subjects([run["record"] for run in found[0][1]]),
    }
    name = content_id("arm", [run["record"]["campaign_id"] for _, runs in found for run in runs])
    path = campaign_folder(store) / f"arms-{name[4:12]}.json"
    save_json(path, comparison)
    return comparison, path


def _packaged() -> list[Arm]:
    path = resources.files("teachback.distill") / "presets" / "arms.yaml"
    return _read(path.read_text(encoding="utf-8"), "arms.yaml")


def _read(text: str, file: str) -> list[Arm]:
    try:
        listed = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingError(f"{file} is not YAML: {' '.join(str(error).split())}", "mend the file") from error
    if not isinstance(listed, dict) or not all(isinstance(fields, dict) for fields in listed.values()) or not listed:
        raise SettingError(f"{file} holds no arms", "write `name:` and under it `why:` and the fields it changes")
    return [
        Arm(str(name), str(fields.get("why", "")), {k: v for k, v in fields.items() if k != "why"})
        for name, fields in listed.items()
    ]


def _budget(store: Path, settings: CampaignSettings, teacher_id: str | None) -> int:
    connection, _ = open_snapshot(store)
    with connection:
        return plan_campaign(connection, settings, campaign_folder(store), teacher_id).steps


def _arm(
    store: Path, arm: Arm, runs: Sequence[Mapping[str, Any]], first: Sequence[Mapping[str, Any]], settings: Any
) -> dict[str, Any]:
    """Collect an arm's champions over the seeds, and what each gains over the first arm's with the same seed."""
    champions = [_champion(run["record"]) for run in runs]
    gains: dict[str, list[Any]] = {split: [] for split in SPLITS}
    connection, _ = open_snapshot(store)
    with connection:
        for run, against, champion in zip(runs, first, champions, strict=True):
            reference = _champion(against["record"])
            for split in SPLITS if run is not against else ():
                bench = Bench(connection, split, settings.corpus, run["record"]["teacher"]["teacher_id"])
                labelers = [_labeler_of(connection, one["round_id"]) for one in (reference, champion)]
                codes = [fetch_labeler(connection, who, bench.truth.report_ids) for who in labelers]
                if all((one >= 0).any() for one in codes):
                    seed = int(run["seed"])
                    gain = paired_difference(bench.truth.codes, codes[0], codes[1], bench.truth.clusters, seed=seed)
                    gains[split].append(
                        {"seed": seed, "micro": gain.as_dict()["micro"], "macro": gain.as_dict()["macro"]}
                    )
    trained = [round_["training"] for run in runs for round_ in run["record"]["rounds"]]
    return {
        "name": arm.name,
        "why": arm.why,
        "changes": dict(arm.changes),
        "campaigns": [run["record"]["campaign_id"] for run in runs],
        "champions": [champion["name"] for champion in champions],
        "stopped": [run["record"]["stopped"] for run in runs],
        "figures": {split: _spread([champion[split]["figures"] for champion in champions]) for split in SPLITS},
        "over_first": gains,
        "steps": int(sum(training["steps"] for training in trained) / len(runs)),
        "seconds": fmean(run["record"]["seconds"] for run in runs),
    }


def _champion(record: Mapping[str, Any]) -> dict[str, Any]:
    champion: dict[str, Any] = next(r for r in record["rounds"] if r["name"] == record["champion"])
    return champion


def _labeler_of(connection: Any, round_id: str) -> str:
    rows = connection.execute("SELECT labeler_id FROM rounds WHERE round_id = ?", [round_id]).fetchall()
    return str(rows[0][0]) if rows else ""  # the base model is no round and keeps no labels


def _subjects(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Collect each subject of the first arm over the seeds: teachers, base, rounds, `linear`."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        for subject in (*record["teacher"]["subjects"], *record["rounds"]):
            by_name.setdefault(subject["name"], []).append(subject)
    return [
        {
            "name": name,
            "seeds": len(seeds),
            "figures": {split: _spread([one[split]["figures"] for one in seeds]) for split in SPLITS},
            "over_teacher": {
                split: [one[split]["over_teacher"]["micro"] for one in seeds if one[split]["over_teacher"]]
                for split in SPLITS
            },
        }
        for name, seeds in by_name.items()
    ]


def _spread(figures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return mean and sample standard deviation over the seeds, and each seed's figure."""
    out = {}
    for name in ("micro", "macro"):
        values = [one[name]["value"] for one in figures if one[name]["value"] is not None]
        out[name] = {
            "mean": float(np.mean(values)) if values else None,
            "spread": stdev(values) if len(values) > 1 else None,
            "each": values,
        }
    return out
