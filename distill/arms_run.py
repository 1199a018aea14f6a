"""Run arms and seeds: each arm with each seed is a campaign of its own in the store.

What is finished is only read, what was killed goes on. With several arms every training of all of them takes as many
steps as round 1 of the first arm would; seeds alone change nothing but the seed, so that a campaign that has been run
with one of them is one of theirs.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from teachback import __version__
from teachback.distill.arms import AS_GIVEN, Arm, check_arms
from teachback.distill.arms_compare import Ran, compare_runs
from teachback.distill.artefacts import load_json, save_json
from teachback.distill.base import resolve_student
from teachback.distill.campaign import campaign_folder
from teachback.distill.config import CampaignSettings
from teachback.distill.plan import Plan, plan_campaign
from teachback.distill.report import write_report
from teachback.distill.round import Progress
from teachback.distill.run import run_campaign
from teachback.store.database import Store, open_snapshot
from teachback.store.identity import content_id
from teachback.store.runs import git_revision

__all__ = ["plan_arms", "run_arms"]


def plan_arms(
    store: Path,
    settings: CampaignSettings,
    arms: Sequence[Arm] | None,
    seeds: Sequence[int],
    *,
    teacher_id: str | None = None,
) -> list[tuple[str, Plan, CampaignSettings]]:
    """Plan every arm with the first seed; nothing is trained or written.

    Args:
        store: The DuckDB file, read through its snapshot.
        settings: What the arms change.
        arms: None for the settings as they are.
        seeds: Seeds that they would be run with.
        teacher_id: Which teacher to distil; the one that has labelled most if not given.

    Returns:
        Each arm's name, its plan, and its settings.
    """
    settings = settings.model_copy(update={"student": resolve_student(settings.student)})
    campaigns, planned = campaign_folder(store), []
    connection, _ = open_snapshot(store)
    with connection:
        if arms is None or len(arms) < 2:
            settled = [((arms or [AS_GIVEN])[0], (arms or [AS_GIVEN])[0].settle(settings))]
        else:
            check_arms(arms, settings)
            budget = plan_campaign(connection, arms[0].settle(settings), campaigns, teacher_id).trainings[0].steps
            settled = [(arm, _within(arm.settle(settings), budget)) for arm in arms]
        for arm, changed in settled:
            seeded = _seeded(changed, seeds[0])
            planned.append((arm.name, plan_campaign(connection, seeded, campaigns, teacher_id), seeded))
    return planned


def run_arms(
    store: Path,
    settings: CampaignSettings,
    arms: Sequence[Arm] | None,
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
        arms: The first is the one that others are held against; None for the settings as they are.
        seeds: Of training and bootstrap.
        progress: Told what is going on.
        teacher_id: Which teacher to distil; the one that has labelled most if not given.
        command: The command line, for the record.

    Returns:
        The comparison, which is also written as JSON beside the campaigns and as a run to the store, and that file.

    Raises:
        SettingError: An arm changes a field that does not exist, or one that arms share.
        StoreError: As for a campaign.
    """
    settings = settings.model_copy(update={"student": resolve_student(settings.student)})
    arms = list(arms or [AS_GIVEN])
    check_arms(arms, settings)
    budget = None if len(arms) == 1 else _budget(store, arms[0].settle(settings), teacher_id)
    ran = []
    for arm in arms:
        changed = arm.settle(settings)
        changed = changed if budget is None else _within(changed, budget)
        ran.append(
            [_run(store, arm, _seeded(changed, seed), len(arms) > 1, progress, teacher_id, command) for seed in seeds]
        )
    connection, _ = open_snapshot(store)
    with connection:
        comparison = {"budget_steps": budget, "seeds": list(seeds), **compare_runs(connection, ran, settings.corpus)}
    name = content_id("arm", comparison["seeds"], [[run.record["campaign_id"] for run in runs] for runs in ran])
    path = campaign_folder(store) / f"arms-{name[4:12]}.json"
    if load_json(path) != comparison:
        save_json(path, comparison)
        _record(store, name, comparison, command)
    return comparison, path


def _run(
    store: Path,
    arm: Arm,
    settings: CampaignSettings,
    named: bool,
    progress: Progress,
    teacher_id: str | None,
    command: str,
) -> Ran:
    of = f"{arm.name}, seed {settings.seed}" if named else f"seed {settings.seed}"

    def told(what: str, done: int, total: int) -> None:
        progress(f"{of}: {what}", done, total)

    record, folder = run_campaign(store, settings, told, teacher_id=teacher_id, command=command)
    if not (folder / "report.html").exists():
        connection, _ = open_snapshot(store)
        with connection:
            write_report(record, connection, folder / "report.html", title=f"Teachback campaign: {of}")
    return Ran(arm, settings.seed, record, folder)


def _budget(store: Path, settings: CampaignSettings, teacher_id: str | None) -> int:
    connection, _ = open_snapshot(store)
    with connection:
        return plan_campaign(connection, settings, campaign_folder(store), teacher_id).trainings[0].steps


def _within(settings: CampaignSettings, steps: int) -> CampaignSettings:
    train = settings.train.model_copy(update={"min_steps": steps, "max_steps": steps})
    return settings.model_copy(update={"train": train})


def _seeded(settings: CampaignSettings, seed: int) -> CampaignSettings:
    if seed == settings.seed:
        return settings  # a campaign that may have been run already
    train = settings.train.model_copy(update={"seed": seed})
    return settings.model_copy(update={"seed": seed, "train": train})


def _record(store: Path, name: str, comparison: dict[str, Any], command: str) -> None:
    """Write the comparison as a run, so that SQL finds the campaigns of each arm."""
    arms = [{key: arm[key] for key in ("name", "why", "changes", "campaigns")} for arm in comparison["arms"]]
    config = {"arms": arms, "seeds": comparison["seeds"], "budget_steps": comparison["budget_steps"]}
    run = {
        "run_id": f"run_{name[4:]}",
        "command": command,
        "config": json.dumps(config),
        "version": __version__,
        "git_revision": git_revision(),
        "seed": comparison["seeds"][0],
    }
    with Store(store, create=False) as opened:
        opened.write({"runs": [run], "run_ends": [{"run_id": run["run_id"], "status": "finished"}]})
        opened.publish()
