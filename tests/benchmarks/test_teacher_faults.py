"""The fault run, small, and what it counts with."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from answers import Knowledge, completion, label_answer
from bucket import Buckets
from faults import PAID, SHARES, Plan, spoiled
from reports import long_reports
from servers.ledger import Admitted, overlap_s, repeated

from teachback.agents.calls import Answer, LLMCall
from teachback.agents.forms import read_label_form
from teachback.agents.rule_labeler import RuleLabeler
from teachback.errors import TeacherReplyError

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "teacher_faults.py"


@pytest.fixture(scope="module")
def known() -> Knowledge:
    return Knowledge.of_all(long_reports(1), RuleLabeler(), 0.0, 0)[0]


def answered(response: bytes) -> Answer:
    """Return an endpoint's response as the label path reads it."""
    numbers = dict.fromkeys(("prompt_tokens", "cached_tokens", "completion_tokens", "cost_usd", "error", "prompt_id"))
    told = {"llm_call_id": "call", "model": "replay", "agent": "llm_labeler", "report_id": "report", **numbers}
    return LLMCall(**told, response=response.decode(), latency_ms=1, attempts=1, created_at=datetime.now(UTC)).answer()


@pytest.mark.slow
def test_a_small_run_keeps_its_promises():
    command = [sys.executable, str(SCRIPT), "--n", "40", "--rpm", "6000", "--concurrency", "4"]
    command += ["--kills", "1", "--reruns", "1"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    figures = json.loads(ran.stdout.splitlines()[-1])
    # So few reports cannot fill the endpoint's limits: goodput is none of this test's business.
    assert [promise for promise in figures["broken_promises"] if not promise.startswith("goodput")] == []
    assert figures["labelled"] + figures["named"] == figures["reports"] == 40
    assert len(figures["in_flight_at_kills"]) == 1
    assert figures["lost"] == figures["twice"] == figures["unfounded"] == 0


def test_a_bucket_holds_what_its_rate_brought_in():
    # 120 a minute are 2 a second; it saves up 3 s of them, so 6.
    buckets = Buckets(rpm=120, tpm=60_000, burst_s=3, now=0.0)
    assert [buckets.take(10, 0.0) for _ in range(6)] == [0.0] * 6
    assert buckets.take(10, 0.0) == 0.5
    assert buckets.take(10, 0.5) == 0.0
    # Tokens: 1,000 a second, 3,000 at most, and full again by now; a request of 4,000 needs them all and owes the rest.
    assert buckets.take(4_000, 1.0) == 0.0
    # Half a second later it still owes 500, so that 10 are there in 0.51 s.
    assert buckets.take(10, 1.5) == pytest.approx(0.51)
    told = buckets.headers(2.0)
    assert told["x-ratelimit-limit-requests"] == "120"
    assert told["x-ratelimit-remaining-requests"] == "2"


def test_faults_are_seeded_and_as_frequent_as_stated():
    plan = Plan(7)
    drawn = [plan.fault(number, str(number), 0) for number in range(5_000)]
    assert drawn == [Plan(7).fault(number, str(number), 0) for number in range(5_000)]
    assert drawn.count("http") / 5_000 == pytest.approx(0.05, abs=0.01)
    hopeless = next(number for number in range(5_000) if plan.never(number))
    assert all(plan.fault(hopeless, "anything", attempt) in ("never", "refusal") for attempt in range(20))


@pytest.mark.parametrize("fault", sorted(PAID - {"usable", "truncated"}))
def test_a_spoiled_answer_is_no_usable_form(known, fault):
    answer = completion(label_answer(known, 0), known.prompt_tokens, 8)
    assert read_label_form(answered(answer)).findings
    with pytest.raises(TeacherReplyError):
        read_label_form(answered(spoiled(answer, fault)))


def test_shares_leave_room_for_useful_answers():
    assert SHARES["http"] == 0.05
    assert sum(SHARES.values()) < 0.1


def test_answers_paid_again_are_those_beyond_the_first_usable_one():
    def one(number, agent="label", kind="usable", heard=True):
        return Admitted(0.0, (number, agent), kind, heard)

    # 1 was answered three times usably: two too many. 2 was repaired, and its verdict is another question.
    requests = [one(1), one(1, heard=False), one(1), one(2, kind="prose"), one(2), one(2, agent="verdict")]
    assert repeated(requests) == 2


def test_overlap_counts_common_seconds():
    # (0, 10) has (2, 4) and 1 s of (9, 12); (11, 20) has 1 s of (9, 12).
    assert overlap_s([(0, 10), (11, 20)], [(2, 4), (9, 12)]) == 2 + 1 + 1
