"""Where a store is: what the caller says, else `SIZEUP_STORE`, else the user's data folder."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from profiler.errors import StoreError

ENVIRONMENT_VARIABLE = "SIZEUP_STORE"


def find_store(location: str | Path | None = None) -> Path | URL:
    """Return the file or the database server that a location names.

    Args:
        location: A path, an SQLAlchemy URL (whatever has `://` in it), or None for the user's own store.

    Raises:
        StoreError: If it is not a usable path or URL.
    """
    if location is None:
        location = (
            os.environ.get(ENVIRONMENT_VARIABLE) or platformdirs.user_data_path("sizeup") / "measurements.db"
        )
    if isinstance(location, str) and "://" in location:
        return _from_url(location)
    return _from_path(location)


def display_name(place: Path | URL) -> str:
    """Return a place as messages may show it: a password in it is hidden."""
    return str(place) if isinstance(place, Path) else place.render_as_string(hide_password=True)


def _from_url(location: str) -> Path | URL:
    try:
        url = make_url(location)
    except (ArgumentError, ValueError):  # its message repeats the URL, password included
        raise StoreError(
            "the store's URL is not one that SQLAlchemy reads, such as postgresql+psycopg://user@host/database"
        ) from None
    if url.get_backend_name() != "sqlite":
        return url
    if url.query or not url.database or url.database == ":memory:" or "+" in url.drivername:
        raise StoreError(f"a SQLite store is a file: give its path instead of {display_name(url)}")
    return _from_path(url.database)


def _from_path(location: str | Path) -> Path:
    if not str(location) or "\0" in str(location):
        raise StoreError(f"{str(location)!r} is not the path of a store")
    try:
        # SQLite follows links, and keeps its files beside the real one.
        return Path(os.path.realpath(Path(location).expanduser()))
    except RuntimeError:
        raise StoreError(f"{str(location)!r} names the home folder of a user that does not exist") from None
