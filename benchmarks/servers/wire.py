"""HTTP for servers that must cost almost nothing, or misbehave on purpose.

A request is a method, a path and a body of known length; what happens then is the handler's. No web framework stands
between: its cost would be measured as the client's (both share the machine), and it would not send half an answer.
"""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, cast

__all__ = ["Connection", "Handler", "install_uvloop", "serve_until_stopped"]

_END_OF_HEAD = b"\r\n\r\n"


class Connection(asyncio.Protocol):
    """One client's connection.

    Args:
        handle: Called with each request, as `handle(connection, method, path, body)`.
    """

    def __init__(self, handle: "Handler") -> None:
        self._handle = handle
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    @property
    def closed(self) -> bool:
        """Whether nobody listens any more."""
        return self._transport is None or self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a new connection."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the client is gone."""
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Hand every complete request to the handler."""
        self._received += data
        while (end := self._received.find(_END_OF_HEAD)) >= 0:
            head = bytes(self._received[:end])
            start = end + len(_END_OF_HEAD)
            length = _content_length(head)
            if len(self._received) < start + length:
                return
            body = bytes(self._received[start : start + length])
            del self._received[: start + length]
            method, path, _ = head.split(b"\r\n", 1)[0].split(b" ", 2)
            self._handle(self, method.decode(), path.decode(), body)

    def send(self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Answer with a JSON body."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_head(status, len(body), headers) + body)

    def send_json(self, content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Answer with what can be written as JSON."""
        self.send(json.dumps(content).encode(), status, headers)

    def send_part(self, body: bytes, length: int) -> None:
        """Promise a whole body, send only so many bytes of it, and hang up."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_head(200, len(body), None) + body[:length])
            self._transport.close()

    def reset(self) -> None:
        """Drop the connection without a word."""
        if self._transport is not None:
            self._transport.abort()


Handler = Callable[[Connection, str, str, bytes], None]


def install_uvloop() -> str:
    """Use uvloop's event loop where it is installed; returns the loop's name."""
    try:
        import uvloop
    except ImportError:
        return "asyncio"
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    return "uvloop"


async def serve_until_stopped(handle: Handler, port: int = 0) -> None:
    """Serve on loopback until SIGTERM or SIGINT, or until standard input ends; prints one JSON line with the base URL.

    Standard input is the starter's hand on it: when the starter dies, however, the server goes with it.
    """
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    loop.run_in_executor(None, sys.stdin.buffer.read).add_done_callback(lambda _: stopped.set())
    server = await loop.create_server(lambda: Connection(handle), "127.0.0.1", port, backlog=1024)
    chosen = server.sockets[0].getsockname()[1]
    print(json.dumps({"base_url": f"http://127.0.0.1:{chosen}/v1"}), flush=True)
    await stopped.wait()
    server.close()


def _content_length(head: bytes) -> int:
    lowered = head.lower()
    place = lowered.find(b"\r\ncontent-length:")
    if place < 0:
        return 0
    value = lowered[place + len(b"\r\ncontent-length:") :]
    return int(value.split(b"\r\n", 1)[0])


def _head(status: int, length: int, headers: Mapping[str, str] | None) -> bytes:
    further = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    return (
        f"HTTP/1.1 {status} {_phrase(status)}\r\ncontent-type: application/json\r\n"
        f"content-length: {length}\r\n{further}\r\n"
    ).encode()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
