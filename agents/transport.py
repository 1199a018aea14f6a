"""How a request gets to an endpoint: the OpenAI SDK over aiohttp, its retries and its response models left out.

The SDK's models cost more CPU than the rest of a call, so its documented way past them is taken (`post` with the
transport's own response type).
"""

import httpx2
import openai

from teachback.agents.payload import PATH
from teachback.agents.settings import LLMSettings
from teachback.errors import TeacherError

__all__ = ["Transport", "connect"]

NO_KEY = "none"  # what is sent as key to an endpoint that needs none


class Transport:
    """Sends chat completions to one endpoint.

    Args:
        settings: The endpoint.

    Raises:
        TeacherError: The endpoint needs a key, and there is none.
    """

    def __init__(self, settings: LLMSettings) -> None:
        self._sdk = connect(settings)

    async def send(self, body: bytes) -> httpx2.Response:
        """Send one request and return what came back with a status of 2xx.

        Args:
            body: The request's JSON.

        Raises:
            openai.APIError: It was not answered, or with another status.
        """
        return await self._sdk.post(
            PATH,
            content=body,
            options={"headers": {"Content-Type": "application/json"}},
            cast_to=httpx2.Response,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sdk.close()


def connect(settings: LLMSettings) -> openai.AsyncOpenAI:
    """Return the SDK's client for an endpoint.

    Raises:
        TeacherError: The endpoint needs a key, and there is none.
    """
    if settings.is_openai and not settings.api_key:
        raise TeacherError(
            "there is no key for api.openai.com", "set OPENAI_API_KEY, or OPENAI_BASE_URL for another endpoint"
        )
    timeout = httpx2.Timeout(settings.timeout_s, connect=settings.connect_timeout_s)
    limits = httpx2.Limits(max_connections=settings.concurrency, max_keepalive_connections=settings.concurrency)
    return openai.AsyncOpenAI(
        api_key=settings.api_key or NO_KEY,
        base_url=settings.base_url,
        max_retries=0,
        timeout=timeout,
        http_client=openai.DefaultAioHttpClient(
            timeout=timeout, limits=limits, follow_redirects=False, trust_env=not settings.is_local
        ),
    )
