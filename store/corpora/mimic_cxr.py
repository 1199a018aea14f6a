"""MIMIC-CXR as PhysioNet ships it: one text file a study, and MIMIC-CXR-JPG's label tables.

Johnson et al. 2019, doi:10.1038/s41597-019-0322-0 (reports) and arXiv 1901.07042 (labels). Reports lie in
`files/p10/p10000032/s50414267.txt`; the folder above them may be `mimic-cxr-reports`. The text is under a data use
agreement that forbids sharing it, so the corpus stays on this machine until its user allows more.

The layout and the label tables are checked before anything is written; the 227,000 reports are then streamed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from teachback.errors import InputError
from teachback.store.corpora.imported import MAX_REPORT_CHARS, Corpus, Entry, Reading, Skipped, file_version
from teachback.store.corpora.mimic_sections import split_sections
from teachback.store.corpora.rows_file import read_rows
from teachback.store.label import FINDINGS, Label, Labeler, LabelerKind, Status, from_chexpert
from teachback.store.report import Report, Scope

__all__ = ["MIMIC_LICENCE", "read_mimic_cxr"]

MIMIC_LICENCE = "PhysioNet Credentialed Health Data License 1.5.0"
CORPUS = "mimic-cxr"

_GROUP = re.compile(r"p\d{2}")
_SUBJECT = re.compile(r"p(\d{8})")
_STUDY = re.compile(r"(s\d{8})\.txt")
_REMEDY = "name the folder that holds `files/p10/...` of MIMIC-CXR's reports"

# A status in one byte, so that the labels of 227,000 studies by two labelers take some 20 MB.
_CODES: tuple[Status, ...] = ("present", "absent", "uncertain", "unmentioned")
_ALIASES = {"Airspace Opacity": "Lung Opacity"}  # what the test set's table calls it


@dataclass(frozen=True, slots=True)
class _Kind:
    """A label table: the pattern of its name, and what it makes of its rows."""

    pattern: re.Pattern[str]
    labeler_kind: LabelerKind
    name: str
    scope: Scope
    note: str


_KINDS = (
    _Kind(
        re.compile(r"mimic-cxr-2\.\d\.\d-chexpert\.csv(\.gz)?"),
        "rule",
        "chexpert",
        "mimic",
        "CheXpert gives no confidence",
    ),
    _Kind(
        re.compile(r"mimic-cxr-2\.\d\.\d-negbio\.csv(\.gz)?"), "rule", "negbio", "mimic", "NegBio gives no confidence"
    ),
    _Kind(
        re.compile(r"mimic-cxr-2\.\d\.\d-test-set-labeled\.csv(\.gz)?"),
        "human",
        "mimic-test-set",
        "full",
        "curated by a radiologist",
    ),
)


@dataclass(frozen=True, slots=True)
class _LabelTable:
    kind: _Kind
    labeler: Labeler
    rows: Mapping[str, bytes]  # study to its 13 statuses
    numbers: Mapping[str, int]  # study to its row
    skipped: Sequence[Skipped]
    file: str

    def labels(self, report_id: str, labeler_id: str) -> Iterator[Label]:
        for target, code in zip(FINDINGS, self.rows.get(report_id, b""), strict=False):
            yield Label(
                report_id, "findings", target, _CODES[code], labeler_id, self.kind.scope, confidence_note=self.kind.note
            )


def read_mimic_cxr(folder: Path | str, labels: Path | str | None = None) -> Reading:
    """Check MIMIC-CXR's layout and label tables, and make its reports ready to be read one by one.

    Args:
        folder: The folder that holds `files/` or `mimic-cxr-reports/`, or one of these themselves.
        labels: The folder with the label tables of MIMIC-CXR-JPG; `folder` when not given.

    Raises:
        InputError: The folder has no report in MIMIC-CXR's layout, or a label table is not what it claims to be.
    """
    root = Path(folder)
    files, strays = _studies(_files_folder(root), root)
    tables = [_read_table(path, kind) for path, kind in _label_files(Path(labels) if labels else root)]
    notes = [f"{table.file}: labels by {table.labeler.name} for {len(table.rows):,} studies" for table in tables]
    if not tables:
        notes.append("no label tables found (mimic-cxr-2.0.0-chexpert.csv.gz and the like): reports only")
    return Reading(
        Corpus(CORPUS, MIMIC_LICENCE, "local-only", str(root)),
        chain(strays, _entries(files, root, tables), _unused(tables, {study for study, _ in files})),
        tuple(table.labeler for table in tables),
        len(files) + len(strays),
        notes,
    )


def _files_folder(root: Path) -> Path:
    if not root.is_dir():
        raise InputError(f"there is no folder {root}", _REMEDY)
    for candidate in (root, root / "files", root / "mimic-cxr-reports", root / "mimic-cxr-reports" / "files"):
        if candidate.is_dir() and any(_GROUP.fullmatch(entry.name) for entry in candidate.iterdir()):
            return candidate
    raise InputError(f"{root} has no folders p10 to p19 of MIMIC-CXR's reports", _REMEDY)


def _studies(files: Path, root: Path) -> tuple[list[tuple[str, Path]], list[Skipped]]:
    """Return (study, file) of each report in the layout, and the text files that are out of place."""
    found: list[tuple[str, Path]] = []
    strays: list[Skipped] = []
    for path in sorted(files.glob("p*/p*/*.txt")):
        study, subject = _STUDY.fullmatch(path.name), _SUBJECT.fullmatch(path.parent.name)
        if study and subject and path.parent.parent.name == subject.group(0)[:3]:
            found.append((study.group(1), path))
        else:
            strays.append(Skipped(str(path.relative_to(root)), None, "not in MIMIC-CXR's layout"))
    if not found:
        raise InputError(f"{files} has no reports such as p10/p10000032/s50414267.txt", _REMEDY)
    return found, strays


def _entries(files: Sequence[tuple[str, Path]], root: Path, tables: Sequence[_LabelTable]) -> Iterator[Entry | Skipped]:
    labelers = [(table, table.labeler.labeler_id) for table in tables]
    for study, path in files:
        name = str(path.relative_to(root))
        if (size := path.stat().st_size) > 4 * MAX_REPORT_CHARS:  # a character has at most 4 bytes
            yield Skipped(name, None, f"longer than {MAX_REPORT_CHARS:,} characters", f"{size:,} bytes", study)
            continue
        raw = path.read_bytes()
        text = raw.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
        sections = split_sections(text)
        if raw.strip() and not any(name in sections for name in ("findings", "impression", "text")):
            yield Skipped(name, None, "no section to label", "no findings, impression or last paragraph", study)
            continue
        report = Report(study, CORPUS, sections, subject_id=path.parent.name[1:])
        labels = chain.from_iterable(table.labels(study, labeler_id) for table, labeler_id in labelers)
        yield Entry(report, tuple(labels), name)


def _unused(tables: Sequence[_LabelTable], studies: set[str]) -> Iterator[Skipped]:
    for table in tables:
        yield from table.skipped
        for study, number in table.numbers.items():
            if study not in studies:
                yield Skipped(table.file, number, "no such report", study, study, kind="labels")


def _label_files(folder: Path) -> list[tuple[Path, _Kind]]:
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}", "name the folder with MIMIC-CXR-JPG's label tables")
    return [(path, kind) for path in sorted(folder.iterdir()) for kind in _KINDS if kind.pattern.fullmatch(path.name)]


def _read_table(path: Path, kind: _Kind) -> _LabelTable:
    rows: dict[str, bytes] = {}
    numbers: dict[str, int] = {}
    skipped: list[Skipped] = []
    for read in read_rows(path, required=("study_id",)):
        if isinstance(read, Skipped):
            skipped.append(Skipped(read.file, read.row, read.reason, read.detail, kind="labels"))
            continue
        number, cells = read
        named = {_ALIASES.get(column, column): cell for column, cell in cells.items()}
        if not rows and (missing := [finding for finding in FINDINGS if finding not in named]):
            raise InputError(f"{path} has no column {', '.join(missing)}", "fetch the table from MIMIC-CXR-JPG again")
        study = f"s{str(cells['study_id']).strip().removeprefix('s')}"
        try:
            codes = bytes(_CODES.index(from_chexpert(_number(named[finding]))) for finding in FINDINGS)
        except ValueError as error:
            skipped.append(Skipped(path.name, number, "unknown status", str(error), study, kind="labels"))
            continue
        if study in rows:
            skipped.append(Skipped(path.name, number, "study twice in the table", study, study, kind="labels"))
        else:
            rows[study], numbers[study] = codes, number
    labeler = Labeler(kind.labeler_kind, kind.name, file_version(path))
    return _LabelTable(kind, labeler, rows, numbers, skipped, path.name)


def _number(cell: str) -> float | None:
    return float(cell) if cell.strip() else None
