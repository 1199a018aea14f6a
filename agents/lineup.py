"""Who shall label: `rule,llm:gpt-4o,llm:local@zero-shot` as a list of labelers, and the endpoints that it names.

A labeler is `rule`, `llm[:NAME][@PROMPT]`, or `student:ADAPTER`, the folder of one that was trained here. NAME is an
endpoint of a file, or else a model at the default endpoint; PROMPT is the name of a prompt or the path of a file.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from teachback.agents.settings import LLMSettings
from teachback.errors import InputError, SettingError
from teachback.prompts.yaml_text import UniqueKeys, line_of

__all__ = ["ENSEMBLES", "LabelerRef", "ensemble_of", "load_endpoints", "parse_lineup", "settings_of"]

DEFAULT_PROMPT = "default"
# Recall-leaning prompts that go about it in different ways, so that their false positives differ and a vote drops them.
ENSEMBLES: Mapping[str, tuple[str, ...]] = {
    "high-recall": ("recall-sweep", "recall-sentence", "recall-doubt", "recall-negative-last", "recall-second-reader"),
}

_NAME = re.compile(r"[^@,\s]+")
_REFERENCE = re.compile(rf"(?P<kind>rule|llm|student)(?::(?P<name>{_NAME.pattern}))?(?:@(?P<prompt>[^,\s]+))?")


@dataclass(frozen=True)
class LabelerRef:
    """One labeler, as it was asked for.

    Attributes:
        kind: `rule`, `llm` or `student`.
        name: For `llm`, an endpoint's name or a model; empty for the default. For `student`, its adapter's folder.
        prompt: For `llm`, its prompt.
    """

    kind: Literal["rule", "llm", "student"]
    name: str = ""
    prompt: str = DEFAULT_PROMPT


class _Endpoint(BaseModel):
    model_config = ConfigDict(extra="forbid")

    base_url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    concurrency: int | None = Field(default=None, ge=1)
    rpm: float | None = Field(default=None, gt=0)
    tpm: float | None = Field(default=None, gt=0)
    timeout_s: float | None = Field(default=None, gt=0)


def parse_lineup(text: str) -> tuple[LabelerRef, ...]:
    """Read a list of labelers.

    Raises:
        SettingError: It names something that is no labeler, or the same one twice.
    """
    references = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = _REFERENCE.fullmatch(part)
        if match is None or not _fits(match):
            remedy = "write rule, llm, llm:MODEL, llm:ENDPOINT@PROMPT or student:ADAPTER, separated by commas"
            raise SettingError(f"{part!r} is no labeler", remedy)
        kind: Any = match["kind"]
        references.append(LabelerRef(kind, match["name"] or "", match["prompt"] or DEFAULT_PROMPT))
    doubled = {reference for reference in references if references.count(reference) > 1}
    if not references or doubled:
        what = f"{text!r} names a labeler twice" if doubled else "no labeler is named"
        raise SettingError(what, "name different ones, such as rule,llm:gpt-4o")
    return tuple(references)


def _fits(match: re.Match[str]) -> bool:
    """Whether a kind of labeler has the parts that it was given."""
    named, prompted = bool(match["name"]), bool(match["prompt"])
    return {"rule": not named and not prompted, "student": named and not prompted, "llm": True}[match["kind"]]


def ensemble_of(name: str, lineup: str | None = None) -> tuple[LabelerRef, ...]:
    """Return the labelers of an ensemble, beside those of a list.

    Raises:
        SettingError: There is no such ensemble, or the list cannot be read.
    """
    if name not in ENSEMBLES:
        raise SettingError(f"there is no ensemble {name!r}", f"choose one of {', '.join(ENSEMBLES)}")
    return (
        *(parse_lineup(lineup) if lineup else ()),
        *(LabelerRef("llm", prompt=prompt) for prompt in ENSEMBLES[name]),
    )


def load_endpoints(
    path: Path | None, default: LLMSettings, env: Mapping[str, str] | None = None
) -> dict[str, LLMSettings]:
    """Read a YAML file of endpoints.

    Each name stands for `base_url` and `model`, and where wanted `key_variable`, `concurrency`, `rpm`, `tpm` and
    `timeout_s`.

    Args:
        path: The file; none gives no endpoints.
        default: Where settings that it leaves out come from.
        env: The environment that holds the keys; this process's when not given.

    Raises:
        InputError: It cannot be read, or holds something else; names the line and the key.
    """
    if path is None:
        return {}
    env = os.environ if env is None else env
    try:
        text = path.read_text(encoding="utf-8")
        source = yaml.load(text, _UniqueLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"the endpoints in {path} cannot be read: {error}", "name a YAML file") from None
    if not isinstance(source, dict) or not source:
        raise InputError(f"{path} holds no endpoints", "write NAME: {base_url: http://localhost:8000/v1, model: M}")
    endpoints = {}
    for name, entry in source.items():
        where = f"{path}, line {line_of(text, (name,))}: {name}"
        if not _NAME.fullmatch(str(name)):
            raise InputError(f"{where}: no labeler can name it", "leave blanks, commas and @ out of the name")
        try:
            endpoints[str(name)] = _settings(_Endpoint.model_validate(entry), default, env)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            key = ".".join(map(str, first["loc"]))
            known = ", ".join(_Endpoint.model_fields)
            line = line_of(text, (name, *first["loc"]))
            raise InputError(
                f"{path}, line {line}: {f'{name}.{key}' if key else name}: {first['msg']}",
                f"known are {known}; the keys themselves stay in the environment",
            ) from None
        except SettingError as error:
            raise InputError(f"{where}: {error.message}", error.remedy) from None
    return endpoints


def settings_of(reference: LabelerRef, default: LLMSettings, endpoints: Mapping[str, LLMSettings]) -> LLMSettings:
    """Return the endpoint that a labeler asks; a name that is no endpoint is a model at the default one."""
    if not reference.name:
        return default
    return endpoints.get(reference.name) or replace(default, model=reference.name)


def _settings(entry: _Endpoint, default: LLMSettings, env: Mapping[str, str]) -> LLMSettings:
    chosen = {key: getattr(entry, key) for key in ("concurrency", "rpm", "tpm", "timeout_s")}
    settled = {key: value for key, value in chosen.items() if value is not None}
    key = env.get(entry.key_variable) or None
    return replace(default, base_url=entry.base_url, model=entry.model, api_key=key, **settled)


class _UniqueLoader(UniqueKeys, yaml.SafeLoader):
    """YAML in which no two endpoints have one name."""
