"""What the store's load is made of: a thousand synthetic reports, labelled once by every part of a teacher.

The rules label them for real. Two seeded variations of the truth stand for one model under two versions of a prompt,
each with a call and its raw answer; where the three differ an adjudicator decides, or cannot tell. All of it is kept as
Arrow tables whose references are row numbers, so that copies under other ids are made column by column.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from teachback.agents.rule_labeler import RuleLabeler
from teachback.store.corpora.synthetic import SyntheticReport, generate
from teachback.store.corpora.synthetic.curated import curated_labels
from teachback.store.label import FINDINGS, STATUSES, Evidence, Label, Labeler
from teachback.store.rows import label_table

__all__ = ["ADJUDICATOR", "LABELERS", "TEMPLATES", "Templates", "make_templates"]

TEMPLATES = 1_000  # reports that are labelled for real
WRONG = 0.06  # of a variation's labels
UNGROUNDED = 0.002  # of a variation's quotes
OPEN_VERDICTS = 0.02  # in which the adjudicator cannot tell
MODEL = "simulated"
LABELERS = tuple(Labeler("llm", f"llm:{MODEL}", "1", MODEL, f"prm_version_{number}") for number in (1, 2))
ADJUDICATOR = Labeler("adjudicator", f"adjudicator:{MODEL}", "1", MODEL, "prm_adjudicator")
TOKENS_A_REPORT = 620  # sent: the prompt and a report of middling length


@dataclass
class Templates:
    """The tables; `report` is the row of the report, `call` and `label` are rows of `calls` and `labels`.

    Attributes:
        entries: The reports.
        labels: As in the store's table, with `report` and `call`.
        calls: Likewise, with `report`.
        verdicts: Rows of `adjudications`, with `report`, `call`, `label` (None where it cannot tell) and `weighed`.
    """

    entries: Sequence[SyntheticReport]
    labels: pa.Table
    calls: pa.Table
    verdicts: pa.Table

    def __post_init__(self) -> None:
        self._starts = {name: _starts(getattr(self, name)) for name in ("labels", "calls", "verdicts")}

    def rows(self, table: str, first: int, last: int) -> tuple[int, pa.Table]:
        """Return the number of a table's first row that is of reports `first` to `last - 1`, and those rows."""
        begin, end = self._starts[table][first], self._starts[table][last]
        return begin, getattr(self, table).slice(begin, end - begin)


@dataclass
class _Drawn:
    """Rows as they come, report by report."""

    chosen: random.Random
    labels: list[Label] = field(default_factory=list)
    places: list[tuple[int, int | None]] = field(default_factory=list)  # of each label: report and call
    calls: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[dict[str, Any]] = field(default_factory=list)


def make_templates(rules: RuleLabeler, seed: int) -> Templates:
    """Label the reports."""
    entries = list(generate(TEMPLATES, seed=seed))
    drawn = _Drawn(random.Random(seed))
    for place, entry in enumerate(entries):
        _label(drawn, place, entry, rules)
    labels = label_table(drawn.labels).append_column("report", pa.array([p for p, _ in drawn.places], pa.int32()))
    labels = labels.append_column("call", pa.array([call for _, call in drawn.places], pa.int32()))
    verdicts = pa.Table.from_pylist(drawn.verdicts)
    return Templates(entries, labels, pa.Table.from_pylist(drawn.calls), verdicts)


def _label(drawn: _Drawn, place: int, entry: SyntheticReport, rules: RuleLabeler) -> None:
    truth = curated_labels(entry)
    first = len(drawn.labels)
    _keep(drawn, place, rules.label(entry.report))
    for labeler in LABELERS:
        # Diseases are the first version's task alone.
        mine = [label for label in truth if label.task == "findings" or labeler is LABELERS[0]]
        given = [_varied(label, labeler, drawn.chosen) for label in mine]
        _keep(drawn, place, given, _call(drawn, place, labeler, "llm_labeler", given))
    _adjudicate(drawn, place, {label.target: label for label in truth}, first)


def _adjudicate(drawn: _Drawn, place: int, truth: dict[str, Label], first: int) -> None:
    votes: dict[str, list[int]] = {}
    for row, label in enumerate(drawn.labels[first:], first):
        if label.task == "findings":
            votes.setdefault(label.target, []).append(row)
    disputed = [target for target in FINDINGS if len({drawn.labels[row].status for row in votes.get(target, ())}) > 1]
    if not disputed:
        return
    decided = [_varied(truth[target], ADJUDICATOR, drawn.chosen) for target in disputed]
    call = _call(drawn, place, ADJUDICATOR, "adjudicator", decided)
    for label in decided:
        is_open = drawn.chosen.random() < OPEN_VERDICTS
        drawn.verdicts.append(
            {
                "report": place,
                "task": "findings",
                "target": label.target,
                "labeler_id": label.labeler_id,
                "label": None if is_open else len(drawn.labels),
                "weighed": votes[label.target],
                "verdict": "cannot_tell" if is_open else label.status,
                "rationale": f"the report says so of {label.target.lower()}",
                "call": call,
            }
        )
        if not is_open:
            _keep(drawn, place, [label], call)


def _keep(drawn: _Drawn, place: int, labels: Sequence[Label], call: int | None = None) -> None:
    drawn.labels += labels
    drawn.places += [(place, call)] * len(labels)


def _call(drawn: _Drawn, place: int, labeler: Labeler, agent: str, given: Sequence[Label]) -> int:
    said = [
        {"target": label.target, "status": label.status, "quotes": [span.quote for span in label.evidence]}
        for label in given
    ]
    answer = json.dumps({"labels": said})
    drawn.calls.append(
        {
            "report": place,
            "agent": agent,
            "model": MODEL,
            "prompt_id": labeler.prompt_id,
            "response": answer,
            "prompt_tokens": TOKENS_A_REPORT + drawn.chosen.randrange(400),
            "completion_tokens": len(answer) // 4,
            "cost_usd": round(0.001 + 0.002 * drawn.chosen.random(), 6),
            "latency_ms": round(drawn.chosen.lognormvariate(6.5, 0.5), 1),
            "attempts": 1,
        }
    )
    return len(drawn.calls) - 1


def _varied(label: Label, labeler: Labeler, chosen: random.Random) -> Label:
    wrong = chosen.random() < WRONG
    status = chosen.choice(STATUSES) if wrong and label.task == "findings" else label.status
    if label.task == "diseases":
        check = chosen.choices(("billable", "category", "unknown"), (97, 2, 1))[0]
        return label.changed(labeler_id=labeler.labeler_id, confidence_note="open-ended", icd10_check=check)
    sure = round(chosen.betavariate(2, 2) if wrong else chosen.betavariate(12, 1.2), 6)
    rest = [chosen.random() + 1e-9 for _ in range(3)]
    left = iter([share * (1 - sure) / sum(rest) for share in rest])
    evidence = (Evidence("findings", -1, -1, "words of nobody"),) if chosen.random() < UNGROUNDED else label.evidence
    return label.changed(
        labeler_id=labeler.labeler_id,
        status=status,
        confidence=sure,
        confidence_source="logprob",
        confidence_note="",
        probs={name: sure if name == status else next(left) for name in STATUSES},
        evidence=evidence,
    )


def _starts(table: pa.Table) -> list[int]:
    """Return where each report's rows begin, and where the last one's end."""
    return [int(row) for row in np.searchsorted(table.column("report").to_numpy(), range(TEMPLATES + 1))]
