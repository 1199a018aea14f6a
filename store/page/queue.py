"""What is worth looking at: targets of reports with the reasons why, the most telling first.

One pass over the labels of a snapshot makes the queue; it lives in a small database in memory, so that paging through
it asks nothing of the store.
"""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb
import pyarrow as pa

from teachback.store.label import FINDINGS, STATUSES
from teachback.store.page.sight import Sight, Step

__all__ = ["REASONS", "Filters", "Item", "ReviewQueue", "standing"]

# Reason to what a reviewer is told of it, in the order of the queue.
REASONS: dict[str, str] = {
    "plan": "drawn by an audit plan",
    "cannot_tell": "the adjudicator could not tell",
    "disagreement": "the teachers disagree",
    "student": "a student against the teacher",
    "ungrounded": "evidence that is not in the report",
    "low_confidence": "the label's probability is below .7",
    "rare": "a finding that is rarely present",
    "random": "a random sample, for an unbiased error rate",
}
LOW_CONFIDENCE = 0.7
RARE_SHARE = 0.03  # of reports in which a finding is present
SAMPLE = 500  # targets of the random sample
REST_S = 5.0  # between two readings of the queue, at least
READING_SHARE = 0.05  # of the time that may go into reading it: that of a large store takes seconds
SEED = "teachback-review-1"  # of the random sample: the same targets in every session

# One row a target that somebody labelled: what was said, by whom. A vote of `unmentioned` from a narrower scope is no
# objection. The teacher is read as in `teacher_labels`: the adjudicator, else the model, else the rules, and of several
# of one kind the latest. Kind, moment and status stand in one number, so that the largest tells all three (of votes at
# one moment `present`); opinions are bits.
_CELLS = """
CREATE OR REPLACE TEMP TABLE cells AS
WITH votes AS (
    SELECT l.report_id, l.task, l.target, l.confidence, b.kind, l.evidence,
        (epoch_us(l.created_at) << 2) + 4 - list_position($statuses, l.status) AS said,
        (list_position(['rule', 'llm', 'adjudicator'], b.kind)::BIGINT << 54) + said AS rank,
        CASE WHEN b.kind IN ('rule', 'llm') AND NOT (l.status = 'unmentioned' AND l.scope <> 'full')
            THEN 1 << list_position($statuses, l.status) END AS opinion
    FROM labels l JOIN labelers b USING (labeler_id)
    WHERE b.kind <> 'human'
)
SELECT report_id, task, target, bit_count(bit_or(opinion)) AS opinions, bool_or(kind = 'adjudicator') AS adjudicated,
    $statuses[4 - (max(rank) & 3)] AS teacher, arg_max(confidence, rank) AS confidence,
    $statuses[4 - (max(said) FILTER (kind = 'student') & 3)] AS student,
    arg_max(confidence, said) FILTER (kind = 'student') AS student_confidence,
    bool_or(len(list_filter(evidence, lambda e: e."start" < 0)) > 0) AS ungrounded
FROM votes
GROUP BY report_id, task, target
"""
_ITEMS = f"""
WITH shares AS (
    SELECT target, avg((teacher = 'present')::INTEGER) AS share FROM cells WHERE task = 'findings' GROUP BY target
),
found AS (
    SELECT 'plan' AS why, report_id, task, target, -place AS score, plan_id FROM audit_items
    UNION ALL SELECT 'cannot_tell', report_id, task, target, 1, NULL FROM review_queue
    UNION ALL SELECT 'disagreement', report_id, task, target,
        opinions + (NOT adjudicated)::INTEGER + (teacher = 'present')::INTEGER, NULL FROM cells WHERE opinions > 1
    UNION ALL SELECT 'student', report_id, task, target, coalesce(student_confidence, 0), NULL FROM cells
        WHERE student <> teacher AND 'present' IN (student, teacher)
    UNION ALL SELECT 'student', report_id, task, target, coalesce(confidence, 0), NULL FROM pseudo_labels
        WHERE NOT selected AND starts_with(reason, 'refused: against')
    UNION ALL SELECT 'ungrounded', report_id, task, target, (teacher = 'present')::INTEGER, NULL FROM cells
        WHERE ungrounded
    UNION ALL SELECT 'low_confidence', report_id, task, target, 1 - confidence, NULL FROM cells
        WHERE confidence < {LOW_CONFIDENCE}
    UNION ALL SELECT 'rare', report_id, task, target, 1 - share, NULL FROM cells JOIN shares USING (target)
        WHERE task = 'findings' AND share < {RARE_SHARE} AND teacher IN ('present', 'uncertain')
    UNION ALL FROM (
        SELECT 'random', report_id, task, target, md5_number('{SEED}' || report_id || target) / 2.0 ** 128, NULL
        FROM cells WHERE task = 'findings' ORDER BY 5 DESC LIMIT {SAMPLE})
)
SELECT DISTINCT ON (f.why, f.report_id, f.task, f.target, f.plan_id)
    f.why, f.report_id, f.task, f.target, f.score::DOUBLE AS score, f.plan_id, p.name AS plan, r.corpus, s.split
FROM found f
JOIN reports r USING (report_id)
LEFT JOIN splits s USING (report_id)
LEFT JOIN audit_plans p USING (plan_id)
"""


@dataclass(frozen=True, slots=True)
class Item:
    """One target of one report, and why it is in the queue.

    Attributes:
        place: Its place in the queue, from 0.
        why: The reason, of `REASONS`.
        report_id: The report.
        task: The task.
        target: The target.
        plan_id: The audit plan that drew it.
    """

    place: int
    why: str
    report_id: str
    task: str
    target: str
    plan_id: str | None


@dataclass(frozen=True, slots=True)
class Filters:
    """Which items; an empty value lets all through.

    Attributes:
        why: One reason.
        target: One target.
        corpus: One corpus.
        split: One split.
        plan: What one audit plan drew, by its name.
        second: Also what another reviewer has decided, so that two can be compared.
    """

    why: str = ""
    target: str = ""
    corpus: str = ""
    split: str = ""
    plan: str = ""
    second: bool = False

    def query(self) -> dict[str, str]:
        """Return them as they stand in an address; what lets all through is left out."""
        given = {"why": self.why, "only": self.target, "corpus": self.corpus, "split": self.split}
        given["plan"] = self.plan
        return {name: value for name, value in given.items() if value} | ({"second": "1"} if self.second else {})


@dataclass
class ReviewQueue:
    """The queue of a store. Safe to use from several threads.

    Args:
        sight: The store.
    """

    sight: Sight
    _generation: int = -1
    _took_s: float = 0.0
    _read_at: float = 0.0
    _reading: bool = False  # beside what is asked of it
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _memory: duckdb.DuckDBPyConnection = field(default_factory=lambda: duckdb.connect(":memory:"))

    def refresh(self) -> None:
        """Have the queue read anew if there is a newer snapshot, and it was not read a moment ago.

        Only the first reading is waited for. In a large store one takes seconds; the queue before it serves meanwhile.
        """
        with self._lock:
            self.sight.look()
            rested = time.monotonic() - self._read_at > max(REST_S, self._took_s / READING_SHARE)
            if self._generation < 0:
                self._read()
            elif self._generation != self.sight.generation and rested and not self._reading:
                self._reading = True
                threading.Thread(target=self._read, name="review-queue", daemon=True).start()

    def _read(self) -> None:
        started = time.monotonic()
        try:
            with self.sight.cursor() as cursor:
                generation = self.sight.generation
                cursor.execute(_CELLS, {"statuses": list(STATUSES)})
                items = cursor.sql(_ITEMS).to_arrow_table()
            with self._lock:
                self._fill(items)
                self._generation = generation
        finally:
            self._read_at = time.monotonic()
            self._took_s = self._read_at - started
            self._reading = False

    def _fill(self, items: pa.Table) -> None:
        ranks = pa.table({"why": list(REASONS), "rank": list(range(len(REASONS)))})
        self._memory.register("reasons", ranks)
        self._memory.register("incoming", items)
        # What is of one report stays together, so that its text is read once.
        self._memory.execute(
            "CREATE OR REPLACE TABLE items AS SELECT row_number() OVER "
            "(ORDER BY rank, best DESC, report_id, task DESC, list_position(?, target), target) - 1 AS place, * "
            "FROM (SELECT *, max(score) OVER (PARTITION BY why, report_id) AS best "
            "FROM incoming JOIN reasons USING (why))",
            [list(FINDINGS)],
        )
        self._memory.unregister("incoming")

    def step(self, filters: Filters, reviewer: str, place: int = -1, *, forward: bool = True) -> Item | None:
        """Return the next item behind a place that nobody has decided, or the one before it, decided or not."""
        with self._lock:
            self.refresh()
            conditions, values = _conditions(filters)
            if forward:
                self._note_decided(reviewer, filters.second)
                where = [*conditions, "place > ?"]
                query = (
                    f"SELECT place, why, report_id, task, target, plan_id FROM items ANTI JOIN decided "
                    f"USING (report_id, task, target) WHERE {' AND '.join(where)} ORDER BY place LIMIT 1"
                )
            else:
                where = [*conditions, "place < ?"]
                query = (
                    "SELECT place, why, report_id, task, target, plan_id FROM items "
                    f"WHERE {' AND '.join(where)} ORDER BY place DESC LIMIT 1"
                )
            rows = self._memory.execute(query, [*values, place]).fetchall()
        return Item(*rows[0]) if rows else None

    def at(self, why: str, report_id: str, task: str, target: str) -> Item | None:
        """Return the item of a target, for the reason named or else the first."""
        with self._lock:
            self.refresh()
            rows = self._memory.execute(
                "SELECT place, why, report_id, task, target, plan_id FROM items WHERE report_id = ? AND task = ? AND "
                "target = ? ORDER BY why <> ?, place LIMIT 1",
                [report_id, task, target, why],
            ).fetchall()
        return Item(*rows[0]) if rows else None

    def counts(self, filters: Filters, reviewer: str) -> dict[str, tuple[int, int]]:
        """Return reason to (left to decide, all), for the filters but the reason."""
        with self._lock:
            self.refresh()
            self._note_decided(reviewer, filters.second)
            conditions, values = _conditions(replace(filters, why=""))
            rows = self._memory.execute(
                "SELECT why, count(*) FILTER (d.report_id IS NULL), count(*) FROM items LEFT JOIN decided d "
                f"USING (report_id, task, target) WHERE {' AND '.join(conditions)} GROUP BY why",
                values,
            ).fetchall()
        found = {why: (left, every) for why, left, every in rows}
        return {why: found.get(why, (0, 0)) for why in REASONS}

    def choices(self) -> dict[str, list[str]]:
        """Return what the filters can be set to."""
        with self._lock:
            self.refresh()
            told = {}
            for column in ("target", "corpus", "split", "plan"):
                condition = "task = 'findings'" if column == "target" else f"{column} IS NOT NULL"
                rows = self._memory.execute(
                    f"SELECT DISTINCT {column} FROM items WHERE {condition} ORDER BY 1"
                ).fetchall()
                told[column] = [value for (value,) in rows]
        return told

    def reasons_of(self, report_id: str) -> dict[tuple[str, str], list[str]]:
        """Return (task, target) of a report to the reasons why it is in the queue."""
        with self._lock:
            self.refresh()
            rows = self._memory.execute(
                "SELECT task, target, list(why ORDER BY rank) FROM "
                "(SELECT DISTINCT task, target, why, rank FROM items WHERE report_id = ?) GROUP BY ALL",
                [report_id],
            ).fetchall()
        return {(task, target): whys for task, target, whys in rows}

    def _note_decided(self, reviewer: str, second: bool) -> None:
        steps = standing(self.sight.steps())
        keys = {
            (step.report_id, step.task, step.target)
            for step in steps
            if step.target is not None
            and ((step.action == "set" and not (second and step.reviewer != reviewer)) or _skipped_by(step, reviewer))
        }
        columns: Sequence[Sequence[Any]] = list(zip(*sorted(keys, key=str), strict=True)) or [[], [], []]
        names = ["report_id", "task", "target"]
        self._memory.register(
            "decided",
            pa.table({name: pa.array(column, pa.string()) for name, column in zip(names, columns, strict=True)}),
        )


def standing(steps: Iterable[Step]) -> list[Step]:
    """Return the steps that were not taken back, without the undoing ones."""
    every = list(steps)
    undone = {step.undoes for step in every if step.action == "undo"}
    return [step for step in every if step.action != "undo" and step.review_id not in undone]


def _skipped_by(step: Step, reviewer: str) -> bool:
    return step.action == "skip" and step.reviewer == reviewer


def _conditions(filters: Filters) -> tuple[list[str], list[str]]:
    columns = ("why", "target", "corpus", "split", "plan")
    pairs = [(column, str(getattr(filters, column))) for column in columns]
    given = [(f"{column} = ?", value) for column, value in pairs if value]
    return ["true", *(condition for condition, _ in given)], [value for _, value in given]
