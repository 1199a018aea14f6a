"""Start a server of the benchmarks in a process of its own, talk to it, and end it."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["RunningServer", "running"]

END_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class RunningServer:
    """A server that is serving.

    Attributes:
        base_url: Its address, up to and including `/v1`.
        pid: Its process.
    """

    base_url: str
    pid: int

    def get(self, path: str) -> dict[str, Any]:
        """Return what it says of itself under a path, such as `/stats`."""
        with urllib.request.urlopen(self.base_url.removesuffix("/v1") + path) as answer:
            said: dict[str, Any] = json.load(answer)
        return said


@contextmanager
def running(script: str, arguments: Sequence[str]) -> Iterator[RunningServer]:
    """Run a server of this folder for as long as the block lasts.

    Args:
        script: Its file name.
        arguments: Its command line.
    """
    command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdin is not None
            assert server.stdout is not None
            line = server.stdout.readline()
            if not line:
                raise RuntimeError(f"{script} did not start")
            yield RunningServer(json.loads(line)["base_url"], server.pid)
        finally:
            server.stdin.close()
            try:
                server.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                server.kill()
