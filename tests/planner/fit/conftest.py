import pytest

from tests.planner.fit.invented import RESIDUALS


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """A cache that holds nothing but what the test has put there."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SIZEUP_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def residuals(monkeypatch):
    """What the engine was off by, whatever the benchmark last found."""
    monkeypatch.setattr("estimators.memory.memory_residuals", lambda: RESIDUALS)
