"""medspaCy's ConText (Harkema et al. 2009, doi 10.1016/j.jbi.2009.05.002) as a labeler of the 13 findings.

Its own sentence splitter and its own context rules, as they ship; the target phrases are ours, since medspaCy has none
for chest X-rays: what each finding is plainly called. A negated mention is absent, a possible one uncertain, one that
is historical, hypothetical or of the family none at all; present goes before uncertain before absent.
"""

from collections.abc import Iterable
from typing import Any

__all__ = ["TARGETS", "build_context", "label_with_context"]

TARGETS = {
    "Enlarged Cardiomediastinum": [
        "widened mediastinum",
        "mediastinal widening",
        "enlarged cardiomediastinum",
        "mediastinal enlargement",
        "mediastinal mass",
        "mediastinal lymphadenopathy",
    ],
    "Cardiomegaly": [
        "cardiomegaly",
        "enlarged heart",
        "heart is enlarged",
        "heart size is enlarged",
        "cardiac enlargement",
        "heart enlargement",
        "enlarged cardiac silhouette",
        "cardiac silhouette is enlarged",
        "heart is mildly enlarged",
        "heart size is mildly enlarged",
    ],
    "Lung Lesion": ["nodule", "nodules", "mass", "masses", "lesion", "lesions", "granuloma", "granulomas", "tumor"],
    "Lung Opacity": [
        "opacity",
        "opacities",
        "opacification",
        "infiltrate",
        "infiltrates",
        "airspace disease",
        "infiltration",
        "density",
        "scarring",
    ],
    "Edema": [
        "edema",
        "vascular congestion",
        "pulmonary congestion",
        "congestive heart failure",
        "chf",
        "interstitial prominence",
        "heart failure",
    ],
    "Consolidation": ["consolidation", "consolidations"],
    "Pneumonia": ["pneumonia", "pneumonias", "pneumonitis", "infection"],
    "Atelectasis": ["atelectasis", "atelectatic", "atelectases", "volume loss", "collapse"],
    "Pneumothorax": ["pneumothorax", "pneumothoraces", "ptx"],
    "Pleural Effusion": [
        "effusion",
        "effusions",
        "pleural fluid",
        "blunting of the costophrenic",
        "blunted costophrenic",
        "hydropneumothorax",
    ],
    "Pleural Other": ["pleural thickening", "pleural plaque", "pleural plaques", "fibrothorax", "pleural scarring"],
    "Fracture": ["fracture", "fractures", "fractured"],
    "Support Devices": [
        "pacemaker",
        "catheter",
        "picc",
        "port",
        "line",
        "tube",
        "sternotomy",
        "wires",
        "clips",
        "icd",
        "defibrillator",
        "valve",
        "stent",
        "leads",
        "hardware",
        "prosthesis",
    ],
}
_ORDER = {"unmentioned": 0, "absent": 1, "uncertain": 2, "present": 3}


def build_context() -> Any:
    """Return a pipeline of sentence splitter, target matcher and ConText; needs `pip install medspacy`."""
    import medspacy
    from loguru import logger
    from medspacy.ner import TargetRule

    logger.remove()  # it tells of every sentence
    pipeline = medspacy.load(medspacy_enable=["medspacy_pyrush", "medspacy_target_matcher", "medspacy_context"])
    rules = [TargetRule(phrase, finding) for finding, phrases in TARGETS.items() for phrase in phrases]
    pipeline.get_pipe("medspacy_target_matcher").add(rules)
    return pipeline


def label_with_context(pipeline: Any, texts: Iterable[str]) -> list[dict[str, str]]:
    """Label texts; returns for each its findings that are not unmentioned, with their status."""
    labelled = []
    for document in pipeline.pipe(texts):
        statuses: dict[str, str] = {}
        for mention in document.ents:
            status = _status(mention._)
            if _ORDER[status] > _ORDER[statuses.get(mention.label_, "unmentioned")]:
                statuses[mention.label_] = status
        labelled.append(statuses)
    return labelled


def _status(context: Any) -> str:
    if context.is_historical or context.is_hypothetical or context.is_family:
        return "unmentioned"
    return "absent" if context.is_negated else "uncertain" if context.is_uncertain else "present"
