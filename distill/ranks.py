"""Several processes on one campaign, as `torchrun` and `accelerate launch` start them: one leads, the others follow.

The first process opens the store, takes every decision and prints. The others wait; when the leader comes to work that
is shared (training, scoring), it names the function and its arguments, and every process calls it. So one command with
one configuration is right for any number of processes, and the store has one writer.

The leader's words travel over gloo, which says at once when a process is gone; tensors on GPUs travel over NCCL.
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from teachback.errors import SettingError, TeachbackError, TrainingError

__all__ = [
    "Ranks",
    "agree",
    "average_gradients",
    "begin_alike",
    "current_ranks",
    "gather_parts",
    "join_ranks",
    "share_batch",
    "tell",
]

EXCHANGE_TIMEOUT = timedelta(minutes=30)  # PyTorch's own for gloo; a process that hangs for so long counts as lost
WAIT_TIMEOUT = timedelta(days=7)  # for work: the leader may score for hours without its followers
# What a launcher's own configuration would wrap our model in; the campaign's settings rule.
LAUNCHER_WRAPPERS = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_MIXED_PRECISION")
_LOST_REMEDY = "its own message says why, if it could leave one; the same command goes on at the step it was in"


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those of a campaign.

    Attributes:
        rank: 0 for the leader.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the only one or the first."""
        return self.rank == 0


_here = Ranks()
_talk: Any = None  # the gloo group over which the leader speaks
_told = False  # whether the leader has come to shared work


def current_ranks() -> Ranks:
    """Return this process among those of the campaign; alone unless `join_ranks` was entered."""
    return _here


@contextmanager
def join_ranks() -> Iterator[bool]:
    """Join the processes that a launcher started; followers work here until the leader leaves.

    Yields:
        Whether this process leads. A follower has nothing left to do.

    Raises:
        TrainingError: Another process ended before its time.
    """
    global _here, _talk, _told
    import torch.distributed as dist

    _connect()
    _here = Ranks(dist.get_rank(), dist.get_world_size())
    _talk = dist.new_group(backend="gloo", timeout=WAIT_TIMEOUT)
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        with _noticing_loss():
            if not _here.leads:
                _follow()
            try:
                yield _here.leads
            except TeachbackError:
                if _here.leads and not _told:  # they all wait still: what is wrong is said once
                    _say(None)
                raise
            if _here.leads:
                _say(None)
        dist.destroy_process_group()
    finally:
        signal.signal(signal.SIGTERM, before)
        _here, _talk, _told = Ranks(), None, False


def tell(work: Callable[..., Any], *arguments: Any, **named: Any) -> None:
    """Let the followers call a function that the leader is about to call, or is in; nothing happens without any.

    Args:
        work: A function of a module; its name travels, not its code.
        arguments: What it is called with; everything here is pickled.
        named: The same.
    """
    global _told
    if _here.leads and _here.size > 1:
        _told = True
        _say((work, arguments, named))


def agree(value: Any) -> Any:
    """Return the leader's value in every process."""
    if _here.size == 1:
        return value
    import torch.distributed as dist

    held = [value]
    dist.broadcast_object_list(held, src=0, group=_talk)
    return held[0]


def gather_parts(part: Any) -> list[Any]:
    """Return every process's part, in their order, to the leader; followers get an empty list."""
    if _here.size == 1:
        return [part]
    import torch.distributed as dist

    parts: list[Any] = [None] * _here.size if _here.leads else []
    dist.gather_object(part, parts if _here.leads else None, dst=0, group=_talk)
    return parts


def share_batch(batch: int, micro_batch: int, size: int) -> tuple[int, int]:
    """Divide a step's batch among processes, so that the step is over as many reports as in one.

    Args:
        batch: Reports an optimizer step, over all processes.
        micro_batch: The most reports a forward pass.
        size: Number of processes.

    Returns:
        Reports a forward pass, and passes a step, of each process.

    Raises:
        SettingError: The batch cannot be divided.
    """
    if batch % size:
        less = max(n for n in range(1, size) if batch % n == 0)
        raise SettingError(
            f"train.batch: {batch} reports a step cannot be divided among {size} processes",
            f"start {less}, or set train.batch to {batch // size * size or size} or {(batch // size + 1) * size}",
        )
    own = batch // size
    micro = max(n for n in range(1, min(micro_batch, own) + 1) if own % n == 0)
    return micro, own // micro


def begin_alike(parameters: Sequence[Any], seed: int) -> None:
    """Give every process the leader's adapter to start from, and dropout of its own."""
    if _here.size == 1:
        return
    import torch
    import torch.distributed as dist

    for parameter in parameters:
        if parameter.requires_grad:
            dist.broadcast(parameter.data, src=0)
    torch.manual_seed(seed * 1_000_003 + _here.rank)


def average_gradients(parameters: Sequence[Any]) -> None:
    """Replace gradients by their mean over all processes, in one exchange for all of them.

    Departure from `DistributedDataParallel`, which exchanges bucket by bucket while the backward pass runs: only the
    adapter learns, and its gradients are less than a hundredth of the base that every pass reads.
    """
    if _here.size == 1:
        return
    import torch
    import torch.distributed as dist

    learning = [p for p in parameters if p.requires_grad]
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in learning]
    flat = torch.cat([grad.flatten() for grad in grads])
    dist.all_reduce(flat)
    flat /= _here.size
    start = 0
    for parameter in learning:
        parameter.grad = flat[start : start + parameter.numel()].view_as(parameter)
        start += parameter.numel()


def _connect() -> None:
    import torch
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    for name in LAUNCHER_WRAPPERS:
        os.environ.pop(name, None)
    cuda = torch.cuda.is_available()
    if cuda:
        local, found = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= found:
            raise SettingError(f"process {local} of this machine finds {found} GPUs", f"start {found} processes")
        torch.cuda.set_device(local)
    store, rank, size = next(rendezvous("env://", timeout=EXCHANGE_TIMEOUT))
    # A launcher that starts lost processes again keeps its store: without a name of its own, a new process would look
    # for its peers where those that are gone were.
    store = dist.distributed_c10d.PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=EXCHANGE_TIMEOUT)


def _say(words: Any) -> None:
    import torch.distributed as dist

    dist.broadcast_object_list([words], src=0, group=_talk)


def _follow() -> None:
    """Do what the leader says until it says that there is nothing more to do."""
    while (words := agree(None)) is not None:
        work, arguments, named = words
        work(*arguments, **named)


def _stop(number: int, frame: Any) -> None:
    """Launchers end the others by SIGTERM when one process has ended."""
    raise TrainingError(f"process {_here.rank} of {_here.size} was told to stop: another has ended", _LOST_REMEDY)


@contextmanager
def _noticing_loss() -> Iterator[None]:
    """Turn what the backends raise when a process is gone into words."""
    import torch.distributed as dist

    try:
        yield
    except RuntimeError as error:
        words = str(error).lower()
        if not isinstance(error, dist.DistError) and "gloo" not in words and "nccl" not in words:
            raise
        lost = f"process {_here.rank} of {_here.size} has lost another one, which ended before its work was done"
        raise TrainingError(lost, _LOST_REMEDY) from error
