"""The lexicon: all phrases of the rule files in one word tree, and the units that it finds in a sentence.

A unit is a stretch of words that means something to the rules: a finding's term, a cue, an organ, a state, the end of
a statement. The longest phrase wins and no word belongs to two units, so `no change in` never reads as `no`.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from teachback.agents.rules.phrases import GAP, GAP_WORDS, pieces
from teachback.agents.rules.ruleset import CUES_FILE, FINDINGS_FILE, RuleSet
from teachback.agents.rules.typos import Speller
from teachback.agents.rules.words import MASK
from teachback.errors import InputError
from teachback.store.label import Status

__all__ = ["END_OF_SENTENCE", "Level", "Lexicon", "Meaning", "Sort", "Unit"]

END_OF_SENTENCE = "$"
Level = Literal["present", "uncertain", "absent", "unchanged"]
LEVELS: tuple[Level, ...] = ("present", "uncertain", "absent", "unchanged")

_ENTRY = ""
# Signs and words that no gap reaches over: a new piece of the sentence begins there.
_NO_GAP = frozenset({*",;:?()/$", "and", "or", "nor", "no", "not", "without", "with", "but"})
# A cue that begins with one of these says something of one thing.
_SINGULAR = frozenset({"is", "was", "has"})
# Spelled words remembered at most; reports use a few ten thousand different ones.
MAX_REMEMBERED = 50_000


class Sort:
    """What a unit is, as bits: a unit may be several things (`stable` is a state and a degree).

    Plain numbers, because they are tested for every unit of every sentence and `enum.IntFlag` takes ten times as long.
    """

    TERM = 1
    SUBJECT = 2
    STATE = 4
    CUE = 8
    END = 16
    WEAK_END = 32
    OPENER = 64
    DEGREE = 128
    VERB = 256
    COMMA = 512
    OR = 1024
    AND = 2048
    SLASH = 4096
    COLON = 8192
    SIDE = 16384
    SINGULAR = 32768
    COPULA = 65536


@dataclass(slots=True, eq=False)
class Meaning:
    """What a phrase means to the rules.

    Attributes:
        sorts: What it is, as a `Sort`.
        terms: The findings it names, with the status it gives by itself.
        measures: The `measured` entries that it is a subject of, as their places in the file.
        states: The `measured` entries that it is a state of, with the level.
        cues: The cue rules it belongs to, as their places in the file.
    """

    sorts: int = 0
    terms: list[tuple[str, Status]] = field(default_factory=list)
    measures: list[int] = field(default_factory=list)
    states: dict[int, Level] = field(default_factory=dict)
    cues: list[int] = field(default_factory=list)

    def marked(self, sorts: int) -> "Meaning":
        """Return a copy that is of further sorts."""
        return Meaning(self.sorts | sorts, [*self.terms], [*self.measures], {**self.states}, [*self.cues])


class Unit(NamedTuple):
    """A stretch of words with a meaning: its sorts, its first word, the word behind its last, and what it means."""

    sorts: int
    first: int
    last: int
    meaning: Meaning


_new_unit = tuple.__new__  # half the cost of the class's own constructor


class _Known(dict[str, str]):
    """What each form is read as: itself when some phrase holds it, else what it was meant to be; remembered."""

    def __init__(self, forms: Set[str], speller: Speller) -> None:
        super().__init__({form: form for form in forms})
        self._forms = forms
        self._speller = speller

    def __missing__(self, form: str) -> str:
        if len(self) >= len(self._forms) + MAX_REMEMBERED:
            self.clear()
        meant = self[form] = form if form in self._forms else self._speller.mend(form)
        return meant


class Lexicon:
    """All phrases of a rule set, ready to be found.

    Raises:
        InputError: A phrase cannot be read; names the file and the key.
    """

    def __init__(self, ruleset: RuleSet) -> None:
        self._tree: dict[str, Any] = {}
        self._lists = ruleset.findings.lists
        self._where = ruleset.where
        self._forms: set[str] = set()
        self._add_findings(ruleset)
        finding_words = self._forms - {GAP, MASK}
        self._add_cues(ruleset)
        self._add_joints()
        self._known = _Known(self._forms, Speller(finding_words, ruleset.findings.not_typos))

    def units(self, forms: Sequence[str]) -> list[Unit]:
        """Return the units of a sentence, in order; given its words' forms."""
        known = self._known
        read = [known[form] for form in forms]
        read.append(END_OF_SENTENCE)
        tree, found, place, count = self._tree, [], 0, len(forms)
        while place < count:
            branch = tree.get(read[place])
            if branch is None:
                place += 1
                continue
            end, meaning = place + 1, branch.get(_ENTRY)
            # Most words that some phrase begins with begin none here, or are one by themselves.
            if read[end] in branch or GAP in branch:
                match = _longest(branch, read, end)
                end, meaning = match or (end, None)
            if meaning is not None and meaning.sorts:
                found.append(_new_unit(Unit, (meaning.sorts, place, end if end < count else count, meaning)))
            place = end
        return found

    def _add_findings(self, ruleset: RuleSet) -> None:
        file = ruleset.findings
        for name, finding in file.findings.items():
            wordings: tuple[tuple[str, Status, list[str]], ...] = (
                ("terms", "present", finding.terms),
                ("uncertain_terms", "uncertain", finding.uncertain_terms),
                ("absent_terms", "absent", finding.absent_terms),
            )
            for key, status, phrases in wordings:
                for meaning in self._put((FINDINGS_FILE, "findings", name, key), phrases, Sort.TERM):
                    if (name, status) not in meaning.terms:
                        meaning.terms.append((name, status))
        for place, measured in enumerate(file.measured):
            where = (FINDINGS_FILE, "measured", place)
            for meaning in self._put((*where, "subjects"), measured.subjects, Sort.SUBJECT):
                if place not in meaning.measures:
                    meaning.measures.append(place)
            for level in LEVELS:
                for meaning in self._put((*where, level), getattr(measured, level), Sort.STATE):
                    meaning.states[place] = level
        self._put((FINDINGS_FILE, "other_subjects"), file.other_subjects, Sort.SUBJECT)
        self._put((FINDINGS_FILE, "traps"), file.traps, 0)

    def _add_cues(self, ruleset: RuleSet) -> None:
        file = ruleset.cues
        for rank, rule in enumerate(file.rules):
            sort = Sort.CUE | Sort.END if rule.unless_term_behind else Sort.CUE
            for meaning in self._put((CUES_FILE, "rules", rank, "phrases"), rule.phrases, sort):
                if rank not in meaning.cues:
                    meaning.cues.append(rank)
        for key, sort in (
            ("fillers", 0),
            ("ends", Sort.END),
            ("weak_ends", Sort.WEAK_END),
            ("openers", Sort.OPENER),
            ("degrees", Sort.DEGREE),
            ("sides", Sort.SIDE),
            ("copulas", Sort.COPULA),
            ("verbs", Sort.VERB),
        ):
            self._put((CUES_FILE, key), getattr(file, key), sort)

    def _add_joints(self) -> None:
        for sort, forms in (
            (Sort.COMMA, (",",)),
            (Sort.OR, ("or", "nor")),
            (Sort.AND, ("and", "as well as", "along with")),
            (Sort.AND | Sort.SLASH, ("/", "and / or")),
            (Sort.END, (";",)),
            (Sort.END | Sort.COLON, (":",)),
        ):
            self._put(("joints",), forms, sort)

    def _put(self, where: tuple[Any, ...], phrases: Iterable[str], sort: int) -> list[Meaning]:
        """Put phrases into the tree and return their meanings, marked with the sort.

        Phrases that are put in together, and meant the same before, share one: tens of thousands mean a few hundred
        things.
        """
        meanings: dict[tuple[Meaning | None, int], Meaning] = {}  # by what a phrase meant before, and the new sort
        made: set[Meaning | None] = set()
        for place, phrase in enumerate(phrases):
            try:
                spelled = pieces(phrase, self._lists)
            except ValueError as error:
                raise InputError(
                    f"{self._where(*where, place)}: {error}", "see the signs at the top of the file"
                ) from None
            for branch, first in self._branches(spelled):
                before = branch.get(_ENTRY)
                if before in made:  # the same words, once more
                    continue
                marked = sort | (Sort.SINGULAR if sort & Sort.CUE and first in _SINGULAR else 0)
                meaning = meanings.get((before, marked))
                if meaning is None:
                    meaning = meanings[before, marked] = before.marked(marked) if before else Meaning(marked)
                    made.add(meaning)
                branch[_ENTRY] = meaning
        return list(meanings.values())

    def _branches(self, spelled: Iterable[Iterable[tuple[str, ...]]]) -> list[tuple[dict[str, Any], str]]:
        """Return the branches of the tree that a phrase leads to, each with its first word; they grow where needed.

        It goes piece by piece: what begins alike is gone along once, and phrases that are one are one branch.
        """
        reached = [(self._tree, "")]
        for choices in spelled:
            following: dict[int, tuple[dict[str, Any], str]] = {}
            for start, first in reached:
                for words in choices:
                    branch = start
                    for form in words:
                        behind = branch.get(form)
                        if behind is None:
                            behind = branch[form] = {}
                            self._forms.add(form)
                        branch = behind
                    following[id(branch)] = branch, first or (words[0] if words else "")
            reached = list(following.values())
        return reached


def _longest(branch: Mapping[str, Any], forms: Sequence[str], place: int) -> tuple[int, Meaning] | None:
    """Return the end and meaning of the longest phrase that goes on from a branch of the tree."""
    best: tuple[int, Meaning] | None = None
    while True:
        meaning = branch.get(_ENTRY)
        if meaning is not None:
            best = (place, meaning)
        behind_gap = branch.get(GAP)
        if behind_gap is not None:
            match = _behind_gap(behind_gap, forms, place)
            if match is not None and (best is None or match[0] > best[0]):
                best = match
        following = branch.get(forms[place]) if place < len(forms) else None
        if following is None:
            return best
        branch, place = following, place + 1


def _behind_gap(branch: Mapping[str, Any], forms: Sequence[str], place: int) -> tuple[int, Meaning] | None:
    for start in range(place, min(place + GAP_WORDS + 1, len(forms))):
        following = branch.get(forms[start])
        if following is not None:
            match = _longest(following, forms, start + 1)
            if match is not None:
                return match
        if forms[start] in _NO_GAP:
            return None
    return None
