"""The rule labeler on Open-i: F1 against the manual codes, and reports a second in one process.

    TEACHBACK_OPENI=path/to/openi python benchmarks/rule_labeler.py [--half a|b|all] [--uncertain positive]

The codes tell of positives only, so this measures the detection of positives: an uncertain finding counts as not
positive unless told otherwise. Enlarged Cardiomediastinum and Pleural Other are coded too loosely to judge by, hence a
macro-F1 without them. Halves are drawn by text, so that a duplicate is never on both sides; intervals are bootstraps
over distinct texts. The folder holds NLM's XML (.tgz); a CSV `*mesh14.csv` beside it (columns id, coded and the 13
findings) is taken as the manual codes, else the codes are read from the XML.

Each labeler runs in a process of its own, which tells its peak memory. `--context` adds medspaCy's ConText on the same
reports in the same run, with our target phrases and its own rules (`pip install medspacy`, in an environment of its
own where it wants older libraries).
"""

import argparse
import csv
import hashlib
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from teachback.agents.rules import RuleEngine, RuleSet
from teachback.store.corpora.imported import Entry
from teachback.store.corpora.openi import read_openi
from teachback.store.label import FINDINGS, STATUSES, Status
from teachback.store.quality.f1 import F1Report, evaluate_statuses
from teachback.store.report import SCOPES, Report

WEAKLY_CODED = ("Enlarged Cardiomediastinum", "Pleural Other")
PRESENT, UNMENTIONED = STATUSES.index("present"), STATUSES.index("unmentioned")


def main() -> None:
    options = _options()
    folder = Path(os.environ.get("TEACHBACK_OPENI", ""))
    if not os.environ.get("TEACHBACK_OPENI") or not folder.is_dir():
        sys.exit("set TEACHBACK_OPENI to the folder that holds Open-i's .tgz of XML files")
    reports, truth, codes_from = _read(folder)
    texts = [_text_hash(report) for report in reports]
    kept = [i for i, text in enumerate(texts) if options.half == "all" or "ab"[text[0] % 2] == options.half]
    clusters = np.unique([texts[i] for i in kept], return_inverse=True)[1]
    chosen = [reports[i] for i in kept]

    positive: set[Status] = {"present"} if options.uncertain == "negative" else {"present", "uncertain"}
    judge = partial(
        evaluate_statuses, truth[kept], clusters=clusters, positive=positive, n_boot=2000, seed=options.seed
    )
    predicted, rate, peak = _apart(_label, chosen, options.scope)
    _, rate_anew, _ = _apart(_label, chosen, options.scope, 0)
    shown = _print(judge(predicted), rate, rate_anew, peak, options, codes_from, RuleSet.load().version)
    if options.context:
        predicted, context_rate, context_peak = _apart(_label_with_context, chosen, options.scope)
        figures = judge(predicted)
        shown["context"] = _print_context(figures, context_rate, context_peak, rate)
    print(json.dumps(shown))


def _text_hash(report: Report) -> bytes:
    """Hash the text that is labelled. Its first byte tells the half: keep it, rules were written on one of them."""
    text = "|".join(report.sections.get(name, "") for name in ("findings", "impression")).lower()
    return hashlib.md5(text.encode(), usedforsecurity=False).digest()


def _read(folder: Path) -> tuple[list[Report], np.ndarray, str]:
    """Return the coded reports with text in findings or impression, their codes (N, 13), and where these came from."""
    archive = next(iter(sorted(folder.glob("*.tgz")) + sorted(folder.glob("*.tar.gz"))), folder)
    entries = [entry for entry in read_openi(archive).entries if isinstance(entry, Entry)]
    table = next(iter(sorted(folder.glob("*mesh14.csv"))), None)
    if table is None:
        coded = {
            entry.report.report_id: {label.target for label in entry.labels if label.status == "present"}
            for entry in entries
            if entry.labels
        }
    else:
        with table.open(encoding="utf-8", newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if row["coded"] == "1"]
        coded = {row["id"]: {finding for finding in FINDINGS if row[finding] == "1"} for row in rows}
    reports = [e.report for e in entries if e.report.report_id in coded and e.report.scoped("full")]
    truth = np.full((len(reports), len(FINDINGS)), UNMENTIONED, dtype=np.int8)
    for row, report in enumerate(reports):
        for finding in coded[report.report_id]:
            truth[row, FINDINGS.index(finding)] = PRESENT
    return reports, truth, table.name if table else archive.name


def _apart(job: Callable[..., tuple[np.ndarray, float]], *arguments: Any) -> tuple[np.ndarray, float, float]:
    """Run a labeler in a fresh process; return its statuses, reports a second and its peak memory in MB."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        (codes, rate), peak = process.submit(_with_peak, job, arguments).result()
    return codes, rate, peak


def _with_peak(job: Callable[..., Any], arguments: Sequence[Any]) -> tuple[Any, float]:
    done = job(*arguments)
    return done, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _label(reports: list[Report], scope: str, remember: int | None = None) -> tuple[np.ndarray, float]:
    """Return the statuses (N, 13) and reports a second, from a cold start of the sentence memory."""
    engine = RuleEngine(RuleSet.load()) if remember is None else RuleEngine(RuleSet.load(), remember=remember)
    started = time.perf_counter()
    verdicts = [engine.label_sections(report.scoped(scope)) for report in reports]
    rate = len(reports) / (time.perf_counter() - started)
    codes = [[STATUSES.index(verdict[finding][0]) for finding in FINDINGS] for verdict in verdicts]
    return np.array(codes, dtype=np.int8), rate


def _label_with_context(reports: list[Report], scope: str) -> tuple[np.ndarray, float]:
    """Likewise by medspaCy's ConText; its pipeline is built before the clock starts, as the rules are."""
    from context_baseline import build_context, label_with_context

    pipeline = build_context()
    texts = ["\n\n".join(text for _, text in report.scoped(scope)) for report in reports]
    started = time.perf_counter()
    labelled = label_with_context(pipeline, texts)
    rate = len(reports) / (time.perf_counter() - started)
    codes = [[STATUSES.index(statuses.get(finding, "unmentioned")) for finding in FINDINGS] for statuses in labelled]
    return np.array(codes, dtype=np.int8), rate


def _print_context(figures: F1Report, rate: float, peak: float, ours: float) -> dict[str, Any]:
    usable = [f.f1.value for f in figures.findings if f.positives and f.finding not in WEAKLY_CODED]
    print("medspaCy's ConText, the same reports:")
    for f in figures.findings:
        print(f"  {f.finding:26}{f.precision.value:7.3f}{f.recall.value:7.3f}   {f.f1!s}")
    print(f"micro-F1 over 13   {figures.micro}; macro-F1 over {len(usable)} {np.mean(usable):.3f}")
    print(f"speed              {rate:,.0f} reports/s (the rules: {ours / rate:,.0f} times as fast); {peak:,.0f} MB\n")
    return {
        "micro_f1": figures.micro.as_dict(),
        "macro_f1_11": round(float(np.mean(usable)), 4),
        "reports_per_second": round(rate, 1),
        "peak_mb": round(peak),
        "rules_times_as_fast": round(ours / rate, 1),
    }


def _print(
    figures: F1Report,
    rate: float,
    rate_anew: float,
    peak: float,
    options: argparse.Namespace,
    codes_from: str,
    version: str,
) -> dict[str, Any]:
    macro = {f.finding: f.f1.value for f in figures.findings if f.positives}
    usable = [f1 for finding, f1 in macro.items() if finding not in WEAKLY_CODED]
    print(f"setting: half {options.half}, scope {options.scope}, uncertain counts as {options.uncertain}")
    print(f"         {figures.n_reports:,} coded reports, {figures.n_clusters:,} distinct texts, codes of {codes_from}")
    print(f"         rules {version}, Python {platform.python_version()}, {os.cpu_count()} cores, one process\n")
    print(f"{'finding':28}{'P':>7}{'R':>7}   {'F1 [95 %]':24}{'n':>5}{'called':>8}")
    for f in figures.findings:
        weak = " (weak codes)" if f.finding in WEAKLY_CODED else ""
        p, r = f.precision.value, f.recall.value
        print(f"{f.finding:28}{p:7.3f}{r:7.3f}   {f.f1!s:24}{f.positives:5}{f.predicted_positives:8}{weak}")
    print(f"\nmicro-F1 over 13   {figures.micro}   P {figures.precision.value:.3f}  R {figures.recall.value:.3f}")
    print(f"macro-F1 over {len(macro)}   {figures.macro}")
    print(f"macro-F1 over {len(usable)}   {np.mean(usable):.3f}   (without {' and '.join(WEAKLY_CODED)})")
    print(
        f"speed              {rate:,.0f} reports/s; {rate_anew:,.0f} when no sentence is remembered; {peak:,.0f} MB\n"
    )
    return {
        "half": options.half,
        "scope": options.scope,
        "uncertain": options.uncertain,
        "n_reports": figures.n_reports,
        "n_texts": figures.n_clusters,
        "rules": version,
        "micro_f1": figures.micro.as_dict(),
        "macro_f1_13": figures.macro.as_dict(),
        "macro_f1_11": round(float(np.mean(usable)), 4),
        "precision": figures.precision.value,
        "recall": figures.recall.value,
        "f1": {finding: round(f1, 4) for finding, f1 in macro.items()},
        "reports_per_second": round(rate),
        "reports_per_second_nothing_remembered": round(rate_anew),
        "peak_mb": round(peak),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The rule labeler on Open-i.")
    parser.add_argument("--half", choices=("a", "b", "all"), default="all", help="rules were written on half a")
    parser.add_argument("--scope", choices=SCOPES, default="full")
    parser.add_argument("--uncertain", choices=("negative", "positive"), default="negative")
    parser.add_argument("--context", action="store_true", help="medspaCy's ConText beside it")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    return parser.parse_args()


if __name__ == "__main__":
    main()
