import io

from planner.cli.progress import TrialProgress
from planner.cli.trial_report import print_trials, verdict
from profiler.measurement import Outcome, Phase, Reason
from profiler.store import Store
from profiler.sweep.plan import PlannedTrial
from tests.factories import measurement, trial_spec


def shown(*rows, quiet=False):
    """What a sweep of these rows writes where there is no terminal."""
    stream = io.StringIO()
    with TrialProgress(len(rows), quiet=quiet, stream=stream) as progress:
        for row in rows:
            progress.started(PlannedTrial(spec=row.spec, repeat=row.repeat), row.attempt)
            progress.event({"event": "phase", "phase": "forward"})
            progress.ended(row)
    return stream.getvalue().splitlines()


def test_a_line_per_trial_without_a_terminal():
    ok = measurement(
        spec=trial_spec(batch_size=2),
        figures={"step_seconds_median": 0.25, "peak_process_bytes": 3 * 2**20},
        step_seconds=(0.25,),
    )
    oom = measurement(
        spec=trial_spec(batch_size=4), outcome=Outcome.OOM, reason=Reason.HOST_OOM, phase=Phase.FORWARD,
        message="no more memory", figures={}, step_seconds=(),
    )  # fmt: skip
    lines = shown(ok, oom)
    assert lines[0].startswith("[1/2] ok")
    assert "0.25 s/step, 3 MiB process" in lines[0]
    assert lines[1].startswith("[2/2] oom")
    assert lines[1].endswith(": no more memory")


def test_a_further_attempt_is_not_another_trial():
    crash = measurement(
        outcome=Outcome.FAILED, reason=Reason.CRASH, phase=Phase.LOAD, message="killed", figures={},
        step_seconds=(),
    )  # fmt: skip
    again = measurement(spec=crash.spec, attempt=2)
    lines = shown(crash, again)
    assert lines[0].startswith("[1/2] failed")
    assert lines[1].startswith("[1/2] ok")


def test_quiet_says_nothing():
    assert shown(measurement(), quiet=True) == []


def stored_rows(tmp_path, *measurements):
    with Store.open(tmp_path / "store.db") as store:
        store.add_many(measurements)
        return store.rows(origins=None)


def test_the_verdict_comes_first_and_says_why(tmp_path):
    (row,) = stored_rows(
        tmp_path,
        measurement(
            outcome=Outcome.OOM, reason=Reason.CUDA_OOM, phase=Phase.BACKWARD, message="CUDA out of memory",
            figures={"oom_requested_bytes": 2**20}, step_seconds=(), device="cuda:0",
        ),
    )  # fmt: skip
    assert verdict(row).startswith("out of memory: ")
    assert "(cuda-oom in backward): CUDA out of memory" in verdict(row)
    stream = io.StringIO()
    print_trials([row], stream=stream)
    lines = stream.getvalue().splitlines()
    assert lines[0] == verdict(row)
    assert any(line.split() == ["oom", "requested", "(MiB)", "1.0"] for line in lines)
    assert "peak" not in stream.getvalue()
