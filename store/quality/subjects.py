"""Who is judged, and beside what: the labelers and teachers of a store, and their statuses of the same reports."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt

from teachback.errors import StoreError
from teachback.store.label import Status
from teachback.store.quality.f1 import POSITIVE, Codes, Mask, mask_of
from teachback.store.quality.statuses import (
    StatusMatrix,
    fetch_curated,
    fetch_labeler,
    fetch_labelled,
    fetch_taught,
    fetch_teacher,
)

__all__ = ["CURATED", "Compared", "Subject", "fetch_compared", "fetch_subjects", "find_subject"]

# The name of the reference that the curated labels make.
CURATED = "curated"


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose labels are judged: a labeler, or a teacher with its adjudicator's verdicts.

    Attributes:
        name: Readable and unique in the store, such as `rule`, `teacher` or `round 2 feedback`.
        kind: `rule`, `llm`, `student`, `human` or `teacher`.
        subject_id: Its labeler_id, or its teacher_id.
        round_id: The round that made it, for a student.
    """

    name: str
    kind: str
    subject_id: str
    round_id: str | None = None

    @property
    def labeler_id(self) -> str | None:
        """Its labeler_id; None for a teacher."""
        return None if self.kind == "teacher" else self.subject_id

    @property
    def source(self) -> tuple[str, str]:
        """The table or view of its labels, and the column that names it there."""
        return ("teacher_labels", "teacher_id") if self.kind == "teacher" else ("labels", "labeler_id")

    def fetch(self, connection: duckdb.DuckDBPyConnection, matrix: StatusMatrix) -> Codes:
        """Read its statuses of a matrix's reports, shape `(N, 13)`."""
        read = fetch_teacher if self.kind == "teacher" else fetch_labeler
        return read(connection, self.subject_id, matrix.report_ids)


@dataclass(frozen=True, slots=True)
class Compared:
    """Everyone's statuses of the same reports, beside one reference.

    Attributes:
        reference: `curated`, or the name of the labeler that the others are compared with.
        truth: Its statuses.
        codes: Subject to its statuses of these reports, shape `(N, 13)`; only those that labelled one.
        masks: Subject to the reports on which it is judged, shape `(N,)`.
        positive: Statuses that are read as positive.
        notes: What a reader must know to compare the subjects.
    """

    reference: str
    truth: StatusMatrix
    codes: Mapping[Subject, Codes]
    masks: Mapping[Subject, Mask]
    positive: frozenset[Status]
    notes: tuple[str, ...]

    def part(self, subject: Subject, mask: Mask | None = None) -> tuple[StatusMatrix, Codes]:
        """Return the reference and the subject's codes on its reports, or on those of them that a mask keeps."""
        kept = self.masks[subject] if mask is None else self.masks[subject] & mask
        return self.truth.take(kept), self.codes[subject][kept]

    def differing(self, truth: Codes, said: Codes) -> Mask:
        """Return the cells that both labelled and that differ: in status, or from `curated` in being positive."""
        both: Mask = (truth >= 0) & (said >= 0)
        differ: Mask = np.not_equal(truth, said)
        if self.reference == CURATED:
            differ = mask_of(truth, self.positive) != mask_of(said, self.positive)
        return np.logical_and(both, differ)


def fetch_subjects(connection: duckdb.DuckDBPyConnection) -> tuple[Subject, ...]:
    """Read everyone that labelled findings; teachers that weigh two labelers or more, but no adjudicator alone."""
    labelers = connection.execute(
        "SELECT labeler_id, b.kind, b.name, r.round_id, r.round_name FROM labelers b LEFT JOIN "
        "(SELECT labeler_id, min(round_id) AS round_id, "
        "min('round ' || \"round\" || CASE WHEN \"round\" = 1 AND arm = 'feedback' THEN '' ELSE ' ' || arm END) "
        "AS round_name "
        "FROM rounds GROUP BY ALL) r USING (labeler_id) WHERE b.kind <> 'adjudicator' "
        "AND labeler_id IN (SELECT labeler_id FROM labels WHERE task = 'findings') ORDER BY b.created_at, labeler_id"
    ).fetchall()
    teachers = connection.execute(
        "SELECT teacher_id FROM teachers JOIN teacher_members USING (teacher_id) "
        "WHERE seat = 'labeler' AND teacher_id IN (SELECT teacher_id FROM committed) "
        "GROUP BY teacher_id HAVING count(*) > 1 ORDER BY min(created_at), teacher_id"
    ).fetchall()
    subjects = [Subject("teacher", "teacher", teacher_id) for (teacher_id,) in teachers]
    subjects += [Subject(round_name or name, kind, key, round_id) for key, kind, name, round_id, round_name in labelers]
    names = [subject.name for subject in subjects]
    return tuple(
        subject
        if names.count(subject.name) == 1
        else Subject(f"{subject.name} ({subject.subject_id[4:10]})", subject.kind, subject.subject_id, subject.round_id)
        for subject in subjects
    )


def find_subject(subjects: Collection[Subject], wanted: str) -> Subject:
    """Return the subject of a name, of an id, or of the beginning of an id.

    Raises:
        StoreError: There is none, or more than one.
    """
    exact = [s for s in subjects if wanted in (s.name, s.subject_id)]
    found = exact or [s for s in subjects if s.subject_id.startswith(wanted) or s.name.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(repr(s.name) for s in found or subjects) or "none yet"
    raise StoreError(
        f"{'several labelers are' if found else 'no labeler is'} called {wanted!r}", f"name one of these: {names}"
    )


def fetch_compared(
    connection: duckdb.DuckDBPyConnection,
    *,
    split: str | None = None,
    corpus: str | None = None,
    against: str = CURATED,
    only: Sequence[str] = (),
    common: bool = False,
    positive: Collection[Status] = POSITIVE,
) -> Compared:
    """Read every subject's statuses of the reports that have curated labels, or labels of one of the subjects.

    A student is judged on `test` only when `test` is asked for by name.

    Args:
        connection: A store or a snapshot.
        split: Only reports of this split; None for all, which keeps students off `test`.
        corpus: Only reports of this corpus.
        against: `curated`, or the name or id of a labeler or teacher.
        only: Names or ids of the subjects to judge; all when empty.
        common: Whether to keep only the reports that every subject labelled.
        positive: Statuses that are read as positive.

    Raises:
        StoreError: There is nothing to compare, and what to do about it.
    """
    subjects = fetch_subjects(connection)
    name, truth = _fetch_reference(connection, subjects, against, split, corpus)
    wanted = [find_subject(subjects, one) for one in only] or subjects
    judged = [s for s in wanted if s.name != name and (s.kind != "human" or against != CURATED)]
    codes = {s: s.fetch(connection, truth) for s in judged}
    notes = _withhold_test(connection, truth, codes) if split is None else []
    masks = {s: _labelled(found) for s, found in codes.items() if (found >= 0).any()}
    if not masks:
        raise StoreError(f"nobody else has labelled the {len(truth):,} reports", "run `teachback label STORE` first")
    by_all: Mask = np.asarray(np.stack(list(masks.values())).all(axis=0))
    if common:
        if not by_all.any():
            raise StoreError("no report was labelled by all labelers", "leave out --common")
        notes.append(f"only the {int(by_all.sum()):,} reports that all {len(masks)} labelers labelled")
        masks = dict.fromkeys(masks, by_all)
    elif any((mask != by_all).any() for mask in masks.values()):
        notes.append("labelers cover different reports: --common compares them on those that all labelled")
    if split in (None, "train") and any(s.kind == "student" for s in masks):
        notes.append("students trained on reports of `train`: their figures there flatter them")
    return Compared(name, truth, {s: codes[s] for s in masks}, masks, frozenset(positive), tuple(notes))


def _fetch_reference(
    connection: duckdb.DuckDBPyConnection,
    subjects: Collection[Subject],
    against: str,
    split: str | None,
    corpus: str | None,
) -> tuple[str, StatusMatrix]:
    if against == CURATED:
        name, truth = CURATED, fetch_curated(connection, split, corpus)
        what = "curated labels"
    else:
        subject = find_subject(subjects, against)
        read = fetch_taught if subject.kind == "teacher" else fetch_labelled
        name, truth = subject.name, read(connection, subject.subject_id, split, corpus)
        what = f"labels of {name}"
    if len(truth):
        return name, truth
    if split is not None and not connection.execute("SELECT 1 FROM splits LIMIT 1").fetchall():
        raise StoreError(
            f"no report has a split yet, so there is no {split!r}",
            "`teachback distill` makes the splits; until then use `--split all`",
        )
    where = "".join([f" in split {split!r}" if split else "", f" in corpus {corpus!r}" if corpus else ""])
    raise StoreError(
        f"there are no {what}{where}",
        "import a corpus that has some (`teachback import --help`), or compare labelers with `--against LABELER`",
    )


def _withhold_test(
    connection: duckdb.DuckDBPyConnection, truth: StatusMatrix, codes: dict[Subject, Codes]
) -> list[str]:
    """Take `test` away from the students, in place: over all reports nobody asked for it by name."""
    test = {row[0] for row in connection.execute("SELECT report_id FROM splits WHERE split = 'test'").fetchall()}
    hidden = np.array([report_id in test for report_id in truth.report_ids], dtype=bool)
    students = [s for s in codes if s.kind == "student" and (codes[s][hidden] >= 0).any()]
    for student in students:
        codes[student] = np.where(hidden[:, None], np.int8(-1), codes[student])
    return ["students are not judged on `test` unless it is named: --split test"] if students else []


def _labelled(codes: npt.NDArray[np.int8]) -> Mask:
    mask: Mask = np.asarray((codes >= 0).any(axis=1))
    return mask
