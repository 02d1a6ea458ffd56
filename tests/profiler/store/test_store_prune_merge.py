from datetime import UTC, datetime, timedelta

import pytest

from profiler.errors import StoreError, UsageError
from profiler.measurement import Outcome, Reason
from profiler.store import MergeReport, Store
from tests.factories import environment, measurement, trial_spec

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def other(tmp_path):
    with Store.open(tmp_path / "other.db") as opened:
        yield opened


def left(store):
    return [row.message for row in store.measurements(origins=None)]


def test_a_merge_adds_what_is_missing_once(store, other):
    shared = measurement(message="shared")
    store.add_many([shared, measurement(message="ours")])
    theirs = [measurement(message="theirs", spec=trial_spec(batch_size=9)), measurement(origin="virtual")]
    other.add_many([shared, *theirs])
    assert store.merge(other) == MergeReport(added=2, already_there=1)
    merged = list(store.measurements(origins=None))
    assert [row for row in theirs if row not in merged] == []
    assert store.merge(other) == MergeReport(added=0, already_there=3)
    assert store.merge(store) == MergeReport(added=0, already_there=4)
    assert list(store.measurements(origins=None)) == merged
    assert other.info().measurements == 3


def test_a_merge_that_contradicts_adds_nothing(store, other):
    store.add(measurement(id="x", message="one"))
    other.add_many([measurement(message="fine"), measurement(id="x", message="another")])
    with pytest.raises(StoreError, match="id x is already in the store"):
        store.merge(other)
    assert left(store) == ["one"]


def test_a_large_merge_goes_in_batches(store, other):
    rows = [measurement(repeat=1 + number) for number in range(1201)]
    other.add_many(rows)
    store.add_many(rows[:700])
    assert store.merge(other) == MergeReport(added=501, already_there=700)


def test_nothing_is_deleted_without_a_criterion(store):
    store.add(measurement())
    with pytest.raises(UsageError, match="say what to delete"):
        store.prune()
    with pytest.raises(UsageError, match="must say its time zone"):
        store.prune(before=datetime(2026, 1, 1))
    assert store.info().measurements == 1


@pytest.mark.parametrize(
    ("criteria", "deleted"),
    [
        ({"outcomes": [Outcome.OOM]}, ["oom"]),
        ({"outcomes": []}, []),
        ({"reasons": [Reason.CRASH, Reason.CUDA_OOM]}, ["oom", "crash"]),
        ({"sweep": "night"}, ["night", "crash"]),
        ({"before": NOON}, ["old"]),
        (
            {"before": NOON.astimezone() + timedelta(microseconds=1), "outcomes": ["ok"]},
            ["old", "night", "virtual"],
        ),
        ({"origins": ["virtual"]}, ["virtual"]),
        ({"sweep": "night", "reasons": [Reason.CRASH]}, ["crash"]),
    ],
)
def test_what_meets_all_criteria_is_deleted(store, criteria, deleted):
    rows = [
        measurement(message="old", measured_at=NOON - timedelta(microseconds=1)),
        measurement(message="night", measured_at=NOON, sweep="night"),
        measurement(message="oom", measured_at=NOON, outcome=Outcome.OOM),
        measurement(message="crash", measured_at=NOON, reason=Reason.CRASH, sweep="night"),
        measurement(message="virtual", measured_at=NOON, origin="virtual"),
    ]
    store.add_many(rows)
    assert store.prune(**criteria, dry_run=True) == len(deleted)
    assert list(store.measurements(origins=None)) == rows
    assert store.prune(**criteria) == len(deleted)
    assert left(store) == [row.message for row in rows if row.message not in deleted]


def test_specs_and_environments_go_with_their_last_measurement(store):
    shared = {"spec": trial_spec(batch_size=1), "environment": environment(n=1)}
    store.add(measurement(**shared, sweep="gone"))
    store.add(measurement(**shared))
    store.add(measurement(spec=trial_spec(batch_size=2), environment=environment(n=2), sweep="gone"))
    assert store.prune(sweep="gone") == 2
    info = store.info()
    assert (info.measurements, info.specs, info.environments) == (1, 1, 1)
    assert next(store.measurements()).spec == shared["spec"]


def attempts(*, later, **changes):
    """A crash, and another attempt at the same, with some things changed."""
    first = measurement(reason=Reason.CRASH, measured_at=NOON, sweep="night", message="crash")
    fields = {"sweep": "night", "message": "later", "attempt": 2, "measured_at": NOON + later, **changes}
    return [first, measurement(**fields)]


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("rows", "deleted"),
    [
        (attempts(later=HOUR), 1),
        (attempts(later=timedelta(0)), 1),
        (attempts(later=HOUR, outcome=Outcome.OOM), 1),
        (attempts(later=HOUR, reason=Reason.ERROR), 1),
        (attempts(later=HOUR, reason=Reason.INTERRUPTED), 0),
        (attempts(later=-HOUR), 0),
        (attempts(later=HOUR, sweep=None), 0),
        (attempts(later=HOUR, sweep="day"), 0),
        (attempts(later=HOUR, repeat=2), 0),
        (attempts(later=HOUR, device="cuda:1"), 0),
        (attempts(later=HOUR, origin="virtual"), 0),
        (attempts(later=HOUR, spec=trial_spec(batch_size=99)), 0),
        (attempts(later=HOUR, environment=environment(n=2)), 0),
    ],
)
def test_a_failure_is_superseded_by_a_later_end_of_the_same(store, rows, deleted):
    store.add_many(rows)
    assert store.prune(superseded=True) == deleted
    assert left(store).count("later") == 1
    assert left(store).count("crash") == 1 - deleted


def test_attempts_without_a_sweep_supersede_each_other_too(store):
    store.add(measurement(reason=Reason.DEVICE_LOST, measured_at=NOON))
    store.add(measurement(measured_at=NOON + HOUR))
    assert store.prune(superseded=True, before=NOON) == 0
    assert store.prune(superseded=True, before=NOON + HOUR) == 1
