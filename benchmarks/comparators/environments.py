"""Environments of the frameworks that Teachback is compared with: made once, kept, and apart from everything else."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["COMPARATORS", "INSTALLED", "Comparator", "Unavailable", "default_folder", "environment", "run_script"]

REPOSITORY = Path(__file__).resolve().parents[2]


class Unavailable(Exception):
    """A framework that cannot be installed here or does not run, with the reason."""


@dataclass(frozen=True)
class Comparator:
    """A framework that does the same job.

    Attributes:
        name: Its name.
        script: The script in this folder that runs it.
        requirements: What its environment holds. Pins are the newest versions that were seen working together.
    """

    name: str
    script: str
    requirements: tuple[str, ...]


# As a user installs it who labels and does not train: what is beside it (pandas above all) would be loaded as well.
INSTALLED = Comparator("teachback", "teachback_run.py", ("-e", str(REPOSITORY)))
COMPARATORS = (
    Comparator("bespokelabs-curator", "curator_run.py", ("bespokelabs-curator==0.1.31", "openai==2.30.0")),
    Comparator(
        "distilabel",
        "distilabel_run.py",
        # It imports requests and bs4 without asking for them.
        ("distilabel[openai]==1.5.3", "openai==3.3.0", "datasets==5.2.0", "requests", "beautifulsoup4"),
    ),
)


def default_folder() -> Path:
    """Return where environments are kept: under the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "teachback-benchmarks"


def environment(comparator: Comparator, folder: Path) -> Path:
    """Return the Python of a framework's environment, which is made on first use.

    Raises:
        Unavailable: It cannot be installed.
    """
    asked = repr(comparator.requirements)
    if comparator is INSTALLED:  # what it asks for itself changes in place
        asked += (REPOSITORY / "pyproject.toml").read_text("utf-8")
    digest = hashlib.blake2b(asked.encode(), digest_size=4).hexdigest()
    home = folder / f"{comparator.name}-{digest}-py{sys.version_info.major}.{sys.version_info.minor}"
    python, complete = home / "bin" / "python", home / "complete"
    if complete.exists():
        return python
    print(f"installing {', '.join(comparator.requirements)} into {home} (some minutes, once)", flush=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(home)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *comparator.requirements],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"{comparator.name} cannot be installed: {_last_line(done.stderr)}")
    complete.touch()
    return python


def run_script(python: Path | str, script: str, arguments: list[str], timeout_s: float) -> dict[str, Any]:
    """Run a script of this folder and return the JSON object of its last line.

    Raises:
        Unavailable: It failed.
    """
    command = [str(python), str(Path(__file__).with_name(script)), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{script} did not end within {timeout_s:g} s") from None
    if done.returncode:
        raise Unavailable(f"{script} failed: {_last_line(done.stderr)}")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise Unavailable(f"{script} printed nothing")
    outcome: dict[str, Any] = json.loads(lines[-1])
    return outcome


def _last_line(text: str) -> str:
    """Return the last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no reason given")
