"""What a user meets first: each error as the shell shows it, with what is wrong, what to do, and never the key."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from teachback.store.corpora.imported import Corpus
from teachback.store.corpora.intake import import_reports, reading_of
from teachback.store.corpora.synthetic import generate
from teachback.store.database import Store, open_snapshot

REPORTS = 8
NO_HOST = "http://models.invalid/v1"  # RFC 2606: no name under `invalid` is ever resolved
ELSEWHERE = "http://models.example/v1"  # RFC 2606: never asked here
HIDDEN = ("OPENAI_", "TEACHBACK_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
# Each command is a process of its own, forked once the imports are done: they take most of the time.
FORKS = """
import json, os, sys
import teachback.agents.assemble, teachback.agents.batch.job, teachback.agents.estimate, teachback.cli.label_outcome
from teachback.cli import main

pids = {}
for name, case in json.load(sys.stdin).items():
    pids[name] = os.fork()
    if not pids[name]:
        os.environ.update(case["env"])
        for stream in (1, 2):
            os.dup2(os.open(case["streams"][stream - 1], os.O_WRONLY | os.O_CREAT), stream)
        sys.argv = ["teachback", *case["words"]]
        main()
        sys.exit(0)
codes = {name: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for name, pid in pids.items()}
json.dump(codes, sys.stdout)
"""
WRONG_KEYS = {"wrong": "sk-proj-abcdef-wrong", "other": "0123456789abcdef0123456789abcdef"}


@dataclass(frozen=True)
class Case:
    """A command that cannot succeed.

    Attributes:
        words: What follows `teachback label STORE --labelers llm`, whose start loads no rules; `{url}`, `{priced}` and
            `{closed}` stand for addresses.
        says: What the message names.
        remedy: What it tells to do.
        egress: The egress policy of the store's corpus.
        key: The key in the environment: `right`, `wrong`, `other` or `none`.
    """

    words: str
    says: tuple[str, ...]
    remedy: tuple[str, ...]
    egress: str = "any"
    key: str = "right"


CASES = {
    "nobody listens": Case(
        "--llm openai --base-url {closed}",
        ("{closed}", "cannot be reached"),
        ("start the server", "OPENAI_BASE_URL"),
    ),
    "no such host": Case(
        f"--llm openai --base-url {NO_HOST}",
        (NO_HOST, "cannot be reached"),
        ("check the network", "OPENAI_BASE_URL"),
    ),
    "no key": Case(
        "--llm openai",
        ("there is no key for api.openai.com",),
        ("set OPENAI_API_KEY", "OPENAI_BASE_URL"),
        key="none",
    ),
    "wrong key": Case(
        "--llm openai --base-url {url}",
        ("401", "127.0.0.1", "Incorrect API key"),
        ("check OPENAI_API_KEY", "not valid here"),
        key="wrong",
    ),
    "wrong key of another form": Case(
        "--llm openai --base-url {url}",
        ("401", "Incorrect API key"),
        ("check OPENAI_API_KEY",),
        key="other",
    ),
    "wrong model": Case(
        "--base-url {url} --llm openai --model gpt-4oh",
        ("404", "gpt-4oh", "does not exist"),
        ("check the model's name (gpt-4oh)", "base URL"),
    ),
    "budget reached": Case(
        "--llm openai --base-url {priced} --max-usd 0.04",
        ("the budget of $0.0400 is reached", "is spent"),
        ("higher --max-usd", "goes on from here"),
    ),
    "egress refused": Case(
        f"--llm openai --base-url {ELSEWHERE}",
        ("local-only", "models.example is not this machine"),
        ("endpoint on localhost", "--allow-egress-to models.example"),
        egress="local-only",
    ),
    "unknown prompt": Case(
        "--llm openai --base-url {url} --prompt zero-shoot",
        ("there is no prompt llm_labeler/zero-shoot",),
        ("choose one of", "default", "few-shot"),
    ),
    "batch at the stand-in": Case(
        "--llm stand-in --batch",
        ("--llm stand-in forgets its batches",),
        ("teachback stand-in-llm", "--base-url"),
    ),
    "batch of restricted reports": Case(
        "--llm openai --base-url {url} --batch",
        ("corpus clinic", "local-only", "stay at the endpoint"),
        ("leave out --batch",),
        egress="local-only",
    ),
    "batch with a budget": Case(
        f"--llm openai --base-url {ELSEWHERE} --batch --max-usd 1",
        ("--max-usd cannot stop a batch",),
        ("--dry-run --batch",),
    ),
}


@dataclass(frozen=True)
class Met:
    """What a command left behind.

    Attributes:
        store: The store that it was called on.
        code: How it ended.
        stdout: What it printed.
        stderr: What it complained of.
    """

    store: Path
    code: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def closed_port() -> Iterator[int]:
    """A port that is taken, so that nobody else gets it, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture(scope="module")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a store of the reports of a clinic, under an egress policy."""

    @cache
    def made(egress: str) -> Path:
        path = tmp_path_factory.mktemp("clinic") / "labels.duckdb"
        samples = ((replace(sample.report, corpus="clinic"), ()) for sample in generate(REPORTS, seed=8))
        corpus = Corpus("clinic", licence=None, egress=egress, source="generator")
        with Store(path) as opened:
            import_reports(opened, reading_of(samples, corpus, [], total=REPORTS))
        return path

    return lambda egress: Path(
        shutil.copytree(made(egress).parent, tmp_path_factory.mktemp("case") / "store") / made(egress).name
    )


@pytest.fixture(scope="module")
def addresses(running_gate: Any, closed_port: int) -> dict[str, str]:
    closed = f"http://127.0.0.1:{closed_port}/v1"
    return {"url": running_gate.url, "priced": running_gate.priced_url, "closed": closed}


@pytest.fixture(scope="module")
def met(running_gate: Any, new_store: Callable[[str], Path], addresses: dict[str, str]) -> dict[str, Met]:
    """What each case came to."""
    keys = {"right": running_gate.key, "none": "", **WRONG_KEYS}
    stores = {name: new_store(case.egress) for name, case in CASES.items()}
    commands = {
        name: {
            "words": ["label", str(stores[name]), "--labelers", "llm", *case.words.format(**addresses).split()],
            "env": {"COLUMNS": "100"} | ({"OPENAI_API_KEY": key} if (key := keys[case.key]) else {}),
            "streams": [str(stores[name].with_name(stream)) for stream in ("stdout", "stderr")],
        }
        for name, case in CASES.items()
    }
    env = {name: value for name, value in os.environ.items() if not name.upper().startswith(HIDDEN)}
    ran = subprocess.run(
        [sys.executable, "-c", FORKS], input=json.dumps(commands), capture_output=True, text=True, env=env, check=True
    )
    return {
        name: Met(stores[name], code, *(Path(file).read_text("utf-8") for file in commands[name]["streams"]))
        for name, code in json.loads(ran.stdout).items()
    }


@pytest.mark.parametrize("name", CASES)
def test_the_error_names_what_is_wrong_and_what_to_do(
    met: dict[str, Met], addresses: dict[str, str], name: str
) -> None:
    case, came = CASES[name], met[name]
    assert came.code == 2, came.stderr
    assert "Traceback" not in came.stderr
    message, _, remedy = came.stderr.partition("\n  -> ")
    assert message.startswith("error: ")
    assert [part for part in case.says if part.format(**addresses) not in message] == []
    assert [part for part in case.remedy if part not in remedy] == []
    assert len(came.stderr.strip().splitlines()) == 2  # the message, the remedy, and nothing to wade through


def test_what_was_refused_reached_nobody(met: dict[str, Met], running_gate: Any) -> None:
    assert running_gate.keys == {running_gate.key, *WRONG_KEYS.values()}
    ((paid,),) = said_in(met["budget reached"].store, "SELECT count(*) FROM llm_calls WHERE error IS NULL")
    assert len(running_gate.bodies) == paid > 0  # all others were stopped before anything was let in


@pytest.mark.parametrize("name", CASES)
def test_no_key_is_shown_or_kept(met: dict[str, Met], running_gate: Any, name: str) -> None:
    assert keys_in(met[name], running_gate.key, *WRONG_KEYS.values()) == []


def test_what_the_endpoint_said_is_kept_without_the_key(met: dict[str, Met]) -> None:
    # The server repeats a wrong key in its answer, and the answer is shown and stored.
    ((kept,),) = said_in(met["wrong key"].store, "SELECT summary FROM run_ends WHERE status = 'failed'")
    assert "Incorrect API key" in kept


def said_in(store: Path, query: str) -> list[tuple[Any, ...]]:
    connection, _ = open_snapshot(store)
    with connection:
        return connection.execute(query).fetchall()


def keys_in(came: Met, *keys: str) -> list[str]:
    """Where one of the keys stands: the terminal, a file as it is on disk, or a table as it is read."""
    texts = {"stdout": came.stdout, "stderr": came.stderr}
    for file in came.store.parent.iterdir():
        texts[file.name] = file.read_bytes().decode("latin-1")
    connection, _ = open_snapshot(came.store)
    with connection:
        for (table,) in connection.execute("SELECT table_name FROM duckdb_tables() WHERE NOT internal").fetchall():
            texts[table] = str(connection.execute(f'SELECT t::VARCHAR FROM "{table}" t').fetchall())
    return [where for where, text in texts.items() if any(key in text for key in keys)]
