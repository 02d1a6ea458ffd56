"""Record the peaks and step times of an HF Trainer run: the cheapest measurements there are.

    from profiler.callback import ProfilerCallback

    recorder = ProfilerCallback()          # before the model is built
    trainer = Trainer(..., callbacks=[recorder])
    trainer.train()                        # one row in the store, origin imported:trainer

The run is not isolated and reads real data, so its rows carry an origin of their own and never mix with
those of the harness unasked. Nothing that the run does is changed: no statistics are reset, nothing waits for
the device inside a step.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from profiler.devices import find_device
from profiler.devices.cuda import CudaDevice
from profiler.devices.procfs import status_bytes
from profiler.devices.tensor_bytes import TensorBytes
from profiler.environment import environment_of
from profiler.errors import SizeupError, UsageError
from profiler.harness.statistics import summarize_steps
from profiler.measurement import Measurement, Outcome
from profiler.parameters import count_parameters
from profiler.store import Store
from profiler.trainer_spec import spec_of_run

if TYPE_CHECKING:
    from pathlib import Path

    from profiler.devices.protocol import Device

ORIGIN = "imported:trainer"

# Tensors alive at the start beyond this are taken for a model that was built already.
_MODEL_BYTES = 2**20


class ProfilerCallback(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Writes one measurement to the store when training ends.

    Make it before the model is built: on the CPU, peak memory counts from here, and is left out when a
    model was already there.

    Args:
        store: Where to; as `Store.open`.
        name: Value of the column `sweep`, to find the rows again.
        skip_steps: Steps at the start that are not timed (they allocate optimizer states and warm up).
    """

    def __init__(
        self, store: str | Path | None = None, *, name: str | None = None, skip_steps: int = 3
    ) -> None:
        if skip_steps < 0:
            raise ValueError(f"skip_steps must be at least 0, not {skip_steps}")
        self.measurement: Measurement | None = None
        """The row, once training has ended."""
        self.error: SizeupError | None = None
        """Why the row could not be kept; recording never ends a run."""
        self._store = store
        self._name = name
        self._skip_steps = skip_steps
        is_first = TensorBytes().live_bytes() < _MODEL_BYTES
        self._baseline_bytes = status_bytes("VmRSS") if is_first else None
        self._step_started = 0.0
        self._step_seconds: list[float] = []
        self._lengths: list[int] = []
        self._hook: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Watch the lengths of batches from the first forward on."""
        model = kwargs.get("model")
        if model is not None:
            self._hook = model.register_forward_pre_hook(self._see_batch, with_kwargs=True)

    def _see_batch(self, module: Any, positional: Any, named: Any) -> None:
        ids = named.get("input_ids")
        if ids is not None and module.training:
            self._lengths.append(int(ids.shape[-1]))

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Read the clock."""
        self._step_started = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Read the clock; the Trainer itself waits for the device when it reads the loss."""
        self._step_seconds.append(time.perf_counter() - self._step_started)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the row; if that fails, say so in `error` and let the run go on."""
        if self._hook is not None:
            self._hook.remove()
        model = kwargs.get("model")
        if model is None or len(self._step_seconds) <= self._skip_steps:
            return
        timed = self._step_seconds[self._skip_steps :]
        try:
            if args.device.type not in ("cpu", "cuda"):
                raise UsageError(f"a run on {args.device.type} cannot be recorded; only on cpu and cuda")
            device: Device = find_device(args.device.type)
            self.measurement = Measurement(
                spec=spec_of_run(model, args, self._lengths),
                device=device.name,
                environment=environment_of(device),
                outcome=Outcome.OK,
                origin=ORIGIN,
                sweep=self._name,
                protocol={"source": "trainer-callback", "skip_steps": self._skip_steps},
                figures={**summarize_steps(timed), **self._memory(device), **count_parameters(model)},
                step_seconds=tuple(timed),
            )
            with Store.open(self._store) as store:
                store.add(self.measurement)
        except SizeupError as error:
            self.error = error
        except Exception as error:  # whatever a library does here, the run goes on
            self.error = SizeupError(f"the run was not recorded: {type(error).__name__}: {error}")

    def _memory(self, device: Device) -> dict[str, int | None]:
        if isinstance(device, CudaDevice):
            import torch

            return {
                "peak_allocated_bytes": torch.cuda.max_memory_allocated(),
                "peak_reserved_bytes": torch.cuda.max_memory_reserved(),
                "alloc_retries": torch.cuda.memory_stats().get("num_alloc_retries"),
            }
        peak = status_bytes("VmHWM")
        if peak is None or self._baseline_bytes is None:
            return {}
        return {"peak_process_bytes": peak - self._baseline_bytes}
