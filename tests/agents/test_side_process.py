"""The process beside: it says what would have been said here, and where it is missing nothing is lost."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from teachback.agents.client import LLMClient, LLMSettings
from teachback.agents.completion import read_completion
from teachback.agents.label_reading import LabelReading, Reader
from teachback.agents.llm_labeler import LLMLabeler
from teachback.agents.responses import read_response
from teachback.agents.rule_labeler import RuleLabeler
from teachback.agents.side_process import BACKLOG, WORTH_IT, RulesBeside, SideProcess
from teachback.agents.stand_in import stand_in_settings
from teachback.store.corpora.synthetic import generate
from teachback.store.report import Report

READER = Reader(("findings", "diseases"), "labels", "full", "lbr_1")
MANY = WORTH_IT + 1
EMPTY = Report("r-empty", "demo", {"indication": "Cough."})

pytestmark = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="with one core there is no process beside")


@pytest.fixture(scope="module")
def reports():
    return [entry.report for entry in generate(24, seed=5)]


def beside(scenario, expected=MANY):
    """Run a scenario with the process, and see that it ends."""

    async def main():
        side = SideProcess()
        side.expect(expected)
        try:
            return await scenario(side)
        finally:
            process = side._process
            await side.aclose()
            assert process is None or process.returncode is not None

    return asyncio.run(main())


def answers(stand_in_url, memory_cache, reports):
    """The stand-in's answer on each report."""

    async def main():
        async with LLMClient(stand_in_settings(LLMSettings(), stand_in_url), memory_cache) as client:
            labeler = LLMLabeler(client)
            return [(await client.complete(labeler.request(report), egress="any")).response for report in reports]

    return [response.encode() for response in asyncio.run(main())]


def test_rules_say_the_same_there_and_here(reports):
    given = [*reports, EMPTY]
    labelled = beside(lambda side: RulesBeside("full", side).label_many(given))
    here = RuleLabeler("full")
    assert labelled == [here.label(report) for report in given]
    assert labelled[-1] == []
    # Ids that came with the labels are those of their content.
    assert [label.label_id for labels in labelled for label in labels] == [
        label.label_id for report in given for label in here.label(report)
    ]


def test_rules_that_wait_are_done_here_where_the_answer_is_read_here(reports):
    asked, waiting = reports[0], reports[1]

    async def scenario(side):
        beside = RulesBeside("full", side)
        labeling = [asyncio.create_task(beside.label_many([report])) for report in (asked, waiting)]
        await asyncio.sleep(0)  # both are on their way to a process that is not there yet
        side.label_here(asked.report_id)
        side.label_here("nobody asked for this one")
        await asyncio.sleep(0)
        assert [task.done() for task in labeling] == [True, False]
        return await asyncio.gather(*labeling)

    here = RuleLabeler("full")
    assert beside(scenario) == [[here.label(asked)], [here.label(waiting)]]


def test_answers_are_read_the_same_there_and_here(reports, stand_in_url, memory_cache):
    raw = answers(stand_in_url, memory_cache, reports)
    unusable = [b"", b"{", b'{"choices": []}', "\udcff".encode("utf-8", "surrogatepass"), raw[0][:-40], b"[1]"]
    asked = [
        (answer, LabelReading(READER, r.report_id, r.scoped("full"))) for answer, r in zip(raw, reports, strict=True)
    ]
    asked += [(answer, asked[0][1]) for answer in unusable]

    async def read(side):
        return [await side.read(answer, reading, "call_1") for answer, reading in asked]

    there = beside(read)
    assert there == [read_response(answer, reading, "call_1", reading.report_id) for answer, reading in asked]
    assert [response.refused is None for response in there] == [True] * len(reports) + [False] * len(unusable)


def test_what_would_wait_long_is_read_here(reports, stand_in_url, memory_cache):
    raw = answers(stand_in_url, memory_cache, reports)
    times = BACKLOG // len(reports) + 2

    async def read(side):
        readings = [LabelReading(READER, report.report_id, report.scoped("full")) for report in reports]
        given = [*zip(raw, readings, strict=True)] * times

        async def read_all():
            return await asyncio.gather(*(side.read(answer, r, "call_1") for answer, r in given))

        # As long as nothing can be read here without making the event loop wait, all goes there.
        early = await read_all()
        await side._preparing
        return early, await read_all()

    early, late = beside(read)
    assert None not in early
    assert [response is None for response in late] == [False] * BACKLOG + [True] * (times * len(reports) - BACKLOG)


def test_small_jobs_start_no_process(reports):
    async def scenario(side):
        labelled = await RulesBeside("full", side).label_many(reports[:1])
        return labelled, side._process

    assert beside(scenario, expected=WORTH_IT) == (None, None)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM])
def test_when_it_dies_its_work_is_given_back(reports, blow):
    async def scenario(side):
        rules = RulesBeside("full", side)
        assert await rules.label_many(reports[:2]) is not None
        waiting = asyncio.create_task(rules.label_many(reports * 20))
        await asyncio.sleep(0)
        os.kill(side._process.pid, blow)
        return await waiting, await rules.label_many(reports[:2])

    assert beside(scenario) == (None, None)


def test_a_labeler_reads_itself_what_comes_back_unread(reports, stand_in_url, memory_cache):
    async def scenario(side):
        settings = stand_in_settings(LLMSettings(), stand_in_url)
        async with LLMClient(settings, memory_cache, side=side) as client:
            labeler = LLMLabeler(client)
            first = await labeler.label(reports[0], "any")
            os.kill(side._process.pid, signal.SIGKILL)
            rest = await asyncio.gather(*(labeler.label(report, "any") for report in reports[1:]))
            return [first, *rest]

    there = beside(scenario)
    here = []
    for report, reply in zip(reports, there, strict=True):
        call = memory_cache.answered[reply.llm_call_id]
        reader = READER._replace(labeler_id=reply.labels[0].labeler_id)
        reading = LabelReading(reader, report.report_id, report.scoped("full"))
        here.append(read_response(call.response.encode(), reading, call.llm_call_id, report.report_id).reading)
    assert [reply.labels for reply in there] == here


def test_what_is_read_is_what_is_kept(reports, stand_in_url, memory_cache):
    # Read again from the store, an answer makes the same labels, to the last bit.
    for raw, report in zip(answers(stand_in_url, memory_cache, reports[:4]), reports, strict=False):
        body = json.loads(raw)
        for token in body["choices"][0]["logprobs"]["content"]:
            token["bytes"] = [0] * 400  # what no label rests on, so that it is long enough to be thinned
        reading = LabelReading(READER, report.report_id, report.scoped("full"))
        first = read_response(json.dumps(body).encode(), reading, "call_1", report.report_id)
        again = read_response(first.kept.encode(), reading, "call_1", report.report_id)
        assert len(first.kept) < len(json.dumps(body)) / 2
        assert first.reading == again.reading
        said = read_completion(first.kept).choice
        assert said is not None
        assert said.message.content == body["choices"][0]["message"]["content"]


PARENT = f"""
import asyncio
from teachback.agents.side_process import RulesBeside, SideProcess
from teachback.store.report import Report

async def main():
    side = SideProcess()
    side.expect({MANY})
    labels, = await RulesBeside("full", side).label_many([Report("r1", "demo", {{"findings": "No effusion."}})])
    print(side._process.pid, len(labels), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def is_running(pid):
    stat = Path(f"/proc/{pid}/stat")  # a process that nobody has waited for yet is still listed, as a zombie
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc to look for processes in")
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_it_ends_with_whoever_started_it_however_that_ends(blow):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        pid, labels = map(int, parent.stdout.readline().split())
        assert labels == 13
        assert is_running(pid)
        parent.send_signal(blow)
        parent.wait()
        deadline = time.monotonic() + 10
        while is_running(pid):
            assert time.monotonic() < deadline
            time.sleep(0.02)
