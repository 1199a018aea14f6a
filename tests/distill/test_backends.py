"""Backends: real server processes that answer the protocol, and what is said where one cannot be had."""

import io
import json
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import teachback
from teachback.agents.lineup import LabelerRef, load_endpoints, parse_lineup, settings_of
from teachback.agents.settings import LLMSettings
from teachback.distill.backends import Backend, Opening, SlotRequest, backend_name, open_backend
from teachback.distill.backends.protocol import opening_line, request_line, serve
from teachback.distill.backends.served import ServedBackend
from teachback.distill.backends.transformers import TransformersBackend, open_transformers
from teachback.distill.backends.vllm import REMEDY, _lora_rank
from teachback.distill.config import load_settings
from teachback.distill.predict import predict_findings, verify_diseases
from teachback.distill.questions import Questions
from teachback.errors import SettingError, TrainingError

Ask = Callable[..., Questions]
VLLM_PYTHON = os.environ.get("TEACHBACK_VLLM_PYTHON") or (sys.executable if find_spec("vllm") else "")
# Where teachback stands, for the environment of another interpreter that has not installed it.
SOURCE = {"PYTHONPATH": str(Path(teachback.__file__).parents[1])}


def served(module: str, opening: Opening, python: str = sys.executable) -> ServedBackend:
    return ServedBackend(
        [python, "-m", f"teachback.distill.backends.{module}"], opening, "mend it", os.environ | SOURCE
    )


def reading(folder: Path, max_length: int = 512) -> Questions:
    from teachback.distill.base import load_tokenizer
    from teachback.distill.prompt import load_student_prompt

    return Questions(load_tokenizer(str(folder)), max_length=max_length, **load_student_prompt("short"))


def test_a_server_process_gives_the_probabilities_of_this_one(student: Path, texts: list[str]) -> None:
    questions, opening = reading(student), Opening(str(student), dtype="float32", max_length=512)
    here = open_transformers(opening)
    there = served("transformers", opening)
    assert isinstance(here, Backend)
    assert isinstance(there, Backend)
    assert there.version == here.version
    counted: list[int] = []
    np.testing.assert_allclose(
        predict_findings(there, questions, texts[:20], counted.append),
        predict_findings(here.model, questions, texts[:20]),
        atol=1e-5,
    )
    assert sum(counted) == 20
    listed = [["edema", "gout"], [], ["pneumonia"]]
    for of_there, of_here in zip(
        verify_diseases(there, questions, texts[:3], listed),
        verify_diseases(here, questions, texts[:3], listed),
        strict=True,
    ):
        np.testing.assert_allclose(of_there, of_here, atol=1e-5)
    there.close()
    assert there._server.returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not VLLM_PYTHON, reason="needs vLLM here, or TEACHBACK_VLLM_PYTHON")
@pytest.mark.timeout(900)
def test_vllm_gives_the_probabilities_of_transformers(finished: Any, texts: list[str]) -> None:
    settings, folder = finished[1], next(iter(sorted(finished[3].glob("1-feedback-*")))) / "adapter"
    questions = reading(Path(settings.student))
    opening = Opening(settings.student, str(folder), settings.train.lora_r, False, "float32", 512)
    ours = predict_findings(open_transformers(opening), questions, texts[:6])
    theirs = predict_findings(served("vllm", opening, VLLM_PYTHON), questions, texts[:6])
    np.testing.assert_allclose(theirs, ours, atol=1e-3)


def test_the_protocol_answers_batch_after_batch(torch: Any, llama: Any, ask: Ask) -> None:
    engine = TransformersBackend(llama, ask().tokenizer.pad_token_id, "transformers here")
    first, second = SlotRequest((1, 5, 6), ((7,), (8, 9)), (3, 4, 5)), SlotRequest((1, 6), ((7,),), (3,))
    lines = [opening_line(Opening("tiny")), request_line(first), request_line(second), "\n", request_line(second), "\n"]
    sink = io.StringIO()
    serve(lambda opening: engine, io.StringIO("".join(lines)), sink)
    said = [json.loads(line) if line else None for line in sink.getvalue().split("\n")[:-1]]
    assert said[0] == {"engine": "transformers here"}
    assert [message is None for message in said[1:]] == [False, False, True, False, True]
    answers = [np.array(message["log_probabilities"]) for message in said[1:] if message]
    assert [answer.shape for answer in answers] == [(2, 3), (1, 1), (1, 1)]
    with torch.inference_mode():
        alone = llama(input_ids=torch.tensor([[1, 5, 6, 8, 9]])).logits[0, -1].log_softmax(-1)
    np.testing.assert_allclose(answers[0][1], alone[[3, 4, 5]], atol=1e-4)
    assert answers[1][0] == pytest.approx(answers[2][0], abs=1e-5)


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_without_vllm_the_remedy_is_said() -> None:
    here = {name: value for name, value in os.environ.items() if name != "TEACHBACK_VLLM_PYTHON"}
    with pytest.raises(TrainingError, match="vLLM cannot be imported here") as caught:
        open_backend("vllm", "tiny", None, quantize=False, max_length=64, env=here | SOURCE)
    assert caught.value.remedy == REMEDY
    assert "pip install vllm" in REMEDY
    with pytest.raises(TrainingError, match=r"cannot start nowhere/python .*: No such file"):
        open_backend("vllm", "t", None, quantize=False, max_length=64, env={"TEACHBACK_VLLM_PYTHON": "nowhere/python"})


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("raise MemoryError('48 GiB are not there')", "ended: MemoryError: 48 GiB are not there"),
        ("import sys; sys.exit('no such model')", "ended: no such model"),
        ("pass", "ended: it said nothing"),
        (
            "import os, time; os.close(1); time.sleep(0.5); raise OSError('no such library')",
            "ended: OSError: no such library",
        ),
    ],
)
def test_a_server_that_ends_is_quoted(script: str, words: str) -> None:
    with pytest.raises(TrainingError, match="ended") as caught:
        ServedBackend([sys.executable, "-c", script], Opening("tiny"), "mend it")
    assert caught.value.message.endswith(words)
    assert caught.value.remedy == "mend it"


def test_a_server_that_ends_before_its_answer_is_quoted() -> None:
    script = "import sys; input(); print('{\"engine\": \"x\"}', flush=True); input(); raise ValueError('out of memory')"
    backend = ServedBackend([sys.executable, "-c", script], Opening("tiny"), "mend it")
    with pytest.raises(TrainingError, match="ValueError: out of memory"):
        backend.log_probabilities([SlotRequest((1,), ((2,),), (3,))])


def test_the_environment_goes_before_the_settings() -> None:
    assert backend_name("transformers", {}) == "transformers"
    assert backend_name("vllm", {"TEACHBACK_BACKEND": ""}) == "vllm"
    assert backend_name("transformers", {"TEACHBACK_BACKEND": "vllm"}) == "vllm"
    assert load_settings("tiny-cpu").backend == "transformers"
    with pytest.raises(SettingError, match="no backend 'sglang'"):
        backend_name("transformers", {"TEACHBACK_BACKEND": "sglang"})


def test_an_adapter_gets_a_room_that_vllm_knows() -> None:
    assert [_lora_rank(rank) for rank in (1, 8, 9, 16, 24, 32, 33)] == [8, 8, 16, 16, 32, 32, 64]


def test_the_documented_endpoints_load(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    source = page.split("```yaml\n")[1].split("```")[0]
    file = tmp_path / "endpoints.yaml"
    file.write_text(source, encoding="utf-8")
    default = LLMSettings(concurrency=3)
    found = load_endpoints(file, default, {})
    assert set(found) == set(yaml.safe_load(source)) == {"local", "base"}
    assert (found["local"].model, found["local"].concurrency, found["local"].api_key) == ("student", 64, None)
    assert all(endpoint.is_local for endpoint in found.values())
    lineup = page.split("--labelers rule,llm:")[1].split()[0]
    reference = parse_lineup(f"llm:{lineup}")[0]
    assert reference == LabelerRef("llm", "local", "terse")
    assert settings_of(reference, default, found) == found["local"]
