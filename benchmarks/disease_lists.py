"""Diseases in JSON with evidence and yes or no, beside phrases: what it does to findings, lists and speed.

    python benchmarks/disease_lists.py STORE [--student tiny] [--verify-weight 0.2] [--seed 0]

Two students of the same base, labels, steps and seed, both tasks: one that lists diseases in phrases, as presets have
it, and one that lists them in JSON with quoted evidence and learns yes or no for each disease. On `test`: F1 of the
findings of both, with the paired change; the lists of both against the curated ones; of the second, the share of
evidence found in the report, and whether its confidence tells listed diseases that are curated from those that are not
(area under the curve; calibration error and Brier score before and after calibration on `calibration`); and lists a
second. STORE is one that `teachback demo` leaves. The last line is one JSON object.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from teachback.distill.assemble import assemble
from teachback.distill.base import load_student, load_tokenizer, require_training, resolve_student
from teachback.distill.calibrate import expected_calibration_error, fit_calibration
from teachback.distill.config import CampaignSettings, load_settings
from teachback.distill.diseases import Verification, fit_verification, is_curated, list_diseases_of
from teachback.distill.freeze import freeze
from teachback.distill.judge import Bench, align
from teachback.distill.lessons import plant_rows, write_lessons
from teachback.distill.predict import predict_diseases, predict_findings
from teachback.distill.prompt import load_student_prompt
from teachback.distill.questions import Questions
from teachback.distill.record import environment
from teachback.distill.train import train_adapter
from teachback.store.database import open_snapshot
from teachback.store.label import Label
from teachback.store.quality.diseases import Disease, evaluate_diseases, fetch_diseases
from teachback.store.quality.f1 import paired_difference
from teachback.store.quality.statuses import cluster_codes

RULES = ("normalised", "synonym", "icd3", "icd")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--student", default="tiny")
    parser.add_argument("--verify-weight", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=None, help="optimizer steps; the preset's if not given")
    parser.add_argument("--lists", type=int, default=None, help="most lists a split; all if not given")
    parser.add_argument("--keep", type=Path, default=None, help="folder that keeps the adapters")
    options = parser.parse_args()
    require_training()
    setting = {name: str(value) for name, value in vars(options).items()}
    print(f"setting: {setting}, {environment()['device']}, {environment()['cores']} cores")
    forms = {"phrases": {}, "json": {"disease_form": "json", "verify_weight": options.verify_weight}}
    found: dict[str, Any] = {}
    codes: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for form, more in forms.items():
            settings = load_settings(
                "tiny-cpu", student=resolve_student(options.student), train={"seed": options.seed}, **more
            )
            folder = (options.keep or Path(scratch)) / form
            found[form], codes[form] = _measure(options.store, settings, folder, options)
            print(f"\n{form}: {json.dumps(found[form])}", flush=True)
    connection, _ = open_snapshot(options.store)
    with connection:
        truth = Bench(connection, "test", None, "").truth
    change = paired_difference(truth.codes, codes["phrases"], codes["json"], truth.clusters).as_dict()
    print(f"\nfindings, JSON and yes or no over phrases: {change}")
    outcome = {"benchmark": "disease_lists", "setting": setting, "environment": environment()}
    print(json.dumps(outcome | found | {"findings_change": change}))


def _measure(
    store: Path, settings: CampaignSettings, folder: Path, options: argparse.Namespace
) -> tuple[dict[str, Any], Any]:
    connection, _ = open_snapshot(store)
    with connection:
        frozen = freeze(connection, settings)
        bench = {split: Bench(connection, split, None, frozen.teacher_id) for split in ("calibration", "test")}
        curated = {split: fetch_diseases(connection, of.truth.report_ids) for split, of in bench.items()}
    questions = Questions(
        load_tokenizer(settings.student), max_length=settings.train.max_length, **load_student_prompt(settings.prompt)
    )
    rows = assemble(frozen, settings)
    planted = plant_rows(rows, frozen, questions, settings)
    lessons = len(write_lessons(rows, frozen, settings))
    train = settings.train
    steps = options.steps or max(train.min_steps, round(train.epochs * lessons / train.batch))
    trained = train_adapter(settings.student, questions.tokenizer, planted, train, folder, steps=steps)
    model = load_student(settings.student, folder / "adapter", quantize=train.quantize)
    by_split = {
        split: [r for r in frozen.reports[split] if r.text(settings.scope)] for split in ("calibration", "test")
    }
    raw = {
        split: predict_findings(model, questions, [r.text(settings.scope) for r in reports])
        for split, reports in by_split.items()
    }
    ids = {split: [r.report_id for r in reports] for split, reports in by_split.items()}
    truth = bench["calibration"].truth
    calibration = fit_calibration(
        raw["calibration"], align(ids["calibration"], truth.report_ids, truth.codes), settings.calibration
    )
    decided = calibration.decide(calibration.apply(raw["test"]))
    codes = align(bench["test"].truth.report_ids, ids["test"], decided)
    figures = bench["test"].judge(codes, is_teacher=True).figures
    measured: dict[str, Any] = {
        "steps": steps,
        "long_lists": questions.long_lists,
        "rows": len(planted),
        "cut_reports": questions.cut_reports,
        "train_seconds": round(trained["seconds"], 1),
        "findings": {name: figures.as_dict()[name] for name in ("micro", "macro")},
    }
    places = {split: {i: n for n, i in enumerate(of.truth.report_ids)} for split, of in bench.items()}
    lists: list[list[Disease]] = [[] for _ in curated["test"]]
    by_split = {split: reports[: options.lists] for split, reports in by_split.items()}
    listed = sorted(places["test"][r.report_id] for r in by_split["test"] if r.report_id in places["test"])
    if settings.disease_form == "phrases":
        started = time.perf_counter()
        written = predict_diseases(model, questions, [r.text(settings.scope) for r in by_split["test"]])
        measured["lists_per_s"] = round(len(written) / (time.perf_counter() - started), 2)
        for report, diseases in zip(by_split["test"], written, strict=True):
            lists[places["test"][report.report_id]] = list(diseases)
    else:
        labels: dict[str, list[list[Label]]] = {}
        for split, reports in by_split.items():
            started = time.perf_counter()
            labels[split] = list_diseases_of(model, questions, reports, settings.scope, "benchmark", Verification())
            measured["lists_per_s"] = round(len(reports) / (time.perf_counter() - started), 2)
        judged = {
            split: [
                (label, is_curated(label, curated[split][places[split][label.report_id]]))
                for of in labels[split]
                for label in of
                if label.status == "present" and label.report_id in places[split]
            ]
            for split in labels
        }
        measured |= _verified(judged, [label for of in labels["test"] for label in of])
        for of in labels["test"]:
            for label in of:
                if label.status == "present":
                    lists[places["test"][label.report_id]].append((label.target, label.icd10))
    clusters = cluster_codes([str(bench["test"].truth.clusters[i]) for i in listed])
    known = [curated["test"][i] for i in listed]
    report = evaluate_diseases(known, [lists[i] for i in listed], clusters, n_boot=500)
    measured["diseases"] = {
        rule: {what: getattr(report.by(rule), what).as_dict() for what in ("f1", "precision", "recall")}
        for rule in RULES
    }
    return measured, codes


def _verified(judged: dict[str, list[tuple[Label, bool]]], listed: list[Label]) -> dict[str, Any]:
    p = {split: np.array([label.confidence for label, _ in of]) for split, of in judged.items()}
    right = {split: np.array([known for _, known in of]) for split, of in judged.items()}
    fitted = fit_verification(p["calibration"], right["calibration"])
    before, after, known = p["test"], fitted.apply(p["test"]), right["test"]
    order = before[known][:, None] - before[~known][None, :]
    return {
        "listed": len(listed),
        "present": len(known),
        "grounded": round(float(np.mean([bool(x.evidence) and x.evidence[0].grounded for x in listed])), 4),
        "broken_off": sum("broke off" in label.confidence_note for label in listed),
        "curated": round(float(known.mean()), 4),
        "auc": round(float(((order > 0) + 0.5 * (order == 0)).mean()), 4),
        "ece": [round(expected_calibration_error(x, known), 4) for x in (before, after)],
        "brier": [round(float(((x - known) ** 2).mean()), 4) for x in (before, after)],
        "verification": fitted.as_dict(),
        "precision_above_half": round(float(known[after >= 0.5].mean()), 4) if (after >= 0.5).any() else None,
        "kept_above_half": int((after >= 0.5).sum()),
    }


if __name__ == "__main__":
    main()
