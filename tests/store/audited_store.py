"""A small store with everything that an auditor asks about, every figure of which can be counted by hand.

Two findings on two taught reports, r1 and r2 (statuses by labeler; * is what the adjudicator was asked about):

    target      rule     llm old prompt   llm new prompt   judge         truth    ann          bob
    r1 Edema*   absent   present .90      absent .70       present .80   present  absent       present (last)
    r1 Pneum.   present  present .55      present .60                    absent   (undone)
    r2 Edema*   present  absent .95 (1)   absent .90       cannot tell            present (2)  present (last)
    r2 Pneum.   absent   absent .99       absent .99                     absent

(1) quotes words that r2 does not hold. (2) ann said absent first. Three rounds of students and a linear one:

    round      trained on                                                    labels it gave
    1          r1 Edema (judge), r1 and r2 Pneum. (llm)                      r5 Edema present .9, r5 Pneum. present .8,
                                                                             r6 Edema absent .7
    1 linear   the same                                                      none
    2          the same; of round 1 r5 Edema, r5 Pneum.; not r6 Edema        r6 Edema present .8
    3          of round 2 r6 Edema; r2 Pneum. (truth)                        none

r5 is curated: Edema present, Pneumonia absent. The rules read only its impression, and are silent on Edema. r5 and r6
have the same text.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from teachback.store.database import Store
from teachback.store.label import ConfidenceSource, Evidence, Label, Labeler, Status
from teachback.store.report import Report
from teachback.store.review.decisions import Decision, decision_rows
from teachback.store.rows import label_row, labeler_row, report_row

DAY = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
RULE = Labeler("rule", "rule", "1")
OLD = Labeler("llm", "llm:m", "1", "m", "prm_old")
NEW = Labeler("llm", "llm:m", "2", "m", "prm_new")
JUDGE = Labeler("adjudicator", "adjudicator:m", "1", "m", "prm_judge")
TRUTH = Labeler("human", "truth", "1")
STUDENTS = {number: Labeler("student", "student:tiny", f"a{number}") for number in (1, 2, 3)}
LINEAR = Labeler("student", "student:linear", "l")
EDEMA, PNEUMONIA = "Edema", "Pneumonia"


def said(
    labeler: Labeler, report: str, target: str, status: Status, confidence: float | None = None, **more: Any
) -> Label:
    source: ConfidenceSource | None = None if confidence is None else "logprob"
    return Label(report, "findings", target, status, labeler.labeler_id, "full", confidence, source, **more)


def quoted(words: str, start: int = 0) -> tuple[Evidence, ...]:
    return (Evidence("findings", start, start + len(words) if start >= 0 else -1, words),)


RULE_EDEMA = said(RULE, "r1", EDEMA, "absent")
OLD_EDEMA = said(OLD, "r1", EDEMA, "present", 0.9, llm_call_id="call_1", evidence=quoted("Edema."))
JUDGE_EDEMA = said(JUDGE, "r1", EDEMA, "present", 0.8, llm_call_id="call_judge", evidence=quoted("Edema."))
OLD_PNEUMONIA = said(OLD, "r1", PNEUMONIA, "present", 0.55, llm_call_id="call_1")
OLD_NO_PNEUMONIA = said(OLD, "r2", PNEUMONIA, "absent", 0.99, llm_call_id="call_2")
RULE_R2 = said(RULE, "r2", EDEMA, "present")
OLD_R2 = said(OLD, "r2", EDEMA, "absent", 0.95, llm_call_id="call_2", evidence=quoted("no oedema at all", -1))
TRUTH_R2 = said(TRUTH, "r2", PNEUMONIA, "absent")
FED_EDEMA = said(STUDENTS[1], "r5", EDEMA, "present", 0.9, round_id="rnd_1")
FED_PNEUMONIA = said(STUDENTS[1], "r5", PNEUMONIA, "present", 0.8, round_id="rnd_1")
REFUSED = said(STUDENTS[1], "r6", EDEMA, "absent", 0.7, round_id="rnd_1")
FED_LATER = said(STUDENTS[2], "r6", EDEMA, "present", 0.8, round_id="rnd_2")
BY_RUN = {
    "run_1": [
        RULE_EDEMA,
        OLD_EDEMA,
        JUDGE_EDEMA,
        said(RULE, "r1", PNEUMONIA, "present"),
        OLD_PNEUMONIA,
        RULE_R2,
        OLD_R2,
        said(RULE, "r2", PNEUMONIA, "absent"),
        OLD_NO_PNEUMONIA,
        said(TRUTH, "r1", EDEMA, "present"),
        said(TRUTH, "r1", PNEUMONIA, "absent"),
        TRUTH_R2,
        said(TRUTH, "r5", EDEMA, "present"),
        said(TRUTH, "r5", PNEUMONIA, "absent"),
        Label("r5", "findings", EDEMA, "unmentioned", RULE.labeler_id, "impression"),
        Label("r1", "diseases", "pneumonia", "present", OLD.labeler_id, "full", icd10="J18.999", icd10_check="unknown"),
        Label("r2", "diseases", "oedema", "present", OLD.labeler_id, "full", icd10="J81", icd10_check="category"),
    ],
    "run_2": [
        said(NEW, "r1", EDEMA, "absent", 0.7, llm_call_id="call_3"),
        said(NEW, "r1", PNEUMONIA, "present", 0.6, llm_call_id="call_3"),
        said(NEW, "r2", EDEMA, "absent", 0.9, llm_call_id="call_4"),
        said(NEW, "r2", PNEUMONIA, "absent", 0.99, llm_call_id="call_4"),
    ],
    "run_3": [FED_EDEMA, FED_PNEUMONIA, REFUSED, FED_LATER],
}
TAUGHT = [(JUDGE_EDEMA, "teacher", 1.0), (OLD_PNEUMONIA, "teacher", 1.0), (OLD_NO_PNEUMONIA, "teacher", 1.0)]
TRAINED: dict[str, list[tuple[Label, str, float]]] = {
    "rnd_1": TAUGHT,
    "rnd_linear": TAUGHT,
    "rnd_2": [*TAUGHT, (FED_EDEMA, "pseudo", 0.36), (FED_PNEUMONIA, "pseudo", 0.32), (REFUSED, "pseudo", 0.0)],
    "rnd_3": [(FED_LATER, "pseudo", 0.32), (TRUTH_R2, "curated", 2.0)],
}


def decisions() -> list[Decision]:
    """Ann's and Bob's steps, on the third day."""

    def step(minutes: int, reviewer: str, report: str, action: Any, **more: Any) -> Decision:
        at = DAY + timedelta(days=2, minutes=minutes)
        return Decision(report, reviewer, action, review_id=f"rev_{minutes:02}", decided_at=at, **more)

    def of(target: str, status: Status) -> dict[str, Any]:
        return {"task": "findings", "target": target, "status": status}

    return [
        step(0, "ann", "r1", "set", **of(EDEMA, "absent"), note="chronic"),
        step(1, "ann", "r2", "set", **of(EDEMA, "absent")),
        step(2, "ann", "r2", "set", **of(EDEMA, "present")),
        step(3, "ann", "r1", "set", **of(PNEUMONIA, "uncertain")),
        step(4, "ann", "r1", "undo", task="findings", target=PNEUMONIA, undoes="rev_03"),
        step(5, "ann", "r3", "skip"),
        step(6, "bob", "r1", "set", **of(EDEMA, "present"), accepts=JUDGE_EDEMA.label_id),
        step(7, "bob", "r2", "set", **of(EDEMA, "present"), accepts=RULE_R2.label_id),
    ]


def build(path: Path) -> Path:
    """Write the store."""
    texts = {"r1": "Edema.", "r2": "Lungs are wet.", "r3": "Clear.", "r4": "Rib fracture.", "r5": "Wet.", "r6": "Wet."}
    texts["r7"] = "Unreadable."
    splits = {
        "r1": "train",
        "r2": "train",
        "r3": "calibration",
        "r4": "test",
        "r5": "train",
        "r6": "gate",
        "r7": "train",
    }
    with Store(path) as store:
        store.write(
            {
                "corpora": [
                    {"corpus": "open", "egress": "any", "licence": "CC BY 4.0"},
                    {"corpus": "closed", "egress": "local-only"},
                ],
                "reports": [
                    report_row(Report(name, "closed" if name == "r2" else "open", {"findings": text}, f"p_{name}"))
                    for name, text in texts.items()
                ],
                "splits": [
                    {"report_id": name, "split": split, "group_id": f"g_{name}", "seed": 0}
                    for name, split in splits.items()
                ],
                "labelers": [labeler_row(one) for one in (RULE, OLD, NEW, JUDGE, TRUTH, LINEAR, *STUDENTS.values())],
                "teachers": [{"teacher_id": "tch"}],
                "teacher_members": [
                    {"teacher_id": "tch", "labeler_id": one.labeler_id, "seat": seat, "place": place}
                    for place, (one, seat) in enumerate([(RULE, "labeler"), (OLD, "labeler"), (JUDGE, "adjudicator")])
                ],
                "committed": [
                    {"report_id": name, "teacher_id": "tch", "run_id": "run_1"} for name in ("r1", "r2", "r3")
                ],
                "failures": [
                    {"report_id": name, "labeler_id": OLD.labeler_id, "run_id": "run_1", "reason": "no JSON"}
                    for name in ("r3", "r7", "r7")
                ],
                **_prompts_and_calls(),
                **_runs(),
                **_rounds(),
            }
        )
        labels = [label_row(label, run) | {"created_at": DAY} for run, given in BY_RUN.items() for label in given]
        store.write({"labels": labels, **_adjudications()})
        store.write(decision_rows(decisions()))
    return path


def _prompts_and_calls() -> dict[str, list[dict[str, Any]]]:
    def call(number: str, report: str, prompt: str, tokens: int, usd: float, day: int = 0) -> dict[str, Any]:
        agent = "adjudicator" if prompt == "prm_judge" else "llm_labeler"
        made = {"llm_call_id": f"call_{number}", "report_id": report, "prompt_id": prompt, "agent": agent}
        spent = {"prompt_tokens": tokens, "completion_tokens": tokens // 10, "cost_usd": usd, "attempts": 1}
        when = DAY + timedelta(days=day)
        return {**made, **spent, "model": "m", "response": f"answer {number}", "run_id": "run_1", "created_at": when}

    return {
        "prompts": [
            {"prompt_id": "prm_old", "role": "llm_labeler", "name": "old", "text": "Label this.", "created_at": DAY},
            {
                "prompt_id": "prm_new",
                "role": "llm_labeler",
                "name": "new",
                "text": "Label this well.",
                "created_at": DAY + timedelta(days=1),
            },
            {"prompt_id": "prm_judge", "role": "adjudicator", "name": "judge", "text": "Judge.", "created_at": DAY},
        ],
        "llm_calls": [
            call("1", "r1", "prm_old", 100, 0.01),
            {**call("2", "r2", "prm_old", 0, 0.0), "response": None, "error": "timeout", "cost_usd": None},
            call("2", "r2", "prm_old", 200, 0.02),
            call("judge", "r1", "prm_judge", 50, 0.05),
            call("3", "r1", "prm_new", 300, 0.03, day=1),
            call("4", "r2", "prm_new", 300, 0.03, day=1),
        ],
    }


def _runs() -> dict[str, list[dict[str, Any]]]:
    return {
        "runs": [
            {"run_id": f"run_{n}", "command": command, "started_at": DAY + timedelta(hours=n), "seed": 0}
            for n, command in ((1, "label"), (2, "label"), (3, "distill"))
        ],
        "run_ends": [
            {"run_id": "run_1", "status": "finished", "ended_at": DAY + timedelta(hours=1, seconds=90)},
            {"run_id": "run_2", "status": "interrupted", "ended_at": DAY + timedelta(hours=2, seconds=5)},
        ],
    }


def _rounds() -> dict[str, list[dict[str, Any]]]:
    def made(
        round_id: str, number: int, labeler: Labeler, adapter: str | None, arm: str = "feedback"
    ) -> dict[str, Any]:
        named = {"round_id": round_id, "campaign_id": "cmp", "round": number, "arm": arm, "base": "tiny", "seed": 0}
        path = f"/runs/cmp/{number}-{arm}/adapter" if adapter else None
        return {**named, "labeler_id": labeler.labeler_id, "adapter_hash": adapter, "adapter_path": path}

    def trained(round_id: str, label: Label, source: str, weight: float) -> dict[str, Any]:
        names = ("report_id", "task", "target", "label_id", "scope", "status")
        reason = "taken" if weight else "refused: not certified"
        row: dict[str, Any] = {name: getattr(label, name) for name in names}
        return {
            **row,
            "round_id": round_id,
            "source": source,
            "weight": weight,
            "selected": weight > 0,
            "reason": reason,
        }

    return {
        "rounds": [
            made("rnd_1", 1, STUDENTS[1], "abc111"),
            made("rnd_linear", 1, LINEAR, None, arm="linear"),
            made("rnd_2", 2, STUDENTS[2], "abd222"),
            made("rnd_3", 3, STUDENTS[3], "eee333"),
        ],
        "round_decisions": [
            {"round_id": "rnd_1", "promoted": True, "reason": "better"},
            {"round_id": "rnd_2", "promoted": False, "reason": "not shown to be better"},
        ],
        "training_rows": [trained(round_id, *row) for round_id, rows in TRAINED.items() for row in rows],
    }


def _adjudications() -> dict[str, list[dict[str, Any]]]:
    shared = {"task": "findings", "target": EDEMA, "labeler_id": JUDGE.labeler_id, "run_id": "run_1"}
    return {
        "adjudications": [
            {
                **shared,
                "adjudication_id": "adj_1",
                "report_id": "r1",
                "label_id": JUDGE_EDEMA.label_id,
                "weighed": [RULE_EDEMA.label_id, OLD_EDEMA.label_id],
                "verdict": "present",
                "rationale": "it says edema",
                "llm_call_id": "call_judge",
                "created_at": DAY + timedelta(minutes=1),
            },
            {
                **shared,
                "adjudication_id": "adj_2",
                "report_id": "r2",
                "label_id": None,
                "weighed": [RULE_R2.label_id, OLD_R2.label_id],
                "verdict": "cannot_tell",
                "rationale": "wet may mean anything",
                "created_at": DAY + timedelta(minutes=1),
            },
        ]
    }
