"""FSDP for QLoRA: each process keeps its part of the frozen base, and the whole adapter.

The base never changes, so nothing but its weights travels, one layer ahead of its use; a step's gradients are those of
the adapter, which every process holds whole (`distill/ranks.py` averages them). So checkpoints, the optimizer's state
and the adapter's file are those of one process, and a campaign may go on with another number of processes.

Departure from the usual recipe (accelerate's FSDP, weights of four bits stored as bf16, the adapter sharded too):
PyTorch's `fully_shard` takes bytes as they are, parameter by parameter, and works on CPUs too, where it is tested.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["outermost_whole", "shard_base"]


def shard_base(model: Any) -> None:
    """Leave to this process its part of every frozen weight; a layer is whole only while it is used.

    Args:
        model: A base with its adapter, as peft wraps it, in every process the same.
    """
    import torch
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    _free_from_their_class(model)
    learning = {p for p in model.parameters() if p.requires_grad}
    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (dist.get_world_size(),))
    base = model.get_base_model()
    for layer in base.model.layers:
        fully_shard(layer, mesh=mesh, ignored_params=learning)
    fully_shard(base, mesh=mesh, ignored_params=learning)


@contextmanager
def outermost_whole(model: Any) -> Iterator[None]:
    """Have at hand what a sharded base has outside its layers, for who calls its parts and not the base itself.

    PyTorch brings it together where the base is called. Every process must call the same.

    Args:
        model: Any model; one that is not sharded is left as it is.
    """
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        yield
        return
    from torch.distributed.fsdp import FSDPModule

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if not isinstance(base, FSDPModule):
        yield
        return
    base.unshard()
    try:
        yield
    finally:
        base.reshard()


def _free_from_their_class(model: Any) -> None:
    """Make NF4 weights plain parameters; their layers keep the scales and find them again (bitsandbytes)."""
    import torch
    from bitsandbytes.nn import Params4bit

    for module in list(model.modules()):
        weight = module._parameters.get("weight")
        if isinstance(weight, Params4bit):
            module.quant_state = weight.quant_state
            module.weight = torch.nn.Parameter(weight.data, requires_grad=False)
