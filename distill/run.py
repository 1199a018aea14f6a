"""Run a campaign on a store: opens it, shows a finished campaign again, goes on with a killed one."""

from pathlib import Path
from typing import Any

from teachback.distill.artefacts import load_json
from teachback.distill.base import resolve_student
from teachback.distill.campaign import Campaign
from teachback.distill.cards import write_cards
from teachback.distill.config import CampaignSettings
from teachback.distill.ranks import current_ranks, share_batch
from teachback.distill.round import Progress
from teachback.distill.trackers import open_tracker
from teachback.store.database import Store

__all__ = ["run_campaign"]


def run_campaign(
    store: Path,
    settings: CampaignSettings,
    progress: Progress = lambda what, done, total: None,
    *,
    teacher_id: str | None = None,
    command: str = "distill",
) -> tuple[dict[str, Any], Path]:
    """Run a campaign to its end.

    Args:
        store: The DuckDB file.
        settings: The campaign's settings; `tiny` as the student means the packaged base.
        progress: Told what is going on.
        teacher_id: Which teacher to distil; the one that has labelled most if not given.
        command: The command line, for the record.

    Returns:
        The campaign's record, and its folder.

    Raises:
        StoreError: No store, nothing labelled, or no curated labels to judge by.
        TrainingError: The base cannot be loaded, or there is nothing to train on.
        SettingError: Several processes cannot share a step's batch, or there is no such tracker.
        MissingExtraError: The tracker is not installed.
    """
    settings = settings.model_copy(update={"student": resolve_student(settings.student)})
    # What is wrong with settings that are used late is said before any work.
    share_batch(settings.train.batch, settings.train.micro_batch, current_ranks().size)
    open_tracker(settings.train.report_to)
    with Store(store, create=False) as opened:
        campaign = Campaign(opened, settings, progress, teacher_id=teacher_id, command=command)
        finished = load_json(campaign.folder / "campaign.json")
        record = finished if finished is not None else campaign.run()
        write_cards(record, opened.connection, campaign.folder)
        return record, campaign.folder
