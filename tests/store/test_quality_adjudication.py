"""An adjudicator judged on a store of six reports, every figure worked by hand."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest

from teachback.errors import StoreError
from teachback.store.database import Store
from teachback.store.label import Evidence, Label, Labeler
from teachback.store.quality.adjudication import judge_adjudicator
from teachback.store.quality.disputes import Disputes
from teachback.store.quality.review_queue import QueuedVote, fetch_queue
from teachback.store.report import Report
from teachback.store.rows import label_row, labeler_row, report_row

READER = Labeler("human", "reader", "1")
CODER = Labeler("human", "coder", "1")
RULE = Labeler("rule", "rule", "1")
MODEL = Labeler("llm", "llm:m", "1")
THIRD = Labeler("llm", "llm:n", "1")
JUDGE = Labeler("adjudicator", "adjudicator:m", "1", parameters={"weighs": ["rule", "llm:m"]})
LATER = Labeler("adjudicator", "adjudicator:m@blind", "1", parameters={"reliability": "rel_1"})
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

# Report, finding, curated, rule, model, verdict.
DISPUTES = [
    ("r1", "Edema", "present", "absent", "present", "present"),  # judge and model right
    ("r1", "Fracture", "absent", "absent", "unmentioned", "absent"),  # judge and rule right: corrected
    ("r2", "Edema", "absent", "absent", "present", "absent"),  # corrected
    ("r2", "Pneumonia", None, "absent", "present", "absent"),  # nobody knows
    ("r3", "Edema", "uncertain", "present", "unmentioned", "uncertain"),  # only the judge is right: corrected
    ("r4", "Edema", "present", "absent", "present", "absent"),  # only the model is right: spoiled
    ("r5", "Edema", "absent", "absent", "present", "cannot_tell"),  # left open, the rule is right
    ("r6", "Edema", None, "absent", "present", "cannot_tell"),  # left open, nobody knows
]


def label(report_id, target, status, labeler, **more):
    return Label(report_id, "findings", target, status, labeler.labeler_id, "full", **more)


def verdict_row(report_id, target, verdict, votes, judge=JUDGE, call="", at=NOON):
    decided = None if verdict == "cannot_tell" else label(report_id, target, verdict, judge).label_id
    return {
        "adjudication_id": f"adj_{judge.name}_{report_id}_{target}_{at:%H}",
        "report_id": report_id,
        "task": "findings",
        "target": target,
        "labeler_id": judge.labeler_id,
        "label_id": decided,
        "weighed": [vote.label_id for vote in votes],
        "verdict": verdict,
        "rationale": f"Why {verdict}.",
        "llm_call_id": call or f"call_{report_id}",
        "created_at": at,
    }


def call_row(call_id, cost=0.01, error=None):
    return {
        "llm_call_id": call_id,
        "agent": "adjudicator",
        "model": "m",
        "response": "{}",
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "cost_usd": cost,
        "attempts": 1,
        "error": error,
        "created_at": NOON,
    }


def teacher_rows(teacher_id, *voters, judge):
    members = [(voter, "labeler") for voter in voters] + [(judge, "adjudicator")]
    return [
        {"teacher_id": teacher_id, "labeler_id": member.labeler_id, "seat": seat, "place": place}
        for place, (member, seat) in enumerate(members)
    ]


def rows(disputes=DISPUTES, curator=READER, split="calibration", calls=None):
    labels, verdicts = [], []
    for report_id, target, curated, *votes, verdict in disputes:
        quote = Evidence("text", 0, 4, "Word")
        given = [
            label(report_id, target, votes[0], RULE, evidence=(quote,)),
            label(report_id, target, votes[1], MODEL, confidence=0.75, confidence_source="logprob"),
        ]
        labels += [label_row(vote) for vote in given]
        labels += [label_row(label(report_id, target, curated, curator))] if curated else []
        labels += [label_row(label(report_id, target, verdict, JUDGE))] if verdict != "cannot_tell" else []
        verdicts.append(verdict_row(report_id, target, verdict, given))
    reports = sorted({entry[0] for entry in disputes})
    return {
        "reports": [report_row(Report(r, "demo", {"text": "Words."}, subject_id=f"s{r[1]}")) for r in reports],
        "splits": [{"report_id": r, "split": split, "group_id": f"g{r[1]}", "seed": 0} for r in reports],
        "labelers": [labeler_row(one) for one in (READER, CODER, RULE, MODEL, THIRD, JUDGE, LATER)],
        "labels": labels,
        "adjudications": verdicts,
        "teachers": [{"teacher_id": "tch_first", "created_at": NOON}],
        "teacher_members": teacher_rows("tch_first", RULE, MODEL, judge=JUDGE),
        "llm_calls": calls if calls is not None else priced_calls(),
    }


def priced_calls():
    # The second call was refused once, and both answers are paid; the first one is dearer than the others.
    again = call_row("call_r2", error="the answer does not follow the schema")
    return [call_row("call_r1", 0.02), again, *(call_row(f"call_r{i}") for i in range(2, 7))]


@pytest.fixture
def opened(tmp_path: Path):
    with Store(tmp_path / "s.duckdb") as store:
        yield store


def judged(store, content=None, **options):
    store.write(content or rows())
    return judge_adjudicator(store.connection, **options)


def test_every_count_by_hand(opened) -> None:
    report = judged(opened, split="calibration")
    assert (report.n, report.left_open, report.uncurated, report.coarse) == (5, 1, 2, 0)
    assert (report.right, report.accuracy.value) == (4, pytest.approx(4 / 5))
    rule, model, majority = report.policies
    # rule: r1 Fracture, r2 Edema; model: r1 Edema, r4 Edema; of two that differ the majority is the last one's
    assert [(policy.name, policy.right, policy.right_open) for policy in report.policies] == [
        ("rule", 2, 1),
        ("llm:m", 2, 0),
        ("majority", 2, 0),
    ]
    assert rule.accuracy.value == model.accuracy.value == majority.accuracy.value == pytest.approx(2 / 5)
    assert rule.gain.value == pytest.approx(4 / 5 - 2 / 5)
    assert (report.reference, report.corrected, report.spoiled, report.net) == ("llm:m", 3, 1, 2)
    assert (report.n_reports, report.n_clusters) == (5, 5)
    assert any("neither is the majority" in note for note in report.notes)


def test_the_price_is_shared_among_what_a_call_decided(opened) -> None:
    report = judged(opened)
    # r1 whole .02; r2 half of .01 + .01, as one of its two disputes is not curated; r3, r4, r5 .01 each; r6 not at all
    assert report.spent.cost_usd == pytest.approx(0.02 + 0.01 + 0.03)
    assert report.spent.calls == 6
    # 100 tokens sent a call: r1 100, r2 half of 200, r3 to r5 300; a tenth of it came back
    assert (report.spent.prompt_tokens, report.spent.completion_tokens) == (500, 50)
    assert report.usd_per_correction == pytest.approx(0.06 / 2)


def test_a_price_that_is_not_known_is_not_made_up(opened) -> None:
    report = judged(opened, rows(calls=[*priced_calls()[:-3], call_row("call_r4", None), *priced_calls()[-2:]]))
    assert (report.spent.cost_usd, report.usd_per_correction) == (None, None)


def test_a_call_that_is_not_in_the_store_has_no_known_price(opened) -> None:
    assert judged(opened, rows(calls=priced_calls()[1:])).spent.cost_usd is None


def test_a_local_model_is_free(opened) -> None:
    report = judged(opened, rows(calls=[call_row(f"call_r{i}", 0.0) for i in range(1, 7)]))
    assert (report.spent.cost_usd, report.usd_per_correction) == (0.0, 0.0)


def test_where_nothing_is_won_a_label_has_no_price(opened) -> None:
    report = judged(opened, rows([DISPUTES[0], DISPUTES[5]]))
    assert (report.corrected, report.spoiled, report.usd_per_correction) == (0, 1, None)


def test_findings_by_hand(opened) -> None:
    edema, fracture = judged(opened).findings
    assert (edema.finding, edema.n, edema.left_open, edema.right, edema.policies) == ("Edema", 4, 1, 3, (1, 2, 2))
    assert (fracture.n, fracture.left_open, fracture.right, fracture.policies) == (1, 0, 1, (1, 0, 0))


def test_intervals_hold_the_figure_and_follow_the_seed(opened) -> None:
    report = judged(opened)
    gain = report.policies[0].gain
    assert gain.low < gain.value < gain.high
    assert gain.low >= -1
    assert judge_adjudicator(opened.connection).as_dict() == report.as_dict()
    assert judge_adjudicator(opened.connection, n_boot=0).as_dict()["accuracy"]["low"] is None


def test_reports_of_one_subject_are_drawn_together(opened) -> None:
    content = rows([DISPUTES[2], DISPUTES[4], DISPUTES[5]])
    content["splits"] = [{**row, "group_id": "g"} for row in content["splits"]]
    report = judged(opened, content)
    assert (report.n_reports, report.n_clusters) == (3, 1)
    assert np.isnan(report.accuracy.low)  # one subject shows no spread


def test_a_constant_difference_has_no_spread(opened) -> None:
    # In every report the judge is right and the model wrong, so it is in every resample.
    disputes = [(f"r{i}", "Edema", "absent", "absent", "present", "absent") for i in range(1, 7)]
    model = judged(opened, rows(disputes)).policies[1]
    assert (model.gain.value, model.gain.low, model.gain.high) == (1, 1, 1)
    assert model.adjudicator == "better"


def test_a_curator_that_marks_only_what_is_there_is_taken_at_its_word(opened) -> None:
    disputes = [
        ("r1", "Edema", "unmentioned", "present", "unmentioned", "absent"),  # not there: judge and model right
        ("r2", "Edema", "unmentioned", "present", "absent", "uncertain"),  # likewise
        ("r3", "Edema", "present", "uncertain", "present", "uncertain"),  # there: only the model is right
        ("r4", "Edema", "unmentioned", "absent", "unmentioned", "absent"),  # all say that it is not there
    ]
    report = judged(opened, rows(disputes, CODER))
    assert (report.n, report.coarse, report.right) == (4, 4, 3)
    assert [policy.right for policy in report.policies] == [1, 4, 4]
    note = "4 of 4 disputes are judged as present or not: coder marks only what is there; in 1 of these"
    assert any(text.startswith(note) for text in report.notes)


def test_a_curator_that_says_absent_anywhere_is_held_to_all_four(opened) -> None:
    report = judged(opened, rows([("r1", "Edema", "unmentioned", "absent", "present", "absent"), DISPUTES[2]]))
    # `absent` is not `unmentioned`: of the two only r2 is right
    assert (report.coarse, report.right) == (0, 1)


def test_test_is_judged_only_when_it_is_named(opened) -> None:
    content = rows()
    content["splits"][1]["split"] = "test"  # r2
    assert judged(opened, content).n == 4
    assert judge_adjudicator(opened.connection, split="test").n == 1
    assert judge_adjudicator(opened.connection, split="calibration").n == 4


def test_only_the_newest_verdict_counts(opened) -> None:
    content = rows()
    votes = [label("r4", "Edema", "absent", RULE), label("r4", "Edema", "present", MODEL)]
    content["adjudications"] += [verdict_row("r4", "Edema", "present", votes, at=NOON + timedelta(hours=1))]
    report = judged(opened, content)
    assert (report.n, report.right, report.spoiled) == (5, 5, 0)


def test_three_voters_a_vote_that_was_not_weighed_and_the_last_teacher(opened) -> None:
    content = rows()
    later = []
    for report_id, said, truth in (
        ("r1", ("absent", "present", "present"), "present"),
        ("r2", (None, "absent", "present"), "absent"),
    ):
        voters = (RULE, MODEL, THIRD)
        given = [label(report_id, "Edema", status, voter) for status, voter in zip(said, voters, strict=True) if status]
        content["labels"] += [label_row(vote) for vote in given]
        later.append(verdict_row(report_id, "Edema", truth, given, LATER, at=NOON + timedelta(hours=2)))
    content["adjudications"] += later
    content["teachers"].append({"teacher_id": "tch_later", "created_at": NOON})
    content["teacher_members"] += teacher_rows("tch_later", RULE, MODEL, THIRD, judge=LATER)
    report = judged(opened, content)
    assert report.teacher_id == "tch_later"
    assert any("tch_first" in note for note in report.notes)
    assert any("told how reliable its voters proved" in note for note in report.notes)
    # r1: the model and the third outvote the rule. r2: one to one, so the last voter's, which is wrong; it stands in
    # for the rule too, that had no say.
    assert [(policy.name, policy.right, policy.stood_in) for policy in report.policies] == [
        ("rule", 0, 1),
        ("llm:m", 2, 0),
        ("llm:n", 1, 0),
        ("majority", 1, 0),
    ]
    assert report.best_voter.name == report.reference == "llm:m"
    assert judge_adjudicator(opened.connection, "tch_f").n == 5


def test_the_majority_by_hand() -> None:
    present, absent, uncertain = 0, 1, 2
    votes = np.array(
        [
            [absent, present, present],
            [present, present, absent],
            [absent, present, uncertain],  # a tie of three: the last
            [present, absent, -1],  # a tie of two: the last of them
            [-1, -1, uncertain],
        ]
    )
    n = len(votes)
    zeros = np.zeros(n, dtype=np.int64)
    no = np.zeros(n, dtype=bool)
    disputes = Disputes(zeros.astype(object), zeros, zeros, zeros, no, zeros, votes, (None,) * n, 0, ())
    assert disputes.majority().tolist() == [present, present, uncertain, absent, uncertain]


def test_what_cannot_be_judged_says_why(opened) -> None:
    with pytest.raises(StoreError, match="no adjudicator has decided"):
        judge_adjudicator(opened.connection)
    opened.write(rows([DISPUTES[3], DISPUTES[7]]))
    with pytest.raises(StoreError, match="none of the 2 disputes in split 'calibration' has a curated label"):
        judge_adjudicator(opened.connection, split="calibration")
    with pytest.raises(StoreError, match="decided nothing in corpus 'other'"):
        judge_adjudicator(opened.connection, corpus="other")
    with pytest.raises(StoreError, match="begins with 'tch_x'"):
        judge_adjudicator(opened.connection, "tch_x")
    opened.connection.execute("DELETE FROM splits")
    with pytest.raises(StoreError, match="no report has a split"):
        judge_adjudicator(opened.connection, split="gate")


def test_where_it_never_could_tell_there_is_no_share(opened) -> None:
    report = judged(opened, rows([DISPUTES[6]]))
    assert (report.n, report.left_open, report.policies[0].right_open) == (0, 1, 1)
    assert report.as_dict()["accuracy"]["value"] is None


def test_the_queue_holds_what_nobody_has_decided(opened) -> None:
    opened.write(rows())
    (entry,) = fetch_queue(opened.connection)  # r5 is left open too, and has a curated label
    assert (entry.report_id, entry.corpus, entry.target, entry.why) == ("r6", "demo", "Edema", "cannot_tell")
    assert (entry.rationale, entry.adjudicator) == ("Why cannot_tell.", "adjudicator:m")
    assert entry.votes == (QueuedVote("rule", "absent", "Word", None), QueuedVote("llm:m", "present", None, 0.75))
    assert fetch_queue(opened.connection, "other") == ()
    opened.write({"labels": [label_row(label("r6", "Edema", "absent", READER))]})
    assert fetch_queue(opened.connection) == ()


def test_a_target_that_is_left_open_has_no_label_of_the_teacher(opened) -> None:
    content = rows()
    committed = [{"report_id": f"r{i}", "teacher_id": "tch_first", "run_id": "run"} for i in range(1, 7)]
    opened.write(content | {"committed": committed})
    taught: duckdb.DuckDBPyConnection = opened.connection.execute(
        "SELECT report_id FROM teacher_labels WHERE teacher_id = 'tch_first' AND target = 'Edema' ORDER BY 1"
    )
    assert [row[0] for row in taught.fetchall()] == ["r1", "r2", "r3", "r4"]
