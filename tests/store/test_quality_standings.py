"""Labelers beside each other, against the curated labels or one another."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from teachback.errors import StoreError
from teachback.store.database import Store
from teachback.store.label import FINDINGS, Label, Labeler
from teachback.store.quality.standings import Standings, rank_subjects
from teachback.store.quality.subjects import fetch_compared, fetch_subjects, find_subject
from teachback.store.report import Report
from teachback.store.rows import label_row, labeler_row, report_row

HUMAN = Labeler("human", "reader", "1")
RULE = Labeler("rule", "rule", "1")
LLM = Labeler("llm", "llm:stand-in", "1")
JUDGE = Labeler("adjudicator", "judge", "1")
STUDENT = Labeler("student", "student", "1")

# Reports 0 to 3 are in gate, 4 and 5 in test. Effusion is present in the even ones.
EFFUSION = FINDINGS.index("Pleural Effusion")


def statuses(labeler: Labeler, present: Sequence[int], reports: Sequence[int]) -> list[dict[str, object]]:
    return [
        label_row(
            Label(
                f"r{i}",
                "findings",
                finding,
                "present" if finding == FINDINGS[EFFUSION] and i in present else "unmentioned",
                labeler.labeler_id,
                "full",
            )
        )
        for i in reports
        for finding in FINDINGS
    ]


def rank(store: Store, **asked: Any) -> Standings:
    return rank_subjects(store.connection, fetch_compared(store.connection, **asked), n_boot=20)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "labels.duckdb") as opened:
        opened.write(
            {
                "corpora": [{"corpus": "one", "egress": "any"}],
                "reports": [report_row(Report(f"r{i}", "one", {"text": "Clear."})) for i in range(6)],
                "splits": [
                    {"report_id": f"r{i}", "split": "gate" if i < 4 else "test", "group_id": f"g{i}", "seed": 0}
                    for i in range(6)
                ],
                "labelers": [labeler_row(x) for x in (HUMAN, RULE, LLM, JUDGE, STUDENT)],
                "teachers": [{"teacher_id": "tch_1"}],
                "teacher_members": [
                    {"teacher_id": "tch_1", "labeler_id": member.labeler_id, "seat": seat, "place": place}
                    for place, (member, seat) in enumerate(
                        [(RULE, "labeler"), (LLM, "labeler"), (JUDGE, "adjudicator")]
                    )
                ],
                "committed": [{"report_id": f"r{i}", "teacher_id": "tch_1", "run_id": "run_1"} for i in range(3)],
                "rounds": [
                    {
                        "round_id": "rnd_2",
                        "campaign_id": "cmp_1",
                        "round": 2,
                        "arm": "feedback",
                        "labeler_id": STUDENT.labeler_id,
                    }
                ],
                "labels": [
                    *statuses(HUMAN, (0, 2, 4), range(6)),
                    *statuses(RULE, (0, 1), range(6)),
                    *statuses(LLM, (2,), range(3)),
                    *statuses(STUDENT, (0, 2, 5), range(6)),
                    # the two differ on effusion in r0, r1 and r2: present in all three, says the judge
                    *[
                        label_row(Label(f"r{i}", "findings", FINDINGS[EFFUSION], "present", JUDGE.labeler_id, "full"))
                        for i in range(3)
                    ],
                ],
            }
        )
        yield opened


def counts(standings: Standings) -> dict[str, tuple[int, int, int, int]]:
    found = {}
    for row in standings.rows:
        f = row.figures.findings[EFFUSION]
        found[row.subject.name] = (f.n, f.tp, f.fp, f.fn)
    return found


def test_everyone_against_the_curated_labels(store: Store) -> None:
    standings = rank(store, split="gate")
    # curated present in r0 and r2 of the four. Each is judged on what it labelled: n, tp, fp, fn
    assert counts(standings) == {
        "round 2 feedback": (4, 2, 0, 0),
        "rule": (4, 1, 1, 1),
        "llm:stand-in": (3, 1, 0, 1),
        "teacher": (3, 2, 1, 0),
    }
    assert standings.rows[0].subject.name == "round 2 feedback"
    assert {row.subject.name: row.coverage for row in standings.rows}["teacher"] == 0.75
    assert standings.rows[0].subject.round_id == "rnd_2"
    assert any("--common" in note for note in standings.notes)


def test_common_reports_only(store: Store) -> None:
    standings = rank(store, split="gate", common=True)
    assert {n for n, *_ in counts(standings).values()} == {3}
    assert any("only the 3 reports" in note for note in standings.notes)


def test_students_stay_off_test_unless_it_is_named(store: Store) -> None:
    everything = rank(store)
    assert counts(everything)["round 2 feedback"] == (4, 2, 0, 0)
    assert counts(everything)["rule"] == (6, 1, 1, 2)
    assert any("--split test" in note for note in everything.notes)
    assert counts(rank(store, split="test")) == {
        "round 2 feedback": (2, 0, 1, 1),
        "rule": (2, 0, 0, 1),
    }


def test_everyone_against_one_labeler(store: Store) -> None:
    standings = rank(store, split="gate", against="rule")
    assert standings.reference == "rule"
    by_name = {row.subject.name: row for row in standings.rows}
    assert set(by_name) == {"reader", "llm:stand-in", "teacher", "round 2 feedback"}
    # of the reader's 4 x 13 cells two differ from the rules' (effusion in r1 and in r2)
    assert by_name["reader"].agreement.accuracy.value == pytest.approx(50 / 52)
    taught = rank(store, against="teacher")
    assert (taught.reference, taught.n_reports) == ("teacher", 3)


def test_subjects_are_found_by_name_id_and_beginning(store: Store) -> None:
    subjects = fetch_subjects(store.connection)
    assert {s.name for s in subjects} == {"teacher", "reader", "rule", "llm:stand-in", "round 2 feedback"}
    assert find_subject(subjects, "rule").kind == "rule"
    assert find_subject(subjects, RULE.labeler_id[:12]).name == "rule"
    assert find_subject(subjects, "llm").labeler_id == LLM.labeler_id
    assert find_subject(subjects, "teacher").labeler_id is None
    with pytest.raises(StoreError, match="several"):
        find_subject(subjects, "r")
    with pytest.raises(StoreError, match="no labeler is called 'nobody'"):
        find_subject(subjects, "nobody")


def test_equal_names_are_told_apart(store: Store) -> None:
    second = Labeler("rule", "rule", "2")
    store.write({"labelers": [labeler_row(second)], "labels": statuses(second, (0,), range(2))})
    names = [s.name for s in fetch_subjects(store.connection)]
    assert f"rule ({second.labeler_id[4:10]})" in names
    assert len(set(names)) == len(names) == 6


def test_cells_without_a_status_are_said(store: Store) -> None:
    store.write({"labels": [label_row(Label("r0", "findings", FINDINGS[0], "present", "lbr_x", "full"))]})
    store.write({"labelers": [{**labeler_row(Labeler("rule", "sparse", "1")), "labeler_id": "lbr_x"}]})
    standings = rank(store, split="gate")
    assert any("sparse gave no status in 12 cells" in note for note in standings.notes)


def test_what_is_missing_is_said_with_its_remedy(tmp_path: Path) -> None:
    with Store(tmp_path / "empty.duckdb") as store:
        with pytest.raises(StoreError, match=r"no curated labels.*\n.*import"):
            rank(store)
        with pytest.raises(StoreError, match=r"no report has a split yet.*\n.*--split all"):
            rank(store, split="gate")
        store.write(
            {
                "reports": [report_row(Report("r0", "one", {"text": "Clear."}))],
                "labelers": [labeler_row(HUMAN)],
                "labels": statuses(HUMAN, (), [0]),
                "splits": [{"report_id": "r0", "split": "train", "group_id": "g", "seed": 0}],
            }
        )
        with pytest.raises(StoreError, match=r"nobody else has labelled the 1 reports.*\n.*teachback label"):
            rank(store)
        with pytest.raises(StoreError, match="no curated labels in split 'gate' in corpus 'x'"):
            rank(store, split="gate", corpus="x")
