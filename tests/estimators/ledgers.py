"""Small ledgers for tests."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from estimators.ledger import Ledger, Mark, Operators, Owner
from profiler.measurement import Phase


def small_ledger(**fields: Any) -> Ledger:
    """Return a ledger of two tensors; the first is a weight and stays."""
    ledger = Ledger(
        events=np.array([0, 1, ~1], dtype=np.int32),
        sizes=np.array([4096, 512], dtype=np.int64),
        owners=np.array([Owner.WEIGHTS, Owner.ACTIVATIONS], dtype=np.uint8),
        tensor_modules=np.array([0, 1], dtype=np.int32),
        modules=("", "model.lm_head"),
        marks=(Mark(event=0, phase=Phase.LOAD, step=0), Mark(event=1, phase=Phase.FORWARD, step=0)),
        operators=None,
        facts={"total_parameters": 1024, "assumptions": ["none"]},
    )
    return dataclasses.replace(ledger, **fields)


def small_operators() -> Operators:
    """Return two operators of `small_ledger`."""
    return Operators(
        name=np.array([1, 0], dtype=np.int32),
        module=np.array([1, 1], dtype=np.int32),
        mark=np.array([1, 1], dtype=np.int32),
        flops=np.array([0, 2**40], dtype=np.int64),
        bytes_read=np.array([1, 2], dtype=np.int64),
        bytes_written=np.array([3, 4], dtype=np.int64),
        is_16bit=np.array([True, False]),
        names=("aten::mm", "aten::add"),
    )


def assert_same(found: Ledger | None, expected: Ledger) -> None:
    """Compare two ledgers, field by field; arrays with their types."""
    assert found is not None
    _assert_same_fields(found, expected)


def _assert_same_fields(found: Any, expected: Any) -> None:
    for field in dataclasses.fields(expected):
        mine, other = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(other, np.ndarray):
            assert mine.dtype == other.dtype, field.name
            np.testing.assert_array_equal(mine, other, err_msg=field.name)
        elif isinstance(other, Operators):
            _assert_same_fields(mine, other)
        else:
            assert mine == other, field.name
