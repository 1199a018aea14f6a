"""The rule engine: mentions of the findings in a section, and a report's status for each finding.

Sentences are read one by one, and reports repeat their sentences, so what a sentence says is remembered. Only a
sentence that speaks of the one before ("This has resolved.") is read with it.

Report level (after CheXpert, Irvin et al. 2019, arXiv 1901.07031; docs/labeling-policy.md has the differences): a
present mention wins over an uncertain one, and that over an absent one. Departure: a state that tells of a comparison
alone ("heart size is unchanged") gives way to any other mention of the finding.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence, Set
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import NamedTuple

from msgspec import Struct

from teachback.agents.rules.lexicon import Lexicon, Meaning, Sort, Unit
from teachback.agents.rules.measured import measurements
from teachback.agents.rules.reach import reached
from teachback.agents.rules.ruleset import CueRule, RuleSet
from teachback.agents.rules.words import Words, first_form, sentences
from teachback.store.label import Evidence, Status

__all__ = ["Mention", "RuleEngine"]

# Sentences remembered at most, about 1 kB each, and the longest one that is worth it, in characters.
REMEMBERED_SENTENCES = 60_000
LONGEST_REMEMBERED = 400
REMEMBERED_SPELLINGS = (
    4_096  # sentences whose words are remembered: those of the reports at hand, read again for diseases
)
REMEMBERED_TEXTS = 1_024  # sections whose sentences are remembered

STATED = "stated"
UNCHANGED = "unchanged"
EITHER_OR = "either-or"
UNREAD = "unread-section"

# Which mention decides for the report; `unmentioned` never does.
_RANK: dict[Status, int] = {"present": 4, "uncertain": 3, "absent": 2, "unmentioned": 0}
_RANK_UNCHANGED = 1
# What may stand between an `or` and the terms that it joins.
_MODIFIERS = (Sort.DEGREE, Sort.SIDE)
_BEHIND_OR = (*_MODIFIERS, Sort.COMMA, Sort.CUE)

# What may lead a term and is no part of it.
_LEADS = Sort.CUE | Sort.DEGREE | Sort.SIDE

_PARAGRAPH = re.compile(r"\n[ \t\r]*\n")


class Mention(Struct, frozen=True, gc=False):
    """One mention of a finding.

    Attributes:
        finding: The finding.
        status: What this mention says of it; `unmentioned` when it is not about this image (history, advice).
        section: The section it stands in.
        start: Offset of its first character in the section's text.
        end: Offset behind its last character.
        quote: Its words.
        cue: The words that decided the status; empty when it is simply stated.
        rule: The rule that decided.
    """

    finding: str
    status: Status
    section: str
    start: int
    end: int
    quote: str
    cue: str
    rule: str


class _Hit(NamedTuple):
    """A mention with its place in the sentence: what is remembered of a sentence."""

    finding: str
    status: Status
    start: int
    end: int
    cue: str
    rule: str


_start = attrgetter("start")


class _Reading(NamedTuple):
    """What a sentence says, and what it says of the sentence before: (status, cue, rule) or nothing."""

    hits: tuple[_Hit, ...]
    answer: tuple[Status, str, str] | None = None


class RuleEngine:
    """Reads report text by a rule set. Not to be shared between threads.

    Args:
        ruleset: The rules; the package's own when left out.
        remember: Sentences remembered at most; 0 reads every sentence anew.
    """

    def __init__(self, ruleset: RuleSet | None = None, remember: int = REMEMBERED_SENTENCES) -> None:
        self.ruleset = ruleset or RuleSet.load()
        self._lexicon = Lexicon(self.ruleset)
        self._rules = self.ruleset.cues.rules
        self._pronouns = frozenset(self.ruleset.cues.pronouns)
        self._causes = frozenset(self.ruleset.findings.causes)
        self._heading = _heading_pattern(self.ruleset)
        self._unread = frozenset(self.ruleset.cues.unread_headings)
        self._remembering = lru_cache(maxsize=remember)(self._read)
        self._spelling = lru_cache(maxsize=min(remember, REMEMBERED_SPELLINGS))(self._spell)
        self._saying = lru_cache(maxsize=remember)(self._said)
        self._bounding = lru_cache(maxsize=min(remember, REMEMBERED_TEXTS))(sentences)

    def mentions(self, section: str, text: str) -> list[Mention]:
        """Return every mention in a section, in reading order.

        Args:
            section: The section's name.
            text: Its text; any text is read, in time that grows with its length.
        """
        found: list[Mention] = []
        before: list[Mention] = []
        unread = filled = False
        last = 0
        for start, end in self._bounding(text):
            sentence = text[start:end]
            heading = self._heading.match(sentence) if ":" in sentence else None
            if heading:
                unread, filled = heading[1].lower() in self._unread, heading.end() < len(sentence)
            elif unread:
                unread = not (filled and _PARAGRAPH.search(text, last, start))
                filled = True
            last = end
            reading = self._reading(sentence)
            if reading.answer and before:
                status, cue, rule = reading.answer
                found[len(found) - len(before) :] = [_answered(mention, status, cue, rule) for mention in before]
            if not reading.hits:
                before = []
                continue
            before = [
                Mention(
                    hit.finding,
                    "unmentioned" if unread else hit.status,
                    section,
                    start + hit.start,
                    start + hit.end,
                    sentence[hit.start : hit.end],
                    heading[1] if unread and heading else hit.cue,
                    UNREAD if unread else hit.rule,
                )
                for hit in reading.hits
            ]
            found += before
        return found

    def label_sections(self, sections: Sequence[tuple[str, str]]) -> dict[str, tuple[Status, tuple[Evidence, ...]]]:
        """Return each finding's status over some sections of one report, with the spans it rests on.

        Args:
            sections: (name, text) in reading order.

        Returns:
            Every finding of the rule set, in its order; `unmentioned` without evidence where nothing speaks of it.
        """
        by_finding: dict[str, list[Mention]] = {name: [] for name in self.ruleset.finding_names}
        for name, text in sections:
            for mention in self.mentions(name, text):
                by_finding[mention.finding].append(mention)
        return {finding: _verdict(mentions) for finding, mentions in by_finding.items()}

    def says_of(self, text: str, start: int, end: int) -> tuple[Status, str]:
        """Return what the cues of a section say of the words at a place, whatever these name, and the deciding words.

        Args:
            text: The section's text.
            start: Offset of the first character.
            end: Offset behind the last.
        """
        bounds = self._bounding(text)
        at = bisect_right(bounds, start, key=itemgetter(0)) - 1
        if at < 0 or start >= bounds[at][1]:
            return "present", ""
        first, last = bounds[at]
        sentence = text[first:last]
        say = self._saying if len(sentence) <= LONGEST_REMEMBERED else self._said
        status, cue = say(sentence, start - first, min(end, last) - first)
        if status in ("present", "uncertain") and at + 1 < len(bounds):
            behind = text[slice(*bounds[at + 1])]
            # "There was edema. It has resolved."
            answer = self._reading(behind).answer if first_form(behind) in self._pronouns else None
            if answer:
                return answer[:2]
        return status, cue

    def _said(self, sentence: str, start: int, end: int) -> tuple[Status, str]:
        spelled, units = self._spelling(sentence)
        named = spelled.within(start, end)
        if not named:
            return "present", ""
        around = (
            unit for unit in units if unit.sorts & Sort.CUE and unit.first < named[0] <= named[-1] < unit.last - 1
        )
        for unit in around:  # "if pneumonia is suspected"
            return _status(self._rules[unit.meaning.cues[0]], "present"), spelled.quote(unit.first, unit.last)
        units, at = _as_term(units, named[0], named[-1] + 1)
        decided, _ = self._decide(units, spelled)
        if at in decided:
            rank, cue = decided[at]
            return _status(self._rules[rank], "present"), spelled.quote(cue.first, cue.last)
        return ("uncertain", "or") if _is_alternative(units, at, self._causes) else ("present", "")

    def _reading(self, sentence: str) -> _Reading:
        return self._remembering(sentence) if len(sentence) <= LONGEST_REMEMBERED else self._read(sentence)

    def _spell(self, sentence: str) -> tuple[Words, list[Unit]]:
        spelled = Words(sentence)
        return spelled, self._lexicon.units(spelled.forms)

    def _read(self, sentence: str) -> _Reading:
        """Read one sentence by itself."""
        spelled, units = self._spelling(sentence)
        if not units:
            return _Reading(())
        sorts = 0
        for unit in units:
            sorts |= unit.sorts
        decided, answer = self._decide(units, spelled) if sorts & Sort.CUE else ({}, None)
        hits = self._terms(spelled, units, decided) if sorts & Sort.TERM else []
        if sorts & Sort.SUBJECT and sorts & Sort.STATE:
            hits += self._measured(spelled, units, decided)
        hits.sort(key=_start)
        return _Reading(tuple(hits), answer and (answer[0], spelled.quote(answer[1].first, answer[1].last), answer[2]))

    def _decide(
        self, units: Sequence[Unit], spelled: Words
    ) -> tuple[dict[int, tuple[int, Unit]], tuple[Status, Unit, str] | None]:
        """Return each reached unit's best-ranked rule and cue, and what is said of the sentence before."""
        decided: dict[int, tuple[int, Unit]] = {}
        answer = None
        for place, unit in enumerate(units):
            for rank in unit.meaning.cues:
                rule = self._rules[rank]
                if rule.unless_term_behind and any(behind.sorts & Sort.TERM for behind in units[place + 1 :]):
                    continue
                places = reached(units, place, rule)
                for target in places:
                    if target not in decided or rank < decided[target][0]:
                        decided[target] = (rank, unit)
                if not places and rule.answers_sentence_before and spelled.forms[0] in self._pronouns:
                    answer = (_status(rule, "present"), unit, rule.name)
        return decided, answer

    def _terms(self, spelled: Words, units: Sequence[Unit], decided: dict[int, tuple[int, Unit]]) -> list[_Hit]:
        """Return the hits of the findings' own terms."""
        hits = []
        for place, unit in enumerate(units):
            if not unit.sorts & Sort.TERM:
                continue
            start, end = spelled.span(unit.first, unit.last)
            for finding, base in unit.meaning.terms:
                if place in decided:
                    rank, cue = decided[place]
                    rule = self._rules[rank]
                    hits.append(
                        _Hit(finding, _status(rule, base), start, end, spelled.quote(cue.first, cue.last), rule.name)
                    )
                elif base == "present" and _is_alternative(units, place, self._causes):
                    hits.append(_Hit(finding, "uncertain", start, end, "or", EITHER_OR))
                else:
                    hits.append(_Hit(finding, base, start, end, "", STATED))
        return hits

    def _measured(self, spelled: Words, units: Sequence[Unit], decided: dict[int, tuple[int, Unit]]) -> list[_Hit]:
        """Return the hits of findings told as an organ's state; of several states the strongest counts."""
        hits = []
        for measure, subject, states in measurements(units):
            finding = self.ruleset.findings.measured[measure].finding
            best: tuple[int, _Hit] | None = None
            for state in states:
                level = units[state].meaning.states[measure]
                base: Status = "uncertain" if level == "unchanged" else level
                status, cue, rule = base, units[state], level if level == "unchanged" else STATED
                if state in decided and level != "unchanged":
                    rank, cue = decided[state]
                    status, rule = _status(self._rules[rank], base), self._rules[rank].name
                first, last = min(units[subject].first, units[state].first), max(units[subject].last, units[state].last)
                hit = _Hit(finding, status, *spelled.span(first, last), spelled.quote(cue.first, cue.last), rule)
                if best is None or _rank(status, rule) > best[0]:
                    best = (_rank(status, rule), hit)
            if best is not None:
                hits.append(best[1])
        return hits


def _as_term(units: Sequence[Unit], first: int, last: int) -> tuple[list[Unit], int]:
    """Return the units with a stretch of words read as one term of its own, and the term's place among them.

    What leads it ("small", "left", "possible") or ends it ("resolved") keeps its meaning and is no part of the term.
    """
    begin, end = first, last
    for unit in units:
        if unit.first <= begin < unit.last < last and unit.sorts & _LEADS and not unit.sorts & Sort.TERM:
            begin = unit.last
    for unit in reversed(units):
        if begin < unit.first < end <= unit.last and unit.sorts & Sort.CUE and not unit.sorts & Sort.TERM:
            end = unit.first
    before = [unit for unit in units if unit.last <= begin]
    behind = [unit for unit in units if unit.first >= end]
    term = Unit(Sort.TERM, begin, end, Meaning(Sort.TERM, [("", "present")]))
    return [*before, term, *behind], len(before)


def _heading_pattern(ruleset: RuleSet) -> re.Pattern[str]:
    names = sorted({*ruleset.cues.unread_headings, *ruleset.cues.read_headings}, key=len, reverse=True)
    return re.compile(rf"({'|'.join(re.escape(name) for name in names) or '(?!)'}) *:", re.IGNORECASE)


def _status(rule: CueRule, base: Status) -> Status:
    """Return what a rule makes of a mention that by itself has the base status."""
    if rule.says == "ignored":
        return "unmentioned"
    if base == "absent":
        return "uncertain" if rule.says == "absent" else "absent"
    if base == "uncertain" and rule.says == "present":
        return "uncertain"
    return rule.says


def _is_alternative(units: Sequence[Unit], place: int, causes: Set[str]) -> bool:
    """Whether an `or` joins a term to a term of another finding ("atelectasis or pneumonia"), or a slash to a cause."""
    terms = units[place].meaning.terms
    for step in (-1, 1):
        near = place + step
        while 0 <= near < len(units) and units[near].sorts in _MODIFIERS:
            near += step
        far = near + step
        while 0 <= far < len(units) and units[far].sorts in _BEHIND_OR:
            far += step
        if (
            0 <= near < len(units)
            and 0 <= far < len(units)
            and units[far].sorts & Sort.TERM
            and units[far].meaning.terms != terms
            and (
                units[near].sorts & Sort.OR
                or (
                    units[near].sorts & Sort.SLASH
                    and any(name in causes for name, _ in terms + units[far].meaning.terms)
                )
            )
        ):
            return True
    return False


def _answered(mention: Mention, status: Status, cue: str, rule: str) -> Mention:
    """Return a mention as the next sentence makes it: what was absent stays so, and what stood on another image may
    only be denied on this one."""
    if mention.status == "absent" or (
        mention.status == "unmentioned" and (status != "absent" or mention.rule == UNREAD)
    ):
        return mention
    return Mention(mention.finding, status, mention.section, mention.start, mention.end, mention.quote, cue, rule)


def _rank(status: Status, rule: str) -> int:
    return _RANK_UNCHANGED if rule == UNCHANGED and status == "uncertain" else _RANK[status]


def _verdict(mentions: Sequence[Mention]) -> tuple[Status, tuple[Evidence, ...]]:
    ranks = [_rank(mention.status, mention.rule) for mention in mentions]
    best = max(ranks, default=0)
    if best == 0:
        return "unmentioned", ()
    deciding = [mention for mention, rank in zip(mentions, ranks, strict=True) if rank == best]
    spans = [
        Evidence(mention.section, mention.start, mention.end, mention.quote, mention.cue or mention.rule)
        for mention in deciding
    ]
    return deciding[0].status, tuple(spans)
