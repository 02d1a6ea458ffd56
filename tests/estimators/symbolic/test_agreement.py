"""A trace and the real workload on the CPU agree: on what is refused, what is trained, and what stays.

The CPU keeps in host memory what a GPU keeps in its own, tensor for tensor, so that the bytes of everything
that is alive between two steps are known without the engine.
"""

import contextlib
import gc

import pytest
import torch

from estimators.ledger import Owner
from estimators.symbolic.tracer import TraceRequest
from profiler.errors import NotPossibleError
from profiler.parameters import count_parameters
from profiler.workload import Workload
from tests.estimators.traces import A100
from tests.profiler.workload.test_methods import METHODS, OPTIONS
from tests.tiny_models import CONFIGS

OPTIMIZERS = ("adamw-fused", "sgd", "rmsprop", "adafactor", "lora-plus", "lora-fa")
QUANTIZED = {
    "int8": {"quantization": "int8"},
    "nf4": {"quantization": "nf4"},
    "nf4-double": {"quantization": "nf4", "double_quant": True},
    "fp4": {"quantization": "fp4"},
    "nf4-unprepared": {"quantization": "nf4", "kbit_prepare": False},
}
TRAININGS = {
    "full": {"method": "full"},
    "head": {"method": "head"},
    "lora": {
        "method": "lora", "precision": "amp-bf16", "gradient_checkpointing": "full",
        "method_options": {"target_modules": "all-linear"},
    },
}  # fmt: skip


def really_kept(spec):
    """Return the parameters that are counted, and the bytes that stay after the first step."""
    torch.manual_seed(0)
    workload = Workload(spec, torch.device("cpu"))
    workload.step(0, lambda _phase: contextlib.nullcontext())
    tensors = [*workload.model.parameters(), *workload.model.buffers()]
    tensors += [value for state in workload.optimizer.state.values() for value in state.values()]
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in tensors
        if isinstance(tensor, torch.Tensor) and not is_count_on_host(tensor)
    }
    counts = count_parameters(workload.model)
    del workload
    gc.collect()
    return counts, sum(storages.values())


def is_count_on_host(tensor):
    """Whether it is the number of steps, which torch's optimizers keep on the host unless they are fused."""
    return tensor.dim() == 0 and tensor.dtype is torch.float32


def kept(ledger):
    """Return the bytes that stay at the end, without what the CPU does not have."""
    live = ledger.live_tensors(len(ledger.events) - 1)
    return int(ledger.sizes[live][ledger.owners[live] != Owner.WORKSPACE].sum())


def agrees(spec, result):
    try:
        counts, stays = really_kept(spec)
    except NotPossibleError as error:
        assert isinstance(result, NotPossibleError)
        assert str(result) == str(error)
        return
    assert not isinstance(result, Exception), result
    assert {name: result.facts[name] for name in counts} == counts
    assert kept(result) == stays


def results(tracer, specs):
    """Trace many at once, as a tracer does it fastest."""
    requests = [TraceRequest(spec=spec, target=A100, steps=1) for spec in specs.values()]
    return dict(zip(specs, tracer.trace_all(requests), strict=True))


@pytest.fixture(scope="module")
def methods(tracer, trial):
    specs = {
        method: trial(method=method, method_options=OPTIONS.get(method, {}), precision="fp32")
        for method in METHODS
    }
    return specs, results(tracer, specs)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_the_installed_peft(method, methods):
    specs, ledgers = methods
    agrees(specs[method], ledgers[method])
    assert not isinstance(ledgers[method], NotPossibleError)


@pytest.fixture(scope="module")
def trainings(tracer, trial):
    specs = {
        (model, name): trial(model, **settings) for model in CONFIGS for name, settings in TRAININGS.items()
    }
    return specs, results(tracer, specs)


@pytest.mark.parametrize("training", TRAININGS)
@pytest.mark.parametrize("model", CONFIGS)
def test_every_kind_of_model(model, training, trainings):
    specs, ledgers = trainings
    agrees(specs[model, training], ledgers[model, training])


@pytest.fixture(scope="module")
def optimizers(tracer, trial):
    specs = {name: trial(method="lora", optimizer=name, precision="fp32") for name in OPTIMIZERS}
    return specs, results(tracer, specs)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_of_torch_transformers_and_peft(optimizer, optimizers):
    specs, ledgers = optimizers
    agrees(specs[optimizer], ledgers[optimizer])


@pytest.fixture(scope="module")
def quantized(tracer, trial):
    specs = {name: trial(method="lora", **settings) for name, settings in QUANTIZED.items()}
    return specs, results(tracer, specs)


@pytest.mark.parametrize("name", QUANTIZED)
def test_every_quantisation(name, quantized):
    specs, ledgers = quantized
    agrees(specs[name], ledgers[name])
