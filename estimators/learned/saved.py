"""Files of learned models: data under a signature of this installation, never pickled objects.

A file is a line that names the format, a line with the HMAC-SHA256 of the rest (RFC 2104), and the rest: a
numpy archive of arrays and JSON. The key is made at the first use and stays in the user's data folder, for
the user alone to read. So a file from elsewhere, or one that was changed, is refused before anything of it is
looked into.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import os
import secrets
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import platformdirs

from estimators.cache import replacing
from estimators.learned.state import from_state, to_state
from profiler.errors import SizeupError

if TYPE_CHECKING:
    from pathlib import Path

_FORMAT = b"sizeup learned model 1\n"
_KEY_BYTES = 32


def write_model(path: Path, content: dict[str, Any]) -> None:
    """Write a model, replacing what is there at once.

    Raises:
        OSError: If it, or the key, cannot be written.
    """
    arrays: list[np.ndarray] = []
    text = json.dumps(to_state(content, arrays)).encode()
    buffer = io.BytesIO()
    named = {f"array_{number}": array for number, array in enumerate(arrays)}
    np.savez_compressed(buffer, allow_pickle=False, text=np.frombuffer(text, dtype=np.uint8), **named)
    payload = buffer.getvalue()
    with replacing(path) as file:
        file.write(_FORMAT + _signature(payload, _key()) + b"\n" + payload)


def read_model(path: Path) -> dict[str, Any]:
    """Read a model that this installation wrote.

    Raises:
        SizeupError: If it is not there, is no such file, or was changed or written elsewhere.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SizeupError(f"cannot read the learned model {path}: {error.strerror}") from error
    if not content.startswith(_FORMAT):
        raise SizeupError(f"{path} is not a learned model of this version of sizeup")
    signature, _, payload = content.removeprefix(_FORMAT).partition(b"\n")
    if not hmac.compare_digest(signature, _signature(payload, _key())):
        raise SizeupError(
            f"{path} was changed, or learned by another installation of sizeup: learn again from its store"
        )
    try:
        with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
            text = json.loads(archive["text"].tobytes())
            arrays = [archive[f"array_{number}"] for number in range(len(archive.files) - 1)]
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise SizeupError(f"{path} cannot be read: {error}") from error
    model: dict[str, Any] = from_state(text, arrays)
    return model


def _signature(payload: bytes, key: bytes) -> bytes:
    return hmac.new(key, payload, hashlib.sha256).hexdigest().encode()


def _key() -> bytes:
    """Return the key of this installation, made at the first use."""
    path = platformdirs.user_data_path("sizeup") / "models.key"
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        key = _made(path)
    if len(key) != _KEY_BYTES:
        raise SizeupError(f"{path} is no key of sizeup: delete it, and learn again")
    return key


def _made(path: Path) -> bytes:
    """Make a key; of two processes that do at once, both return that of the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = secrets.token_bytes(_KEY_BYTES)
    temporary = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(made)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return path.read_bytes()
    finally:
        temporary.unlink()
    return made
