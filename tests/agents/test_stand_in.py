"""The stand-in as any client meets it: over HTTP, knowing only what the request says."""

import asyncio
import json
import math
from collections import Counter

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teachback.agents.client import LLMClient, LLMSettings
from teachback.agents.forms import label_schema
from teachback.agents.llm_labeler import LLMLabeler
from teachback.agents.stand_in import MistakeRates, serve, stand_in_settings
from teachback.agents.stand_in.mistakes import mistaken_status, rng_for, status_distribution
from teachback.agents.stand_in.pieces import Choice, pieces_of
from teachback.agents.stand_in.reader import read_report
from teachback.errors import SettingError
from teachback.store.corpora.synthetic import generate
from teachback.store.label import FINDINGS, STATUSES


def body(report="The heart is enlarged. No pneumothorax.", **changes):
    return {
        "model": "stand-in",
        "messages": [
            {"role": "system", "content": "Label."},
            {"role": "user", "content": f"<report>\n{report}\n</report>"},
        ],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "f", "strict": True, "schema": label_schema()},
        },
        "logprobs": True,
        "top_logprobs": 5,
    } | changes


def post(url, *bodies):
    async def scenario():
        answers = []
        async with aiohttp.ClientSession() as session:
            for one in bodies:
                async with session.post(f"{url}/chat/completions", json=one) as response:
                    answers.append((response.status, await response.json()))
        return answers

    return asyncio.run(scenario())


def test_it_answers_the_form_and_says_everywhere_what_it_is(stand_in_url):
    ((status, answer),) = post(stand_in_url, body())
    said = json.loads(answer["choices"][0]["message"]["content"])
    assert status == 200
    assert list(said["findings"]) == list(FINDINGS)
    assert said["findings"]["Cardiomegaly"] == {"status": "present", "evidence": "The heart is enlarged"}
    assert answer["model"] == "stand-in"
    assert answer["system_fingerprint"].startswith("stand-in")
    assert answer["usage"]["completion_tokens"] == len(answer["choices"][0]["logprobs"]["content"])


def test_its_tokens_join_to_exactly_its_answer_with_alternatives_that_add_up(stand_in_url):
    answers = post(stand_in_url, *(body(sample.report.text("full"), top_logprobs=20) for sample in generate(10, 3)))
    shapes = Counter()
    for _, answer in answers:
        choice = answer["choices"][0]
        tokens = choice["logprobs"]["content"]
        assert "".join(token["token"] for token in tokens) == choice["message"]["content"]
        for token in tokens:
            if len(token["top_logprobs"]) > 1:
                assert sum(math.exp(other["logprob"]) for other in token["top_logprobs"]) == pytest.approx(1, abs=1e-6)
                shapes[token["token"].startswith('"'), token["token"].endswith('"')] += 1
    assert set(shapes) == {(False, False), (True, False), (False, True)}  # quotes apart, and merged on either side


def test_the_same_request_gets_the_same_answer_and_another_seed_another(stand_in_url):
    async def other_seed():
        running = await serve(seed=1)
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.post(f"{running.url}/chat/completions", json=body()) as response,
            ):
                return await response.json()
        finally:
            await running.close()

    (_, first), (_, second) = post(stand_in_url, body(), body())
    assert first["choices"] == second["choices"]
    assert asyncio.run(other_seed())["choices"] != first["choices"]


def test_it_wants_what_the_schema_wants_and_not_our_thirteen(stand_in_url):
    status = {"type": "string", "enum": ["present", "absent"]}
    schema = {
        "type": "object",
        "properties": {
            "Pneumothorax": {"type": "object", "properties": {"status": status}},
            "scoliosis": {"type": "object", "properties": {"status": status}},
            "note": {"type": "string"},
            "n": {"type": "integer"},
        },
    }
    asked = body("No pneumothorax. Scoliosis is severe.")
    asked["response_format"]["json_schema"]["schema"] = schema
    ((_, answer),) = post(stand_in_url, asked)
    said = json.loads(answer["choices"][0]["message"]["content"])
    assert said == {"Pneumothorax": {"status": "absent"}, "scoliosis": {"status": "present"}, "note": "", "n": 0}


@pytest.mark.parametrize(
    ("changes", "status", "parameter"),
    [
        ({"model": "gpt-4o"}, 404, "model"),
        ({"response_format": {"type": "text"}}, 400, "response_format"),
        ({"messages": []}, 400, "messages"),
        ({"top_logprobs": 50}, 400, "top_logprobs"),
    ],
)
def test_it_refuses_as_the_api_does(stand_in_url, changes, status, parameter):
    ((got, answer),) = post(stand_in_url, body(**changes))
    assert got == status
    assert answer["error"]["param"] == parameter


def test_an_answer_longer_than_max_tokens_is_cut_and_says_so(stand_in_url):
    ((_, answer),) = post(stand_in_url, body(max_tokens=20))
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 20


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org"])
def test_it_binds_to_this_machine_only(host):
    with pytest.raises(SettingError, match="does not serve"):
        asyncio.run(serve(host))


def test_a_taken_port_is_said():
    async def scenario():
        running = await serve()
        try:
            await serve(port=int(running.url.split(":")[2].split("/")[0]))
        finally:
            await running.close()

    with pytest.raises(SettingError, match="cannot be had"):
        asyncio.run(scenario())


def test_sections_that_are_no_evidence_are_not_read():
    readings, _ = read_report("INDICATION: Pneumonia?\nFINDINGS: The lungs are clear.\nCOMPARISON: Effusion before.\n")
    assert {reading.status for reading in readings.values()} == {"unmentioned"}


def test_mistakes_come_at_their_documented_rates():
    rates = MistakeRates()
    said = Counter(mistaken_status("present", rates, rng_for(0, index)) for index in range(20_000))
    # 3 standard errors of a share of 0.1 over 20,000 are 0.0064
    assert said["unmentioned"] / 20_000 == pytest.approx(0.10, abs=0.0064)
    assert said["uncertain"] / 20_000 == pytest.approx(0.04, abs=0.0042)
    assert said["absent"] == 0
    careful = rates.scaled(0)
    assert all(mistaken_status(status, careful, rng_for(1, status)) == status for status in STATUSES)


def test_what_it_says_is_its_likeliest_status_and_mistakes_are_less_sure_only_on_average():
    sure = [status_distribution("absent", "absent", rng_for(0, index)) for index in range(4000)]
    slips = [status_distribution("absent", "present", rng_for(1, index)) for index in range(4000)]
    for distribution in sure + slips:
        assert sum(distribution.values()) == pytest.approx(1)
        assert max(distribution, key=distribution.__getitem__) == "absent"
    # Beta(3.5, 1.5) and Beta(2, 3) have means 0.7 and 0.4, over the upper half: 0.85 and 0.70
    assert sum(one["absent"] for one in sure) / 4000 == pytest.approx(0.85, abs=0.01)
    assert sum(one["absent"] for one in slips) / 4000 == pytest.approx(0.70, abs=0.01)
    assert min(one["absent"] for one in sure) < max(one["absent"] for one in slips)  # they overlap


@pytest.mark.parametrize("rates", [{"present_missed": 1.5}, {"present_missed": 0.7, "present_hedged": 0.7}])
def test_impossible_rates_are_refused(rates):
    with pytest.raises(SettingError, match="rate"):
        MistakeRates(**rates)


@given(st.lists(st.tuples(st.text(max_size=30), st.sampled_from(STATUSES)), max_size=6))
def test_any_text_cut_into_tokens_joins_again(parts):
    segments = []
    whole = ""
    for text, status in parts:
        segments += [f'{text}"', Choice(status, dict.fromkeys(STATUSES, 0.25)), '"']
        whole += f'{text}"{status}"'
    assert "".join(piece.token for piece in pieces_of(segments)) == whole


def test_as_a_labeler_it_is_neither_perfect_nor_useless(memory_cache, stand_in_url):
    samples = list(generate(150, 11))

    async def scenario():
        settings = stand_in_settings(LLMSettings(concurrency=16), stand_in_url)
        async with LLMClient(settings, memory_cache) as client:
            labeler = LLMLabeler(client)
            return await asyncio.gather(*(labeler.label(sample.report, "local-only") for sample in samples))

    hits = misses = 0
    for sample, reply in zip(samples, asyncio.run(scenario()), strict=True):
        for label in reply.labels[:13]:
            told, true = label.status == "present", sample.statuses[label.target] == "present"
            hits += told and true
            misses += told != true
    assert 0.65 < 2 * hits / (2 * hits + misses) < 0.9
