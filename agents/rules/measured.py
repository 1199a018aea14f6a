"""Findings told as the state of an organ: which state belongs to which subject.

"The heart is mildly enlarged", "normal heart size and mediastinal contours", "heart size normal lungs clear": a state
stands before its subject or behind it, and subjects that are joined share it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from teachback.agents.rules.lexicon import Sort, Unit

__all__ = ["Measurement", "measurements"]

# Words that may stand between a state and the subject behind it ("enlargement of the heart").
MAX_BETWEEN = 3
# Units searched for a state behind a subject.
MAX_AHEAD = 16

_JOINTS = Sort.COMMA | Sort.AND | Sort.OR


class Measurement(NamedTuple):
    """A subject of one `measured` entry and its states, as places among the sentence's units."""

    measure: int
    subject: int
    states: tuple[int, ...]


def measurements(units: Sequence[Unit]) -> list[Measurement]:
    """Bind the states of a sentence to their subjects."""
    found: list[Measurement] = []
    taken: set[int] = set()
    shared: tuple[int, ...] = ()
    shared_from = -1
    for place, unit in enumerate(units):
        if not unit.sorts & Sort.SUBJECT:
            continue
        before = _before(units, place, taken)
        if not before and shared and _joined(units, shared_from, place):
            before = shared
        shared, shared_from = before, place
        for measure in unit.meaning.measures:
            known = tuple(state for state in before if measure in units[state].meaning.states)
            if all(units[state].meaning.states[measure] == "unchanged" for state in known):
                known += _behind(units, place, measure)
            if known:
                found.append(Measurement(measure, place, known))
                taken.update(known)
    return found


def _before(units: Sequence[Unit], subject: int, taken: set[int]) -> tuple[int, ...]:
    """Return the states that stand directly before a subject and belong to no subject before it."""
    states: list[int] = []
    place = subject - 1
    while place >= 0 and units[place].sorts & Sort.STATE and place not in taken:
        if units[place + 1].first - units[place].last > MAX_BETWEEN:
            break
        states.append(place)
        place -= 1
    return tuple(states)


def _behind(units: Sequence[Unit], subject: int, measure: int) -> tuple[int, ...]:
    """Return the states behind a subject, up to where another statement begins."""
    states: list[int] = []
    for place in range(subject + 1, min(len(units), subject + 1 + MAX_AHEAD)):
        sorts = units[place].sorts
        if sorts & Sort.COLON and place == subject + 1:
            continue
        if sorts & (Sort.END | Sort.WEAK_END | Sort.OPENER | Sort.TERM):
            break
        if sorts & Sort.SUBJECT and (states or not _coordinated(units, place)):
            break
        if sorts & Sort.STATE and measure in units[place].meaning.states:
            if states and _describes_term(units, place):
                break
            if _is_attribute(units, place) and (states or units[place - 1].sorts & _JOINTS):
                break
            states.append(place)
    return tuple(states)


def _is_attribute(units: Sequence[Unit], place: int) -> bool:
    """Whether a state stands directly before another subject ("and an enlarged aorta")."""
    following = place + 1
    return (
        following < len(units)
        and bool(units[following].sorts & Sort.SUBJECT)
        and units[following].first - units[place].last <= 1
    )


def _describes_term(units: Sequence[Unit], place: int) -> bool:
    """Whether a state belongs to a finding named right behind it ("a large overlying left effusion")."""
    following = place + 1
    while following < len(units) and units[following].sorts in (Sort.DEGREE, Sort.SIDE):
        following += 1
    return (
        following < len(units)
        and bool(units[following].sorts & Sort.TERM)
        and units[following].first - units[place].last <= MAX_BETWEEN
    )


def _coordinated(units: Sequence[Unit], place: int) -> bool:
    """Whether a subject is joined to what stands before it."""
    return bool(units[place - 1].sorts & (_JOINTS | Sort.SUBJECT))


def _joined(units: Sequence[Unit], one: int, other: int) -> bool:
    """Whether nothing but joints stands between two subjects."""
    return all(units[place].sorts & _JOINTS for place in range(one + 1, other))
