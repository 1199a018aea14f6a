"""One finding in words: noun phrases, whole sentences and frames, each with the facts it states."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from teachback.store.corpora.synthetic.bank import Bank, Phrase, load_bank
from teachback.store.corpora.synthetic.grammar import Draw, Template, render, tidy
from teachback.store.corpora.synthetic.patient import Chest
from teachback.store.corpora.synthetic.style import Style
from teachback.store.corpora.synthetic.truth import Disease, Fact, Statement
from teachback.store.label import Status

__all__ = ["LUNG", "Pen", "Thing"]

LUNG = ("Lung Opacity", "Consolidation", "Pneumonia", "Atelectasis", "Edema", "Lung Lesion")

_DOUBLED = re.compile(r"\b(definite|new) \1\b")  # a frame and a name may bring the same adjective

_CHANGES: Mapping[str, Mapping[str, float]] = {  # how a finding seen before may go on; the others take the first
    "": {"stable": 0.5, "worse": 0.25, "better": 0.25},
    "Fracture": {"stable": 1.0},
    "Enlarged Cardiomediastinum": {"stable": 0.8, "worse": 0.2},
    "Pleural Other": {"stable": 1.0},
    "Lung Lesion": {"stable": 0.6, "worse": 0.4},
    "Cardiomegaly": {"stable": 0.85, "worse": 0.1, "better": 0.05},
}
_CHECKLIST_NAMES: Mapping[str, str] = {
    "Enlarged Cardiomediastinum": "Mediastinal widening",
    "Lung Lesion": "Nodule or mass",
    "Lung Opacity": "Focal opacity",
    "Edema": "Pulmonary edema",
    "Pleural Other": "Pleural thickening",
}
_SAYS_CHANGE = 0.65  # share of mentions that tell the change
_SAYS_NEW = 0.6  # share of new findings that are called new
_ONE_KIND = ("Fracture", "Lung Lesion", "Pleural Other")  # a nodule does not become a mass within one report
_ALTERNATIVES = (" or ", " versus ", " vs. ", " and/or ", " or possibly ", ", less likely ", " vs ")
_WINDOW = 6  # whole sentences of a kind that one hand uses


@dataclass(frozen=True, slots=True)
class Thing:
    """A noun phrase that stands for a finding.

    Attributes:
        np: With its article, `a~ small effusion`.
        bare: Without it, `small effusion`.
        plural: Whether it takes a plural verb.
        findings: The finding and any further ones that it names.
        diseases: What it asserts where it is present.
    """

    np: str
    bare: str
    plural: bool
    findings: tuple[str, ...]
    diseases: tuple[Disease, ...]


class Pen:
    """Writes statements about one chest in one style.

    Args:
        chest: What is to be said.
        style: Whose hand it is.
        draw: Where the draws come from.
    """

    def __init__(self, chest: Chest, style: Style, draw: Draw) -> None:
        self.chest = chest
        self.style = style
        self.draw = draw
        self.bank: Bank = load_bank()
        self.words = {"prior": style.prior, "mask": style.mask}
        positive = (chest.statuses[finding] in ("present", "uncertain") for finding in LUNG)
        self.lungs_clear = not any(positive)
        # What one section says of these, the other repeats: devices, their sides, courses and kinds of finding.
        self.devices: list[str] = []
        self.device_sides: dict[str, str] = {}
        self.changes: dict[str, str] = {}
        self.kinds: dict[str, tuple[Disease, ...]] = {}

    def frame(self, name: str, slots: Mapping[str, str]) -> str:
        """Return one sentence of a kind of frame, in this hand's habit."""
        return tidy(render(self.style.choose(self.bank.frames[name], self.draw), self.draw, {**self.words, **slots}))

    def terse(self) -> bool:
        """Draw whether the next sentence goes without a verb."""
        if self.style.voice == "dictation":
            return False
        return self.draw.chance(0.15 if self.style.voice == "full" else 0.85)

    def thing(self, finding: str, status: Status) -> Thing:
        """Return a noun phrase that asserts the finding."""
        phrases, detail = self.bank.findings[finding], self.chest.details[finding]
        phrase = self._allowed(finding, phrases.np[detail.side == "bilateral"], status)
        text = tidy(render(phrase.template, self.draw, self._context(finding)))
        plural = phrase.template.plural or (
            detail.side == "bilateral" and not phrase.template.slots.isdisjoint(("s", "y", "x"))
        )
        bare = text[3:] if text.startswith(("a~ ", "an ")) else text
        return Thing(text, bare, plural, (finding, *phrase.extras), phrase.diseases)

    def present(self, finding: str) -> Statement:
        """Write that a finding is present, with its change since the earlier film where there is one."""
        draw = self.draw
        phrases = self.bank.findings[finding]
        change = self.change(finding)
        if not change and self._has_sentences(finding, "present") and draw.chance(phrases.share["present"]):
            return self._sentence(finding, "present")
        thing = self.thing(finding, "present")
        if self.style.checklist and not change and draw.chance(0.5):
            yes = draw.pick(("present", "yes", "positive"))
            text = f"{_CHECKLIST_NAMES.get(finding, finding)}: {yes}, {thing.bare}"
        elif change:
            text = self.frame(f"present.{change}", self.slots(thing))
        else:
            text = self.frame(f"present.{'terse' if self.terse() else 'full'}", self.slots(thing))
        return self.statement(text, thing, "present")

    def uncertain(self, finding: str) -> Statement:
        """Write that a finding is uncertain."""
        phrases = self.bank.findings[finding]
        if self._has_sentences(finding, "uncertain") and self.draw.chance(phrases.share["uncertain"]):
            return self._sentence(finding, "uncertain")
        thing = self.thing(finding, "uncertain")
        text = self.frame(f"uncertain.{'terse' if self.terse() else 'full'}", self.slots(thing))
        return self.statement(text, thing, "uncertain")

    def absent(self, finding: str) -> Statement:
        """Write that a finding is absent, or has gone if it was there before."""
        draw = self.draw
        phrases = self.bank.findings[finding]
        was_there = self.chest.prior is not None and self.chest.prior[finding] == "present"
        if was_there and phrases.resolved and draw.chance(0.75):
            return self._resolved(finding)
        if self.style.checklist and draw.chance(0.8):
            name = _CHECKLIST_NAMES.get(finding, finding)
            text = f"{name}: {self.style.choose(('none', 'none', 'no', 'not seen', 'absent', 'negative'), draw)}"
        elif self._has_sentences(finding, "absent") and draw.chance(phrases.share["absent"]):
            return self._sentence(finding, "absent")
        else:
            return self.denial([finding])
        return Statement(text, ((finding, "absent"),), (), phrases.system)

    def denial(self, findings: list[str]) -> Statement:
        """Deny several findings in one sentence."""
        draw = self.draw
        names = [draw.pick(self.bank.findings[finding].neg) for finding in findings]
        seen_before = self.chest.prior is not None and draw.chance(0.08)
        kind = "newly_none" if seen_before else "terse" if self.terse() else "full"
        text = self.frame(f"absent.{kind}", {"negs": self._listed(names)})
        text = _DOUBLED.sub(r"\1", text)
        return Statement(text, tuple((finding, "absent") for finding in findings), (), self._system(findings[0]))

    def negated_name(self, finding: str) -> str:
        """Return a name of the finding that fits behind `no`."""
        return self.draw.pick(self.bank.findings[finding].neg)

    def possibilities(self, findings: list[str]) -> str:
        """Return findings as alternatives, `pneumonia or atelectasis`."""
        names = [self.draw.pick(self.bank.findings[finding].alt) for finding in findings]
        if len(names) == 1:
            return names[0]
        joint = self.style.choose(_ALTERNATIVES, self.draw)
        lead = "either " if joint == " or " and self.draw.chance(0.3) else ""
        return lead + ", ".join(names[:-1]) + joint + names[-1]

    def change(self, finding: str) -> str:
        """Return how a present finding compares with the earlier film; empty when nothing is said of it here."""
        if finding not in self.changes:
            self.changes[finding] = self._course(finding)
        return self.changes[finding] if self.draw.chance(_SAYS_CHANGE) else ""

    def slots(self, thing: Thing) -> dict[str, str]:
        """Return the words a frame needs for a noun phrase."""
        return {
            "np": thing.np,
            "np0": thing.bare,
            "dnp": f"the {thing.bare}",
            "pa": "a~ " if thing.np != thing.bare else "",
            "is": "are" if thing.plural else "is",
            "has": "have" if thing.plural else "has",
        }

    def statement(self, text: str, thing: Thing, status: Status, more: tuple[Fact, ...] = ()) -> Statement:
        """Return a statement that gives the noun phrase's findings one status."""
        facts = tuple((finding, status) for finding in thing.findings) + more
        return Statement(text, facts, thing.diseases if status == "present" else (), self._system(thing.findings[0]))

    def _course(self, finding: str) -> str:
        prior = self.chest.prior
        if prior is None:
            return ""
        if prior[finding] != "present":
            return "new" if finding != "Cardiomegaly" and self.draw.chance(_SAYS_NEW) else ""
        return self.draw.weighted(_CHANGES.get(finding, _CHANGES[""]))

    def _has_sentences(self, finding: str, status: Status) -> bool:
        return bool(self.bank.findings[finding].say[status][self.chest.details[finding].side == "bilateral"])

    def _system(self, finding: str) -> str:
        return self.bank.findings[finding].system

    def _context(self, finding: str) -> dict[str, str]:
        phrases, detail = self.bank.findings[finding], self.chest.details[finding]
        sizes = phrases.severity[detail.level]
        measured = finding == "Lung Lesion"  # one size throughout
        return {
            **self.words,
            **detail.words,
            "sev": sizes[int(self.style.habit * len(sizes))] if measured else self.draw.pick(sizes),
            "sevly": self.draw.pick(phrases.adverb[detail.level]),
        }

    def _sentence(self, finding: str, status: Status) -> Statement:
        phrases = self.bank.findings[finding]
        fitting = phrases.say[status][self.chest.details[finding].side == "bilateral"]
        start = int(self.style.habit * len(fitting))
        window = (fitting + fitting)[start : start + _WINDOW] if len(fitting) > _WINDOW else fitting
        phrase = self._allowed(finding, window, status)
        text = tidy(render(phrase.template, self.draw, self._context(finding)))
        facts: tuple[Fact, ...] = tuple((name, status) for name in (finding, *phrase.extras))
        return Statement(text, facts, phrase.diseases if status == "present" else (), phrases.system)

    def _allowed(self, finding: str, phrases: tuple[Phrase, ...], status: Status) -> Phrase:
        """Draw a phrase of this report's kind whose further findings, if any, are meant to have the same status."""
        kind = self.kinds.get(finding) if status == "present" else None
        fits = [
            phrase
            for phrase in phrases
            if all(self.chest.statuses[extra] == status for extra in phrase.extras)
            and (kind is None or phrase.diseases == kind)
            and (self.lungs_clear or not phrase.clear)
        ]
        phrase = self.draw.pick(fits or [phrase for phrase in phrases if not phrase.extras and not phrase.clear])
        if status == "present" and finding in _ONE_KIND:
            self.kinds.setdefault(finding, phrase.diseases)
        return phrase

    def _resolved(self, finding: str) -> Statement:
        phrases, detail = self.bank.findings[finding], self.chest.details[finding]
        template: Template = self.draw.pick(phrases.resolved)
        gone = tidy(render(template, self.draw, detail.words))
        kind = "absent.resolved_plural" if template.plural else "absent.resolved"
        text = self.frame(kind, {"res": gone, "dres": f"the {gone}"})
        return Statement(text, ((finding, "absent"),), (), phrases.system)

    def _listed(self, names: list[str]) -> str:
        style = self.style
        if len(names) == 1:
            return names[0]
        if style.conjunction == "/":
            return "/".join(names)
        if len(names) == 2:
            return f"{names[0]} {style.conjunction} {names[1]}"
        return f"{', '.join(names[:-1])}{',' if style.oxford else ''} {style.conjunction} {names[-1]}"
