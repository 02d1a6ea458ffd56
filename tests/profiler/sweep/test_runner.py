"""The order of things in a sweep, with a harness that measures nothing."""

from types import SimpleNamespace

import pytest

from profiler.errors import StoreError
from profiler.harness.protocol import MeasurementProtocol
from profiler.measurement import Outcome, Reason
from profiler.store import Store
from profiler.sweep.plan import PlannedTrial, SweepPlan
from profiler.sweep.runner import SweepRunner
from tests.factories import environment, measurement, trial_spec

A, B, C = (trial_spec(sequence_length=length) for length in (128, 256, 512))
SMALL, MIDDLE, LARGE = (trial_spec(batch_size=size) for size in (1, 4, 16))
CRASH = {"outcome": Outcome.FAILED, "reason": Reason.CRASH}
OOM = {"outcome": Outcome.OOM, "reason": Reason.CUDA_OOM}


class FakeHarness:
    """Ends each attempt as it is told to: by a queue of endings for a spec, then always well."""

    def __init__(self, endings=None, *, env=None, protocol=None):
        self.device = SimpleNamespace(name="cuda:0", origin="measured")
        self.environment = env or environment()
        self.protocol = MeasurementProtocol.parse(protocol or {})
        self.endings = {spec: list(queue) for spec, queue in (endings or {}).items()}
        self.measured = []

    def measure(self, spec, *, repeat, attempt, sweep):
        self.measured.append((spec, repeat, attempt))
        queue = self.endings.get(spec)
        ending = queue.pop(0) if queue else {}
        if isinstance(ending, BaseException):
            raise ending
        return self._row(spec, repeat=repeat, attempt=attempt, sweep=sweep, **ending)

    def not_run(self, spec, reason, message, *, repeat=1, attempt=1, sweep=None):
        outcome = Outcome.SKIPPED if reason is Reason.AFTER_OOM else Outcome.FAILED
        return self._row(
            spec, repeat=repeat, attempt=attempt, sweep=sweep, outcome=outcome, reason=reason, message=message
        )

    def _row(self, spec, **content):
        protocol = self.protocol.recorded
        return measurement(spec=spec, environment=self.environment, protocol=protocol, **content)


class Listener:
    def __init__(self):
        self.calls = []

    def started(self, trial, attempt):
        self.calls.append(("started", trial.spec, trial.repeat, attempt))

    def ended(self, row):
        self.calls.append(("ended", row.spec, row.repeat, row.outcome))


def plan_of(*specs, repeats=1):
    trials = tuple(PlannedTrial(spec=spec, repeat=1 + number) for number in range(repeats) for spec in specs)
    return SweepPlan(specs=specs, trials=trials, collapsed=0, left_out=0)


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "measurements.db") as opened:
        yield opened


@pytest.fixture
def runner(store):
    def make(harness, *specs, repeats=1, **settings):
        settings = {"name": "mine", "listener": Listener(), **settings}
        return SweepRunner(plan=plan_of(*specs, repeats=repeats), harness=harness, store=store, **settings)

    return make


def rows(store):
    return [(row.spec, row.repeat, row.attempt, row.outcome) for row in store.measurements()]


def test_trials_run_in_the_order_of_the_plan_and_each_is_kept(runner, store):
    harness = FakeHarness()
    made = runner(harness, A, B, repeats=2)
    report = made.run()
    expected = [(A, 1), (B, 1), (A, 2), (B, 2)]
    assert harness.measured == [(spec, repeat, 1) for spec, repeat in expected]
    assert rows(store) == [(spec, repeat, 1, Outcome.OK) for spec, repeat in expected]
    assert {row.sweep for row in store.measurements()} == {"mine"}
    assert report.endings == {"ok": 4}
    assert (report.already_there, report.has_failures) == (0, False)
    assert made.listener.calls[:3] == [
        ("started", A, 1, 1), ("ended", A, 1, Outcome.OK), ("started", B, 1, 1),
    ]  # fmt: skip


def test_a_row_is_in_the_store_before_it_is_told_of(runner, store):
    class Looking(Listener):
        def ended(self, row):
            assert row.id in {kept.id for kept in store.measurements()}
            super().ended(row)

    made = runner(FakeHarness(), A, B, listener=Looking())
    made.run()
    assert len(made.listener.calls) == 4


def test_a_transient_failure_is_tried_again_and_both_rows_are_kept(runner, store):
    report = runner(FakeHarness({A: [CRASH]}), A, B).run()
    assert rows(store) == [(A, 1, 1, Outcome.FAILED), (A, 1, 2, Outcome.OK), (B, 1, 1, Outcome.OK)]
    assert not report.has_failures


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_it_is_given_up_after_the_retries(retries, runner, store):
    harness = FakeHarness({A: [CRASH] * 9})
    report = runner(harness, A, B, retries=retries).run()
    assert harness.measured == [*((A, 1, attempt) for attempt in range(1, retries + 2)), (B, 1, 1)]
    assert report.has_failures
    assert report.endings == {"failed": retries + 1, "ok": 1}


@pytest.mark.parametrize(
    ("ending", "is_failure"),
    [
        ({"outcome": Outcome.FAILED, "reason": Reason.ERROR}, True),
        ({"outcome": Outcome.TIMEOUT, "reason": Reason.TIME_LIMIT}, True),
        ({"outcome": Outcome.FAILED, "reason": Reason.NOT_POSSIBLE}, False),
        (OOM, False),
    ],
)
def test_what_would_end_the_same_way_is_not_tried_again(ending, is_failure, runner):
    harness = FakeHarness({A: [ending]})
    report = runner(harness, A, B).run()
    assert harness.measured == [(A, 1, 1), (B, 1, 1)]
    assert report.has_failures == is_failure


def test_larger_batches_are_skipped_after_an_oom(runner, store):
    harness = FakeHarness({MIDDLE: [OOM]})
    other = trial_spec(batch_size=16, sequence_length=64)
    report = runner(harness, SMALL, MIDDLE, LARGE, other, repeats=2).run()
    assert [spec for spec, _, _ in harness.measured] == [SMALL, MIDDLE, other, SMALL, MIDDLE, other]
    skipped = [row for row in store.measurements() if row.outcome is Outcome.SKIPPED]
    assert [(row.spec, row.repeat, row.reason) for row in skipped] == [
        (LARGE, 1, Reason.AFTER_OOM), (LARGE, 2, Reason.AFTER_OOM),
    ]  # fmt: skip
    assert skipped[0].message == "the same with batch_size 4 ran out of memory"
    assert not report.has_failures


def test_larger_batches_run_when_asked_to(runner):
    harness = FakeHarness({MIDDLE: [OOM]})
    runner(harness, MIDDLE, LARGE, stop_after_oom=False).run()
    assert [spec for spec, _, _ in harness.measured] == [MIDDLE, LARGE]


def test_resume_remembers_an_oom_of_an_earlier_run(runner, store):
    runner(FakeHarness({MIDDLE: [OOM]}), MIDDLE).run()
    harness = FakeHarness()
    report = runner(harness, SMALL, MIDDLE, LARGE, resume=True).run()
    assert [spec for spec, _, _ in harness.measured] == [SMALL]
    assert report.already_there == 1
    assert report.endings == {"ok": 1, "skipped": 1}


def test_resume_runs_what_is_missing(runner, store):
    with pytest.raises(KeyboardInterrupt):
        runner(FakeHarness({B: [KeyboardInterrupt()]}), A, B, C, repeats=2).run()
    harness = FakeHarness()
    made = runner(harness, A, B, C, repeats=2, resume=True)
    assert len(made.pending(made.earlier())) == 5
    report = made.run()
    assert harness.measured == [(B, 1, 1), (C, 1, 1), (A, 2, 1), (B, 2, 1), (C, 2, 1)]
    assert report.already_there == 1
    again = FakeHarness()
    report = runner(again, A, B, C, repeats=2, resume=True).run()
    assert (again.measured, report.already_there, report.measurements) == ([], 6, ())


@pytest.mark.parametrize(
    ("ending", "is_done"),
    [
        (CRASH, False),
        ({"outcome": Outcome.FAILED, "reason": Reason.DEVICE_LOST}, False),
        ({"outcome": Outcome.FAILED, "reason": Reason.ERROR}, True),
        ({"outcome": Outcome.FAILED, "reason": Reason.NOT_POSSIBLE}, True),
        ({"outcome": Outcome.TIMEOUT, "reason": Reason.TIME_LIMIT}, True),
        (OOM, True),
    ],
)
def test_resume_tries_again_what_may_end_differently(ending, is_done, runner):
    runner(FakeHarness({A: [ending, ending]}), A).run()
    harness = FakeHarness()
    runner(harness, A, resume=True).run()
    assert (harness.measured == []) == is_done


@pytest.mark.parametrize(
    "other",
    [
        {"env": environment(torch_version="2.8.0")},
        {"protocol": {"timed_min_steps": 5}},
    ],
)
def test_resume_does_not_rely_on_rows_measured_otherwise(other, runner):
    runner(FakeHarness(), A).run()
    harness = FakeHarness(**other)
    assert runner(harness, A, resume=True).run().already_there == 0
    assert len(harness.measured) == 1


def test_resume_does_not_rely_on_another_sweep_or_device(runner, store):
    runner(FakeHarness(), A, name="yours").run()
    elsewhere = FakeHarness()
    store.add(measurement(spec=A, device="cuda:1", sweep="mine"))
    store.add(measurement(spec=A, origin="virtual", sweep="mine"))
    assert runner(elsewhere, A, resume=True).run().already_there == 0


def test_a_sweep_without_a_name_relies_on_any_row(runner):
    runner(FakeHarness(), A, name="yours").run()
    assert runner(FakeHarness(), A, name=None, resume=True).run().already_there == 1


def test_without_resume_everything_runs_again(runner, store):
    for _ in range(2):
        assert runner(FakeHarness(), A).run().already_there == 0
    assert len(rows(store)) == 2


def test_ctrl_c_keeps_an_interrupted_row_and_is_raised_on(runner, store):
    harness = FakeHarness({B: [CRASH, KeyboardInterrupt()]})
    made = runner(harness, A, B, C)
    with pytest.raises(KeyboardInterrupt):
        made.run()
    assert harness.measured == [(A, 1, 1), (B, 1, 1), (B, 1, 2)]
    last = list(store.measurements())[-1]
    assert (last.spec, last.attempt, last.outcome, last.reason) == (B, 2, Outcome.FAILED, Reason.INTERRUPTED)
    assert last.message == "ended by the user"
    assert not last.is_finished


def test_a_store_that_takes_no_row_ends_the_sweep(runner, store, monkeypatch):
    def refuse(_row):
        raise StoreError("the disk is full")

    harness = FakeHarness()
    made = runner(harness, A, B)
    monkeypatch.setattr(store, "add", refuse)
    with pytest.raises(StoreError, match="the disk is full"):
        made.run()
    assert harness.measured == [(A, 1, 1)]
