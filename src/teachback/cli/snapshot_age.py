"""How old a snapshot is, in words."""

__all__ = ["age_in_words"]


def age_in_words(seconds: float) -> str:
    """Return an age such as `3 s` or `5 hours`: the largest unit of which there are two."""
    for unit, length in (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
