"""The teachers of a store that have an adjudicator: who votes, and who decides where the votes differ."""

from collections import Counter
from dataclasses import dataclass

import duckdb

from teachback.errors import StoreError

__all__ = ["Jury", "find_jury"]


@dataclass(frozen=True, slots=True)
class Jury:
    """A teacher's voters, V of them, and its adjudicator.

    Attributes:
        teacher_id: The teacher.
        adjudicator_id: Who decides.
        adjudicator: Its name.
        saw_reliability: Whether it is told how reliable the voters are.
        voter_ids: Who votes, in order.
        voter_names: Their names, each once.
        voter_kinds: Their kinds.
        notes: How the teacher was chosen, where nobody named it.
    """

    teacher_id: str
    adjudicator_id: str
    adjudicator: str
    saw_reliability: bool
    voter_ids: tuple[str, ...]
    voter_names: tuple[str, ...]
    voter_kinds: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def reference(self) -> int:
        """Place of the first language model among the voters; of the last voter where there is none."""
        return self.voter_kinds.index("llm") if "llm" in self.voter_kinds else len(self.voter_kinds) - 1


def find_jury(connection: duckdb.DuckDBPyConnection, teacher_id: str | None = None) -> Jury:
    """Read a teacher with an adjudicator that has decided something.

    Args:
        connection: A store or a snapshot.
        teacher_id: Its id or the beginning of it; the one that decided last when left out.

    Raises:
        StoreError: There is none, or more than one of that beginning.
    """
    rows = connection.execute(
        "SELECT m.teacher_id, b.labeler_id, b.name, json_exists(b.parameters, '$.reliability') "
        "FROM teacher_members m JOIN labelers b USING (labeler_id) "
        "JOIN (SELECT labeler_id, max(created_at) AS decided_at FROM adjudications GROUP BY 1) USING (labeler_id) "
        "WHERE m.seat = 'adjudicator' ORDER BY decided_at DESC, m.teacher_id"
    ).fetchall()
    if not rows:
        raise StoreError(
            "no adjudicator has decided anything in this store",
            "label with two labelers or more, one of them a model: `teachback label STORE --llm openai`",
        )
    found = [row for row in rows if teacher_id is None or row[0].startswith(teacher_id)]
    if not found or (teacher_id is not None and len(found) > 1):
        known = ", ".join(f"{row[0]} ({row[2]})" for row in found or rows)
        what = "several teachers begin with" if found else "no teacher with an adjudicator begins with"
        raise StoreError(f"{what} {teacher_id!r}", f"name one of these: {known}")
    chosen, adjudicator_id, adjudicator, saw_reliability = found[0]
    voters = connection.execute(
        "SELECT labeler_id, b.name, b.kind FROM teacher_members JOIN labelers b USING (labeler_id) "
        "WHERE teacher_id = ? AND seat = 'labeler' ORDER BY place",
        [chosen],
    ).fetchall()
    named = Counter(name for _, name, _ in voters)
    names = tuple(name if named[name] == 1 else f"{name} ({key[4:10]})" for key, name, _ in voters)
    others = [row for row in found[1:] if row[0] != chosen]
    notes = [f"this is the teacher that decided last, {chosen}; others: {', '.join(row[0] for row in others)}"]
    return Jury(
        teacher_id=chosen,
        adjudicator_id=adjudicator_id,
        adjudicator=adjudicator,
        saw_reliability=bool(saw_reliability),
        voter_ids=tuple(key for key, _, _ in voters),
        voter_names=names,
        voter_kinds=tuple(kind for _, _, kind in voters),
        notes=tuple(notes if others else ()),
    )
