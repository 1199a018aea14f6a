"""What comes back as labels: never of a report that the student trained on, nor against whoever knows better."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from teachback.distill.assemble import TrainingRow, assemble
from teachback.distill.calibrate import Calibration
from teachback.distill.config import CampaignSettings, SelectSettings
from teachback.distill.freeze import Frozen, TaughtLabel
from teachback.distill.pseudo import KNOWN_TEXT, UNTAUGHT, feed_back, student_labels, summarise
from teachback.distill.round import Round, Scored
from teachback.distill.routing import AGAINST, Opinion, fetch_contradictions, fetch_opinions, objections
from teachback.distill.select import Certificate, Selection
from teachback.store.database import Store
from teachback.store.label import FINDINGS, STATUSES, Label, Labeler, Status
from teachback.store.near_duplicates import normalise
from teachback.store.page.queue import ReviewQueue
from teachback.store.page.sight import Sight
from teachback.store.report import Report
from teachback.store.rows import label_row, labeler_row, report_row

ABSENT, PRESENT = STATUSES.index("absent"), STATUSES.index("present")
SETTINGS = CampaignSettings(student="none", rounds=4, select=SelectSettings(share=1.0))
WORDS = ("heart", "lungs", "pleura", "bones", "tubes", "apex", "base", "hilum", "rib", "spine", "clear", "wet", "dense")


def text_of(number: int) -> str:
    """Thirteen words, another order for each number: no two texts are the same but for their figures."""
    return " ".join(np.random.default_rng(number).permutation(WORDS)) + "."


def report(name: str, text: str, subject: str | None = None) -> Report:
    return Report(name, "made", {"findings": text}, subject)


def taught(report_id: str, target: str, status: Status = "absent", by: str = "llm") -> TaughtLabel:
    return TaughtLabel(report_id, "findings", target, status, None, "full", f"lbl_{report_id}_{target}", by)


def freeze_made(pool: tuple[Report, ...], train: tuple[Report, ...], curated: tuple[TaughtLabel, ...] = ()) -> Frozen:
    calibration = tuple(report(f"cal{i}", text_of(10_000 + i)) for i in range(80))
    labels = tuple(taught(r.report_id, finding) for r in train for finding in FINDINGS)
    reports = {"train": train, "pool": pool, "calibration": calibration, "gate": (), "test": ()}
    return Frozen("cmp_made", "tch_made", labels, curated, reports, frozenset())


def student(frozen: Frozen, number: int, code: int = ABSENT) -> Round:
    """A round whose student says the same of everything, and is sure."""
    scored = {}
    for split in ("calibration", "pool"):
        n = len(frozen.reports[split])
        probabilities = np.full((n, 13, 4), 0.01 / 3, np.float32)
        probabilities[..., code] = 0.99
        ids = tuple(r.report_id for r in frozen.reports[split])
        scored[split] = Scored(ids, probabilities, probabilities, np.full((n, 13), code, np.int8))
    labeler = Labeler("student", "student:made", str(number))
    identity = Calibration((1.0,) * 13, (0.0,) * 13, 0.5)
    return Round(f"rnd_{number}", number, "feedback", Path(), labeler, {}, identity, scored)


def right(frozen: Frozen, code: int = ABSENT) -> np.ndarray:
    return np.full((len(frozen.reports["calibration"]), 13), code, np.int8)


def feed(frozen: Frozen, number: int = 2, rounds: int = 2, **more: Any) -> tuple[Selection, list[TrainingRow]]:
    settings = SETTINGS.model_copy(update={"rounds": rounds})
    return feed_back(student(frozen, number - 1), frozen, settings, right(frozen), number, **more)


def trained_on(rows: list[TrainingRow]) -> set[str]:
    return {row.label.report_id for row in rows if row.selected}


def mixed_pool() -> Frozen:
    """Patients of one to three reports, reports without a patient, copies of each other and of taught ones."""
    train = tuple(report(f"tr{i}", text_of(i), f"pt{i}" if i % 2 else None) for i in range(130))
    pool = [report(f"po{i}", text_of(1000 + i), f"pp{i // 3}" if i % 2 else None) for i in range(90)]
    pool += [report(f"twin{i}", text_of(1000 + i), f"twin{i}") for i in range(20)]  # other patients', or a patient's
    pool += [report(f"copy{i}", text_of(i).upper()) for i in range(10)]  # of taught ones
    curated = (taught("po7", FINDINGS[0], "present", "curated"),)
    return freeze_made(tuple(pool), train, curated)


@pytest.mark.parametrize("promoted", [(2, 3, 4), (3, 4), (2, 4), ()])
def test_over_a_campaign_of_four_rounds_no_student_labels_what_it_trained_on(promoted: tuple[int, ...]) -> None:
    """Whichever rounds pass the gate: those that do are the champion, and what they were fed stays."""
    frozen = mixed_pool()
    everything = {r.report_id: r for split in ("train", "pool") for r in frozen.reports[split]}
    champion_rows, fed = assemble(frozen, SETTINGS), []
    labelled = []
    for number in (2, 3, 4):
        _, pseudo = feed_back(student(frozen, number - 1), frozen, SETTINGS, right(frozen), number)
        new = trained_on(pseudo)
        seen = trained_on(champion_rows)
        assert new
        assert not new & seen
        texts = {normalise(everything[i].text("full")) for i in seen}
        assert not {i for i in new if normalise(everything[i].text("full")) in texts}
        labelled.append(new)
        if number in promoted:
            fed += [row for row in pseudo if row.selected]
            champion_rows = assemble(frozen, SETTINGS, fed)
    # The parts are disjoint; together they are the pool without what round 1 trained on: ten copies, po7 and its twin.
    assert len(set.union(*labelled)) == sum(map(len, labelled)) == 90 + 20 - 2


def test_of_a_text_that_was_taught_nothing_comes_back() -> None:
    frozen = mixed_pool()
    selection, rows = feed(frozen)
    place = {report_id: i for i, report_id in enumerate(r.report_id for r in frozen.reports["pool"])}
    assert {str(selection.reasons[place[f"copy{i}"], f]) for i in range(10) for f in range(13)} == {KNOWN_TEXT}
    assert selection.reasons[place["po7"], 0] == "refused: a person has decided this target (curated: present)"
    assert set(selection.reasons[place["po7"], 1:]) == {KNOWN_TEXT}  # it is trained on, if only for one finding
    assert len(rows) == len(place) * 13


def test_a_class_may_be_as_large_as_curated_labels_have_it_where_they_can_tell_else_as_the_teacher_has_it() -> None:
    frozen = mixed_pool()
    free = 90 + 20 - 2
    # The teacher calls everything absent, curated labels call everything present: so may the student.
    selection, _ = feed_back(student(frozen, 1, PRESENT), frozen, SETTINGS, right(frozen, PRESENT), 4)
    assert selection.selected.any()
    third, _ = feed_back(student(frozen, 1, PRESENT), frozen, SETTINGS, right(frozen, ABSENT), 4)
    assert not third.selected.any()  # nor is it certified
    # Codes that know positives only say nothing of how often a finding is absent: the teacher's share holds.
    positives_only = right(frozen, STATUSES.index("unmentioned"))
    settings = SETTINGS.model_copy(update={"rounds": 2})
    selection, _ = feed_back(student(frozen, 1), frozen, settings, positives_only, 2)
    assert selection.selected.sum() == free * 13


def test_by_sentences_certain_silence_comes_back_beside_what_is_said_and_takes_nothing_of_the_budget() -> None:
    frozen = mixed_pool()
    champion, silent = student(frozen, 1), STATUSES.index("unmentioned")
    for scored in champion.scored.values():
        scored.codes[:, 2:] = silent  # of the first two findings it is sure that they are absent, of the rest nothing
        scored.probabilities[:, 2:] = scored.probabilities[:, 2:][..., [0, 3, 2, 1]]
    truth = right(frozen)
    truth[:, 2:] = silent
    truth[:, 3] = ABSENT  # of this one the student's silence is wrong
    settings = SETTINGS.model_copy(update={"unit": "sentence", "select": SelectSettings(share=0.02)})
    budget = int(0.02 * 130 * 13)
    selection, rows = feed_back(champion, frozen, settings, truth, 2)
    said = selection.selected[:, :2]
    assert said.sum() == budget
    told = said.any(axis=1)
    assert selection.selected[told][:, [2, *range(4, 13)]].all()
    assert not selection.selected[:, 3].any()
    assert not selection.selected[~told].any()
    reasons = {row.reason for row in rows if row.label.status == "unmentioned" and not row.selected}
    assert UNTAUGHT in reasons
    assert any(reason.startswith("refused: no threshold certified") for reason in reasons)


def test_reports_of_a_patient_certify_as_one() -> None:
    """80 calibration reports of 40 patients: without an error 59 patients would be needed."""
    frozen = mixed_pool()
    shared = tuple(replace(r, subject_id=f"p{i // 2}") for i, r in enumerate(frozen.reports["calibration"]))
    together = replace(frozen, reports={**frozen.reports, "calibration": shared})
    assert feed(frozen)[0].selected.any()
    assert not feed(together)[0].selected.any()
    same_text = tuple(replace(r, sections={"findings": text_of(i // 2)}) for i, r in enumerate(shared))
    nameless = tuple(replace(r, subject_id=None) for r in same_text)
    assert not feed(replace(frozen, reports={**frozen.reports, "calibration": nameless}))[0].selected.any()


def test_a_sure_teacher_of_another_status_keeps_a_pseudo_label_out_and_is_named() -> None:
    frozen = freeze_made(
        (report("a", text_of(1)), report("b", text_of(2))), tuple(report(f"t{i}", text_of(3 + i)) for i in range(2))
    )
    opinions = [
        Opinion("a", "Edema", "present", 0.93, "llm:old"),
        Opinion("a", "Fracture", "present", 0.79, "llm:old"),  # not sure enough
        Opinion("b", "Edema", "absent", 0.99, "llm:old"),  # the same as the student says
        Opinion("elsewhere", "Edema", "present", 0.99, "llm:old"),
    ]
    selection, rows = feed(frozen, opinions=opinions)
    edema, fracture = FINDINGS.index("Edema"), FINDINGS.index("Fracture")
    assert selection.reasons[0, edema] == f"{AGAINST} (llm:old: present at 0.93)"
    assert [bool(selection.selected[i, f]) for i, f in ((0, edema), (0, fracture), (1, edema))] == [False, True, True]
    (refused,) = [row for row in rows if not row.selected]
    assert (refused.label.report_id, refused.label.target, refused.weight) == ("a", "Edema", 0.0)
    assert refused.reason == selection.reasons[0, edema]


def test_the_surest_objection_is_named_and_a_persons_goes_before() -> None:
    said = [
        Opinion("a", "Edema", "present", 0.95, "llm:new"),
        Opinion("a", "Edema", "uncertain", 0.85, "llm:old"),
        Opinion("a", "Fracture", "absent", None, "ann"),
        Opinion("a", "Fracture", "present", 0.99, "llm:new"),
    ]
    codes = np.full((1, 13), ABSENT, np.int8)
    for order in (said, said[::-1]):
        vetoes = objections(order, ["a"], codes, 0.8)
        assert vetoes[0, FINDINGS.index("Edema")] == f"{AGAINST} (llm:new: present at 0.95)"
        assert vetoes[0, FINDINGS.index("Fracture")] == "refused: a person has decided this target (ann: absent)"
        assert (vetoes == "").sum() == 11


RULE = Labeler("rule", "rule", "1")
OLD = Labeler("llm", "llm:old", "1", "m")
JUDGE = Labeler("adjudicator", "judge", "1", "m")
STUDENT = Labeler("student", "student:made", "1")


def said(by: Labeler, name: str, target: str, status: Status, confidence: float | None, scope: Any = "full") -> Label:
    source = None if confidence is None else "logprob"
    return Label(name, "findings", target, status, by.labeler_id, scope, confidence, source)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Two teachers have labelled report a: rules and an old model with a judge; nobody report b."""
    labels = [
        said(RULE, "a", "Edema", "absent", None),
        said(OLD, "a", "Edema", "present", 0.93),
        said(OLD, "a", "Fracture", "present", 0.97),
        said(JUDGE, "a", "Fracture", "absent", 0.9),  # overrules the model
        said(OLD, "a", "Pneumonia", "unmentioned", 0.99, "impression"),  # silence
        said(OLD, "a", "Cardiomegaly", "unmentioned", 0.99),
    ]
    seats = [("rules", RULE, "labeler"), ("old", OLD, "labeler"), ("old", JUDGE, "adjudicator")]
    with Store(tmp_path / "labels.duckdb") as opened:
        opened.write(
            {
                "corpora": [{"corpus": "made", "egress": "any"}],
                "reports": [report_row(report(name, text_of(i))) for i, name in enumerate("ab")],
                "labelers": [labeler_row(one) for one in (RULE, OLD, JUDGE, STUDENT)],
                "teachers": [{"teacher_id": name} for name in ("rules", "old")],
                "teacher_members": [
                    {"teacher_id": name, "labeler_id": one.labeler_id, "seat": seat, "place": place}
                    for place, (name, one, seat) in enumerate(seats)
                ],
                "committed": [{"report_id": "a", "teacher_id": name, "run_id": "run"} for name in ("rules", "old")],
                "labels": [label_row(label) for label in labels],
            }
        )
        yield opened


def test_opinions_are_the_last_word_of_teachers_that_say_how_sure_they_are(store: Store) -> None:
    assert fetch_opinions(store.connection, ["a", "b"]) == (
        Opinion("a", "Cardiomegaly", "unmentioned", 0.99, "llm:old"),
        Opinion("a", "Edema", "present", 0.93, "llm:old"),
        Opinion("a", "Fracture", "absent", 0.9, "judge"),
    )
    assert fetch_opinions(store.connection, ["b"]) == fetch_opinions(store.connection, []) == ()


def test_what_a_sure_teacher_kept_out_waits_for_a_person_until_one_decides(store: Store) -> None:
    frozen = freeze_made((report("a", text_of(0)), report("b", text_of(1))), (report("t", text_of(5)),))
    champion = replace(student(frozen, 1), labeler=STUDENT)
    opinions = fetch_opinions(store.connection, ["a", "b"])
    settings = SETTINGS.model_copy(update={"rounds": 2})
    _, rows = feed_back(champion, frozen, settings, right(frozen), 2, opinions)
    labels = student_labels(champion, champion.scored["pool"])
    fields = ("report_id", "task", "target", "label_id", "scope", "status")
    store.write(
        {
            "labels": [label_row(label) for label in labels],
            "training_rows": [
                {name: getattr(row.label, name) for name in fields}
                | {"round_id": "rnd_2", "source": row.source, "weight": row.weight}
                | {"selected": row.selected, "reason": row.reason}
                for row in rows
            ],
        }
    )
    store.publish()
    waiting = fetch_contradictions(store.connection)
    assert [(c.report_id, c.target, c.status, c.confidence) for c in waiting] == [
        ("a", "Cardiomegaly", "absent", 0.99),
        ("a", "Edema", "absent", 0.99),
    ]
    assert waiting[1].reason == f"{AGAINST} (llm:old: present at 0.93)"
    assert fetch_contradictions(store.connection, "rnd_9") == ()
    # The page shows it, as what a student says against the teacher.
    queue = ReviewQueue(Sight(store.path))
    for target in ("Cardiomegaly", "Edema"):
        item = queue.at("student", "a", "findings", target)
        assert item is not None
        assert item.why == "student"
    ann = Labeler("human", "ann", "1")
    store.write({"labelers": [labeler_row(ann)], "labels": [label_row(said(ann, "a", "Edema", "absent", None))]})
    assert [c.target for c in fetch_contradictions(store.connection)] == ["Cardiomegaly"]


def test_realised_error_stands_beside_the_promise_with_its_interval() -> None:
    # Of 30 taken, 20 have a curated label and one of these is wrong: 5 %, Clopper and Pearson's [0.13 %, 24.9 %].
    codes = np.full((40, 13), ABSENT, np.int8)
    truth = np.full((40, 13), -1, np.int8)
    truth[:20, 0], truth[0, 0] = ABSENT, PRESENT
    truth[35:, 0] = PRESENT  # wrong too, but nobody took those
    selected = np.zeros((40, 13), bool)
    selected[:30, 0] = True
    given = [
        Certificate(FINDINGS[0], "absent", 0.9, 100, 1, 120, 110),
        Certificate(FINDINGS[1], "present", 0.8, 70, 0, 30, 30, FINDINGS[1:3]),
        Certificate(FINDINGS[2], "present", 0.8, 70, 0, 40, 40, FINDINGS[1:3]),
        Certificate(FINDINGS[3], "present", None, 0, 0, 10, 10),
    ]
    reasons = np.where(selected, "certified", "refused: over the round's budget of 30 pseudo-labels").astype(object)
    selection = Selection(selected, reasons, tuple(given), SelectSettings())
    scored = Scored(tuple(map(str, range(40))), np.zeros((40, 13, 4)), np.zeros((40, 13, 4)), codes)
    told = summarise(selection, scored, truth)
    assert (told["selected"], told["known"], told["wrong"], told["realised_error"]) == (30, 20, 1, 0.05)
    assert told["realised_interval"] == pytest.approx([0.00127, 0.24873], abs=1e-5)
    assert told["promise"] == {"error": 0.05, "confidence": 0.95, "promise": "class", "rare": "refuse"}
    assert told["certified_classes"] == 3
    first, second = told["classes"][:2]
    assert (first["calibration_clusters"], first["together_with"]) == (110, [])
    assert second["together_with"] == [FINDINGS[2]]
    unknown = summarise(replace(selection, promise=None), scored, np.full_like(truth, -1))
    assert (unknown["realised_error"], unknown["realised_interval"], unknown["promise"]) == (None, None, None)


def test_the_promise_is_checked_on_held_out_reports_where_the_pool_has_no_truth() -> None:
    # Threshold .9 for absent of the first finding: of four reports three are above it, two of these curated, one wrong.
    codes = np.full((4, 13), ABSENT, np.int8)
    probabilities = np.zeros((4, 13, 4), np.float32)
    probabilities[:, 0, ABSENT] = (0.95, 0.92, 0.99, 0.5)
    truth = np.full((4, 13), -1, np.int8)
    truth[:, 0] = (ABSENT, PRESENT, -1, PRESENT)
    certificate = Certificate(FINDINGS[0], "absent", 0.9, 100, 1, 120)
    selection = Selection(np.zeros((0, 13), bool), np.zeros((0, 13), object), (certificate,), SelectSettings())
    empty = Scored((), probabilities[:0], probabilities[:0], codes[:0])
    gate = Scored(tuple("abcd"), probabilities, probabilities, codes)
    held_out = summarise(selection, empty, truth[:0], (gate, truth))["held_out"]
    assert (held_out["reports"], held_out["known"], held_out["wrong"], held_out["realised_error"]) == (4, 2, 1, 0.5)
    assert held_out["realised_interval"] == pytest.approx([0.01258, 0.98742], abs=1e-5)  # (1 - .975 ** .5, ...)
    assert summarise(selection, empty, truth[:0])["held_out"] is None
