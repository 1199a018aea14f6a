"""A student that runs in another process, and mostly in another environment: requests and answers over a pipe."""

import json
import os
import re
import subprocess
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from teachback.distill.backends.protocol import Opening, SlotRequest, opening_line, request_line
from teachback.errors import TrainingError

__all__ = ["ServedBackend"]

REPORTS_A_BATCH = 256  # reports between two signs of progress
STOP_S = 20.0  # seconds that a server may take to end
_ERROR = re.compile(r"(?:\S+ )?(?:\([^)]*\) )?(?:\w+\.)*\w*(?:Error|Exception)\b: ")  # the last line of a traceback


class ServedBackend:
    """Asks a server process; it starts at once and ends with this object.

    Args:
        command: The server, such as `[python, "-m", "teachback.distill.backends.vllm"]`.
        opening: Which student it shall run.
        remedy: What to do when it cannot.
        env: Its environment; this process's when not given.

    Raises:
        TrainingError: It cannot be started, or cannot run the student; carries its last words.
    """

    def __init__(
        self, command: Sequence[str], opening: Opening, remedy: str, env: Mapping[str, str] | None = None
    ) -> None:
        self._name, self._remedy = " ".join(command), remedy
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`
        try:
            self._server = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                encoding="utf-8",
                env=dict(os.environ if env is None else env),
            )
        except OSError as error:
            self._log.close()
            raise TrainingError(f"cannot start {self._name}: {error.strerror}", remedy) from error
        self._end = weakref.finalize(self, _stop, self._server, self._log)
        self._send(opening_line(opening))
        first = self._message()
        if first is None or "error" in first:
            what, mend = (first["error"], first["remedy"]) if first else (self._last_words(), remedy)
            self.close()
            raise TrainingError(what, mend)
        self.version = str(first["engine"])

    def log_probabilities(
        self, requests: Sequence[SlotRequest], progress: Callable[[int], None] = lambda done: None
    ) -> list[NDArray[np.float32]]:
        """Return for each request a (questions, tokens) array of log-probabilities over the whole vocabulary.

        Raises:
            TrainingError: The server ended before it had answered.
        """
        found: list[NDArray[np.float32]] = []
        for start in range(0, len(requests), REPORTS_A_BATCH):
            batch = requests[start : start + REPORTS_A_BATCH]
            self._send("".join(map(request_line, batch)) + "\n")
            answers = list(self._answers())
            if len(answers) != len(batch):
                raise TrainingError(self._last_words(), self._remedy)
            found += answers
            progress(len(batch))
        return found

    def close(self) -> None:
        """End the server."""
        self._end()

    def _answers(self) -> Iterator[NDArray[np.float32]]:
        while message := self._message():
            yield np.array(message["log_probabilities"], np.float32)

    def _send(self, text: str) -> None:
        stream = self._server.stdin
        with suppress(BrokenPipeError):  # it has ended: its last words are read where its answer is missed
            if stream is not None:
                stream.write(text)
                stream.flush()

    def _message(self) -> dict[str, Any] | None:
        line = self._server.stdout.readline() if self._server.stdout is not None else ""
        message: dict[str, Any] | None = json.loads(line) if line.strip() else None
        return message

    def _last_words(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._server.wait(STOP_S)  # it may have closed its output and be about to say why
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().decode("utf-8", "replace").splitlines() if line.strip()]
        errors = [line for line in lines if _ERROR.match(line)]
        return f"{self._name} ended: {(errors or lines or ['it said nothing'])[-1]}"


def _stop(server: "subprocess.Popen[str]", log: IO[bytes]) -> None:
    if server.stdin is not None:
        with suppress(BrokenPipeError):
            server.stdin.close()  # its loop ends with its source
    try:
        server.wait(STOP_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    if server.stdout is not None:
        server.stdout.close()
    log.close()
