"""A store in which an invented world was measured; nothing is traced."""

import pytest

from estimators.features import feature_row
from profiler.errors import NotPossibleError
from profiler.store import Store
from tests.estimators.learned import world


class InventedSource:
    """Stands for `estimators.features.FeatureSource`."""

    def __init__(self, tracer, **_options):
        pass

    def rows(self, asked):
        return [
            NotPossibleError("there are 4096 positions")
            if spec.sequence_length > 4096
            else feature_row(spec, place, world.totals(spec))
            for spec, place in asked
        ]


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
