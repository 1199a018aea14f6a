"""The label path against an endpoint where everything goes wrong, killed five times: what is lost, doubled, paid twice.

    python benchmarks/teacher_faults.py [--n 4000] [--rpm 3000] [--kills 5] [--seed 0] [--out teacher_faults.json]

The endpoint limits requests and tokens a minute, has storms in which it refuses everything, answers 5 % with 5xx,
hangs, resets connections, cuts bodies off, gives answers that are no JSON or not the form, cuts them at the token limit
and refuses; some reports it never answers. `teachback label` runs against it as a user would start it, is killed with
SIGKILL at seeded moments, and started again with the same command until only those reports are left that cannot be
answered.

Promised, or the exit code is 1: every report is labelled or has an error with its reason; no label is lost, none is
there twice; no more answers are paid for again than were in flight at the kills (sent, and not yet in the store).
Goodput is the share of the requests that the limits allow which became useful answers: while the program runs (from a
process's first request to its end), outside the endpoint's storms, and as long as there are reports enough to ask about
(up to the moment at which fewer were left than slots). What the limits allow is their rate, and what they had saved up
at each start and after each storm, less the requests that the endpoint itself failed or answered unusably.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

from servers.faults import Plan
from servers.ledger import Asked, Promises, kept_promises, overlap_s, read_log, repeated, stored_answers
from servers.reports import long_reports, write_store
from servers.running import RunningServer, running

LOOK_EVERY_S = 0.05
TOKENS_A_REQUEST = 5_000  # more than one takes, so that the limit of requests is the one that holds back
KILLED_BETWEEN = (0.05, 0.85)  # of the reports' useful answers; the seed draws the moments
KILL_DELAY_S = 1.0  # at most, after such a moment
LONGEST_RUN_S = 1_800.0
GOODPUT_WANTED = 0.9
SOME_FAILED = 1  # `teachback label`'s exit code when reports are left
BURST_S = 0.5  # what the endpoint's limits save up while they are not used, in seconds of their rate
TIMEOUT_S = 5.0  # a request's, where the command takes one; the endpoint hangs longer


@dataclass
class Course:
    """What happened, process by process; times in seconds since the epoch.

    Attributes:
        spans: From each process's first request to its end.
        started_s: Seconds from each start to the first request.
        in_flight: At each kill, requests that the endpoint had received and not answered.
        unstored: At each kill, usable answers that were given and not in the store.
        exit_codes: Of the processes that ended by themselves.
    """

    spans: list[tuple[float, float]] = field(default_factory=list)
    started_s: list[float] = field(default_factory=list)
    in_flight: list[int] = field(default_factory=list)
    unstored: list[int] = field(default_factory=list)
    exit_codes: list[int] = field(default_factory=list)


def main() -> None:
    options = _options()
    limits = f"{options.rpm:,.0f} requests a minute, {options.concurrency} at once"
    print(f"setting: {options.n:,} reports, {limits}, {options.kills} kills, seed {options.seed}", flush=True)
    with _folder(options.keep) as folder:
        store, log = Path(folder, "labels.duckdb"), Path(folder, "requests.jsonl")
        write_store(store, long_reports(options.n, options.seed), options.n)
        log.touch()
        serve = ["--texts", options.n, "--rpm", options.rpm, "--tpm", options.rpm * TOKENS_A_REQUEST]
        serve += ["--burst-s", BURST_S, "--seed", options.seed]
        with running("faulty.py", [*map(str, serve), "--log", str(log)]) as server:
            course = _label(store, log, server, options)
            stats = server.get("/stats")
        figures = _figures(course, kept_promises(store), log, stats, options)
    broken = _print(figures)
    outcome = json.dumps({"benchmark": "teacher_faults", "broken_promises": broken, **figures})
    if options.out:
        options.out.write_text(json.dumps(json.loads(outcome), indent=4) + "\n", encoding="utf-8")
    print(outcome)
    sys.exit(1 if broken else 0)


def _label(store: Path, log: Path, server: RunningServer, options: argparse.Namespace) -> Course:
    """Run the command, kill it, run it again, until nothing is left that could still be answered."""
    rng = random.Random(options.seed)
    moments = sorted(rng.uniform(*KILLED_BETWEEN) * options.n for _ in range(options.kills))
    hopeless = sum(Plan(options.seed).never(number) for number in range(options.n))
    course = Course()
    reruns = 0
    while True:
        delay = rng.uniform(0, KILL_DELAY_S)
        killed = _run_once(store, log, server, options, course, moments[0] if moments else None, delay)
        if killed:
            moments.pop(0)
            continue
        left = options.n - kept_promises(store).labelled
        if left <= hopeless or reruns == options.reruns:
            return course
        reruns += 1
        print(f"{left} reports are left, {hopeless} of them for good: once more", flush=True)


def _run_once(
    store: Path,
    log: Path,
    server: RunningServer,
    options: argparse.Namespace,
    course: Course,
    moment: float | None,
    delay: float,
) -> bool:
    """Run the command to its end or to the kill; returns whether it was killed."""
    before = server.get("/stats")["counts"].get("requests", 0)
    launched = time.time()
    first: float | None = None
    due: float | None = None
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as outcome:
        process = subprocess.Popen(_command(store, server, options), stdout=outcome, stderr=said, env=_environment())
        try:
            while process.poll() is None:
                time.sleep(LOOK_EVERY_S)
                now = time.time()
                counts = server.get("/stats")["counts"]
                if first is None and counts.get("requests", 0) > before:
                    first = now
                if moment is not None and due is None and counts.get("usable", 0) >= moment:
                    due = now + delay
                if due is not None and now >= due:
                    _kill(process, store, log, server, course)
                    break
                if now - launched > LONGEST_RUN_S:
                    sys.exit(f"the command did not end within {LONGEST_RUN_S:g} s")
        finally:
            process.kill()
            process.wait()
        if process.returncode != -signal.SIGKILL:
            _check_end(process.returncode, outcome, said)
            course.exit_codes.append(process.returncode)
    if first is not None:
        course.spans.append((first, time.time()))
        course.started_s.append(first - launched)
    return process.returncode == -signal.SIGKILL


def _kill(process: "subprocess.Popen[str]", store: Path, log: Path, server: RunningServer, course: Course) -> None:
    """Kill it, and note what was in flight: it is stopped first, so that nothing moves meanwhile."""
    process.send_signal(signal.SIGSTOP)
    stats = server.get("/stats")
    answered = {one.asked for one in read_log(log) if one.kind == "usable"}
    process.kill()
    process.wait()
    course.in_flight.append(len(stats["in_flight"]))
    course.unstored.append(len(answered - stored_answers(store)))
    print(
        f"killed after {stats['counts']['usable']:,} useful answers: {course.in_flight[-1]} requests in flight, "
        f"{course.unstored[-1]} answers not yet stored",
        flush=True,
    )


def _check_end(code: int, outcome: IO[str], said: IO[str]) -> None:
    """Stop where the command broke down; an end with failed reports prints its outcome, a breakdown prints none."""
    outcome.seek(0)
    if code not in (0, SOME_FAILED) or not outcome.read().strip():
        said.seek(0)
        sys.exit(f"`teachback label` ended with exit code {code}:\n{said.read()[-2_000:]}")


def _figures(
    course: Course, promises: Promises, log: Path, stats: dict[str, Any], options: argparse.Namespace
) -> dict[str, Any]:
    requests = read_log(log)
    useful_at: dict[Asked, float] = {}
    for one in requests:
        if one.kind == "usable" and one.heard:
            useful_at[one.asked] = min(one.at, useful_at.get(one.asked, one.at))
    labelled_at = sorted(at for (_, agent), at in useful_at.items() if agent == "label")
    saturated = labelled_at[max(0, len(labelled_at) - options.concurrency - 1)]
    spans = [(start, min(end, saturated)) for start, end in course.spans if start < saturated]
    running_s = sum(end - start for start, end in spans)
    storms_s = overlap_s(spans, stats["storms"])
    pauses = len(spans) + sum(overlap_s(spans, [storm]) > 0 for storm in stats["storms"])
    allowed = options.rpm / 60 * (running_s - storms_s + BURST_S * pauses)
    useful = _within(spans, useful_at.values())
    failed = _within(spans, (one.at for one in requests if one.kind != "usable"))
    return {
        "setting": {name: value for name, value in vars(options).items() if name not in ("out", "keep")},
        **asdict(promises),
        "paid": dict(Counter(one.kind for one in requests if one.paid)),
        "endpoint": stats["counts"],
        "repeated": repeated(requests),
        "in_flight_at_kills": course.in_flight,
        "unstored_at_kills": course.unstored,
        "most_in_flight": options.concurrency * len(course.in_flight),
        "goodput": useful / (allowed - failed),
        "useful_per_minute": 60 * useful / (running_s - storms_s),
        "running_s": running_s,
        "storms_s": storms_s,
        "tail_s": course.spans[-1][1] - saturated,
        "start_s": course.started_s,
        "exit_codes": course.exit_codes,
    }


def _within(spans: list[tuple[float, float]], moments: Iterable[float]) -> int:
    # A process's first request came in a little before it was seen.
    return sum(any(start - LOOK_EVERY_S <= at <= end for start, end in spans) for at in moments)


def _print(figures: dict[str, Any]) -> list[str]:
    """Print what came of it; returns the promises that were broken."""
    bound = sum(figures["in_flight_at_kills"]) + sum(figures["unstored_at_kills"])
    most = figures["most_in_flight"]
    repeats, rpm = figures["repeated"], figures["setting"]["rpm"]
    promises = {
        "every report is labelled or has a named error": figures["unnamed"] == 0,
        "no label is lost": figures["lost"] == 0,
        "no label is there twice": figures["twice"] == 0,
        "every label's call is stored as answered": figures["unfounded"] == 0,
        f"paid again ({repeats}) <= sent and not stored at the kills ({bound})": repeats <= bound,
        f"sent and not stored at the kills ({bound}) <= slots x kills ({most})": bound <= most,
        f"goodput {figures['goodput']:.1%} >= {GOODPUT_WANTED:.0%}": figures["goodput"] >= GOODPUT_WANTED,
    }
    print(
        f"\n{figures['reports']:,} reports: {figures['labelled']:,} labelled, {figures['named']:,} with a named error"
    )
    for reason, count in figures["reasons"].items():
        print(f"  {count:>5}  {reason}")
    print(f"lost {figures['lost']}, twice {figures['twice']}, without their call {figures['unfounded']}")
    print("the endpoint: " + _counted(figures["endpoint"]))
    print("paid for: " + _counted(figures["paid"]))
    print(
        f"{figures['running_s']:.0f} s of asking, {figures['storms_s']:.0f} s of them in storms, then a tail of "
        f"{figures['tail_s']:.0f} s; from start to first request {max(figures['start_s']):.1f} s at most"
    )
    print(
        f"useful answers: {figures['useful_per_minute']:,.0f} a minute outside storms; the limits' rate is {rpm:,.0f}"
    )
    for promise, kept in promises.items():
        print(f"{'kept  ' if kept else 'BROKEN'}  {promise}")
    print()
    return [promise for promise, kept in promises.items() if not kept]


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))


def _command(store: Path, server: RunningServer, options: argparse.Namespace) -> list[str]:
    command = [sys.executable, "-m", "teachback", "label", str(store), "--llm", "openai", "--model", "replay"]
    command += ["--base-url", server.base_url, "--concurrency", str(options.concurrency), "--json"]
    return command + (["--timeout", str(TIMEOUT_S)] if _takes_timeout() else [])


def _folder(kept: Path | None) -> AbstractContextManager[str]:
    if kept is None:
        return tempfile.TemporaryDirectory(prefix="teacher-faults-")
    kept.mkdir(parents=True)
    return nullcontext(str(kept))


@cache
def _takes_timeout() -> bool:
    helped = subprocess.run(
        [sys.executable, "-m", "teachback", "label", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=_environment(),
    )
    return "--timeout" in helped.stdout


def _environment() -> dict[str, str]:
    return {**os.environ, "OPENAI_API_KEY": "x", "COLUMNS": "200"}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=4_000, help="reports")
    parser.add_argument("--rpm", type=float, default=3_000.0, help="requests a minute that the endpoint allows")
    parser.add_argument("--concurrency", type=int, default=64, help="requests at once")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--reruns", type=int, default=4, help="at most, after the last kill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a new folder in which the store and the endpoint's log stay")
    parser.add_argument("--out", type=Path, help="a file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
