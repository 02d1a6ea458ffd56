import pytest

from profiler.devices import CpuDevice
from profiler.harness import Harness
from profiler.harness.protocol import MeasurementProtocol
from profiler.spec import TrialSpec

SHORT = {"warmup_min_steps": 1, "warmup_min_seconds": 0, "timed_min_steps": 6, "timed_min_seconds": 0}
# Warm-up that never settles: the trial runs until something ends it.
ENDLESS = {"warmup_min_steps": 1, "warmup_min_seconds": 600, "warmup_stable_cv": 0}


@pytest.fixture(scope="module", autouse=True)
def own_lock(tmp_path_factory):
    """Tests neither wait for measurements that run on this machine, nor hold them up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def shared():
    """One harness for a module: its process has everything imported."""
    listeners = []

    def tell(event):
        for listener in listeners:
            listener(event)

    with Harness(CpuDevice(), listener=tell) as harness:
        yield harness, listeners


@pytest.fixture
def harness(shared):
    return shared[0]


@pytest.fixture
def measure(shared):
    """Measure with a protocol of its own: `measure(spec, listener=print, timeout_seconds=3)`."""
    harness, listeners = shared

    def run(spec, *, listener=None, **protocol):
        harness.protocol = MeasurementProtocol.parse({**SHORT, **protocol})
        if listener is not None:
            listeners.append(listener)
        try:
            return harness.measure(spec)
        finally:
            listeners.clear()

    return run


@pytest.fixture
def spec(models):
    def make(model="llama", **settings):
        small = {"sequence_length": 16, "batch_size": 2, "precision": "fp32"}
        return TrialSpec.parse({"model": models[model], **small, **settings})

    return make
