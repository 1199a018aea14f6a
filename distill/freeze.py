"""Step 1, freeze: what a campaign learns from and is judged by, named by its content.

A label that comes later, a new prompt, another seed or base make another campaign; the same content finds the files of
the campaign that was killed and goes on there.
"""

import hashlib
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import duckdb

from teachback.distill.config import CampaignSettings
from teachback.distill.noise_votes import Share, fetch_shares
from teachback.distill.prompt import load_student_prompt
from teachback.errors import StoreError
from teachback.store.identity import content_id
from teachback.store.report import Report
from teachback.store.rows import fetch_reports

__all__ = ["Frozen", "TaughtLabel", "freeze", "freeze_taught"]


@dataclass(frozen=True, slots=True)
class TaughtLabel:
    """A label to train on, as the store gives it.

    Attributes:
        report_id: The report.
        task: `findings` or `diseases`.
        target: A finding or a disease phrase.
        status: Its status.
        icd10: A disease's code.
        scope: The sections that the label was made from.
        label_id: The label.
        decided_by: `adjudicated`, `llm`, `rule` or `curated`.
        evidence: The words that it was made from, as (section, start, end); a start below 0 is not in the report.
        shares: How much of it is of which status, where that is known and wanted; else all is of `status`.
    """

    report_id: str
    task: str
    target: str
    status: str
    icd10: str | None
    scope: str
    label_id: str
    decided_by: str
    evidence: tuple[tuple[str, int, int], ...] = ()
    shares: tuple[Share, ...] = ()


@dataclass(frozen=True, slots=True)
class Frozen:
    """The frozen inputs of a campaign.

    Attributes:
        campaign_id: Hash of the settings, the base, the student's prompt and all labels and splits below.
        teacher_id: The teacher that is distilled.
        taught: The teacher's labels on `train` reports.
        curated: Curated labels on `train` reports.
        reports: The reports of each split; `pool` holds the `train` reports that the teacher has not labelled.
        listed: Reports whose diseases the teacher listed, even when it found none.
    """

    campaign_id: str
    teacher_id: str
    taught: tuple[TaughtLabel, ...]
    curated: tuple[TaughtLabel, ...]
    reports: dict[str, tuple[Report, ...]]
    listed: frozenset[str]


def freeze(connection: duckdb.DuckDBPyConnection, settings: CampaignSettings, teacher_id: str | None = None) -> Frozen:
    """Read and name the inputs of a campaign.

    Args:
        connection: The store or a snapshot of it.
        settings: The campaign's settings.
        teacher_id: Which teacher to distil; the one that has labelled most if not given.

    Raises:
        StoreError: Nothing has been labelled yet, or there are no curated labels to calibrate and judge by.
    """
    teacher = teacher_id or _busiest_teacher(connection)
    corpus = settings.corpus
    reports = {
        split: _split(connection, split, corpus, teacher) for split in ("train", "pool", "calibration", "gate", "test")
    }
    taught = _taught(connection, teacher, corpus, settings.tasks)
    if not taught:
        raise StoreError("the teacher has labelled no training report", "run `teachback label STORE --split train`")
    for split in ("calibration", "gate", "test"):
        if not reports[split]:
            raise StoreError(
                f"the split {split!r} has no report with curated labels",
                "import curated labels: a round is judged by them (`teachback import --help`)",
            )
    curated = _curated(connection, corpus, settings.tasks)
    if settings.targets == "soft":
        shares = fetch_shares(connection, teacher)
        taught = tuple(replace(label, shares=shares.get((label.report_id, label.target), ())) for label in taught)
    identity = content_id(
        "cmp",
        settings.model_dump(),
        _base_identity(settings.student),
        load_student_prompt(settings.prompt),
        teacher,
        sorted(label.label_id for label in taught),
        sorted(label.label_id for label in curated),
        {split: [report.report_id for report in members] for split, members in reports.items()},
        *([label.label_id, *map(astuple, label.shares)] for label in taught if label.shares),
    )
    return Frozen(identity, teacher, taught, curated, reports, _listed(connection, teacher))


def freeze_taught(
    connection: duckdb.DuckDBPyConnection, settings: CampaignSettings, teacher_id: str | None = None
) -> Frozen:
    """Read what a teacher says of training reports, and nothing to judge by: for audits of its labels.

    Raises:
        StoreError: Nothing has been labelled yet.
    """
    teacher = teacher_id or _busiest_teacher(connection)
    taught = _taught(connection, teacher, settings.corpus, settings.tasks)
    if not taught:
        raise StoreError("the teacher has labelled no training report", "run `teachback label STORE --split train`")
    reports = {"train": _split(connection, "train", settings.corpus, teacher), "pool": ()}
    return Frozen("", teacher, taught, _curated(connection, settings.corpus, settings.tasks), reports, frozenset())


def _busiest_teacher(connection: duckdb.DuckDBPyConnection) -> str:
    row = connection.execute(
        """SELECT teacher_id FROM (SELECT teacher_id, count(*) AS reports FROM committed GROUP BY ALL)
        JOIN (SELECT teacher_id, count(*) > 1 AS weighs FROM teacher_members GROUP BY ALL) USING (teacher_id)
        ORDER BY weighs DESC, reports DESC, teacher_id LIMIT 1"""
    ).fetchone()
    if row is None:
        raise StoreError("nothing has been labelled yet", "run `teachback label STORE --help`")
    return str(row[0])


def _split(connection: duckdb.DuckDBPyConnection, split: str, corpus: str | None, teacher: str) -> tuple[Report, ...]:
    """Return a split's reports; those outside `train` only if they have curated labels."""
    taught = "report_id IN (SELECT report_id FROM committed WHERE teacher_id = $teacher)"
    judged = """report_id IN (SELECT report_id FROM labels JOIN labelers USING (labeler_id)
        WHERE kind = 'human' AND task = 'findings')"""
    condition = {"train": taught, "pool": f"NOT ({taught})"}.get(split, judged)
    where = f"""report_id IN (SELECT report_id FROM splits WHERE split = $split) AND {condition}
        AND ($corpus IS NULL OR corpus = $corpus)"""
    parameters = {"split": "train" if split == "pool" else split, "corpus": corpus}
    if "$teacher" in where:
        parameters["teacher"] = teacher
    return tuple(fetch_reports(connection, where, parameters))


def _taught(
    connection: duckdb.DuckDBPyConnection, teacher: str, corpus: str | None, tasks: list[Any]
) -> tuple[TaughtLabel, ...]:
    rows = connection.execute(
        """SELECT l.report_id, l.task, l.target, l.status, l.icd10, l.scope, l.label_id, l.decided_by, l.evidence
        FROM teacher_labels l JOIN splits s USING (report_id) JOIN reports r USING (report_id)
        WHERE l.teacher_id = ? AND s.split = 'train' AND (? IS NULL OR r.corpus = ?) AND list_contains(?, l.task)
        ORDER BY l.report_id, l.task, l.target, l.label_id""",
        [teacher, corpus, corpus, list(tasks)],
    ).fetchall()
    return tuple(_label(row) for row in rows)


def _curated(connection: duckdb.DuckDBPyConnection, corpus: str | None, tasks: list[Any]) -> tuple[TaughtLabel, ...]:
    """Return curated labels on reports of `train` that are meant for training: those that people reviewed here.

    Labels that came with a corpus stay out: a student trained on the very codes that judge it would not be weakly
    supervised any more.
    """
    rows = connection.execute(
        """SELECT l.report_id, l.task, l.target, l.status, l.icd10, l.scope, l.label_id, 'curated', l.evidence
        FROM curated_labels l JOIN splits s USING (report_id) JOIN reports r USING (report_id)
        JOIN labelers b USING (labeler_id)
        WHERE s.split = 'train' AND (? IS NULL OR r.corpus = ?) AND list_contains(?, l.task)
            AND json_extract_string(b.parameters, '$.train') = 'true'
        ORDER BY l.report_id, l.task, l.target, l.label_id""",
        [corpus, corpus, list(tasks)],
    ).fetchall()
    return tuple(_label(row) for row in rows)


def _label(row: tuple[Any, ...]) -> TaughtLabel:
    *plain, evidence = row
    return replace(TaughtLabel(*plain), evidence=tuple((e["section"], e["start"], e["end"]) for e in evidence or ()))


def _listed(connection: duckdb.DuckDBPyConnection, teacher: str) -> frozenset[str]:
    rows = connection.execute(
        """SELECT report_id FROM committed SEMI JOIN (
            SELECT teacher_id FROM teacher_members JOIN labelers USING (labeler_id)
            WHERE seat = 'labeler' AND kind = 'llm') USING (teacher_id)
        WHERE teacher_id = ?""",
        [teacher],
    ).fetchall()
    return frozenset(row[0] for row in rows)


def _base_identity(student: str) -> str:
    """Name the base by its weights where they lie here, else by its id."""
    weights = sorted(Path(student).glob("*.safetensors")) if Path(student).is_dir() else []
    digest = hashlib.blake2b(digest_size=12)
    for file in weights:
        digest.update(file.read_bytes())
    return digest.hexdigest() if weights else student
