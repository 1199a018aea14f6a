"""How often Python looks for garbage in cycles, of which this room makes hardly any."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["rare_collections"]

COLLECT_AFTER = 100_000  # allocations between two passes of the cycle collector


@contextmanager
def rare_collections() -> Iterator[None]:
    """Keep the cycle collector from walking the imported modules and the labels at hand over and over.

    A chunk is a hundred thousand small objects without cycles; by default they cost as much to walk as to make.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
