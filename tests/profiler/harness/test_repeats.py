"""How much the figures of one spec differ between processes."""

import pytest

from profiler.devices import CpuDevice
from profiler.harness import Harness
from profiler.harness.protocol import MeasurementProtocol
from profiler.measurement import Outcome
from profiler.spec import TrialSpec
from tests.profiler.harness.conftest import SHORT


@pytest.mark.slow
def test_the_memory_of_five_processes_agrees_within_a_percent():
    spec = TrialSpec.parse({"model": "smollm2-135m", "method": "lora", "sequence_length": 32})
    protocol = MeasurementProtocol.parse({**SHORT, "count_flops": False})
    rows = []
    for _ in range(5):
        with Harness(CpuDevice(), protocol) as harness:
            rows.append(harness.measure(spec))
    assert [row.outcome for row in rows] == [Outcome.OK] * 5
    for name in ("peak_process_bytes", "peak_allocated_bytes", "resident_bytes"):
        found = [row.figures[name] for row in rows]
        print(name, found)  # noqa: T201  # shown with -s
        assert max(found) <= 1.01 * min(found), name
    print("step_seconds_median", [row.figures["step_seconds_median"] for row in rows])  # noqa: T201
