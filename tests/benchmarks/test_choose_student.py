"""The arithmetic of benchmarks/choose_student.py."""

from typing import Any

import choose_student
import pytest


def student(name: str, losses: list[float], line: float, parameters: int) -> dict[str, Any]:
    points = [{"reports": 25 * i, "loss": loss} for i, loss in enumerate(losses)]
    return {
        "name": name,
        "points": points,
        "accept_then_stop": line,
        "parameters": parameters,
        "law": None,
        "predicted_loss": 0.1,
        "interval": [0.08, 0.12],
        "chance_best": 0.5,
        "doubt": "",
        "verdict": "",
        "predicted_seconds": 10.0,
        "spent_seconds": 4.0,
    }


def test_regret_is_what_the_chosen_student_loses_more_than_the_best() -> None:
    record = {
        "students": [student("late", [0.3, 0.2], 0.15, 100), student("early", [0.2, 0.15], 0.1, 200)],
        "chosen": "late",
        "basis": "law",
        "why": [],
        "sizes": [25],
    }
    truth = {
        "late": {"loss": 0.05, "micro_f1": 0.9, "seconds": 30.0},
        "early": {"loss": 0.11, "micro_f1": 0.8, "seconds": 50.0},
    }
    judged = choose_student._judge(record, truth)
    assert judged["best"] == "late"
    assert judged["regret"]["rectified law"] == 0
    for way in ("loss at the largest subset", "loss untrained", "accept then stop", "largest model"):
        assert judged["regret"][way] == pytest.approx(0.06)
    assert [s["inside"] for s in judged["students"]] == [False, True]
    assert (judged["choosing_seconds"], judged["training_all_seconds"]) == (8, 80)


def test_simulated_choices_are_counted() -> None:
    figures = choose_student._simulate([75, 150, 300, 600], 1, 0)
    assert figures["choices"] == 1
    assert set(figures["missed"]) == {"rectified law", "loss at the largest subset", "accept then stop"}
    assert all(share in (0, 1) for share in figures["missed"].values())
    assert 0 <= figures["inside_90"] <= 1
