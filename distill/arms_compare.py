"""Arms and seeds side by side: mean and spread over seeds, and paired differences on the same reports.

Two kinds of chance are kept apart. The spread over seeds is that of training: the sample standard deviation of what
equal campaigns reach on equal reports. An interval is that of the reports: each seed has its own, paired, by subject.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from teachback.distill.arms import Arm
from teachback.distill.artefacts import load_arrays, load_json
from teachback.distill.calibrate import Calibration
from teachback.distill.judge import Bench, align
from teachback.distill.report.figures import list_subjects
from teachback.distill.scored import DECIDING_SPLITS
from teachback.errors import StoreError
from teachback.store.quality.f1 import paired_difference

__all__ = ["SPLITS", "Ran", "compare_runs"]

SPLITS = ("gate", "test")
FIGURES = ("micro", "macro")
_BASELINES = ("base", "linear")  # arms of rounds that are the same in every campaign on equal rows


@dataclass(frozen=True, slots=True)
class Ran:
    """One campaign of an arm: its arm, its seed, its record, and its folder."""

    arm: Arm
    seed: int
    record: Mapping[str, Any]
    folder: Path

    @property
    def champion(self) -> Mapping[str, Any]:
        """The record of the round that stands at the end."""
        return next(r for r in self.record["rounds"] if r["name"] == self.record["champion"])


def compare_runs(
    connection: duckdb.DuckDBPyConnection, ran: Sequence[Sequence[Ran]], corpus: str | None
) -> dict[str, Any]:
    """Compare campaigns.

    Args:
        connection: The store or a snapshot.
        ran: For each arm its campaigns, the same seeds in the same order; the first arm is the reference.
        corpus: Only reports of this corpus.

    Returns:
        `subjects`, everyone that the first arm's campaigns judged; `baselines`, those of them that are no arm's
        champion, held against the first arm's; and `arms`.
    """
    teacher = ran[0][0].record["teacher"]["teacher_id"]
    benches = [Bench(connection, split, corpus, teacher) for split in SPLITS]
    reference = [{bench.split: _codes(run.folder, run.champion, bench) for bench in benches} for run in ran[0]]
    return {
        "subjects": _subjects(ran[0]),
        "baselines": [*_teachers(benches, ran[0], reference), *_untaught(benches, ran[0], reference)],
        "arms": [_arm(benches, runs, ran[0], reference) for runs in ran],
    }


_Codes = Mapping[str, NDArray[np.int8]]


def _arm(benches: Sequence[Bench], runs: Sequence[Ran], first: Sequence[Ran], reference: Sequence[_Codes]) -> Any:
    """Return an arm's champions over the seeds, and what each gains over the first arm's with the same seed."""
    arm, champions = runs[0].arm, [run.champion for run in runs]
    own = [{bench.split: _codes(run.folder, run.champion, bench) for bench in benches} for run in runs]
    ids = [run.record["campaign_id"] for run in runs]
    the_same = ids == [run.record["campaign_id"] for run in first]
    return {
        "name": arm.name,
        "why": arm.why,
        "changes": dict(arm.changes),
        "campaigns": ids,
        "folders": [str(run.folder) for run in runs],
        "champions": [champion["name"] for champion in champions],
        "stopped": [run.record["stopped"] for run in runs],
        "figures": {split: _spread([champion[split]["figures"] for champion in champions]) for split in SPLITS},
        "over_teacher": {split: _over_teacher(champions, runs, split) for split in SPLITS},
        "same_as_first": the_same and runs is not first,
        "over_first": None if the_same else _gains(benches, reference, own, [run.seed for run in runs]),
        "trainings": [sum(r["training"]["steps"] > 0 for r in run.record["rounds"]) for run in runs],
        "steps": [sum(r["training"]["steps"] for r in run.record["rounds"]) for run in runs],
        "training_seconds": [sum(r["training"]["seconds"] for r in run.record["rounds"]) for run in runs],
        "seconds": [run.record["seconds"] for run in runs],
    }


def _subjects(runs: Sequence[Ran]) -> list[dict[str, Any]]:
    """Return each subject of an arm over the seeds: teachers, base model, `linear`, rounds and their controls."""
    by_name: dict[str, list[tuple[Ran, Any]]] = {}
    for run in runs:
        for subject in list_subjects(run.record):
            judged = {split: subject.on(split) for split in SPLITS}
            by_name.setdefault(subject.name, []).append((run, judged))
    return [
        {
            "name": name,
            "seeds": [run.seed for run, _ in found],
            "champion_of": [run.seed for run, _ in found if run.record["champion"] == name],
            "figures": {split: _spread([judged[split]["figures"] for _, judged in found]) for split in SPLITS},
            "over_teacher": {
                split: _over_teacher([judged for _, judged in found], [run for run, _ in found], split)
                for split in SPLITS
            },
        }
        for name, found in by_name.items()
    ]


def _teachers(benches: Sequence[Bench], first: Sequence[Ran], reference: Sequence[_Codes]) -> list[dict[str, Any]]:
    """Hold the teacher and its labelers against the first arm's champions."""
    of = [{**{name: codes for name, _, codes in b.members()}, "teacher": b.teacher} for b in benches]
    subjects = {subject["name"]: subject for subject in first[0].record["teacher"]["subjects"]}
    return [
        {
            "name": name,
            "figures": {split: _spread([judged[split]["figures"]] * len(first)) for split in SPLITS},
            "over_first": _gains(
                benches,
                reference,
                [{b.split: codes[name] for b, codes in zip(benches, of, strict=True)}] * len(first),
                [run.seed for run in first],
            ),
        }
        for name, judged in subjects.items()
    ]


def _untaught(benches: Sequence[Bench], first: Sequence[Ran], reference: Sequence[_Codes]) -> list[dict[str, Any]]:
    """Hold the base model and `linear` against the first arm's champions."""
    found = []
    for arm in _BASELINES:
        rounds = [r for run in first for r in run.record["rounds"] if r["arm"] == arm]
        if len(rounds) < len(first):  # `linear` was not wanted
            continue
        paired = list(zip(first, rounds, strict=True))
        own = [{b.split: _codes(run.folder, round_, b) for b in benches} for run, round_ in paired]
        figures = {split: _spread([r[split]["figures"] for r in rounds]) for split in SPLITS}
        gains = _gains(benches, reference, own, [run.seed for run in first])
        found.append({"name": rounds[0]["name"], "figures": figures, "over_first": gains})
    return found


def _codes(folder: Path, round_: Mapping[str, Any], bench: Bench) -> NDArray[np.int8]:
    """Read what a round decided on a split, in the order of the curated labels, from the round's own files.

    The base model has no labels in the store, and may be the champion.
    """
    here = folder / Path(round_["folder"]).name
    splits = DECIDING_SPLITS if bench.split in DECIDING_SPLITS else (bench.split,)
    stored = load_arrays(here / f"predictions-{'-'.join(splits)}.npz")
    calibration = load_json(here / "calibration.json")
    if stored is None or calibration is None:
        remedy = "delete its campaign.json, and the same command predicts again"
        raise StoreError(f"{here} no longer holds what {round_['name']} predicted", remedy)
    fitted = Calibration.from_dict(calibration)
    codes = fitted.decide(fitted.apply(stored[bench.split]))
    return align(bench.truth.report_ids, [str(i) for i in stored[f"{bench.split}_ids"]], codes)


def _gains(
    benches: Sequence[Bench], reference: Sequence[_Codes], own: Sequence[_Codes], seeds: Sequence[int]
) -> dict[str, Any]:
    """Return by split and seed what codes gain over the reference, paired on all curated reports."""
    gains: dict[str, Any] = {}
    for bench in benches:
        truth = bench.truth
        each = [
            paired_difference(truth.codes, before[bench.split], after[bench.split], truth.clusters, seed=seed)
            for before, after, seed in zip(reference, own, seeds, strict=True)
        ]
        gains[bench.split] = [
            {"seed": seed, **{name: getattr(gain, name).as_dict() for name in FIGURES}}
            for seed, gain in zip(seeds, each, strict=True)
        ]
    return gains


def _over_teacher(judged: Sequence[Mapping[str, Any]], runs: Sequence[Ran], split: str) -> list[dict[str, Any]]:
    return [
        {"seed": run.seed, **{name: one[split]["over_teacher"][name] for name in FIGURES}}
        for run, one in zip(runs, judged, strict=True)
        if one[split]["over_teacher"] is not None
    ]


def _spread(figures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return mean and sample standard deviation over the seeds, and each seed's figure with its interval."""
    out = {}
    for name in FIGURES:
        values = [one[name]["value"] for one in figures if one[name]["value"] is not None]
        out[name] = {
            "mean": fmean(values) if values else None,
            "spread": stdev(values) if len(values) > 1 else None,
            "each": [one[name] for one in figures],
        }
    return out
