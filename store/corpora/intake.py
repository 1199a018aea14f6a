"""The intake: what importers read goes into the store, batch by batch, and everything that does not is named.

Each batch is one transaction and knows what is already there, so an import that was cut off goes on when it is run
again, and importing a file twice changes nothing.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pyarrow as pa

from teachback import __version__
from teachback.errors import InputError, SettingError
from teachback.store.corpora.imported import Corpus, Entry, Reading, Skipped, report_problem
from teachback.store.database import Store
from teachback.store.identity import content_id
from teachback.store.label import Label, Labeler
from teachback.store.report import SECTIONS, Report
from teachback.store.rows import label_table, labeler_row, report_row, slice_rows
from teachback.store.runs import git_revision
from teachback.store.splits import assign_splits

__all__ = ["BATCH_REPORTS", "ImportSummary", "import_reports", "reading_of"]

BATCH_REPORTS = 5_000  # reports a transaction
SHOWN = 10  # skipped rows kept for people to see; all of them are in the table skipped_rows


@dataclass
class ImportSummary:
    """What an import read, took and left out.

    Attributes:
        corpus: The corpus.
        read: Reports read, good or bad.
        added: Reports that are new in the store.
        already_there: Reports that the store had, with the same text.
        labels_added: Labels that are new in the store.
        skipped: Why reports were left out, to how many.
        skipped_labels: Why rows of labels were left out, to how many.
        first_skipped: The first few rows that were left out.
        splits: Split to number of reports, over the whole store.
        notes: What else a user should know.
        seconds: How long it took.
    """

    corpus: str
    read: int = 0
    added: int = 0
    already_there: int = 0
    labels_added: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    skipped_labels: Counter[str] = field(default_factory=Counter)
    first_skipped: list[Skipped] = field(default_factory=list)
    splits: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the summary as JSON-serialisable values."""
        return {
            "corpus": self.corpus,
            "read": self.read,
            "added": self.added,
            "already_there": self.already_there,
            "labels_added": self.labels_added,
            "skipped": dict(self.skipped),
            "skipped_labels": dict(self.skipped_labels),
            "first_skipped": [
                {"file": s.file, "row": s.row, "report_id": s.report_id, "why": s.why} for s in self.first_skipped
            ],
            "splits": self.splits,
            "notes": self.notes,
            "seconds": round(self.seconds, 2),
        }


def reading_of(
    pairs: Iterable[tuple[Report, Sequence[Label]]],
    corpus: Corpus,
    labelers: Sequence[Labeler] = (),
    total: int | None = None,
) -> Reading:
    """Wrap reports that a program has made, each with its labels, for `import_reports`."""
    entries = (Entry(report, tuple(labels), corpus.source, row) for row, (report, labels) in enumerate(pairs, start=1))
    return Reading(corpus, entries, tuple(labelers), total)


def import_reports(
    store: Store,
    reading: Reading,
    *,
    command: str = "import",
    seed: int = 0,
    batch_size: int = BATCH_REPORTS,
    on_progress: Callable[[int], None] | None = None,
) -> ImportSummary:
    """Put a reading into the store, then give each new report its split.

    Args:
        store: The store, open for writing.
        reading: What an importer found.
        command: The command, for the table `runs`.
        seed: Seed of the splits.
        batch_size: Reports a transaction.
        on_progress: Called with the number of rows read so far.

    Returns:
        What was read, taken and left out.

    Raises:
        InputError: Not one row could be taken; nothing was written.
        SettingError: The store holds the corpus under another egress policy.
    """
    started = time.monotonic()
    _check_policy(store, reading.corpus)
    summary = ImportSummary(reading.corpus.name, notes=list(reading.notes))
    intake = _Intake(store, reading, summary, _run_row(command, reading.corpus, seed))
    try:
        for batch in _batches(reading.entries, batch_size):
            intake.take(batch)
            if on_progress:
                on_progress(summary.read)
        intake.close()
    except BaseException as error:
        intake.end("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
        raise
    late = intake.curated_late()
    if late:
        summary.notes.append(
            f"{late:,} reports got their first curated labels after they had gone to split train, where they stay: "
            "to evaluate on them, import reports and labels together into a new store"
        )
    summary.splits = assign_splits(store, seed=seed)
    if summary.splits["train"] == sum(summary.splits.values()):
        summary.notes.append("no report outside split train: to evaluate, import curated labels with the reports")
    summary.seconds = time.monotonic() - started
    intake.end("finished")
    return summary


class _Intake:
    """Sifts batches, writes what is good, and keeps count."""

    def __init__(self, store: Store, reading: Reading, summary: ImportSummary, run: dict[str, Any]) -> None:
        self.store, self.reading, self.summary, self.run = store, reading, summary, run
        self.seen: set[str] = set()
        self.opened = False
        self.waiting: list[Skipped] = []  # named, but not yet in the store

    def take(self, batch: Sequence[Entry | Skipped]) -> None:
        """Write one batch in one transaction."""
        good = [entry for entry in (self._sift(found) for found in batch) if entry]
        known = _known(self.store, [entry.report.report_id for entry in good])
        new: list[Entry] = []
        labelled: list[Entry] = []
        for entry in good:
            standing = known.get(entry.report.report_id)
            if standing is None:
                new.append(entry)
            elif standing != _standing(entry.report):
                self._skip(_clash(entry, standing))
                continue
            else:
                self.summary.already_there += 1
            labelled.append(entry)
        if not labelled:
            return
        self._open()
        run_id = self.run["run_id"]
        added = self.store.write(
            {
                "reports": [report_row(entry.report, entry.file or None) for entry in new],
                "slices": [row for entry in labelled for row in slice_rows(entry.report)],
                "labels": label_table([label for entry in labelled for label in entry.labels], run_id),
                "skipped_rows": self._skipped_rows(),
            }
        )
        self.summary.added += added["reports"]
        self.summary.labels_added += added["labels"]

    def close(self) -> None:
        """Write the last skipped rows; refuse a source of which nothing could be taken."""
        if not self.opened:
            if self.summary.first_skipped:
                first = self.summary.first_skipped[0]
                where = f"{first.file}, row {first.row}" if first.row else first.file
                raise InputError(
                    f"none of the {self.summary.read:,} reports of {self.reading.corpus.source} can be taken; "
                    f"the first: {where}: {first.why}",
                    "check the file and the column options; nothing was written",
                )
            raise InputError(f"{self.reading.corpus.source} holds no reports", "check the path; nothing was written")
        self.store.write({"skipped_rows": self._skipped_rows()})

    def end(self, status: str) -> None:
        """Record how the run ended, if it wrote anything."""
        if self.opened:
            summary = json.dumps(self.summary.as_json())
            self.store.write({"run_ends": [{"run_id": self.run["run_id"], "status": status, "summary": summary}]})

    def curated_late(self) -> int:
        """Count reports in `train` that had no curated label before this run and have one now."""
        query = """
            SELECT count(DISTINCT l.report_id) FROM labels l JOIN labelers b USING (labeler_id)
            JOIN splits s USING (report_id)
            WHERE b.kind = 'human' AND l.task = 'findings' AND l.run_id = $1 AND s.split = 'train'
            AND NOT EXISTS (
                SELECT 1 FROM labels e JOIN labelers h USING (labeler_id)
                WHERE e.report_id = l.report_id AND h.kind = 'human' AND e.run_id IS DISTINCT FROM $1)"""
        return int(self.store.connection.execute(query, [self.run["run_id"]]).fetchall()[0][0])

    def _sift(self, found: Entry | Skipped) -> Entry | None:
        if isinstance(found, Skipped):
            self.summary.read += found.kind == "report"
            self._skip(found)
            return None
        self.summary.read += 1
        report_id = found.report.report_id
        problem = report_problem(found.report)
        if problem is None and report_id in self.seen:
            problem = ("id twice in this import", report_id)
        if problem:
            self._skip(Skipped(found.file, found.row, *problem, report_id=_printable(report_id)))
            return None
        self.seen.add(report_id)
        return found

    def _skip(self, skipped: Skipped) -> None:
        self.waiting.append(skipped)
        if skipped.kind == "labels":
            self.summary.skipped_labels[skipped.reason] += 1
        else:
            self.summary.skipped[skipped.reason] += 1
        if len(self.summary.first_skipped) < SHOWN:
            self.summary.first_skipped.append(skipped)

    def _open(self) -> None:
        if self.opened:
            return
        corpus = self.reading.corpus
        self.store.write(
            {
                "corpora": [
                    {
                        "corpus": corpus.name,
                        "licence": corpus.licence,
                        "egress": corpus.egress,
                        "source": corpus.source,
                        "source_hash": corpus.source_hash,
                    }
                ],
                "labelers": [labeler_row(labeler) for labeler in self.reading.labelers],
                "runs": [self.run],
            }
        )
        self.opened = True
        query = 'SELECT file, "row", reason FROM skipped_rows WHERE corpus = ?'
        self.recorded = set(self.store.connection.execute(query, [corpus.name]).fetchall())

    def _skipped_rows(self) -> list[dict[str, Any]]:
        rows = [
            {
                "corpus": self.reading.corpus.name,
                "file": _printable(skipped.file),
                "row": skipped.row,
                "report_id": skipped.report_id,
                "reason": _printable(skipped.why),
            }
            for skipped in self.waiting
        ]
        self.waiting.clear()
        return [row for row in rows if (row["file"], row["row"], row["reason"]) not in self.recorded]


def _clash(entry: Entry, standing: tuple[str | None, ...]) -> Skipped:
    corpus = standing[0]
    detail = f"in corpus {corpus}" if corpus != entry.report.corpus else entry.report.report_id
    return Skipped(entry.file, entry.row, "id already in the store with other text", detail, entry.report.report_id)


def _check_policy(store: Store, corpus: Corpus) -> None:
    found = store.connection.execute("SELECT egress FROM corpora WHERE corpus = ?", [corpus.name]).fetchall()
    if found and found[0][0] != corpus.egress:
        policy = found[0][0]
        raise SettingError(
            f"the store holds corpus {corpus.name} under egress policy {policy}, not {corpus.egress}",
            f"import under --egress {policy}, or under another --corpus name",
        )


def _run_row(command: str, corpus: Corpus, seed: int) -> dict[str, Any]:
    config = {"corpus": corpus.name, "source": corpus.source, "source_hash": corpus.source_hash}
    started = datetime.now(UTC)
    return {
        "run_id": content_id("run", command, config, seed, started.isoformat()),
        "command": command,
        "config": json.dumps(config),
        "version": __version__,
        "git_revision": git_revision(),
        "seed": seed,
        "started_at": started,
    }


def _batches(entries: Iterable[Entry | Skipped], size: int) -> Iterator[list[Entry | Skipped]]:
    remaining = iter(entries)
    while batch := list(islice(remaining, size)):
        yield batch


def _standing(report: Report) -> tuple[str | None, ...]:
    return (report.corpus, *(report.sections.get(section) for section in SECTIONS))


def _known(store: Store, report_ids: list[str]) -> dict[str, tuple[str | None, ...]]:
    columns = ", ".join(f'"{section}"' for section in SECTIONS)
    store.connection.register("asked", pa.table({"report_id": pa.array(report_ids, pa.string())}))
    try:
        query = f"SELECT report_id, corpus, {columns} FROM reports SEMI JOIN asked USING (report_id)"
        return {row[0]: row[1:] for row in store.connection.execute(query).fetchall()}
    finally:
        store.connection.unregister("asked")


def _printable(text: str) -> str:
    """Return text that DuckDB takes: bytes that were not UTF-8 shown as escapes, NUL characters as marks."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")
