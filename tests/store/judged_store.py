"""A store with random labels of everything that can be judged: two labelers, two rounds, diseases, slices, scopes."""

from pathlib import Path

import numpy as np

from teachback.store.database import Store
from teachback.store.label import FINDINGS, STATUSES, Label, Labeler, Status
from teachback.store.report import Report, Scope
from teachback.store.rows import label_table, labeler_row, report_row, slice_rows

READER = Labeler("human", "reader", "1")
RULE = Labeler("rule", "rule", "1")
LLM = Labeler("llm", "llm:m", "1", "m")
STUDENTS = {number: Labeler("student", "student:tiny", f"a{number}") for number in (1, 2)}
REPORTS = 60
PHRASES = ("pneumonia", "Pneumonia.", "pleural effusion", "effusion", "CHF", "congestive heart failure")
CODES = ("J18.9", "J18.1", "J90", None)


def judged_store(folder: Path) -> Path:
    """Make it: r00 to r59, two a patient, half in gate and half in test, the last two without a split or slices."""
    rng = np.random.default_rng(5)
    path = folder / "labels.duckdb"
    reports = [
        Report(
            f"r{i:02}",
            "one" if i < 40 else "two",
            {"findings": f"Report {i}.", "impression": "Clear."},
            f"p{i // 2}",
            {"sex": "FM"[i // 2 % 2], "age": str(30 + i)} if i < 58 else {},
        )
        for i in range(REPORTS)
    ]
    truth = rng.choice(4, size=(REPORTS, 13), p=[0.3, 0.3, 0.1, 0.3])
    labels = labels_of(READER, truth)
    for labeler, keep in ((RULE, 0.6), (LLM, 0.8), (STUDENTS[1], 0.75), (STUDENTS[2], 0.7)):
        said = np.where(rng.random(truth.shape) < keep, truth, rng.choice(4, size=truth.shape))
        labels += labels_of(labeler, said, rng if labeler is not RULE else None)
    for labeler in (READER, LLM):
        for i in rng.choice(REPORTS, 40, replace=False):
            for phrase in rng.choice(PHRASES, 2, replace=False):
                code = CODES[rng.integers(4)]
                labels.append(
                    Label(f"r{i:02}", "diseases", str(phrase), "present", labeler.labeler_id, "full", icd10=code)
                )
    with Store(path) as store:
        store.write(
            {
                "corpora": [{"corpus": name, "egress": "any"} for name in ("one", "two")],
                "reports": [report_row(report) for report in reports],
                "slices": [row for report in reports for row in slice_rows(report)],
                "splits": [
                    {
                        "report_id": f"r{i:02}",
                        "split": "gate" if i < 30 else "test",
                        "group_id": f"g{i // 2}",
                        "seed": 0,
                    }
                    for i in range(58)
                ],
                "labelers": [labeler_row(x) for x in (READER, RULE, LLM, *STUDENTS.values())],
                "labels": label_table(labels, "run"),
                "rounds": [
                    {
                        "round_id": f"rnd_{number}",
                        "campaign_id": "cmp_x",
                        "round": number,
                        "arm": "feedback",
                        "labeler_id": student.labeler_id,
                    }
                    for number, student in STUDENTS.items()
                ],
            }
        )
    return path


def labels_of(labeler: Labeler, codes: np.ndarray, sure: np.random.Generator | None = None) -> list[Label]:
    """Give a labeler's labels; the rules read every third report's impression only, and leave every seventh out."""
    made = []
    for i, row in enumerate(codes):
        if labeler is RULE and i % 7 == 6:
            continue
        scope: Scope = "impression" if labeler is RULE and i % 3 == 0 else "full"
        for finding, code in zip(FINDINGS, row, strict=True):
            status: Status = STATUSES[int(code)]
            confidence = float(sure.uniform(0.3, 1)) if sure is not None and sure.random() < 0.9 else None
            source = None if confidence is None else "logprob"
            made.append(Label(f"r{i:02}", "findings", finding, status, labeler.labeler_id, scope, confidence, source))
    return made
