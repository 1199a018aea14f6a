"""The label path against an endpoint that answers after 200 ms, beside bespokelabs-curator and distilabel.

    python benchmarks/teacher_graph.py [--n 4000] [--disagree 0.1] [--rounds 1] [--out teacher_graph.json]
    python benchmarks/teacher_graph.py --memory [--n 50000]

Reports of 1.5 KB, 200 requests at once, one server process on loopback, which shares the machine's cores with the
client. With 200 at once and 200 ms nobody can do more than 1,000 reports/s. Ours is the whole path: graph, rules and
model, validation, adjudicator, call cache, DuckDB, until everything is committed. The others ask the same questions and
validate the same form, without log-probabilities and without a store, until their call returns. Rates are told by two
clocks, the same for everybody: `reports/s` from the first request that the server sees, and `called` from the call,
which counts what each does before it asks (the seconds of `set-up`). All live in environments that this script makes
(some minutes, once), ours as it is installed to label, without training. Runs alternate: ours, ours alike, curator,
distilabel, ours alike, ours.

Ours takes part twice: as it comes, where each answer carries the log-probabilities that confidence is made of (twenty
times the bytes), and as `teachback, alike`, asking for what the others ask for and given what they are given. All else
that the whole path does it does both times.

`--memory` labels 50,000 reports at zero latency and shows the client's memory every 2,000.
"""

import argparse
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

from comparators.environments import (
    COMPARATORS,
    INSTALLED,
    Comparator,
    Unavailable,
    default_folder,
    environment,
    run_script,
)
from servers.reports import CHARACTERS, long_reports, numbered, write_store
from servers.running import RunningServer, running

from teachback.prompts import load_prompt

MOST_TEXTS = 4_000  # different texts; further reports are these again under other numbers
WARM_REPORTS = 2_000
AGAIN = 5
OURS = "teachback"
ALIKE = "alike"  # the default prompt, asking for what the others ask for: no log-probabilities
MEMORY_EVERY = 2_000  # reports
MEMORY_BOUND_MIB = 64.0  # growth in the second half that still counts as flat
LONGEST_RUN_S = 3_600.0


@dataclass(frozen=True)
class Setting:
    """What all runs share.

    Attributes:
        n: Reports.
        latency_ms: The server's wait.
        concurrency: Requests at once.
        disagree: Share of the reports whose answer contradicts the rules in one finding.
        seed: Decides reports and answers.
        characters: Average length of a report.
    """

    n: int
    latency_ms: float
    concurrency: int
    disagree: float
    seed: int
    characters: int = CHARACTERS

    @property
    def ideal(self) -> float:
        """Reports/s if nothing but the endpoint's latency took time; infinite without latency."""
        return self.concurrency / (self.latency_ms / 1000) if self.latency_ms else float("inf")


class Bench:
    """The server, the reports and a folder to work in.

    Args:
        server: The replay server.
        folder: Holds the stores and the questions.
        setting: What all runs share.
        python: What runs ours.
    """

    def __init__(self, server: RunningServer, folder: Path, setting: Setting, python: Path | str) -> None:
        self.server = server
        self.setting = setting
        self.python = python
        self.folder = folder
        texts = long_reports(min(setting.n, MOST_TEXTS), setting.seed)
        write_store(folder / "unlabelled.duckdb", texts, setting.n)
        self.questions = folder / "questions.jsonl"
        prompt = load_prompt("llm_labeler")
        own = folder / "prompts" / prompt.role
        own.mkdir(parents=True)
        without = re.sub(r"(?m)^( *top_logprobs:).*$", r"\1 null", prompt.full_text)
        (own / f"{ALIKE}.md").write_text(without, encoding="utf-8")
        with self.questions.open("w", encoding="utf-8") as lines:
            for report in numbered(texts, setting.n):
                asked = prompt.render(report=report.text("full"))
                lines.write(json.dumps({message["role"]: message["content"] for message in asked}) + "\n")

    def ours(self, name: str, latency_ms: float, *further: str, alike: bool = False) -> dict[str, Any]:
        """Label a fresh store, which stays as `<name>.duckdb`."""
        if alike:
            further = (*further, "--prompts", str(self.folder / "prompts"), "--prompt", ALIKE)
        store = self.folder / f"{name}.duckdb"
        shutil.copyfile(self.folder / "unlabelled.duckdb", store)
        self.server.get(f"/reset?latency_ms={latency_ms:g}")
        run = run_script(self.python, INSTALLED.script, self._arguments(store, *further), LONGEST_RUN_S)
        who = f"{OURS}, {ALIKE}" if alike else OURS
        return self._measured(who, run, run["called_at"] + run["committed_s"], latency_ms)

    def warm(self, name: str, reports: int) -> dict[str, Any]:
        """Give the same command again for reports that a store holds labels of."""
        self.server.get("/reset")
        arguments = self._arguments(self.folder / f"{name}.duckdb", "--limit", str(reports), "--again", str(AGAIN))
        run = run_script(self.python, INSTALLED.script, arguments, LONGEST_RUN_S)
        asked = self.server.get("/stats")["requests"]
        return {"reports": reports, "seconds": run["warm_s"], "calls": asked, "first_s": run["closed_s"]}

    def other(self, comparator: Comparator, python: Path) -> dict[str, Any]:
        """Have another framework ask the same questions."""
        self.server.get(f"/reset?latency_ms={self.setting.latency_ms:g}")
        run = run_script(python, comparator.script, self._arguments(self.questions), LONGEST_RUN_S)
        if run["valid"] != self.setting.n:
            raise Unavailable(f"{comparator.name}: {run['valid']} of {self.setting.n} answers are valid")
        return self._measured(comparator.name, run, run["returned_at"], self.setting.latency_ms)

    def _arguments(self, source: Path, *further: str) -> list[str]:
        return [str(source), self.server.base_url, "--concurrency", str(self.setting.concurrency), *further]

    def _measured(self, who: str, run: dict[str, Any], ended_at: float, latency_ms: float) -> dict[str, Any]:
        stats = self.server.get("/stats")
        seconds, called_s = ended_at - stats["first_at"], ended_at - run["called_at"]
        return {
            **run,
            "who": who,
            "latency_ms": latency_ms,
            "seconds": seconds,
            "called_s": called_s,
            "reports_per_second": self.setting.n / seconds,
            "called_reports_per_second": self.setting.n / called_s,
            "client_cpu_ms_a_report": 1000 * run["cpu_s"] / self.setting.n,
            "server_cpu_ms_a_request": stats["cpu_ms_a_request"],
            "requests": stats["requests"],
            "verdicts": stats["verdicts"],
            "most_in_flight": stats["most_in_flight"],
            "bytes_an_answer": stats["bytes_an_answer"],
        }


def main() -> None:
    options = _options()
    n = options.n or (50_000 if options.memory else 4_000)
    latency_ms = 0.0 if options.memory else options.latency_ms
    setting = Setting(n, latency_ms, options.concurrency, options.disagree, options.seed)
    print(_described(setting), flush=True)
    serve = ["--texts", str(min(n, MOST_TEXTS)), "--disagree", str(options.disagree), "--seed", str(options.seed)]
    with tempfile.TemporaryDirectory(prefix="teacher-graph-") as folder, running("replay.py", serve) as server:
        bench = Bench(server, Path(folder), setting, _our_python(options))
        figures = _memory(bench) if options.memory else _compare(bench, options)
    setting_json = {**vars(setting), "machine": _machine()}
    outcome = json.dumps({"benchmark": "teacher_graph", "setting": setting_json, **figures})
    if options.out:
        options.out.write_text(json.dumps(json.loads(outcome), indent=4) + "\n", encoding="utf-8")
    print(outcome)


def _compare(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Run everybody in turn, print the table, and return the figures."""
    others, absent = _others(options)
    runs: list[dict[str, Any]] = []
    print(f"\n{'':22}{'reports/s':>10}{'of ideal':>9}{'called':>8}{'set-up':>8}", end="")
    print(f"{'CPU ms':>8}{'server':>8}{'RSS MiB':>9}{'at once':>9}")

    def ours(name: str, *, alike: bool) -> None:
        runs.append(_shown(bench.ours(name, bench.setting.latency_ms, alike=alike), bench.setting))

    for number in range(options.rounds):
        ours(f"ours-{number}-a", alike=False)
        ours(f"alike-{number}-a", alike=True)
        for comparator, python in list(others.items()):
            try:
                runs.append(_shown(bench.other(comparator, python), bench.setting))
            except Unavailable as reason:
                absent[comparator.name] = str(reason)
                del others[comparator]
        if others:
            ours(f"alike-{number}-b", alike=True)
            ours(f"ours-{number}-b", alike=False)
    unhurried = _shown(bench.ours("ours-zero", 0.0), bench.setting)
    warm = bench.warm("ours-0-a", min(WARM_REPORTS, bench.setting.n))
    rates, called = _medians(runs, "reports_per_second"), _medians(runs, "called_reports_per_second")
    figures = {
        "reports_per_second": rates,
        "called_reports_per_second": called,
        "share_of_ideal": rates[OURS] / bench.setting.ideal,
        "times_as_fast_as": _ratios(rates),
        "times_as_fast_as_called": _ratios(called),
        "client_cpu_ms_a_report_at_zero_latency": unhurried["client_cpu_ms_a_report"],
        "warm": warm,
        "not_compared": absent,
        "runs": [*runs, unhurried],
    }
    _print_summary(bench.setting, figures)
    return figures


def _medians(runs: list[dict[str, Any]], what: str) -> dict[str, float]:
    return {who: median(run[what] for run in runs if run["who"] == who) for who in {r["who"] for r in runs}}


def _ratios(rates: dict[str, float]) -> dict[str, dict[str, float]]:
    """Return how many times as fast as each of the others ours is, in either way of asking."""
    theirs = {who: rate for who, rate in rates.items() if not who.startswith(OURS)}
    return {
        us: {who: rate / of_theirs for who, of_theirs in sorted(theirs.items())}
        for us, rate in sorted(rates.items())
        if us not in theirs
    }


def _memory(bench: Bench) -> dict[str, Any]:
    """Label everything at zero latency and fit a line to the second half of the memory's course."""
    run = _shown(bench.ours("memory", 0.0, "--every", str(MEMORY_EVERY)), bench.setting)
    course = run["memory"]
    for reports, mib in course:
        print(f"{reports:>10,} reports {mib:9.0f} MiB")
    later = [sample for sample in course if sample[0] >= bench.setting.n / 2]
    if len(later) < 2:
        sys.exit(f"too few samples for a slope: label at least {6 * MEMORY_EVERY:,} reports")
    slope = linear_regression([reports for reports, _ in later], [mib for _, mib in later]).slope
    growth = slope * (bench.setting.n / 2)
    flat = growth <= MEMORY_BOUND_MIB
    print(f"\nsecond half: {slope * 10_000:+.1f} MiB per 10,000 reports, {growth:+.0f} MiB in all; ", end="")
    print(f"{'flat' if flat else 'NOT FLAT'} (at most {MEMORY_BOUND_MIB:g} MiB)")
    return {"flat": flat, "growth_mib": growth, "slope_mib_per_10000": slope * 10_000, "runs": [run]}


def _our_python(options: argparse.Namespace) -> Path | str:
    """Return what runs ours: an environment of its own as for the others, this one where there are no others."""
    return sys.executable if options.alone or options.memory else environment(INSTALLED, options.env_dir)


def _others(options: argparse.Namespace) -> tuple[dict[Comparator, Path], dict[str, str]]:
    found: dict[Comparator, Path] = {}
    absent: dict[str, str] = {}
    for comparator in COMPARATORS:
        if options.alone:
            absent[comparator.name] = "not asked for (--alone)"
            continue
        try:
            found[comparator] = environment(comparator, options.env_dir)
        except Unavailable as reason:
            absent[comparator.name] = str(reason)
    return found, absent


def _shown(run: dict[str, Any], setting: Setting) -> dict[str, Any]:
    latency = f", {run['latency_ms']:g} ms" if run["latency_ms"] != setting.latency_ms else ""
    share = f"{run['reports_per_second'] / setting.ideal:9.1%}" if not latency and setting.latency_ms else f"{'':9}"
    cells = [
        f"{run['who'] + latency:22}{run['reports_per_second']:10,.0f}{share}",
        f"{run['called_reports_per_second']:8,.0f}{run['called_s'] - run['seconds']:8.2f}",
        f"{run['client_cpu_ms_a_report']:8.2f}{run['server_cpu_ms_a_request']:8.2f}{run['peak_rss_mib']:9,.0f}",
        f"{run['most_in_flight']:9,}",
    ]
    print("".join(cells), flush=True)
    return run


def _print_summary(setting: Setting, figures: dict[str, Any]) -> None:
    print()
    rates, called = figures["reports_per_second"], figures["called_reports_per_second"]
    for us, times in figures["times_as_fast_as"].items():
        print(f"{us}: {rates[us]:,.0f} reports/s (median), {rates[us] / setting.ideal:.1%} of {setting.ideal:,.0f}/s")
        for who, ratio in times.items():
            print(f"  {ratio:.2f} times {who} ({rates[who]:,.0f} reports/s); from the call ", end="")
            print(f"{figures['times_as_fast_as_called'][us][who]:.2f} times ({called[us]:,.0f} and {called[who]:,.0f})")
    for who, reason in figures["not_compared"].items():
        print(f"  not compared with {who}: {reason}")
    unhurried, warm = figures["runs"][-1], figures["warm"]
    print(f"client CPU at zero latency: {unhurried['client_cpu_ms_a_report']:.2f} ms a report; ", end="")
    print(f"server {unhurried['server_cpu_ms_a_request']:.2f} ms a request of {unhurried['bytes_an_answer']:,} bytes")
    print(f"same command again, {warm['reports']:,} labelled reports: {warm['calls']} calls, {warm['seconds']:.3f} s\n")


def _described(setting: Setting) -> str:
    latency = f"{setting.latency_ms:g} ms, {setting.concurrency} at once"
    disagree = f", {setting.disagree:.0%} of the answers contradict the rules" if setting.disagree else ""
    machine = _machine()
    reports = f"{setting.n:,} reports of about {setting.characters:,} characters, seed {setting.seed}"
    under = f"Python {machine['python']}, {machine['cores']} cores, uvloop {machine['uvloop']}"
    return f"setting: {reports}; {latency}{disagree}\n         {under}"


def _machine() -> dict[str, Any]:
    try:
        uvloop = version("uvloop")
    except ImportError:
        uvloop = "none"
    return {"python": platform.python_version(), "cores": os.cpu_count(), "uvloop": uvloop}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, help="reports; 4,000, or 50,000 with --memory")
    parser.add_argument("--latency-ms", type=float, default=200.0)
    parser.add_argument("--concurrency", type=int, default=200, help="requests at once")
    parser.add_argument("--disagree", type=float, default=0.0, help="share of reports that the adjudicator must decide")
    parser.add_argument("--rounds", type=int, default=1, help="how often everybody has a turn")
    parser.add_argument("--alone", action="store_true", help="without the other frameworks")
    parser.add_argument("--memory", action="store_true", help="the course of the memory instead of a comparison")
    parser.add_argument("--env-dir", type=Path, default=default_folder(), help="where their environments are kept")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
