"""One of two prompts in a comparison: who labelled, what it cost, and what could not be used of its answers."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import duckdb

from teachback.agents.workbench.ask import SampleLabels
from teachback.prompts import Prompt
from teachback.store.label import Failure, Labeler

__all__ = ["CallCosts", "Side", "make_side", "read_costs"]

_BEHIND = """
    SELECT prompt_tokens, cached_tokens, completion_tokens, cost_usd FROM llm_calls
    WHERE error IS NULL AND llm_call_id IN (SELECT unnest(?::VARCHAR[]))
    QUALIFY row_number() OVER (PARTITION BY llm_call_id ORDER BY created_at DESC) = 1
"""
_SENT = """
    SELECT count(*) FILTER (error IS NULL AND list_contains(?::VARCHAR[], llm_call_id)),
        count(error), coalesce(sum(cost_usd), 0.0)
    FROM llm_calls WHERE run_id = ? AND prompt_id = ?
"""


@dataclass(frozen=True, slots=True)
class CallCosts:
    """What the answers behind a prompt's labels cost, whenever they were asked, and what this run added.

    Attributes:
        calls: Answers behind the labels.
        sent: Of these, asked in this run; the others came from the store.
        failed: Calls of this run that were not answered, or whose answer could not be used.
        prompt_tokens: Tokens sent for the answers.
        cached_tokens: Of these, tokens that the endpoint billed as cached.
        completion_tokens: Tokens returned.
        cost_usd: US dollars for the answers; None where a price is not known.
        spent_usd: US dollars spent in this run, failed calls included.
    """

    calls: int
    sent: int
    failed: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost_usd: float | None
    spent_usd: float

    @property
    def reused(self) -> int:
        """Answers that were in the store."""
        return self.calls - self.sent


@dataclass(frozen=True)
class Side:
    """One of the two prompts.

    Attributes:
        letter: `A` or `B`.
        prompt: The prompt.
        labeler: The labeler that it makes.
        reports: Reports that it labelled.
        costs: What that cost.
        quotes: Labels with a quote as evidence.
        ungrounded: Of these, labels whose quote is not in the report.
        diseases: Diseases that it named.
        failures: Reports that it failed on, with the reasons.
    """

    letter: str
    prompt: Prompt
    labeler: Labeler
    reports: int
    costs: CallCosts
    quotes: int
    ungrounded: int
    diseases: int
    failures: tuple[Failure, ...]

    @property
    def cost_per_report(self) -> float | None:
        """US dollars a labelled report; None where unknown."""
        return self.costs.cost_usd / self.reports if self.costs.cost_usd is not None and self.reports else None

    def tokens_per_report(self) -> tuple[float, float]:
        """Return tokens sent and returned a labelled report."""
        reports = self.reports or 1
        return self.costs.prompt_tokens / reports, self.costs.completion_tokens / reports

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values."""
        sent, returned = self.tokens_per_report()
        return {
            "prompt": self.prompt.name,
            "prompt_id": self.prompt.prompt_id,
            "labeler_id": self.labeler.labeler_id,
            "model": self.labeler.model,
            "reports": self.reports,
            **asdict(self.costs),
            "reused": self.costs.reused,
            "cost_per_report_usd": self.cost_per_report,
            "prompt_tokens_per_report": sent,
            "completion_tokens_per_report": returned,
            "quotes": self.quotes,
            "ungrounded": self.ungrounded,
            "diseases": self.diseases,
            "failures": [{"report_id": f.report_id, "reason": f.reason} for f in self.failures],
        }


def make_side(
    connection: duckdb.DuckDBPyConnection,
    letter: str,
    prompt: Prompt,
    labeler: Labeler,
    said: SampleLabels,
    run_id: str,
) -> Side:
    """Sum up one prompt's answers.

    Args:
        connection: The store, after the answers were written.
        letter: `A` or `B`.
        prompt: The prompt.
        labeler: The labeler that it makes.
        said: What it said.
        run_id: The run in which it was asked.
    """
    labels = [label for given in said.labels.values() for label in given]
    quoted = [label for label in labels if label.evidence]
    return Side(
        letter,
        prompt,
        labeler,
        reports=len(said.labels),
        costs=read_costs(connection, said.call_ids, run_id, prompt.prompt_id),
        quotes=len(quoted),
        ungrounded=sum(any(not span.grounded for span in label.evidence) for label in quoted),
        diseases=sum(label.task == "diseases" for label in labels),
        failures=tuple(sorted(said.failures, key=lambda failure: failure.report_id)),
    )


def read_costs(
    connection: duckdb.DuckDBPyConnection, call_ids: Collection[str], run_id: str, prompt_id: str
) -> CallCosts:
    """Read what calls cost.

    Args:
        connection: A store.
        call_ids: The calls behind a prompt's labels.
        run_id: The run that asked what was not there.
        prompt_id: The prompt.
    """
    cursor = connection.cursor()
    behind = cursor.execute(_BEHIND, [sorted(call_ids)]).fetchall()
    sent, failed, spent = cursor.execute(_SENT, [sorted(call_ids), run_id, prompt_id]).fetchone() or (0, 0, 0.0)
    costs = [row[3] for row in behind]
    return CallCosts(
        calls=len(behind),
        sent=sent,
        failed=failed,
        prompt_tokens=sum(row[0] or 0 for row in behind),
        cached_tokens=sum(row[1] or 0 for row in behind),
        completion_tokens=sum(row[2] or 0 for row in behind),
        cost_usd=None if None in costs else sum(costs),
        spent_usd=spent,
    )
