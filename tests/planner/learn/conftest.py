"""A store in which an invented world was measured; nothing is traced."""

import pytest

from profiler.store import Store
from tests.estimators.learned import world
from tests.planner.invented_features import invented_source

InventedSource = invented_source(world.totals)


@pytest.fixture(autouse=True)
def source(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for module in ("learning", "predicting"):
        monkeypatch.setattr(f"planner.learn.{module}.FeatureSource", InventedSource)


@pytest.fixture
def store_of(tmp_path):
    """Return a function that makes a store of measurements and returns its path."""

    def make(measurements):
        path = tmp_path / "measured.db"
        with Store.open(path) as store:
            store.add_many(measurements)
        return path

    return make
