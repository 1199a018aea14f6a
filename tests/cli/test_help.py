"""Every verb says what it does, with an example that it would take; so does the README."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from teachback.cli import app

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(?:sh|bash|console)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


def verbs(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield (words, command) for every command that does something."""
    for name, member in getattr(command, "commands", {}).items():
        if hasattr(member, "commands"):
            yield from verbs(member, (*path, name))
        else:
            yield (*path, name), member


VERBS = dict(verbs(get_command(app)))


def understand(line: str) -> None:
    """Let the command line read a line as a shell would pass it, without running it; raises where it cannot."""
    words = shlex.split(line, comments=True)
    for stop in (">", "|", "&", "&&"):
        words = words[: words.index(stop)] if stop in words else words
    while "=" in words[0]:  # variables before the command
        words.pop(0)
    assert Path(words.pop(0)).name == "teachback", line
    if words[0] == "audit" and ("audit", words[1]) not in VERBS:
        words.insert(1, "serve")  # what `teachback audit STORE` is short for
    path = next(path for path in VERBS if tuple(words[: len(path)]) == path)
    VERBS[path].make_context(" ".join(path), words[len(path) :])


def readme_lines() -> list[str]:
    blocks = _BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if re.match(r"\s*([A-Z_]+=\S+ )*\S*teachback ", line)]


@pytest.mark.parametrize("path", VERBS, ids=" ".join)
def test_the_example_is_there_and_would_be_taken(path: tuple[str, ...]) -> None:
    helped = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"})
    assert helped.exit_code == 0
    assert f"Example: teachback {' '.join(path)}" in helped.output
    example = re.search(r"Example: (teachback .*)", VERBS[path].help.replace("\n", " "))
    assert example is not None
    understand(example[1])


def test_every_option_says_what_it_is_for() -> None:
    silent = [
        f"{' '.join(path)} {parameter.name}"
        for path, command in VERBS.items()
        for parameter in command.params
        if not parameter.help
    ]
    assert silent == []


@pytest.mark.parametrize("line", readme_lines())
def test_the_readmes_commands_are_understood(line: str) -> None:
    understand(line)


def test_the_readme_shows_commands() -> None:
    named = {path[0] for path in VERBS if any(f"teachback {' '.join(path)} " in f"{line} " for line in readme_lines())}
    assert named >= {"synth", "import", "rules", "label", "sql", "evaluate", "distill", "doctor", "init-student"}


def test_help_answers_where_no_student_can_be_trained() -> None:
    program = "import sys; sys.modules['torch'] = None; from teachback.cli import main; main()"
    helped = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True, check=False)
    assert helped.returncode == 0
    assert all(path[0] in helped.stdout for path in VERBS)


def test_an_unknown_verb_is_refused_with_the_way_to_help() -> None:
    refused = CliRunner().invoke(app, ["lable"])
    assert refused.exit_code == 2
    assert "--help" in refused.output


def test_the_readme_shows_the_graph_as_it_is_wired() -> None:
    drawn = CliRunner().invoke(app, ["graph", "--llm", "openai"]).output.partition("\n\n")[0]
    assert drawn in (ROOT / "README.md").read_text(encoding="utf-8")
