"""How a request gets to an endpoint: what the OpenAI SDK knows of it, over aiohttp.

What the SDK does anew for each request (merge headers, build options, the address and its HTTP client's own request and
response, make response models) costs several times what aiohttp itself costs, and is the same each time. So address,
key and headers are made once, by the SDK; what goes wrong is raised as the SDK raises it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2
import openai

from teachback.agents.payload import PATH
from teachback.agents.settings import LLMSettings
from teachback.errors import TeacherError

__all__ = ["Received", "Transport", "connect"]

NO_KEY = "none"  # what is sent as key to an endpoint that needs none


@dataclass(frozen=True, slots=True)
class Received:
    """What an endpoint sent back.

    Attributes:
        content: The body.
        headers: Its headers, in any case of letters.
    """

    content: bytes
    headers: Mapping[str, str]


class Transport:
    """Sends chat completions to one endpoint; to be made within the event loop.

    Args:
        settings: The endpoint.

    Raises:
        TeacherError: The endpoint needs a key, and there is none; or the environment's proxy cannot be used.
    """

    def __init__(self, settings: LLMSettings) -> None:
        # Of the SDK no more than what it knows: nothing is sent by it, so it needs no certificates to be read.
        sdk = connect(settings, httpx2.AsyncClient(transport=httpx2.AsyncBaseTransport(), trust_env=False))
        headers = {**sdk.default_headers, **sdk.auth_headers, "Content-Type": "application/json"}
        url = httpx2.URL(f"{str(sdk.base_url).rstrip('/')}{PATH}")
        self._url = str(url)
        self._session = aiohttp.ClientSession(
            headers={name: value for name, value in headers.items() if isinstance(value, str)},
            connector=_connector(settings, url),
            timeout=aiohttp.ClientTimeout(sock_connect=settings.connect_timeout_s, sock_read=settings.timeout_s),
            proxy=_proxy(settings, url),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def send(self, body: bytes) -> Received:
        """Send one request and return what came back with a status of 2xx.

        Args:
            body: The request's JSON.

        Raises:
            openai.APIError: It was not answered, or with another status.
        """
        try:
            async with self._session.post(self._url, data=body, allow_redirects=False) as response:
                content = await response.read()
        except TimeoutError as error:
            raise openai.APITimeoutError(request=self._request()) from error
        except (aiohttp.ClientError, OSError) as error:
            raise openai.APIConnectionError(request=self._request()) from error
        if not 200 <= response.status < 300:
            refused = httpx2.Response(response.status, headers=list(response.headers.items()), request=self._request())
            raise _status_error(refused, content)
        return Received(content, response.headers)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.close()

    def _request(self) -> httpx2.Request:
        return httpx2.Request("POST", self._url)


def _status_error(response: httpx2.Response, content: bytes) -> openai.APIStatusError:
    text = content.decode("utf-8", "replace")
    try:
        body: Any = json.loads(text)
    except (ValueError, RecursionError):
        body = text
    said = body.get("error", body) if isinstance(body, dict) else body
    return openai.APIStatusError(text or f"HTTP {response.status_code}", response=response, body=said)


def connect(settings: LLMSettings, http_client: httpx2.AsyncClient | None = None) -> openai.AsyncOpenAI:
    """Return the SDK's client for an endpoint.

    Args:
        settings: The endpoint.
        http_client: What it sends with; a client over aiohttp if not given.

    Raises:
        TeacherError: The endpoint needs a key, and there is none.
    """
    if settings.is_openai and not settings.api_key:
        raise TeacherError(
            "there is no key for api.openai.com", "set OPENAI_API_KEY, or OPENAI_BASE_URL for another endpoint"
        )
    timeout = httpx2.Timeout(settings.timeout_s, connect=settings.connect_timeout_s)
    return openai.AsyncOpenAI(
        api_key=settings.api_key or NO_KEY,
        base_url=settings.base_url,
        max_retries=0,
        timeout=timeout,
        http_client=http_client
        or openai.DefaultAioHttpClient(
            timeout=timeout,
            follow_redirects=False,
            trust_env=not settings.is_local,
            # Certificates take a while to read. With neither TLS nor a proxy that may have it there is none to look at.
            verify=not (settings.is_local and str(settings.base_url).startswith("http://")),
        ),
    )


def _connector(settings: LLMSettings, url: httpx2.URL) -> aiohttp.TCPConnector:
    # The SDK's own certificates, where a certificate is looked at.
    secure = httpx2.create_ssl_context(trust_env=not settings.is_local) if url.scheme == "https" else True
    return aiohttp.TCPConnector(limit=settings.concurrency, ssl=secure)


def _proxy(settings: LLMSettings, url: httpx2.URL) -> str | None:
    # Endpoints on this machine are asked without one: a report goes to the host that was checked.
    if settings.is_local or proxy_bypass(url.host):
        return None
    known = getproxies()
    named = known.get(url.scheme) or known.get("all")
    if not named:
        return None
    proxy = httpx2.URL(named if "://" in named else f"http://{named}")
    if proxy.scheme not in ("http", "https"):
        raise TeacherError(
            f"the proxy {proxy.scheme}://{proxy.host} of the environment is no HTTP proxy",
            f"set {url.scheme.upper()}_PROXY to an HTTP proxy, or NO_PROXY to {url.host}",
        )
    return str(proxy)
