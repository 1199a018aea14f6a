"""Labels in any number, as labeling writes them: the load that the store's benchmarks put on it.

A thousand synthetic reports are labelled once (`store_templates.py`); further reports are these again under other ids.
What is written is what `label` writes: for each chunk of 200 reports the labels (13 findings of each labeler, diseases
of one, verdicts), the calls with their raw answers, the adjudications, and the marks that the reports are done.
What a store has besides is in `store_life.py`.
"""

import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from store_templates import ADJUDICATOR, LABELERS, TEMPLATES, make_templates

from teachback.agents.rule_labeler import RuleLabeler
from teachback.store.corpora.synthetic.curated import CURATOR, curated_labels
from teachback.store.database import Rows, Store
from teachback.store.rows import label_table, labeler_row, report_row
from teachback.store.writer import Writer

__all__ = ["RUN_OF", "START", "TEACHER", "Load", "prepare", "write_all"]

CHUNK = 200  # reports, as `label` writes them
CURATED = 2_000  # reports with curated labels
TEACHER = "tea_benchmark"
START = datetime(2026, 1, 5, tzinfo=UTC)
RUN_OF = 20_000  # reports of one run; there is one a day
LATER = 7.8  # labels a report that `store_life.py` adds: three students, on a fifth of the reports


class Load:
    """The labels of numbered reports.

    Args:
        labels: How many are wanted, about, those that `store_life.py` adds included.
        seed: Decides reports and errors.

    Attributes:
        reports: How many reports that takes.
        labels: How many labels were yielded.
        rules: The rule labeler.
    """

    def __init__(self, labels: int, seed: int) -> None:
        self.rules = RuleLabeler("full")
        self._templates = make_templates(self.rules, seed)
        self.reports = max(CHUNK, round(labels / (len(self._templates.labels) / TEMPLATES + LATER)))
        self.labels = 0

    @property
    def runs(self) -> int:
        """How many runs wrote them."""
        return -(-self.reports // RUN_OF)

    def chunks(self) -> Iterator[Rows]:
        """Yield the rows of each 200 reports."""
        for first in range(0, self.reports, CHUNK):
            rows = self._chunk(first, min(first + CHUNK, self.reports))
            self.labels += len(rows["labels"])
            yield rows

    def _chunk(self, first: int, last: int) -> dict[str, pa.Table]:
        places = first % TEMPLATES, (last - 1) % TEMPLATES + 1
        # Labeling goes through the reports in the order of their ids, so those of a chunk lie together.
        lap = f"{first // TEMPLATES:06}-"
        ids = pa.array([f"{lap}{entry.report.report_id}" for entry in self._templates.entries])
        first_call, calls = self._templates.rows("calls", *places)
        first_label, labels = self._templates.rows("labels", *places)
        _, verdicts = self._templates.rows("verdicts", *places)
        call_ids, label_ids = _names("call", len(calls)), _names("lab", len(labels))
        run = {"run_id": f"run_{first // RUN_OF:04}"}
        when = START + timedelta(days=first // RUN_OF, seconds=2 * first % RUN_OF)
        told = {**run, "created_at": when}

        def filled(table: pa.Table, **columns: Any) -> pa.Table:
            given = {**columns, "report_id": ids.take(table.column("report"))}
            given |= {name: pa.repeat(pa.scalar(value), len(table)) for name, value in told.items()}
            left = [name for name in table.column_names if name not in {"report", "call", "label", "weighed", *given}]
            return pa.table({name: table.column(name) for name in left} | given)

        def of(names: pa.Array, places: Any, begin: int) -> Any:
            return names.take(pc.subtract(places, begin))

        weighed = verdicts.column("weighed").combine_chunks()
        lists = pa.ListArray.from_arrays(
            pc.subtract(weighed.offsets, weighed.offsets[0]), of(label_ids, weighed.flatten(), first_label)
        )
        done = ids.slice(places[0], places[1] - places[0])
        committed = {"teacher_id": [TEACHER] * len(done), "run_id": [run["run_id"]] * len(done)}
        return {
            "llm_calls": filled(calls, llm_call_id=call_ids),
            "labels": filled(labels, label_id=label_ids, llm_call_id=of(call_ids, labels.column("call"), first_call)),
            "adjudications": filled(
                verdicts,
                adjudication_id=_names("adj", len(verdicts)),
                label_id=of(label_ids, verdicts.column("label"), first_label),
                llm_call_id=of(call_ids, verdicts.column("call"), first_call),
                weighed=lists,
            ),
            "committed": pa.table({"report_id": done, **committed, "committed_at": [when] * len(done)}),
        }

    def write_reports(self, store: Store) -> None:
        """Write the reports, and curated labels of some."""
        entries = self._templates.entries
        rows = pa.Table.from_pylist([report_row(entry.report) for entry in entries])
        for lap in range(-(-self.reports // TEMPLATES)):
            ids = pc.binary_join_element_wise(f"{lap:06}-", rows.column("report_id"), "")
            numbered = rows.set_column(0, "report_id", ids).slice(0, self.reports - lap * TEMPLATES)
            splits = [("train", "calibration", "gate", "test")[place % 4] for place in range(len(numbered))]
            columns = {"report_id": numbered.column("report_id"), "split": splits}
            more = {"group_id": numbered.column("report_id"), "seed": [0] * len(numbered)}
            store.write({"reports": numbered, "splits": pa.table({**columns, **more})})
        # A sample over all of them, as a test set is: what is curated lies nowhere together.
        chosen = range(0, self.reports, max(1, self.reports // CURATED))
        curated = [
            label.changed(report_id=f"{place // TEMPLATES:06}-{label.report_id}")
            for place in chosen
            for label in curated_labels(entries[place % TEMPLATES])
        ]
        store.write({"labelers": [labeler_row(CURATOR)], "labels": label_table(curated)})


def prepare(path: Path, load: Load) -> None:
    """Make a store that has everything but what labeling writes."""
    labelers = (load.rules.spec, *LABELERS, ADJUDICATOR)
    with Store(path) as store:
        load.write_reports(store)
        store.write({"labelers": [labeler_row(labeler) for labeler in labelers]})
        members = [
            {
                "teacher_id": TEACHER,
                "labeler_id": labeler.labeler_id,
                "seat": "adjudicator" if labeler is ADJUDICATOR else "labeler",
                "place": place,
            }
            for place, labeler in enumerate(labelers)
        ]
        store.write({"teachers": [{"teacher_id": TEACHER}], "teacher_members": members})


def write_all(writer: Writer, chunks: Iterable[Rows], in_flight: int = 8) -> int:
    """Write chunks as labeling does, some on their way while the next is made; return how many labels they have."""
    waiting = []
    labels = 0
    for rows in chunks:
        labels += len(rows["labels"])
        waiting.append(writer.submit(rows))
        if len(waiting) > in_flight:
            waiting.pop(0).result()
    for submitted in waiting:
        submitted.result()
    return labels


def _names(prefix: str, count: int) -> pa.Array:
    # As random as a hash, and of its length: what compresses badly in truth must do so here.
    digits = random.randbytes(12 * count).hex()
    return pa.array([f"{prefix}_{digits[place : place + 24]}" for place in range(0, 24 * count, 24)])
