"""Parquet and CSV: labels as rows, for whoever works with data frames, and CheXpert's own table."""

from pathlib import Path

from teachback.errors import SettingError
from teachback.store.exports.chosen import EVERYBODY, Chosen
from teachback.store.exports.written import Exported, Tick, copy_to
from teachback.store.label import CHEXPERT_OBSERVATIONS, FINDINGS

__all__ = ["write_chexpert", "write_labels_csv", "write_parquet"]

ROW_GROUP = 122_880  # rows; DuckDB's own size
_PARQUET = f"FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP}"
_FOLDER_TABLES = ("labelers", "prompts", "corpora")
# A label with what everybody joins to it first.
_JOINED = (
    "SELECT r.corpus, r.split, b.kind AS labeler_kind, b.name AS labeler, b.model, l.* FROM chosen_labels l "
    "JOIN labelers b USING (labeler_id) JOIN chosen_reports r USING (report_id)"
)
_MOMENT = "%Y-%m-%dT%H:%M:%S.%f+00:00"
# CheXpert derives No Finding from the other twelve; Support Devices do not count.
_TROUBLING = [finding for finding in FINDINGS if finding != "Support Devices"]


def write_parquet(chosen: Chosen, path: Path, tick: Tick) -> Exported:
    """Write labels as Parquet: one flat file, or a folder of a file a table when the name has no `.parquet`."""
    connection = chosen.cursor()
    exported = Exported(reports=chosen.reports)
    if _is_file(path, ".parquet"):
        exported.files[""] = copy_to(connection, _JOINED, path, _PARQUET, tick)
        return exported
    path.mkdir()
    tables = {
        "labels": "FROM chosen_labels",
        "reports": "FROM chosen_reports",
        **{
            name: f"FROM {name}" if name != "labelers" else "FROM labelers SEMI JOIN chosen_labels USING (labeler_id)"
            for name in _FOLDER_TABLES
        },
    }
    for name, query in tables.items():
        file = f"{name}.parquet"
        exported.files[file] = copy_to(connection, query, path / file, _PARQUET, tick)
    return exported


def write_labels_csv(chosen: Chosen, path: Path, tick: Tick) -> Exported:
    """Write one row a label, with who decided it and when; `teachback import curated` reads the same columns."""
    query = (
        "SELECT l.report_id, l.task, l.target, l.status, l.icd10, "
        "CASE b.kind WHEN 'human' THEN b.name END AS reviewer, "
        f"strftime(coalesce(v.decided_at, l.created_at) AT TIME ZONE 'UTC', '{_MOMENT}') AS decided_at, "
        "v.note, b.name AS labeler FROM chosen_labels l JOIN labelers b USING (labeler_id) LEFT JOIN "
        "(SELECT label_id, max(decided_at) AS decided_at, arg_max(note, decided_at) AS note FROM reviews "
        "WHERE \"action\" = 'set' GROUP BY label_id) v USING (label_id) ORDER BY report_id, task, target, labeler"
    )
    return Exported({"": copy_to(chosen.cursor(), query, path, "FORMAT csv, HEADER", tick)}, chosen.reports)


def write_chexpert(chosen: Chosen, path: Path, tick: Tick) -> Exported:
    """Write CheXpert's table: a row a report, No Finding and the 13 findings as 1, 0, -1 or blank.

    No Finding is derived (Irvin et al. 2019, arXiv 1901.07031) where all twelve findings that decide it are labelled,
    and blank elsewhere.

    Raises:
        SettingError: Several labelers were chosen, or labels of diseases.
    """
    if chosen.choice.labels == EVERYBODY:
        raise SettingError("CheXpert's table has one label a finding", "choose whose with --labels")
    if chosen.choice.task == "diseases":
        raise SettingError("CheXpert's table has no diseases", "leave --task out")
    values = ", ".join(f"max({_value('l.status')}) FILTER (l.target = '{name}') AS \"{name}\"" for name in FINDINGS)
    deciding = ", ".join(f"'{name}'" for name in _TROUBLING)
    pivoted = (
        f"SELECT r.report_id, r.subject_id, r.split, {values}, "
        f"count(*) FILTER (l.target IN ({deciding})) = {len(_TROUBLING)} AS complete, "
        f"count(*) FILTER (l.target IN ({deciding}) AND l.status IN ('present', 'uncertain')) AS troubling "
        "FROM chosen_reports r JOIN chosen_labels l USING (report_id) WHERE l.task = 'findings' GROUP BY ALL"
    )
    derived = "CASE WHEN complete AND troubling = 0 THEN 1.0 END"
    columns = ", ".join(f'{derived if name == "No Finding" else _cell(name)} AS "{name}"' for name in _ordered())
    query = f"SELECT report_id, subject_id, split, {columns} FROM ({pivoted}) ORDER BY report_id"
    connection = chosen.cursor()
    exported = Exported({"": copy_to(connection, query, path, "FORMAT csv, HEADER", tick)})
    exported.reports = exported.files[""]
    (partly,) = connection.execute(f"SELECT count(*) FROM ({pivoted}) WHERE NOT complete").fetchall()[0]
    if partly:
        exported.notes.append(f"No Finding is blank in {partly:,} rows: not all findings are labelled there")
    without = chosen.reports - exported.reports
    if without:
        exported.left_out["no label of a finding"] = without
    return exported


def _ordered() -> tuple[str, ...]:
    return CHEXPERT_OBSERVATIONS


def _value(status: str) -> str:
    # Blank is a value of its own while rows are gathered: a finding that nobody labelled is NULL.
    return f"CASE {status} WHEN 'present' THEN 1.0 WHEN 'absent' THEN 0.0 WHEN 'uncertain' THEN -1.0 ELSE -9.0 END"


def _cell(name: str) -> str:
    return f'nullif("{name}", -9.0)'


def _is_file(path: Path, suffix: str) -> bool:
    # The name to write under has the process's number behind the file's own.
    return suffix in path.suffixes
