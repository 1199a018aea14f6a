"""Diseases that a report does not assert, by rule: hedged and negated ones are no `present` label.

The open-ended task leaves "likely" and "possibly" out (Wei et al. 2024, arXiv 2409.16563), and language models list
such diseases all the same. So the words around each disease are read by the cues of the rule labeler, which has the one
list of them (`agents/rules/cues.yaml`). A disease that its words do not assert is kept, with the status that they give.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from msgspec import structs

from teachback.agents.grounding import ground, places
from teachback.agents.rules import packaged_engine, packaged_ruleset
from teachback.store.label import Evidence, Status

__all__ = ["asserted", "hedge_rules_version"]

# Which place decides where a disease is spoken of more than once, as for findings: one sure sighting is enough.
_RANK: Mapping[Status, int] = {"present": 3, "uncertain": 2, "absent": 1, "unmentioned": 0}
SHORTEST_HEAD = 4  # letters of a word that can stand for its phrase
REMEMBERED_QUOTES = 16_384  # with the diseases that they were given for: reports, and models, repeat themselves

_WORD = re.compile(r"[^\W\d_]+")


def asserted(phrase: str, quote: str, sections: Sequence[tuple[str, str]]) -> tuple[Status, tuple[Evidence, ...]]:
    """Return what the report says of a disease at the words that it was listed for.

    Args:
        phrase: The disease.
        quote: The evidence, as the model gave it; where there is none, the phrase itself is looked for.
        sections: (name, text) of the scope's sections.

    Returns:
        `present`, `uncertain` (hedged), `absent` (negated, resolved) or `unmentioned` (history, advice), and the
        evidence, its cue the words that decided against `present`.
    """
    texts = dict(sections)
    found = places(quote or phrase, sections)
    if not found:  # not in the report: what the quote itself says is all there is
        status, cue = _said(phrase, quote, 0, len(quote)) if quote else ("present", "")
        return status, tuple(structs.replace(evidence, cue=cue) for evidence in ground(quote, sections))
    readings = [(place, _said(phrase, texts[place.section], place.start, place.end)) for place in found]
    place, (status, cue) = max(readings, key=lambda reading: _RANK[reading[1][0]])
    return status, (structs.replace(place, cue=cue),) if quote else ()


def hedge_rules_version() -> str:
    """Return the version of the rules that decide: it is part of who a labeler of diseases is."""
    return packaged_ruleset().version


def _said(phrase: str, text: str, start: int, end: int) -> tuple[Status, str]:
    # Read at each place of the phrase within the quote; as everywhere, one sure sighting is enough.
    says_of = packaged_engine().says_of
    readings = [says_of(text, start + first, start + last) for first, last in _spans(phrase, text[start:end])]
    status, cue = max(readings, key=lambda reading: _RANK[reading[0]])
    return status, "" if status == "present" else cue


@lru_cache(maxsize=REMEMBERED_QUOTES)
def _spans(phrase: str, quote: str) -> tuple[tuple[int, int], ...]:
    # The phrase's own words; else the last of its words that the quote has ("effusion"); else the quote's last words.
    wordings = [phrase, *(word for word in reversed(_WORD.findall(phrase)) if len(word) >= SHORTEST_HEAD)]
    for wording in wordings:
        found = places(wording, [("", quote)])
        if found:
            return tuple([(place.start, place.end) for place in found])
    return ((0, len(quote)),)
