"""The generator's truth as curated labels, for a store."""

from teachback.store.corpora.imported import finding_labels
from teachback.store.corpora.synthetic.truth import SyntheticReport
from teachback.store.label import Label, Labeler

__all__ = ["CURATOR", "curated_labels"]

CURATOR = Labeler("human", "synthetic-truth", "1")
_NOTE = "the generator's truth"


def curated_labels(entry: SyntheticReport) -> list[Label]:
    """Return the 13 true statuses of a synthetic report and its true diseases."""
    report_id = entry.report.report_id
    diseases = [
        Label(
            report_id,
            "diseases",
            disease.name,
            "present",
            CURATOR.labeler_id,
            "full",
            confidence_note=_NOTE,
            icd10=disease.icd10,
        )
        for disease in entry.diseases
    ]
    return [*finding_labels(report_id, dict(entry.statuses), CURATOR, "full", _NOTE), *diseases]
