"""A store of synthetic reports with their truth, and two prompts: the shipped one, and one that says more."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tests.synthetic_stores import copied, curated_store

from teachback.agents.settings import LLMSettings
from teachback.agents.workbench.compare import CompareSettings, Comparison, compare_prompts
from teachback.agents.workbench.desk import Model
from teachback.prompts import load_prompt

REPORTS = 160  # some thirty of them in `calibration`
STAND_IN = Model("stand-in", LLMSettings())


@pytest.fixture(scope="session")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return curated_store(tmp_path_factory.mktemp("curated"), REPORTS, seed=3)


@pytest.fixture
def store(curated: Path, tmp_path: Path) -> Path:
    return copied(curated, tmp_path)


@pytest.fixture(scope="session")
def framed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped prompt, with words around the report that make the stand-in err elsewhere."""
    path = tmp_path_factory.mktemp("prompts") / "framed.md"
    text = load_prompt("llm_labeler").text
    path.write_text(text.replace("{{ report |", '{{ ("Read at night. " ~ report) |'), encoding="utf-8")
    return path


def run_on(store: Path, framed: Path, **given: object) -> Comparison:
    """Compare the shipped prompt with the other, on 12 reports unless told otherwise."""
    chosen = {"a": "default", "b": str(framed), "model": STAND_IN, "sample": 12} | given
    return compare_prompts(store, CompareSettings(**chosen))  # type: ignore[arg-type]


@pytest.fixture
def compare(store: Path, framed: Path) -> Callable[..., Comparison]:
    return partial(run_on, store, framed)


@pytest.fixture(scope="session")
def compared(curated: Path, framed: Path, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """A comparison for tests that only look at it."""
    return run_on(copied(curated, tmp_path_factory.mktemp("compared")), framed)
