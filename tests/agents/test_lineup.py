"""Who labels, as it is written on the command line and in a file of endpoints."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teachback.agents.lineup import ENSEMBLES, LabelerRef, ensemble_of, load_endpoints, parse_lineup, settings_of
from teachback.agents.settings import LLMSettings
from teachback.errors import InputError, SettingError
from teachback.prompts import load_prompt

DEFAULT = LLMSettings(model="gpt-4o", api_key="default-key", concurrency=7, rpm=100)
LOCAL = "{base_url: http://localhost:8000/v1, model: llama}"


@pytest.mark.parametrize(
    ("text", "references"),
    [
        ("rule", [LabelerRef("rule")]),
        ("llm", [LabelerRef("llm")]),
        ("rule,llm:gpt-4o", [LabelerRef("rule"), LabelerRef("llm", "gpt-4o")]),
        (" rule , llm@terse ,", [LabelerRef("rule"), LabelerRef("llm", "", "terse")]),
        (
            "rule,llm:gpt-4o,llm:local@zero-shot",
            [LabelerRef("rule"), LabelerRef("llm", "gpt-4o"), LabelerRef("llm", "local", "zero-shot")],
        ),
        # One model by two prompts is two labelers, and so is one prompt at two models.
        (
            "llm:m@a,llm:m@b,llm:n@a",
            [LabelerRef("llm", "m", "a"), LabelerRef("llm", "m", "b"), LabelerRef("llm", "n", "a")],
        ),
        # Names of models with a slash, a colon and dots; a prompt that is a file.
        ("llm:meta-llama/Llama-3.1-8B-Instruct", [LabelerRef("llm", "meta-llama/Llama-3.1-8B-Instruct")]),
        ("llm:llama3.1:8b@./mine/one.md", [LabelerRef("llm", "llama3.1:8b", "./mine/one.md")]),
    ],
)
def test_labelers_are_read_in_their_order(text: str, references: list[LabelerRef]) -> None:
    assert parse_lineup(text) == tuple(references)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "rules",
            "rule:gpt-4o",
            "rule@terse",
            "rule:x@terse",
            "gpt-4o",
            "LLM",
            "llm:",
            "llm@",
            "llm:@terse",
            "llm:a@",
        ),
        *("llm:two words", "llm;rule", "rule llm", "llm:a@b c", "adjudicator", "llm:a\nb"),
    ],
)
def test_what_is_no_labeler_is_named(text: str) -> None:
    with pytest.raises(SettingError) as caught:
        parse_lineup(f"rule,{text}")
    assert f"{text!r} is no labeler" in caught.value.message
    assert "llm:ENDPOINT@PROMPT" in caught.value.remedy


@pytest.mark.parametrize(
    "text", ["rule,rule", "llm,llm:a,llm", "llm:a@default,llm:a", "llm:a@b, llm:a@b", "llm,llm@default"]
)
def test_the_same_labeler_twice_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="twice") as caught:
        parse_lineup(text)
    assert text in caught.value.message


@pytest.mark.parametrize("text", ["", " ", ",", " , ,"])
def test_nobody_is_no_lineup(text: str) -> None:
    with pytest.raises(SettingError, match="no labeler is named"):
        parse_lineup(text)


NAMES = st.text("abcXYZ019._-/:", min_size=1, max_size=12)
REFERENCES = st.one_of(
    st.just(LabelerRef("rule")),
    st.builds(LabelerRef, st.just("llm"), st.one_of(st.just(""), NAMES), st.one_of(st.just("default"), NAMES)),
)


def written(reference: LabelerRef) -> str:
    name = f":{reference.name}" if reference.name else ""
    prompt = "" if reference.prompt == "default" else f"@{reference.prompt}"
    return f"{reference.kind}{name}{prompt}"


@given(st.lists(REFERENCES, min_size=1, max_size=6, unique=True))
def test_what_is_written_is_read(references: list[LabelerRef]) -> None:
    assert parse_lineup(",".join(map(written, references))) == tuple(references)


@given(st.text("rulem:@, \n\0é-", max_size=30))
def test_any_other_text_is_refused(text: str) -> None:
    try:
        references = parse_lineup(text)
    except SettingError:
        return
    assert parse_lineup(",".join(map(written, references))) == references


@pytest.mark.parametrize("name", ENSEMBLES)
def test_an_ensemble_is_one_model_by_prompts_that_exist(name: str) -> None:
    references = ensemble_of(name)
    assert len({load_prompt("llm_labeler", reference.prompt).prompt_id for reference in references}) >= 3
    assert {(reference.kind, reference.name) for reference in references} == {("llm", "")}
    joined = ensemble_of(name, "rule,llm:local")
    assert joined == (LabelerRef("rule"), LabelerRef("llm", "local"), *references)


def test_an_ensemble_that_does_not_exist_is_refused_by_the_names_of_those_that_do() -> None:
    with pytest.raises(SettingError, match="no ensemble 'low-recall'") as caught:
        ensemble_of("low-recall")
    assert all(name in caught.value.remedy for name in ENSEMBLES)
    with pytest.raises(SettingError, match="'nobody' is no labeler"):
        ensemble_of("high-recall", "nobody")


def endpoints(tmp_path: Path, text: str, env: Mapping[str, str] | None = None) -> dict[str, LLMSettings]:
    file = tmp_path / "endpoints.yaml"
    file.write_text(text, encoding="utf-8")
    return load_endpoints(file, DEFAULT, env or {})


def test_an_endpoint_takes_what_it_leaves_out_from_the_default_but_never_its_key(tmp_path: Path) -> None:
    source = f"""
        local: {LOCAL}
        azure:
          base_url: https://mine.openai.azure.com/openai/v1
          model: gpt-4o-deployment
          key_variable: AZURE_KEY
          concurrency: 40
          rpm: 600.5
          tpm: 90000
          timeout_s: 30
    """
    read = endpoints(tmp_path, source, {"AZURE_KEY": "azure-key", "OTHER": "x"})
    local, azure = read["local"], read["azure"]
    assert (local.base_url, local.model) == ("http://localhost:8000/v1", "llama")
    assert (local.concurrency, local.rpm, local.tpm, local.timeout_s) == (7, 100, None, 120.0)
    assert local.api_key is None  # OPENAI_API_KEY is not set: the default's key belongs to another host
    assert (azure.model, azure.api_key) == ("gpt-4o-deployment", "azure-key")
    assert (azure.concurrency, azure.rpm, azure.tpm, azure.timeout_s) == (40, 600.5, 90000, 30)


def test_keys_stay_in_the_environment(tmp_path: Path) -> None:
    assert endpoints(tmp_path, f"a: {LOCAL}", {"OPENAI_API_KEY": "k"})["a"].api_key == "k"
    assert endpoints(tmp_path, f"a: {LOCAL}", {"OPENAI_API_KEY": ""})["a"].api_key is None
    with pytest.raises(InputError) as caught:
        endpoints(tmp_path, "a: {base_url: http://localhost/v1, model: m, api_key: sk-secret}")
    assert "endpoints.yaml, line 1: a.api_key" in caught.value.message
    assert "keys themselves stay in the environment" in caught.value.remedy
    assert "sk-secret" not in caught.value.message + caught.value.remedy


def test_no_file_gives_no_endpoints() -> None:
    assert load_endpoints(None, DEFAULT) == {}


GOOD = "base_url: http://localhost/v1"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (f"local:\n  {GOOD}\n", ["line 1: local.model", "required"]),
        (f"local:\n  {GOOD}\n  model: m\n  modle: x\n", ["line 4: local.modle"]),
        (f"first: {LOCAL}\nlocal:\n  {GOOD}\n  model: m\n  concurrency: 0\n", ["line 5: local.concurrency", "1"]),
        (f"local:\n  {GOOD}\n  rpm: many\n  model: m\n", ["line 3: local.rpm", "number"]),
        (f"local:\n  timeout_s: -3\n  {GOOD}\n  model: m\n", ["line 2: local.timeout_s"]),
        ("local: {base_url: [1], model: m}", ["line 1: local.base_url"]),
        (f"local:\n  {GOOD}\n  model: 4\n", ["line 3: local.model", "string"]),
        ("local: http://localhost/v1", ["line 1: local: "]),
        ("- http://localhost/v1", ["holds no endpoints"]),
        ("", ["holds no endpoints"]),
        ("{}", ["holds no endpoints"]),
        ("http://localhost/v1", ["holds no endpoints"]),
        (f"local:\n  {GOOD}\n  model: [m\n", ["line 4"]),
        (f"local: {LOCAL}\nother: {LOCAL}\nlocal: {LOCAL}\n", ["'local' stands twice", "line 3"]),
        (f"local:\n  {GOOD}\n  model: m\n  model: n\n", ["'model' stands twice", "line 4"]),
        (f"first: {LOCAL}\nlocal: {{base_url: localhost, model: m}}", ["line 2: local: 'localhost' is not a base URL"]),
        ("local: {base_url: 'http://me:secret@localhost/v1', model: m}", ["line 1: local: ", "password"]),
        ("llm: !!python/object/apply:os.system ['true']", ["python/object", "line 1"]),
        (f"first: {LOCAL}\ntwo words: {LOCAL}", ["line 2: two words: no labeler can name it"]),
        (f"'a,b': {LOCAL}", ["a,b: no labeler can name it"]),
        (f"a@b: {LOCAL}", ["a@b: no labeler can name it"]),
        (f"'': {LOCAL}", ["no labeler can name it"]),
    ],
)
def test_what_is_wrong_is_named_by_file_line_and_key(tmp_path: Path, source: str, said: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        endpoints(tmp_path, source)
    message = caught.value.message
    assert str(tmp_path / "endpoints.yaml") in message
    assert caught.value.remedy
    for words in said:
        assert words in message
    assert "secret" not in message


def test_any_name_that_a_labeler_can_have_is_an_endpoints(tmp_path: Path) -> None:
    read = endpoints(tmp_path, f"4: {LOCAL}\nmeta/llama-3.1:8b: {LOCAL}\nsame: &it {LOCAL}\nagain: *it")
    assert list(read) == ["4", "meta/llama-3.1:8b", "same", "again"]
    for name in read:
        (reference,) = parse_lineup(f"llm:{name}")
        assert settings_of(reference, DEFAULT, read).model == "llama"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (unreadable := tmp_path / "endpoints.yaml").write_bytes(b"local: \xff\xfe")
    for file in (tmp_path / "none.yaml", tmp_path, unreadable):
        with pytest.raises(InputError) as caught:
            load_endpoints(file, DEFAULT)
        assert str(file) in caught.value.message


def test_a_name_is_an_endpoint_or_else_a_model_at_the_default_one(tmp_path: Path) -> None:
    read = endpoints(tmp_path, f"local: {LOCAL}")
    assert settings_of(LabelerRef("llm"), DEFAULT, read) is DEFAULT
    assert settings_of(LabelerRef("llm", "local"), DEFAULT, read) is read["local"]
    other = settings_of(LabelerRef("llm", "gpt-4.1-mini"), DEFAULT, read)
    assert (other.model, other.base_url, other.api_key) == ("gpt-4.1-mini", DEFAULT.base_url, "default-key")
