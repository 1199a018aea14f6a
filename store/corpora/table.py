"""A table of reports with named columns: CSV, JSONL or Parquet, the labels beside the text if there are any.

The 13 finding columns hold CheXpert's values (1, 0, -1, blank for unmentioned), `diseases` a JSON list of
`{"name": ..., "icd10": ...}`. The column names are those that `teachback synth` writes; others are given by name.
A row goes in whole or not at all.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from teachback.errors import InputError, SettingError
from teachback.store.corpora.imported import (
    EGRESS_POLICIES,
    Corpus,
    Egress,
    Entry,
    Reading,
    Skipped,
    file_version,
    finding_labels,
)
from teachback.store.corpora.rows_file import read_rows
from teachback.store.label import FINDINGS, STATUSES, Label, Labeler, Status, from_chexpert
from teachback.store.report import Report, Scope

__all__ = ["SLICES", "TableColumns", "read_table"]

HUMAN = "human"
# Columns that group reports by their patient or origin.
SLICES = ("sex", "age", "site", "year")
CODEBOOK = "1"  # version of a curated table's labeler, so that a table that grew has the same one


@dataclass(frozen=True, slots=True)
class TableColumns:
    """Which column holds what; a section's column need not be there, as long as one with text is.

    Attributes:
        report_id: Unique id of the report.
        subject_id: The patient.
        indication: Why the image was taken.
        comparison: Earlier images.
        findings: What is seen.
        impression: What it means.
        text: The whole report, where it has no sections.
        diseases: JSON list of diseases, for labels of the open-ended task.
        slices: Columns whose values group the reports; those of `SLICES` that are not there are left out.
    """

    report_id: str = "report_id"
    subject_id: str = "subject_id"
    indication: str = "indication"
    comparison: str = "comparison"
    findings: str = "findings"
    impression: str = "impression"
    text: str = "text"
    diseases: str = "diseases"
    slices: tuple[str, ...] = SLICES


_SECTIONS = ("indication", "comparison", "findings", "impression", "text")


def read_table(
    path: Path | str,
    corpus: str,
    *,
    columns: TableColumns | None = None,
    egress: Egress = "local-only",
    licence: str | None = None,
    labels_from: str | None = None,
    scope: Scope = "full",
) -> Reading:
    """Check a table and make its rows ready to be read.

    The file is read twice: once to see that it is what it claims to be, before anything is written.

    Args:
        path: The file; its name tells the format (`.csv`, `.tsv`, `.jsonl`, `.parquet`, the first three also `.gz`).
        corpus: Name of the corpus that its reports become.
        columns: Which column holds what.
        egress: Where the text may be sent.
        licence: The licence of the text.
        labels_from: `human` when the labels are curated, or the name of the labeler that made them; None leaves the
            label columns aside.
        scope: The sections that the labels were made from.

    Raises:
        InputError: The file is not what it claims to be.
        SettingError: A named column is not there, or there are no labels where some were asked for.
    """
    file, named = Path(path), columns or TableColumns()
    if egress not in EGRESS_POLICIES:
        raise SettingError(f"egress policy {egress} is unknown", f"one of {', '.join(EGRESS_POLICIES)}")
    total, found = _survey(file, named)
    _check_columns(file, named, found)
    labelled = [name for name in (*FINDINGS, named.diseases) if name in found]
    notes: list[str] = []
    labeler = None
    if labels_from:
        if not labelled:
            raise SettingError(f"{file} has no label columns", f"such as {FINDINGS[1]}, or leave the labels out")
        labeler = _labeler(labels_from, corpus, file)
    elif labelled:
        notes.append(f"{len(labelled)} label columns left aside: --curated or --labels-from NAME takes them")
    if grouped := [name for name in named.slices if name in found]:
        notes.append(f"slices for `teachback evaluate --by`: {', '.join(grouped)}")
    source = Corpus(corpus, licence, egress, str(file), file_version(file))
    entries = _entries(file, corpus, named, labeler, scope)
    return Reading(source, entries, (labeler,) if labeler else (), total, notes)


def _survey(file: Path, named: TableColumns) -> tuple[int, list[str]]:
    """Read the whole file once, so that damage shows before anything is written; return its rows and columns."""
    total = 0
    columns: dict[str, None] = {}
    first_bad: Skipped | None = None
    for total, read in enumerate(read_rows(file, required=(named.report_id,)), start=1):  # noqa: B007 - the last one
        if isinstance(read, Skipped):
            first_bad = first_bad or read
        else:
            columns.update(dict.fromkeys(read[1]))
    if not columns:
        why = f"no row can be read; row {first_bad.row}: {first_bad.why}" if first_bad else "it has no rows"
        raise InputError(f"{file}: {why}", "check the file")
    return total, list(columns)


def _check_columns(file: Path, named: TableColumns, found: Sequence[str]) -> None:
    wanted, standard = asdict(named), asdict(TableColumns())
    given = {what: name for what, name in wanted.items() if what != "slices" and name != standard[what]}
    columns = [*given.values(), *(name for name in named.slices if name not in SLICES)]
    missing = [name for name in columns if name not in found]
    if missing:
        raise SettingError(f"{file} has no column {', '.join(missing)}", f"it has: {', '.join(found[:20])}")
    if not any(wanted[name] in found for name in ("findings", "impression", "text")):
        raise InputError(
            f"{file} has no column with report text; it has: {', '.join(found[:20])}",
            "name it with --text-column, or --findings-column and --impression-column",
        )


def _labeler(labels_from: str, corpus: str, file: Path) -> Labeler:
    if labels_from == HUMAN:
        return Labeler("human", f"{corpus}-curated", CODEBOOK)
    return Labeler("rule", labels_from, file_version(file))


def _entries(
    file: Path, corpus: str, named: TableColumns, labeler: Labeler | None, scope: Scope
) -> Iterator[Entry | Skipped]:
    labeler_id = labeler.labeler_id if labeler else ""
    for read in read_rows(file, required=(named.report_id,)):
        if isinstance(read, Skipped):
            yield read
            continue
        number, cells = read
        report_id = _text(cells.get(named.report_id))
        sections = {name: text for name in _SECTIONS if (text := _text(cells.get(getattr(named, name))))}
        subject = _text(cells.get(named.subject_id)) or None
        labels: tuple[Label, ...] = ()
        if labeler:
            try:
                labels = _labels(report_id, cells, named.diseases, labeler, labeler_id, scope)
            except ValueError as error:
                yield Skipped(file.name, number, "unknown status or disease", str(error), report_id)
                continue
        slices = {name: text for name in named.slices if (text := _text(cells.get(name)))}
        yield Entry(Report(report_id, corpus, sections, subject, slices), labels, file.name, number)


def _labels(
    report_id: str, cells: Mapping[str, Any], diseases: str, labeler: Labeler, labeler_id: str, scope: Scope
) -> tuple[Label, ...]:
    note = "curated" if labeler.kind == HUMAN else "imported without a confidence"
    statuses: dict[str, Status] = {}
    for finding in FINDINGS:
        if finding in cells:
            statuses[finding] = _status(finding, cells[finding])
    found = finding_labels(report_id, statuses, labeler, scope, note, labeler_id) if statuses else ()
    return (
        *(label for label in found if label.target in statuses),
        *(
            Label(report_id, "diseases", name, status, labeler_id, scope, confidence_note=note, icd10=icd10)
            for name, icd10, status in _diseases(cells.get(diseases))
        ),
    )


def _status(finding: str, cell: Any) -> Status:
    try:
        return from_chexpert(None if cell is None or cell == "" else float(cell))
    except (TypeError, ValueError):
        raise ValueError(f"{finding} is {cell!r}, not 1, 0, -1 or blank") from None


def _diseases(cell: Any) -> Iterator[tuple[str, str | None, Status]]:
    """Yield (name, ICD-10-CM code, status) of each disease in a cell; `present` where it tells no status."""
    listed = json.loads(cell) if isinstance(cell, str) and cell.strip() else cell
    if not listed:
        return
    if not isinstance(listed, list):
        raise ValueError(f"diseases is {cell!r:.80}, not a JSON list")
    for disease in listed:
        if not isinstance(disease, dict) or not isinstance(disease.get("name"), str) or not disease["name"].strip():
            raise ValueError(f"diseases holds {disease!r:.80}, not an object with a name")
        status = disease.get("status") or "present"
        if status not in STATUSES:
            raise ValueError(f"{disease['name']} is {status!r}, not one of {', '.join(STATUSES)}")
        yield disease["name"].strip(), disease.get("icd10") or None, status


def _text(cell: Any) -> str:
    if cell is None or cell != cell:  # NaN, as pandas writes an empty cell to Parquet
        return ""
    return str(cell).strip()
