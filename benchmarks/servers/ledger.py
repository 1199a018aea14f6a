"""What became of the requests at a faulty endpoint, and what a store holds: the label path's promises, counted."""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from servers.faults import PAID

from teachback.store.label import FINDINGS

__all__ = ["Admitted", "Asked", "Promises", "kept_promises", "overlap_s", "read_log", "repeated", "stored_answers"]

Asked = tuple[int, str]  # a report's number and which agent asked: `label` or `verdict`

AGENTS = {"llm_labeler": "label", "adjudicator": "verdict"}


@dataclass(frozen=True, slots=True)
class Admitted:
    """One request that the endpoint let in.

    Attributes:
        at: When it was let in, in seconds since the epoch.
        asked: What was asked.
        kind: `usable`, or what went wrong.
        heard: Whether the client was still there when the answer was sent.
    """

    at: float
    asked: Asked
    kind: str
    heard: bool

    @property
    def paid(self) -> bool:
        """Whether an endpoint bills it."""
        return self.kind in PAID


@dataclass(frozen=True)
class Promises:
    """What a store holds after a run.

    Attributes:
        reports: Reports in it.
        labelled: Reports that the teacher is done with.
        named: Reports that it is not done with, but that have an error with a reason.
        unnamed: Reports that have neither.
        lost: Findings of labelled reports that a labeler's label is missing of, verdicts included.
        twice: Labels that are there more than once, or reports that were finished more than once.
        unfounded: Labels of a model whose call is not in the store as answered.
        reasons: Why reports are not labelled, to how many.
    """

    reports: int
    labelled: int
    named: int
    unnamed: int
    lost: int
    twice: int
    unfounded: int
    reasons: dict[str, int]


def read_log(path: Path) -> list[Admitted]:
    """Read what became of the requests, in the order of their ends."""
    with path.open(encoding="utf-8") as lines:
        entries = [json.loads(line) for line in lines]
    return [Admitted(one["at"], (one["report"], one["agent"]), one["kind"], one["heard"]) for one in entries]


def stored_answers(store: Path) -> set[Asked]:
    """Return what a store that was left by a killed process holds answers to."""
    with tempfile.TemporaryDirectory(prefix="ledger-") as folder:
        for name in (store.name, f"{store.name}.wal"):
            if store.with_name(name).exists():
                shutil.copyfile(store.with_name(name), Path(folder, name))
        with duckdb.connect(str(Path(folder, store.name))) as connection:
            query = "SELECT report_id, agent FROM llm_calls WHERE error IS NULL"
            rows = connection.execute(query).fetchall()
    return {(_number(report_id), AGENTS[agent]) for report_id, agent in rows}


def kept_promises(store: Path) -> Promises:
    """Look a finished store over."""
    with duckdb.connect(str(store), read_only=True) as connection:

        def one(query: str, *values: Any) -> int:
            found = connection.execute(query, list(values)).fetchone()
            return int(found[0]) if found else 0

        said = "(FROM failures WHERE trim(reason) <> '') USING (report_id)"
        return Promises(
            reports=one("SELECT count(*) FROM reports"),
            labelled=one("SELECT count(DISTINCT report_id) FROM committed"),
            named=one(f"SELECT count(*) FROM {_OPEN} SEMI JOIN {said}"),
            unnamed=one(f"SELECT count(*) FROM {_OPEN} ANTI JOIN {said}"),
            lost=one(_LOST_VOTES, list(FINDINGS)) + one(_LOST_VERDICTS),
            twice=one(_LABELS_TWICE) + one(_REPORTS_TWICE),
            unfounded=one(_UNFOUNDED),
            reasons=dict(connection.execute(_REASONS).fetchall()),
        )


def repeated(requests: Iterable[Admitted]) -> int:
    """Return how many usable answers were paid for although the same had been answered usably before."""
    usable = Counter(one.asked for one in requests if one.kind == "usable")
    return sum(count - 1 for count in usable.values())


def overlap_s(spans: Iterable[tuple[float, float]], others: Iterable[tuple[float, float]]) -> float:
    """Return the seconds that two sets of spans, each without overlaps of its own, have in common."""
    others = list(others)
    return sum(max(0.0, min(end, until) - max(start, since)) for start, end in spans for since, until in others)


_OPEN = "(SELECT report_id FROM reports ANTI JOIN committed USING (report_id))"
_REASONS = f"""
    SELECT reason, count(*) FROM (
        SELECT report_id, arg_max(reason, created_at) AS reason FROM failures SEMI JOIN {_OPEN} USING (report_id)
        GROUP BY report_id
    ) GROUP BY reason ORDER BY 2 DESC
"""
# Rules and model give each of the 13 findings of a labelled report a status.
_LOST_VOTES = """
    SELECT count(*) FROM (SELECT DISTINCT report_id FROM committed)
    CROSS JOIN (SELECT unnest(?) AS target)
    CROSS JOIN (SELECT labeler_id FROM labelers WHERE kind IN ('rule', 'llm'))
    ANTI JOIN (FROM labels WHERE task = 'findings') USING (report_id, target, labeler_id)
"""
# Where they differ, the adjudicator has decided.
_LOST_VERDICTS = """
    SELECT count(*) FROM (
        SELECT report_id, target FROM labels JOIN labelers USING (labeler_id)
        SEMI JOIN committed USING (report_id)
        WHERE task = 'findings' AND kind IN ('rule', 'llm')
        GROUP BY ALL HAVING count(DISTINCT status) > 1
    ) ANTI JOIN adjudications USING (report_id, target)
"""
_LABELS_TWICE = """
    SELECT count(*) FROM (SELECT 1 FROM labels GROUP BY report_id, task, target, labeler_id HAVING count(*) > 1)
"""
_REPORTS_TWICE = """
    SELECT count(*) FROM (SELECT 1 FROM committed GROUP BY report_id, teacher_id HAVING count(*) > 1)
"""
_UNFOUNDED = """
    SELECT count(*) FROM labels ANTI JOIN (FROM llm_calls WHERE error IS NULL) USING (llm_call_id)
    WHERE llm_call_id IS NOT NULL
"""


def _number(report_id: str) -> int:
    return int(report_id.rsplit("-", 1)[1])
