"""The audit of a teacher's labels as a question of its own, without a campaign: `teachback audit suspects`."""

import duckdb

from teachback.distill.assemble import assemble
from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import freeze_taught
from teachback.distill.noise_clean import doubts
from teachback.distill.noise_folds import audited, probabilities_out_of_fold
from teachback.distill.noise_table import Suspects, tabulate
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.quality.statuses import StatusMatrix, fetch_curated

__all__ = ["find_suspects", "known_statuses"]


def find_suspects(
    connection: duckdb.DuckDBPyConnection, settings: CampaignSettings, teacher_id: str | None = None
) -> Suspects:
    """Find the teacher's labels of training reports that are most likely wrong.

    Args:
        connection: The store or a snapshot of it.
        settings: Unit, corpus, seed and number of parts; how noise would be treated does not matter here.
        teacher_id: Whose labels; those of the teacher that has labelled most if not given.

    Returns:
        The suspects, held against the curated labels of training reports where there are any.

    Raises:
        StoreError: Nothing has been labelled yet.
    """
    plain = settings.model_copy(update={"noise": "none", "unmentioned": "scope", "tasks": ["findings"]})
    frozen = freeze_taught(connection, plain, teacher_id)
    rows = [row for row in assemble(frozen, plain) if audited(row)]
    known = known_statuses(fetch_curated(connection, "train", plain.corpus))
    suspected = doubts(rows, probabilities_out_of_fold(rows, frozen, plain))
    positives_only = not {"absent", "uncertain"} & set(known.values())
    return tabulate(rows, suspected, known, positives_only=positives_only)


def known_statuses(truth: StatusMatrix) -> dict[tuple[str, str], str]:
    """Return report and finding to curated status, where known."""
    return {
        (report_id, finding): STATUSES[code]
        for report_id, codes in zip(truth.report_ids, truth.codes, strict=True)
        for finding, code in zip(FINDINGS, codes, strict=True)
        if code >= 0
    }
