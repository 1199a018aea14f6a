"""Whether an adjudicator is worth its price: how often it is right on disputes with curated labels, at what cost.

It is held against what one would do without it: always take one labeler's vote, or that of the majority. Differences
are paired, and their intervals are percentile bootstraps by subject (`bootstrap`). Verdicts of `cannot_tell` are no
status, so they are counted apart: the others are compared on the disputes that the adjudicator did decide.

A dispute counts as corrected where the adjudicator is right and the model's vote is wrong, as spoiled where it is the
other way round; the price of a corrected label is what its calls cost by the difference of the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import duckdb
import numpy as np
import numpy.typing as npt

from teachback.errors import StoreError
from teachback.store.label import FINDINGS
from teachback.store.quality.bootstrap import Estimate, Floats, cluster_sums, estimate, resample_sums
from teachback.store.quality.disputes import Disputes, Spent, fetch_disputes, fetch_spent
from teachback.store.quality.juries import Jury, find_jury

__all__ = ["AdjudicationReport", "FindingDisputes", "Policy", "judge_adjudicator"]

LEVEL = 0.95  # coverage of the intervals
MAJORITY = "majority"


@dataclass(frozen=True, slots=True)
class Policy:
    """What one would do without an adjudicator.

    Attributes:
        name: `majority`, or the labeler whose vote is always taken.
        kind: `majority`, or the labeler's kind.
        right: Decided disputes on which it is right.
        accuracy: The same as a share.
        gain: The adjudicator's accuracy minus this one, paired.
        right_open: Disputes that the adjudicator left open, on which it is right.
        stood_in: Disputes in which the labeler's vote was not weighed, so the majority's counts for it.
    """

    name: str
    kind: str
    right: int
    accuracy: Estimate
    gain: Estimate
    right_open: int
    stood_in: int

    @property
    def adjudicator(self) -> Literal["better", "worse", "not shown"]:
        """What the adjudicator is shown to be beside it."""
        if self.gain.low > 0:
            return "better"
        return "worse" if self.gain.high < 0 else "not shown"


@dataclass(frozen=True, slots=True)
class FindingDisputes:
    """The disputes about one finding.

    Attributes:
        finding: Which one.
        n: Those that were decided.
        left_open: Those that were not.
        right: Decided ones on which the adjudicator is right.
        policies: Decided ones on which each policy is right, in the order of the report's policies.
    """

    finding: str
    n: int
    left_open: int
    right: int
    policies: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AdjudicationReport:
    """An adjudicator on disputes with curated labels.

    Attributes:
        teacher_id: The teacher that it decides for.
        adjudicator: Its name.
        adjudicator_id: Its labeler id.
        n: Disputes that it decided and that have a curated label; all figures but those of the open ones are on these.
        left_open: Further ones, of which it could not tell.
        uncurated: Disputes of the selected reports without a curated label; nothing is known of them.
        coarse: Of `n` and `left_open`, those judged as present or not, because their curator marks only what is there.
        n_reports: Reports with a dispute that has a curated label.
        n_clusters: Subjects or groups of these reports.
        right: Disputes on which the adjudicator is right.
        accuracy: The same as a share.
        policies: Each voter in order, then the majority.
        reference: Whose labels count as corrected: the first language model's.
        corrected: Disputes on which the adjudicator is right and the reference wrong.
        spoiled: Disputes on which it is the other way round.
        spent: What these disputes cost to decide, those left open included.
        findings: The findings that were disputed.
        notes: What a reader must know.
        level: Coverage of the intervals.
        n_boot: Number of resamples.
        seed: Seed of the resamples.
    """

    teacher_id: str
    adjudicator: str
    adjudicator_id: str
    n: int
    left_open: int
    uncurated: int
    coarse: int
    n_reports: int
    n_clusters: int
    right: int
    accuracy: Estimate
    policies: tuple[Policy, ...]
    reference: str
    corrected: int
    spoiled: int
    spent: Spent
    findings: tuple[FindingDisputes, ...]
    notes: tuple[str, ...]
    level: float
    n_boot: int
    seed: int

    @property
    def best_voter(self) -> Policy:
        """The voter that is right most often on these very disputes, which one knows only afterwards."""
        return max(self.policies[:-1], key=lambda policy: policy.right)

    @property
    def always_reference(self) -> Policy:
        """The policy that takes the reference's vote."""
        return next(policy for policy in self.policies if policy.name == self.reference)

    @property
    def net(self) -> int:
        """Labels that are right thanks to the adjudicator, less those that are wrong because of it."""
        return self.corrected - self.spoiled

    @property
    def usd_per_correction(self) -> float | None:
        """US dollars for each label won; None where none was won, or the price is not known."""
        return None if self.net <= 0 or self.spent.cost_usd is None else self.spent.cost_usd / self.net

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values; undefined figures are None."""
        figures = {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__}
        computed = {"best_voter": self.best_voter.name, "net": self.net, "usd_per_correction": self.usd_per_correction}
        return figures | computed


def judge_adjudicator(
    connection: duckdb.DuckDBPyConnection,
    teacher_id: str | None = None,
    split: str | None = None,
    corpus: str | None = None,
    n_boot: int = 2000,
    seed: int = 0,
) -> AdjudicationReport:
    """Judge a teacher's adjudicator by the disputes that have a curated label.

    Args:
        connection: A store or a snapshot.
        teacher_id: Which teacher, by its id or the beginning of it; the one that decided last when left out.
        split: Only reports of this split; None for all but `test`.
        corpus: Only reports of this corpus.
        n_boot: Resamples behind the intervals; 0 for none.
        seed: Seed of the resamples.

    Raises:
        StoreError: There is no such teacher, or none of its disputes has a curated label.
    """
    jury = find_jury(connection, teacher_id)
    disputes = fetch_disputes(connection, jury.adjudicator_id, jury.voter_ids, split, corpus)
    if not len(disputes):
        raise _nothing_to_judge(connection, disputes, split, corpus)
    taken, stood_in = _taken(disputes)
    right, by_policy = disputes.right(disputes.verdicts), disputes.right(taken)
    decided = ~disputes.open
    accuracies, gains, n_clusters = _estimates(disputes, right, by_policy, n_boot, seed)
    names = (*jury.voter_names, MAJORITY)
    policies = tuple(
        Policy(
            name=name,
            kind=kind,
            right=int(by_policy[decided, i].sum()),
            accuracy=accuracies[i + 1],
            gain=gains[i],
            right_open=int(by_policy[~decided, i].sum()),
            stood_in=int(stood_in[i]),
        )
        for i, (name, kind) in enumerate(zip(names, (*jury.voter_kinds, MAJORITY), strict=True))
    )
    reference = by_policy[:, jury.reference]
    return AdjudicationReport(
        teacher_id=jury.teacher_id,
        adjudicator=jury.adjudicator,
        adjudicator_id=jury.adjudicator_id,
        n=int(decided.sum()),
        left_open=int((~decided).sum()),
        uncurated=disputes.uncurated,
        coarse=int(disputes.coarse.sum()),
        n_reports=len(set(disputes.report_ids)),
        n_clusters=n_clusters,
        right=int(right.sum()),
        accuracy=accuracies[0],
        policies=policies,
        reference=names[jury.reference],
        corrected=int((decided & right & ~reference).sum()),
        spoiled=int((decided & ~right & reference).sum()),
        spent=fetch_spent(connection, jury.adjudicator_id, disputes.call_ids),
        findings=_by_finding(disputes, right, by_policy),
        notes=_notes(jury, disputes, policies, split),
        level=LEVEL,
        n_boot=n_boot,
        seed=seed,
    )


def _taken(disputes: Disputes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return what each policy takes, shape `(N, V + 1)`, and how often the majority stood in, shape `(V + 1,)`."""
    majority = disputes.majority()[:, None]
    missing = disputes.votes < 0
    taken = np.concatenate([np.where(missing, majority, disputes.votes), majority], axis=1)
    return taken, np.append(missing.sum(axis=0), 0)


def _estimates(
    disputes: Disputes,
    right: npt.NDArray[np.bool_],
    by_policy: npt.NDArray[np.bool_],
    n_boot: int,
    seed: int,
) -> tuple[list[Estimate], list[Estimate], int]:
    """Return the accuracies of adjudicator and policies, its gain over each, and the number of clusters."""
    decided = ~disputes.open
    counts = np.column_stack([np.ones(len(disputes), dtype=np.int64), right, by_policy]).astype(np.int64)
    sums = cluster_sums(counts[decided], disputes.clusters[decided])
    shares, drawn = _shares(sums.sum(axis=0)), _shares(resample_sums(sums, n_boot, seed))
    columns = range(shares.shape[-1])
    accuracies = [estimate(float(shares[i]), drawn[:, i], LEVEL) for i in columns]
    gains = [estimate(float(shares[0] - shares[i]), drawn[:, 0] - drawn[:, i], LEVEL) for i in columns[1:]]
    return accuracies, gains, len(np.unique(disputes.clusters))


def _shares(sums: npt.NDArray[np.int64]) -> Floats:
    """(..., 1 + P) -> (..., P): what share of the first column each other one is; NaN where that is 0."""
    n = sums[..., :1].astype(np.float64)
    shares: Floats = np.full(sums[..., 1:].shape, np.nan)
    return np.divide(sums[..., 1:], n, out=shares, where=n > 0)


def _by_finding(
    disputes: Disputes, right: npt.NDArray[np.bool_], by_policy: npt.NDArray[np.bool_]
) -> tuple[FindingDisputes, ...]:
    rows = []
    for index, finding in enumerate(FINDINGS):
        here, decided = disputes.findings == index, ~disputes.open
        if here.any():
            counted = here & decided
            policies = tuple(int(count) for count in by_policy[counted].sum(axis=0))
            open_ones = int((here & ~decided).sum())
            rows.append(FindingDisputes(finding, int(counted.sum()), open_ones, int(right[counted].sum()), policies))
    return tuple(rows)


def _notes(jury: Jury, disputes: Disputes, policies: Sequence[Policy], split: str | None) -> tuple[str, ...]:
    notes = list(jury.notes)
    if disputes.coarse.any():
        curators, alike = ", ".join(disputes.coarse_curators), int(disputes.alike().sum())
        notes.append(
            f"{int(disputes.coarse.sum()):,} of {len(disputes):,} disputes are judged as present or not: {curators} "
            f"marks only what is there; in {alike:,} of these the votes do not differ on that"
        )
    if jury.saw_reliability and split not in ("gate", "test"):
        notes.append(
            "the adjudicator was told how reliable its voters proved on curated reports: where those are among these, "
            "its figures flatter it"
        )
    if len(jury.voter_ids) == 2:
        notes.append("of two that differ neither is the majority: the last one's vote is taken")
    notes += [
        f"{policy.name} had no say in {policy.stood_in:,} of the disputes: the majority of the others counts for it"
        for policy in policies
        if policy.stood_in
    ]
    return tuple(notes)


def _nothing_to_judge(
    connection: duckdb.DuckDBPyConnection, disputes: Disputes, split: str | None, corpus: str | None
) -> StoreError:
    if split is not None and not connection.execute("SELECT 1 FROM splits LIMIT 1").fetchone():
        return StoreError(f"no report has a split yet, so there is no {split!r}", "use `--split all`")
    where = "".join([f" in split {split!r}" if split else "", f" in corpus {corpus!r}" if corpus else ""])
    if disputes.uncurated:
        return StoreError(
            f"none of the {disputes.uncurated:,} disputes{where} has a curated label",
            "import curated labels of these reports, or widen --split and --corpus",
        )
    return StoreError(
        f"the adjudicator has decided nothing{where}",
        "label these reports (`teachback label --help`), or widen --split",
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return value.as_dict()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return value
