"""Lets huggingface_hub find the files of hollow checkpoints, and ask the hub nothing about them."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .models import HollowModels

# Methods of HfApi that ask the hub about a repository, and whose answer is in no file of it.
_QUESTIONS = (
    "get_paths_info", "get_safetensors_metadata", "list_repo_commits", "list_repo_refs", "list_repo_tree",
    "model_info", "repo_info", "revision_exists",
)  # fmt: skip


def guard_files(module: Any, models: HollowModels) -> None:
    """Act on `huggingface_hub.file_download`."""
    module.hf_hub_download = _downloading(module.hf_hub_download, models)
    module.try_to_load_from_cache = _looking(module.try_to_load_from_cache, models)


def guard_snapshots(module: Any, models: HollowModels) -> None:
    """Act on `huggingface_hub._snapshot_download`."""
    module.snapshot_download = _downloading(module.snapshot_download, models)


def guard_api(module: Any, models: HollowModels) -> None:
    """Act on `huggingface_hub.hf_api`."""
    for name in _QUESTIONS:
        _replace(module, name, _asking(getattr(module.HfApi, name), models))
    _replace(module, "repo_exists", _asking(module.HfApi.repo_exists, models, lambda files: True))
    _replace(module, "list_repo_files", _asking(module.HfApi.list_repo_files, models, list))
    real_look = module.HfApi.file_exists

    @functools.wraps(real_look)
    def file_exists(api: Any, repo_id: Any, filename: Any, **named: Any) -> Any:
        return _asking(real_look, models, lambda files: filename in files)(
            api, repo_id, filename=filename, **named
        )

    _replace(module, "file_exists", file_exists)
    if (real := getattr(module.HfApi, "resolve_revision", None)) is not None:  # not in huggingface_hub 1.x
        _replace(module, "resolve_revision", _resolving(real, models))


def _replace(module: Any, name: str, function: Callable[..., Any]) -> None:
    setattr(module.HfApi, name, function)
    if hasattr(module, name):  # the functions of the package are bound methods, taken when it was imported
        setattr(module, name, getattr(module.api, name))


def _cache(models: HollowModels, repository: Any, named: dict[str, Any]) -> str | None:
    from huggingface_hub.constants import HF_HUB_CACHE

    return models.cache_for(repository, named.get("repo_type"), named.get("cache_dir") or HF_HUB_CACHE)


def _downloading(real: Callable[..., Any], models: HollowModels) -> Callable[..., Any]:
    @functools.wraps(real)
    def download(repo_id: Any, *arguments: Any, **named: Any) -> Any:
        if (cache := _cache(models, repo_id, named)) is None:
            return real(repo_id, *arguments, **named)
        folder = named.pop("local_dir", None)
        for name in ("force_download", "dry_run"):
            named.pop(name, None)
        found = real(
            repo_id, *arguments, **{**named, "cache_dir": cache, "local_files_only": True, "revision": None}
        )
        return found if folder is None else _linked(found, os.fspath(folder))

    return download


def _linked(found: str, folder: str) -> str:
    """Return where a script that wants files in a folder of its own finds them: they are linked there."""
    os.makedirs(folder, exist_ok=True)
    if not os.path.isdir(found):
        return _link(found, os.path.join(folder, os.path.basename(found)))
    for name in os.listdir(found):
        _link(os.path.join(found, name), os.path.join(folder, name))
    return folder


def _link(target: str, path: str) -> str:
    if not os.path.lexists(path):
        os.symlink(os.path.realpath(target), path)
    return path


def _looking(real: Callable[..., Any], models: HollowModels) -> Callable[..., Any]:
    @functools.wraps(real)
    def look(repo_id: Any, filename: Any, cache_dir: Any = None, *arguments: Any, **named: Any) -> Any:
        kind = arguments[1] if len(arguments) > 1 else named.get("repo_type")
        if (cache := _cache(models, repo_id, {"repo_type": kind, "cache_dir": cache_dir})) is None:
            return real(repo_id, filename, cache_dir, *arguments, **named)
        return real(repo_id, filename, cache)

    return look


def _resolving(real: Callable[..., Any], models: HollowModels) -> Callable[..., Any]:
    @functools.wraps(real)
    def resolve(api: Any, repo_id: Any, **named: Any) -> Any:
        if (cache := _cache(models, repo_id, named)) is None:
            return real(api, repo_id, **named)
        return real(api, repo_id, **{**named, "cache_dir": cache, "local_files_only": True, "revision": None})

    return resolve


def _asking(
    real: Callable[..., Any], models: HollowModels, answer: Callable[[Sequence[str]], Any] | None = None
) -> Callable[..., Any]:
    """Return what asks the hub, or for a hollow checkpoint answers from the names of its files."""

    @functools.wraps(real)
    def ask(api: Any, repo_id: Any, *arguments: Any, **named: Any) -> Any:
        if _cache(models, repo_id, named) is None:
            return real(api, repo_id, *arguments, **named)
        if answer is not None:
            return answer(models.files(repo_id))
        from huggingface_hub.errors import OfflineModeIsEnabled

        raise OfflineModeIsEnabled(f"{repo_id} was given hollow by sizeup: the hub is not asked about it")

    return ask
