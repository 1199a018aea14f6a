"""What students are taught about diseases, and how a campaign keeps what they list."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.synthetic_stores import copied

from teachback.distill.artefacts import load_json
from teachback.distill.assemble import TrainingRow
from teachback.distill.base import load_tokenizer
from teachback.distill.calibration import Calibration
from teachback.distill.config import load_settings
from teachback.distill.disease_lessons import disease_targets, disease_vocabulary
from teachback.distill.disease_round import keep_diseases
from teachback.distill.diseases import FEWEST, Verification, fit_verification, is_curated
from teachback.distill.freeze import TaughtLabel, freeze
from teachback.distill.labeler import load_student_labeler
from teachback.distill.prompt import load_student_prompt
from teachback.distill.questions import DISEASES, DISEASES_JSON, VERIFY, Questions, Target
from teachback.distill.round import Round
from teachback.store.database import Store
from teachback.store.label import Label, Labeler
from teachback.store.report import Report

REPORT = Report("r", "c", {"findings": 'A "small" pleural effusion.', "impression": "Edema? No pneumonia."})
LISTED = Target("pleural effusion J90", 0.2)


def row(target: str, status: str, *, task: str = "diseases", code: str | None = None, at: Any = ()) -> TrainingRow:
    label = TaughtLabel("r", task, target, status, code, "full", f"lab_{target}", "llm", at)
    return TrainingRow(label, "teacher", 1.0, "")


ROWS = [
    row("pleural effusion", "present", code="J90", at=(("findings", 2, 26),)),
    row("edema", "uncertain", code="J81.0", at=(("impression", 0, 5),)),
    row("gout", "present", code="M10.9", at=(("", -1, -1),)),
    row("Pneumonia", "absent", task="findings"),
]


def test_phrases_are_taught_as_ever_unless_settings_ask_for_more() -> None:
    plain = load_settings("tiny-cpu")
    assert disease_targets(LISTED, ROWS, REPORT, Counter(), plain) == {DISEASES: LISTED}


def test_in_json_a_disease_stands_with_its_words_and_one_without_words_is_left_out() -> None:
    settings = load_settings("tiny-cpu", disease_form="json")
    ((question, target),) = disease_targets(LISTED, ROWS, REPORT, Counter(), settings).items()
    answer = '{"diseases":[{"name":"pleural effusion","icd10":"J90","evidence":"\'small\' pleural effusion"}]}'
    # "pleural effusion J90" has 20 characters: the longer form weighs no more in all.
    assert (question, target.answer) == (DISEASES_JSON, answer)
    assert target.weight == pytest.approx(0.2 * 20 / len(answer))


def test_yes_is_taught_for_what_is_listed_and_no_for_what_is_doubted_denied_or_from_elsewhere() -> None:
    settings = load_settings("tiny-cpu", verify_weight=0.3)
    vocabulary = disease_vocabulary([*ROWS, row("rib fracture", "present"), row("effusions, pleural", "absent")])
    assert vocabulary == {"pleural effusion": 1, "gout": 1, "rib fracture": 1}
    targets = disease_targets(LISTED, ROWS, REPORT, Counter({"rib fracture": 5, "gout": 1}), settings)
    asked = {q.removeprefix(VERIFY): t for q, t in targets.items() if q.startswith(VERIFY)}
    assert {name: t.answer for name, t in asked.items()} == {
        "pleural effusion": "yes",
        "edema": "no",
        "gout": "yes",
        "pneumonia": "no",  # a finding that the teacher denies
        "rib fracture": "no",
    }
    assert {t.weight for t in asked.values()} == {0.3}
    assert targets[DISEASES] == LISTED
    assert targets == disease_targets(LISTED, ROWS, REPORT, Counter({"rib fracture": 5, "gout": 1}), settings)


def test_a_confidence_is_fitted_to_how_often_the_student_is_right() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 4000)
    right = rng.random(4000) < 1 / (1 + np.exp(-(0.5 * logits - 1.0)))
    fitted = fit_verification(1 / (1 + np.exp(-logits)), right)
    assert fitted.slope == pytest.approx(0.5, abs=0.06)
    assert fitted.shift == pytest.approx(-1.0, abs=0.1)
    assert fitted.fitted_on == 4000
    assert fitted.apply(np.array([0.5]))[0] == pytest.approx(1 / (1 + np.exp(-fitted.shift)))


@hypothesis_settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=80))
def test_any_judged_list_gives_confidences(judged: list[tuple[float, bool]]) -> None:
    p, right = np.array([x for x, _ in judged]), np.array([known for _, known in judged], dtype=bool)
    fitted = fit_verification(p, right)
    if len(p) < FEWEST or right.all() or not right.any():
        assert fitted == Verification()
    found = fitted.apply(p)
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found[np.argsort(p)]) >= -1e-12).all()  # the surer of yes, the surer


def test_a_listed_disease_is_curated_by_its_name_a_synonym_or_its_category() -> None:
    def listed(name: str, code: str | None = None) -> Label:
        return Label("r", "diseases", name, "present", "l", "full", icd10=code)

    curated = [("pleural effusion", "J90"), ("rib fracture", None)]
    assert is_curated(listed("Pleural effusions"), curated)
    assert is_curated(listed("fluid", "J90"), curated)
    assert not is_curated(listed("gout", "M10.9"), curated)
    assert not is_curated(listed("gout"), curated)
    assert not is_curated(listed("gout"), [])


def test_a_campaign_keeps_what_its_student_lists(finished: Any, tmp_path: Path) -> None:
    pytest.importorskip("llguidance")
    _, settings, _, folder, _ = finished
    store = copied(finished[0], tmp_path)
    settings = settings.model_copy(
        update={
            "disease_form": "json",
            "verify_weight": 0.2,
            "train": settings.train.model_copy(update={"max_length": 128}),
        }
    )
    questions = Questions(load_tokenizer(settings.student), max_length=128, **load_student_prompt(settings.prompt))
    shutil.copytree(next(iter(sorted(folder.glob("1-feedback-*")))) / "adapter", tmp_path / "round" / "adapter")
    labeler = Labeler(kind="student", name="student:tiny", version="v", model="tiny", parameters={"scope": "full"})
    identity = Calibration((1.0,) * 13, (0.0,) * 13, 0.5)
    round_ = Round("rnd_x", 1, "feedback", tmp_path / "round", labeler, {"adapter_hash": "h"}, identity, {})
    with Store(store, create=False) as opened:
        frozen = freeze(opened.connection, settings)
        listed = keep_diseases(round_, frozen, settings, questions, opened, lambda *told: None)
        rows = opened.connection.execute(
            "SELECT report_id, target, status, confidence, confidence_note, evidence, round_id FROM labels "
            "WHERE task = 'diseases' AND round_id = 'rnd_x'"
        ).fetchall()
        again = keep_diseases(round_, frozen, settings, questions, opened, lambda *told: pytest.fail("listed again"))
    assert set(listed) == {report.report_id for report in frozen.reports["test"]}
    assert again == listed
    assert {(r, t) for r, t, status, *_ in rows if status == "present"} == {
        (r, n) for r, of in listed.items() for n, _ in of
    }
    assert rows
    for *_, confidence, note, evidence, _ in rows:
        assert 0 <= confidence <= 1
        assert note.startswith("yes or no, ")
        assert evidence[0]["start"] >= 0
    card = load_json(tmp_path / "round" / "adapter" / "teachback.json")
    assert card is not None
    assert card["diseases"]["verification"]["slope"] > 0
    (name,) = {load_student_labeler(tmp_path / "round").spec.name}
    assert name.startswith("student:")
