from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from profiler.measurement import FIGURES, Outcome, Phase, Reason
from profiler.spec import TrialSpec
from profiler.store import Store, selection, table
from tests.factories import environment, measurement, trial_spec

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def messages(found):
    return [row.message for row in found]


def test_rows_come_by_time_of_measurement_then_of_insertion(store):
    later, sooner = NOON + timedelta(seconds=1), NOON.astimezone(tz=None)
    store.add(measurement(message="last", measured_at=later))
    store.add(measurement(message="first", measured_at=sooner, id="z"))
    store.add(measurement(message="second", measured_at=NOON, id="a"))
    assert messages(store.measurements()) == ["first", "second", "last"]
    assert [row["message"] for row in store.rows()] == ["first", "second", "last"]


def test_origins_do_not_mix_unasked(store):
    for origin in ("measured", "virtual", "imported:peft"):
        store.add(measurement(origin=origin, message=origin))
    assert messages(store.measurements()) == ["measured"]
    assert list(store.frame()["origin"]) == ["measured"]
    assert [row["origin"] for row in store.rows()] == ["measured"]
    assert messages(store.measurements(origins=["virtual", "imported:peft"])) == ["virtual", "imported:peft"]
    assert messages(store.measurements(origins=None)) == ["measured", "virtual", "imported:peft"]


def test_a_selection_restricts_by_everything_it_names(store):
    wanted = {
        "device": "cpu",
        "spec": trial_spec(batch_size=7),
        "environment": environment(host_cpu_count=2),
        "sweep": "night",
    }
    store.add(measurement(**wanted, message="this"))
    for name in wanted:
        store.add(measurement(**{key: value for key, value in wanted.items() if key != name}, message=name))
    every = {
        "devices": ["cpu"],
        "spec_keys": {wanted["spec"].key},
        "environment_key": wanted["environment"].key,
        "sweep": "night",
    }
    assert messages(store.measurements(**every)) == ["this"]
    assert messages(store.measurements(**{**every, "devices": None})) == ["this", "device"]
    assert messages(store.measurements(**{**every, "spec_keys": None})) == ["this", "spec"]
    assert messages(store.measurements(**{**every, "environment_key": None})) == ["this", "environment"]
    assert messages(store.measurements(**{**every, "sweep": None})) == ["this", "sweep"]
    assert messages(store.measurements(spec_keys=[])) == []


def test_more_keys_than_a_query_takes_select_the_same(store, monkeypatch):
    monkeypatch.setattr(selection, "_MOST_KEYS", 1)
    rows = [measurement(spec=trial_spec(batch_size=size)) for size in (1, 2, 3)]
    store.add_many(rows)
    assert list(store.measurements(spec_keys=[rows[0].spec.key, rows[2].spec.key])) == [rows[0], rows[2]]


def test_a_text_in_place_of_a_collection_is_a_mistake_that_is_noticed(store):
    with pytest.raises(TypeError, match="origin is selected by a collection"):
        store.rows(origins="measured")


def test_rows_can_be_added_while_others_are_read(store):
    store.add_many([measurement(repeat=repeat) for repeat in range(1, 4)])
    for row in store.measurements():
        store.add(measurement(repeat=row.repeat + 10))
    assert store.info().measurements == 6


def test_a_row_has_the_spec_the_outcome_the_environment_and_the_figures(store):
    row = measurement(
        spec=trial_spec(method_options={"r": 8}, lengths={"128": 2}),
        outcome=Outcome.OOM,
        phase=Phase.BACKWARD,
        figures={"oom_requested_bytes": 0},
        measured_at=NOON,
        sweep="night",
    )
    store.add(row)
    (found,) = store.rows()
    assert list(found)[: 2 + len(TrialSpec.model_fields)] == ["id", "spec_key", *TrialSpec.model_fields]
    assert list(found)[-len(FIGURES) :] == list(FIGURES)
    assert TrialSpec.from_row(found) == row.spec
    assert found["method_options"] == '{"r":8}'
    assert {name: found[name] for name in FIGURES if found[name] is not None} == {"oom_requested_bytes": 0}
    expected = {
        "id": row.id,
        "spec_key": row.spec.key,
        "outcome": "oom",
        "reason": "cuda-oom",
        "phase": "backward",
        "message": None,
        "device": "cuda:0",
        "origin": "measured",
        "repeat": 1,
        "attempt": 1,
        "sweep": "night",
        "measured_at": "2026-01-31T12:00:00.000000+00:00",
        "environment_key": row.environment.key,
        "device_name": "NVIDIA L40S",
        "host_cpu_count": 8,
    }
    assert {name: found[name] for name in expected} == expected


def test_every_row_has_the_facts_of_all_environments(store):
    store.add(measurement(environment=environment(driver_version="580.1")))
    store.add(measurement(environment=environment(allocator_settings={"b": [1], "a": None})))
    first, second = store.rows()
    assert list(first) == list(second)
    assert (first["driver_version"], second["driver_version"]) == ("580.1", None)
    assert (first["allocator_settings"], second["allocator_settings"]) == (None, '{"a":null,"b":[1]}')


def test_a_fact_called_as_another_column_is_kept_apart(store):
    facts = {"device": "a card", "environment_device": "a room", "mfu": "a name", "id": 3}
    store.add(measurement(environment=environment(**facts)))
    (row,) = store.rows()
    assert row["device"] == "cuda:0"
    assert row["environment_device"] == "a room"
    assert row["environment_environment_device"] == "a card"
    assert row["environment_mfu"] == "a name"
    assert row["environment_id"] == 3


def test_no_setting_result_and_figure_share_a_name():
    groups = [{"id", "spec_key"}, set(TrialSpec.model_fields), set(table._RESULT_COLUMNS), set(FIGURES)]
    assert len(set.union(*groups)) == sum(len(group) for group in groups)


def test_an_absent_figure_is_na_in_a_frame_and_never_zero(store):
    store.add(measurement(figures={"peak_reserved_bytes": 2**53 + 1, "throttled": True, "mfu": 1}))
    store.add(measurement(outcome=Outcome.OOM))
    frame = store.frame()
    assert list(frame["peak_reserved_bytes"]) == [2**53 + 1, pd.NA]
    assert list(frame["throttled"]) == [True, pd.NA]
    assert list(frame["mfu"]) == [1.0, pd.NA]
    assert list(frame["reason"]) == [pd.NA, "cuda-oom"]
    assert frame["metric_value"].isna().all()


@pytest.mark.parametrize("rows", [0, 2])
def test_a_frame_has_the_same_types_whatever_it_holds(store, rows):
    store.add_many([measurement(spec=trial_spec(use_cache=True), repeat=1 + row) for row in range(rows)])
    types = {name: str(dtype) for name, dtype in store.frame().dtypes.items()}
    expected = {
        "id": "string",
        "batch_size": "Int64",
        "evaluation_batch_size": "Int64",
        "save": "boolean",
        "max_grad_norm": "Float64",
        "use_cache": "string",
        "lengths": "string",
        "repeat": "Int64",
        "measured_at": "datetime64[us, UTC]",
        "peak_reserved_bytes": "Int64",
        "step_seconds_median": "Float64",
        "throttled": "boolean",
        "metric_name": "string",
    }
    assert {name: types[name] for name in expected} == expected
    assert len(store.frame()) == rows


def test_facts_have_the_type_that_holds_all_their_values(store):
    store.add(measurement(environment=environment(a=1, b=1, c=True, d=1, e=2**70)))
    store.add(measurement(environment=environment(a=2, b=0.5, c=False, d="x")))
    frame = store.frame()
    assert {name: str(frame[name].dtype) for name in "abcde"} == {
        "a": "Int64",
        "b": "Float64",
        "c": "boolean",
        "d": "string",
        "e": "string",
    }
    assert list(frame["d"]) == ["1", "x"]
    assert frame["e"][0] == str(2**70)


def test_a_filtered_table_keeps_its_columns(store):
    store.add_many([measurement(repeat=1), measurement(repeat=2)])
    whole = store.table()
    assert [row["repeat"] for row in whole.where(lambda row: row["repeat"] > 1).rows()] == [2]
    none = whole.where(lambda row: False)
    assert none.columns == whole.columns
    assert none.rows() == []


def test_info_counts_all_origins(path):
    with Store.open(path) as store:
        empty = store.info()
        assert (empty.measurements, empty.first_measured_at, empty.by_outcome) == (0, None, {})
        store.add(measurement(measured_at=NOON))
        store.add(measurement(origin="virtual", device="virtual:l40s", measured_at=NOON + timedelta(days=1)))
        store.add(measurement(reason=Reason.CRASH, environment=environment(n=1), measured_at=NOON))
        info = store.info()
    assert (info.measurements, info.specs, info.environments) == (3, 1, 2)
    assert info.by_outcome == {"ok": 2, "failed": 1}
    assert info.by_origin == {"measured": 2, "virtual": 1}
    assert info.by_device == {"cuda:0": 2, "virtual:l40s": 1}
    assert (info.first_measured_at, info.last_measured_at) == (NOON, NOON + timedelta(days=1))
    assert info.location == str(path)
    assert info.bytes_on_disk >= path.stat().st_size > 0
