"""`teachback label`, killed with SIGKILL at random points and run again: nothing is lost, and nothing is done twice."""

import asyncio
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import duckdb
import pytest
from aiohttp import web
from tests.loopback import in_thread, serving

from teachback.agents.assemble import TeacherSettings, teach_store
from teachback.agents.settings import LLMSettings
from teachback.agents.stand_in import stand_in_endpoint
from teachback.agents.teach import TeachConfig
from teachback.store.database import Store, open_snapshot
from teachback.store.report import Report
from teachback.store.rows import report_row

REPORTS, CHUNK, CONCURRENCY, KILLS = 60, 10, 4, 4
LATENCY_S = 0.004
AGENTS = {"chest_report_labels": "llm_labeler", "chest_report_verdicts": "adjudicator"}
SPECIMENS = (
    ("Moderate left pleural effusion. No pneumothorax.", "Left effusion with adjacent atelectasis."),
    ("The heart is enlarged. Lungs are clear.", "Cardiomegaly. No acute disease."),
    ("Right lower lobe consolidation may represent pneumonia.", "Possible pneumonia."),
    ("Heart size normal. No effusion or pneumothorax.", "No acute cardiopulmonary abnormality."),
)


class Counted:
    """What passed through: which agent asked about which report, in order."""

    def __init__(self, behind: str, session: aiohttp.ClientSession) -> None:
        self.asked: list[tuple[str, str]] = []
        self.url = ""
        self._behind = behind
        self._session = session

    async def forward(self, request: web.Request) -> web.Response:
        body = await request.read()
        sent = json.loads(body)
        numbers = {number for message in sent["messages"] for number in re.findall(r"Case (\d+)\.", message["content"])}
        (number,) = numbers
        self.asked.append((AGENTS[sent["response_format"]["json_schema"]["name"]], f"r{number}"))
        await asyncio.sleep(LATENCY_S)
        headers = {"content-type": "application/json"}
        async with self._session.post(f"{self._behind}/chat/completions", data=body, headers=headers) as got:
            return web.Response(body=await got.read(), status=got.status, content_type="application/json")


@asynccontextmanager
async def counting(behind: str) -> AsyncIterator[Counted]:
    application = web.Application(client_max_size=2**24)
    async with aiohttp.ClientSession() as session:
        counted = Counted(behind, session)
        application.router.add_post("/v1/chat/completions", counted.forward)
        async with serving(application) as address:
            counted.url = f"{address}/v1"
            yield counted


@contextmanager
def counting_endpoint() -> Iterator[Counted]:
    """Run the stand-in behind a server that counts, in threads of this process."""
    with stand_in_endpoint() as url, in_thread(counting(url)) as counted:
        yield counted


def label_command(store: Path, base_url: str) -> list[str]:
    options = {"--llm": "openai", "--model": "stand-in", "--base-url": base_url, "--chunk": CHUNK}
    flat = [str(word) for pair in {**options, "--concurrency": CONCURRENCY}.items() for word in pair]
    return [sys.executable, "-m", "teachback", "label", str(store), "--json", *flat]


def kill_after(command: list[str], counted: Counted, requests: int, delay_s: float) -> bool:
    """Run a command and kill it once so many more requests came in; return whether it was still running."""
    target = len(counted.asked) + requests
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
    while len(counted.asked) < target and running.poll() is None:
        time.sleep(0.001)
    time.sleep(delay_s)
    running.send_signal(signal.SIGKILL)
    return running.wait() == -signal.SIGKILL


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "TEACHBACK_"))}


def ask(store: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(store)) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "labels.duckdb"
    reports = []
    for number in range(REPORTS):
        findings, impression = SPECIMENS[number % len(SPECIMENS)]
        reports.append(Report(f"r{number}", "c", {"findings": findings, "impression": f"{impression} Case {number}."}))
    with Store(path) as opened:
        corpora = [{"corpus": "c", "egress": "local-only"}]
        opened.write({"reports": [report_row(report) for report in reports], "corpora": corpora})
    return path


@pytest.mark.slow
def test_killed_labeling_goes_on_where_it_was(store: Path, tmp_path: Path) -> None:
    chance = random.Random(0)
    whole = tmp_path / "whole.duckdb"
    shutil.copyfile(store, whole)
    verdicts = "SELECT * EXCLUDE (run_id, created_at) FROM {} ORDER BY ALL"
    with counting_endpoint() as counted:
        endpoint = LLMSettings(model="stand-in", base_url=counted.url)
        teach_store(whole, TeacherSettings("openai", endpoint), TeachConfig(chunk=REPORTS))
        needed = Counter(counted.asked)
        assert set(needed.values()) == {1}
        counted.asked.clear()

        kills = before = 0
        stored: set[tuple[str, str]] = set()
        for _ in range(KILLS):
            requests = chance.randrange(len(needed) // KILLS + CONCURRENCY)
            kills += kill_after(label_command(store, counted.url), counted, requests, chance.random() * 0.03)
            assert not stored & set(counted.asked[before:])  # an answer that is stored is never asked for again
            before = len(counted.asked)
            stored = set(ask(store, "SELECT agent, report_id FROM llm_calls WHERE error IS NULL"))
            halves = "SELECT report_id FROM committed WHERE report_id NOT IN (SELECT report_id FROM labels)"
            assert ask(store, halves) == []
            assert ask(store, "SELECT count(*) - count(DISTINCT label_id) FROM labels") == [(0,)]
        assert kills >= KILLS - 1
        subprocess.run(label_command(store, counted.url), check=True, capture_output=True, env=environment())
        assert not stored & set(counted.asked[before:])

    assert set(counted.asked) == set(needed)
    assert ask(store, "SELECT count(*), count(DISTINCT report_id) FROM committed") == [(REPORTS, REPORTS)]
    assert ask(store, "SELECT count(*) - count(DISTINCT label_id) FROM labels") == [(0,)]
    answered = "SELECT count(*) - count(DISTINCT llm_call_id) FROM llm_calls WHERE error IS NULL"
    assert ask(store, answered) == [(0,)]
    for table in ("labels", "adjudications"):
        assert ask(store, verdicts.format(table)) == ask(whole, verdicts.format(table))
    assert ask(store, "SELECT status, count(*) FROM run_ends GROUP BY 1") == [("finished", 1)]
    connection, _ = open_snapshot(store)
    with connection:
        assert connection.execute("SELECT count(*) FROM committed").fetchone() == (REPORTS,)
