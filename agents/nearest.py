"""The curated reports that are most like a report, as examples to show with it.

Candidates are reports of the split `train` with all 13 findings curated. BM25 (Robertson & Zaragoza 2009,
doi:10.1561/1500000019) ranks them. Left out are the report itself, whatever has its text, its near-duplicates and other
reports of its patient, so that no example gives its answer away.

Curators leave two things out that an example needs. Some code positives only and say nothing of what is denied: there
the rule labeler's `absent` and `uncertain` stand in, and a report in which it sees what they did not code is passed
over. And few mark evidence: it is the rule labeler's, where it comes to the same status; a report with a finding that
is left without any is passed over too.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import duckdb
import numpy as np

from teachback.agents.examples import UNMENTIONED, Example
from teachback.agents.forms import DiseaseEntry, StatusEntry
from teachback.agents.grounding import ground, places
from teachback.agents.rules import packaged_engine
from teachback.agents.rules.words import sentences
from teachback.errors import SettingError
from teachback.store.identity import content_id
from teachback.store.label import FINDINGS, Evidence, Status
from teachback.store.report import Report, Scope
from teachback.store.rows import fetch_reports

__all__ = ["NearestExamples"]

MOST_LOOKED_AT = 40  # candidates that are tried, best first, until enough of them make an example

_WORD = re.compile(r"[^\W_]+")
_CURATED = """
    SELECT report_id, target, status, evidence[1].quote, labeler_id
    FROM curated_labels JOIN splits USING (report_id)
    WHERE split = 'train' AND task = ? ORDER BY report_id, target"""
_ABOUT = """
    SELECT report_id, group_id, egress FROM reports JOIN splits USING (report_id) JOIN corpora USING (corpus)
    WHERE report_id IN ?"""
_DISEASES = _CURATED.replace("evidence[1].quote", "icd10")


@dataclass(frozen=True)
class _Curated:
    """A curated report.

    Attributes:
        report: The report.
        group_id: Its group: near-duplicates and reports of one patient share it.
        egress: Its corpus's policy.
        findings: Finding to curated status and the evidence that came with it, often none.
        positives_only: Whether its curator never says absent or uncertain.
        diseases: (phrase, code); None where its curator lists none for any report.
    """

    report: Report
    group_id: str
    egress: str
    findings: dict[str, tuple[Status, str]]
    positives_only: bool
    diseases: tuple[tuple[str, str | None], ...] | None


class NearestExamples:
    """Picks the curated `train` reports that are most like a report.

    Args:
        connection: The store or a snapshot; read once, here.
        count: How many are shown.
        scope: The sections that the labeler reads.

    Raises:
        SettingError: There are no such reports.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, count: int, scope: Scope = "full") -> None:
        self.count, self.scope = count, scope
        self._candidates = [entry for entry in _read(connection) if entry.report.scoped(scope)]
        if not self._candidates:
            raise SettingError(
                "there are no curated reports to show as examples: none of the split train has all findings curated",
                "import curated labels (`teachback import --help`), or use a prompt that draws from a pool: few-shot",
            )
        texts = [entry.report.text(scope) for entry in self._candidates]
        self._texts = [" ".join(_words(text)) for text in texts]
        import bm25s  # it loads scipy where that is installed

        self._index = bm25s.BM25()
        self._index.index([_words(text) for text in texts], show_progress=False)
        self._groups = _groups(connection, {entry.group_id for entry in self._candidates})
        self._engine = packaged_engine()
        self._example = lru_cache(maxsize=None)(self._make)  # a candidate is chosen again and again

    @cached_property
    def version(self) -> str:
        """Content hash of the curated reports and their labels."""
        curated = [
            [entry.report.report_id, text, sorted(entry.findings.items()), entry.diseases]
            for entry, text in zip(self._candidates, self._texts, strict=True)
        ]
        return content_id("exs", curated, self.count, self._engine.ruleset.version)

    def pick(self, report: Report) -> list[Example]:
        """Return the nearest examples, the nearest last: next to the report that they are like."""
        words = _words(report.text(self.scope))
        if not words:
            return []
        scores = self._index.get_scores(words)
        text, group = " ".join(words), self._groups.get(report.report_id)
        picked: list[Example] = []
        for place in _best(scores, MOST_LOOKED_AT):
            entry = self._candidates[place]
            if scores[place] <= 0 or self._texts[place] == text or _is_kin(entry, report, group):
                continue
            example = self._example(place)
            if example is not None:
                picked.append(example)
            if len(picked) == self.count:
                break
        return picked[::-1]

    def _make(self, place: int) -> Example | None:
        entry = self._candidates[place]
        sections = entry.report.scoped(self.scope)
        read = self._engine.label_sections(sections)
        findings = {}
        for finding in FINDINGS:
            filled = _filled(entry, finding, *read[finding], sections)
            if filled is None:
                return None
            findings[finding] = filled
        diseases = entry.diseases
        return Example(
            entry.report.text(self.scope),
            findings,
            None if diseases is None else tuple(_disease(phrase, code, sections) for phrase, code in diseases),
            entry.egress,
        )


def _filled(
    entry: _Curated, finding: str, read: Status, seen: tuple[Evidence, ...], sections: Sequence[tuple[str, str]]
) -> StatusEntry | None:
    """Return what an example says of a finding; None where it cannot be said with the words for it."""
    status, quote = entry.findings[finding]
    if status == "unmentioned":
        if not entry.positives_only or read == "unmentioned":
            return UNMENTIONED
        if read == "present":
            return None
        status = read
    if quote and ground(quote, sections)[0].grounded:
        return StatusEntry(status=status, evidence=quote)
    if read != status or not seen:
        return None
    return StatusEntry(status=status, evidence=_passage(seen[0], dict(sections)[seen[0].section]))


def _passage(evidence: Evidence, text: str) -> str:
    """Return the words of a sentence from the cue to the mention, or the other way round."""
    first, last = next(bounds for bounds in sentences(text) if bounds[0] <= evidence.start < bounds[1])
    start, end = evidence.start, min(evidence.end, last)
    cues = [place for place in places(evidence.cue, [("", text[first:last])]) if evidence.cue]
    if cues:
        nearest = min(cues, key=lambda cue: abs(first + cue.start - start))
        start, end = min(start, first + nearest.start), max(end, first + nearest.end)
    return text[start:end]


def _disease(phrase: str, code: str | None, sections: Sequence[tuple[str, str]]) -> DiseaseEntry:
    found = ground(phrase, sections)[0]
    quote = dict(sections)[found.section][found.start : found.end] if found.grounded else ""
    return DiseaseEntry(name=phrase, icd10=code or "", evidence=quote)


def _is_kin(entry: _Curated, report: Report, group: str | None) -> bool:
    other = entry.report
    same_patient = report.subject_id is not None and (other.corpus, other.subject_id) == (
        report.corpus,
        report.subject_id,
    )
    return other.report_id == report.report_id or entry.group_id == group or same_patient


def _best(scores: np.ndarray, count: int) -> list[int]:
    # The highest scores first; of equal ones the earlier candidate.
    if len(scores) > count:
        edge = np.partition(scores, len(scores) - count)[len(scores) - count]
        places = np.flatnonzero(scores >= edge)
    else:
        places = np.arange(len(scores))
    return [int(place) for place in places[np.argsort(-scores[places], kind="stable")]][:count]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _read(connection: duckdb.DuckDBPyConnection) -> list[_Curated]:
    findings: dict[str, dict[str, tuple[Status, str]]] = defaultdict(dict)
    curator: dict[str, str] = {}
    said: dict[str, set[str]] = defaultdict(set)
    for report_id, target, status, quote, labeler_id in connection.execute(_CURATED, ["findings"]).fetchall():
        findings[report_id][target] = (status, quote or "")
        curator[report_id] = labeler_id
        said[labeler_id].add(status)
    diseases: dict[str, list[tuple[str, str | None]]] = defaultdict(list)
    listing: set[str] = set()
    for report_id, target, status, code, labeler_id in connection.execute(_DISEASES, ["diseases"]).fetchall():
        listing.add(labeler_id)
        if status == "present":
            diseases[report_id].append((target, code))
    whole = sorted(report_id for report_id, given in findings.items() if len(given) == len(FINDINGS))
    about = {
        report_id: (group_id, egress) for report_id, group_id, egress in connection.execute(_ABOUT, [whole]).fetchall()
    }
    reports = {report.report_id: report for report in fetch_reports(connection, "report_id IN ?", [whole])}
    return [
        _Curated(
            reports[report_id],
            *about[report_id],
            findings[report_id],
            not said[curator[report_id]] & {"absent", "uncertain"},
            tuple(diseases[report_id]) if curator[report_id] in listing else None,
        )
        for report_id in whole
        if report_id in about and report_id in reports
    ]


def _groups(connection: duckdb.DuckDBPyConnection, of: set[str]) -> dict[str, str]:
    # Only groups with a candidate matter, and of millions of reports few are in one.
    query = "SELECT report_id, group_id FROM splits WHERE group_id IN ?"
    return dict(connection.execute(query, [sorted(of)]).fetchall())
