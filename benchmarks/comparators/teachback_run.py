"""Teachback's whole label path on a store, in a process of its own; run by `teacher_graph.py` like the others.

    python teachback_run.py labels.duckdb http://127.0.0.1:8000/v1 --concurrency 200 [--limit N] [--again 5] [--every N]
        [--prompts FOLDER --prompt NAME]

`teach_store` as `teachback label` calls it: graph, rules and model, adjudicator, validation, call cache, DuckDB. Its
last line is one JSON object: seconds from the call until everything was committed and until the store was closed, CPU
and peak memory, and how long the same call takes once more.
"""

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from teachback.agents.assemble import TeacherSettings, teach_store
from teachback.agents.lineup import DEFAULT_PROMPT
from teachback.agents.selection import Selection
from teachback.agents.settings import LLMSettings
from teachback.agents.teach import Progress, TeachConfig
from teachback.prompts import PROMPTS_VARIABLE

PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("base_url")
    parser.add_argument("--concurrency", type=int, default=200)
    parser.add_argument("--limit", type=int, help="label only so many reports")
    parser.add_argument("--again", type=int, default=0, help="how often to run the same command again")
    parser.add_argument("--every", type=int, default=0, help="take the memory every so many reports")
    parser.add_argument("--prompts", help="a folder of prompts besides the package's")
    parser.add_argument("--prompt", default=DEFAULT_PROMPT, help="the LLM labeler's prompt")
    options = parser.parse_args()
    if options.prompts:
        os.environ[PROMPTS_VARIABLE] = options.prompts
    endpoint = LLMSettings(model="replay", base_url=options.base_url, concurrency=options.concurrency)
    settings = TeacherSettings(llm="openai", endpoint=endpoint, labeler_prompt=options.prompt)
    config = TeachConfig(Selection(limit=options.limit))
    run = label(options.store, settings, config, options.every)
    again = [label(options.store, settings, config, 0) for _ in range(options.again)]
    run["warm_s"] = median(one["closed_s"] for one in again) if again else None
    run["warm_calls"] = sum(one["calls"] for one in again)
    print(json.dumps(run))


def label(store: Path, settings: TeacherSettings, config: TeachConfig, every: int) -> dict[str, Any]:
    """Label a store and say what that took."""
    committed_at, memory = [0.0], list[tuple[int, float]]()
    called_at, wall, cpu = time.time(), time.perf_counter(), _cpu_s()
    summary, _ = teach_store(store, settings, config, _watch(committed_at, memory, every))
    ended = time.perf_counter()
    progress = summary.progress
    return {
        "called_at": called_at,
        "committed_s": (committed_at[0] or ended) - wall,
        "closed_s": ended - wall,
        "valid": progress.taught,
        "failed": progress.failed,
        "calls": progress.bill.calls,
        "disputed": progress.disputed,
        "decided": progress.decided,
        "cpu_s": _cpu_s() - cpu,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "memory": memory,
    }


def _watch(committed_at: list[float], memory: list[tuple[int, float]], every: int) -> Callable[[Progress], None]:
    # The last call of the callback comes when the last chunk is on disk.
    def watch(progress: Progress) -> None:
        committed_at[0] = time.perf_counter()
        if every and progress.taught >= every * (len(memory) + 1):
            memory.append((progress.taught, _rss_mib()))

    return watch


def _rss_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_MIB


def _cpu_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
