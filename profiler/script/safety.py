"""Environment variables with which a script's libraries keep to the folder of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

RUN_VARIABLE = "SIZEUP_SCRIPT_RUN"
"""Names the run in the environment of every process that a script starts, so that none is left behind."""

# Caches that compilers and other programs write to, which nothing inside the script can redirect.
_CACHES = (
    "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "TORCH_EXTENSIONS_DIR", "CUDA_CACHE_PATH",
    "NUMBA_CACHE_DIR", "MPLCONFIGDIR", "WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "TRACKIO_DIR",
    "COMET_OFFLINE_DIRECTORY",
)  # fmt: skip

# How each tracker is told to send nothing; from their documentation.
_TRACKERS = {
    "WANDB_MODE": "disabled",
    "WANDB_SILENT": "true",
    "COMET_MODE": "disabled",
    "COMET_START_ONLINE": "0",
    "NEPTUNE_MODE": "debug",
    "SWANLAB_MODE": "disabled",
    "CLEARML_OFFLINE_MODE": "1",
    "DVCLIVE_TEST": "true",
}


def safe_environment(folder: Path) -> dict[str, str]:
    """Return the variables; what the user has set for reading, such as `HF_HOME`, stays.

    Args:
        folder: Of the run.
    """
    return {
        RUN_VARIABLE: str(folder),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1",
        # Xet downloads in Rust, which would write to the user's cache; without it, Python does.
        "HF_HUB_DISABLE_XET": "1",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        **_TRACKERS,
        **{name: str(folder / "caches" / name.lower()) for name in _CACHES},
    }
