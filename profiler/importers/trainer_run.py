"""What a finished run of Hugging Face's Trainer left: its state, and the files next to it.

`trainer_state.json` has the log, with its times and, where the run recorded them, memory figures;
`training_args.bin` the arguments, `adapter_config.json` the method, `config.json` the model, and the model
card in `README.md` the versions. What none of them says has to be stated by whoever imports the run.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from profiler.errors import UsageError
from profiler.importers.adapters import adapter_method
from profiler.importers.fields import build_measurement
from profiler.importers.reading import Reading, RefusedRow, origin_of
from profiler.importers.training_arguments import read_training_arguments
from profiler.trainer_spec import precision_of, settings_of_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import SimpleNamespace

    from profiler.measurement import Measurement

NAME = "trainer-state"

_STATE = "trainer_state.json"
_GIB = 2**30
# What has no default that is true of every run.
_TO_BE_STATED = ("model", "method", "precision", "quantization", "optimizer", "batch_size",
                 "gradient_accumulation", "gradient_checkpointing", "sequence_length", "device")  # fmt: skip
_PROTOCOL = {
    "source": "trainer state",
    "step_seconds": "mean over the run, evaluations left out",
    "sequence_length": "mean, as the run counted tokens",
}
# Lines of the "Framework versions" of model cards that the Trainer and TRL write.
_VERSION = re.compile(r"^- (PEFT|Transformers|Pytorch)[ :]+(\S+)$", flags=re.MULTILINE)
_PACKAGES = {"PEFT": "peft_version", "Transformers": "transformers_version", "Pytorch": "torch_version"}


def read_trainer_run(path: Path, stated: Mapping[str, Any] | None = None, *, name: str = NAME) -> Reading:
    """Read a run's folder, its `trainer_state.json`, or a folder of runs.

    Args:
        path: The folder or file.
        stated: Fields that hold for every run and that its files may not say; they override the files.
        name: What the rows' origin is called.

    Raises:
        UsageError: If there is no state of a Trainer.
    """
    origin = origin_of(name)
    measurements: list[Measurement] = []
    refused: list[RefusedRow] = []
    notes: dict[str, None] = {}
    for state in _states(path):
        run = _run_folder(state)
        try:
            measurement, note = _measurement(state, run, stated or {}, origin)
        except UsageError as error:
            refused.append(RefusedRow(row=run.name, reason=str(error)))
            continue
        measurements.append(measurement)
        notes |= dict.fromkeys(filter(None, note))
    return Reading(
        origin=origin, measurements=tuple(measurements), refused=tuple(refused), notes=tuple(notes)
    )


def _states(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UsageError(f"there is no file or folder {path}")
    if (state := _state_of(path)) is not None:
        return [state]
    states = [state for folder in sorted(path.iterdir()) if folder.is_dir() and (state := _state_of(folder))]
    if not states:
        raise UsageError(f"{path} holds no run: neither it nor a folder in it has a {_STATE}")
    return states


def _state_of(folder: Path) -> Path | None:
    """Return the state of a run's folder; that of its last checkpoint where it has none of its own."""
    if (folder / _STATE).is_file():
        return folder / _STATE
    states = [checkpoint / _STATE for checkpoint in _checkpoints(folder)]
    return next((state for state in states if state.is_file()), None)


def _checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the last one first."""
    found = [path for path in folder.glob("checkpoint-*") if path.name.rpartition("-")[2].isdigit()]
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)


def _run_folder(state: Path) -> Path:
    folder = state.absolute().parent
    return folder.parent if re.fullmatch(r"checkpoint-\d+", folder.name) else folder


def _measurement(
    path: Path, run: Path, stated: Mapping[str, Any], origin: str
) -> tuple[Measurement, list[str | None]]:
    state = _read_json(path)
    folders = list(dict.fromkeys([path.absolute().parent, run, *_checkpoints(run)]))
    log = state.get("log_history")
    if not isinstance(log, list) or not all(isinstance(entry, dict) for entry in log):
        raise UsageError(f"{path} is no state of a Trainer: it has no log_history")
    arguments_file = _find(folders, "training_args.bin")
    arguments = read_training_arguments(arguments_file) if arguments_file else None
    config_file, adapter_file = _find(folders, "config.json"), _find(folders, "adapter_config.json")
    config = _read_json(config_file) if config_file else None
    adapter = _read_json(adapter_file) if adapter_file else None
    values: dict[str, Any] = {
        **_model_settings(config_file, config, adapter),
        **_argument_settings(arguments, config),
        **_versions(folders, adapter, config),
        "sweep": run.name,
        "device": _device(arguments, log),
        **_figures(state, log, arguments),
    }
    values = {**{name: value for name, value in values.items() if value is not None}, **stated}
    values.setdefault("sequence_length", _mean_length(state, log, values))
    missing = [name for name in _TO_BE_STATED if values.get(name) is None]
    if "lengths" in values and "sequence_length" in missing:
        missing.remove("sequence_length")
    if missing:
        raise UsageError(f"its files do not say {', '.join(missing)}; state what is missing with --set")
    measurement, note = build_measurement(
        values,
        origin=origin,
        identity=(run.name, state.get("global_step"), log),
        fallback_time=datetime.fromtimestamp(path.stat().st_mtime, tz=UTC),
        protocol=_PROTOCOL,
    )
    unsaid = None if "attention" in values else "a run's files do not say its attention; auto is recorded"
    return measurement, [note, unsaid]


def _find(folders: Sequence[Path], name: str) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is not JSON") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} must hold an object")
    return content


def _model_settings(
    config_file: Path | None, config: dict[str, Any] | None, adapter: dict[str, Any] | None
) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if adapter is not None:
        method, options = adapter_method(adapter)
        settings = {"method": method, "method_options": options}
        settings["model"] = adapter.get("base_model_name_or_path")
    elif config_file is not None:
        settings["model"] = str(config_file.parent)
    if config is not None:
        settings |= _quantization(config.get("quantization_config"))
    return settings


def _quantization(config: Any) -> dict[str, Any]:
    if not isinstance(config, dict):
        return {"quantization": "none"}
    if config.get("load_in_8bit"):
        return {"quantization": "int8"}
    if config.get("load_in_4bit"):
        return {
            "quantization": config.get("bnb_4bit_quant_type"),
            "double_quant": bool(config.get("bnb_4bit_use_double_quant")),
        }
    raise UsageError(f"quantisation {config.get('quant_method')} is none that a trial can have")


def _argument_settings(arguments: SimpleNamespace | None, config: dict[str, Any] | None) -> dict[str, Any]:
    if arguments is None:
        return {}
    if (arguments.processes or 1) > 1 or (getattr(arguments, "_n_gpu", None) or 1) > 1:
        raise UsageError("the run trained on several devices, which no row of one device can say")
    settings = settings_of_arguments(arguments)
    dtype = config and (config.get("dtype") or config.get("torch_dtype"))
    return settings | ({"precision": precision_of(dtype, arguments)} if dtype else {})


def _versions(
    folders: Sequence[Path], adapter: dict[str, Any] | None, config: dict[str, Any] | None
) -> dict[str, Any]:
    versions = {
        "peft_version": (adapter or {}).get("peft_version"),
        "transformers_version": (config or {}).get("transformers_version"),
    }
    if (card := _find(folders, "README.md")) is not None:
        text = card.read_text(encoding="utf-8", errors="replace")
        versions |= {_PACKAGES[package]: version for package, version in _VERSION.findall(text)}
    return versions


def _device(arguments: SimpleNamespace | None, log: Sequence[Mapping[str, Any]]) -> str | None:
    if arguments is not None and (arguments.use_cpu or arguments.device_type):
        return "cpu" if arguments.use_cpu else str(arguments.device_type)
    return "cuda" if any("mem_gpu" in name for entry in log for name in entry) else None


def _figures(
    state: Mapping[str, Any], log: Sequence[Mapping[str, Any]], arguments: SimpleNamespace | None
) -> dict[str, Any]:
    figures = {**_logged_memory(log), **_metric(state, log, arguments)}
    end = next((entry for entry in reversed(log) if "train_runtime" in entry), None)
    steps = state.get("global_step")
    if end is None or not steps or (arguments is not None and arguments.resume_from_checkpoint):
        return figures  # the time of a part is not that of all steps
    seconds = end["train_runtime"] - sum(entry.get("eval_runtime", 0.0) for entry in log)
    if seconds <= 0:
        raise UsageError("its evaluations take longer than the whole run")
    return {
        **figures,
        "step_seconds_median": seconds / steps,
        "steps_timed": steps,
        "samples_per_second": end.get("train_samples_per_second"),
    }


def _logged_memory(log: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the peaks that the Trainer's memory metrics, or those of axolotl, tell.

    The Trainer logs what was there before it was made, and what each of its stages added and had at its peak
    beyond that (transformers/trainer_utils.py, TrainerMemoryTracker). Axolotl logs GiB since the last line.
    """
    peaks: dict[str, Any] = {}
    for entry in log:
        parts = ("before_init_mem_gpu", "init_mem_gpu_alloc_delta", "train_mem_gpu_alloc_delta",
                 "train_mem_gpu_peaked_delta")  # fmt: skip
        if all(isinstance(entry.get(part), int) for part in parts):
            peaks["peak_allocated_bytes"] = sum(entry[part] for part in parts)
    for key, figure in (
        ("memory/max_allocated (GiB)", "peak_allocated_bytes"),
        ("memory/device_reserved (GiB)", "peak_reserved_bytes"),
    ):
        logged = [float(entry[key]) for entry in log if key in entry]
        if logged and max(logged) > 0:
            peaks[figure] = round(max(logged) * _GIB)
    return peaks


def _metric(
    state: Mapping[str, Any], log: Sequence[Mapping[str, Any]], arguments: SimpleNamespace | None
) -> dict[str, Any]:
    """Return the metric that the best model was chosen by, else the last loss of an evaluation."""
    name = arguments and arguments.metric_for_best_model
    if name and isinstance(state.get("best_metric"), int | float):
        return {"metric_name": name, "metric_value": float(state["best_metric"])}
    losses = [entry["eval_loss"] for entry in log if isinstance(entry.get("eval_loss"), int | float)]
    return {"metric_name": "eval_loss", "metric_value": float(losses[-1])} if losses else {}


def _mean_length(
    state: Mapping[str, Any], log: Sequence[Mapping[str, Any]], values: Mapping[str, Any]
) -> int | None:
    """Return the mean tokens of a sample; None where the run counted no tokens.

    TRL logs `num_tokens`; the Trainer counts `num_input_tokens_seen` when told to.
    """
    counted = [entry["num_tokens"] for entry in log if "num_tokens" in entry]
    tokens = float((counted[-1] if counted else state.get("num_input_tokens_seen")) or 0)
    parts = (state.get("global_step"), values.get("batch_size"), values.get("gradient_accumulation"))
    samples = math.prod(float(part or 0) for part in parts)
    return max(1, round(tokens / samples)) if tokens and samples else None
