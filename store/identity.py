"""Content hashes: the same content always has the same name, so writing twice is a no-op."""

import hashlib
import json
from typing import Any

__all__ = ["content_id"]

_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))


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
