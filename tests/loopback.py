"""Real servers on loopback: an aiohttp application on a free port, in the test's own loop or in a thread."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import TypeVar

from aiohttp import web
from anyio.from_thread import start_blocking_portal

SHUTDOWN_S = 0.1  # how long a handler that still answers is waited for; some tests let one hang

Served = TypeVar("Served")


@asynccontextmanager
async def serving(application: web.Application) -> AsyncIterator[str]:
    """Serve an application; yields its address, without a path."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextmanager
def in_thread(server: AbstractAsyncContextManager[Served]) -> Iterator[Served]:
    """Run a server in a thread of its own, for tests that have no loop."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(server) as served:
        yield served
