"""One process that stands for all ranks of a group: it is rank 0, and there are no others.

What torch would wait for others with is replaced: the rendezvous and its store, by a store of this process;
Gloo, which connects every rank with every other, by torch's own fake process group. NCCL is torch's own, on a
library whose communicators have any size (`c/nccl.c`). Every rank is taken to hold what this one holds: to
gather an object gives it once for each rank, and what another rank would send is what is here already.

The module is also loaded by path into processes of users, so it imports nothing of ours by name.
"""

from __future__ import annotations

import functools
import inspect
import pickle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch._C._distributed_c10d import Store

_GPUS_PER_NODE = 8
"""GPUs of one machine, where there are so many ranks."""


def environment_variables(world_size: int) -> dict[str, str]:
    """Return what `torchrun` sets for rank 0 of so many ranks, on machines of up to eight GPUs."""
    local = world_size if world_size % _GPUS_PER_NODE else _GPUS_PER_NODE
    return {
        "RANK": "0",
        "WORLD_SIZE": str(world_size),
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": str(local),
        "GROUP_RANK": "0",
        "GROUP_WORLD_SIZE": str(world_size // local),
        "ROLE_RANK": "0",
        "ROLE_WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29500",
    }


def install(world_size: int) -> None:
    """Let `torch.distributed` work in this process alone, as rank 0 of `world_size` ranks.

    To be called before a process group is made. Whatever backend and rendezvous the program asks for, it gets
    its group at once; the environment variables are the caller's to set (`environment_variables`).
    """
    import torch.distributed as distributed
    from torch._C._distributed_c10d import HashStore, TCPStore
    from torch.distributed import distributed_c10d
    from torch.distributed.rendezvous import _rendezvous_handlers

    def meet(url: str, **_: Any) -> Iterator[tuple[Store, int, int]]:
        yield HashStore(), 0, world_size

    for scheme in _rendezvous_handlers:
        _rendezvous_handlers[scheme] = meet

    def alone(*_: Any, **__: Any) -> HashStore:
        return HashStore()

    replaced: dict[str, Any] = {
        "TCPStore": _stand_in(TCPStore, HashStore, alone),
        "broadcast_object_list": _from_here_only(distributed.broadcast_object_list),
        "scatter_object_list": _from_here_only(distributed.scatter_object_list),
        "recv_object_list": lambda objects, src=None, *_, **__: src or 0,
        "gather_object": _gather_object,
        "monitored_barrier": lambda *_, **__: None,
    }
    if distributed.is_gloo_available():
        from torch._C._distributed_c10d import FakeProcessGroup

        fake: Any = FakeProcessGroup  # its stub lacks what is called here

        def no_mesh(store: Store, rank: int, size: int, *_: Any, **__: Any) -> Any:
            return fake._create_internal(rank, size, fake.Options())

        replaced["ProcessGroupGloo"] = _stand_in(distributed_c10d.ProcessGroupGloo, fake, no_mesh)
    for name, stand_in in replaced.items():
        for module in (distributed, distributed_c10d):
            setattr(module, name, stand_in)


def _stand_in(original: type, made: type, make: Callable[..., Any]) -> type:
    """Return a class in the place of `original`, which makes what `make` returns, of the class `made`."""

    class Type(type):
        def __call__(cls, *arguments: Any, **options: Any) -> Any:
            return make(*arguments, **options)

        def __instancecheck__(cls, instance: Any) -> bool:
            return isinstance(instance, (original, made))

    return Type(original.__name__, (), {"__module__": original.__module__, "__doc__": original.__doc__})


def _from_here_only(original: Callable[..., None]) -> Callable[..., None]:
    """Leave the objects as they are where another rank would send them."""
    signature = inspect.signature(original)

    @functools.wraps(original)
    def send(*arguments: Any, **options: Any) -> None:
        given = signature.bind(*arguments, **options).arguments
        sources = [given[name] for name in ("src", "group_src") if given.get(name) is not None]
        if not any(sources):
            original(*arguments, **options)

    return send


def _gather_object(obj: Any, object_gather_list: list[Any] | None = None, *_: Any, **__: Any) -> None:
    """Give one's own object for every rank: NCCL would receive them one by one, and here receives nothing."""
    if object_gather_list is not None:
        object_gather_list[:] = [pickle.loads(pickle.dumps(obj)) for _ in object_gather_list]
