import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import BigInteger, Column, Text, create_engine, inspect

from profiler.measurement import FIGURES, Outcome, Phase, Reason
from profiler.store import Store, migrations, schema
from tests.factories import measurement

VERSION_1 = Path(__file__).with_name("store_version_1.sql")


def tables_of(engine):
    """Everything that makes two databases' tables the same, whatever the order of their columns."""
    found = inspect(engine)
    return {
        table: {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"])
                for column in found.get_columns(table)
            },
            "primary key": found.get_pk_constraint(table)["constrained_columns"],
            "indexes": sorted((index["name"], index["column_names"]) for index in found.get_indexes(table)),
            "unique": sorted(key["column_names"] for key in found.get_unique_constraints(table)),
            "references": sorted(
                (key["constrained_columns"], key["referred_table"], key["referred_columns"])
                for key in found.get_foreign_keys(table)
            ),
        }
        for table in found.get_table_names()
    }


def columns_of(path):
    with closing(sqlite3.connect(path)) as connection:
        return [row[1] for row in connection.execute("PRAGMA table_info(measurements)")]


@pytest.fixture
def old_store(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1.read_text(encoding="utf-8"))
    return path


def test_all_migrations_make_the_tables_of_this_version(path):
    Store.open(path).close()
    live = create_engine("sqlite://")
    schema.metadata.create_all(live)
    migrated = create_engine(f"sqlite:///{path}")
    assert tables_of(migrated) == tables_of(live), (
        "the figures or profiler.store.schema changed: append a migration that brings older stores there, as "
        "profiler.store.migrations says"
    )
    migrated.dispose()


def test_a_store_of_version_1_is_read_as_it_was_written(old_store):
    with Store.open(old_store, must_exist=True) as store:
        first, second, third = store.measurements(origins=None)
    assert first.spec.canonical == {
        "model": "meta-llama/Llama-3.2-1B",
        "task": "causal-lm",
        "method": "lora",
        "method_options": {"r": 8, "target_modules": ["q_proj", "v_proj"]},
        "batch_size": 4,
    }
    assert dict(first.figures) == {
        "peak_reserved_bytes": 5_000_000_000,
        "step_seconds_median": 0.25,
        "throttled": False,
        "metric_name": "accuracy",
        "mfu": 0.4375,
    }
    assert (first.outcome, first.step_seconds) == (Outcome.OK, (0.25, 0.24, 0.26))
    assert first.measured_at == datetime(2026, 1, 31, 12, 0, 0, 250, tzinfo=UTC)
    assert dict(first.protocol) == {"warmup_steps": 3}
    assert dict(first.environment.facts) == {"device_name": "NVIDIA L40S", "torch_version": "2.9.0"}
    assert (second.outcome, second.reason, second.phase) == (Outcome.OOM, Reason.CUDA_OOM, Phase.BACKWARD)
    assert dict(second.figures) == {"oom_requested_bytes": 2_147_483_648}
    assert (second.repeat, second.attempt, second.sweep) == (2, 3, "night")
    assert (third.origin, third.device, third.message) == ("virtual", "virtual:l40s", 'say "no"\nö')


def test_an_old_store_gets_what_was_added_since_and_keeps_its_rows(old_store, monkeypatch):
    def add_humidity(connection):
        migrations.add_columns(
            connection, "measurements", Column("humidity", BigInteger), Column("Remark of all", Text)
        )

    with Store.open(old_store) as store:
        before = list(store.measurements(origins=None))
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, add_humidity))
    added = []
    for repeat in (1, 2):  # the second time there is nothing to migrate
        with Store.open(old_store) as store:
            assert store.info().schema == "add_humidity"
            assert list(store.measurements(origins=None)) == [*before, *added]
            added.append(measurement(repeat=repeat))
            store.add(added[-1])
    assert columns_of(old_store)[-2:] == ["humidity", "Remark of all"]
    with closing(sqlite3.connect(old_store)) as connection:
        humidity = connection.execute('SELECT humidity, "Remark of all" FROM measurements').fetchall()
        names = [name for (name,) in connection.execute("SELECT name FROM sizeup_migrations")]
    assert humidity == [(None, None)] * 5
    assert names == ["initial_tables", "add_humidity"]


def test_a_new_store_has_every_migration_too(path, monkeypatch):
    def add_humidity(connection):
        migrations.add_columns(connection, "measurements", Column("humidity", BigInteger))

    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, add_humidity))
    Store.open(path).close()
    assert "humidity" in columns_of(path)


def test_a_migration_that_fails_leaves_the_store_as_it_was(old_store, monkeypatch):
    def works(connection):
        migrations.add_columns(connection, "measurements", Column("humidity", BigInteger))

    def breaks(connection):
        migrations.add_columns(connection, "specs", Column("colour", Text))
        raise RuntimeError("a bug in a migration")

    before = old_store.read_bytes()
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, works, breaks))
    with pytest.raises(RuntimeError, match="a bug"):
        Store.open(old_store)
    assert old_store.read_bytes() == before


def test_a_migration_that_fails_leaves_no_half_new_store(path, monkeypatch):
    def breaks(connection):
        raise RuntimeError("a bug in a migration")

    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, breaks))
        with pytest.raises(RuntimeError, match="a bug"):
            Store.open(path)
    with Store.open(path) as store:
        store.add(measurement())


def test_a_column_that_old_rows_cannot_fill_is_refused(store):
    with store._writing() as connection, pytest.raises(ValueError, match="must be nullable"):
        migrations.add_columns(connection, "measurements", Column("humidity", BigInteger, nullable=False))


def test_every_figure_is_a_column_of_its_kind():
    for figure in FIGURES.values():
        assert schema.measurements.c[figure.name].type.python_type is figure.kind
