"""Nothing is sent anywhere: pushes to the Hugging Face Hub and reports to trackers are left out."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from types import ModuleType

    from .events import Events
    from .imports import ImportHooks

# Methods of `HfApi` that change something on the Hub begin so.
_CHANGES = (
    "create_", "upload_", "delete_", "update_", "move_", "add_", "super_squash", "preupload", "permanently_",
    "request_space", "set_space", "restart_space", "pause_", "resume_", "scale_to_zero", "duplicate_",
    "unlike", "comment_", "edit_", "rename_", "merge_", "change_", "hide_", "run_job", "run_uv_job", "sync_",
    "batch_",
)  # fmt: skip


def guard_uploads(imports: ImportHooks, events: Events) -> None:
    """Replace what uploads, once it is imported."""
    imports.after("huggingface_hub.hf_api", functools.partial(_guard_hub, events))
    imports.after("transformers.integrations.integration_utils", functools.partial(_guard_reporters, events))
    imports.after("mlflow", functools.partial(_guard_mlflow, events))


def _guard_hub(events: Events, hub: ModuleType) -> None:
    for name in dir(hub.HfApi):
        if name.startswith(_CHANGES) and callable(getattr(hub.HfApi, name)):
            setattr(hub.HfApi, name, _suppressed(hub, name, getattr(hub.HfApi, name), events))
            if getattr(getattr(hub, name, None), "__self__", None) is hub.api:
                setattr(hub, name, getattr(hub.api, name))


def _suppressed(hub: ModuleType, name: str, real: Callable[..., Any], events: Events) -> Callable[..., Any]:
    @functools.wraps(real)
    def suppressed(self: Any, *arguments: Any, **named: Any) -> Any:
        repository = named.get("repo_id") or next((item for item in arguments if isinstance(item, str)), "")
        events.count("uploads", f"{name} {repository}".strip())
        result = _answer(hub, name, repository)
        return _done(result) if named.get("run_as_future") else result

    return suppressed


def _answer(hub: ModuleType, name: str, repository: str) -> Any:
    """Return what callers go on with."""
    if name == "create_repo":
        return hub.RepoUrl(f"https://huggingface.co/{repository}")
    if name in ("create_commit", "upload_file", "upload_folder", "delete_file", "delete_folder"):
        return hub.CommitInfo(
            commit_url=f"https://huggingface.co/{repository}/commit/{'0' * 40}",
            commit_message="",
            commit_description="",
            oid="0" * 40,
        )
    return None


def _done(result: Any) -> Future[Any]:
    from concurrent.futures import Future

    future: Future[Any] = Future()
    future.set_result(result)
    return future


def _guard_reporters(events: Events, integrations: ModuleType) -> None:
    real = integrations.get_reporting_integration_callbacks

    @functools.wraps(real)
    def no_reporters(report_to: Any) -> list[Any]:
        for callback in real(report_to):
            events.count("reports", callback.__name__.removesuffix("Callback"))
        return []

    integrations.get_reporting_integration_callbacks = no_reporters  # type: ignore[attr-defined]


def _guard_mlflow(events: Events, mlflow: ModuleType) -> None:
    def stay(uri: str) -> None:
        events.count("reports", f"MLflow {uri}")

    for name in ("set_tracking_uri", "set_registry_uri"):
        if hasattr(mlflow, name):
            setattr(mlflow, name, stay)
