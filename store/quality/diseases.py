"""Open-ended diseases: how well one list of (phrase, ICD-10-CM code) a report matches another.

The paper that Teachback starts from (arXiv 2409.16563) does not publish its matching rule, so five rules are reported
side by side and never mixed: the phrases are equal (`exact`), or equal without case and punctuation (`normalised`), or
synonyms (`synonym`, see `synonyms`); the codes are of the same ICD-10 category, their first three characters (`icd3`),
or equal (`icd`). Lists are compared as sets, report by report. Diseases without a usable code cannot match by code:
they are left out of these rules, in both lists, and counted.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from teachback.store.quality.bootstrap import Counts, Estimate, Floats, cluster_sums, estimate, resample_sums
from teachback.store.quality.synonyms import concept_of, normalise_phrase

__all__ = [
    "RULES",
    "Disease",
    "DiseaseF1",
    "DiseaseReport",
    "evaluate_diseases",
    "fetch_diseases",
    "icd_category",
    "icd_code",
]

Disease = tuple[str, str | None]

_CATEGORY = re.compile(r"[A-Z][0-9][0-9A-Z]")
_CODE = re.compile(r"[A-Z][0-9][0-9A-Z]{1,5}")

RULES = ("exact", "normalised", "synonym", "icd3", "icd")


@dataclass(frozen=True, slots=True)
class DiseaseF1:
    """Micro figures by one matching rule.

    Attributes:
        rule: One of `RULES`.
        precision: tp / (tp + fp).
        recall: tp / (tp + fn).
        f1: 2 tp / (2 tp + fp + fn).
        tp: Diseases in both lists.
        fp: Diseases that only the labeler names.
        fn: Diseases that only the curated list names.
        left_out: Diseases of either list without a usable code; 0 where phrases are compared.
    """

    rule: str
    precision: Estimate
    recall: Estimate
    f1: Estimate
    tp: int
    fp: int
    fn: int
    left_out: int

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values; undefined figures are None."""
        figures: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return figures | {name: figures[name].as_dict() for name in ("precision", "recall", "f1")}


@dataclass(frozen=True, slots=True)
class DiseaseReport:
    """How well a labeler's diseases match the curated ones, by each rule.

    Attributes:
        rules: The five rules, in the order of `RULES`.
        n_reports: Reports compared.
        n_clusters: Clusters that these reports belong to.
    """

    rules: tuple[DiseaseF1, ...]
    n_reports: int
    n_clusters: int

    def by(self, rule: str) -> DiseaseF1:
        """Return the figures by one rule."""
        return self.rules[RULES.index(rule)]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values, each rule by its name; undefined figures are None."""
        rules = {figures.rule: figures.as_dict() for figures in self.rules}
        return {**rules, "n_reports": self.n_reports, "n_clusters": self.n_clusters}


def evaluate_diseases(
    truth: Sequence[Sequence[Disease]],
    predicted: Sequence[Sequence[Disease]],
    clusters: npt.NDArray[np.integer],
    *,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> DiseaseReport:
    """Compare lists of diseases, report by report.

    Args:
        truth: The curated diseases of each report, N lists of (phrase, code or None).
        predicted: The labeler's diseases of the same reports.
        clusters: Cluster of each report, shape `(N,)`.
        n_boot: Resamples behind the intervals; 0 for none.
        seed: Seed of the resamples.
        level: Coverage of the intervals.

    Raises:
        ValueError: The lengths do not fit.
    """
    if not len(truth) == len(predicted) == len(clusters):
        raise ValueError(f"{len(truth)} curated, {len(predicted)} predicted and {len(clusters)} clusters do not fit")

    def by_rule(rule: str) -> DiseaseF1:
        sides = [[_keys(diseases, rule) for diseases in reports] for reports in (truth, predicted)]
        counts = np.array(
            [(len(t & p), len(p), len(t)) for (t, _), (p, _) in zip(*sides, strict=True)], dtype=np.int64
        ).reshape(-1, 3)
        sums = cluster_sums(counts, clusters)
        tp, called, positives = (int(x) for x in sums.sum(axis=0))
        scores, drawn = _scores(sums.sum(axis=0)), _scores(resample_sums(sums, n_boot, seed))
        precision, recall, f1 = (estimate(float(scores[i]), drawn[:, i], level) for i in range(3))
        left_out = sum(missing for side in sides for _, missing in side)
        return DiseaseF1(rule, precision, recall, f1, tp, called - tp, positives - tp, left_out)

    return DiseaseReport(tuple(by_rule(rule) for rule in RULES), len(truth), len(np.unique(clusters)))


def fetch_diseases(
    connection: duckdb.DuckDBPyConnection, report_ids: Sequence[str], labeler_id: str | None = None
) -> list[tuple[Disease, ...]]:
    """Read the diseases that are present by one labeler, or by the curated labels.

    Args:
        connection: A store or a snapshot.
        report_ids: The reports, N of them.
        labeler_id: Whose diseases; None for the curated ones.

    Returns:
        N tuples of (phrase, code), empty where the report has none.
    """
    source, parameters = ("curated_labels", []) if labeler_id is None else ("labels", [labeler_id])
    condition = "true" if labeler_id is None else "labeler_id = ?"
    rows = connection.execute(
        f"SELECT DISTINCT report_id, target, icd10 FROM {source} "
        f"WHERE {condition} AND task = 'diseases' AND status = 'present' ORDER BY ALL",
        parameters,
    ).fetchall()
    by_report: dict[str, list[Disease]] = {}
    for report_id, phrase, code in rows:
        by_report.setdefault(report_id, []).append((phrase, code))
    return [tuple(by_report.get(report_id, ())) for report_id in report_ids]


def icd_category(code: str | None) -> str | None:
    """Return the ICD-10 category of a code, `J18` of `j18.9`; None when it is no ICD-10 code."""
    match = _CATEGORY.match((code or "").strip().upper())
    return match[0] if match else None


def icd_code(code: str | None) -> str | None:
    """Return an ICD-10-CM code without its point, `J189` of `j18.9`; None when it is none."""
    plain = (code or "").strip().upper().replace(".", "")
    return plain if _CODE.fullmatch(plain) else None


_OF_PHRASE: dict[str, Callable[[str], str]] = {
    "exact": str,
    "normalised": normalise_phrase,
    "synonym": concept_of,
}
_OF_CODE: dict[str, Callable[[str | None], str | None]] = {"icd3": icd_category, "icd": icd_code}


def _keys(diseases: Sequence[Disease], rule: str) -> tuple[set[str], int]:
    """What a list is compared by, and how many of its diseases cannot be."""
    if rule in _OF_PHRASE:
        keys: list[str | None] = [_OF_PHRASE[rule](phrase) for phrase, _ in diseases]
    else:
        keys = [_OF_CODE[rule](code) for _, code in diseases]
    return {key for key in keys if key}, sum(not key for key in keys)


def _scores(sums: Counts) -> Floats:
    """(..., 3) counts of tp, predicted and curated -> (..., 3) precision, recall, F1; NaN where 0/0."""
    tp, called, positives = sums[..., 0], sums[..., 1], sums[..., 2]
    top = np.stack([tp, tp, 2 * tp], axis=-1).astype(np.float64)
    bottom = np.stack([called, positives, called + positives], axis=-1)
    out: Floats = np.full(top.shape, np.nan)
    return np.divide(top, bottom, out=out, where=bottom > 0)
