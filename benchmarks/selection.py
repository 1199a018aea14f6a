"""Does selection keep its promise? Realised error of what is fed back beside the certified 5 %, and the usual way.

    TEACHBACK_OPENI=path/to/openi python benchmarks/selection.py

Usual self-training takes every prediction with a probability of .95 or more, as the student gives it (`naive`). Ours
calibrates on some hundred curated reports and certifies each class there. The rows are ways to promise: of each class
(`class`, the default), the same before caps and budget (`class, no caps`), with rare classes certified together (`rare
pooled`), of all classes at once (`all`), and what comes of taking a patient's reports for independent.

1. Simulated rounds: 300 to 1,000 calibration reports, a pool of 1,000 to 5,000, students of all qualities whose
   probabilities are mostly too high and whose mistakes come by patient (`selection_rounds.py`).
2. At the bound: every class is wrong in 5.2 % of cases whatever its probability, a patient's reports all together, so
   that each certificate is a mistake (`rounds over` are those with any).
3. Real splits: the synthetic corpus, with patients of several reports, and Open-i (left out where `TEACHBACK_OPENI` is
   not set), drawn anew for each repetition by patient or text. The teacher is the rule labeler on impressions, the
   student the bag of words on whole reports. Open-i's codes name positives only, so only those can be found wrong.

`rounds over`: rounds in which more than 5 % of all that was taken is wrong. `classes over`: the same class by class,
however few were taken, so that chance alone puts some over. `truly over` (where the student's law is known): classes
whose error on 10,000 fresh reports is above 5 %, which is what a certificate excludes at 95 %. Prints its setting, a
table each, and one JSON object as its last line.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from selection_rounds import SHARES, draw_student, predict, predict_at_the_bound

from teachback.agents.rule_labeler import RuleLabeler
from teachback.distill.calibrate import Calibration, fit_calibration
from teachback.distill.config import SelectSettings
from teachback.distill.lessons import Lesson
from teachback.distill.linear import fit_linear
from teachback.distill.questions import Target
from teachback.distill.select import Certificate, Selection, certify, class_shares, select, wrong
from teachback.store.corpora.imported import Entry
from teachback.store.corpora.openi import read_openi
from teachback.store.corpora.synthetic import generate
from teachback.store.label import FINDINGS, STATUSES
from teachback.store.near_duplicates import normalise
from teachback.store.quality.statuses import cluster_codes
from teachback.store.report import Report
from teachback.store.review.intervals import binomial_interval

PROMISE = SelectSettings()  # 5 % at 95 %, per class
NAIVE, NAIVE_BOUND = "naive, .95", 0.95
UNCAPPED, ALONE = "class, no caps", "class, as if independent"
WAYS: Mapping[str, SelectSettings] = {
    "class": PROMISE,
    UNCAPPED: PROMISE,
    ALONE: PROMISE,
    "rare pooled": PROMISE.model_copy(update={"rare": "pool"}),
    "all": PROMISE.model_copy(update={"promise": "all"}),
}
TAUGHT = (1000, 5000)  # reports that the teacher of a simulated round has labelled, which sets the budget
FRESH = 10_000  # reports on which the error of a simulated certificate is measured
JUST_ABOVE = 0.052
SPLIT = {"train": 0.20, "calibration": 0.30}  # shares of a corpus; the rest is the pool
SYNTHETIC = 2000  # reports


@dataclass(slots=True)
class Tally:
    """What one way of selecting came to, over rounds."""

    rounds: int = 0  # that took anything
    rounds_over: int = 0
    predictions: int = 0
    taken: int = 0
    wrong: int = 0
    certificates: int = 0
    classes: int = 0  # with anything taken
    classes_over: int = 0
    classes_surely_over: int = 0
    judged: int = 0  # certificates whose true error is known
    truly_over: int = 0

    def add(self, taken: NDArray[np.bool_], mistakes: NDArray[np.bool_]) -> None:
        """Count a round."""
        so_many, so_wrong = int(taken.sum()), int((taken & mistakes).sum())
        self.rounds += so_many > 0
        self.rounds_over += so_wrong > PROMISE.error * so_many
        self.predictions, self.taken, self.wrong = (
            self.predictions + taken.size,
            self.taken + so_many,
            self.wrong + so_wrong,
        )

    def add_class(self, mistakes: NDArray[np.bool_]) -> None:
        """Count what was taken of a class."""
        if len(mistakes):
            share = binomial_interval(int(mistakes.sum()), len(mistakes))
            self.classes += 1
            self.classes_over += share.value > PROMISE.error
            self.classes_surely_over += share.low > PROMISE.error

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    def as_dict(self) -> dict[str, Any]:
        """Return the counts, the error and the shares of rounds and classes over the promise, with exact intervals."""
        names = self.__slots__
        return {name: int(getattr(self, name)) for name in names} | {
            "realised_error": self.wrong / self.taken if self.taken else None,
            "share_taken": self.taken / self.predictions if self.predictions else None,
            "rounds_over_share": _interval(self.rounds_over, self.rounds) if self.rounds else None,
            "classes_over_share": _interval(self.classes_over, self.classes) if self.classes else None,
            "truly_over_share": _interval(self.truly_over, self.judged) if self.judged else None,
        }


Tallies = dict[str, Tally]


@dataclass(frozen=True, slots=True)
class Predicted:
    """Calibrated predictions: (N, 13, 4), decided (N, 13), which are wrong (N, 13), and (N,) which belong together."""

    probabilities: NDArray[np.float32]
    codes: NDArray[np.int8]
    truth: NDArray[np.int8]
    clusters: NDArray[np.int64]

    @property
    def mistakes(self) -> NDArray[np.bool_]:
        return wrong(self.codes, self.truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, help="simulated rounds")
    parser.add_argument("--repeats", type=int, default=50, help="splits of each corpus")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    started = time.monotonic()
    setting = vars(args) | {"error": PROMISE.error, "confidence": PROMISE.confidence, "share": PROMISE.share}
    print(f"setting: {setting}")
    simulated = over_rounds(partial(simulate, args.seed), args.rounds, args.workers)
    show(f"{args.rounds} simulated rounds", simulated)
    bound = over_rounds(partial(simulate_at_the_bound, args.seed), args.rounds, args.workers)
    show(f"{args.rounds} rounds in which every class is wrong in {JUST_ABOVE:.1%} of cases", bound)
    shown = {"simulated": simulated, "at_the_bound": bound}
    folder = os.environ.get("TEACHBACK_OPENI")
    for name, corpus in (("synthetic", read_synthetic(args.seed)), ("openi", read_real(folder) if folder else None)):
        if corpus is not None:
            shown[name] = over_rounds(partial(split_anew, corpus, args.seed), args.repeats, args.workers)
            show(f"{args.repeats} splits of {name}, {len(corpus.texts):,} reports", shown[name])
    packages = ("numpy", "scipy", "scikit-learn", "teachback")
    environment = {"python": platform.python_version(), "cores": os.cpu_count()}
    environment |= {package: version(package) for package in packages}
    took = round(time.monotonic() - started, 1)
    print(f"{took:.0f} s")
    print(
        json.dumps({"benchmark": "selection", "setting": setting, "environment": environment, "seconds": took} | shown)
    )


def over_rounds(job: Callable[[int], Tallies], rounds: int, workers: int) -> dict[str, Any]:
    """Do a job for each round number, and add up what comes of it."""
    with ProcessPoolExecutor(workers) as pool:
        found = list(pool.map(job, range(rounds), chunksize=max(1, rounds // (4 * workers))))
    return {name: sum((of[name] for of in found), Tally()).as_dict() for name in found[0]}


def simulate(seed: int, number: int) -> Tallies:
    """Select from what a student of some quality predicts."""
    random = np.random.default_rng([seed, number])
    student = draw_student(random)
    batches = [predict(random, student, n) for n in (*_sizes(random), FRESH)]
    calibration = fit_calibration(batches[0].raw, batches[0].truth)
    given, pool, fresh = (_calibrated(calibration, b.raw, b.truth, b.patients) for b in batches)
    budget = int(PROMISE.share * random.integers(*TAUGHT) * len(FINDINGS))
    tallies = {NAIVE: _naive(batches[1].raw, batches[1].truth)}
    return tallies | _try_ways(given, pool, SHARES, budget, fresh)


def simulate_at_the_bound(seed: int, number: int) -> Tallies:
    """Count certificates where none is deserved."""
    random = np.random.default_rng([seed, number, 1])
    batch = predict_at_the_bound(random, _sizes(random)[0], JUST_ABOVE)
    given = Predicted(batch.raw, batch.raw.argmax(-1).astype(np.int8), batch.truth, batch.patients)
    tallies = {}
    for way in ("class", ALONE, "all"):
        certified = sum(certificate.threshold is not None for certificate in _certify(way, given).values())
        tallies[way] = Tally(rounds=1, rounds_over=int(certified > 0), judged=len(FINDINGS), truly_over=certified)
    return tallies


@dataclass(frozen=True, slots=True)
class Corpus:
    """Reports, what is curated of them, what the teacher says, their whole text, and (N,) which belong together."""

    reports: list[Report]
    truth: NDArray[np.int8]
    teacher: list[Mapping[str, str] | None]
    texts: list[str]
    groups: NDArray[np.int64]


def read_synthetic(seed: int) -> Corpus:
    """Write synthetic reports, several of a patient."""
    entries = list(generate(SYNTHETIC, seed=seed))
    truth = [[STATUSES.index(entry.statuses[finding]) for finding in FINDINGS] for entry in entries]
    return _corpus([entry.report for entry in entries], np.array(truth, np.int8))


def read_real(folder: str) -> Corpus:
    """Read Open-i's coded reports."""
    archive = next(iter(sorted(Path(folder).glob("*.tgz")) + sorted(Path(folder).glob("*.tar.gz"))), Path(folder))
    entries = [e for e in read_openi(archive).entries if isinstance(e, Entry) and e.labels and e.report.text("full")]
    truth = np.full((len(entries), len(FINDINGS)), STATUSES.index("unmentioned"), np.int8)
    for row, entry in enumerate(entries):
        for label in entry.labels:
            truth[row, FINDINGS.index(label.target)] = STATUSES.index(label.status)
    return _corpus([entry.report for entry in entries], truth)


def split_anew(corpus: Corpus, seed: int, number: int) -> Tallies:
    """Split a corpus, teach a student, and select from what it predicts."""
    train, calibration, pool = _split(corpus.groups, np.random.default_rng([seed, number, 2]))
    rows = [i for i in train if corpus.teacher[i]]
    score = fit_linear([_lesson(corpus, i) for i in rows], seed=seed)
    raw = {name: score([corpus.texts[i] for i in part]) for name, part in (("given", calibration), ("pool", pool))}
    fitted = fit_calibration(raw["given"], corpus.truth[calibration])
    given = _calibrated(fitted, raw["given"], corpus.truth[calibration], corpus.groups[calibration])
    offered = _calibrated(fitted, raw["pool"], corpus.truth[pool], corpus.groups[pool])
    said = [[corpus.teacher[i][finding] for finding in FINDINGS] for i in rows]  # type: ignore[index]
    prior = np.array([[column.count(status) for status in STATUSES] for column in zip(*said, strict=True)], float)
    budget = int(PROMISE.share * len(rows) * len(FINDINGS))
    tallies = {NAIVE: _naive(raw["pool"], corpus.truth[pool])}
    return tallies | _try_ways(given, offered, class_shares(prior / len(rows), given.truth), budget, None)


def show(title: str, ways: Mapping[str, Any]) -> None:
    """Print a table, one way a row."""
    head = f"{'':26}{'taken':>9}{'of all':>8}{'wrong':>8}{'promised':>10}{'rounds over':>14}{'classes over':>16}"
    print(f"\n{title}\n{head}{'truly over':>16}")
    for name, of in ways.items():
        taken = f"{of['taken']:>9,}{of['share_taken']:>8.1%}{of['realised_error']:>8.2%}" if of["taken"] else " " * 25
        promised = "" if name == NAIVE else f"{PROMISE.error:.0%}"
        shares = [_share(of, *names) for names in (("rounds_over", "rounds"), ("classes_over", "classes"))]
        print(f"{name:26}{taken}{promised:>10}{shares[0]:>14}{shares[1]:>16}{_share(of, 'truly_over', 'judged'):>16}")


def _share(of: Mapping[str, Any], part: str, whole: str) -> str:
    return f"{of[part + '_share']['value']:.1%} of {of[whole]:,}" if of.get(whole) else ""


def _interval(part: int, whole: int) -> dict[str, float]:
    share = binomial_interval(part, whole)
    return {"value": share.value, "low": share.low, "high": share.high}


def _sizes(random: np.random.Generator) -> tuple[int, int]:
    return int(random.integers(300, 1001)), int(random.integers(1000, 5001))


def _calibrated(
    calibration: Calibration, raw: NDArray[np.float32], truth: NDArray[np.int8], clusters: NDArray[np.int64]
) -> Predicted:
    probabilities = calibration.apply(raw)
    return Predicted(probabilities, calibration.decide(probabilities), truth, clusters)


def _naive(raw: NDArray[np.float32], truth: NDArray[np.int8]) -> Tally:
    tally, codes, taken = Tally(), raw.argmax(-1).astype(np.int8), raw.max(-1) >= NAIVE_BOUND
    mistakes = wrong(codes, truth)
    tally.add(taken, mistakes)
    for f, s in np.ndindex(len(FINDINGS), len(STATUSES)):
        tally.add_class(mistakes[taken[:, f] & (codes[:, f] == s), f])
    return tally


def _certify(way: str, given: Predicted) -> dict[tuple[int, int], Certificate]:
    clusters = None if way == ALONE else given.clusters
    return certify(given.probabilities, given.codes, given.truth, WAYS[way], clusters)


def _try_ways(
    given: Predicted, pool: Predicted, prior: NDArray[np.float64], budget: int, fresh: Predicted | None
) -> Tallies:
    """Select by each way and count what came of it."""
    tallies, of_class = {}, _certify("class", given)
    for way in WAYS:
        certified = of_class if way in ("class", UNCAPPED) else _certify(way, given)
        caps, most = (np.ones_like(prior), pool.codes.size) if way == UNCAPPED else (prior, budget)
        tallies[way] = _count(select(pool.probabilities, pool.codes, certified, caps, most), pool, fresh)
    return tallies


def _count(selection: Selection, pool: Predicted, fresh: Predicted | None) -> Tally:
    tally = Tally()
    tally.add(selection.selected, pool.mistakes)
    for members in _promised(selection.certificates):
        tally.certificates += 1
        taken = selection.selected & _of(pool, members)
        tally.add_class(pool.mistakes[taken])
        if fresh is not None:
            above = _of(fresh, members) & (_chosen(fresh) >= np.float32(members[0].threshold))
            tally.judged += 1
            tally.truly_over += fresh.mistakes[above].mean() > PROMISE.error if above.any() else 0
    return tally


def _promised(certificates: tuple[Certificate, ...]) -> Iterator[list[Certificate]]:
    """Yield what a promise is made of: a class, or the classes that were certified together."""
    standing = [c for c in certificates if c.threshold is not None]
    yield from ([c] for c in standing if not c.group)
    for group in sorted({(c.status, c.group) for c in standing if c.group}):
        yield [c for c in standing if (c.status, c.group) == group]


def _of(predicted: Predicted, members: list[Certificate]) -> NDArray[np.bool_]:
    mask = np.zeros(predicted.codes.shape, bool)
    for c in members:
        f = FINDINGS.index(c.finding)
        mask[:, f] = predicted.codes[:, f] == STATUSES.index(c.status)
    return mask


def _chosen(predicted: Predicted) -> NDArray[np.float32]:
    return np.take_along_axis(predicted.probabilities, predicted.codes[..., None].astype(int), axis=-1)[..., 0]


def _corpus(reports: list[Report], truth: NDArray[np.int8]) -> Corpus:
    rules = RuleLabeler("impression")
    said = [rules.verdicts(report) for report in reports]
    teacher = [verdict and {finding: status for finding, (status, _) in verdict.items()} for verdict in said]
    texts = [report.text("full") for report in reports]
    named = [report.subject_id or normalise(text) for report, text in zip(reports, texts, strict=True)]
    return Corpus(reports, truth, teacher, texts, cluster_codes(named))  # type: ignore[arg-type]


def _lesson(corpus: Corpus, i: int) -> Lesson:
    said = corpus.teacher[i] or {}
    return Lesson(corpus.reports[i].text("impression"), {f: Target(said[f], 1.0) for f in FINDINGS})


def _split(groups: NDArray[np.int64], random: np.random.Generator) -> list[NDArray[np.int64]]:
    """Return the reports of train, calibration and pool: whole groups, drawn at random."""
    place = random.permutation(groups.max() + 1)[groups]
    order = np.argsort(place, kind="stable")
    ends = (np.cumsum(list(SPLIT.values())) * len(groups)).astype(int)
    # A group that a border would cut stays whole with the part that it begins in.
    borders = [int(np.searchsorted(place[order], place[order[end]], side="left")) for end in ends]
    return np.split(order, borders)


if __name__ == "__main__":
    main()
