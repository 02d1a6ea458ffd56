import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from profiler.errors import StoreError
from profiler.measurement import FIGURES, Environment, Measurement, Outcome, Phase, Reason
from profiler.store import Store, schema
from profiler.store.records import to_record
from tests.factories import measurement, trial_spec

texts = st.text(max_size=12)
whole = st.integers(-(2**63), 2**63 - 1)
real = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | real | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(texts, json_values, max_size=4)
KINDS = {int: whole, float: real | st.integers(-(2**53), 2**53), bool: st.booleans(), str: texts}
specs = st.builds(
    trial_spec,
    model=st.text(min_size=1, max_size=12),
    method_options=json_objects,
    batch_size=st.integers(1, 2**31 - 1),
    lengths=st.none() | st.lists(st.integers(1, 9999), min_size=1, max_size=4),
    use_cache=st.just("auto") | st.booleans(),
    max_grad_norm=st.floats(0, 1e300),
)


@st.composite
def measurements(draw: st.DrawFn) -> Measurement:
    outcome = draw(st.sampled_from(Outcome))
    names = [
        name
        for name in FIGURES
        if outcome is Outcome.OK or not ("peak" in name or name.startswith("step_seconds"))
    ]
    chosen = draw(st.lists(st.sampled_from(names), unique=True, max_size=6))
    offset = draw(st.integers(-720, 720))
    return Measurement(
        spec=draw(specs),
        device=draw(texts),
        environment=Environment(facts=draw(json_objects)),
        outcome=outcome,
        origin=draw(texts),
        reason=None if outcome is Outcome.OK else draw(st.sampled_from(Reason)),
        phase=draw(st.none() | st.sampled_from(Phase)),
        message=draw(st.none() | st.text()),
        repeat=draw(st.integers(1, 99)),
        attempt=draw(st.integers(1, 99)),
        sweep=draw(st.none() | texts),
        protocol=draw(json_objects),
        figures={name: draw(KINDS[FIGURES[name].kind]) for name in chosen},
        step_seconds=tuple(draw(st.lists(real, max_size=5))),
        measured_at=draw(
            st.datetimes(
                min_value=datetime(1, 1, 3),
                max_value=datetime(9999, 12, 29),
                timezones=st.just(timezone(timedelta(minutes=offset))),
            )
        ),
    )


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with Store.open(tmp_path_factory.mktemp("store") / "m.db") as store:
        yield store


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batch=st.lists(measurements(), min_size=1, max_size=4))
def test_what_comes_back_equals_what_was_added(shared, batch):
    shared.add_many(batch)
    ids = {row.id for row in batch}
    found = [row for row in shared.measurements(origins=None) if row.id in ids]
    # Stored floats of whole-number value may have been given as ints; every other type must come back too.
    assert found == sorted(batch, key=lambda row: row.measured_at)
    for stored, given_ in zip(found, sorted(batch, key=lambda row: row.measured_at), strict=True):
        assert stored.spec.key == given_.spec.key
        assert stored.environment.key == given_.environment.key
        assert {name: type(value) for name, value in stored.figures.items()} == {
            name: FIGURES[name].kind for name in given_.figures
        }
        assert type(stored.step_seconds) is tuple
    # Everything that can be stored can be shown.
    assert shared.prune(before=datetime(9999, 12, 31, tzinfo=UTC), dry_run=True) == len(
        shared.frame(origins=None)
    )
    shared.prune(before=datetime(9999, 12, 31, tzinfo=UTC))


def test_a_measurement_without_figures_comes_back_without_figures(store):
    store.add(measurement(figures={}))
    assert dict(next(store.measurements()).figures) == {}


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"figures": {"steps_timed": 1.5}}, "steps_timed must be a whole number, not 1.5"),
        ({"figures": {"steps_timed": True}}, "steps_timed must be a whole number, not True"),
        ({"figures": {"mfu": False}}, "mfu must be a number, not False"),
        ({"figures": {"throttled": 1}}, "throttled must be true or false, not 1"),
        ({"figures": {"metric_name": 3}}, "metric_name must be a text, not 3"),
        ({"figures": {"flops_per_step": 2**63}}, r"flops_per_step must be below 2\^63"),
        ({"figures": {"mfu": 10**400}}, "too large"),
        ({"repeat": 2**63}, r"repeat must be below 2\^63"),
        ({"message": "a\udc80b"}, r"message holds '\\udc80', which is not a character"),
        ({"environment": Environment(facts={"host": "\udc80"})}, "environment holds"),
        ({"step_seconds": (math.nan,)}, "not JSON compliant"),
        ({"measured_at": datetime(2026, 1, 1)}, "measured_at must say its time zone"),
        ({"measured_at": datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))}, "out of range"),
    ],
)
def test_a_value_that_would_not_come_back_is_refused_and_nothing_is_stored(store, fields, complaint):
    with pytest.raises(StoreError, match=complaint):
        store.add_many([measurement(), measurement(**fields)])
    assert store.info().measurements == store.info().specs == 0


def test_adding_the_same_measurement_again_changes_nothing(store):
    row = measurement()
    store.add(row)
    store.add(row)
    report = store.add_many([row, row, measurement()])
    assert (report.added, report.already_there) == (1, 2)
    assert store.info().measurements == 2


def test_an_id_means_one_measurement(store):
    row = measurement(id="x", message="first")
    store.add(row)
    with pytest.raises(StoreError, match="another measurement with the id x is already in the store"):
        store.add_many([measurement(), measurement(id="x", message="second")])
    assert list(store.measurements()) == [row]


def test_two_different_measurements_with_one_id_are_refused_together(store):
    with pytest.raises(StoreError, match="id x"):
        store.add_many([measurement(id="x"), measurement(id="x", repeat=2)])
    assert store.info().measurements == 0


def test_the_database_refuses_a_row_without_its_spec(store):
    record = to_record(measurement())
    with pytest.raises(StoreError, match="FOREIGN KEY"), store._writing() as connection:
        connection.execute(insert(schema.measurements).values(record))
    assert store.info().measurements == 0


def test_specs_and_environments_are_kept_once(store):
    store.add_many([measurement(repeat=repeat) for repeat in range(1, 4)])
    info = store.info()
    assert (info.measurements, info.specs, info.environments) == (3, 1, 1)
    first, second, _ = store.measurements()
    assert first.spec is second.spec
    assert first.environment is second.environment
