"""How far the labelers agree among themselves, no curated labels needed: alpha of all, kappa of each two."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import duckdb

from teachback.errors import StoreError
from teachback.store.quality.agreement import Agreement, agreement
from teachback.store.quality.alpha import Alpha, krippendorff_alpha
from teachback.store.quality.statuses import fetch_labelled_by
from teachback.store.quality.subjects import Subject, fetch_subjects, find_subject

__all__ = ["Consensus", "fetch_consensus"]


@dataclass(frozen=True, slots=True)
class Consensus:
    """Agreement of some labelers.

    Attributes:
        subjects: Who.
        alpha: Of all of them.
        pairs: Of each two, in the order of `subjects`.
    """

    subjects: tuple[Subject, ...]
    alpha: Alpha
    pairs: tuple[tuple[Subject, Subject, Agreement], ...]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values; undefined figures are None."""
        return {
            "labelers": [subject.name for subject in self.subjects],
            "alpha": self.alpha.as_dict(),
            "pairs": [{"first": a.name, "second": b.name, "agreement": of.as_dict()} for a, b, of in self.pairs],
        }


def fetch_consensus(
    connection: duckdb.DuckDBPyConnection,
    *,
    split: str | None = None,
    corpus: str | None = None,
    only: Sequence[str] = (),
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Consensus:
    """Measure the agreement of labelers on the reports that two of them or more labelled.

    Args:
        connection: A store or a snapshot.
        split: Only reports of this split.
        corpus: Only reports of this corpus.
        only: Names or ids of the labelers; when empty, all but students (which learnt from the others) and teachers
            (which are made of the others).
        n_boot: Resamples behind the intervals.
        seed: Seed of the resamples.
        level: Coverage of the intervals.

    Raises:
        StoreError: There are not two labelers with a report in common.
    """
    subjects = fetch_subjects(connection)
    wanted = [find_subject(subjects, one) for one in only] or [
        s for s in subjects if s.kind not in ("student", "teacher")
    ]
    ids = [s.subject_id for s in wanted if s.kind != "teacher"]
    reports = fetch_labelled_by(connection, ids, split, corpus)
    codes = {s: s.fetch(connection, reports) for s in wanted}
    codes = {s: found for s, found in codes.items() if (found >= 0).any()}
    boot: dict[str, Any] = {"n_boot": n_boot, "seed": seed, "level": level}
    if len(codes) < 2:
        names = ", ".join(s.name for s in codes) or "nobody"
        raise StoreError(f"only {names} labelled these reports: nobody to agree with", "label them with another too")
    alpha = krippendorff_alpha(list(codes.values()), reports.clusters, **boot)
    pairs = [(a, b, agreement(codes[a], codes[b], reports.clusters, **boot)) for a, b in combinations(codes, 2)]
    return Consensus(tuple(codes), alpha, tuple(pair for pair in pairs if pair[2].n_reports))
