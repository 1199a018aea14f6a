"""From the votes in a store to one label a target: what a teacher says when its labelers vote.

The aggregator is a labeler of its own, so its labels are appended beside the votes and replace none of them; the view
`teacher_labels` puts them first. Each pass looks at all votes that the teacher has, because new ones change what is
known of the labelers, and writes only what it sees differently from last time.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any, Literal

import duckdb
import numpy as np
import numpy.typing as npt

from teachback.agents.aggregate.curated import fetch_truths
from teachback.agents.aggregate.dawid_skene import DawidSkene, dawid_skene
from teachback.agents.aggregate.label_rows import Decided, label_rows
from teachback.agents.aggregate.majority import majority
from teachback.agents.aggregate.reliability import Reliability, reliability
from teachback.agents.aggregate.votes import NO_VOTE, NewestLabels, Votes, fetch_newest, fetch_votes
from teachback.errors import SettingError
from teachback.store.identity import content_id
from teachback.store.label import FINDINGS, STATUSES, Labeler
from teachback.store.writer import Writer

__all__ = ["Aggregate", "Consolidated", "MemberReliability", "aggregator_spec", "consolidate"]

Aggregate = Literal["adjudicate", "majority", "dawid-skene"]

FEWEST_LABELERS = 3  # of two that differ, no vote can tell which is right
DECIMALS_THAT_MATTER = 3  # a confidence that differs less is no news


@dataclass(frozen=True)
class MemberReliability:
    """How a labeler looks to the aggregation.

    Attributes:
        labeler_id: The labeler.
        votes: How often it voted.
        agreement: The share of its votes that the aggregated label follows.
        accuracy: The probability that its vote is right: as the model of Dawid and Skene implies it, or for a majority
            as curated labels tell it; None where neither does.
    """

    labeler_id: str
    votes: int
    agreement: float
    accuracy: float | None


@dataclass(frozen=True)
class Consolidated:
    """What a pass came to.

    Attributes:
        items: Targets that somebody voted on, over all reports that the teacher is done with.
        disputed: Those on which the votes differ.
        silent: Votes of `unmentioned` that counted as none, since another labeler had read more of the report.
        changed: Items on which the aggregated status is not that of a plain majority.
        written: Labels that are new or differ from the aggregator's last ones.
        weighted: Whether curated labels gave the votes their weights.
        known: Items whose curated status was held fast.
        iterations: EM steps, for `dawid-skene`.
        converged: Whether they ended before the limit.
        members: The labelers.
    """

    items: int
    disputed: int
    silent: int
    changed: int
    written: int
    weighted: bool
    known: int
    iterations: int | None
    converged: bool | None
    members: tuple[MemberReliability, ...]


def aggregator_spec(
    method: Aggregate, member_ids: Sequence[str], *, weighted: bool = True, clamped: bool = False
) -> Labeler:
    """Return who an aggregator is: the method, whose votes it counts, and how.

    Args:
        method: `majority` or `dawid-skene`.
        member_ids: The labelers, in the order of their places; the order breaks ties.
        weighted: Whether votes weigh as much as their labelers proved reliable on the curated labels of the split
            `calibration`. Where nothing is curated, all weigh the same.
        clamped: Whether the curated statuses of that split are held fast as truths, for `dawid-skene`. The aggregated
            labels of those reports are then the curated ones, so nothing can be measured on them any more.

    Raises:
        SettingError: The method decides no vote, or the labelers are too few for one.
    """
    if method == "adjudicate":
        raise SettingError("an adjudicator decides one by one, it aggregates nothing", "choose majority or dawid-skene")
    if len(set(member_ids)) < FEWEST_LABELERS:
        raise SettingError(
            f"{method} needs {FEWEST_LABELERS} labelers, and there are {len(set(member_ids))}",
            "name more, as in --labelers rule,llm:gpt-4o,llm:local@zero-shot",
        )
    parameters: dict[str, Any] = {"members": list(member_ids), "weighted": weighted}
    if method == "dawid-skene":
        parameters |= {"clamped": clamped, **asdict(DawidSkene())}
    return Labeler("adjudicator", method, content_id("agg", method, parameters), parameters=parameters)


def consolidate(
    connection: duckdb.DuckDBPyConnection,
    writer: Writer,
    teacher_id: str,
    aggregator: Labeler,
    method: Aggregate,
    run_id: str | None,
) -> Consolidated:
    """Aggregate a teacher's votes and write the labels that are new or changed.

    Args:
        connection: A connection to the writer's store.
        writer: The store's writer.
        teacher_id: The teacher; its reports are those that it is done with.
        aggregator: Who says so, from `aggregator_spec`.
        method: How.
        run_id: The run that the labels belong to.

    Raises:
        SettingError: The store knows no such teacher.
    """
    votes = fetch_votes(connection, teacher_id)
    plain = majority(votes.codes)
    judged = reliability(connection, votes.labeler_ids)
    weights = judged.weights() if aggregator.parameters.get("weighted", True) else None
    if method == "dawid-skene":
        decided = _by_model(connection, votes, weights, aggregator)
    else:
        decided = _by_majority(votes, weights, judged)
    before = fetch_newest(connection, [aggregator.labeler_id], votes.report_ids)
    news, replaced = _news(votes, decided, before)
    who = {"labeler_id": aggregator.labeler_id, "run_id": run_id}
    _write(writer, label_rows(connection, votes, decided, who, news, replaced))
    voted = votes.codes != NO_VOTE
    highest = np.where(voted, votes.codes, -1).max(axis=1, initial=-1)
    lowest = np.where(voted, votes.codes, len(STATUSES)).min(axis=1, initial=len(STATUSES))
    return Consolidated(
        items=len(votes),
        disputed=int((highest > lowest).sum()),
        silent=votes.silent,
        changed=int((decided.codes != plain.codes).sum()),
        written=len(news),
        weighted=weights is not None,
        known=decided.known,
        iterations=decided.iterations,
        converged=decided.converged,
        members=_members(votes, decided),
    )


def _write(writer: Writer, chunks: Iterable[Sequence[Mapping[str, Any]]]) -> None:
    """Write chunks of labels; while one is being written, the next is made."""
    under_way: Future[dict[str, int]] | None = None
    for rows in chunks:
        if under_way:
            under_way.result()
        under_way = writer.submit({"labels": rows})
    if under_way:
        under_way.result()


def _by_majority(votes: Votes, weights: npt.NDArray[np.float64] | None, judged: Reliability) -> Decided:
    found = majority(votes.codes, weights=weights, groups=votes.findings)
    accuracies = [judged.overall[labeler_id] for labeler_id in votes.labeler_ids]
    return Decided(found.codes, found.posteriors, weights, accuracies)


def _by_model(
    connection: duckdb.DuckDBPyConnection,
    votes: Votes,
    weights: npt.NDArray[np.float64] | None,
    aggregator: Labeler,
) -> Decided:
    known = _known(connection, votes) if aggregator.parameters.get("clamped") else None
    fit = dawid_skene(votes.codes, groups=votes.findings, known=known, weights=weights)
    codes = fit.posteriors.argmax(axis=1).astype(np.int8)
    held = int((known != NO_VOTE).sum()) if known is not None else 0
    accuracies = [float(accuracy) for accuracy in fit.accuracies]
    return Decided(codes, fit.posteriors, weights, accuracies, held, fit.iterations, fit.converged)


def _known(connection: duckdb.DuckDBPyConnection, votes: Votes) -> npt.NDArray[np.int8]:
    curated = fetch_truths(connection)
    truths = np.full((len(votes.report_ids), len(FINDINGS)), NO_VOTE, dtype=np.int8)
    places = {report_id: place for place, report_id in enumerate(votes.report_ids)}
    for report_id, row in zip(curated.report_ids, curated.truths, strict=True):
        if report_id in places:
            truths[places[report_id]] = row
    held: npt.NDArray[np.int8] = truths[votes.reports, votes.findings]
    return held


def _members(votes: Votes, decided: Decided) -> tuple[MemberReliability, ...]:
    voted = (votes.codes != NO_VOTE).sum(axis=0)
    followed = (votes.codes == decided.codes[:, None]).sum(axis=0) / np.maximum(voted, 1)
    return tuple(
        MemberReliability(labeler_id, int(voted[i]), float(followed[i]), decided.accuracies[i])
        for i, labeler_id in enumerate(votes.labeler_ids)
    )


def _news(votes: Votes, decided: Decided, before: NewestLabels) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the items whose label is new or changed, and the rowid of the label that each replaces, -1 for none."""
    shape = (len(votes.report_ids), len(FINDINGS))
    codes, rows = np.full(shape, NO_VOTE, dtype=np.int8), np.full(shape, -1, dtype=np.int64)
    confidences = np.full(shape, np.nan)
    place = (before.reports, before.findings)
    codes[place], rows[place], confidences[place] = (
        before.codes[:, 0],
        before.label_rows[:, 0],
        before.confidences[:, 0],
    )
    items = (votes.reports, votes.findings)
    now = decided.confidences
    same = np.round(confidences[items], DECIMALS_THAT_MATTER) == np.round(now, DECIMALS_THAT_MATTER)
    news = np.flatnonzero((codes[items] != decided.codes) | ~same)
    return news, rows[items][news]
