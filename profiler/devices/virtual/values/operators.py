"""Which operators of ATen compute integers, and with which kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from . import choices, counted, kernels, notes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .kernels import Kernel

# Without the underscore of their in-place versions. Composite operators are made of these.
_COMPUTED = (
    "abs add addcmul addr amax amin aminmax arange bernoulli bincount bitwise_and bitwise_left_shift "
    "bitwise_not bitwise_or bitwise_right_shift bitwise_xor cat ceil clamp clamp_max clamp_min "
    "_cummax_helper _cummin_helper cumprod cumsum div eye fill flip floor floor_divide fmax fmin fmod "
    "gather gcd histc __ilshift__ index index_add index_copy index_fill _index_put_impl index_reduce "
    "index_select __irshift__ lcm linspace __lshift__ masked_fill masked_scatter masked_select max "
    "maximum median min minimum mul nanmedian neg nonzero_static pow prod put random randperm range "
    "remainder repeat_interleave roll round __rshift__ rsub scatter scatter_add scatter_reduce sgn sign "
    "sub sum take trace tril tril_indices triu triu_indices trunc where"
)
_TESTS = (
    "all any bucketize count_nonzero eq ge gt isin isnan isneginf isposinf le logical_and logical_not "
    "logical_or logical_xor lt ne searchsorted signbit"
)
_CHOICES = (
    *("argmax", "argmax.out", "argmin", "argmin.out", "kthvalue.values", "max.dim", "max.dim_max"),
    *("median.dim_values", "min.dim", "min.dim_min", "multinomial", "multinomial.out"),
    *("nanmedian.dim_values", "sort.stable", "sort.values_stable", "topk", "topk.values"),
)
_UNIQUE = ("_unique", "_unique2", "unique_consecutive", "unique_dim", "unique_dim_consecutive")
_RESTORED = ("index_reduce_", "scatter_reduce_.two")
# ATen calls these with numbers that it has put on the GPU, of which the dispatcher cannot make Python's.
_LEFT_ALONE = ("pow.Tensor_Tensor", "pow.Tensor_Tensor_out", "pow_.Tensor")


def replacements() -> Iterator[tuple[str, Kernel]]:
    """Yield the name of each operator, such as `add.Tensor`, and its kernel in the place of CUDA's."""
    special = {
        "copy_": kernels.copy_(),
        "fill_.Scalar": kernels.fill_scalar(),
        "equal": kernels.equal(),
        "_local_scalar_dense": counted.number(),
        "nonzero": counted.nonzero(),
        **{name: choices.chosen(name) for name in _CHOICES},
        **{name: counted.unique(name) for name in _UNIQUE},
        **{name: kernels.restored(name, note=notes.CONVERTED) for name in _RESTORED},
    }
    yield from special.items()
    bases = dict.fromkeys(_COMPUTED.split(), notes.CONVERTED) | dict.fromkeys(_TESTS.split(), notes.TESTED)
    for qualified in torch._C._dispatch_get_all_op_names():
        name = qualified.removeprefix("aten::")
        base = name.partition(".")[0]
        note = bases.get(base) or bases.get(base.removesuffix("_"))
        if name == qualified or note is None or name in special or name in _LEFT_ALONE:
            continue
        if torch._C._dispatch_has_kernel_for_dispatch_key(qualified, "CUDA"):
            yield name, kernels.computed(name, note=note)
