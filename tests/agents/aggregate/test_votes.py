from typing import Any

import numpy as np
import pytest

from teachback.agents.aggregate.votes import NO_VOTE, fetch_newest, fetch_votes
from teachback.errors import SettingError
from teachback.store.label import FINDINGS, STATUSES, Status

PRESENT, ABSENT, UNCERTAIN, UNMENTIONED = range(len(STATUSES))


def test_a_row_is_an_item_and_a_column_a_labeler(store: Any) -> None:
    store.add("r1", "r2")
    store.votes("r2", "Edema", ("present", "absent", None))
    store.votes("r1", "Fracture", ("unmentioned", "unmentioned", "uncertain"))
    votes = fetch_votes(store.connection, store.teacher_id)
    assert votes.labeler_ids == store.member_ids
    assert [votes.item(row) for row in range(len(votes))] == [("r1", "Fracture"), ("r2", "Edema")]
    assert votes.codes.tolist() == [[UNMENTIONED, UNMENTIONED, UNCERTAIN], [PRESENT, ABSENT, NO_VOTE]]
    assert votes.codes.dtype == np.int8


def test_only_reports_that_the_teacher_is_done_with_are_read(store: Any) -> None:
    store.add("r1")
    store.votes("r1", "Edema", ("present", "present", "present"))
    store.votes("undone", "Edema", ("present", "present", "present"))
    assert fetch_votes(store.connection, store.teacher_id).report_ids == ("r1",)


def test_the_newest_label_of_a_labeler_counts(store: Any) -> None:
    store.add("r1")
    statuses: tuple[Status, ...] = ("present", "absent", "uncertain")
    for status in statuses:
        store.vote(store.one, "r1", "Edema", status)
    store.vote(store.two, "r1", "Edema", "present")
    assert fetch_votes(store.connection, store.teacher_id).codes.tolist() == [[NO_VOTE, UNCERTAIN, PRESENT]]


def test_of_labels_of_the_same_moment_the_view_and_the_votes_take_the_same(store: Any) -> None:
    store.add("r1")
    labels = [
        {
            "label_id": label_id,
            "report_id": "r1",
            "task": "findings",
            "target": "Edema",
            "status": status,
            "scope": "full",
            "labeler_id": store.two.labeler_id,
        }
        for label_id, status in (("lab_b", "present"), ("lab_a", "absent"), ("lab_c", "uncertain"))
    ]
    store.writer.write({"labels": labels})  # one write, one moment
    seen = store.connection.execute("SELECT status FROM teacher_labels").fetchall()
    assert seen == [("absent",)]
    assert fetch_votes(store.connection, store.teacher_id).codes[0, 2] == ABSENT


def test_unmentioned_from_less_of_the_report_is_silence(store: Any) -> None:
    store.add("r1")
    store.vote(store.rule, "r1", "Edema", "unmentioned", "impression")
    store.vote(store.one, "r1", "Edema", "present", "full")
    store.vote(store.rule, "r1", "Fracture", "absent", "impression")  # it says something: it votes
    store.vote(store.one, "r1", "Fracture", "present", "full")
    store.vote(store.rule, "r1", "Pneumonia", "unmentioned", "impression")  # nobody has read more
    store.vote(store.one, "r1", "Pneumonia", "present", "mimic")
    votes = fetch_votes(store.connection, store.teacher_id)
    codes = {votes.item(row)[1]: votes.codes[row, :2].tolist() for row in range(len(votes))}
    assert codes == {
        "Edema": [NO_VOTE, PRESENT],
        "Fracture": [ABSENT, PRESENT],
        "Pneumonia": [UNMENTIONED, PRESENT],
    }
    assert votes.silent == 1


@pytest.mark.parametrize(
    ("sections", "vote"),
    [
        ({"impression": "Edema.", "findings": " \n"}, UNMENTIONED),
        ({"findings": "Edema.", "impression": "Edema."}, NO_VOTE),
        ({"text": "Edema."}, UNMENTIONED),
        ({"text": "Heart normal.\n\nEdema."}, NO_VOTE),
        ({"text": "Edema.\n\n \n"}, UNMENTIONED),
    ],
)
def test_a_narrow_scope_that_holds_the_whole_report_is_no_excuse(
    store: Any, sections: dict[str, str], vote: int
) -> None:
    store.add("r1", sections=sections)
    store.vote(store.rule, "r1", "Edema", "unmentioned", "mimic")
    store.vote(store.one, "r1", "Edema", "present", "full")
    assert fetch_votes(store.connection, store.teacher_id).codes[0].tolist() == [vote, PRESENT, NO_VOTE]


def test_diseases_are_not_voted_on(store: Any) -> None:
    store.add("r1")
    store.vote(store.one, "r1", "Edema", "present")
    disease = {"report_id": "r1", "task": "diseases", "target": "Edema", "status": "present", "scope": "full"}
    store.writer.write({"labels": [{"label_id": "lab_d", "labeler_id": store.two.labeler_id, **disease}]})
    assert fetch_votes(store.connection, store.teacher_id).codes.tolist() == [[NO_VOTE, PRESENT, NO_VOTE]]


def test_a_teacher_without_reports_has_an_empty_table(store: Any) -> None:
    votes = fetch_votes(store.connection, store.teacher_id)
    assert len(votes) == 0
    assert votes.codes.shape == (0, 3)


def test_an_unknown_teacher_is_an_error(store: Any) -> None:
    with pytest.raises(SettingError, match="knows no teacher tch_other"):
        fetch_votes(store.connection, "tch_other")


def test_newest_labels_keep_their_place_in_the_store(store: Any) -> None:
    store.add("r1")
    label_id = store.vote(store.two, "r1", "Support Devices", "present", "mimic")
    newest = fetch_newest(store.connection, [store.one.labeler_id, store.two.labeler_id], ["r1"])
    assert newest.findings.tolist() == [FINDINGS.index("Support Devices")]
    assert newest.label_rows[0, 0] == -1
    assert np.isnan(newest.confidences).all()
    found = store.connection.execute(
        "SELECT label_id FROM labels WHERE rowid = ?", [int(newest.label_rows[0, 1])]
    ).fetchone()
    assert found == (label_id,)
