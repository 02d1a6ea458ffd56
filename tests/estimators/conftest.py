import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from estimators.symbolic.tracer import Tracer
from profiler.spec import TrialSpec
from tests.estimators.traces import A100
from tests.tiny_models import CONFIGS, write_model

SMALL = {"sequence_length": 16, "batch_size": 2}


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Folders of tiny models, by the names of `tests.tiny_models`."""
    folder = tmp_path_factory.mktemp("models")
    return {name: write_model(folder, name) for name in CONFIGS}


@pytest.fixture(scope="session")
def trial(models):
    """Make a spec of a tiny model: `trial("gpt2", method="lora")`."""

    def make(model="llama", **settings):
        return TrialSpec.parse({"model": models.get(model, model), **SMALL, **settings})

    return make


@pytest.fixture(scope="session")
def tracer(tmp_path_factory):
    """A tracer with a cache of the session."""
    with pytest.MonkeyPatch.context() as patch, Tracer() as made:
        patch.setenv("SIZEUP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield made


@pytest.fixture(scope="session")
def traced(tracer, trial):
    """Trace a tiny model, as `trial` makes specs."""

    def trace(model="llama", *, target=A100, steps=2, **settings):
        return tracer.trace(trial(model, **settings), target, steps=steps)

    return trace


@pytest.fixture(scope="session")
def in_child():
    """Call a function of an importable module in a process of its own, for the device renames torch's."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["estimators.symbolic.trace"])
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()
