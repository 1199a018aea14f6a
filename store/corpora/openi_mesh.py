"""From Open-i's manual MeSH codes to the 13 findings.

A code is a heading and qualifiers, such as `Opacity/lung/base/left/mild`. Two people coded each report (Demner-Fushman
et al. 2016, doi:10.1093/jamia/ocv080). Codes tell what is there and are silent about the rest, so they curate the
detection of positives only. `normal` is no finding's absence: reports with old rib fractures carry it too.
"""

from collections.abc import Iterable

from teachback.store.identity import content_id
from teachback.store.label import FINDINGS

__all__ = ["FINDING_CODES", "NOT_INDEXED", "codes_to_findings", "mapping_version"]

# Nobody coded a report with this mark, so it has no curated labels.
NOT_INDEXED = "No Indexing"

# Finding -> (heading, qualifier); an empty qualifier takes the heading however it is qualified.
FINDING_CODES: dict[str, tuple[tuple[str, str], ...]] = {
    "Enlarged Cardiomediastinum": (("Mediastinum", "enlarged"), ("Mediastinum", "prominent")),
    "Cardiomegaly": (
        ("Cardiomegaly", ""),
        ("Cardiac Shadow", "enlarged"),
        ("Cardiac Shadow", "borderline"),
        ("Cardiac Shadow", "prominent"),
    ),
    "Lung Lesion": (("Nodule", ""), ("Mass", ""), ("Cavitation", "")),
    "Lung Opacity": (
        ("Opacity", ""),
        ("Airspace Disease", ""),
        ("Infiltrate", ""),
        ("Lung Diseases, Interstitial", ""),
        ("Markings", "interstitial"),
        ("Density", "lung"),
        ("Cicatrix", "lung"),
    ),
    "Edema": (("Pulmonary Edema", ""), ("Pulmonary Congestion", ""), ("Heart Failure", "")),
    "Consolidation": (("Consolidation", ""),),
    "Pneumonia": (("Pneumonia", ""),),
    "Atelectasis": (("Pulmonary Atelectasis", ""),),
    "Pneumothorax": (("Pneumothorax", ""), ("Hydropneumothorax", ""), ("Hemopneumothorax", "")),
    "Pleural Effusion": (
        ("Pleural Effusion", ""),
        ("Hydropneumothorax", ""),
        ("Hemopneumothorax", ""),
        ("Hemothorax", ""),
    ),
    "Pleural Other": (("Thickening", "pleura"), ("Cicatrix", "pleura"), ("Pleura", "")),
    "Fracture": (("Fractures, Bone", ""),),
    "Support Devices": (
        ("Catheters, Indwelling", ""),
        ("Implanted Medical Device", ""),
        ("Medical Device", ""),
        ("Tube, Inserted", ""),
        ("Stents", ""),
        ("Spinal Fusion", ""),
    ),
}


def codes_to_findings(codes: Iterable[str]) -> frozenset[str] | None:
    """Return the findings that a report's codes name, or None when nobody coded the report."""
    split = [[part.strip() for part in code.split("/")] for code in codes if code.strip()]
    if not split or any(parts[0] == NOT_INDEXED for parts in split):
        return None
    return frozenset(finding for finding in FINDINGS if any(_names(parts, finding) for parts in split))


def mapping_version() -> str:
    """Return the content hash of the mapping, which is the version of the labeler that it makes."""
    return content_id("map", FINDING_CODES)


def _names(parts: list[str], finding: str) -> bool:
    heading, *qualifiers = parts
    return any(heading == head and (not only or only in qualifiers) for head, only in FINDING_CODES[finding])
