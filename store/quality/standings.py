"""Every labeler beside the others, against the curated labels or against one of them.

A labeler is judged on the reports that it labelled, and their number stands beside its figures: an adjudicator's own
verdicts (disagreements only) are judged as part of its teacher, never alone. A student is judged on `test` only when
`test` was asked for by name.
"""

from collections.abc import Collection
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt

from teachback.errors import StoreError
from teachback.store.label import FINDINGS, STATUSES, Status
from teachback.store.quality.agreement import Agreement, agreement
from teachback.store.quality.f1 import POSITIVE, F1Report, evaluate_statuses
from teachback.store.quality.statuses import (
    StatusMatrix,
    fetch_curated,
    fetch_labeler,
    fetch_labelled,
    fetch_taught,
    fetch_teacher,
)

__all__ = [
    "CURATED",
    "Disagreement",
    "Standing",
    "Standings",
    "Subject",
    "fetch_subjects",
    "find_subject",
    "rank_subjects",
]

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

    def fetch(self, connection: duckdb.DuckDBPyConnection, matrix: StatusMatrix) -> npt.NDArray[np.int8]:
        """Read its statuses of a matrix's reports, shape `(N, 13)`."""
        read = fetch_teacher if self.kind == "teacher" else fetch_labeler
        return read(connection, self.subject_id, matrix.report_ids)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One cell on which a subject differs from the reference.

    Attributes:
        report_id: The report.
        finding: The finding.
        reference: The reference's status.
        said: The subject's.
        quote: The first words that the subject gave as evidence; None where it gave none.
    """

    report_id: str
    finding: str
    reference: Status
    said: Status
    quote: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """One subject's figures.

    Attributes:
        subject: Who.
        figures: How well it matches the reference.
        agreement: Accuracy and kappa of the four statuses with the reference.
        coverage: Share of the reference's reports that it labelled.
        differing: Cells on which it differs from the reference: in status, or from `curated` in being positive.
        disagreements: Some of these, drawn by chance and in the order of reports.
    """

    subject: Subject
    figures: F1Report
    agreement: Agreement
    coverage: float
    differing: int = 0
    disagreements: tuple[Disagreement, ...] = ()


@dataclass(frozen=True, slots=True)
class Standings:
    """All subjects' figures against one reference.

    Attributes:
        reference: `curated`, or the name of the labeler that the others are compared with.
        n_reports: Reports of the reference.
        rows: Best micro-F1 first.
        notes: What a reader must know to compare the rows.
    """

    reference: str
    n_reports: int
    rows: tuple[Standing, ...]
    notes: tuple[str, ...]


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


def rank_subjects(
    connection: duckdb.DuckDBPyConnection,
    *,
    split: str | None = None,
    corpus: str | None = None,
    against: str = CURATED,
    common: bool = False,
    positive: Collection[Status] = POSITIVE,
    show: int = 0,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Standings:
    """Judge every subject against the curated labels, or against one of them.

    Args:
        connection: A store or a snapshot.
        split: Only reports of this split; None for all, which keeps students off `test`.
        corpus: Only reports of this corpus.
        against: `curated`, or the name or id of a labeler or teacher.
        common: Whether to keep only the reports that every subject labelled.
        positive: Statuses that are read as positive.
        show: Disagreements of each subject to give, at most.
        n_boot: Resamples behind the intervals.
        seed: Seed of the resamples, and of the choice of disagreements.
        level: Coverage of the intervals.

    Raises:
        StoreError: There is nothing to compare, and what to do about it.
    """
    subjects = fetch_subjects(connection)
    name, truth = _fetch_reference(connection, subjects, against, split, corpus)
    judged = [s for s in subjects if s.name != name and (s.kind != "human" or against != CURATED)]
    codes = {s: s.fetch(connection, truth) for s in judged}
    notes = _withhold_test(connection, truth, codes) if split is None else []
    labelled = {s: _labelled(found) for s, found in codes.items() if (found >= 0).any()}
    if not labelled:
        raise StoreError(f"nobody else has labelled the {len(truth):,} reports", "run `teachback label STORE` first")
    by_all: npt.NDArray[np.bool_] = np.logical_and.reduce(list(labelled.values()))
    if common:
        if not by_all.any():
            raise StoreError("no report was labelled by all labelers", "leave out --common")
        notes.append(f"only the {int(by_all.sum()):,} reports that all {len(labelled)} labelers labelled")
        labelled = dict.fromkeys(labelled, by_all)
    elif any((mask != by_all).any() for mask in labelled.values()):
        notes.append("labelers cover different reports: --common compares them on those that all labelled")
    rows = []
    for subject, mask in labelled.items():
        part, said = truth.take(mask), codes[subject][mask]
        figures = evaluate_statuses(
            part.codes, said, part.clusters, positive=positive, n_boot=n_boot, seed=seed, level=level
        )
        agreed = agreement(part.codes, said, part.clusters, n_boot=n_boot, seed=seed, level=level)
        cells = _differing(part.codes, said, positive if name == CURATED else None)
        shown = _drawn(connection, subject, part, said, cells, show, seed)
        rows.append(Standing(subject, figures, agreed, float(mask.mean()), len(cells), shown))
    rows.sort(key=lambda row: -np.nan_to_num(row.figures.micro.value))
    return Standings(name, len(truth), tuple(rows), (*notes, *_caveats(rows, split)))


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
    if split is not None and not connection.execute("SELECT 1 FROM splits LIMIT 1").fetchone():
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
    connection: duckdb.DuckDBPyConnection, truth: StatusMatrix, codes: dict[Subject, npt.NDArray[np.int8]]
) -> list[str]:
    """Take `test` away from the students, in place: over all reports nobody asked for it by name."""
    test = {row[0] for row in connection.execute("SELECT report_id FROM splits WHERE split = 'test'").fetchall()}
    hidden = np.array([report_id in test for report_id in truth.report_ids], dtype=bool)
    students = [s for s in codes if s.kind == "student" and (codes[s][hidden] >= 0).any()]
    for student in students:
        codes[student] = np.where(hidden[:, None], np.int8(-1), codes[student])
    return ["students are not judged on `test` unless it is named: --split test"] if students else []


def _differing(
    reference: npt.NDArray[np.int8], said: npt.NDArray[np.int8], positive: Collection[Status] | None
) -> npt.NDArray[np.intp]:
    """Return the (report, finding) places, shape `(D, 2)`, of the cells that both labelled and that differ."""
    if positive is None:
        differ = reference != said
    else:
        codes = [STATUSES.index(status) for status in positive]
        differ = np.isin(reference, codes) != np.isin(said, codes)
    return np.argwhere(differ & (reference >= 0) & (said >= 0))


def _drawn(
    connection: duckdb.DuckDBPyConnection,
    subject: Subject,
    reference: StatusMatrix,
    said: npt.NDArray[np.int8],
    cells: npt.NDArray[np.intp],
    show: int,
    seed: int,
) -> tuple[Disagreement, ...]:
    """Draw some of the cells that differ, each with the subject's evidence."""
    if not show or not len(cells):
        return ()
    chosen = np.sort(np.random.default_rng(seed).permutation(len(cells))[:show])
    places = [(int(report), int(finding)) for report, finding in cells[chosen]]
    reports = [reference.report_ids[report] for report, _ in places]
    # A teacher's evidence is that of the labeler that it followed.
    table, column = ("teacher_labels", "teacher_id") if subject.kind == "teacher" else ("labels", "labeler_id")
    found = connection.execute(
        f"SELECT report_id, target, evidence[1].quote FROM {table} WHERE {column} = ? AND task = 'findings' "
        "AND report_id IN (SELECT unnest(?::VARCHAR[]))",
        [subject.subject_id, reports],
    ).fetchall()
    quotes = {(report_id, target): quote for report_id, target, quote in found}
    return tuple(
        Disagreement(
            report_id,
            FINDINGS[finding],
            STATUSES[reference.codes[report, finding]],
            STATUSES[said[report, finding]],
            quotes.get((report_id, FINDINGS[finding])),
        )
        for report_id, (report, finding) in zip(reports, places, strict=True)
    )


def _labelled(codes: npt.NDArray[np.int8]) -> npt.NDArray[np.bool_]:
    mask: npt.NDArray[np.bool_] = (codes >= 0).sum(axis=1) > 0
    return mask


def _caveats(rows: list[Standing], split: str | None) -> list[str]:
    notes = []
    if split in (None, "train") and any(row.subject.kind == "student" for row in rows):
        notes.append("students trained on reports of `train`: their figures there flatter them")
    for row in rows:
        if row.figures.abstained:
            notes.append(
                f"{row.subject.name} gave no status in {row.figures.abstained:,} cells: counted as not positive"
            )
    return notes
