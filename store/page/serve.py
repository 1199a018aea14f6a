"""Serving the page: a free port on loopback, until somebody ends it."""

import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from teachback.errors import SettingError
from teachback.store.page.app import AuditPage
from teachback.store.page.guard import Keys
from teachback.store.page.queue import standing
from teachback.store.page.sight import Sight

__all__ = ["Session", "serve"]

HOST = "127.0.0.1"
CLOSING_S = 2  # what open requests may still take once it ends


@dataclass(frozen=True)
class Session:
    """What came of a session.

    Attributes:
        decisions: Statuses set in it, not taken back.
        undelivered: Steps that wait for the process that holds the store.
    """

    decisions: int
    undelivered: int


def serve(
    store: Path, *, reviewer: str, blind: bool, port: int, opened: Callable[[str], None] = lambda _: None
) -> Session:
    """Serve the page of a store until it is interrupted.

    Args:
        store: The store.
        reviewer: Whose decisions; the page asks when empty.
        blind: Whether votes are hidden until the decision.
        port: The port; any free one when 0.
        opened: Told the address, token included.

    Raises:
        StoreError: There is no such store.
        SettingError: The port is taken.
    """
    sight = Sight(store)
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.bind((HOST, port))
        listening.listen()  # who opens the address at once waits, and is not refused
    except OSError as error:
        sight.close()
        raise SettingError(f"port {port} cannot be used: {error.strerror}", "leave --port out for a free one") from None
    port = listening.getsockname()[1]
    keys = Keys()
    page = AuditPage(sight, keys, port, reviewer=reviewer, blind=blind)
    config = uvicorn.Config(
        page.app, log_level="error", access_log=False, server_header=False, timeout_graceful_shutdown=CLOSING_S
    )
    opened(f"http://{HOST}:{port}/review?token={keys.token}")
    before = {step.review_id for step in sight.steps()}
    signal.signal(signal.SIGTERM, _interrupt)  # what a session ends by is told to it again, once it has ended
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        pass  # how a session ends
    finally:
        sight.close()
        listening.close()
    decided = [step for step in standing(sight.steps()) if step.action == "set" and step.review_id not in before]
    return Session(len(decided), sight.undelivered)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
