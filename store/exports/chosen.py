"""What an export is of: whose labels, and which reports; as temporary views that every format reads from.

Views and not tables: DuckDB streams through them, so an export takes no more memory than its largest sort.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import duckdb

from teachback.errors import SettingError
from teachback.store.label import Task

__all__ = ["CURATED", "EVERYBODY", "TEACHER", "Choice", "Chosen"]

CURATED, TEACHER, EVERYBODY = "curated", "teacher", "all"

# A labeler's own labels: the latest of each target.
_LATEST = (
    "SELECT * FROM labels WHERE labeler_id IN (SELECT unnest($labelers)) QUALIFY row_number() OVER "
    "(PARTITION BY labeler_id, report_id, task, target ORDER BY created_at DESC, label_id) = 1"
)
_SOURCES = {
    CURATED: "SELECT * FROM curated_labels",
    TEACHER: "SELECT * EXCLUDE (teacher_id, decided_by) FROM teacher_labels WHERE teacher_id = $teacher",
    EVERYBODY: "SELECT * FROM labels",
}


@dataclass(frozen=True)
class Choice:
    """What to export.

    Attributes:
        labels: `curated`, `teacher` (the newest one's), `all`, or a labeler's name or id.
        splits: Only reports of these splits; all when empty.
        corpora: Only reports of these corpora; all when empty.
        task: Only labels of this task.
    """

    labels: str = CURATED
    splits: Sequence[str] = field(default_factory=tuple)
    corpora: Sequence[str] = field(default_factory=tuple)
    task: Task | None = None


class Chosen:
    """What was chosen: connections that have the views `chosen_labels` and `chosen_reports`.

    `chosen_labels` has the columns of `labels`, `chosen_reports` those of `reports` and the split; reports without a
    chosen label are not in it.

    Args:
        connection: A snapshot.
        choice: What to export.

    Attributes:
        choice: The same.
        corpora: Corpus to the number of its reports that have a chosen label.

    Raises:
        SettingError: Nobody of that name has labelled anything, or nothing is left.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, choice: Choice) -> None:
        self.choice = choice
        self._connection = connection
        self._source = _source(connection, choice.labels)
        counting = self.cursor()
        self.corpora: dict[str, int] = dict(
            counting.execute("SELECT corpus, count(*) FROM chosen_reports GROUP BY corpus").fetchall()
        )
        if not self.corpora:
            raise SettingError(
                f"no report has a label of {choice.labels!r} with these filters",
                "widen --split, --corpus and --task; `teachback evaluate STORE` lists who labelled what",
            )

    @property
    def reports(self) -> int:
        """Number of reports that have a chosen label."""
        return sum(self.corpora.values())

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a connection of its own with the views: each has one open answer at most."""
        cursor, choice = self._connection.cursor(), self.choice
        conditions = [
            *_one_of("r.corpus", choice.corpora),
            *_one_of("s.split", choice.splits),
            *([f"l.task = {_quoted(choice.task)}"] if choice.task else []),
        ]
        cursor.execute(
            f"CREATE TEMP VIEW chosen_labels AS SELECT l.* FROM ({self._source}) l "
            f"JOIN reports r USING (report_id) LEFT JOIN splits s USING (report_id) "
            f"WHERE {' AND '.join(conditions) or 'true'}"
        )
        cursor.execute(
            "CREATE TEMP VIEW chosen_reports AS SELECT r.*, s.split FROM reports r "
            "LEFT JOIN splits s USING (report_id) SEMI JOIN chosen_labels c USING (report_id)"
        )
        return cursor


def _source(connection: duckdb.DuckDBPyConnection, labels: str) -> str:
    if labels == TEACHER:
        newest = connection.execute(
            "SELECT teacher_id FROM teachers ORDER BY created_at DESC, teacher_id LIMIT 1"
        ).fetchone()
        if newest is None:
            raise SettingError("no teacher has labelled this store", "run `teachback label` first")
        return _SOURCES[TEACHER].replace("$teacher", _quoted(newest[0]))
    if labels in _SOURCES:
        return _SOURCES[labels]
    rows = connection.execute("SELECT labeler_id, name FROM labelers ORDER BY name").fetchall()
    ids = [labeler_id for labeler_id, name in rows if labels in (labeler_id, name)]
    if not ids:
        known = ", ".join(sorted({name for _, name in rows})) or "nobody yet"
        raise SettingError(f"no labeler is named {labels!r}", f"use curated, teacher, all, or one of: {known}")
    return _LATEST.replace("$labelers", "[" + ", ".join(map(_quoted, ids)) + "]")


def _one_of(column: str, values: Sequence[str]) -> list[str]:
    return [f"{column} IN ({', '.join(map(_quoted, values))})"] if values else []


def _quoted(text: str) -> str:
    # A view takes no parameters, so values stand in its text.
    return "'" + text.replace("'", "''") + "'"
