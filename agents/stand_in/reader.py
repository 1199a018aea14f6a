"""The stand-in's reader: crude on purpose, and nobody else's.

It knows some word stems, takes the sentence as the window in which a negation or a hedge counts, and lets the
strongest statement win. It understands neither who owns a quote, nor earlier examinations beyond a few words, nor
lists with an exception. Sections headed as indication, history, comparison or technique are skipped.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from teachback.store.label import Status

__all__ = ["CODES", "DiseaseReading", "Reading", "read_report", "read_target"]

WINDOW = 110  # characters before a stem in which a negation or hedge counts
WINDOW_AFTER = 60  # characters behind it

# Stems of the findings. A dict of its own, written for this reader: nothing here is taken from the rule labeler.
STEMS: Mapping[str, str] = {
    "Enlarged Cardiomediastinum": r"(?:wide|promine|enlarge)\w* (?:of the )?(?:\w+ )?(?:cardio)?mediastin\w*|"
    r"mediastin\w*(?: \w+){0,3} (?:widen|wide\b|enlarge|promine)\w*",
    "Cardiomegaly": r"cardiomegaly|(?:enlarge\w*|big|large) (?:of the )?(?:heart|cardiac\w*)|"
    r"(?:heart|cardiac|cardiopericardial)(?: \w+){0,4} (?:enlarge|prominent|large\b)\w*",
    "Lung Lesion": r"nodul\w*|\bmass(?:es)?\b|metasta\w*|cavit\w+|tumou?r|neoplasm|lung cancer",
    "Lung Opacity": r"opaci\w*|infiltrat\w*|airspace|air space|interstitial (?:marking|thick|pattern|prom)\w*|haz\w+",
    "Edema": r"o?edema|(?:vascular|pulmonary|venous) congestion|\bchf\b|heart failure|fluid overload|kerley",
    "Consolidation": r"consolidat\w*",
    "Pneumonia": r"pneumoni\w*|infecti\w*|\bpna\b",
    "Atelectasis": r"atelecta\w*|collapse\w*|volume loss",
    "Pneumothorax": r"pneumothora\w*|\bptx\b",
    "Pleural Effusion": r"effusion\w*|pleural fluid|hemothorax|hydrothorax|blunting of the",
    "Pleural Other": r"pleural (?:thick|plaque|scar|calcif|based)\w*|fibrothorax|apical (?:scar|thick|cap)\w*",
    "Fracture": r"fractur\w*|\bfx\b|compression deformit\w*",
    "Support Devices": r"\btubes?\b|\blines?\b|catheter\w*|\bpicc\b|pacemaker|pacer|\bleads?\b|\bwires?\b|\bport\b|"
    r"sternotomy|prosthe\w*|\bclips?\b|\bdrains?\b|stent|\bicd\b|tracheostomy|hardware",
}

# What calls a finding normal without naming it.
NORMAL: Mapping[str, str] = {
    "Enlarged Cardiomediastinum": r"mediastin\w*[^.]{0,60}\b(?:normal|unremarkable|within|stable)",
    "Cardiomegaly": r"(?:heart|cardiac|cardiomediastin)\w*[^.]{0,40}\b(?:normal|unremarkable|not enlarged|within)",
}

# Phrases that it takes for a disease, with the ICD-10-CM code it knows; of its own, and far from complete.
CODES: Mapping[str, tuple[str, str]] = {
    r"pleural effusions?|effusions?": ("pleural effusion", "J90"),
    r"pneumothora(?:x|ces)|ptx": ("pneumothorax", "J93.9"),
    r"pneumonia": ("pneumonia", "J18.9"),
    r"atelecta\w+": ("atelectasis", "J98.11"),
    r"pulmonary o?edema|interstitial o?edema|alveolar o?edema": ("pulmonary edema", "J81.1"),
    r"cardiomegaly|enlarged heart|enlarged cardiac silhouette|heart is[\w ]{0,20} enlarged": ("cardiomegaly", "I51.7"),
    r"heart failure|chf": ("congestive heart failure", "I50.9"),
    r"emphysema\w*": ("emphysema", "J43.9"),
    r"copd|chronic obstructive pulmonary disease": ("chronic obstructive pulmonary disease", "J44.9"),
    r"rib fractures?": ("rib fracture", "S22.39XA"),
    r"clavic\w+ fracture|fracture of the (?:\w+ )?clavicle": ("clavicle fracture", "S42.009A"),
    r"compression (?:fracture|deformit)\w*": ("compression fracture", "M48.54XA"),
    r"pulmonary nodules?|lung nodules?|\w+ lobe nodules?": ("pulmonary nodule", "R91.1"),
    r"lung mass\w*|pulmonary mass\w*": ("lung mass", "R91.8"),
    r"scoliosis": ("scoliosis", "M41.9"),
    r"hiat(?:al|us) hernia": ("hiatal hernia", "K44.9"),
    r"osteopeni\w+": ("osteopenia", "M85.80"),
    r"osteoporo\w+": ("osteoporosis", "M81.0"),
    r"atherosclero\w+": ("atherosclerosis of aorta", "I70.0"),
    r"(?:thoracic )?aort\w+ aneurysm|aneurysm of the \w*\s*aorta": ("thoracic aortic aneurysm", "I71.20"),
    r"bronchiectasis": ("bronchiectasis", "J47.9"),
    r"interstitial lung disease|pulmonary fibrosis": ("interstitial lung disease", "J84.9"),
    r"sarcoidosis": ("sarcoidosis", "D86.9"),
    r"pulmonary hypertension": ("pulmonary hypertension", "I27.20"),
    r"pleural plaques?|pleural thickening": ("pleural thickening", "J92.9"),
    r"degenerative (?:change|disease)\w*[^.]{0,20} spine|spondylosis": ("spondylosis", "M47.819"),
}

_HEADING = re.compile(r"^[ \t]*([A-Z][A-Z ]{3,30}):", re.MULTILINE)
_SKIPPED = re.compile(r"INDICATION|HISTORY|COMPARISON|TECHNIQUE|REASON|EXAM")
_SENTENCE = re.compile(r"[^.;\n]+(?:\.(?=\d)[^.;\n]*)*")
_CLAUSE_BREAK = re.compile(r"\b(?:but|however|although|there (?:is|are)|which)\b")
_NEGATION = re.compile(
    r"\b(?:no|not|neither|without|negative|free of|absence of|resol\w+ of|clear of|removed|removal|denies)\b"
)
_NEGATION_AFTER = re.compile(
    r"^: (?:no|none|negative)\b|\b(?:not (?:seen|identified|present)|absent|removed|(?:has |have )?resolved)\b"
)
_HEDGE = re.compile(
    r"\b(?:possib\w+|probab\w+|likely|may|might|could|question\w*|suspic\w+|suspect\w*|suggest\w*|exclude\w*|"
    r"versus|vs|concern\w*|perhaps|represent\w*|differential)\b|\?"
)
_HEDGE_AFTER = re.compile(r"\b(?:excluded?|possible|likely|suspected|questioned|versus|vs|consider\w*|not certain)\b")
_ORDER: tuple[Status, ...] = ("unmentioned", "absent", "uncertain", "present")


@dataclass(frozen=True, slots=True)
class Reading:
    """What the reader makes of one target.

    Attributes:
        status: Its status.
        quote: The sentence that it read this from; empty for unmentioned.
    """

    status: Status
    quote: str


@dataclass(frozen=True, slots=True)
class DiseaseReading:
    """A disease phrase that the reader takes the report to assert."""

    name: str
    icd10: str
    quote: str


@lru_cache(maxsize=4096)
def read_report(text: str) -> tuple[Mapping[str, Reading], tuple[DiseaseReading, ...]]:
    """Read a report once, for all findings that the reader knows, and for diseases."""
    findings = dict.fromkeys(STEMS, Reading("unmentioned", ""))
    diseases: dict[str, DiseaseReading] = {}
    for sentence in _sentences(text):
        said, asserted = _read_sentence(sentence)
        for finding, status in said:
            if _ORDER.index(status) > _ORDER.index(findings[finding].status):
                findings[finding] = Reading(status, sentence)
        for disease in asserted:
            diseases.setdefault(disease.name, disease)
    return findings, tuple(diseases.values())


def read_target(target: str, text: str) -> Reading:
    """Read a report, or a quote from it, for one target.

    Args:
        target: A finding by its name, or any phrase, which is then looked for as it stands.
        text: The report, or a part of it.
    """
    known = read_report(text)[0].get(target)
    if known is not None:
        return known
    stem = re.compile(re.escape(target.lower()))
    best = Reading("unmentioned", "")
    for sentence in _sentences(text):
        status = _strongest(stem, sentence.lower())
        if _ORDER.index(status) > _ORDER.index(best.status):
            best = Reading(status, sentence)
    return best


@lru_cache(maxsize=65_536)
def _read_sentence(sentence: str) -> tuple[tuple[tuple[str, Status], ...], tuple[DiseaseReading, ...]]:
    lowered = sentence.lower()
    said: list[tuple[str, Status]] = [(finding, _strongest(stem, lowered)) for finding, stem in _STEMS.items()]
    said += [(finding, "absent") for finding, normal in _NORMAL.items() if normal.search(lowered)]
    asserted = []
    for stem, (name, code) in _CODES:
        match = stem.search(lowered)
        if match and _status_at(lowered, match.start(), match.end()) == "present":
            asserted.append(DiseaseReading(name, code, sentence))
    return tuple((finding, status) for finding, status in said if status != "unmentioned"), tuple(asserted)


def _strongest(stem: re.Pattern[str], lowered: str) -> Status:
    best: Status = "unmentioned"
    for match in stem.finditer(lowered):
        status = _status_at(lowered, match.start(), match.end())
        if _ORDER.index(status) > _ORDER.index(best):
            best = status
    return best


def _status_at(lowered: str, start: int, end: int) -> Status:
    before = _CLAUSE_BREAK.split(lowered[max(0, start - WINDOW) : end])[-1]
    after = lowered[end : end + WINDOW_AFTER]
    if _HEDGE.search(before) or _HEDGE_AFTER.search(after):
        return "uncertain"
    if _NEGATION.search(before) or _NEGATION_AFTER.search(after):
        return "absent"
    return "present"


def _sentences(text: str) -> tuple[str, ...]:
    kept = []
    headings = list(_HEADING.finditer(text))
    bounds = [0, *(heading.start() for heading in headings), len(text)]
    names = ["", *(heading.group(1) for heading in headings)]
    for name, begin, end in zip(names, bounds, bounds[1:], strict=False):
        if not _SKIPPED.search(name):
            body = text[begin:end]
            kept.append(body[len(name) + 1 :] if name and body.startswith(name) else body)
    return tuple(stripped for body in kept for match in _SENTENCE.finditer(body) if (stripped := match.group().strip()))


_STEMS = {finding: re.compile(stem) for finding, stem in STEMS.items()}
_NORMAL = {finding: re.compile(stem) for finding, stem in NORMAL.items()}
_CODES = [(re.compile(rf"\b(?:{stem})\b"), known) for stem, known in CODES.items()]
