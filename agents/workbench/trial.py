"""One prompt on one report: the answer, what it rests on, what it cost, and what others say of the same report."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from teachback.agents.call_cache import StoreCallCache
from teachback.agents.calls import LLMCall
from teachback.agents.client import LLMClient
from teachback.agents.nodes import STRICTEST
from teachback.agents.settings import LLMSettings
from teachback.agents.tokens import token_counter
from teachback.agents.workbench.desk import Desk, Model, labeler_for, open_desk, priced_client
from teachback.errors import SettingError, TeacherReplyError
from teachback.prompts import Prompt
from teachback.store.database import open_snapshot
from teachback.store.label import Label, Status
from teachback.store.report import Report, Scope
from teachback.store.rows import fetch_reports
from teachback.store.runs import recorded_run

__all__ = ["Opinion", "Rendering", "Trial", "render_prompt", "try_prompt"]

WITHHELD = ("gate", "test")  # splits whose curated labels are kept from whoever writes prompts

_OTHERS = """
    SELECT l.labeler_id, b.name, l.target, l.status FROM labels l JOIN labelers b USING (labeler_id)
    WHERE l.report_id = $report AND l.task = 'findings' AND b.kind <> 'human' AND l.labeler_id <> $mine
    QUALIFY row_number() OVER (PARTITION BY l.labeler_id, l.target ORDER BY l.created_at DESC, l.label_id) = 1
    ORDER BY min(l.created_at) OVER (PARTITION BY l.labeler_id), l.labeler_id
"""


@dataclass(frozen=True)
class Opinion:
    """What somebody else says of the report's findings.

    Attributes:
        name: Who: `curated`, or a labeler's name.
        statuses: Finding to status, as far as there is one.
    """

    name: str
    statuses: Mapping[str, Status]


@dataclass(frozen=True)
class Trial:
    """What a prompt made of a report.

    Attributes:
        prompt: The prompt.
        report: The report.
        scope: What of it the prompt was shown.
        labels: The labels; empty where the report has no section of the scope.
        call: The call that they come from; None where nothing was asked.
        from_store: Whether the answer was in the store already.
        curated: The curated statuses; None where there are none, or they are withheld.
        withheld: The split for which they are withheld; empty where they are not.
        others: What other labelers say.
    """

    prompt: Prompt
    report: Report
    scope: Scope
    labels: tuple[Label, ...]
    call: LLMCall | None
    from_store: bool
    curated: Opinion | None
    withheld: str
    others: tuple[Opinion, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values."""
        call = self.call
        return {
            "prompt": self.prompt.name,
            "prompt_id": self.prompt.prompt_id,
            "report_id": self.report.report_id,
            "scope": self.scope,
            "labels": [_label(label) for label in self.labels],
            "call": call
            and {
                "llm_call_id": call.llm_call_id,
                "model": call.model,
                "prompt_tokens": call.prompt_tokens,
                "cached_tokens": call.cached_tokens,
                "completion_tokens": call.completion_tokens,
                "cost_usd": call.cost_usd,
                "latency_ms": call.latency_ms,
                "from_store": self.from_store,
            },
            "curated": dict(self.curated.statuses) if self.curated else None,
            "curated_withheld": self.withheld or None,
            "others": [{"name": opinion.name, "statuses": dict(opinion.statuses)} for opinion in self.others],
        }


@dataclass(frozen=True)
class Rendering:
    """What a prompt would send.

    Attributes:
        messages: The messages, exactly.
        tokens: Tokens of the messages, what stands around them, and the form.
        counted_by: How they were counted.
    """

    messages: tuple[Mapping[str, str], ...]
    tokens: int
    counted_by: str


def try_prompt(store: Path, prompt: Prompt, report_id: str, model: Model, scope: Scope = "full") -> Trial:
    """Ask about one report, unless the answer is stored; the call is kept, the labels are not.

    Args:
        store: The store.
        prompt: A labeler's prompt.
        report_id: The report.
        model: Who answers.
        scope: What of the report is shown.

    Raises:
        SettingError: There is no such report, or no model to ask.
        TeacherReplyError: The answer cannot be used.
        TeacherError: Nothing can be asked.
        EgressError: The report's corpus may not be sent there.
    """
    with open_desk(store, model) as desk:
        report = _report(desk.connection, store, report_id)
        return asyncio.run(_ask(desk, prompt, report, scope))


def render_prompt(store: Path, prompt: Prompt, report_id: str, scope: Scope = "full") -> Rendering:
    """Fill a prompt in for one report, as it would be sent; nothing is asked and nothing written.

    Args:
        store: The store; its newest snapshot is read.
        prompt: A labeler's prompt.
        report_id: The report.
        scope: What of the report is shown.

    Raises:
        SettingError: There is no such report, or it has no section of the scope.
    """
    connection, _ = open_snapshot(store)
    try:
        report = _report(connection, store, report_id)
        if not report.scoped(scope):
            raise SettingError(f"report {report_id} has no section of scope {scope}", "name another --scope")
        client = LLMClient(LLMSettings(), StoreCallCache(None, connection), postpone=True)
        request = labeler_for(client, prompt, scope, connection).request(report)
        counter = token_counter()
        return Rendering(request.messages, counter.count_request(request), counter.how)
    finally:
        connection.close()


async def _ask(desk: Desk, prompt: Prompt, report: Report, scope: Scope) -> Trial:
    policy = desk.connection.execute("SELECT egress FROM corpora WHERE corpus = ?", [report.corpus]).fetchone()
    cache = StoreCallCache(desk.writer, desk.connection)
    async with priced_client(desk.endpoint, cache) as client:
        labeler = labeler_for(client, prompt, scope, desk.connection)
        recorded = {"prompt_id": prompt.prompt_id, "report_id": report.report_id, "model": client.settings.model}
        with recorded_run(desk.writer, "prompts try", recorded) as run:
            cache.run_id = run.run_id
            rows = [{"prompt_id": prompt.prompt_id, "role": prompt.role, "name": prompt.name, "text": prompt.full_text}]
            desk.writer.write({"prompts": rows})
            try:
                reply = await labeler.label(report, policy[0] if policy else STRICTEST)
            except TeacherReplyError as error:
                error.remedy = "ask again, or mend the prompt: `teachback prompts lint`"
                raise
        call = cache.get(reply.llm_call_id) if reply.llm_call_id else None
        curated, withheld = _curated(desk.connection, report.report_id)
        others = _others(desk.connection, report.report_id, labeler.spec.labeler_id)
        return Trial(prompt, report, scope, tuple(reply.labels), call, client.sent == 0, curated, withheld, others)


def _report(connection: duckdb.DuckDBPyConnection, store: Path, report_id: str) -> Report:
    found = fetch_reports(connection, "report_id = ?", [report_id])
    if not found:
        some = connection.execute("SELECT report_id FROM reports ORDER BY md5(report_id) LIMIT 3").fetchall()
        named = ", ".join(row[0] for row in some)
        raise SettingError(f"{store} has no report {report_id!r}", f"name one of its reports, such as {named}")
    return found[0]


def _curated(connection: duckdb.DuckDBPyConnection, report_id: str) -> tuple[Opinion | None, str]:
    split = connection.execute("SELECT split FROM splits WHERE report_id = ?", [report_id]).fetchone()
    if split and split[0] in WITHHELD:
        return None, split[0]
    rows = connection.execute(
        "SELECT target, status FROM curated_labels WHERE report_id = ? AND task = 'findings'", [report_id]
    ).fetchall()
    return (Opinion("curated", dict(rows)) if rows else None), ""


def _others(connection: duckdb.DuckDBPyConnection, report_id: str, mine: str) -> tuple[Opinion, ...]:
    names: dict[str, str] = {}
    said: dict[str, dict[str, Status]] = {}
    rows = connection.execute(_OTHERS, {"report": report_id, "mine": mine}).fetchall()
    for labeler_id, name, target, status in rows:
        names[labeler_id] = name
        said.setdefault(labeler_id, {})[target] = status
    return tuple(Opinion(names[labeler_id], statuses) for labeler_id, statuses in said.items())


def _label(label: Label) -> dict[str, Any]:
    return {
        "task": label.task,
        "target": label.target,
        "status": label.status,
        "confidence": label.confidence,
        "confidence_note": label.confidence_note,
        "icd10": label.icd10,
        "icd10_check": label.icd10_check,
        "evidence": [
            {"section": e.section, "start": e.start, "end": e.end, "quote": e.quote, "grounded": e.grounded}
            for e in label.evidence
        ],
    }
