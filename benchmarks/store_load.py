"""Labels in any number, as labeling writes them: the load that the store's benchmarks put on it.

A few hundred synthetic reports are labelled for real, by the rules and by three seeded variations of the truth; further
reports are these again under other ids. What is written is what `label` writes: a transaction a chunk of 200 reports,
with their labels (13 findings of each labeler, diseases of one) and the marks that they are done.
"""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from teachback.agents.rule_labeler import RuleLabeler
from teachback.store.corpora.synthetic import generate
from teachback.store.corpora.synthetic.curated import CURATOR, curated_labels
from teachback.store.database import Store
from teachback.store.label import STATUSES, Label, Labeler
from teachback.store.rows import label_table, labeler_row, report_row
from teachback.store.writer import Writer

__all__ = ["LABELERS", "TEACHER", "Load", "prepare", "write_all"]

CHUNK = 200  # reports, as `label` writes them
TEMPLATES = 1_000  # reports that are labelled for real
CURATED = 2_000  # reports with curated labels
WRONG = 0.06  # of a variation's labels
TEACHER = "tea_benchmark"
LABELERS = tuple(Labeler("llm", f"llm:variation-{number}", "1", model="simulated") for number in range(2))


Chunk = tuple[pa.Table, list[dict[str, str]]]


class Load:
    """The labels of numbered reports.

    Args:
        labels: How many are wanted, about.
        seed: Decides reports and errors.

    Attributes:
        reports: How many reports that takes.
        labels: How many labels they have.
    """

    def __init__(self, labels: int, seed: int) -> None:
        chosen = random.Random(seed)
        self.rules = RuleLabeler("full")
        self._entries = list(generate(TEMPLATES, seed=seed))
        given: list[Label] = []
        for entry in self._entries:
            truth = curated_labels(entry)
            given += self.rules.label(entry.report)
            for labeler in LABELERS:
                mine = [label for label in truth if label.task == "findings" or labeler is LABELERS[0]]
                given += [_varied(label, labeler, chosen) for label in mine]
        self._template = label_table(given)
        self._starts = self._places()
        self.reports = max(CHUNK, round(labels / (len(given) / TEMPLATES)))
        self.labels = 0

    @property
    def labelers(self) -> tuple[Labeler, ...]:
        """Whose labels they are."""
        return (self.rules.spec, *LABELERS)

    def chunks(self) -> Iterator[Chunk]:
        """Yield the labels of each 200 reports, and the marks that these are done."""
        for first in range(0, self.reports, CHUNK):
            last = min(first + CHUNK, self.reports)
            begin, end = self._starts[first % TEMPLATES], self._starts[(last - 1) % TEMPLATES + 1]
            table = self._template.slice(begin, end - begin)
            # Labeling goes through the reports in the order of their ids, so those of a chunk lie together.
            ids = pc.binary_join_element_wise(f"{first // TEMPLATES:06}-", table.column("report_id"), "")
            # As random as a hash, and of its length: what compresses badly in truth must do so here.
            names = pa.array([f"lab_{random.randbytes(12).hex()}" for _ in range(table.num_rows)])
            table = table.set_column(table.schema.get_field_index("report_id"), "report_id", ids)
            table = table.set_column(table.schema.get_field_index("label_id"), "label_id", names)
            done = [
                {"report_id": name, "teacher_id": TEACHER, "run_id": "run_benchmark"}
                for name in pc.unique(ids).to_pylist()
            ]
            self.labels += table.num_rows
            yield table, done

    def write_reports(self, store: Store) -> None:
        """Write the reports, and curated labels of the first ones."""
        rows = pa.Table.from_pylist([report_row(entry.report) for entry in self._entries])
        for lap in range(-(-self.reports // TEMPLATES)):
            ids = pc.binary_join_element_wise(f"{lap:06}-", rows.column("report_id"), "")
            numbered = rows.set_column(0, "report_id", ids).slice(0, self.reports - lap * TEMPLATES)
            store.write({"reports": numbered})
            splits = [("train", "calibration", "gate", "test")[place % 4] for place in range(len(numbered))]
            columns = {"report_id": numbered.column("report_id"), "split": splits}
            more = {"group_id": numbered.column("report_id"), "seed": [0] * len(numbered)}
            store.write({"splits": pa.table({**columns, **more})})
        curated = [
            label.changed(report_id=f"{lap:06}-{label.report_id}")
            for lap in range(CURATED // TEMPLATES)
            for entry in self._entries
            for label in curated_labels(entry)
        ]
        store.write({"labelers": [labeler_row(CURATOR)], "labels": label_table(curated)})

    def _places(self) -> list[int]:
        """Return where each report's labels begin, and where the last one's end."""
        ids = self._template.column("report_id").to_pylist()
        return [place for place, name in enumerate(ids) if place == 0 or ids[place - 1] != name] + [len(ids)]


def prepare(path: Path, load: Load) -> None:
    """Make a store that has everything but the labels."""
    with Store(path) as store:
        load.write_reports(store)
        store.write({"labelers": [labeler_row(labeler) for labeler in load.labelers]})
        members = [
            {"teacher_id": TEACHER, "labeler_id": labeler.labeler_id, "seat": "labeler", "place": place}
            for place, labeler in enumerate(load.labelers)
        ]
        store.write({"teachers": [{"teacher_id": TEACHER}], "teacher_members": members})


def write_all(writer: Writer, chunks: Iterable[Chunk], in_flight: int = 8) -> int:
    """Write chunks as labeling does, some on their way while the next is made; return how many labels they have."""
    waiting = []
    labels = 0
    for table, done in chunks:
        labels += table.num_rows
        waiting.append(writer.submit({"labels": table, "committed": done}))
        if len(waiting) > in_flight:
            waiting.pop(0).result()
    for submitted in waiting:
        submitted.result()
    return labels


def _varied(label: Label, labeler: Labeler, chosen: random.Random) -> Label:
    wrong = chosen.random() < WRONG
    status = chosen.choice(STATUSES) if wrong and label.task == "findings" else label.status
    sure = round(chosen.betavariate(2, 2) if wrong else chosen.betavariate(12, 1.2), 6)
    rest = [chosen.random() + 1e-9 for _ in range(3)]
    others = [share * (1 - sure) / sum(rest) for share in rest]
    left = iter(others)
    probs = {name: sure if name == status else next(left) for name in STATUSES}
    return label.changed(
        labeler_id=labeler.labeler_id,
        status=status,
        confidence=sure if label.task == "findings" else None,
        confidence_source="logprob" if label.task == "findings" else None,
        confidence_note="" if label.task == "findings" else "open-ended",
        probs=probs if label.task == "findings" else None,
    )
