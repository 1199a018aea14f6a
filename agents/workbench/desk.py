"""A store opened to try prompts on: its writer, a connection, and a model that can be asked."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from teachback.agents.assemble import LLMChoice
from teachback.agents.budget import Budget
from teachback.agents.call_cache import StoreCallCache
from teachback.agents.client import LLMClient
from teachback.agents.examples import example_source
from teachback.agents.llm_labeler import LLMLabeler
from teachback.agents.settings import LLMSettings
from teachback.agents.stand_in import stand_in_endpoint, stand_in_settings
from teachback.errors import SettingError, StoreError
from teachback.prompts import Prompt, load_prompt
from teachback.store.report import Scope
from teachback.store.writer import Writer

__all__ = ["ROLE", "Desk", "Model", "check_model", "labeler_for", "load_asking_prompt", "open_desk", "priced_client"]

ROLE = "llm_labeler"  # whose prompts are tried: an adjudicator's disputes depend on whom it weighs


@dataclass(frozen=True)
class Model:
    """Who answers.

    Attributes:
        llm: `openai` for any OpenAI-compatible endpoint, `stand-in` for the package's own.
        endpoint: The endpoint; its limits count for the stand-in too.
    """

    llm: LLMChoice
    endpoint: LLMSettings


@dataclass(frozen=True)
class Desk:
    """A store that is open for writing, and the endpoint that is asked.

    Attributes:
        writer: The store's writer.
        connection: A connection to the same store, from which is read.
        endpoint: The endpoint.
    """

    writer: Writer
    connection: duckdb.DuckDBPyConnection
    endpoint: LLMSettings


@contextmanager
def open_desk(store: Path, model: Model) -> Iterator[Desk]:
    """Open a store, and start the stand-in where it is asked for.

    Raises:
        StoreError: There is no such store, or another process writes it.
        SettingError: There is no model to ask.
    """
    check_model(model)
    if not store.exists():
        raise StoreError(f"there is no store at {store}", "import reports first: `teachback import --help`")
    with ExitStack() as stack:
        writer = stack.enter_context(Writer(store))
        connection = stack.enter_context(writer.reader())
        endpoint = model.endpoint
        if model.llm == "stand-in":
            endpoint = stand_in_settings(endpoint, stack.enter_context(stand_in_endpoint()))
        yield Desk(writer, connection, endpoint)


def check_model(model: Model) -> None:
    """Check that there is a model to ask.

    Raises:
        SettingError: There is none.
    """
    if model.llm == "none":
        raise SettingError(
            "there is no model to ask", "set OPENAI_API_KEY or OPENAI_BASE_URL, or try it with --llm stand-in"
        )


def priced_client(endpoint: LLMSettings, cache: StoreCallCache, max_usd: float | None = None) -> LLMClient:
    """Return a client that spends no more than so much.

    Raises:
        SettingError: There is a limit, and the model's price is not known.
    """
    client = LLMClient(endpoint, cache, budget=Budget(max_usd))
    if max_usd is not None and not client.is_priced:
        raise SettingError(
            f"--max-usd cannot be kept: the price of {endpoint.model} is not known",
            "add the model to a price list and name it with --prices FILE",
        )
    return client


def load_asking_prompt(name: str) -> Prompt:
    """Load a labeler's prompt that asks for findings.

    Raises:
        SettingError: There is no such prompt, or it asks for diseases alone.
        InputError: The file is not a prompt.
    """
    prompt = load_prompt(ROLE, name)
    if "findings" not in prompt.tasks:
        raise SettingError(f"prompt {name} does not ask for findings", "name one whose `task` has findings in it")
    return prompt


def labeler_for(client: LLMClient, prompt: Prompt, scope: Scope, connection: duckdb.DuckDBPyConnection) -> LLMLabeler:
    """Return the labeler that a prompt makes.

    Args:
        client: Whom it asks.
        prompt: How it asks.
        scope: The sections that it shows.
        connection: The store, for prompts that show curated reports.
    """
    return LLMLabeler(client, prompt, scope, example_source(prompt, connection, scope))
