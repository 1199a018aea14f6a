"""Does `teachback distill --choose` choose well? What it predicts beside what training on all reports comes to.

    teachback demo demo && python benchmarks/choose_student.py demo/labels.duckdb [--share 0.25 0.5] [--out DIR]

Students: the packaged one, and four that are made here: the packaged one that went on reading (100 steps: a close
rival), one half as wide, one of the same size with little pretraining, and one of random weights. Each is trained on
nested subsets and, for the truth, on all labelled training reports, by the settings of the preset. Everything is judged
by the loss on the calibration split, as the choice is.

For each share: the losses predicted with their intervals and the true ones; the regret, which is what the chosen
student loses more than the best one; and the regret of simpler ways: the order of the losses at the largest subset or
untrained, the paper's accept then stop, and the largest model. The cost is the time of all subsets beside that of
training every student on all reports. Times depend on what else the machine does.

And the same of simulated choices among three students that follow the law, with numbers drawn from wide ranges and 4 %
of noise on every loss: in how many the best is missed, what that costs, and how often 90 % intervals hold the loss.

Prints its setting, a table for each share, and one JSON object as its last line. Runs again where it was killed.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from teachback.cli.rounds_bar import RoundsBar
from teachback.distill.base import require_training
from teachback.distill.choose import choose_student
from teachback.distill.config import load_settings
from teachback.distill.init_student import init_student
from teachback.distill.prompt import load_student_prompt
from teachback.distill.recipe import Recipe
from teachback.distill.scaling import Curve, Law, forecast
from teachback.store.corpora.synthetic import generate

TEXT_SEED = 90210  # as `teachback init-student`: other reports than a demo's
# Name to (recipe, whether it starts from the packaged student).
STUDENTS: Mapping[str, tuple[Recipe, int, bool]] = {
    "read-on": (Recipe(seconds=0.0, steps=100, learning_rate=1e-3), 5_000, True),
    "half": (Recipe(seconds=0.0, steps=800, hidden=96, heads=3, feed_forward=256), 20_000, False),
    "short": (Recipe(seconds=0.0, steps=300), 5_000, False),
    "raw": (Recipe(seconds=0.0, steps=1), 5_000, False),
}
FULL = 1.0
SIMULATED_FULL, SIMULATED_NOISE, SIMULATED_DRAWS = 1200, 0.04, 50


def main() -> None:
    options = _options()
    require_training()
    console = Console(width=130)
    setting = {name: str(value) for name, value in vars(options).items()}
    console.print(f"setting: {setting}")
    students = _students(options.students, options.out, console)
    settings = load_settings(options.preset, seed=options.seed)
    started, found = time.monotonic(), {}
    with RoundsBar(console) as bar:
        # The truth: the largest subset is everything; the losses there are not fitted to, only looked up.
        whole, _ = choose_student(options.store, students, settings, bar, largest=FULL, draws=2)
        told = {
            share: choose_student(options.store, students, settings, bar, largest=share)[0] for share in options.share
        }
    truth = {student["name"]: student["points"][-1] for student in whole["students"]}
    for share, record in told.items():
        found[f"share {share:g}"] = judged = _judge(record, truth)
        _show(share, judged, console)
    simulated = {
        f"share {share:g}": _simulate(record["sizes"], options.simulated, options.seed)
        for share, record in told.items()
    }
    for share, figures in simulated.items():
        console.print(f"simulated, {share}: {figures}")
    outcome = {"benchmark": "choose_student", "setting": setting, "environment": whole["environment"]}
    plain = {"seconds": round(time.monotonic() - started, 1), "full_reports": whole["full_reports"]}
    print(json.dumps(outcome | plain | found | {"simulated": simulated}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, help="a store with a teacher's labels, such as a demo's")
    parser.add_argument("--students", nargs="+", default=["tiny", *STUDENTS], choices=["tiny", *STUDENTS])
    parser.add_argument("--share", nargs="+", type=float, default=[0.25, 0.5], help="of the largest subset")
    parser.add_argument("--out", type=Path, default=Path("choose-student"), help="folder for the students made here")
    parser.add_argument("--simulated", type=int, default=40, help="simulated choices a share")
    parser.add_argument("--preset", default="tiny-cpu")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _students(names: Sequence[str], out: Path, console: Console) -> list[str]:
    """Make the students that are not there yet."""
    made = []
    for name in names:
        if name == "tiny":
            made.append(name)
            continue
        recipe, reports, from_tiny = STUDENTS[name]
        texts = [entry.report.text("full") for entry in generate(reports, seed=TEXT_SEED)]
        start = str(_packaged()) if from_tiny else None
        record = init_student(texts, out / name, recipe, load_student_prompt("short"), start=start)
        console.print(f"{name}: {record['weights'] / 1e6:.2f} M weights, {record['steps_done']} steps of pretraining")
        made.append(str(out / name))
    return made


def _packaged() -> str:
    from teachback.distill.base import resolve_student

    return resolve_student("tiny")


def _judge(record: Mapping[str, Any], truth: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Hold a choice against the truth."""
    students = record["students"]
    best = min(truth, key=lambda name: truth[name]["loss"])
    regret = {way: truth[name]["loss"] - truth[best]["loss"] for way, name in _ways(students, record["chosen"]).items()}
    return {
        "chosen": record["chosen"],
        "basis": record["basis"],
        "why": record["why"],
        "best": best,
        "sizes": record["sizes"],
        "regret": regret,
        "choosing_seconds": sum(student["spent_seconds"] for student in students),
        "training_all_seconds": sum(truth[student["name"]]["seconds"] for student in students),
        "students": [_beside(student, truth[student["name"]]) for student in students],
    }


def _ways(students: Sequence[Mapping[str, Any]], chosen: str) -> dict[str, str]:
    """Return whom each way of choosing names."""

    def least(key: Any) -> str:
        return str(min(students, key=key)["name"])

    return {
        "rectified law": chosen,
        "loss at the largest subset": least(lambda s: s["points"][-1]["loss"]),
        "loss untrained": least(lambda s: s["points"][0]["loss"]),
        "accept then stop": least(lambda s: s["accept_then_stop"]),
        "largest model": least(lambda s: (-s["parameters"], s["points"][0]["loss"])),
    }


def _beside(student: Mapping[str, Any], truth: Mapping[str, Any]) -> dict[str, Any]:
    interval = student["interval"]
    return {
        "name": student["name"],
        "parameters": student["parameters"],
        "losses": {str(point["reports"]): round(point["loss"], 4) for point in student["points"]},
        "law": student["law"],
        "predicted": student["predicted_loss"],
        "interval": interval,
        "accept_then_stop": student["accept_then_stop"],
        "chance_best": student["chance_best"],
        "doubt": student["doubt"],
        "verdict": student["verdict"],
        "true": truth["loss"],
        "true_micro_f1": truth["micro_f1"],
        "inside": None if interval is None else interval[0] <= truth["loss"] <= interval[1],
        "predicted_seconds": student["predicted_seconds"],
        "true_seconds": truth["seconds"],
        "spent_seconds": student["spent_seconds"],
    }


def _simulate(sizes: Sequence[int], choices: int, seed: int) -> dict[str, Any]:
    """Choose among three students of known laws, again and again."""
    chance = np.random.default_rng(seed)
    regret: dict[str, list[float]] = {"rectified law": [], "loss at the largest subset": [], "accept then stop": []}
    inside = []

    def noise() -> float:
        return float(np.exp(SIMULATED_NOISE * chance.standard_normal()))

    def within(low: float, high: float) -> float:
        return float(np.exp(chance.uniform(np.log(low), np.log(high))))

    for number in range(choices):
        laws = {}
        for name in "abc":  # from those that learn nearly all to those that learn next to nothing
            start = within(0.25, 0.35)
            laws[name] = Law(start, start * chance.uniform(0.08, 0.95), within(40, 500), chance.uniform(0.7, 3))
        seen = (0, *sizes)
        curves = {name: Curve(seen, tuple(law.loss(d) * noise() for d in seen)) for name, law in laws.items()}
        told = forecast(curves, SIMULATED_FULL, draws=SIMULATED_DRAWS, seed=number)
        true = {name: law.loss(SIMULATED_FULL) for name, law in laws.items()}
        inside += [f.low <= true[n] * noise() <= f.high for n, f in told.items() if f.low is not None and f.high]
        ahead = min(curves, key=lambda name: curves[name].losses[-1])
        predicted = [name for name in told if not told[name].doubt]
        by_law = min(predicted, key=lambda name: told[name].loss or 0.0) if ahead in predicted else ahead
        by_line = min(told, key=lambda name: told[name].line or 0.0)
        for way, name in zip(regret, (by_law, ahead, by_line), strict=True):
            regret[way].append(true[name] - min(true.values()))
    return {
        "choices": choices,
        "inside_90": round(float(np.mean(inside)), 3),
        "intervals": len(inside),
        "missed": {way: round(float(np.mean(np.array(of) > 1e-12)), 3) for way, of in regret.items()},
        "mean_regret": {way: round(float(np.mean(of)), 5) for way, of in regret.items()},
    }


def _show(share: float, judged: Mapping[str, Any], console: Console) -> None:
    table = Table(title=f"subsets up to {share:g}: {judged['sizes']}; chosen {judged['chosen']} by {judged['basis']}")
    table.add_column("student")
    for column in ("last loss", "predicted", "true loss", "inside", "true F1", "best", "seconds, predicted", "true"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for student in judged["students"]:
        interval = student["interval"]
        table.add_row(
            student["name"],
            f"{list(student['losses'].values())[-1]:.3f}",
            "-" if interval is None else f"{student['predicted']:.3f} \\[{interval[0]:.3f}, {interval[1]:.3f}]",
            f"{student['true']:.3f}",
            {None: "-", True: "yes", False: "no"}[student["inside"]],
            f"{student['true_micro_f1']:.3f}",
            "-" if student["chance_best"] is None else f"{student['chance_best']:.0%}",
            "-" if student["predicted_seconds"] is None else f"{student['predicted_seconds']:.0f}",
            f"{student['true_seconds']:.0f}",
            student["verdict"],
        )
    console.print(table)
    console.print("regret: " + ", ".join(f"{way} {value:.4f}" for way, value in judged["regret"].items()))
    console.print(
        f"cost: {judged['choosing_seconds']:.0f} s for all subsets, {judged['training_all_seconds']:.0f} s for all "
        "students at the full size"
    )


if __name__ == "__main__":
    main()
