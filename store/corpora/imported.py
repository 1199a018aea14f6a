"""What every importer hands to the intake: a corpus, and one entry or one reason to skip for each row it read."""

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from teachback.errors import InputError
from teachback.store.label import FINDINGS, Label, Labeler, Status
from teachback.store.report import Report, Scope

__all__ = [
    "EGRESS_POLICIES",
    "MAX_REPORT_CHARS",
    "Corpus",
    "Egress",
    "Entry",
    "Reading",
    "Skipped",
    "file_version",
    "finding_labels",
    "refuse_damage",
    "report_problem",
]

Egress = Literal["any", "zero-retention", "local-only"]
EGRESS_POLICIES: tuple[Egress, ...] = get_args(Egress)

# Characters. The longest chest X-ray reports have about 10,000; more than this is a file in the wrong place.
MAX_REPORT_CHARS = 200_000

_LABELABLE = ("findings", "impression", "text")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Where reports come from, and where their text may go.

    Attributes:
        name: Short name, such as `openi`; the `corpus` of its reports.
        licence: The licence its text is under, if known.
        egress: Whether its text may be sent to any endpoint, only to ones that keep nothing, or stays on this machine.
        source: The file or folder it was read from.
        source_hash: Content hash of the source, where that is cheap.
    """

    name: str
    licence: str | None
    egress: Egress
    source: str
    source_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One report as read, with the labels that came with it.

    Attributes:
        report: The report.
        labels: Labels that stand beside it in the source.
        file: The file it was read from, as a user would name it.
        row: Its row there, the header being row 1; None where a file holds one report.
    """

    report: Report
    labels: tuple[Label, ...] = ()
    file: str = ""
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """One row that does not go in, and why.

    Attributes:
        file: The file it stands in.
        row: Its row there, the header being row 1; None where a file holds one report.
        reason: Why, in words that are the same for every such row, so that reasons can be counted.
        detail: What is particular to this row.
        report_id: The report it is about, if it says.
        kind: Whether the row is a report or labels of one.
    """

    file: str
    row: int | None
    reason: str
    detail: str = ""
    report_id: str | None = None
    kind: Literal["report", "labels"] = "report"

    @property
    def why(self) -> str:
        """Reason and detail as one phrase."""
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


@dataclass(frozen=True, slots=True)
class Reading:
    """A source that proved to be what it claims, ready to be read row by row.

    Attributes:
        corpus: Where the reports come from.
        entries: One entry or one reason to skip for each row; read once.
        labelers: Who gave the labels.
        total: Rows to come, for a progress bar; None when unknown.
        notes: What a user should know, such as columns that were left aside.
    """

    corpus: Corpus
    entries: Iterable[Entry | Skipped]
    labelers: tuple[Labeler, ...] = ()
    total: int | None = None
    notes: list[str] = field(default_factory=list)


def report_problem(report: Report) -> tuple[str, str] | None:
    """Return why a report cannot go in, as (reason, detail), or None when it can."""
    if not report.report_id.strip():
        return "no report id", ""
    texts = {**report.sections, "id": report.report_id}
    if not any(report.sections.get(name, "").strip() for name in _LABELABLE):
        return "no text", "findings, impression and text are all empty"
    if (length := sum(map(len, texts.values()))) > MAX_REPORT_CHARS:
        return f"longer than {MAX_REPORT_CHARS:,} characters", f"{length:,}"
    for name, text in texts.items():
        if "\0" in text:
            return "NUL characters", f"in {name}"
        if not text.isascii() and not _is_unicode(text):
            return "not UTF-8", f"in {name}"
    return None


def finding_labels(
    report_id: str,
    statuses: dict[str, Status],
    labeler: Labeler,
    scope: Scope,
    note: str,
    labeler_id: str | None = None,
) -> tuple[Label, ...]:
    """Return one label for each of the 13 findings; one that `statuses` lacks is unmentioned.

    Args:
        report_id: The report.
        statuses: Finding to status.
        labeler: Who says so.
        scope: The sections the labels were made from.
        note: Why they have no confidence.
        labeler_id: The labeler's id, where a caller has it at hand and wants to save hashing it again.
    """
    who = labeler_id or labeler.labeler_id
    return tuple(
        Label(report_id, "findings", target, statuses.get(target, "unmentioned"), who, scope, confidence_note=note)
        for target in FINDINGS
    )


def file_version(path: Path) -> str:
    """Return the first 16 hex digits of a file's BLAKE2b hash."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


@contextmanager
def refuse_damage(path: Path, what: str) -> Iterator[None]:
    """Turn what Python raises on a broken or truncated file into an `InputError` that names it.

    Args:
        path: The file.
        what: What it claims to be, such as `a gzip file`.
    """
    try:
        yield
    except (EOFError, zlib.error, OSError) as error:
        raise InputError(f"{path} is not {what}: {error}", "fetch the file again; nothing was written") from error


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # lone surrogates: bytes that were not UTF-8 when the file was read
        return False
    return True
