"""A trace and the real workload on the CPU agree: on what is refused, what is trained, and what stays.

The CPU keeps in host memory what a GPU keeps in its own, tensor for tensor, so that the bytes of everything
that is alive between two steps are known without the engine.
"""

import contextlib
import gc
import re

import pytest
import torch

from estimators.ledger import Owner
from estimators.symbolic.tracer import TraceRequest
from profiler.errors import NotPossibleError, SizeupError, first_line
from profiler.parameters import count_parameters
from profiler.workload import Workload
from tests.estimators.traces import A100
from tests.profiler.workload.test_methods import METHODS, OPTIONS
from tests.tiny_models import CONFIGS

# The sizes of what it trains follow from the values of the weights.
BY_VALUE = {"adamss"}
# Their fixed matrices stay on the host, where each forward takes them from.
ON_HOST = {"boft", "frod"}
# CUDA's decomposition has the right vectors transposed: pieces of them are copies, and views on the CPU.
BY_LAYOUT = {"osf", "psoft"}
# What peft puts anew into a ParameterDict when it moves it: trained on a GPU, and not on the CPU.
TRAINED_WHEN_MOVED = {"adalora": 4}
OPTIMIZERS = ("adamw-fused", "sgd", "rmsprop", "adafactor", "lora-plus", "lora-fa")
QUANTIZED = {
    "int8": {"quantization": "int8"},
    "nf4": {"quantization": "nf4"},
    "nf4-double": {"quantization": "nf4", "double_quant": True},
    "fp4": {"quantization": "fp4"},
    "nf4-unprepared": {"quantization": "nf4", "kbit_prepare": False},
}
LORA = {
    "method": "lora", "precision": "amp-bf16", "gradient_checkpointing": "full",
    "method_options": {"target_modules": "all-linear"},
}  # fmt: skip
SEVERAL = ("gpt2", "bert", "vit", "t5")


@pytest.fixture(autouse=True, scope="module")
def quick():
    """Look for tensors among new objects only, and compute in one thread, for the steps are tiny."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
    torch.set_num_threads(threads)


def really_kept(spec):
    """Return the parameters that are counted, and least and most bytes that stay after the first step.

    The least are those of parameters, buffers and states; the most, those of all tensors that were made since
    (libraries keep tables, and quantised weights their scales). The number of steps is on the host, unless
    the optimizer is fused.
    """
    torch.manual_seed(0)
    before = all_tensors()  # held, so that no new one takes an old one's place
    old = set(storages(before))
    workload = Workload(spec, torch.device("cpu"))
    workload.step(0, lambda _phase: contextlib.nullcontext())
    states = [item for state in workload.optimizer.state.values() for item in state.items()]
    steps = {} if spec.optimizer == "adamw-fused" else storages(v for name, v in states if name == "step")
    named = storages([*workload.model.parameters(), *workload.model.buffers(), *(v for _, v in states)])
    every = storages(all_tensors())
    least = sum(size for place, size in named.items() if place not in steps)
    most = sum(size for place, size in every.items() if place not in steps.keys() | old)
    return count_parameters(workload.model), least, most


def all_tensors():
    gc.collect()
    return [found for found in gc.get_objects() if issubclass(type(found), torch.Tensor)]


def storages(tensors):
    found = (tensor.untyped_storage() for tensor in tensors if isinstance(tensor, torch.Tensor))
    return {storage.data_ptr(): storage.nbytes() for storage in found}


def kept(ledger):
    """Return the bytes that stay at the end, without what the CPU does not have."""
    live = ledger.live_tensors(len(ledger.events) - 1)
    return int(ledger.sizes[live][ledger.owners[live] != Owner.WORKSPACE].sum())


def agrees(spec, result):
    try:
        counts, least, most = really_kept(spec)
    except Exception as error:
        reason = "" if isinstance(error, SizeupError) else f"{type(error).__name__}: "
        expected = reason + first_line(error)
    else:
        expected = None
    if expected is not None:
        assert isinstance(result, NotPossibleError)
        assert words(str(result)) == words(expected)
        return
    assert not isinstance(result, Exception), result
    if spec.method in BY_VALUE:
        assert kept(result) == pytest.approx(most, rel=0.05)
        return
    moved = TRAINED_WHEN_MOVED.get(spec.method, 0)
    counts["trainable_parameters"] += moved
    assert {name: result.facts[name] for name in counts} == counts
    states = 2 * 4 * moved
    if spec.method not in ON_HOST:
        assert least + states <= kept(result)
    assert kept(result) <= (most + states) * (1.1 if spec.method in BY_LAYOUT else 1)


def words(sentence):
    """Return the words in an order of their own: libraries print sets."""
    return sorted(re.findall(r"\w+", sentence))


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
    assert not isinstance(ledgers[method], NotPossibleError)
    agrees(specs[method], ledgers[method])


@pytest.fixture(scope="module")
def adapted(tracer, trial):
    specs = {model: trial(model, **LORA) for model in CONFIGS}
    return specs, results(tracer, specs)


@pytest.mark.parametrize("model", CONFIGS)
def test_every_kind_of_model_with_an_adapter(model, adapted):
    specs, ledgers = adapted
    agrees(specs[model], ledgers[model])


@pytest.mark.parametrize("method", ["full", "head"])
@pytest.mark.parametrize(
    "model", [name if name in SEVERAL else pytest.param(name, marks=pytest.mark.slow) for name in CONFIGS]
)
def test_every_kind_of_model_by_itself(model, method, tracer, trial):
    specs = {model: trial(model, method=method)}
    agrees(specs[model], results(tracer, specs)[model])


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
