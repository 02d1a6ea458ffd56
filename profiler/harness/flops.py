"""Floating-point operations of a training step, counted by torch while it runs."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from profiler.workload import Workload


def count_flops(workload: Workload) -> int | None:
    """Run one step under torch's counter and return its FLOPs: matrix products, convolutions and attention.

    None where a part of them happens inside operators whose FLOPs torch cannot know (8-bit matrix products,
    flash-attention-2, Liger's kernels, compiled graphs): a count that misses them would be wrong. None, too,
    where lengths vary: the count of one step would not be that of the median step.
    """
    spec = workload.spec
    if (
        spec.quantization == "int8"
        or spec.attention == "flash-attention-2"
        or spec.loss_kernel != "standard"
        or spec.compile
        or (spec.lengths is not None and len(spec.lengths) > 1 and not spec.packing)
    ):
        return None
    from torch.utils.flop_counter import FlopCounterMode

    _register_cpu_attention()
    with FlopCounterMode(display=False) as counter:
        workload.step(0, lambda _phase: contextlib.nullcontext())
    return int(counter.get_total_flops())


def _register_cpu_attention() -> None:
    """Teach the counter the CPU's attention kernel; torch 2.14 counts those of CUDA only."""
    import torch
    from torch.utils import flop_counter

    formulas: Any = flop_counter
    aten: Any = torch.ops.aten

    def forward(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(formulas.sdpa_flop_count(query.shape, key.shape, value.shape))

    def backward(grad_out: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        shapes = (grad_out.shape, query.shape, key.shape, value.shape)
        return int(formulas.sdpa_backward_flop_count(*shapes))

    for operator, formula in (
        (aten._scaled_dot_product_flash_attention_for_cpu, forward),
        (aten._scaled_dot_product_flash_attention_for_cpu_backward, backward),
    ):
        with contextlib.suppress(RuntimeError):  # known already
            formulas.register_flop_formula(operator, get_raw=True)(formula)
