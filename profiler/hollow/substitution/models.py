"""Hollow checkpoints made when they are asked for, laid out as in a cache of huggingface_hub.

huggingface_hub's own functions then find them there, offline: a folder `models--OWNER--NAME` with `refs/main`
and `snapshots/COMMIT`.
"""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.gguf")
# Any of these makes a tokenizer; the others of a tokenizer's files only add to one.
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
_PARTS_OF_TOKENIZERS = (
    *_TOKENIZERS, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt",
    "chat_template.jinja",
)  # fmt: skip


class HollowModels:
    """Makes them; each once.

    Args:
        settings: What `profiler.hollow.substitution_settings` returned.
        note: Takes sentences for the report.
    """

    def __init__(self, settings: Mapping[str, Any], note: Callable[[str], None]) -> None:
        self._folder = settings["folder"]
        self._command = settings["command"]
        self._environment = settings["environment"]
        self._known = frozenset(settings["models"])
        self._note = note
        self._made: dict[str, bool] = {}
        self._lock = threading.RLock()

    def cache_for(self, repository: Any, kind: Any, cache: Any) -> str | None:
        """Return the cache in which a repository is found hollow; None if it is not to be substituted.

        Args:
            repository: Its hub id.
            kind: `model`, `dataset` and so on; None is a model.
            cache: The cache that the script would use.
        """
        if kind not in (None, "model") or str(repository).casefold() not in self._known:
            return None
        with self._lock:
            if repository not in self._made:
                self._made[repository] = self._make(str(repository), os.fspath(cache))
            return self._folder if self._made[repository] else None

    def files(self, repository: Any) -> list[str]:
        """Return the names of the files of a repository that was made."""
        return sorted(os.listdir(self._snapshot(str(repository))))

    def _snapshot(self, repository: str) -> str:
        commit = hashlib.sha1(repository.encode(), usedforsecurity=False).hexdigest()  # only looks like one
        return os.path.join(self._folder, _folder_name(repository), "snapshots", commit)

    def _make(self, repository: str, cache: str) -> bool:
        name = _folder_name(repository)
        if _has_weights(os.path.join(cache, name)):
            return False
        place, snapshot = os.path.join(self._folder, name), self._snapshot(repository)
        os.makedirs(snapshot)
        done = subprocess.run(
            [*self._command, repository, snapshot],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            self._note(f"no hollow checkpoint could be made for {repository}: {said[-1]}")
            shutil.rmtree(place)
            return False
        os.makedirs(os.path.join(place, "refs"))
        with open(os.path.join(place, "refs", "main"), "w", encoding="utf-8") as file:
            file.write(os.path.basename(snapshot))
        own = _take_tokenizer(os.path.join(cache, name), snapshot)
        stands_in = not own and os.path.isfile(os.path.join(snapshot, "tokenizer.json"))
        tokens = (
            ", and with a stand-in for its tokenizer, which cuts text into more tokens" if stands_in else ""
        )
        self._note(f"{repository} is not in the local cache: it was given hollow, without weights{tokens}")
        return True


def _folder_name(repository: str) -> str:
    return "models--" + repository.replace("/", "--")  # as huggingface_hub.file_download.repo_folder_name


def _has_weights(place: str) -> bool:
    found = (path for form in _WEIGHTS for path in glob.iglob(os.path.join(place, "snapshots", "*", form)))
    return any(os.path.isfile(path) for path in found)  # a link whose file was deleted is none


def _take_tokenizer(cached: str, snapshot: str) -> bool:
    """Put a tokenizer that is cached without weights in the place of the one made up."""
    for folder in sorted(glob.glob(os.path.join(cached, "snapshots", "*"))):
        if not any(os.path.isfile(os.path.join(folder, name)) for name in _TOKENIZERS):
            continue
        for name in _PARTS_OF_TOKENIZERS:
            if os.path.exists(own := os.path.join(snapshot, name)):
                os.remove(own)
            if os.path.isfile(path := os.path.join(folder, name)):
                shutil.copy(path, own)
        return True
    return False
