"""What treating label noise brings: soft targets, silence read as such, confident learning.

    TEACHBACK_OPENI=/data/openi python benchmarks/noise_arms.py [--corpus openi synthetic demo] [--seeds 5]
        [--student linear tiny] [--unit sentence report] [--arms plain soft prune ...] [--out DIR]

`openi` and `synthetic` are those of `noisy_teacher.py`: the teacher is the rule labeler, which reads the impression
alone. `demo` is the demo's: two noisy teachers and their adjudicator on the synthetic corpus; the rules read MIMIC's
scope, the language model (the package's stand-in) the whole report. Each arm is one round without feedback, of the same
steps; `plain` is what a campaign does by default. Figures are micro- and macro-F1 on `test`, and the paired change over
`plain` on the same reports (bootstrap by subject or text). Suspected labels are held against the curated labels of
`train`, which nothing is trained on.

Prints its setting, a table for each corpus, student and unit, and one JSON object as its last line. What an arm found
lies in the folder, so the same command goes on where it was killed.
"""

import argparse
import json
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from noisy_teacher import PREVALENCE, SYNTHETIC_REPORTS, adapt, label, reading
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from teachback.agents.assemble import TeacherSettings, teach_store
from teachback.agents.selection import Selection
from teachback.agents.settings import LLMSettings
from teachback.agents.stand_in import stand_in_settings
from teachback.agents.teach import TeachConfig
from teachback.distill.artefacts import load_json, save_json
from teachback.distill.assemble import assemble
from teachback.distill.base import load_tokenizer, require_training, resolve_student
from teachback.distill.config import CampaignSettings, load_settings
from teachback.distill.freeze import Frozen, freeze
from teachback.distill.judge import Bench, align
from teachback.distill.lessons import write_lessons
from teachback.distill.noise_clean import doubts
from teachback.distill.noise_folds import probabilities_out_of_fold
from teachback.distill.noise_suspects import known_statuses
from teachback.distill.noise_table import tabulate
from teachback.distill.prompt import load_student_prompt
from teachback.distill.questions import Questions
from teachback.distill.record import environment
from teachback.distill.round import open_test, run_round
from teachback.store.corpora.intake import import_reports
from teachback.store.database import Store, open_snapshot
from teachback.store.quality.f1 import paired_difference
from teachback.store.quality.statuses import StatusMatrix

ARMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "soft": {"targets": "soft"},
    "negative": {"unmentioned": "negative"},
    "prune": {"noise": "prune"},
    "soft+prune": {"targets": "soft", "noise": "prune"},
}
TAUGHT_SYNTHETIC = 900  # reports of `train` that the teacher of impressions labels
TAUGHT_DEMO = 1200  # reports of `train` that the demo's teachers label


def main() -> None:
    options = _options()
    require_training()
    console = Console(width=120)
    setting = {name: str(value) for name, value in vars(options).items()}
    console.print(f"setting: {setting}")
    started, found = time.monotonic(), {}
    for corpus in options.corpus:
        for student in options.student:
            for unit in options.unit:
                seeds = [_seed(corpus, student, unit, seed, options) for seed in range(options.seeds)]
                found[f"{corpus}, {student}, {unit}"] = _summary(seeds)
                _show(f"{corpus}, {student}, unit {unit}", found[f"{corpus}, {student}, {unit}"], console)
    seconds = round(time.monotonic() - started, 1)
    told = {"benchmark": "noise_arms", "setting": setting, "environment": environment(), "seconds": seconds}
    print(json.dumps(told | {"arms": found}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpora = ["openi", "synthetic", "demo"]
    parser.add_argument("--corpus", nargs="+", default=corpora, choices=corpora)
    parser.add_argument("--seeds", type=int, default=5, help="runs, each with splits and training of its own")
    parser.add_argument("--student", nargs="+", default=["linear"], help="linear, tiny, a folder, or a model's id")
    parser.add_argument("--unit", nargs="+", default=["sentence", "report"], choices=["sentence", "report"])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--out", type=Path, default=Path("noise-arms"), help="folder for stores and adapters")
    parser.add_argument("--adapt", type=float, default=60, help="seconds that a tiny student first reads Open-i's text")
    parser.add_argument("--epochs", type=float, default=5, help="passes over the lessons")
    parser.add_argument("--steps", type=int, default=300, help="the most steps of a round")
    options = parser.parse_args()
    options.arms = ["plain", *(arm for arm in options.arms if arm != "plain")]
    return options


def _seed(corpus: str, student: str, unit: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run all arms of one seed; what is done already is read."""
    store = options.out / f"{corpus}-{seed}" / "labels.duckdb"
    _prepare(store, corpus, seed)
    base = resolve_student("tiny" if student == "linear" else student)
    if corpus == "openi" and student == "tiny":
        base = adapt(store, argparse.Namespace(**vars(options) | {"student": student}), seed)
    folder = store.parent / f"{Path(student).name}-{unit}"
    wanted = {arm: _settings(base, corpus, unit, seed, options, ARMS[arm]) for arm in options.arms}
    connection, _ = open_snapshot(store)
    with connection:
        frozen = {arm: freeze(connection, settings) for arm, settings in wanted.items()}
        teacher = frozen["plain"].teacher_id
        bench = {s: Bench(connection, s, wanted["plain"].corpus, teacher, seed=seed) for s in ("calibration", "test")}
        known = Bench(connection, "train", wanted["plain"].corpus, teacher).truth
    truth = bench["test"].truth
    found: dict[str, Any] = {"teacher": bench["test"].judge(bench["test"].teacher, is_teacher=True).as_dict()}
    found["suspects"] = _suspects(frozen["plain"], wanted["plain"], known, folder)
    codes: dict[str, NDArray[np.int8]] = {}
    for arm, settings in wanted.items():
        codes[arm], trained = _train(arm, frozen[arm], settings, bench, folder, student == "linear")
        change = paired_difference(truth.codes, codes["plain"], codes[arm], truth.clusters, seed=seed)
        found[arm] = bench["test"].judge(codes[arm]).as_dict() | trained | {"over_plain": change.as_dict()}
    return found


def _train(
    arm: str, frozen: Frozen, settings: CampaignSettings, bench: Mapping[str, Bench], folder: Path, linear: bool
) -> tuple[NDArray[np.int8], dict[str, Any]]:
    """Train a student on an arm's rows; return its codes on `test`, and what it was trained on."""
    started = time.monotonic()
    rows = assemble(frozen, settings)
    treated = time.monotonic() - started
    lessons = len(write_lessons(rows, frozen, settings))
    train = settings.train
    steps = min(max(train.min_steps, round(train.epochs * lessons / train.batch)), train.max_steps or 10**9)
    length, prompt = train.max_length, load_student_prompt(settings.prompt)
    questions = Questions(load_tokenizer(settings.student), max_length=length, **prompt)
    ids = [r.report_id for r in frozen.reports["calibration"] if r.text(settings.scope)]
    truth = bench["calibration"].truth
    curated = align(ids, truth.report_ids, truth.codes)
    kind = "linear" if linear else "feedback"
    quiet = partial(_quiet, arm)
    round_ = run_round(
        frozen, settings, rows, questions, curated, folder, number=1, arm=kind, steps=steps, progress=quiet
    )
    scored = open_test(round_, frozen, settings, rows, questions, quiet)
    told = {
        "lessons": lessons,
        "rows": sum(row.selected for row in rows),
        "refused": sum(not row.selected for row in rows),
        "treating_seconds": round(treated, 1),
        "seconds": round(time.monotonic() - started, 1),
    }
    return align(bench["test"].truth.report_ids, scored.report_ids, scored.codes), told


def _suspects(frozen: Frozen, settings: CampaignSettings, known: StatusMatrix, folder: Path) -> dict[str, Any]:
    """Hold the labels that confident learning suspects against the curated labels of `train`."""
    path = folder / "suspects.json"
    stored: dict[str, Any] | None = load_json(path)
    if stored is None:
        rows = assemble(frozen, settings)
        truth = known_statuses(known)
        polar = bool({"absent", "uncertain"} & set(truth.values()))
        suspected = doubts(rows, probabilities_out_of_fold(rows, frozen, settings))
        table = tabulate(rows, suspected, truth, positives_only=not polar)
        stored = {"total": table.total.as_dict(), "classes": [c.as_dict() for c in table.classes]}
        save_json(path, stored)
    return stored


def _quiet(arm: str, what: str, done: int, total: int) -> None:
    if done == total:
        print(f"  {arm}: {what}", flush=True)


def _prepare(store: Path, corpus: str, seed: int) -> None:
    if (store.parent / "ready.json").exists():
        return
    of = "openi" if corpus == "openi" else "synthetic"
    with Store(store) as opened:
        import_reports(opened, reading(of, seed), command="benchmarks/noise_arms.py", seed=seed)
    if corpus == "demo":
        teacher = TeacherSettings(
            "stand-in", stand_in_settings(LLMSettings.from_env()), rule_scope="mimic", scope="full"
        )
        for selection in (Selection(of, ("train",), TAUGHT_DEMO, seed), Selection(of, ("gate", "test"), None, seed)):
            teach_store(store, teacher, TeachConfig(selection, 200, settings={"llm": "stand-in"}))
    else:
        label(store, of, seed, TAUGHT_SYNTHETIC)
    save_json(store.parent / "ready.json", {"prevalence": PREVALENCE, "reports": SYNTHETIC_REPORTS})


def _settings(
    base: str, corpus: str, unit: str, seed: int, options: argparse.Namespace, more: Mapping[str, Any]
) -> CampaignSettings:
    train = {"seed": seed, "epochs": options.epochs, "batch": 32, "micro_batch": 32, "max_steps": options.steps}
    asked = {"student": str(base), "unit": unit, "rounds": 1, "tasks": ["findings"], "seed": seed, "train": train}
    return load_settings("tiny-cpu", corpus="openi" if corpus == "openi" else "synthetic", **asked, **more)


def _summary(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Collect arms over the seeds."""
    totals = [seed["suspects"]["total"] for seed in seeds]
    arms = {}
    for arm in (name for name in seeds[0] if name != "suspects"):
        figures = [seed[arm].get("figures", {}) for seed in seeds]
        arms[arm] = {what: [f[what]["value"] for f in figures] for what in ("micro", "macro")}
        if arm != "teacher":
            arms[arm]["over_plain"] = [
                {what: seed[arm]["over_plain"][what] for what in ("micro", "macro")} for seed in seeds
            ]
            told = ("lessons", "rows", "refused", "treating_seconds", "seconds")
            arms[arm] |= {what: [seed[arm][what] for seed in seeds] for what in told}
    return {"arms": arms, "suspects": totals, "suspect_classes": [seed["suspects"]["classes"] for seed in seeds]}


def _show(title: str, found: dict[str, Any], console: Console) -> None:
    seeds = len(found["suspects"])
    table = Table(title=f"{title}: `test` of {seeds} seeds", title_justify="left", box=None, pad_edge=False)
    table.add_column("arm")
    for head in ("micro-F1 (spread)", "macro-F1", "micro over plain (spread)", "macro over plain", "better in", "rows"):
        table.add_column(head, justify="right")
    for arm, of in found["arms"].items():
        row = [arm, f"{np.mean(of['micro']):.3f} ({_spread(of['micro']):.3f})", f"{np.mean(of['macro']):.3f}"]
        if "over_plain" in of and arm != "plain":
            micro, macro = ([change[what]["value"] for change in of["over_plain"]] for what in ("micro", "macro"))
            row += [f"{np.mean(micro):+.3f} ({_spread(micro):.3f})", f"{np.mean(macro):+.3f} ({_spread(macro):.3f})"]
            clear = [np.sign(c["micro"]["low"]) + np.sign(c["micro"]["high"]) for c in of["over_plain"]]
            row += [f"{sum(m > 0 for m in micro)}/{seeds}, clear +{clear.count(2)} -{clear.count(-2)}"]
        else:
            row += ["", "", ""]
        table.add_row(*row, f"{np.mean(of['rows']):.0f}" if "rows" in of else "")
    console.print(table)
    for seed, total in enumerate(found["suspects"]):
        if total["precision"]:
            value, low, high = total["precision"]
            console.print(
                f"seed {seed}: {total['suspected']} of {total['labels']} labels suspected, {value:.0%} "
                f"[{low:.0%}, {high:.0%}] of {total['known']} known are wrong (of all labels {total['error']:.1%}); "
                f"{total['recall']:.0%} of the wrong ones found"
            )


def _spread(values: list[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
