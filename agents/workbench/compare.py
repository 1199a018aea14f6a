"""Two prompts on the same curated reports: asked where the answer is not stored, then compared label by label."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from teachback.agents.call_cache import StoreCallCache
from teachback.agents.client import LLMClient
from teachback.agents.llm_labeler import LLMLabeler
from teachback.agents.stand_in import MODEL as STAND_IN
from teachback.agents.workbench.ask import SampleLabels, label_sample
from teachback.agents.workbench.desk import Desk, Model, labeler_for, load_asking_prompt, open_desk, priced_client
from teachback.agents.workbench.flipped import FlippedReport, find_flipped
from teachback.agents.workbench.looks import COMMAND, FINAL_COMMAND, Looks, look_row, read_looks
from teachback.agents.workbench.sample import Sample, check_split, draw_sample
from teachback.agents.workbench.side import Side, make_side
from teachback.agents.workbench.words import verdict
from teachback.errors import SettingError, TeacherError
from teachback.prompts import Prompt
from teachback.store.label import FINDINGS, STATUSES, Label
from teachback.store.quality.flips import FlipReport, compare_statuses
from teachback.store.quality.statuses import NO_LABEL, StatusMatrix
from teachback.store.report import Scope
from teachback.store.rows import labeler_row
from teachback.store.runs import Run, recorded_run

__all__ = ["CompareSettings", "Comparison", "compare_prompts"]


@dataclass(frozen=True)
class CompareSettings:
    """What is compared, and on what.

    Attributes:
        a: The prompt to beat: a name or a path.
        b: The other one.
        model: Who answers.
        sample: How many reports.
        split: Which split; `calibration` when not given.
        final: Whether to open `test`.
        corpus: Only reports of this corpus.
        scope: What the prompts are shown.
        seed: Decides which reports, and the resamples.
        max_usd: What may be spent.
    """

    a: str
    b: str
    model: Model
    sample: int = 300
    split: str | None = None
    final: bool = False
    corpus: str | None = None
    scope: Scope = "full"
    seed: int = 0
    max_usd: float | None = None


@dataclass(frozen=True)
class Comparison:
    """What came of it.

    Attributes:
        a: The one prompt.
        b: The other.
        sample: The reports that were drawn.
        paired: Reports that both labelled: all that is compared.
        left_out: Reports that one of them failed on.
        flips: What flips, and what that did.
        flipped: The reports on which they differ.
        looks: How often the split has been looked at.
        settings: What was asked for.
        run_id: The run.
    """

    a: Side
    b: Side
    sample: Sample
    paired: int
    left_out: tuple[str, ...]
    flips: FlipReport
    flipped: tuple[FlippedReport, ...]
    looks: Looks
    settings: CompareSettings
    run_id: str

    @property
    def stood_in(self) -> bool:
        """Whether the stand-in answered, which is no language model."""
        return self.a.labeler.model == STAND_IN

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values."""
        return {
            "a": self.a.as_dict(),
            "b": self.b.as_dict(),
            "model": self.a.labeler.model,
            "stand_in": self.stood_in,
            "split": self.sample.split,
            "final": self.settings.final,
            "scope": self.settings.scope,
            "corpus": self.settings.corpus,
            "seed": self.settings.seed,
            "asked": self.sample.asked,
            "available": self.sample.available,
            "sampled": len(self.sample.reports),
            "paired": self.paired,
            "left_out": list(self.left_out),
            "calls_sent": self.a.costs.sent + self.b.costs.sent,
            "verdict": verdict(self),
            "compared": self.flips.as_dict(),
            "flipped": [report.as_dict() for report in self.flipped],
            "looks": self.looks.as_dict(),
            "run_id": self.run_id,
        }


def compare_prompts(
    store: Path, settings: CompareSettings, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Comparison:
    """Compare two prompts on curated reports of a store; labels, calls and the look itself are kept in it.

    Args:
        store: The DuckDB file.
        settings: What is compared, and on what.
        on_progress: Told how many of how many answers are there.

    Raises:
        SettingError: The prompts are one, or the split is kept for something else.
        StoreError: There is no such store, or no curated report.
        TeacherError: Nothing can be asked, or the budget is spent; what was answered is in the store.
        EgressError: A corpus's policy forbids asking there.
    """
    split = check_split(settings.split, settings.final)
    prompts = load_asking_prompt(settings.a), load_asking_prompt(settings.b)
    if prompts[0].prompt_id == prompts[1].prompt_id:
        raise SettingError(f"{settings.a} and {settings.b} are the same prompt", "change one, or name another")
    with open_desk(store, settings.model) as desk:
        sample = draw_sample(
            desk.connection, split, settings.sample, scope=settings.scope, seed=settings.seed, corpus=settings.corpus
        )
        return asyncio.run(_Comparing(desk, settings, prompts, sample, on_progress).run())


class _Comparing:
    """One comparison: what its steps share."""

    def __init__(
        self,
        desk: Desk,
        settings: CompareSettings,
        prompts: tuple[Prompt, Prompt],
        sample: Sample,
        on_progress: Callable[[int, int], None],
    ) -> None:
        self._desk, self._settings, self._prompts, self._sample = desk, settings, prompts, sample
        self._egress: Mapping[str, str] = dict(desk.connection.execute("SELECT corpus, egress FROM corpora").fetchall())
        self._on_progress = on_progress
        self._done = 0

    async def run(self) -> Comparison:
        desk, sample, settings = self._desk, self._sample, self._settings
        looks = read_looks(desk.connection, sample.split, [prompt.prompt_id for prompt in self._prompts])
        cache = StoreCallCache(desk.writer, desk.connection)
        async with priced_client(desk.endpoint, cache, settings.max_usd) as client:
            labelers = [labeler_for(client, prompt, settings.scope, desk.connection) for prompt in self._prompts]
            self._keep_members(labelers)
            command = FINAL_COMMAND if settings.final else COMMAND
            with recorded_run(desk.writer, command, self._recorded(client), settings.seed) as run:
                cache.run_id = run.run_id
                await cache.load([report.report_id for report in sample.reports])
                said = await self._ask(labelers, run)
                if client.stopped:
                    raise client.stopped
                comparison = self._compare(labelers, said, looks, run)
                desk.writer.write(look_row(looks, comparison.paired, run.run_id))
                run.summary.update(verdict=verdict(comparison), bill=asdict(cache.bill))
        return comparison

    def _keep_members(self, labelers: list[LLMLabeler]) -> None:
        rows = [{"prompt_id": p.prompt_id, "role": p.role, "name": p.name, "text": p.full_text} for p in self._prompts]
        self._desk.writer.write({"prompts": rows, "labelers": [labeler_row(labeler.spec) for labeler in labelers]})

    def _recorded(self, client: LLMClient) -> dict[str, Any]:
        settings = self._settings
        return {
            "a": self._prompts[0].prompt_id,
            "b": self._prompts[1].prompt_id,
            "split": self._sample.split,
            "sample": settings.sample,
            "corpus": settings.corpus,
            "scope": settings.scope,
            "max_usd": settings.max_usd,
            "model": client.settings.model,
            "base_url": client.settings.base_url,
        }

    async def _ask(self, labelers: list[LLMLabeler], run: Run) -> list[SampleLabels]:
        asking = [
            label_sample(self._desk.writer, labeler, self._sample.reports, self._egress, run.run_id, self._tick)
            for labeler in labelers
        ]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(each) for each in asking]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    def _tick(self) -> None:
        self._done += 1
        self._on_progress(self._done, 2 * len(self._sample.reports))

    def _compare(self, labelers: list[LLMLabeler], said: list[SampleLabels], looks: Looks, run: Run) -> Comparison:
        a, b = said
        truth = self._sample.truth
        both = np.array([r in a.labels and r in b.labels for r in truth.report_ids], dtype=bool)
        paired = truth.take(both)
        if not len(paired):
            raise TeacherError(
                f"no report was labelled with both prompts: {(*a.failures, *b.failures)[0].reason}",
                "mend the prompt that fails: `teachback prompts lint`, `teachback prompts try`",
            )
        codes = [_codes(paired, each.labels) for each in said]
        kept = set(paired.report_ids)
        reports = [report for report in self._sample.reports if report.report_id in kept]
        sides = [
            make_side(self._desk.connection, letter, labeler.prompt, labeler.spec, each, run.run_id)
            for letter, labeler, each in zip("AB", labelers, said, strict=True)
        ]
        return Comparison(
            a=sides[0],
            b=sides[1],
            sample=self._sample,
            paired=len(paired),
            left_out=tuple(r for r in truth.report_ids if r not in kept),
            flips=compare_statuses(paired.codes, codes[0], codes[1], paired.clusters, seed=self._settings.seed),
            flipped=find_flipped(paired, reports, a.labels, b.labels, scope=self._settings.scope, egress=self._egress),
            looks=looks,
            settings=replace(self._settings, split=self._sample.split),
            run_id=run.run_id,
        )


def _codes(matrix: StatusMatrix, labels: Mapping[str, list[Label]]) -> npt.NDArray[np.int8]:
    codes = np.full(matrix.codes.shape, NO_LABEL, dtype=np.int8)
    for row, report_id in enumerate(matrix.report_ids):
        for label in labels[report_id]:
            if label.task == "findings":
                codes[row, FINDINGS.index(label.target)] = STATUSES.index(label.status)
    return codes
