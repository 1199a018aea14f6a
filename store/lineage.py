"""Lineage, as Python values: where a label comes from, what made an adapter, and what became of a label.

The macros `label_lineage`, `adapter_lineage` and `label_impact` hold the questions; here the answers are read, and a
name that nothing has is an error with its remedy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import duckdb

from teachback.errors import SettingError

__all__ = ["AdapterLineage", "Impact", "fetch_adapter", "fetch_impact", "fetch_label"]

Record = dict[str, Any]

_SOURCES = """
    SELECT source, labeler_kind, labeler, coalesce(model, '') AS model, reason_kind AS reason, count(*) AS labels,
        count(DISTINCT report_id) AS reports, min(weight) AS least_weight, max(weight) AS most_weight,
        sum(weight) AS weight_sum, count(DISTINCT llm_call_id) AS calls
    FROM (SELECT *, regexp_replace(reason, '[:(].*| at [0-9].*', '') AS reason_kind FROM adapter_lineage(?))
    GROUP BY ALL ORDER BY labels DESC, source, labeler, reason
"""
# A call may have given many labels: each is counted and paid once.
_CALLS = """
    SELECT prompt, prompt_id, model, count(*) AS calls, sum(prompt_tokens) AS prompt_tokens,
        sum(completion_tokens) AS completion_tokens, sum(cost_usd) AS cost_usd
    FROM (
        SELECT DISTINCT ON (llm_call_id) llm_call_id, prompt, prompt_id, model,
            prompt_tokens, completion_tokens, cost_usd
        FROM adapter_lineage(?) WHERE llm_call_id IS NOT NULL
    ) GROUP BY ALL ORDER BY calls DESC, prompt_id
"""
_CORPORA = """
    SELECT corpus, count(DISTINCT report_id) AS reports, count(DISTINCT subject_id) AS subjects
    FROM adapter_lineage(?) GROUP BY corpus ORDER BY corpus
"""


@dataclass(frozen=True, slots=True)
class AdapterLineage:
    """What made an adapter.

    Attributes:
        rounds: The rounds that it is of, as the macro `adapter_rounds` gives them; nearly always one.
        sources: Its training labels by source, labeler and reason, counted, with their weights.
        calls: The calls that gave those labels, by prompt and model, with tokens and USD.
        corpora: Where the reports are from.
    """

    rounds: Sequence[Record]
    sources: Sequence[Record]
    calls: Sequence[Record]
    corpora: Sequence[Record]


@dataclass(frozen=True, slots=True)
class Impact:
    """What became of a label.

    Attributes:
        label: Where it comes from, as the macro `label_lineage` gives it.
        verdicts: Rows of kind `verdict` of the macro `label_impact`.
        adapters: Its rows of kind `adapter`, in the order of the rounds.
        pseudo_labels: Its rows of kind `pseudo-label`.
    """

    label: Record
    verdicts: Sequence[Record]
    adapters: Sequence[Record]
    pseudo_labels: Sequence[Record]


def fetch_label(connection: duckdb.DuckDBPyConnection, label_id: str) -> Record:
    """Return where a label comes from: the one row of `label_lineage`.

    Raises:
        SettingError: There is no such label.
    """
    found = _rows(connection, "FROM label_lineage(?)", label_id)
    if not found:
        raise SettingError(f"there is no label {label_id!r} in this snapshot", _where_labels_are(connection, label_id))
    return found[0]


def fetch_adapter(connection: duckdb.DuckDBPyConnection, adapter: str) -> AdapterLineage:
    """Return what made an adapter.

    Args:
        connection: A snapshot, locked down.
        adapter: Its hash, a beginning of the hash that no other has, its path or the end of that, or a round's id.

    Raises:
        SettingError: There is no such adapter, or several are named so.
    """
    try:
        rounds = _rows(connection, 'FROM adapter_rounds(?) ORDER BY created_at, "round", round_id', adapter)
    except duckdb.InvalidInputException as error:
        if "Several adapters" not in str(error):
            raise
        raise SettingError(f"several adapters are named {adapter!r}", _adapters(connection)) from None
    if not rounds:
        raise SettingError(f"there is no adapter {adapter!r} in this snapshot", _adapters(connection))
    return AdapterLineage(
        rounds=rounds,
        sources=_rows(connection, _SOURCES, adapter),
        calls=_rows(connection, _CALLS, adapter),
        corpora=_rows(connection, _CORPORA, adapter),
    )


def fetch_impact(connection: duckdb.DuckDBPyConnection, label_id: str) -> Impact:
    """Return what became of a label: verdicts, adapters and pseudo-labels that it had a part in.

    Raises:
        SettingError: There is no such label.
    """
    label = fetch_label(connection, label_id)
    query = 'FROM label_impact(?) ORDER BY campaign_id, "round", arm, report_id, target, used_in, label_id'
    rows = _rows(connection, query, label_id)
    kinds = {kind: [row for row in rows if row["kind"] == kind] for kind in ("verdict", "adapter", "pseudo-label")}
    return Impact(label, kinds["verdict"], kinds["adapter"], kinds["pseudo-label"])


def _rows(connection: duckdb.DuckDBPyConnection, query: str, *values: str) -> list[Record]:
    table = connection.sql(query, params=list(values)).to_arrow_table()
    return cast("list[Record]", table.to_pylist())


def _where_labels_are(connection: duckdb.DuckDBPyConnection, named: str) -> str:
    """Say how to find a label's id; a report's id may have been meant."""
    known = _rows(connection, "SELECT report_id FROM reports WHERE report_id = ?", named)
    report = named.replace("'", "''") if known else "REPORT"
    query = f"SELECT label_id, labeler, target, status FROM label_votes WHERE report_id = '{report}'"
    return f'labels of a report are listed by `teachback sql STORE "{query}"`'


def _adapters(connection: duckdb.DuckDBPyConnection) -> str:
    rows = _rows(
        connection, 'SELECT coalesce(adapter_hash, round_id) AS name, "round", arm FROM rounds ORDER BY created_at'
    )
    if not rows:
        return "no round has been trained into this store: `teachback distill --help`"
    listed = ", ".join(f"{row['name']} (round {row['round']} {row['arm']})" for row in rows[-8:])
    return f"name one by the beginning of its hash: {listed}"
