import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from teachback.agents.aggregate.consolidate import Consolidated, aggregator_spec, consolidate
from teachback.agents.aggregate.dawid_skene import dawid_skene
from teachback.errors import SettingError
from teachback.store.label import FINDINGS, STATUSES, Labeler

Taught = Callable[[], dict[tuple[str, str], tuple[str, str]]]


def run(store: Any, aggregator: Labeler) -> Consolidated:
    method = "majority" if aggregator.name == "majority" else "dawid-skene"
    return consolidate(store.connection, store.writer, store.teacher_id, aggregator, method, "run_1")


def newest(store: Any, aggregator: Labeler) -> list[dict[str, Any]]:
    found = store.connection.execute(
        "SELECT * EXCLUDE (created_at) FROM labels WHERE labeler_id = ? ORDER BY created_at, report_id",
        [aggregator.labeler_id],
    )
    columns = [column[0] for column in found.description]
    return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]


def test_the_majority_becomes_what_the_teacher_says(store: Any, taught: Taught) -> None:
    store.add("r1", "r2")
    store.votes("r1", "Edema", ("present", "present", "absent"))
    store.votes("r2", "Edema", ("present", "absent", "uncertain"))
    assert taught() == {("r1", "Edema"): ("absent", "llm"), ("r2", "Edema"): ("uncertain", "llm")}
    aggregator = store.seat_aggregator("majority")
    done = run(store, aggregator)
    assert taught() == {("r1", "Edema"): ("present", "aggregated"), ("r2", "Edema"): ("uncertain", "aggregated")}
    assert (done.items, done.disputed, done.changed, done.written) == (2, 2, 0, 2)
    assert not done.weighted
    # The rules and the first model are followed once in two votes, the second model once too; nothing is curated.
    assert [(member.votes, member.agreement, member.accuracy) for member in done.members] == [(2, 0.5, None)] * 3


def test_a_label_tells_how_it_came_about(store: Any) -> None:
    store.add("r1")
    store.vote(store.rule, "r1", "Edema", "present", "impression")
    store.vote(store.one, "r1", "Edema", "present", "mimic")
    store.vote(store.two, "r1", "Edema", "absent", "full")
    aggregator = store.seat_aggregator("majority")
    run(store, aggregator)
    (label,) = newest(store, aggregator)
    assert label["status"] == "present"
    assert label["confidence"] == pytest.approx(2 / 3, abs=1e-6)
    assert label["confidence_source"] == "vote"
    assert label["confidence_note"] == "3 of 3 labelers voted, 2 for it"
    assert label["probs"] == {"present": 0.666667, "absent": 0.333333, "uncertain": 0.0, "unmentioned": 0.0}
    # Of labelers of equal weight the later one speaks for the status.
    assert [span["quote"] for span in label["evidence"]] == ["llm:one"]
    assert (label["scope"], label["run_id"]) == ("mimic", "run_1")


def test_silence_is_no_vote(store: Any) -> None:
    store.add("r1")
    store.vote(store.rule, "r1", "Edema", "unmentioned", "impression")
    store.vote(store.one, "r1", "Edema", "present", "full")
    aggregator = store.seat_aggregator("majority")
    assert run(store, aggregator).silent == 1
    (label,) = newest(store, aggregator)
    assert (label["status"], label["confidence"]) == ("present", 1.0)
    assert label["confidence_note"] == "1 of 3 labelers voted, 1 for it"


def test_only_what_changed_is_written_again(store: Any, taught: Taught) -> None:
    store.add("r1", "r2")
    store.votes("r1", "Edema", ("present", "present", "absent"))
    store.votes("r2", "Edema", ("absent", "absent", "absent"))
    aggregator = store.seat_aggregator("majority")
    assert run(store, aggregator).written == 2
    assert run(store, aggregator).written == 0
    store.vote(store.one, "r1", "Edema", "absent")
    assert run(store, aggregator).written == 1
    assert taught()["r1", "Edema"] == ("absent", "aggregated")
    # Back to what it was: the first label has the same content, and yet a new one must supersede the second.
    store.vote(store.one, "r1", "Edema", "uncertain")
    store.vote(store.two, "r1", "Edema", "present")
    assert run(store, aggregator).written == 1
    assert taught()["r1", "Edema"] == ("present", "aggregated")
    assert len(newest(store, aggregator)) == 4


def test_a_confidence_that_hardly_moves_is_no_news(store: Any) -> None:
    store.add("r1")
    store.votes("r1", "Edema", ("present", "present", "absent"))
    aggregator = store.seat_aggregator("majority")
    run(store, aggregator)
    (label,) = newest(store, aggregator)
    # A later label of its own that differs in the fourth decimal, and then one that differs in the third.
    for number, (confidence, written) in enumerate(((0.6672, 0), (0.6612, 1))):
        copy = {key: label[key] for key in ("report_id", "task", "target", "status", "scope", "labeler_id")}
        store.writer.write({"labels": [{**copy, "label_id": f"lab_{number}", "confidence": confidence}]})
        assert run(store, aggregator).written == written


def curate(store: Any, split: str) -> None:
    """Twelve curated reports on which the first model is right, and the others are wrong."""
    reports = [f"{split}{number}" for number in range(12)]
    store.add(*reports, split=split)
    for report_id in reports:
        store.vote(store.curator, report_id, "Edema", "present")
        store.votes(report_id, "Edema", ("absent", "present", "uncertain"))


@pytest.mark.parametrize(("split", "expected"), [("calibration", "present"), ("gate", "absent"), ("test", "absent")])
def test_votes_weigh_what_curated_labels_of_the_calibration_split_say(
    store: Any, taught: Taught, split: str, expected: str
) -> None:
    curate(store, split)
    store.add("r1")
    store.votes("r1", "Edema", ("absent", "present", "absent"))
    done = run(store, store.seat_aggregator("majority"))
    assert done.weighted == (split == "calibration")
    assert taught()["r1", "Edema"] == (expected, "aggregated")
    if done.weighted:
        assert done.changed == 13  # on the curated reports the last labeler's vote would break the tie
        # The first model is right on 12 of 12, the others on none.
        assert [member.accuracy for member in done.members] == pytest.approx([1 / 14, 13 / 14, 1 / 14])


def test_weights_can_be_left_out(store: Any, taught: Taught) -> None:
    curate(store, "calibration")
    store.add("r1")
    store.votes("r1", "Edema", ("absent", "present", "absent"))
    assert not run(store, store.seat_aggregator("majority", weighted=False)).weighted
    assert taught()["r1", "Edema"] == ("absent", "aggregated")


def test_the_heaviest_vote_gives_the_evidence(store: Any) -> None:
    reports = [f"r{number}" for number in range(8)]
    store.add(*reports, split="calibration")
    for report_id in reports:
        store.vote(store.curator, report_id, "Edema", "present")
        store.votes(report_id, "Edema", ("present", "present", "absent"))
    store.vote(store.one, "r0", "Edema", "absent")
    aggregator = store.seat_aggregator("majority")
    run(store, aggregator)
    quotes = [label["evidence"][0]["quote"] for label in newest(store, aggregator)]
    assert set(quotes[1:]) == {"rule"}


def simulate(store: Any, n: int) -> np.ndarray:
    """Votes on n reports, most of them right; returns the codes, `(n, 3)`."""
    rng = np.random.default_rng(0)
    truth = rng.choice(4, p=[0.3, 0.3, 0.1, 0.3], size=(n, 1))
    codes: np.ndarray = np.where(rng.random((n, 3)) < [0.7, 0.9, 0.9], truth, rng.integers(0, 4, (n, 3)))
    reports = [f"r{number:03}" for number in range(n)]
    store.add(*reports)
    rows = [
        {
            "label_id": f"lab_{i}_{v}",
            "report_id": reports[i],
            "task": "findings",
            "target": "Edema",
            "status": STATUSES[codes[i, v]],
            "scope": "full",
            "labeler_id": store.member_ids[v],
        }
        for i in range(n)
        for v in range(3)
    ]
    store.writer.write({"labels": rows})
    return codes.astype(np.int8)


def test_dawid_skene_from_store_to_view(store: Any, taught: Taught) -> None:
    codes = simulate(store, 300)
    aggregator = store.seat_aggregator("dawid-skene")
    done = run(store, aggregator)
    # The twelve findings that nobody voted on change nothing: one group fitted alone.
    groups = np.full(300, FINDINGS.index("Edema"))
    fit = dawid_skene(codes, groups=groups)
    says = taught()
    assert [says[f"r{i:03}", "Edema"] for i in range(300)] == [
        (STATUSES[code], "aggregated") for code in fit.posteriors.argmax(axis=1)
    ]
    labels = {label["report_id"]: label for label in newest(store, aggregator)}
    stored = [[labels[f"r{i:03}"]["probs"][status] for status in STATUSES] for i in range(300)]
    np.testing.assert_allclose(stored, fit.posteriors, atol=1e-6)
    assert done.converged
    assert done.changed > 0
    assert [member.accuracy for member in done.members] == pytest.approx(fit.accuracies.tolist())
    assert run(store, aggregator).written == 0


def test_curated_statuses_can_be_held_fast(store: Any, taught: Taught) -> None:
    simulate(store, 40)
    store.add("c1", "c2", split="calibration")
    for report_id in ("c1", "c2"):
        store.votes(report_id, "Edema", ("absent", "absent", "absent"))
    store.vote(store.curator, "c1", "Edema", "present")
    store.vote(store.curator, "c2", "Edema", "absent")
    store.vote(store.curator, "c1", "Fracture", "present")  # nobody voted on it
    free = run(store, store.seat_aggregator("dawid-skene"))
    assert (free.known, taught()["c1", "Edema"][0]) == (0, "absent")
    held = aggregator_spec("dawid-skene", store.member_ids, clamped=True)
    assert run(store, held).known == 2
    label = next(label for label in newest(store, held) if label["report_id"] == "c1")
    assert (label["status"], label["confidence"]) == ("present", 1.0)
    # Nobody voted so, and nobody's words are shown for it.
    assert (label["evidence"], label["confidence_note"]) == ([], "3 of 3 labelers voted, 0 for it")


def test_a_teacher_without_reports_writes_nothing(store: Any) -> None:
    for method in ("majority", "dawid-skene"):
        done = run(store, store.seat_aggregator(method))
        assert (done.items, done.written, done.disputed) == (0, 0, 0)


def test_an_aggregator_is_known_by_its_method_and_members(store: Any) -> None:
    members = list(store.member_ids)
    spec = aggregator_spec("dawid-skene", members)
    assert (spec.kind, spec.name) == ("adjudicator", "dawid-skene")
    assert spec == aggregator_spec("dawid-skene", members)
    json.dumps(dict(spec.parameters))
    others = [
        aggregator_spec("majority", members),
        aggregator_spec("dawid-skene", members[::-1]),
        aggregator_spec("dawid-skene", members, clamped=True),
        aggregator_spec("dawid-skene", members, weighted=False),
    ]
    assert len({spec.labeler_id, *(other.labeler_id for other in others)}) == 5


def test_too_few_labelers_and_no_vote_are_refused(store: Any) -> None:
    with pytest.raises(SettingError, match="dawid-skene needs 3 labelers, and there are 2"):
        aggregator_spec("dawid-skene", store.member_ids[:2])
    with pytest.raises(SettingError, match="aggregates nothing"):
        aggregator_spec("adjudicate", store.member_ids)
