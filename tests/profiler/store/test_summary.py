import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.measurement import Outcome, Reason
from profiler.store.summary import prediction_interval, summarize
from tests.factories import environment, measurement, trial_spec

times = st.lists(st.floats(1e-6, 1e4), min_size=3, max_size=12)


def test_the_interval_is_that_of_the_formula():
    # Logarithms 0, ln 2, ln 4: mean ln 2, s = ln 2; t_{.975,2} = 4.302653 (any table of Student's t).
    reach = 4.302653 * math.log(2) * math.sqrt(4 / 3)
    expected = (2 * math.exp(-reach), 2 * math.exp(reach))
    assert prediction_interval([1, 2, 4]) == pytest.approx(expected, rel=1e-6)


def test_another_level_takes_another_quantile():
    reach = 2.919986 * math.log(2) * math.sqrt(4 / 3)  # t_{.95,2}
    assert prediction_interval([1, 2, 4], level=0.9) == pytest.approx(
        (2 * math.exp(-reach), 2 * math.exp(reach)), rel=1e-6
    )


@pytest.mark.parametrize("medians", [[], [1.0], [1.0, 1.1], [0.0, 1.0, 1.0]])
def test_there_is_none_below_three_processes_or_for_a_time_of_zero(medians):
    assert prediction_interval(medians) is None


@given(times, st.floats(0.01, 100))
def test_it_holds_the_geometric_mean_and_scales_with_the_unit(medians, factor):
    low, high = prediction_interval(medians)
    center = statistics.geometric_mean(medians)
    assert low <= center * (1 + 1e-9)
    assert high >= center * (1 - 1e-9)
    scaled = prediction_interval([median * factor for median in medians])
    assert scaled == pytest.approx((low * factor, high * factor), rel=1e-6)


def figures(seconds, peak_bytes=100, **others):
    return {"step_seconds_median": seconds, "peak_reserved_bytes": peak_bytes, **others}


def summary(store, *measurements):
    store.add_many(measurements)
    return summarize(store.table(origins=None)).rows()


def test_repeats_become_one_row_of_medians(store):
    (row,) = summary(
        store,
        measurement(figures=figures(1.0, 100), repeat=1),
        measurement(figures=figures(4.0, 103, device_busy=True), repeat=2),
        measurement(figures=figures(2.0, 110, device_busy=False), repeat=3),
    )
    assert (row["processes"], row["ok"], row["oom"]) == (3, 3, 0)
    assert row["step_seconds_median"] == 2.0
    assert row["peak_reserved_bytes"] == 103
    assert (row["step_seconds_pi95_low"], row["step_seconds_pi95_high"]) == prediction_interval([1, 4, 2])
    assert row["device_busy"] is True
    assert row["throttled"] is None
    assert row["peak_allocated_bytes"] is None
    assert row["model"] == "meta-llama/Llama-3.2-1B"
    assert row["device_name"] == "NVIDIA L40S"


def test_the_median_of_bytes_is_whole(store):
    (row,) = summary(store, measurement(figures=figures(1.0, 100)), measurement(figures=figures(1.0, 103)))
    assert row["peak_reserved_bytes"] == 102
    assert isinstance(row["peak_reserved_bytes"], int)
    assert row["step_seconds_pi95_low"] is None


def test_failures_are_counted_and_lend_no_figures(store):
    (row,) = summary(
        store,
        measurement(figures=figures(1.0)),
        measurement(outcome=Outcome.OOM, figures={"oom_requested_bytes": 7}),
        measurement(outcome=Outcome.FAILED, reason=Reason.CRASH),
        measurement(outcome=Outcome.SKIPPED),
    )
    assert row["processes"] == 3
    assert [row[outcome] for outcome in Outcome] == [1, 1, 1, 0, 1]
    assert row["step_seconds_median"] == 1.0


@pytest.mark.parametrize(
    "other",
    [
        {"spec": trial_spec(batch_size=4)},
        {"device": "cuda:1"},
        {"environment": environment(torch_version="2.10.0")},
        {"origin": "imported:paper"},
        {"protocol": {"timed_min_steps": 3}},
    ],
)
def test_what_is_not_the_same_is_never_mixed(store, other):
    rows = summary(store, measurement(figures=figures(1.0)), measurement(**other, figures=figures(9.0)))
    assert [row["step_seconds_median"] for row in rows] == [1.0, 9.0]


def test_every_row_has_every_column_of_its_kind(store):
    store.add_many([measurement(), measurement(outcome=Outcome.OOM)])
    table = summarize(store.table())
    for row in table.rows():
        for name, kind in table.columns.items():
            assert row[name] is None or isinstance(row[name], kind), name
    assert len(table.frame()) == 1


def test_an_empty_table_has_the_columns_and_no_rows(store):
    table = summarize(store.table())
    assert table.cells == ()
    assert {"model", "processes", "step_seconds_pi95_low"} <= set(table.columns)
