"""Results of the PEFT method comparison: huggingface/peft, method_comparison/MetaMathQA/results/*.json.

The loop (run.py there): `zero_grad`, forward, backward, clipping, optimizer; `outputs` lives until the next
forward has replaced it; batches are sorted, longest first, within buckets of 20; the cache is emptied after
every tenth step. A trial has one length: here the mean length of the samples without padding, which is what
a result states. Step times are means over windows of some hundred steps, of which the median is taken.
`peak_reserved_bytes` is the highest reserved memory at the end of a step, less what was reserved before the
model was loaded; the batch that caused it is longer than the mean, and not published.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import AliasChoices, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from profiler.errors import UsageError
from profiler.importers.adapters import adapter_method
from profiler.importers.fields import build_measurement
from profiler.importers.reading import Reading, RefusedRow, origin_of
from profiler.spec.validation import shown, usage_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from profiler.measurement import Measurement

NAME = "peft"

_RESULTS = Path("method_comparison") / "MetaMathQA" / "results"
_PRECISIONS = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
_AMP = {"fp32": "amp-fp16"}  # autocast on CUDA is fp16 unless told otherwise, and run.py does not
_OPTIMIZERS = {
    "AdamW": "adamw", "SGD": "sgd", "Adafactor": "adafactor", "RMSprop": "rmsprop", "lora-fa": "lora-fa",
    "lora+": "lora-plus",
}  # fmt: skip
_FUSED = {"adamw": "adamw-fused"}
_ATTENTION = {None: "auto", "eager": "eager", "sdpa": "sdpa", "flash_attention_2": "flash-attention-2"}
_EMPTY_CACHE_EVERY = 10  # ACCELERATOR_EMPTY_CACHE_SCHEDULE of run.py
_TEST_SAMPLES = 1319  # the test split of GSM8K (arXiv 2110.14168), which data.py takes whole
_PACKAGES = ("torch", "transformers", "peft", "bitsandbytes")
_PROTOCOL = {
    "source": "peft method comparison",
    "step_seconds": "median over windows of the mean",
    "sequence_length": "mean without padding",
    "peak_reserved_bytes": "at the end of steps, less that before loading",
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


class TrainingConfig(_Part):
    """The part of a result that says how was trained."""

    model_id: str
    dtype: str
    batch_size: int
    compile: bool
    use_gc: bool
    grad_norm_clip: float
    optimizer_type: str
    optimizer_kwargs: dict[str, Any] = {}
    use_amp: bool
    autocast_adapter_dtype: bool
    attn_implementation: str | None = None

    @classmethod
    def parse(cls, content: Any) -> Self:
        """Check what a result says about training.

        Raises:
            UsageError: If something of it is missing or is no value of its kind.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise usage_error(error, cls, subject="the training configuration") from None

    def settings(self, adapter: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the settings of the trial, but for its lengths.

        Args:
            adapter: The saved configuration of the adapter; None where the whole model is trained.

        Raises:
            UsageError: If it is something that no trial can be.
        """
        method, options = adapter_method(adapter)
        return {
            "model": self.model_id,
            "method": method,
            "method_options": options,
            "precision": self._precision(),
            "autocast_adapter_dtype": self.autocast_adapter_dtype,
            "optimizer": self._optimizer(),
            "batch_size": self.batch_size,
            "gradient_checkpointing": "full" if self.use_gc else "none",
            "attention": _meaning("attn_implementation", self.attn_implementation, _ATTENTION),
            "compile": self.compile,
            "max_grad_norm": self.grad_norm_clip,
            "loop": "raw",
        }

    def _precision(self) -> str:
        precision = _meaning("dtype", self.dtype, _PRECISIONS)
        if not self.use_amp:
            return precision
        if precision not in _AMP:
            raise UsageError(f"weights in {self.dtype} under autocast are no trial of ours")
        return _AMP[precision]

    def _optimizer(self) -> str:
        optimizer = _meaning("optimizer_type", self.optimizer_type, _OPTIMIZERS)
        return _FUSED.get(optimizer, optimizer) if self.optimizer_kwargs.get("fused") else optimizer


class _RunInfo(_Part):
    created_at: AwareDatetime
    total_time: float
    experiment_name: str
    train_config: TrainingConfig
    peft_config: dict[str, Any] | None
    error_msg: str = ""


class _Metrics(_Part):
    step: int
    train_samples: int = Field(alias="train samples")
    train_seconds: float | None = Field(default=None, alias="train time")
    tokens_per_second: float | None = Field(default=None, alias="tokens / sec")
    allocated_bytes: float | None = Field(default=None, alias="mem allocated avg")
    total_tokens: int | None = Field(default=None, alias="train total tokens")
    test_accuracy: float | None = Field(default=None, alias="test accuracy")


class _TrainInfo(_Part):
    status: Literal["success", "failed", "canceled"]
    peak_reserved_bytes: int | None = Field(
        default=None, validation_alias=AliasChoices("accelerator_memory_max", "cuda_memory_max")
    )
    num_trainable_params: int
    num_total_params: int
    metrics: tuple[_Metrics, ...]


class _SystemInfo(_Part):
    system: str
    machine: str
    device_name: str = Field(validation_alias=AliasChoices("accelerator", "gpu"))


class _MetaInfo(_Part):
    package_info: dict[str, str | None]
    system_info: _SystemInfo


class _Result(_Part):
    """One file of results."""

    run_info: _RunInfo
    train_info: _TrainInfo
    meta_info: _MetaInfo


def read_peft(path: Path, *, name: str = NAME) -> Reading:
    """Read a clone of huggingface/peft, a folder of its results, or one result.

    Args:
        path: The clone, the folder or the file.
        name: What the rows' origin is called.

    Raises:
        UsageError: If there is no such file or folder, or no result in it.
    """
    origin = origin_of(name)
    measurements: list[Measurement] = []
    refused: list[RefusedRow] = []
    for file in _files(path):
        try:
            measurements.append(_measurement(_read(file), origin))
        except UsageError as error:
            refused.append(RefusedRow(row=file.name, reason=str(error)))
    return Reading(origin=origin, measurements=tuple(measurements), refused=tuple(refused))


def measurement_of(document: Mapping[str, Any], *, name: str = NAME) -> Measurement:
    """Return the measurement of one result.

    Args:
        document: The content of a file of results.
        name: What the row's origin is called.

    Raises:
        UsageError: If it is no such result, or says something that no trial can be.
    """
    return _measurement(document, origin_of(name))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UsageError(f"there is no file or folder {path}")
    folder = path / _RESULTS if (path / _RESULTS).is_dir() else path
    if not (files := sorted(folder.glob("*.json"))):
        raise UsageError(f"{folder} holds no results (*.json); name a clone of peft or its folder {_RESULTS}")
    return files


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"it cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError):
        raise UsageError("it is not JSON") from None


def _measurement(document: Any, origin: str) -> Measurement:
    try:
        result = _Result.model_validate(document)
    except ValidationError as error:
        raise usage_error(error, _Result, subject="it is no result of the method comparison") from None
    run, train, meta = result.run_info, result.train_info, result.meta_info
    values: dict[str, Any] = {
        **run.train_config.settings(run.peft_config),
        "sequence_length": _mean_length(train),
        "empty_cache_every": _EMPTY_CACHE_EVERY,
        "device": "cuda",
        "sweep": run.experiment_name,
        "measured_at": run.created_at,
        **_facts(meta),
        **_ending(train, run.error_msg),
    }
    if train.status == "success":
        values |= {**_figures(train), "trial_seconds": run.total_time}
    measurement, _ = build_measurement(
        values,
        origin=origin,
        identity=(run.experiment_name, run.created_at.isoformat()),
        fallback_time=run.created_at,
        protocol=_PROTOCOL,
    )
    return measurement


def _facts(meta: _MetaInfo) -> dict[str, Any]:
    versions = {f"{package}_version": meta.package_info.get(f"{package}-version") for package in _PACKAGES}
    build = (versions["torch_version"] or "").partition("+cu")[2]
    return {
        **versions,
        "cuda_version": f"{build[:-1]}.{build[-1]}" if build.isdigit() and len(build) > 1 else None,
        "device_name": meta.system_info.device_name,
        "platform": f"{meta.system_info.system} {meta.system_info.machine}",
    }


def _ending(train: _TrainInfo, message: str) -> dict[str, Any]:
    if train.status == "success":
        return {}
    if "out of memory" in message:
        return {"outcome": "oom", "message": message}
    if train.status == "canceled" and message in ("", "manually canceled"):
        raise UsageError("its run was canceled")
    return {"outcome": "failed", "message": message or None}


def _mean_length(train: _TrainInfo) -> int:
    """Return the mean tokens of a sample, padding left out.

    Raises:
        UsageError: If the result counts no tokens.
    """
    total = next((row for row in reversed(train.metrics) if row.total_tokens), None)
    if total is not None and total.total_tokens and total.train_samples:
        return round(total.total_tokens / total.train_samples)
    windows = [row for row in train.metrics if row.train_seconds and row.tokens_per_second]
    if not windows or not windows[-1].train_samples:
        raise UsageError("it counts no tokens, so the length of its samples is unknown")
    tokens = sum((row.train_seconds or 0) * (row.tokens_per_second or 0) for row in windows)
    return round(tokens / windows[-1].train_samples)


def _figures(train: _TrainInfo) -> dict[str, Any]:
    windows = [row for row in train.metrics if row.train_seconds]
    if not windows:
        raise UsageError("it has no windows of steps, so nothing of its speed")
    starts = [0, *(row.step for row in windows[:-1])]
    steps = [row.step - start for row, start in zip(windows, starts, strict=True)]
    if min(steps) < 1:
        raise UsageError("its windows of steps do not follow one another")
    seconds = [row.train_seconds or 0.0 for row in windows]
    tokens = sum(
        (row.tokens_per_second or 0.0) * row_seconds
        for row, row_seconds in zip(windows, seconds, strict=True)
    )
    allocated = [row.allocated_bytes for row in windows if row.allocated_bytes]
    accuracy = train.metrics[-1].test_accuracy
    return {
        "peak_reserved_bytes": train.peak_reserved_bytes or None,
        "resident_bytes": round(median(allocated)) if allocated else None,
        "step_seconds_median": median(window / count for window, count in zip(seconds, steps, strict=True)),
        "steps_timed": sum(steps),
        "samples_per_second": windows[-1].train_samples / sum(seconds),
        "tokens_per_second_nonpad": tokens / sum(seconds) or None,
        "trainable_parameters": train.num_trainable_params,
        "total_parameters": train.num_total_params,
        "metric_name": None if accuracy is None else "test accuracy",
        "metric_value": accuracy,
        "metric_n": None if accuracy is None else _TEST_SAMPLES,
    }


def _meaning(name: str, value: Any, meanings: Mapping[Any, str]) -> str:
    if value not in meanings:
        known = ", ".join(repr(known) for known in meanings)
        raise UsageError(f"{name} is {shown(value)}; known: {known}")
    return meanings[value]
