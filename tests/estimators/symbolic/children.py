"""What tests run in processes of their own (the fixture `in_child`): all that needs the symbolic device."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from estimators.symbolic import autocast, softmax
from estimators.symbolic.attention import CudaAttention
from estimators.symbolic.builder import LedgerBuilder
from estimators.symbolic.device import symbolic_device
from estimators.symbolic.memo import ShapeMemo
from estimators.symbolic.patches import as_on_cuda
from estimators.symbolic.recorder import Recorder
from estimators.symbolic.trace import trace
from tests.estimators.traces import A100

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from estimators.ledger import Ledger
    from estimators.target import Target
    from profiler.spec import TrialSpec


def traced(spec: TrialSpec, target: Target, remembers: bool) -> Ledger:
    """Trace here, with the memo or without."""
    with contextlib.ExitStack() as stack:
        if not remembers:
            run = lambda _memo, func, args, kwargs: func(*args, **kwargs)  # noqa: E731
            stack.enter_context(mock.patch.object(ShapeMemo, "run", run))
        return trace(spec, target, steps=2)


@contextlib.contextmanager
def recording(
    target: Target = A100, *, is_paged: bool = False
) -> Iterator[tuple[LedgerBuilder, torch.device]]:
    """Record what is done on the symbolic device, as a trace does."""
    device = symbolic_device()
    autocast.register(target)
    softmax.register()
    builder = LedgerBuilder()
    fake_mode = FakeTensorMode(allow_non_fake_inputs=True)

    def raise_nothing(error: BaseException) -> None:
        del error

    with (
        warnings.catch_warnings(action="ignore"),
        torch.autograd.set_multithreading_enabled(False),
        as_on_cuda(target, builder.empty_cache, is_quantized=False, is_paged=is_paged),
        CudaAttention(target, lambda _name: None).in_place(),
        fake_mode,
        Recorder(fake_mode, builder, target, raise_nothing),
    ):
        yield builder, device


def names(ledger: Ledger) -> list[str]:
    """Return the names of the operators, in order."""
    assert ledger.operators is not None
    return [ledger.operators.names[name] for name in ledger.operators.name]


def run(program: Callable[[torch.device], Any], target: Target = A100) -> tuple[Any, list[str], list[int]]:
    """Run a program on the device; return its result, its operators, and the sizes of all tensors."""
    with recording(target) as (builder, device):
        result = program(device)
    ledger = builder.build()
    return result, names(ledger), ledger.sizes.tolist()


# Programs: each gets the device, and returns what the test looks at.


def autocast_of_products(device: torch.device) -> dict[str, Any]:
    """Multiply by a trainable and by a frozen weight, twice each, in two regions of autocast."""
    trained = torch.nn.Parameter(torch.empty(8, 8, device=device))
    frozen = torch.empty(8, 8, device=device)
    inputs = torch.empty(4, 8, device=device, dtype=torch.bfloat16)
    kinds = []
    for _ in range(2):
        with torch.autocast(device.type, dtype=torch.bfloat16):
            kinds += [(inputs @ weight).dtype for weight in (trained, trained, frozen, frozen)]
    return {"kinds": kinds}


def autocast_of_others(device: torch.device) -> dict[str, torch.dtype]:
    """Run one operator of each of autocast's lists."""
    half = torch.empty(4, 8, device=device, dtype=torch.bfloat16)
    single = torch.empty(4, 8, device=device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        return {
            "linear": torch.nn.functional.linear(single, single).dtype,
            "softmax": torch.softmax(half, -1).dtype,
            "softmax_as_told": torch.softmax(half, -1, dtype=torch.bfloat16).dtype,
            "layer_norm": torch.nn.functional.layer_norm(half, (8,)).dtype,
            "sum": half.sum().dtype,
            "cat": torch.cat([half, single]).dtype,
            "cat_of_half": torch.cat([half, half]).dtype,
            "add": (half + half).dtype,
            "gelu": torch.nn.functional.gelu(half).dtype,
            "double": (half.double() @ half.double().T).dtype,
        }


def fused_softmax(device: torch.device) -> list[torch.dtype]:
    """Take the softmax of fp16 and of bf16 into fp32, and backward."""
    kinds = []
    for dtype in (torch.float16, torch.bfloat16):
        inputs = torch.empty(4, 8, device=device, dtype=dtype, requires_grad=True)
        output = torch.softmax(inputs, -1, dtype=torch.float32)
        output.backward(torch.empty_like(output))
        assert inputs.grad is not None
        kinds += [output.dtype, inputs.grad.dtype]
    return kinds


def gated(device: torch.device) -> None:
    """Go forward and backward through an activation that torch could compose of others."""
    gate = torch.empty(4, 8, device=device, requires_grad=True)
    torch.nn.functional.silu(gate).sum().backward()  # type: ignore[no-untyped-call]


def autocast_of_a_layer(device: torch.device) -> None:
    """Multiply by a frozen weight, and add a bias."""
    inputs, weight, bias = (torch.empty(shape, device=device) for shape in ((16, 8), (4, 8), (4,)))
    with torch.autocast(device.type, dtype=torch.bfloat16):
        torch.nn.functional.linear(inputs, weight, bias)


def autocast_of_attention(device: torch.device) -> Any:
    """Attend with torch's own mathematics."""
    query = torch.empty(1, 2, 32, 8, device=device)
    with (
        torch.autocast(device.type, dtype=torch.bfloat16),
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
    ):
        return torch.nn.functional.scaled_dot_product_attention(query, query, query).dtype


def sizes_of_states(is_paged: bool, target: Target) -> list[int]:
    """Return the sizes of what bitsandbytes' optimizer makes for one large parameter."""
    import bitsandbytes

    with recording(target, is_paged=is_paged) as (builder, device):
        parameter = torch.nn.Parameter(torch.empty(400, 400, device=device))
        parameter.grad = torch.empty_like(parameter)
        first = builder.tensors
        make = bitsandbytes.optim.PagedAdamW8bit if is_paged else bitsandbytes.optim.AdamW8bit
        make([parameter]).step()
    return builder.build().sizes.tolist()[first:]


def known_values(device: torch.device) -> dict[str, Any]:
    """Ask for values that follow from the host's."""
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]]).to(device)
    lengths = mask.sum(-1)
    positions = mask.cumsum(-1) - 1
    return {
        "item": lengths.max().item(),
        "host": positions.cpu().tolist(),
        "decision": bool((mask == 0).any()),
        "nonzero": mask.nonzero().shape,
        "selected": torch.masked_select(mask, mask.bool()).shape,
        "indexed": torch.empty(2, 3, 5, device=device)[mask.bool()].shape,
        "repeated": torch.repeat_interleave(torch.tensor([1, 2, 3]).to(device)).tolist(),
        "unique": torch.unique(mask).tolist(),
        "view": mask[1].tolist(),
        "made": torch.arange(3, device=device).tolist(),
        "float_mask": mask.float().sum().item(),
    }


def overwritten_values(device: torch.device) -> dict[str, Any]:
    """Ask for values after they have been changed in place, by what is known and by what is not."""
    first, second = torch.tensor([1, 2]).to(device), torch.tensor([1, 2]).to(device)
    first.add_(10)
    unknown = torch.empty(2, device=device).long()
    second.add_(unknown)
    return {"known": first.tolist(), "sum_is_zero": second.sum().item()}


def unknown_values(device: torch.device) -> dict[str, Any]:
    """Ask for values of weights."""
    weight = torch.empty(4, 8, device=device)
    host = weight.cpu()
    return {
        "item": weight.sum().item(),
        "decision": bool(torch.isnan(weight).any()),
        "host": (host.shape, host.dtype, bool(host.any())),
        "same": bool((host == weight.cpu()).all()),
        "indexed": weight[weight > 0].shape,
        "nonzero": weight.nonzero().shape,
    }


def placement(device: torch.device) -> dict[str, Any]:
    """Say where what is made ends up."""
    made = torch.empty(2, device=device)
    on_host = torch.ones(2)
    return {
        "made": made.device.type,
        "moved": on_host.to(device).device.type,
        "back": made.cpu().device.type,
        "host_sum": (on_host + on_host).tolist(),
        "literal": torch.tensor([1.0]).device.type,
        "like": torch.zeros_like(made).device.type,
    }


def lives(device: torch.device) -> None:
    """Make a tensor, a view of it, an empty one, and one in place of itself; then let them go."""
    made = torch.empty(1024, device=device)
    view = made[:10]
    del made
    view.add_(1)
    empty = torch.empty(0, device=device)
    del view, empty


def sparse(device: torch.device) -> dict[str, Any]:
    """Use a sparse matrix as peft's methods do, with gradients."""
    indices = torch.tensor([[0, 1, 3], [2, 0, 1]]).to(device)
    values = torch.empty(3, device=device, requires_grad=True)
    matrix = torch.sparse_coo_tensor(indices, values, (4, 3)).coalesce()
    dense = torch.empty(3, 5, device=device, requires_grad=True)
    product = torch.sparse.mm(matrix, dense)
    weight = torch.empty(4, 3, device=device)
    added = matrix.to_dense()
    weight += matrix
    (product.sum() + added.sum()).backward()
    assert values.grad is not None
    assert dense.grad is not None
    return {
        "nonzero": matrix._nnz(),
        "product": product.shape,
        "dense": added.shape,
        "gradients": (values.grad.shape, dense.grad.shape),
        "on_host": torch.sparse_coo_tensor(torch.tensor([[0], [1]]), torch.ones(1), (2, 2)).is_sparse,
    }


def memo_of_views(device: torch.device) -> dict[str, Any]:
    """Run views and others twice, the second time from memory."""
    seen = []
    for _ in range(2):
        base = torch.empty(4, 6, device=device)
        turned, product = base.t(), base * 2.0
        seen.append(
            (
                turned.shape,
                turned.stride(),
                turned.untyped_storage()._cdata == base.untyped_storage()._cdata,
                product.untyped_storage()._cdata == base.untyped_storage()._cdata,
                (base[:, 2:]).storage_offset(),
                (base * 2).dtype,
                (base.int() * 2).dtype,
                base.reshape(24).untyped_storage()._cdata == base.untyped_storage()._cdata,
            )
        )
    return {"first": seen[0], "second": seen[1]}


def events_of(program: Callable[[torch.device], Any]) -> tuple[list[int], list[int]]:
    """Run a program; return the events of memory, and the sizes of all tensors."""
    with recording() as (builder, device):
        program(device)
    ledger = builder.build()
    return ledger.events.tolist(), ledger.sizes.tolist()


def sums_of_gradients() -> dict[str, int]:
    """Let several gradients reach one tensor in different ways; count the sums done in place."""
    kept: list[torch.Tensor] = []

    class Keeps(torch.autograd.Function):
        """Scales, and holds on to the gradient it returns."""

        @staticmethod
        def forward(ctx: Any, inputs: torch.Tensor) -> torch.Tensor:
            return inputs * 2

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            kept.append(gradient * 2)
            return kept[-1]

    def own(shared: torch.Tensor) -> torch.Tensor:
        return shared.sin() + shared.cos() + shared.exp()

    def passed_on(shared: torch.Tensor) -> torch.Tensor:
        return shared + shared.sin()  # the first gradient is that of the sum, which sin's node holds too

    def kept_elsewhere(shared: torch.Tensor) -> torch.Tensor:
        return shared.sin() + Keeps.apply(shared)

    def expanded(shared: torch.Tensor) -> torch.Tensor:
        return shared.sin() + shared.sum()

    def recomputed(shared: torch.Tensor) -> torch.Tensor:
        return checkpoint(own, shared, use_reentrant=False) + 1

    return {case.__name__: _in_place(case) for case in (own, passed_on, kept_elsewhere, expanded, recomputed)}


def _in_place(case: Callable[[torch.Tensor], torch.Tensor]) -> int:
    with recording() as (builder, device):
        leaf = torch.empty(8, 8, device=device, requires_grad=True)
        case(leaf * 1).sum().backward()  # type: ignore[no-untyped-call]
    return names(builder.build()).count("aten.add_.Tensor")
