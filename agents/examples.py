"""Examples that a prompt shows with a report: drawn from a file, or the curated reports that are most alike.

A pool is written by hand and holds no one's report. Which of its examples are shown follows from the seed and the
report's text (Wei et al. 2024, arXiv 2409.16563, draw 3 of 11). The nearest examples are curated reports of the split
`train` by BM25 (Robertson & Zaragoza 2009, doi:10.1561/1500000019): never the report itself, its near-duplicates or
another report of its patient. Their text leaves with the request, so each example carries its corpus's egress policy.
"""

import hashlib
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import duckdb
import yaml
from pydantic import Field, ValidationError

from teachback.agents.forms import DiseaseEntry, StatusEntry, StrictEntry
from teachback.errors import InputError, SettingError
from teachback.prompts import Prompt
from teachback.store.corpora.imported import EGRESS_POLICIES
from teachback.store.identity import content_id
from teachback.store.label import FINDINGS, Task
from teachback.store.report import Report, Scope

__all__ = ["Example", "ExampleSource", "PoolExamples", "example_source", "read_pool", "strictest"]

UNMENTIONED = StatusEntry(status="unmentioned", evidence="")


@dataclass(frozen=True)
class Example:
    """A report and its right answer.

    Attributes:
        text: The report's text, as a labeler would be shown it.
        findings: Status and evidence of every finding.
        diseases: Its diseases; None where nobody curated any.
        egress: Where the text may be sent.
    """

    text: str
    findings: Mapping[str, StatusEntry]
    diseases: tuple[DiseaseEntry, ...] | None = ()
    egress: str = "any"

    def answer(self, tasks: Sequence[Task]) -> str:
        """Return the answer that a labeler of these tasks should give, as JSON of the schema `labels`."""
        said: dict[str, Any] = {}
        if "findings" in tasks:
            said["findings"] = {finding: self.findings[finding].model_dump() for finding in FINDINGS}
        if "diseases" in tasks and self.diseases is not None:
            said["diseases"] = [disease.model_dump() for disease in self.diseases]
        return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


class ExampleSource(Protocol):
    """Where a labeler's examples come from."""

    @property
    def version(self) -> str:
        """Content hash of all that its choice follows from."""

    def pick(self, report: Report) -> list[Example]:
        """Return the examples to show with a report; the same ones each time."""


class PoolExamples:
    """Draws examples from a pool: the same ones for the same text.

    Args:
        examples: The pool.
        count: How many are shown.
        seed: What the draw follows from, with the report's text.
        scope: The sections that the labeler reads.
    """

    def __init__(self, examples: Sequence[Example], count: int, seed: int = 0, scope: Scope = "full") -> None:
        self.examples = tuple(examples)
        self.count, self.seed, self.scope = count, seed, scope

    @property
    def version(self) -> str:
        """Content hash of the pool and the draw."""
        return content_id(
            "exs", [[e.text, e.answer(("findings", "diseases"))] for e in self.examples], self.count, self.seed
        )

    def pick(self, report: Report) -> list[Example]:
        """Return the examples drawn for a report; one whose text is the report's own is not drawn."""
        text = report.text(self.scope)
        digest = hashlib.blake2b(f"{self.seed} {text}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        others = [example for example in self.examples if example.text.strip() != text]
        return random.Random(int.from_bytes(digest, "big")).sample(others, min(self.count, len(others)))


class _PoolEntry(StrictEntry):
    report: str = Field(min_length=1)
    findings: dict[str, StatusEntry] = Field(default_factory=dict)
    diseases: tuple[DiseaseEntry, ...] = ()


def example_source(prompt: Prompt, connection: duckdb.DuckDBPyConnection | None, scope: Scope) -> ExampleSource | None:
    """Return where a prompt's examples come from; None for a prompt that shows none.

    Args:
        prompt: The prompt.
        connection: The store or a snapshot, for a prompt that shows curated reports.
        scope: The sections that the labeler reads.

    Raises:
        SettingError: It shows curated reports, and there is no store, or none in it.
        InputError: Its pool cannot be read.
    """
    settings = prompt.examples
    if settings is None:
        return None
    if settings.source == "pool":
        where = f"{settings.file} of prompt {prompt.role}/{prompt.name}"
        return PoolExamples(read_pool(prompt.pool, where), settings.count, settings.seed, scope)
    if connection is None:
        raise SettingError(
            f"prompt {prompt.role}/{prompt.name} shows curated reports, and there is no store to take them from",
            "label a store with it, or choose a prompt whose examples come from a pool: few-shot",
        )
    from teachback.agents.nearest import NearestExamples

    return NearestExamples(connection, settings.count, scope)


@lru_cache(maxsize=16)
def read_pool(text: str, where: str = "the pool") -> tuple[Example, ...]:
    """Read a pool of examples: a YAML list of `report`, `findings` (those that are mentioned) and `diseases`.

    Args:
        text: The file's text.
        where: How to name it in errors.

    Raises:
        InputError: It is no such list; names the entry.
    """
    try:
        source = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{where} is not YAML: {error}", "mend the line that is named") from None
    if not isinstance(source, list) or not source:
        raise InputError(f"{where} holds no examples", "write a list of `- report: ...` with `findings` and `diseases`")
    return tuple(_example(entry, f"{where}, example {number}") for number, entry in enumerate(source, start=1))


def strictest(policies: Iterable[str]) -> str:
    """Return the policy that allows the least: `local-only`, then `zero-retention`, then `any`."""
    order: dict[str, int] = {policy: rank for rank, policy in enumerate(EGRESS_POLICIES)}
    return max(policies, key=lambda policy: order.get(policy, len(order)))


def _example(entry: Any, where: str) -> Example:
    try:
        read = _PoolEntry.model_validate(entry)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}", "change this entry") from None
    unknown = [name for name in read.findings if name not in FINDINGS]
    if unknown:
        raise InputError(f"{where}: {', '.join(unknown)} is no finding", f"use {', '.join(FINDINGS)}")
    findings = {name: read.findings.get(name, UNMENTIONED) for name in FINDINGS}
    return Example(read.report.strip(), findings, read.diseases)
