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
    joint, named, verb = 0, False, False
    for place in range(at + 1, min(len(units), at + 1 + MAX_REACH)):
        sorts = units[place].sorts
        if sorts & (Sort.END | Sort.WEAK_END):
            break
        if sorts & (Sort.COMMA | Sort.OR | Sort.AND):
            if sorts & Sort.COMMA and (rule.needs_list_word or (named and verb)) and not _or_ahead(units, place):
                break
            joint = joint if joint == Sort.OR else sorts
            continue
        if _begins_statement(units, place, joint, named):
            break
        verb = verb or bool(sorts & Sort.VERB)
        if sorts & _TARGET:
            places.append(place)
            joint, named = 0, True
            if rule.reach == "next":
                break
    return places


def _begins_statement(units: Sequence[Unit], place: int, joint: int, named: bool) -> bool:
    """Whether a unit opens a statement of its own rather than going on with the list."""
    sorts = units[place].sorts
    if sorts & Sort.OPENER:
        return named or bool(joint)
    if not named or joint == Sort.OR:
        return False
    if sorts & Sort.SUBJECT:
        return True
    if sorts & (Sort.DEGREE | Sort.STATE) and not sorts & Sort.TERM:
        return joint != Sort.COMMA or not _or_ahead(units, place)
    return bool(sorts & Sort.CUE and joint)


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
    joined = False
    stops = Sort.VERB | Sort.SUBJECT | Sort.CUE
    is_state = bool(units[at].sorts & Sort.STATE)
    for place in range(at - 1, max(-1, at - 1 - MAX_REACH), -1):
        sorts = units[place].sorts
        if sorts & (Sort.END | Sort.WEAK_END | Sort.OPENER):
            break
        if (places and sorts & stops) or (is_state and sorts & Sort.SUBJECT):
            break
        if sorts & (Sort.AND | Sort.OR):
            joined = True
        elif sorts & Sort.COMMA and places and not joined:
            break
        if sorts & _TARGET:
            places.append(place)
            if rule.reach == "next":
                break
    return places
