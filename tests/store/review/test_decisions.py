from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from teachback.errors import SettingError
from teachback.store.database import Store, open_snapshot
from teachback.store.inbox import inbox_path
from teachback.store.label import Label, Labeler, Status
from teachback.store.report import Report
from teachback.store.review.decisions import Decision, decision_rows, deliver, record, reviewer_labeler
from teachback.store.rows import label_row, labeler_row, report_row

START = datetime(2026, 1, 1, tzinfo=UTC)
IMPORTER = Labeler("human", "radiologist", "import-1")
ANN, BOB = "Ann", "Bob"


@pytest.fixture
def store(tmp_path: Path) -> Iterable[Store]:
    """One report, and nobody has said anything of it."""
    with Store(tmp_path / "labels.duckdb") as opened:
        opened.write({"reports": [report_row(Report("r", "c", {"text": "Edema."}))]})
        yield opened


def said(status: Status, minute: int, reviewer: str = ANN, target: str = "Edema", **more: Any) -> Decision:
    """Return a decision on the report's finding, so many minutes after the start."""
    moment = START + timedelta(minutes=minute)
    return Decision("r", reviewer, "set", "findings", target, status, decided_at=moment, **more)


def undone(decision: Decision, minute: int, reviewer: str = ANN) -> Decision:
    moment = START + timedelta(minutes=minute)
    return Decision("r", reviewer, "undo", undoes=decision.review_id, decided_at=moment)


def imported(status: Status, minute: int) -> dict[str, list[dict[str, Any]]]:
    label = Label("r", "findings", "Edema", status, IMPORTER.labeler_id, "full")
    row = label_row(label) | {"created_at": START + timedelta(minutes=minute)}
    return {"labelers": [labeler_row(IMPORTER)], "labels": [row]}


def curated(store: Store) -> str | None:
    """Return the curated status of the finding; None where there is none."""
    rows = store.connection.execute("SELECT status FROM curated_labels WHERE target = 'Edema'").fetchall()
    assert len(rows) <= 1
    return rows[0][0] if rows else None


def by_person(store: Store) -> dict[str, str]:
    return dict(store.connection.execute("SELECT reviewer, status FROM human_labels WHERE target = 'Edema'").fetchall())


def decide(store: Store, *decisions: Decision) -> str | None:
    store.write(decision_rows(decisions))
    return curated(store)


# What is curated.


def test_a_status_that_is_set_is_a_curated_label_of_the_reviewer(store: Store) -> None:
    decision = said("present", 0, note="clear", why="cannot_tell", blind=True, seconds=4.5, plan_id="aud_1")
    assert decide(store, decision) == "present"
    labels = store.connection.execute(
        "SELECT b.kind, b.name, l.scope, l.confidence, confidence_note FROM labels l JOIN labelers b USING (labeler_id)"
    ).fetchall()
    assert labels == [("human", ANN, "full", None, "decided by a person")]
    step = store.connection.execute(
        'SELECT r."action", r.status, r.reviewer, r.note, r.why, r.blind, r.seconds, r.plan_id, l.status, '
        "epoch(r.decided_at) FROM reviews r JOIN labels l USING (label_id)"
    ).fetchone()
    wanted = ("set", "present", ANN, "clear", "cannot_tell", True, 4.5, "aud_1", "present", START.timestamp())
    assert step == wanted


def test_who_changes_their_mind_back_and_forth_ends_with_the_last_word(store: Store) -> None:
    statuses: list[Status] = ["present", "absent", "present", "uncertain", "present"]
    for minute, status in enumerate(statuses):
        assert decide(store, said(status, minute)) == status
    # Five steps, but three labels: the same verdict of the same person has one id.
    counts = store.connection.execute("SELECT (SELECT count(*) FROM reviews), count(*) FROM labels").fetchone()
    assert counts == (5, 3)


def test_the_order_of_arrival_does_not_matter_but_that_of_decision(store: Store) -> None:
    decide(store, said("absent", 5))
    assert decide(store, said("present", 3)) == "absent"


def test_undo_brings_back_what_was_there_before(store: Store) -> None:
    first, second = said("present", 0), said("absent", 1)
    decide(store, first, second)
    assert decide(store, undone(second, 2)) == "present"
    assert decide(store, undone(first, 3)) is None
    assert decide(store, said("absent", 4)) == "absent"  # the undone label's id, by a step of its own


def test_undo_of_the_first_of_two_equal_steps_leaves_the_second(store: Store) -> None:
    first, between, again = said("present", 0), said("absent", 1), said("present", 2)
    decide(store, first, between, again)
    assert decide(store, undone(first, 3)) == "present"
    assert decide(store, undone(again, 4)) == "absent"


def test_undo_twice_is_undo_once(store: Store) -> None:
    first, second = said("present", 0), said("absent", 1)
    decide(store, first, second)
    assert decide(store, undone(second, 2), undone(second, 3)) == "present"


def test_of_two_reviewers_the_latest_is_curated_and_both_are_kept(store: Store) -> None:
    first, second = said("present", 0), said("absent", 1, BOB)
    assert decide(store, first, second) == "absent"
    assert by_person(store) == {ANN: "present", BOB: "absent"}
    assert decide(store, undone(second, 2, BOB)) == "present"
    assert by_person(store) == {ANN: "present"}


def test_undo_of_one_reviewer_does_not_touch_the_other_who_said_the_same(store: Store) -> None:
    first, second = said("present", 0), said("present", 1, BOB)
    decide(store, first, second)
    assert decide(store, undone(first, 2)) == "present"
    assert by_person(store) == {BOB: "present"}


def test_imported_labels_stand_beside_reviews(store: Store) -> None:
    store.write(imported("absent", 0))
    assert curated(store) == "absent"
    review = said("present", 1)
    assert decide(store, review) == "present"
    assert by_person(store) == {"radiologist": "absent", ANN: "present"}
    store.write(imported("uncertain", 2))
    assert curated(store) == "uncertain"  # a later import is later
    assert decide(store, undone(review, 3)) == "uncertain"


def test_an_import_is_not_undone_with_a_review_of_the_same_name(store: Store) -> None:
    store.write(imported("absent", 0))
    review = said("absent", 1, "radiologist")
    decide(store, review)
    assert decide(store, undone(review, 2)) == "absent"


def test_targets_do_not_mix(store: Store) -> None:
    decide(store, said("present", 0), said("absent", 1, target="Fracture"))
    rows = store.connection.execute("SELECT target, status FROM curated_labels ORDER BY ALL").fetchall()
    assert rows == [("Edema", "present"), ("Fracture", "absent")]


@pytest.mark.parametrize(
    "step",
    [
        Decision("r", ANN, "skip", "findings", "Edema"),
        Decision("r", ANN, "skip"),
        Decision("r", ANN, "note", "findings", "Edema", note="blurred"),
    ],
)
def test_skip_and_note_decide_nothing(store: Store, step: Decision) -> None:
    assert step.label() is None
    assert decide(store, said("present", 0), step) == "present"
    assert store.connection.execute("SELECT count(*) FROM labels").fetchone() == (1,)
    assert store.connection.execute("SELECT count(*) FROM reviews").fetchone() == (2,)


def test_a_note_on_a_status_that_was_undone_does_not_bring_it_back(store: Store) -> None:
    decision = said("present", 0)
    decide(store, decision, undone(decision, 1))
    assert decide(store, Decision("r", ANN, "note", "findings", "Edema", note="hm")) is None


def test_a_disease_is_decided_with_its_code(store: Store) -> None:
    decision = Decision("r", ANN, "set", "diseases", "pulmonary edema", "present", icd10="J81.0")
    store.write(decision_rows([decision]))
    rows = store.connection.execute("SELECT task, target, icd10, status FROM curated_labels").fetchall()
    assert rows == [("diseases", "pulmonary edema", "J81.0", "present")]


def test_the_same_decision_twice_is_a_no_op(store: Store) -> None:
    rows = decision_rows([said("present", 0)])
    assert store.write(rows) == {"labelers": 1, "labels": 1, "reviews": 1}
    assert store.write(rows) == {"labelers": 0, "labels": 0, "reviews": 0}


def test_what_somebody_decided_leaves_the_review_queue_and_an_undo_puts_it_back(store: Store) -> None:
    verdict = {"adjudication_id": "adj", "report_id": "r", "task": "findings", "target": "Edema", "labeler_id": "lbr"}
    store.write({"adjudications": [verdict | {"weighed": [], "verdict": "cannot_tell"}]})

    def waiting() -> int:
        return len(store.connection.execute("SELECT target FROM review_queue").fetchall())

    decision = said("present", 0)
    assert waiting() == 1
    decide(store, decision)
    assert waiting() == 0
    decide(store, undone(decision, 1))
    assert waiting() == 1


# Who, and what cannot be.


def test_a_reviewer_is_one_labeler_however_the_name_is_padded() -> None:
    assert reviewer_labeler(" Ann ").labeler_id == reviewer_labeler(ANN).labeler_id
    assert reviewer_labeler(ANN).labeler_id != reviewer_labeler(BOB).labeler_id


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "two\nlines", "\x1b[31mred", "\udcff"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match="no reviewer's name"):
        Decision("r", name, "skip")


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"action": "set", "task": "findings", "target": "Edema"}, "no status"),
        ({"action": "set", "task": "findings", "target": "Edema", "status": "maybe"}, "no status"),
        ({"action": "set", "target": "Edema", "status": "present"}, "set for nothing"),
        ({"action": "set", "task": "findings", "status": "present"}, "set for nothing"),
        ({"action": "set", "task": "diseases", "target": "  ", "status": "present"}, "set for nothing"),
        ({"action": "set", "task": "tasks", "target": "Edema", "status": "present"}, "set for nothing"),
        ({"action": "set", "task": "findings", "target": "Oedema", "status": "present"}, "no finding"),
        ({"action": "set", "task": "findings", "target": "No Finding", "status": "present"}, "no finding"),
        ({"action": "undo"}, "names no step"),
        ({"action": "note"}, "empty"),
        ({"action": "note", "note": " \n"}, "empty"),
        ({"action": "delete"}, "no action"),
        ({"action": "note", "note": "half a pair: \ud83d"}, "no text"),
        ({"action": "set", "task": "diseases", "target": "\udcff", "status": "present"}, "no text"),
    ],
)
def test_what_cannot_be_decided_is_refused_with_a_remedy(given: dict[str, Any], what: str) -> None:
    with pytest.raises(SettingError, match=what) as raised:
        Decision("r", ANN, **given)
    assert raised.value.remedy


# On the way.


def test_a_decision_is_kept_at_once_and_delivered_when_the_store_is_free(tmp_path: Path) -> None:
    path = tmp_path / "labels.duckdb"
    with Store(path) as opened:
        opened.write({"reports": [report_row(Report("r", "c", {"text": "Edema."}))]})
    kept = record(path, [said("present", 0), said("absent", 1, BOB, note='"<é>"\n')])
    assert kept.parent == inbox_path(path)
    assert deliver(path)
    connection, _ = open_snapshot(path)
    with connection:
        assert connection.execute("SELECT status FROM curated_labels").fetchall() == [("absent",)]
        noted = connection.execute("SELECT note FROM reviews WHERE reviewer = 'Bob'").fetchone()
    assert noted == ('"<é>"\n',)
    assert list(inbox_path(path).iterdir()) == []
