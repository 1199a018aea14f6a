"""What a store has besides the labels of a teacher: prompts, runs, failures, rounds with their students, reviewers.

So that every question of `store/queries` has something to find at any size. Students label a fifth of the reports;
the third of them learns from what the first one said; two people review what the adjudicator was asked.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from store_load import RUN_OF, START, Load
from store_templates import LABELERS

from teachback.store.database import Store
from teachback.store.label import STATUSES, Labeler
from teachback.store.review.decisions import Decision, decision_rows
from teachback.store.rows import labeler_row

__all__ = ["write_life"]

REVIEWED = 2_000  # targets of each reviewer, at most; half of them the other one's too
ROUNDS = (("rnd_1", 1, "feedback"), ("rnd_2", 2, "feedback"), ("rnd_2_control", 2, "control"))
STUDENTS = {name: Labeler("student", "student:tiny", name) for name, _, _ in ROUNDS}
FEEDER, FED = ROUNDS[0][0], ROUNDS[1][0]
CUT_OFF = 0.9  # of the probability, from which a pseudo-label is taken
FAILED = 200  # one report in so many failed once
DAY = timedelta(days=1)
_PROMPT = "You label chest X-ray reports.\n" * 40

# A student says what the model says, but for one label in twenty.
_STUDENT = """
INSERT INTO labels BY NAME
SELECT 'lab_' || left(md5(label_id || $round), 24) AS label_id, report_id, task, target,
    CASE WHEN hash(label_id, $round) % 20 = 0 THEN $statuses[1 + (hash($round, label_id) % 4)::INTEGER] ELSE status END
        AS status,
    confidence, confidence_source, probs, 'full' AS scope, $labeler AS labeler_id, $run AS run_id, $round AS round_id,
    $at AS created_at
FROM labels
WHERE labeler_id = $model AND task = 'findings' AND hash(report_id) % 5 = 0
"""
_TAUGHT = """
INSERT INTO training_rows
SELECT $round, report_id, task, target, label_id, scope, status, 'teacher', 1, true, 'the model''s vote'
FROM labels JOIN splits USING (report_id)
WHERE labeler_id = $model AND task = 'findings' AND split = 'train' AND hash(report_id) % 10 = 1
"""
_FED = """
INSERT INTO training_rows
SELECT $round, report_id, task, target, label_id, scope, status, 'pseudo', if(confidence >= $cut, 0.4, 0),
    confidence >= $cut, if(confidence >= $cut, 'certified', 'refused: not certified')
FROM labels JOIN splits USING (report_id)
WHERE round_id = $feeder AND split = 'train'
"""
_FAILURES = """
INSERT INTO failures
SELECT report_id, $model, run_id, 'the answer is no JSON', NULL, committed_at FROM committed
WHERE hash(report_id) % $one_in = 0
"""
_ASKED = "SELECT report_id, target, verdict, label_id FROM adjudications ORDER BY report_id, target LIMIT ?"


def write_life(store: Store, load: Load) -> None:
    """Write it, into a store that has the labels already."""
    model = LABELERS[0].labeler_id
    store.write(_prompts() | _runs(load) | _rounds())
    ask = store.connection.execute
    for name, number, _ in ROUNDS:
        given = {"round": name, "labeler": STUDENTS[name].labeler_id, "run": "run_distill", "model": model}
        ask(_STUDENT, {**given, "statuses": list(STATUSES), "at": START + timedelta(days=60 + number)})
        ask(_TAUGHT, {"round": name, "model": model})
    ask(_FED, {"round": FED, "feeder": FEEDER, "cut": CUT_OFF})
    ask(_FAILURES, {"model": model, "one_in": FAILED})
    store.write(decision_rows(_decisions(store)))


def _prompts() -> dict[str, list[dict[str, Any]]]:
    shared = {"role": "llm_labeler", "name": "findings"}
    versions = [
        {**shared, "prompt_id": labeler.prompt_id, "text": _PROMPT + str(number), "created_at": START + number * DAY}
        for number, labeler in enumerate(LABELERS)
    ]
    judge = {"prompt_id": "prm_adjudicator", "role": "adjudicator", "name": "judge", "text": _PROMPT}
    corpora = [{"corpus": "synthetic", "egress": "any", "licence": "CC0"}]
    return {"prompts": [*versions, {**judge, "created_at": START}], "corpora": corpora}


DAY = timedelta(days=1)


def _runs(load: Load) -> dict[str, list[dict[str, Any]]]:
    names = [f"run_{number:04}" for number in range(load.runs)]
    runs = [
        {"run_id": name, "command": "label", "seed": 0, "version": "0", "started_at": START + number * DAY}
        for number, name in enumerate(names)
    ]
    late = START + len(names) * DAY
    runs.append({"run_id": "run_distill", "command": "distill", "seed": 0, "version": "0", "started_at": late})
    # The last run of labeling was interrupted, the distillation goes on.
    ends = [
        {"run_id": name, "status": "finished", "ended_at": START + number * DAY + timedelta(seconds=2 * RUN_OF)}
        for number, name in enumerate(names[:-1])
    ]
    return {"runs": runs, "run_ends": [*ends, {"run_id": names[-1], "status": "interrupted", "ended_at": late}]}


def _rounds() -> dict[str, list[dict[str, Any]]]:
    rounds = [
        {
            "round_id": name,
            "campaign_id": "cmp_benchmark",
            "round": number,
            "arm": arm,
            "labeler_id": STUDENTS[name].labeler_id,
            "adapter_hash": f"adapter-{name}",
            "adapter_path": f"/campaigns/{name}/adapter",
            "base": "tiny",
            "created_at": START + (60 + number) * DAY,
        }
        for name, number, arm in ROUNDS
    ]
    decided = [{"round_id": name, "promoted": name == FEEDER, "reason": "measured"} for name, _, _ in ROUNDS]
    return {"rounds": rounds, "round_decisions": decided, "labelers": [labeler_row(one) for one in STUDENTS.values()]}


def _decisions(store: Store) -> Iterator[Decision]:
    """Ann reviews the first targets that were adjudicated, Bob those from the middle of hers on."""
    asked = store.connection.execute(_ASKED, [REVIEWED + REVIEWED // 2]).fetchall()
    each = 2 * len(asked) // 3
    for number, reviewer in enumerate(("ann", "bob")):
        mine = asked[number * each // 2 :][:each]
        for place, (report_id, target, verdict, label_id) in enumerate(mine):
            status = "absent" if verdict == "cannot_tell" or place % 10 == number else verdict
            yield Decision(
                report_id,
                reviewer,
                "set",
                task="findings",
                target=target,
                status=status,
                accepts=label_id if status == verdict else None,
                seconds=8.0,
                review_id=f"rev_{number}_{place:06}",
                decided_at=START + (70 + number) * DAY + timedelta(seconds=8 * place),
            )
        yield Decision(
            mine[-1][0],
            reviewer,
            "undo",
            task="findings",
            target=mine[-1][1],
            undoes=f"rev_{number}_{len(mine) - 1:06}",
            review_id=f"rev_{number}_undo",
            decided_at=START + (70 + number) * DAY + timedelta(hours=20),
        )
