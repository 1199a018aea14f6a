"""A verb that several processes may run at once, as `torchrun` and `accelerate launch` start them."""

import functools
import os
from collections.abc import Callable
from typing import ParamSpec

__all__ = ["across_ranks"]

P = ParamSpec("P")


def across_ranks(verb: Callable[P, None]) -> Callable[P, None]:
    """Let the first process run a verb and the others work for it; alone, the verb runs as it is."""

    @functools.wraps(verb)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        if int(os.environ.get("WORLD_SIZE") or 1) == 1:
            return verb(*arguments, **named)
        from teachback.distill.base import require_training
        from teachback.distill.ranks import join_ranks

        require_training()
        with join_ranks() as leads:
            if leads:
                verb(*arguments, **named)
        return None

    return run
