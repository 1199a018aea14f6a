"""How a request gets to an endpoint: the OpenAI SDK's client and its aiohttp transport.

What the SDK does anew for each request (merge headers, build options and the address, make response models) costs more
CPU than the rest of a call, and is the same each time. So headers and address are made once, by the SDK, and requests
go through its HTTP client; what goes wrong is raised as the SDK raises it.
"""

from typing import Any

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
        self._http = _http_client(settings)
        self._sdk = connect(settings, self._http)
        headers = {**self._sdk.default_headers, **self._sdk.auth_headers}
        plain = {name: value for name, value in headers.items() if isinstance(value, str)}
        self._url = httpx2.URL(f"{str(self._sdk.base_url).rstrip('/')}{PATH}")
        host = self._url.netloc.decode("ascii")
        self._headers = httpx2.Headers({**plain, "Content-Type": "application/json", "Host": host})

    async def send(self, body: bytes) -> httpx2.Response:
        """Send one request and return what came back with a status of 2xx.

        Args:
            body: The request's JSON.

        Raises:
            openai.APIError: It was not answered, or with another status.
        """
        request = httpx2.Request("POST", self._url, headers=self._headers, content=body)
        try:
            response = await self._http.send(request)
        except httpx2.TimeoutException as error:
            raise openai.APITimeoutError(request=request) from error
        except httpx2.HTTPError as error:
            raise openai.APIConnectionError(request=request) from error
        if not response.is_success:
            raise _status_error(response)
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sdk.close()


def _status_error(response: httpx2.Response) -> openai.APIStatusError:
    text = response.text
    try:
        body: Any = response.json()
    except ValueError:
        body = text
    said = body.get("error", body) if isinstance(body, dict) else body
    return openai.APIStatusError(text or f"HTTP {response.status_code}", response=response, body=said)


def connect(settings: LLMSettings, http: httpx2.AsyncClient | None = None) -> openai.AsyncOpenAI:
    """Return the SDK's client for an endpoint.

    Args:
        settings: The endpoint.
        http: What it sends through, and closes; a client of its own when not given.

    Raises:
        TeacherError: The endpoint needs a key, and there is none.
    """
    if settings.is_openai and not settings.api_key:
        raise TeacherError(
            "there is no key for api.openai.com", "set OPENAI_API_KEY, or OPENAI_BASE_URL for another endpoint"
        )
    return openai.AsyncOpenAI(
        api_key=settings.api_key or NO_KEY,
        base_url=settings.base_url,
        max_retries=0,
        timeout=_timeout(settings),
        http_client=http or _http_client(settings),
    )


def _http_client(settings: LLMSettings) -> httpx2.AsyncClient:
    limits = httpx2.Limits(max_connections=settings.concurrency, max_keepalive_connections=settings.concurrency)
    return openai.DefaultAioHttpClient(
        timeout=_timeout(settings), limits=limits, follow_redirects=False, trust_env=not settings.is_local
    )


def _timeout(settings: LLMSettings) -> httpx2.Timeout:
    return httpx2.Timeout(settings.timeout_s, connect=settings.connect_timeout_s)
