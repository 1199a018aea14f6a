"""How far a cue reaches: over which units of its sentence it decides.

The model is ConText's (Harkema et al. 2009, doi:10.1016/j.jbi.2009.05.002): a cue, a direction, words that end it.
Departures: a reach follows the list that it stands before ("no A, B, or C") and ends where a new statement begins,
marked or not ("no A heart normal small B"), so that dictation without punctuation can be read.
"""

from collections.abc import Sequence

from teachback.agents.rules.lexicon import Sort, Unit
from teachback.agents.rules.ruleset import CueRule

__all__ = ["reached"]

# Units that a cue can reach over at most, and that are searched for an `or` ahead; keeps reading linear.
MAX_REACH = 40
MAX_AHEAD = 16
# Words without a meaning of their own between a side and its term.
MAX_PLAIN = 3

_TARGET = Sort.TERM | Sort.STATE
_STOPS_LIST = Sort.END | Sort.WEAK_END | Sort.OPENER | Sort.VERB


def reached(units: Sequence[Unit], at: int, rule: CueRule) -> list[int]:
    """Return the places of the terms and states that the cue at a place decides on."""
    places = [] if rule.reads == "forward" else _backward(units, at, rule)
    if rule.reads != "backward":
        places += _rest(units, at) if rule.reach == "rest" else _forward(units, at, rule)
    return places


def _rest(units: Sequence[Unit], at: int) -> list[int]:
    places = []
    for place in range(at + 1, min(len(units), at + 1 + MAX_REACH)):
        sorts = units[place].sorts
        if sorts & Sort.END:
            break
        if sorts & _TARGET:
            places.append(place)
    return places


def _forward(units: Sequence[Unit], at: int, rule: CueRule) -> list[int]:
    """Follow the list behind a cue until something that cannot belong to it."""
    places: list[int] = []
    joint, named, termed, verb = 0, False, False, False
    for place in range(at + 1, min(len(units), at + 1 + MAX_REACH)):
        sorts = units[place].sorts
        if sorts & (Sort.END | Sort.WEAK_END):
            break
        if sorts & (Sort.COMMA | Sort.OR | Sort.AND):
            if sorts & Sort.COMMA and (rule.needs_list_word or (named and verb)) and not _or_ahead(units, place):
                break
            joint = joint if joint == Sort.OR else sorts
            continue
        if _begins_statement(units, place, joint, named) or (termed and not joint and _begins_sided(units, place)):
            break
        verb = verb or bool(sorts & Sort.VERB)
        if sorts & _TARGET:
            if termed and joint & (Sort.AND | Sort.COMMA) and _is_claimed(units, place):
                break
            places.append(place)
            joint, named, termed = 0, True, termed or bool(sorts & Sort.TERM or not sorts & Sort.DEGREE)
            if rule.reach == "next":
                break
    return places


def _begins_statement(units: Sequence[Unit], place: int, joint: int, named: bool) -> bool:
    """Whether a unit opens a statement of its own rather than going on with the list."""
    sorts = units[place].sorts
    if sorts & Sort.OPENER:
        return named or bool(joint)
    if joint == Sort.OR:
        return False
    if sorts & Sort.SUBJECT and not named:
        return bool(units[place - 1].sorts & Sort.CUE) and units[place].first > units[place - 1].last
    if not named:
        return False
    if sorts & Sort.SUBJECT:
        return True
    if sorts & (Sort.DEGREE | Sort.STATE) and not sorts & Sort.TERM:
        return joint != Sort.COMMA or not _or_ahead(units, place)
    return bool(sorts & Sort.CUE and joint)


def _opens_item(units: Sequence[Unit], at: int) -> bool:
    """Whether a cue that can read both ways stands behind a comma and right before a term (", unlikely edema")."""
    return (
        0 < at < len(units) - 1
        and bool(units[at - 1].sorts & Sort.COMMA)
        and bool(units[at + 1].sorts & Sort.TERM)
        and units[at + 1].first == units[at].last
    )


def _is_claimed(units: Sequence[Unit], at: int) -> bool:
    """Whether a term has a verb of its own that is no "is seen" shared by the list ("and the line is in place")."""
    verb, behind = at + 1, at + 2
    return (
        verb < len(units)
        and bool(units[verb].sorts & Sort.COPULA)
        and units[verb].first == units[at].last
        and not (behind < len(units) and units[behind].sorts & (Sort.VERB | Sort.CUE))
        and not _or_ahead(units, at)
    )


def _begins_sided(units: Sequence[Unit], at: int) -> bool:
    """Whether a side stands before a term that nothing joins to the list ("no effusion left lower lobe opacity")."""
    following = at + 1
    return (
        bool(units[at].sorts & Sort.SIDE)
        and following < len(units)
        and bool(units[following].sorts & Sort.TERM)
        and units[following].first - units[at].last <= MAX_PLAIN
        and not _or_ahead(units, at)
    )


def _or_ahead(units: Sequence[Unit], at: int) -> bool:
    """Whether an `or` further on in the same list binds what stands here to it."""
    for place in range(at + 1, min(len(units), at + 1 + MAX_AHEAD)):
        sorts = units[place].sorts
        if sorts & (Sort.OR | Sort.SLASH):
            return True
        if sorts & _STOPS_LIST:
            return False
    return False


def _backward(units: Sequence[Unit], at: int, rule: CueRule) -> list[int]:
    """Go back over what a cue behind says something of: one mention, or those joined with it."""
    places: list[int] = []
    joined = comma = termed = False
    stops = Sort.VERB | Sort.SUBJECT | Sort.CUE
    is_state = bool(units[at].sorts & Sort.STATE)
    if units[at].sorts & Sort.CUE and _opens_item(units, at):
        return []
    for place in range(at - 1, max(-1, at - 1 - MAX_REACH), -1):
        sorts = units[place].sorts
        if sorts & (Sort.END | Sort.WEAK_END | Sort.OPENER):
            break
        if (places and sorts & stops) or (is_state and sorts & Sort.SUBJECT):
            break
        if sorts & Sort.AND and termed and units[at].sorts & Sort.SINGULAR:
            break
        if sorts & (Sort.AND | Sort.OR):
            joined = True
        elif sorts & Sort.COMMA:
            if places and not joined:
                break
            comma = True
        if sorts & _TARGET:
            if sorts & Sort.TERM:
                if termed and not (joined or comma):
                    break
                termed, comma = True, False
            places.append(place)
            if rule.reach == "next":
                break
    return places
