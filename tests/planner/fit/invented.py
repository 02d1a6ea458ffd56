"""A tracer that traces nothing: it gives ledgers of weights and activations, whose sizes a formula says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from estimators.ledger import Ledger, Mark, Owner
from estimators.residuals import Residuals
from profiler.errors import NotPossibleError, SizeupError
from profiler.measurement import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from estimators.symbolic.tracer import TraceRequest
    from estimators.target import Target
    from profiler.spec import TrialSpec

MIB = 2**20
RESIDUALS = Residuals(level=0.9, low=-0.02, high=0.02, rows=0, source="not yet compared")


def activations(spec: TrialSpec) -> int:
    """Return 1 MiB for each token, and a tenth of it under checkpointing."""
    size = MIB * spec.batch_size * spec.sequence_length
    return size // 10 if spec.gradient_checkpointing == "full" else size


class InventedTracer:
    """Stands for `estimators.symbolic.tracer.Tracer`.

    Args:
        activations_bytes: The bytes of a trial's activations.
        positions: The longest sequence; longer ones are refused.
        trainable: Trainable parameters.
    """

    def __init__(
        self,
        activations_bytes: Callable[[TrialSpec], int] = activations,
        *,
        positions: int = 10**9,
        trainable: int = 1024,
    ) -> None:
        self._activations_bytes = activations_bytes
        self._positions = positions
        self._trainable = trainable
        self.traced: list[TrialSpec] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def trace(self, spec: TrialSpec, target: Target) -> Ledger:
        self.traced.append(spec)
        if spec.sequence_length > self._positions:
            raise NotPossibleError(f"there are {self._positions} positions")
        if spec.loss_kernel == "liger":
            raise NotPossibleError("liger needs Triton")
        steps = [
            spec.with_changes(lengths=None, sequence_length=int(length)) for length in spec.lengths or ()
        ]
        sizes = [self._activations_bytes(step) for step in steps or [spec]]
        tensors = range(1, len(sizes) + 1)
        return Ledger(
            events=np.array([0, *(event for tensor in tensors for event in (tensor, ~tensor)), ~0], np.int32),
            sizes=np.array([64 * MIB, *sizes], dtype=np.int64),
            owners=np.array([Owner.WEIGHTS, *(Owner.ACTIVATIONS for _ in tensors)], dtype=np.uint8),
            tensor_modules=np.array([0, *(1 for _ in tensors)], dtype=np.int32),
            modules=("", "model.layers.0"),
            marks=(
                Mark(event=0, phase=Phase.LOAD, step=0),
                *(Mark(event=2 * step + 1, phase=Phase.FORWARD, step=step) for step in range(len(sizes))),
            ),
            operators=None,
            facts={
                "trainable_parameters": self._trainable,
                "total_parameters": 2048,
                "attention_kernels": ["math"],
                "assumptions": ["weather is fine"],
                "seconds": {"imports": 4.0, "trace": 2.0},
            },
        )

    def trace_all(self, requests: Sequence[TraceRequest]) -> list[Ledger | SizeupError]:
        results: list[Ledger | SizeupError] = []
        for request in requests:
            try:
                results.append(self.trace(request.spec, request.target))
            except NotPossibleError as error:
                results.append(error)
        return results
