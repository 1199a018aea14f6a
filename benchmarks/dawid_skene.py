"""Dawid-Skene on simulated votes: seconds a fit, beside crowd-kit's in the same run, and whether both say the same.

    python benchmarks/dawid_skene.py [--items 20000] [--labelers 3 10] [--python path/to/python/with/crowd-kit]

Both take the same EM steps from the same majority, unsmoothed, without stopping early; the clock runs from the table of
votes (crowd-kit: from its data frame) to the posteriors. crowd-kit lives in an environment that this script makes under
`--env-dir` on first use; without it, only ours is timed. The last line is one JSON object.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from comparators.environments import Comparator, Unavailable, default_folder, environment, run_script

from teachback.agents.aggregate.dawid_skene import DawidSkene, dawid_skene
from teachback.store.label import STATUSES

CROWD_KIT = Comparator("crowd-kit", "crowd_kit_run.py", ("crowd-kit==1.4.2",))
PREVALENCE = (0.15, 0.35, 0.05, 0.45)  # of the statuses, in their order
ACCURACY = (0.75, 0.95)  # of the labelers, drawn between
MISSING = 0.05  # of the votes
TIMEOUT_S = 600.0


def main() -> None:
    options = _options()
    print(f"setting: {options.items:,} items, {len(STATUSES)} statuses, {options.iterations} EM steps, unsmoothed")
    print(f"         median of {options.repeat} fits, seed {options.seed}, {MISSING:.0%} of the votes missing")
    print(f"         Python {platform.python_version()}, numpy {np.__version__}, {os.cpu_count()} cores\n")
    python = _crowd_kit(options)
    shown = [_measure(options, n_labelers, python) for n_labelers in options.labelers]
    print()
    print(json.dumps({"items": options.items, "iterations": options.iterations, "seed": options.seed, "runs": shown}))


def _measure(options: argparse.Namespace, n_labelers: int, python: str | None) -> dict[str, Any]:
    codes = _votes(options.items, n_labelers, options.seed)
    model = DawidSkene(iterations=options.iterations, tolerance=-1.0, smoothing=0.0)
    seconds = []
    for _ in range(options.repeat):
        started = time.perf_counter()
        fit = dawid_skene(codes, model=model)
        seconds.append(time.perf_counter() - started)
    ours = statistics.median(seconds)
    patterns = len(np.unique(codes, axis=0))
    measured: dict[str, Any] = {"labelers": n_labelers, "patterns": patterns, "ours_s": round(ours, 5)}
    print(f"{n_labelers} labelers, {patterns:,} different rows")
    print(f"  ours       {ours * 1000:10.1f} ms")
    if python is None:
        return measured
    with tempfile.TemporaryDirectory() as folder:
        votes, posteriors = Path(folder, "votes.npy"), Path(folder, "posteriors.npy")
        np.save(votes, codes)
        steps = ["--iterations", str(options.iterations), "--repeat", str(options.repeat)]
        try:
            theirs = run_script(python, CROWD_KIT.script, [str(votes), str(posteriors), *steps], TIMEOUT_S)
        except (OSError, Unavailable) as reason:
            print(f"  crowd-kit is left out: {reason}")
            return measured
        difference = float(np.abs(np.load(posteriors) - fit.posteriors).max())
    median = statistics.median(theirs["seconds"])
    print(f"  crowd-kit  {median * 1000:10.1f} ms   {median / ours:,.0f} times as long")
    print(f"  posteriors differ by at most {difference:.1e}")
    measured |= {"crowd_kit_s": round(median, 4), "ratio": round(median / ours, 1), "max_difference": difference}
    return measured | {"crowd_kit": theirs["crowd_kit"], "pandas": theirs["pandas"]}


def _votes(n_items: int, n_labelers: int, seed: int) -> np.ndarray:
    """Votes `(N, V)`, -1 for none, of labelers that err independently."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(len(STATUSES), p=PREVALENCE, size=(n_items, 1))
    right = rng.random((n_items, n_labelers)) < rng.uniform(*ACCURACY, n_labelers)
    said = np.where(right, truth, rng.integers(0, len(STATUSES), right.shape))
    missing = rng.random(said.shape) < MISSING
    missing[:, 0] = False  # crowd-kit knows no item that nobody voted on
    return np.where(missing, -1, said).astype(np.int8)


def _crowd_kit(options: argparse.Namespace) -> str | None:
    """Return a Python that has crowd-kit; None where there is none, after saying why."""
    if options.python:
        return str(options.python)
    try:
        return str(environment(CROWD_KIT, options.env_dir))
    except Unavailable as reason:
        print(f"crowd-kit is left out: {reason}; name a Python that has it: --python PATH\n")
        return None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--labelers", type=int, nargs="+", default=[3, 10])
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0, help="of the votes")
    parser.add_argument("--python", help="a Python that has crowd-kit")
    parser.add_argument("--env-dir", type=Path, default=default_folder(), help="where crowd-kit's environment is kept")
    return parser.parse_args()


if __name__ == "__main__":
    main()
