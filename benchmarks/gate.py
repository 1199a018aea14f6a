"""Does the gate keep worse students out and let better ones in? 200 simulated rounds of each kind, no training.

    OPENBLAS_NUM_THREADS=1 python benchmarks/gate.py

A round has 300 to 600 gate reports, a champion of a true micro-F1 of .85 to .90 (.78 to .85 where a candidate gains .05
or more, as round 1 does over base or teacher), and a candidate. True quality is that of a student's law, on infinitely
many reports; one draw of 200,000 checks it (`gate_rounds.py`).

- Harmful feedback: of 4 findings 2 % to 20 % of the labels are flipped; or all classes drift, the log-odds of a call up
  (over-called) or down (under-called) by .25 or .5. Counted as worse where the true micro-F1 is lower.
- Equal candidates: the same law, fresh mistakes.
- Better candidates, by true gain in micro-F1, unevenly spread over the findings.
- Trading one finding for the rest: micro-F1 truly gains .02, but half of one frequent finding's positives are lost.
- Campaigns of 5 rounds on one gate: two gains (+.05, +.02) come before three worse candidates (true change -.01 to 0),
  or all are equals of the champion, the hardest case, where any promotion counts as wrong. `stops`: as a campaign does,
  at its first refusal; `goes on`: the next round follows a refused one.

Beside the gate stand two other rules on the same rounds: `higher`, which promotes whatever has the higher micro-F1 on
the gate, and `both bounds`, the lower 95 % bounds of micro and macro at or above zero and no finding's interval below.
Prints its setting, a table each, and one JSON object as its last line.
"""

import argparse
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
from gate_rounds import SHARES, Split, Student, change, draw_champion, draw_split, read, shift_to, true_f1

from teachback.distill.config import GateSettings
from teachback.distill.gate import Decision, decide
from teachback.store.label import FINDINGS
from teachback.store.review.intervals import binomial_interval

SETTINGS = GateSettings()
REPORTS = (300, 601)
CHAMPION, EARLY_CHAMPION = (0.85, 0.90), (0.78, 0.85)
EARLY = 0.05  # a gain of this size is round 1's
GAINS = (0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.05, 0.10)
HEADLINE = (0.02, 0.03, 0.05, 0.10)  # what this project's rounds have shown: feedback the first two, round 1 the others
HARMS = {
    "flipped": (0.02, 0.05, 0.20),
    "over-called": (0.25, 0.5),
    "under-called": (0.25, 0.5),
}
FLIPPED_FINDINGS = 4
UNEVEN = 0.25  # spread of the findings' log-odds about the common change
WORSE = (-0.01, -0.0005)
CAMPAIGNS: dict[str, tuple[float | None, ...]] = {  # true gain of each round; None: a worse candidate
    "all are equals": (0.0,) * 5,
    "two gains, then none": (0.05, 0.02, None, None, None),
}
RULES = ("gate", "both bounds", "higher")
LARGE = 200_000  # reports of the draw that checks the true quality
LEVEL, OUT = 0.05, 0.20  # promised shares: worse candidates promoted, better ones kept out


@dataclass(slots=True)
class Tally:
    """Verdicts on candidates of one kind.

    Attributes:
        rounds: How many there were.
        gain: Sum of their true gains.
        promoted: How many each rule promoted.
        failed: How many each condition refused.
    """

    rounds: int = 0
    gain: float = 0.0
    promoted: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    def add(self, decision: Decision, gain: float) -> None:
        """Count a verdict."""
        of = decision.change
        self.rounds, self.gain = self.rounds + 1, self.gain + gain
        self.promoted["gate"] += decision.promoted
        self.promoted["both bounds"] += of.micro.low >= 0 and of.macro.low >= 0 and not of.losses
        self.promoted["higher"] += of.micro.value > 0
        self.failed.update(check.name for check in decision.checks if check.passed is False)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.rounds + other.rounds,
            self.gain + other.gain,
            self.promoted + other.promoted,
            self.failed + other.failed,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the shares with exact intervals."""
        shares = {rule: _interval(self.promoted[rule], self.rounds) for rule in RULES}
        mean = self.gain / self.rounds if self.rounds else None
        return {"rounds": self.rounds, "true_gain": mean, "promoted": shares, "refused_by": dict(self.failed)}


Kind = tuple[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, help="rounds of each kind, and campaigns")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    started = time.monotonic()
    setting = vars(args) | {"reports": [REPORTS[0], REPORTS[1] - 1], "gate": SETTINGS.model_dump()}
    print(f"setting: {setting}")
    checked = check_truth(args.seed)
    print(f"true micro-F1 {checked['law']:.4f} by the law, {checked['drawn']:.4f} on {LARGE:,} reports drawn")
    with ProcessPoolExecutor(args.workers) as pool:
        chunk = max(1, args.rounds // (8 * args.workers))
        rounds = list(pool.map(partial(simulate, args.seed), range(args.rounds), chunksize=chunk))
        campaigns = list(pool.map(partial(simulate_campaigns, args.seed), range(args.rounds), chunksize=chunk))
    figures = figures_of(rounds, campaigns)
    show(figures)
    packages = ("numpy", "scipy", "teachback")
    environment = {"python": platform.python_version(), "cores": os.cpu_count()}
    environment |= {package: version(package) for package in packages}
    took = round(time.monotonic() - started, 1)
    print(f"{took:.0f} s")
    header = {"benchmark": "gate", "setting": setting, "environment": environment, "seconds": took}
    print(json.dumps(header | {"true_quality": checked} | figures))


def check_truth(seed: int) -> dict[str, float]:
    """Compare the true micro-F1 of a student's law with that on very many reports."""
    random = np.random.default_rng([seed, 2])
    champion = draw_champion(random, 0.88)
    split = draw_split(random, LARGE)
    codes, there = read(random, champion, split)[0], split.truth == 0
    drawn = 2 * ((codes == 0) & there).sum() / ((codes == 0).sum() + there.sum())
    return {"law": true_f1(champion), "drawn": float(drawn)}


def simulate(seed: int, number: int) -> dict[Kind, Tally]:
    """Judge one candidate of each kind; harm that happens to do good is counted apart."""
    random = np.random.default_rng([seed, number])
    kinds: list[Kind] = [(name, size) for name, sizes in HARMS.items() for size in sizes]
    kinds += [("equal", 0.0), ("one finding traded", 0.02), *(("better", gain) for gain in GAINS)]
    tallies = {}
    for name, size in kinds:
        split = draw_split(random, int(random.integers(*REPORTS)))
        early = name == "better" and size >= EARLY
        champion = draw_champion(random, random.uniform(*(EARLY_CHAMPION if early else CHAMPION)))
        candidate = _candidate(random, champion, name, size)
        gain = true_f1(candidate) - true_f1(champion)
        tally = Tally()
        tally.add(_judge(random, champion, candidate, split), gain)
        tallies[name if name not in HARMS or gain < 0 else f"{name}, no harm done", size] = tally
    return tallies


def simulate_campaigns(seed: int, number: int) -> dict[str, list[bool]]:
    """Run campaigns on one gate each: did they ever promote a worse candidate, stopping or going on after a refusal?"""
    found = {}
    for place, (name, gains) in enumerate(CAMPAIGNS.items()):
        random = np.random.default_rng([seed, number, 3 + place])
        split = draw_split(random, int(random.integers(*REPORTS)))
        champion = draw_champion(random, random.uniform(*CHAMPION) - sum(gain for gain in gains if gain))
        said = read(random, champion, split)
        verdicts: list[bool] = []
        fooled: list[bool] = []
        for gain in gains:
            by = random.uniform(*WORSE) if gain is None else gain
            candidate = _moved(random, champion, by) if by else champion
            says = read(random, candidate, split)
            decision = decide(
                split.truth,
                said[0],
                says[0],
                split.patients,
                "champion",
                seed=number,
                earlier=verdicts,
                probabilities=(said[1], says[1]),
            )
            verdicts.append(decision.promoted)
            fooled.append(decision.promoted and by <= 0)
            if decision.promoted:
                champion, said = candidate, says
        before_refusal = verdicts.index(False) if False in verdicts else len(verdicts)
        found[name] = [any(fooled[:before_refusal]), any(fooled)]
    return found


def figures_of(rounds: Sequence[dict[Kind, Tally]], campaigns: Sequence[dict[str, list[bool]]]) -> dict[str, Any]:
    """Add up all rounds and take the headline."""
    kinds = sorted({kind for tallies in rounds for kind in tallies})
    total = {kind: sum((tallies[kind] for tallies in rounds if kind in tallies), Tally()) for kind in kinds}
    worse = sum((tally for (name, _), tally in total.items() if name in HARMS), Tally()).as_dict()
    better = {gain: total["better", gain].as_dict() for gain in GAINS}
    out = {gain: 1 - of["promoted"]["gate"]["value"] for gain, of in better.items()}
    enough = [gain for gain in GAINS if all(out[g] <= OUT for g in GAINS if g >= gain)]
    ever = {
        name: {
            mode: _interval(sum(found[name][place] for found in campaigns), len(campaigns))
            for place, mode in enumerate(("stops", "goes on"))
        }
        for name in CAMPAIGNS
    }
    return {
        "kinds": [{"kind": name, "size": size} | tally.as_dict() for (name, size), tally in total.items()],
        "worse_promoted": worse["promoted"]["gate"],
        "worse_rounds": worse["rounds"],
        "better_kept_out": {f"{gain:+.3f}": share for gain, share in out.items()},
        "seen_from_gain": min(enough, default=None),
        "headline_kept_out": {f"{gain:+.2f}": out[gain] for gain in HEADLINE},
        "campaigns_that_ever_err": ever,
    }


def show(figures: dict[str, Any]) -> None:
    """Print the tables."""
    head = "".join(f"{rule:>14}" for rule in RULES)
    print(f"\nshare promoted{'':18}{'rounds':>8}{'true gain':>11}{head}   refused by")
    for of in figures["kinds"]:
        shares = "".join(f"{of['promoted'][rule]['value']:>14.1%}" for rule in RULES)
        by = ", ".join(f"{name} {n}" for name, n in sorted(of["refused_by"].items(), key=lambda item: -item[1])[:4])
        size = f"{of['kind']} {of['size']:g}" if of["size"] else of["kind"]
        print(f"{size:32}{of['rounds']:>8}{of['true_gain']:>+11.4f}{shares}   {by}")
    print(f"\n{'true gain':12}{'kept out':>10}{f'<= {OUT:.0%}':>9}")
    for gain, share in figures["better_kept_out"].items():
        print(f"{gain:12}{share:>10.1%}{'yes' if share <= OUT else 'no':>9}")
    print(f"\ncampaigns of 5 rounds that ever promote a student that is no better\n{'':24}{'stops':>22}{'goes on':>22}")
    for name, modes in figures["campaigns_that_ever_err"].items():
        print(f"{name:24}" + "".join(f"{_shown(of):>22}" for of in modes.values()))
    worse = figures["worse_promoted"]
    print(f"\nworse candidates promoted: {_shown(worse)} of {figures['worse_rounds']:,}; promised <= {LEVEL:.0%}")
    print(f"better candidates kept out <= {OUT:.0%} from a true gain of {figures['seen_from_gain']}")


def _judge(random: np.random.Generator, champion: Student, candidate: Student, split: Split) -> Decision:
    said, says = read(random, champion, split), read(random, candidate, split)
    probabilities = said[1], says[1]
    return decide(split.truth, said[0], says[0], split.patients, "champion", probabilities=probabilities)


def _candidate(random: np.random.Generator, champion: Student, name: str, size: float) -> Student:
    if name == "equal":
        return champion
    if name == "better":
        return _moved(random, champion, size)
    if name == "flipped":
        return _flip(champion, random.choice(len(FINDINGS), FLIPPED_FINDINGS, replace=False), size)
    if name in HARMS:
        up = size if name == "over-called" else -size
        return change(champion, -up, up)
    finding = random.choice(np.flatnonzero((SHARES[:, 0] > 0.1) & (champion[:, 0] < 0.4)))  # frequent, and well found
    traded = champion.copy()
    traded[finding, 0] = 0.5
    others = np.arange(len(FINDINGS)) != finding
    return _until(traded, true_f1(champion) + size, others)


def _moved(random: np.random.Generator, champion: Student, gain: float) -> Student:
    """Change each finding's log-odds, unevenly, so that the true micro-F1 changes by so much."""
    uneven = random.normal(0.0, UNEVEN, len(FINDINGS))
    return shift_to(change(champion, uneven, uneven), true_f1(champion) + gain)


def _flip(student: Student, findings: Any, share: float) -> Student:
    """Flip labels: a share of the positives is learnt as negatives, and as many negatives as positives."""
    flipped = student.copy()
    positive = SHARES[findings, 0]
    flipped[findings, 0] += (1 - student[findings, 0]) * share
    flipped[findings, 1:] += (1 - student[findings, 1:]) * (share * positive / (1 - positive))[:, None]
    return flipped


def _until(student: Student, f1: float, findings: Any) -> Student:
    """Lower the errors of some findings until the true micro-F1 is as asked, or they make none."""
    low, high = -12.0, 0.0
    for _ in range(40):
        by = np.where(findings, (low + high) / 2, 0.0)
        low, high = ((low + high) / 2, high) if true_f1(change(student, by, by)) > f1 else (low, (low + high) / 2)
    return change(student, np.where(findings, low, 0.0), np.where(findings, low, 0.0))


def _interval(part: int, whole: int) -> dict[str, float]:
    share = binomial_interval(part, whole)
    return {"value": share.value, "low": share.low, "high": share.high}


def _shown(share: dict[str, float]) -> str:
    return f"{share['value']:.1%} [{share['low']:.1%}, {share['high']:.1%}]"


if __name__ == "__main__":
    main()
