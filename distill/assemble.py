"""Step 2, assemble: which labels a round trains on, what each counts, and why. `lessons` makes texts of them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from teachback.distill.config import CampaignSettings
from teachback.distill.freeze import Frozen, TaughtLabel
from teachback.store.report import Report

__all__ = ["TrainingRow", "assemble", "scoped_texts"]


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One label that a round trains on, or refused to.

    Attributes:
        label: The label.
        source: `teacher`, `curated` or `pseudo`.
        weight: What it counts in the loss.
        reason: Why it was taken or refused.
        selected: Whether it was taken.
        carried: Where else in the report it is taught, as (section, start, end).
    """

    label: TaughtLabel
    source: str
    weight: float
    reason: str
    selected: bool = True
    carried: tuple[tuple[str, int, int], ...] = ()


def assemble(frozen: Frozen, settings: CampaignSettings, pseudo: Sequence[TrainingRow] = ()) -> list[TrainingRow]:
    """Collect a round's rows: teacher labels, curated ones in their place, and selected pseudo-labels.

    Args:
        frozen: The campaign's inputs.
        settings: The weights of each source.
        pseudo: Pseudo-labels of the champion, refused ones among them.
    """
    curated = {(c.report_id, c.task, c.target) for c in frozen.curated}
    rows = [
        TrainingRow(label, "teacher", settings.teacher_weight, _reason(label))
        for label in frozen.taught
        if (label.report_id, label.task, label.target) not in curated
    ]
    rows += [TrainingRow(label, "curated", settings.curated_weight, "curated label") for label in frozen.curated]
    return _treat_noise(rows, frozen, settings) + list(pseudo)


def _reason(label: TaughtLabel) -> str:
    shares: dict[str, float] = defaultdict(float)
    for share in label.shares:
        shares[share.status] += share.share
    votes = ", ".join(f"{status} {share:.2f}" for status, share in shares.items())
    return f"teacher label, {label.decided_by}" + (f"; its votes: {votes}" if votes else "")


def _treat_noise(rows: list[TrainingRow], frozen: Frozen, settings: CampaignSettings) -> list[TrainingRow]:
    # Here, as these train students out of fold, on lessons that are made of this module's rows.
    if settings.unmentioned != "scope":
        from teachback.distill.noise_unmentioned import read_everywhere

        rows = read_everywhere(rows, frozen, settings)
    if settings.noise != "none":
        from teachback.distill.noise_clean import clean

        rows = clean(rows, frozen, settings)
    return rows


def scoped_texts(reports: Sequence[Report], settings: CampaignSettings) -> tuple[list[str], list[str]]:
    """Return the ids and texts of the reports that have something to read in the student's scope."""
    pairs = [(report.report_id, text) for report in reports if (text := report.text(settings.scope))]
    return [report_id for report_id, _ in pairs], [text for _, text in pairs]
