"""The store on a PostgreSQL server: set `SIZEUP_TEST_POSTGRESQL` to the URL of a database to try it in.

Every test works in a schema of its own, which it removes.
"""

import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import BigInteger, Column, create_engine, make_url, text

from profiler.errors import StoreError
from profiler.measurement import Outcome, Reason
from profiler.store import MergeReport, Store, migrations
from tests.factories import environment, measurement, trial_spec

SERVER = os.environ.get("SIZEUP_TEST_POSTGRESQL", "")
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)

pytestmark = pytest.mark.skipif(not SERVER, reason="needs a PostgreSQL server in SIZEUP_TEST_POSTGRESQL")


@pytest.fixture
def run_sql():
    engine = create_engine(SERVER)

    def run(statement):
        with engine.begin() as connection:
            connection.execute(text(statement))

    yield run
    engine.dispose()


@pytest.fixture
def url(run_sql):
    schema = f"test_{uuid.uuid4().hex}"
    run_sql(f"CREATE SCHEMA {schema}")
    yield (
        make_url(SERVER)
        .update_query_dict({"options": f"-csearch_path={schema}"})
        .render_as_string(hide_password=False)
    )
    run_sql(f"DROP SCHEMA {schema} CASCADE")


def test_rows_come_back_equal_and_in_order(url):
    rows = [
        measurement(
            spec=trial_spec(method_options={"r": 8}),
            figures={"flops_per_step": 2**62 + 1, "mfu": 0.1, "throttled": True, "metric_name": "é"},
            message='say "no"\n😀',
            step_seconds=(0.1, 1e-300),
            measured_at=NOON,
        ),
        measurement(outcome=Outcome.OOM, measured_at=NOON, sweep="night"),
        measurement(measured_at=NOON - timedelta(microseconds=1)),
    ]
    with Store.open(url) as store:
        assert store.add_many(rows) == MergeReport(added=3, already_there=0)
        store.add(rows[0])
    with Store.open(url, must_exist=True) as store:
        assert list(store.measurements()) == [rows[2], rows[0], rows[1]]
        assert [row["id"] for row in store.rows(sweep="night")] == [rows[1].id]
        info = store.info()
        assert (info.measurements, info.bytes_on_disk, info.schema) == (3, None, "initial_tables")
        assert (info.first_measured_at, info.last_measured_at) == (NOON - timedelta(microseconds=1), NOON)
        with pytest.raises(StoreError, match="another measurement with the id"):
            store.add(measurement(id=rows[0].id))
        with pytest.raises(StoreError, match="NUL"):
            store.add(measurement(message="a\0b"))


def test_a_store_that_must_exist_is_not_made(url):
    for _ in range(2):
        with pytest.raises(StoreError, match="there is no store at postgresql"):
            Store.open(url, must_exist=True)


def test_a_database_of_something_else_is_refused(url, run_sql):
    schema = url.rsplit("%3D", 1)[1]
    run_sql(f"CREATE TABLE {schema}.orders (id int)")
    with pytest.raises(StoreError, match=r"is not a sizeup store: it holds other tables \(orders\)"):
        Store.open(url)


def test_an_old_store_is_migrated(url, monkeypatch):
    def add_humidity(connection):
        migrations.add_columns(connection, "measurements", Column("humidity", BigInteger))

    def breaks(connection):
        migrations.add_columns(connection, "measurements", Column("mist", BigInteger))
        raise RuntimeError("a bug in a migration")

    with Store.open(url) as store:
        store.add(measurement(message="old"))
    first = migrations.MIGRATIONS
    monkeypatch.setattr(migrations, "MIGRATIONS", (*first, add_humidity, breaks))
    with pytest.raises(RuntimeError, match="a bug"):
        Store.open(url)
    monkeypatch.setattr(migrations, "MIGRATIONS", (*first, add_humidity))
    with Store.open(url) as store:
        assert [row.message for row in store.measurements()] == ["old"]
        assert store.info().schema == "add_humidity"
    monkeypatch.setattr(migrations, "MIGRATIONS", first)
    with pytest.raises(StoreError, match=r"newer sizeup \(it has add_humidity\)"):
        Store.open(url)


def test_writers_that_start_at_once_all_succeed(url):
    def write(name):
        with Store.open(url) as store:
            for number in range(10):
                store.add(measurement(sweep=name, spec=trial_spec(batch_size=1 + number)))

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(write, "abcd"))
    with Store.open(url, must_exist=True) as store:
        info = store.info()
        assert (info.measurements, info.specs, info.environments) == (40, 10, 1)


def test_stores_merge_and_prune_across_databases(url, path):
    with Store.open(path) as local, Store.open(url) as server:
        local.add_many([measurement(reason=Reason.CRASH, measured_at=NOON), measurement(origin="virtual")])
        local.add(measurement(measured_at=NOON + timedelta(hours=1), environment=environment()))
        assert server.merge(local) == MergeReport(added=3, already_there=0)
        assert local.merge(server) == MergeReport(added=0, already_there=3)
        assert server.prune(superseded=True, dry_run=True) == 1
        assert server.prune(superseded=True) == 1
        assert server.prune(origins=["measured", "virtual"]) == 2
        assert (server.info().specs, server.info().environments) == (0, 0)
