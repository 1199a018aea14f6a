"""A store in which three labelers vote: rules that read the impression alone, and two models that read everything."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import duckdb
import pytest

from teachback.agents.aggregate.consolidate import Aggregate, aggregator_spec
from teachback.store.label import Evidence, Label, Labeler, Status
from teachback.store.report import Report, Scope
from teachback.store.rows import label_row, labeler_row, report_row
from teachback.store.writer import Writer

RULE = Labeler("rule", "rule", "1")
ONE = Labeler("llm", "llm:one", "1", model="one")
TWO = Labeler("llm", "llm:two", "1", model="two")
CURATOR = Labeler("human", "curator", "1")
MEMBERS = (RULE, ONE, TWO)
TEACHER = "tch_three"
SECTIONS = {"findings": "Left effusion. Heart size normal.", "impression": "Effusion."}


class VotingStore:
    """The store, a connection to read it by, and what tests put into it."""

    teacher_id = TEACHER
    member_ids = tuple(member.labeler_id for member in MEMBERS)
    rule, one, two, curator = RULE, ONE, TWO, CURATOR

    def __init__(self, path: Path) -> None:
        self.writer = Writer(path)
        self.writer.write(
            {
                "labelers": [labeler_row(labeler) for labeler in (*MEMBERS, CURATOR)],
                "teachers": [{"teacher_id": TEACHER}],
                "teacher_members": [
                    {"teacher_id": TEACHER, "labeler_id": member.labeler_id, "seat": "labeler", "place": place}
                    for place, member in enumerate(MEMBERS)
                ],
            }
        )
        self.connection = duckdb.connect(str(path))

    def add(self, *report_ids: str, split: str = "train", sections: dict[str, str] | None = None) -> None:
        """Add reports that the teacher is done with."""
        reports = [Report(report_id, "c", sections or SECTIONS) for report_id in report_ids]
        done = [{"report_id": report_id, "teacher_id": TEACHER, "run_id": "run"} for report_id in report_ids]
        splits = [
            {"report_id": report_id, "split": split, "group_id": report_id, "seed": 0} for report_id in report_ids
        ]
        self.writer.write({"reports": list(map(report_row, reports)), "splits": splits, "committed": done})

    def vote(self, labeler: Labeler, report_id: str, target: str, status: Status, scope: Scope = "full") -> str:
        """Add a label; its quote names its labeler."""
        evidence = (Evidence("findings", 0, 4, labeler.name),)
        label = Label(report_id, "findings", target, status, labeler.labeler_id, scope, evidence=evidence)
        self.writer.write({"labels": [label_row(label)]})
        return label.label_id

    def votes(self, report_id: str, target: str, statuses: Sequence[Status | None]) -> None:
        """Add a vote of each member."""
        for member, status in zip(MEMBERS, statuses, strict=True):
            if status:
                self.vote(member, report_id, target, status)

    def seat_aggregator(self, method: Aggregate, **settings: bool) -> Labeler:
        """Give the teacher an aggregator."""
        aggregator = aggregator_spec(method, self.member_ids, **settings)
        seat = {"teacher_id": TEACHER, "labeler_id": aggregator.labeler_id, "seat": "aggregator", "place": 3}
        self.writer.write({"labelers": [labeler_row(aggregator)], "teacher_members": [seat]})
        return aggregator

    def close(self) -> None:
        self.connection.close()
        self.writer.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VotingStore]:
    opened = VotingStore(tmp_path / "labels.duckdb")
    yield opened
    opened.close()


@pytest.fixture
def taught(store: VotingStore) -> Callable[[], dict[tuple[str, str], tuple[str, str]]]:
    """What the teacher says, by report and target: the status, and who decided."""

    def read() -> dict[tuple[str, str], tuple[str, str]]:
        rows = store.connection.execute(
            "SELECT report_id, target, status, decided_by FROM teacher_labels WHERE teacher_id = ?", [TEACHER]
        ).fetchall()
        return {(report_id, target): (status, by) for report_id, target, status, by in rows}

    return read
