"""What is in the chest before anything is written: subject, visit, scenario, statuses and their details.

Reports come in blocks of 12; each block is cut into subjects of one to several consecutive visits, so that a report's
subject depends on its index alone. A subject's visits share scenario and most statuses, and follow-ups look back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from teachback.store.corpora.synthetic.bank import load_bank
from teachback.store.corpora.synthetic.grammar import Draw
from teachback.store.corpora.synthetic.prevalence import Rates
from teachback.store.label import FINDINGS, Status

__all__ = ["Chest", "Detail", "age_of", "draw_chest", "sex_of"]

_BLOCK = 12  # reports
_VISITS: Mapping[int, float] = {1: 0.62, 2: 0.18, 3: 0.11, 4: 0.06, 6: 0.03}  # visits of a subject: share
_SAME_SCENARIO = 0.7  # share of follow-ups in the subject's usual scenario
_KEEPS = 0.6  # share of a subject's findings whose chance is drawn once for all visits
_UNSEEN_PRIOR = 0.45  # share of first visits that look back to a film outside the corpus

_PLACES: Mapping[str, Mapping[str, tuple[tuple[str, str, str], ...]]] = {  # adjective, adverbial, lobe
    "lobe": {
        "right": (
            ("right upper lobe", "in the right upper lobe", "right upper lobe"),
            ("right middle lobe", "in the right middle lobe", "right middle lobe"),
            ("right lower lobe", "in the right lower lobe", "right lower lobe"),
            ("right lower lobe", "in the right lower lobe", "right lower lobe"),
            ("right basilar", "at the right lung base", "right lower lobe"),
            ("right perihilar", "in the right perihilar region", "right middle lobe"),
            ("right mid lung", "in the right mid lung", "right middle lobe"),
            ("right infrahilar", "in the right infrahilar region", "right lower lobe"),
        ),
        "left": (
            ("left upper lobe", "in the left upper lobe", "left upper lobe"),
            ("left lower lobe", "in the left lower lobe", "left lower lobe"),
            ("left lower lobe", "in the left lower lobe", "left lower lobe"),
            ("lingular", "in the lingula", "left upper lobe"),
            ("left basilar", "at the left base", "left lower lobe"),
            ("retrocardiac", "in the retrocardiac region", "left lower lobe"),
            ("left mid lung", "in the left mid lung", "left upper lobe"),
            ("left perihilar", "in the left perihilar region", "left upper lobe"),
        ),
        "bilateral": (
            ("bilateral", "in both lungs", ""),
            ("bibasilar", "at both lung bases", ""),
            ("bilateral lower lobe", "in both lower lobes", ""),
            ("bilateral perihilar", "in the perihilar regions", ""),
            ("bilateral upper lobe", "in both upper lobes", ""),
        ),
    },
    "base": {
        "right": (
            ("right basilar", "at the right base", "right lower lobe"),
            ("right lower lobe", "in the right lower lobe", "right lower lobe"),
            ("right middle lobe", "in the right middle lobe", "right middle lobe"),
            ("right base", "at the right lung base", "right lower lobe"),
        ),
        "left": (
            ("left basilar", "at the left base", "left lower lobe"),
            ("left lower lobe", "in the left lower lobe", "left lower lobe"),
            ("retrocardiac", "in the retrocardiac region", "left lower lobe"),
            ("left retrocardiac", "in the left retrocardiac area", "left lower lobe"),
        ),
        "bilateral": (
            ("bibasilar", "at the lung bases", ""),
            ("bibasilar", "at both lung bases", ""),
            ("bilateral lower lobe", "in both lower lobes", ""),
            ("basilar", "at the bases", ""),
        ),
    },
}
_APEX = {
    "right": ("right apical", "at the right apex"),
    "left": ("left apical", "at the left apex"),
    "bilateral": ("biapical", "at both apices"),
}
_RIBS = (
    "third",
    "fourth",
    "lateral fifth",
    "fifth",
    "6th",
    "posterior sixth",
    "seventh",
    "8th",
    "lateral 7th",
    "ninth",
)
_PROCESS = "Lung Opacity"
_SAME_PROCESS = ("Consolidation", "Pneumonia")  # usually another name for what the opacity shows
_ONE_PLACE = 0.8  # share of subjects where it lies in the same place
_PLURAL = {"s": "s", "y": "ies", "x": "ces", "a": ""}
_SINGULAR = {"s": "", "y": "y", "x": "x", "a": "a~ "}


def age_of(subject: int) -> int:
    """Return a subject's age in years, the same at each visit."""
    return 28 + subject % 61


def sex_of(subject: int) -> str:
    """Return a subject's sex, `F` or `M`."""
    return "MF"[subject // 7 % 2]


@dataclass(frozen=True, slots=True)
class Detail:
    """Where and how much.

    Attributes:
        side: `right`, `left` or `bilateral`.
        level: 0 slight, 1 moderate, 2 marked.
        words: Slot to word for this finding's phrases.
    """

    side: str
    level: int
    words: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Chest:
    """What one film shows and what its radiologist will say of it, before any wording.

    Attributes:
        subject: Number of the subject in the corpus.
        visit: 0 for the subject's first report.
        scenario: Its clinical scenario.
        statuses: Finding to intended status.
        details: Finding to where and how much.
        prior: Intended statuses at the earlier film; None where there is none.
    """

    subject: int
    visit: int
    scenario: str
    statuses: Mapping[str, Status]
    details: Mapping[str, Detail]
    prior: Mapping[str, Status] | None


def draw_chest(seed: int, index: int, rates: Rates) -> Chest:
    """Draw the chest behind report `index`; it depends on nothing but the arguments."""
    subject, visit = _subject(seed, index)
    scenario, statuses = _statuses(seed, index, subject, rates)
    prior: Mapping[str, Status] | None = None
    if visit:
        prior = _statuses(seed, index - 1, subject, rates)[1]
    else:
        draw = Draw(seed, "unseen prior", index)
        if draw.chance(_UNSEEN_PRIOR):
            prior = {finding: _unseen(status, draw) for finding, status in statuses.items()}
    return Chest(subject, visit, scenario, statuses, _details(seed, subject), prior)


@lru_cache(maxsize=64)
def _block(seed: int, block: int) -> tuple[tuple[int, int], ...]:
    draw = Draw(seed, "block", block)
    places: list[tuple[int, int]] = []
    while len(places) < _BLOCK:
        first = block * _BLOCK + len(places)  # the index of a subject's first report numbers the subject
        visits = min(draw.weighted(_VISITS), _BLOCK - len(places))
        places += [(first, visit) for visit in range(visits)]
    return tuple(places)


def _subject(seed: int, index: int) -> tuple[int, int]:
    return _block(seed, index // _BLOCK)[index % _BLOCK]


@lru_cache(maxsize=64)
def _tendency(seed: int, subject: int) -> tuple[float, tuple[float | None, ...]]:
    """Return a subject's usual scenario and chances, as uniform numbers; None where each visit draws anew."""
    draw = Draw(seed, "tendency", subject)
    return draw.random(), tuple(draw.random() if draw.chance(_KEEPS) else None for _ in FINDINGS)


def _statuses(seed: int, index: int, subject: int, rates: Rates) -> tuple[str, dict[str, Status]]:
    usual, chances = _tendency(seed, subject)
    draw = Draw(seed, "visit", index)
    left = usual if draw.chance(_SAME_SCENARIO) else draw.random()
    scenario = "mixed"
    for name, share in rates.scenarios.items():
        left -= share
        if left < 0:
            scenario = name
            break
    statuses: dict[str, Status] = {}
    for finding, kept, (present, uncertain, absent) in zip(FINDINGS, chances, rates.statuses[scenario], strict=True):
        chance = draw.random() if kept is None else kept
        if chance < present:
            statuses[finding] = "present"
        elif chance < present + uncertain:
            statuses[finding] = "uncertain"
        else:
            statuses[finding] = "absent" if chance < present + uncertain + absent else "unmentioned"
    return scenario, statuses


def _unseen(status: Status, draw: Draw) -> Status:
    if status == "present":
        return "present" if draw.chance(0.65) else "absent"
    return "present" if status == "absent" and draw.chance(0.06) else "absent"


@lru_cache(maxsize=64)
def _details(seed: int, subject: int) -> Mapping[str, Detail]:
    draw = Draw(seed, "details", subject)
    main = draw.pick(("right", "left"))
    details: dict[str, Detail] = {}
    for finding, phrases in load_bank().findings.items():
        side = draw.weighted(phrases.sides)
        if side != "bilateral" and draw.chance(0.6):
            side = main
        level = draw.weighted({0: 0.5, 1: 0.35, 2: 0.15})
        if finding in _SAME_PROCESS and _PROCESS in details and draw.chance(_ONE_PLACE):
            details[finding] = Detail(details[_PROCESS].side, level, details[_PROCESS].words)
        else:
            details[finding] = Detail(side, level, _words(phrases.places, side, main, draw))
    return details


def _words(places: str, side: str, main: str, draw: Draw) -> dict[str, str]:
    apex, apex_in = _APEX[side]
    adjective, adverbial, lobe = draw.pick(_PLACES[places][side]) if places in _PLACES else (side, "", "")
    rib = int(draw.random() * len(_RIBS))
    return {
        "side": side,
        "sided": side if side == "bilateral" else draw.pick((side, f"{side}-sided")),
        "side0": main if side == "bilateral" else side,
        "opp": {"right": "left", "left": "right"}.get(side, ""),
        "adj": adjective,
        "in": adverbial,
        "lobe": lobe,
        "apex": apex,
        "apexin": apex_in,
        "nth": _RIBS[rib],
        "nth2": ("tenth", "ninth", "eighth")[rib % 3],
        **(_PLURAL if side == "bilateral" else _SINGULAR),
    }
