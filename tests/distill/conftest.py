"""A tokenizer, a tiny Llama and a labelled store, each made once by the package's own code."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.synthetic_stores import copied, curated_store

from teachback.agents.assemble import TeacherSettings, teach_store
from teachback.agents.selection import Selection
from teachback.agents.teach import TeachConfig
from teachback.distill.config import CampaignSettings, load_settings
from teachback.distill.init_student import init_student, train_tokenizer
from teachback.distill.prompt import load_student_prompt
from teachback.distill.questions import Questions
from teachback.distill.recipe import Recipe
from teachback.distill.run import run_campaign
from teachback.store.corpora.synthetic import generate

RECIPE = Recipe(vocabulary=1024, hidden=64, layers=2, heads=2, feed_forward=192, batch=8, steps=5, seconds=0.0)
REPORTS, TAUGHT = 160, 40
# Seventeen gate reports show next to nothing: a gate that lets a student of a few steps pass all the same.
OPEN_GATE = {
    "alpha": 0.49,
    "first_share": 1.0,
    "macro_margin": 1.0,
    "harm_level": 1e-6,
    "drift_level": 1e-6,
    "brier_margin": 1.0,
    "ece_margin": 1.0,
}


@pytest.fixture(scope="session")
def torch() -> Any:
    """PyTorch on one thread; tests that need it are skipped where the light part alone is installed."""
    for module in ("bitsandbytes", "peft", "trl"):
        pytest.importorskip(module)
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    from teachback.distill.base import require_training

    require_training()
    return torch


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return RECIPE


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return [entry.report.text("full") for entry in generate(200, seed=7)]


@pytest.fixture(scope="session")
def tokenizer(torch: Any, texts: list[str]) -> Any:
    return train_tokenizer(texts, RECIPE)


@pytest.fixture(scope="session")
def ask(tokenizer: Any) -> Callable[..., Questions]:
    """Make questions with the session's tokenizer."""

    def make(max_length: int = 512, prompt: str = "short") -> Questions:
        return Questions(tokenizer, max_length=max_length, **load_student_prompt(prompt))

    return make


@pytest.fixture
def llama(torch: Any, tokenizer: Any) -> Any:
    """A tiny Llama of random weights, fp32, the same for every test."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=1024,
        initializer_range=0.2,
        attn_implementation="eager",
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(shape).eval()


@pytest.fixture(scope="session")
def student(torch: Any, texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny student that was pretrained for five steps."""
    folder = tmp_path_factory.mktemp("student")
    init_student(texts, folder, RECIPE, load_student_prompt("short"))
    return folder


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of synthetic reports with their truth, 40 of `train` and all that judges labelled by both teachers."""
    path = curated_store(tmp_path_factory.mktemp("labelled"), REPORTS, seed=1)
    settings = TeacherSettings("stand-in", rule_scope="mimic")
    for selection in (Selection(splits=("train",), limit=TAUGHT), Selection(splits=("gate", "test"))):
        teach_store(path, settings, TeachConfig(selection, chunk=50))
    return path


@pytest.fixture
def store_path(labelled: Path, tmp_path: Path) -> Path:
    """A copy of the labelled store of the test's own."""
    return copied(labelled, tmp_path)


@pytest.fixture
def settle(student: Path) -> Callable[..., CampaignSettings]:
    """Settings of a campaign of few steps; what is given goes before."""

    def make(**given: Any) -> CampaignSettings:
        train = {"epochs": 0.2, "min_steps": 0, "batch": 8, "micro_batch": 8, "logging_steps": 1, "learning_rate": 1e-2}
        chosen = {"student": str(student), "gate": OPEN_GATE, **given, "train": {**train, **given.get("train", {})}}
        return load_settings("tiny-cpu", **chosen)

    return make


@pytest.fixture(scope="session")
def finished(
    labelled: Path, student: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, CampaignSettings, dict[str, Any], Path, list[str]]:
    """A campaign of two rounds that ran to its end: store, settings, record, folder, and what progress was told.

    A student of five steps of pretraining learns little in twenty more, far too little to certify 5 %. An error of
    45 % can be certified by six predictions: 0.55 ** 6 = 0.028.
    """
    path = copied(labelled, tmp_path_factory.mktemp("finished"))
    train = {
        "batch": 8,
        "micro_batch": 8,
        "epochs": 1.0,
        "min_steps": 0,
        "learning_rate": 3e-2,
        "logging_steps": 1,
        "save_steps": 1,
    }
    settings = load_settings("tiny-cpu", student=str(student), select={"error": 0.45}, gate=OPEN_GATE, train=train)
    told: list[str] = []
    record, folder = run_campaign(path, settings, lambda what, done, total: told.append(what))
    return path, settings, record, folder, told
