"""Content hashes: the same content always has the same name, so writing twice is a no-op."""

import hashlib
import json
from typing import Any

import msgspec

__all__ = ["content_id", "plain_id"]

_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))
_PLAIN = msgspec.json.Encoder()

Plain = str | int | None | list[tuple[str, int, int, str]]


def content_id(prefix: str, *parts: Any) -> str:
    """Name a piece of content by what it is.

    Args:
        prefix: What kind of thing it is, such as `lab` or `prm`; kept readable in front of the hash.
        parts: JSON-serialisable values, in an order that belongs to the identity.

    Returns:
        `prefix_` and 24 hex digits (96 bits) of BLAKE2b over the canonical JSON of the parts.
    """
    canonical = _CANONICAL.encode(parts)
    return f"{prefix}_{hashlib.blake2b(canonical.encode('utf-8', 'surrogatepass'), digest_size=12).hexdigest()}"


def plain_id(prefix: str, *parts: Plain | float) -> str:
    """Return what `content_id` does, in a third of the time; for parts without objects, of which there are millions."""
    # The two encoders write the same, but for numbers with a fraction and what is no Unicode.
    written = [msgspec.Raw(repr(part).encode()) if isinstance(part, float) else part for part in parts]
    try:
        canonical = _PLAIN.encode(written)
    except UnicodeEncodeError:
        return content_id(prefix, *parts)
    return f"{prefix}_{hashlib.blake2b(canonical, digest_size=12).hexdigest()}"
