"""Where a language model is asked, how hard, and what may be sent there."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from teachback.errors import EgressError, SettingError

__all__ = ["OPENAI_BASE_URL", "LLMSettings", "check_egress", "is_loopback"]

OPENAI_BASE_URL = "https://api.openai.com/v1"
DEFAULT_MODEL = "gpt-4o"  # the model that the paper used (arXiv 2409.16563)
EGRESS_POLICIES = ("any", "zero-retention", "local-only")


@dataclass(frozen=True)
class LLMSettings:
    """Everything about an endpoint that is configuration.

    Attributes:
        model: Name of the model, as the endpoint knows it.
        base_url: The endpoint's address, up to and including `/v1`.
        api_key: The key; never printed, logged or stored.
        endpoint: What names the endpoint in request hashes and labelers. Derived from the address when empty: one on
            this machine is `local` whatever its port, so that a restarted server finds its answers in the cache.
        concurrency: Most requests in flight.
        max_attempts: How often a request is sent before it counts as failed.
        timeout_s: Seconds that one attempt may take.
        connect_timeout_s: Seconds that connecting may take.
        backoff_s: Seconds before the second attempt; doubles with each further one.
        max_backoff_s: Longest wait between attempts, in seconds; a longer Retry-After is honoured up to its own cap.
        max_retry_after_s: Longest Retry-After that is waited out, in seconds.
        patience_s: Seconds that a request waits in all for an endpoint that is overloaded (429, 503).
        rpm: Requests a minute; None keeps to what the endpoint's headers say.
        tpm: Tokens a minute, prompt and answer together; None likewise.
        seed: Seed of the waits' jitter.
        allow_egress_to: Hosts to which the user allows reports of restricted corpora to be sent, by name.
        prices: A price list other than the shipped one.
    """

    model: str = DEFAULT_MODEL
    base_url: str = OPENAI_BASE_URL
    api_key: str | None = field(default=None, repr=False)
    endpoint: str = ""
    concurrency: int = 16
    max_attempts: int = 5
    timeout_s: float = 120.0
    connect_timeout_s: float = 10.0
    backoff_s: float = 0.5
    max_backoff_s: float = 20.0
    max_retry_after_s: float = 120.0
    patience_s: float = 600.0
    rpm: float | None = None
    tpm: float | None = None
    seed: int = 0
    allow_egress_to: frozenset[str] = frozenset()
    prices: Path | None = None

    def __post_init__(self) -> None:
        url = urlsplit(self.base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise SettingError(
                f"{_without_userinfo(self.base_url)!r} is not a base URL", "give one like http://localhost:8000/v1"
            )
        if url.username or url.password:
            raise SettingError("the base URL holds a user name or password", "give the key as OPENAI_API_KEY instead")
        if self.concurrency < 1 or self.max_attempts < 1:
            raise SettingError("concurrency and max_attempts must be at least 1", "raise the setting")
        for name in ("timeout_s", "rpm", "tpm"):
            setting = getattr(self, name)
            if setting is not None and not setting > 0:
                raise SettingError(f"{name} is {setting:g}, which is not above 0", "leave it out for its default")

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None, **overrides: Any) -> "LLMSettings":
        """Read `OPENAI_API_KEY`, `OPENAI_BASE_URL`, `TEACHBACK_LLM_MODEL` and `TEACHBACK_PRICES`.

        Args:
            env: The environment; this process's when not given.
            overrides: Settings by name that go before the environment; None counts as not given.
        """
        env = os.environ if env is None else env
        chosen: dict[str, Any] = {
            "api_key": env.get("OPENAI_API_KEY") or None,
            "base_url": env.get("OPENAI_BASE_URL") or OPENAI_BASE_URL,
            "model": env.get("TEACHBACK_LLM_MODEL") or DEFAULT_MODEL,
            "prices": Path(env["TEACHBACK_PRICES"]) if env.get("TEACHBACK_PRICES") else None,
        }
        chosen.update({name: value for name, value in overrides.items() if value is not None})
        return cls(**chosen)

    @cached_property
    def host(self) -> str:
        """The host of the base URL, lower-cased."""
        return (urlsplit(self.base_url).hostname or "").lower()

    @property
    def is_openai(self) -> bool:
        """Whether this is OpenAI's own endpoint."""
        return self.host == "api.openai.com"

    @property
    def is_hosted_openai(self) -> bool:
        """Whether this is OpenAI's own endpoint or Azure's, which take OpenAI's newest parameter names."""
        return self.is_openai or self.host.endswith((".openai.azure.com", ".services.ai.azure.com"))

    @cached_property
    def is_local(self) -> bool:
        """Whether the endpoint is on this machine."""
        return is_loopback(self.host)

    @cached_property
    def identity(self) -> str:
        """What names the endpoint where content is hashed: never the key, and no port on this machine."""
        if self.endpoint:
            return self.endpoint
        if self.is_local:
            return "local"
        url = urlsplit(self.base_url)
        port = f":{url.port}" if url.port else ""
        return f"{self.host}{port}{url.path.rstrip('/')}"


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_egress(settings: LLMSettings, policy: str) -> None:
    """Check that reports under a corpus's egress policy may be sent to the endpoint.

    `any` may be sent anywhere. `local-only` and `zero-retention` may be sent to this machine, and to a host that the
    user allowed by name: that a host keeps nothing is a contract that no program can see.

    Raises:
        EgressError: They may not.
        SettingError: There is no such policy.
    """
    if policy not in EGRESS_POLICIES:
        raise SettingError(f"{policy!r} is not an egress policy", f"use one of {', '.join(EGRESS_POLICIES)}")
    allowed = {host.lower() for host in settings.allow_egress_to}
    if policy == "any" or settings.is_local or settings.host in allowed:
        return
    promise = "keeps no copy" if policy == "zero-retention" else "may receive them under the corpus's licence"
    raise EgressError(
        f"this corpus's reports are {policy}, and {settings.host} is not this machine",
        f"use an endpoint on localhost, or allow the host by name if it {promise}: --allow-egress-to {settings.host}",
    )


def _without_userinfo(url: str) -> str:
    return url.rsplit("@", 1)[-1]
