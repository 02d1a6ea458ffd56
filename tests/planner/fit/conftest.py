import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """A cache that holds nothing but what the test has put there."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SIZEUP_CACHE", str(folder))
    return folder
