"""Whose labels an audit judges: labelers, or a teacher as a whole; their labels as one temporary table.

Every pair of a report and a target has a random number: the hash of the seed and of its own name. A stratum's sample
are the labels with its smallest numbers, which is a simple random sample; and since the number belongs to the target
and not to the label, the samples of several labelers fall on the same targets wherever they can (permanent random
numbers: Ohlsson 1995, Coordination of Samples Using Permanent Random Numbers). One review then judges all of them. A
later plan with the same seed starts with the targets that were reviewed already.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from teachback.errors import SettingError, StoreError

__all__ = ["ANY_TARGET", "Judged", "Selection", "create_judged_table", "find_judged", "random_number"]

ANY_TARGET = "*"  # the target of a stratum of diseases: phrases are too many to be strata


@dataclass(frozen=True, slots=True)
class Judged:
    """Who is judged.

    Attributes:
        labeler_id: Its id; a teacher's where `whole_teacher`.
        name: Its name, unlike the others'.
        whole_teacher: Whether it is a teacher: what follows from its labelers' votes and its adjudicator.
    """

    labeler_id: str
    name: str
    whole_teacher: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """Which labels are judged; empty or None is no condition.

    Attributes:
        tasks: Tasks.
        splits: Splits of their reports.
        corpora: Corpora of their reports.
        targets: Findings.
        statuses: What the labels say.
    """

    tasks: tuple[str, ...] = ("findings",)
    splits: tuple[str, ...] = ()
    corpora: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()


def find_judged(
    connection: duckdb.DuckDBPyConnection, names: Sequence[str] = (), teacher: str | None = None
) -> tuple[Judged, ...]:
    """Find out who is to be judged.

    Args:
        connection: A store or a snapshot.
        names: Labelers by name, or by id or the beginning of it; when empty those of the newest teacher, or, where no
            teacher has labelled, all but people.
        teacher: A teacher by its id or the beginning of it, `newest` for the newest: its labels are judged as a whole.

    Raises:
        SettingError: Nobody, or more than one, is named so.
        StoreError: Nobody has labelled anything.
    """
    if names and teacher:
        raise SettingError("--labelers and --teacher are both given", "make a plan for each of them")
    if teacher:
        return (_find_teacher(connection, teacher),)
    rows = connection.execute(
        "SELECT labeler_id, name, kind FROM labelers SEMI JOIN labels USING (labeler_id) ORDER BY name, labeler_id"
    ).fetchall()
    if names:
        chosen = [_find_labeler(rows, name) for name in dict.fromkeys(names)]
    else:
        names_of = {key: name for key, name, kind in rows if kind != "human"}
        members = _newest_members(connection) or list(names_of)
        chosen = [(key, names_of[key]) for key in members if key in names_of]
    if not chosen:
        raise StoreError("nobody has labelled this store", "label it first: `teachback label --help`")
    named = Counter(name for _, name in chosen)
    return tuple(
        Judged(key, name if named[name] == 1 else f"{name} ({key[4:10]})") for key, name in dict(chosen).items()
    )


def create_judged_table(connection: duckdb.DuckDBPyConnection, judged: Sequence[Judged], selection: Selection) -> None:
    """Create the temporary table `judged_labels`: each one's latest label of each selected target, and its stratum.

    Its columns are `judge` (the id of who is judged), `label_id`, `report_id`, `task`, `target`, `stratum_target` and
    `status`.
    """
    ids = ", ".join(_quoted(one.labeler_id) for one in judged)
    if any(one.whole_teacher for one in judged):
        source = f"SELECT teacher_id AS judge, * FROM teacher_labels WHERE teacher_id IN ({ids})"
    else:
        source = (
            f"SELECT labeler_id AS judge, * FROM labels WHERE labeler_id IN ({ids}) QUALIFY row_number() OVER "
            "(PARTITION BY labeler_id, report_id, task, target ORDER BY created_at DESC, label_id) = 1"
        )
    conditions = [
        *_one_of("l.task", selection.tasks),
        *_one_of("s.split", selection.splits),
        *_one_of("r.corpus", selection.corpora),
        *_one_of("l.target", selection.targets),
        *_one_of("l.status", selection.statuses),
    ]
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE judged_labels AS SELECT l.judge, l.label_id, l.report_id, l.task, l.target, "
        f"CASE l.task WHEN 'diseases' THEN {_quoted(ANY_TARGET)} ELSE l.target END AS stratum_target, l.status "
        f"FROM ({source}) l JOIN reports r USING (report_id) LEFT JOIN splits s USING (report_id) "
        f"WHERE {' AND '.join(conditions) or 'true'}"
    )


def random_number(seed: int) -> str:
    """Return the SQL of a target's random number; it is in hex digits, which sort as the numbers do."""
    return f"md5(concat_ws(chr(31), '{int(seed)}', report_id, task, target))"


def _find_teacher(connection: duckdb.DuckDBPyConnection, teacher: str) -> Judged:
    rows = connection.execute(
        "SELECT teacher_id FROM teachers SEMI JOIN committed USING (teacher_id) ORDER BY created_at DESC, teacher_id"
    ).fetchall()
    found = [key for (key,) in rows if teacher == "newest" or key.startswith(teacher)]
    if not found or (teacher != "newest" and len(found) > 1):
        known = ", ".join(key for (key,) in rows) or "none has labelled yet"
        what = "several teachers begin" if found else "no teacher begins"
        raise SettingError(f"{what} with {teacher!r}", f"name one of these: {known}")
    return Judged(found[0], "teacher", whole_teacher=True)


def _find_labeler(rows: Sequence[tuple[str, str, str]], name: str) -> tuple[str, str]:
    found = [(key, called) for key, called, _ in rows if name == called]
    found = found or [(key, called) for key, called, _ in rows if name and key.startswith(name)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{called} ({key})" for key, called in found or [(key, called) for key, called, _ in rows])
    what = f"{len(found)} labelers are" if found else "no labeler is"
    raise SettingError(f"{what} named {name!r}", f"name one of these, by its id where names are the same: {known}")


def _newest_members(connection: duckdb.DuckDBPyConnection) -> list[str]:
    rows = connection.execute(
        "SELECT labeler_id FROM teacher_members WHERE teacher_id = (SELECT teacher_id FROM teachers "
        "SEMI JOIN committed USING (teacher_id) ORDER BY created_at DESC, teacher_id LIMIT 1) "
        "ORDER BY place"
    ).fetchall()
    return [key for (key,) in rows]


def _one_of(column: str, values: Sequence[str]) -> list[str]:
    return [f"{column} IN ({', '.join(map(_quoted, values))})"] if values else []


def _quoted(text: str) -> str:
    # As many values as there are: they stand in the text.
    return "'" + text.replace("'", "''") + "'"
