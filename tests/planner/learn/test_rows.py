"""Which rows of a store are learned from."""

import pytest

from planner.learn.rows import learning_rows
from profiler.errors import SizeupError, UsageError
from profiler.store import Store
from tests.estimators.learned import world
from tests.factories import environment


def rows_of(path, *, origins=("measured",), where=None, mix=False):
    with Store.open(path) as store:
        return learning_rows(store, origins=origins, where=where, mix_environments=mix)


@pytest.fixture
def two_places(store_of):
    elsewhere = environment(**{**world.FACTS, "device_name": "another processor"})
    return store_of([*world.measured(world.spec()), *world.measured(world.spec(), environment=elsewhere)])


def test_environments_are_not_mixed_unasked(two_places):
    with pytest.raises(UsageError, match=r"the rows are of 2 environments: .*another processor.* 3 rows"):
        rows_of(two_places)
    assert len(rows_of(two_places, mix=True)) == 2
    (chosen,) = rows_of(two_places, where='device_name == "another processor"')
    assert chosen.environment.facts["device_name"] == "another processor"


def test_origins_are_not_mixed_unasked(store_of):
    imported = world.measured(world.spec(batch_size=2), origin="imported:peft")
    path = store_of([*world.measured(world.spec(batch_size=1)), *imported])
    assert [one.spec.batch_size for one in rows_of(path)] == [1]
    assert [one.spec.batch_size for one in rows_of(path, origins=("imported:peft",))] == [2]


def test_a_condition_that_no_row_meets(store_of):
    path = store_of(world.measured(world.spec()))
    with pytest.raises(SizeupError, match=r"no measurement .* meets this"):
        rows_of(path, where="batch_size > 1000")
    with pytest.raises(UsageError):
        rows_of(path, where="no_such_column > 1")
