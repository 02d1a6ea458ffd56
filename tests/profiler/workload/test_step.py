"""What a step does: lifetimes, phases, accumulation, precisions, optimizers, checkpointing."""

import contextlib
import weakref
from collections import Counter
from typing import get_args

import pytest
import torch

from profiler.measurement import Phase
from profiler.spec.trial import Optimizer, Precision
from profiler.workload.batches import Batches

COMPUTED = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


class Recorder:
    """A `watch` that calls back when a phase begins, and remembers the phases."""

    def __init__(self, begin=lambda phase: None):
        self.phases = []
        self._begin = begin

    @contextlib.contextmanager
    def __call__(self, phase):
        self.phases.append(phase)
        self._begin(phase)
        yield


def module_named(model, ending):
    return next(module for name, module in model.named_modules() if name.endswith(ending))


@pytest.fixture
def outputs_of():
    """Weak references to all outputs that a workload's model returned."""

    def watch(workload):
        references = []
        workload.model.register_forward_hook(
            lambda _module, _inputs, outputs: references.append(weakref.ref(outputs))
        )
        return references

    return watch


def test_the_trainer_loop_drops_outputs_before_backward(workload, outputs_of):
    made = workload(method="lora", loop="trainer")
    outputs = outputs_of(made)
    alive = {}
    made.step(0, Recorder(lambda phase: alive.setdefault(phase, [ref() is not None for ref in outputs])))
    assert alive == {Phase.FORWARD: [], Phase.BACKWARD: [False], Phase.OPTIMIZER: [False]}
    assert all(parameter.grad is None for parameter in made.model.parameters())


def test_the_raw_loop_keeps_outputs_until_the_next_forward_has_replaced_them(workload, outputs_of):
    made = workload(method="lora", loop="raw")
    outputs = outputs_of(made)
    made.step(0, Recorder())
    assert [ref() is not None for ref in outputs] == [True]
    trained = [parameter for parameter in made.model.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None for parameter in trained)
    seen = {}

    def begin(phase):
        gradients = any(parameter.grad is not None for parameter in trained)
        seen.setdefault(phase, ([ref() is not None for ref in outputs], gradients))

    made.step(1, Recorder(begin))
    assert seen[Phase.FORWARD] == ([True], False)
    assert seen[Phase.BACKWARD] == ([False, True], False)
    assert seen[Phase.OPTIMIZER] == ([False, True], True)


@pytest.mark.parametrize("loop", ["trainer", "raw"])
def test_rest_leaves_no_outputs_and_gradients(loop, workload, outputs_of):
    made = workload(loop=loop)
    outputs = outputs_of(made)
    made.step(0, Recorder())
    made.rest()
    assert [ref() for ref in outputs] == [None]
    assert all(parameter.grad is None for parameter in made.model.parameters())


def test_accumulation_counts_every_micro_batch(workload):
    made, watch = workload(method="lora", gradient_accumulation=3), Recorder()
    counted = made.step(0, watch)
    assert Counter(watch.phases) == {Phase.FORWARD: 3, Phase.BACKWARD: 3, Phase.OPTIMIZER: 1}
    assert watch.phases[-1] is Phase.OPTIMIZER
    assert (counted.samples, counted.tokens, counted.tokens_nonpad) == (6, 96, 93)


def test_accumulated_gradients_are_the_mean_of_the_micro_batches(workload):
    made = workload(gradient_accumulation=2, loop="raw", max_grad_norm=0.0, optimizer="sgd")
    expected = []
    for micro_batch in range(2):
        made.rest()
        batch = Batches(made.spec, made.config).batch(0, micro_batch)
        made.model(**batch.inputs).loss.backward()
        expected.append([parameter.grad.clone() for parameter in made.model.parameters()])
    made.step(0, Recorder())
    for parameter, *parts in zip(made.model.parameters(), *expected, strict=True):
        torch.testing.assert_close(parameter.grad, sum(parts) / 2)


@pytest.mark.parametrize("max_grad_norm", [0.0, 0.01])
def test_gradients_are_clipped_to_the_norm_that_was_asked_for(max_grad_norm, workload):
    made = workload(loop="raw", max_grad_norm=max_grad_norm)
    made.step(0, Recorder())
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in made.model.parameters()])
    assert (norm <= 0.0101) == bool(max_grad_norm)


@pytest.mark.parametrize("precision", get_args(Precision))
@pytest.mark.parametrize("method", ["full", "lora"])
def test_weights_and_activations_have_the_types_of_the_precision(precision, method, workload):
    made = workload(method=method, precision=precision)
    seen = []
    layer = module_named(made.model, "layers.0.mlp.down_proj")
    layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    made.step(0, Recorder())
    weights = torch.float32 if precision.startswith("amp-") else COMPUTED[precision]
    assert layer.weight.dtype == weights
    assert seen == [COMPUTED[precision.removeprefix("amp-")]]
    trained = {parameter.dtype for parameter in made.model.parameters() if parameter.requires_grad}
    assert trained == ({weights} if method == "full" else {torch.float32})


@pytest.mark.parametrize("optimizer", get_args(Optimizer))
def test_every_optimizer_changes_what_is_trained(optimizer, workload, run_step):
    made = workload(method="lora", optimizer=optimizer)
    names = [name for name, parameter in made.model.named_parameters() if parameter.requires_grad]
    before = {name: made.model.get_parameter(name).detach().clone() for name in names}
    for index in range(2):
        run_step(made, index)
    changed = [name for name in names if not torch.equal(before[name], made.model.get_parameter(name))]
    assert any("lora_B" in name for name in changed)
    assert all(made.model.get_parameter(name).isfinite().all() for name in names)


@pytest.mark.parametrize("optimizer", ["adamw", "adamw-8bit", "lion", "adafactor", "sgd"])
def test_an_optimizer_takes_its_states(optimizer, workload, run_step):
    """Bytes per parameter of the large matrices, which bitsandbytes keeps in 8 bits from 4096 elements on."""
    made = workload(method="full", optimizer=optimizer)
    run_step(made)
    weight = made.model.get_parameter("model.embed_tokens.weight")
    state = made.optimizer.state[weight]
    tensors = [value for value in state.values() if isinstance(value, torch.Tensor)]
    held = sum(tensor.nbytes for tensor in tensors if tensor.numel() == weight.numel())
    expected = {"adamw": 8, "adamw-8bit": 2, "lion": 4, "adafactor": 0, "sgd": 0}[optimizer]
    assert held == expected * weight.numel()


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("settings", [{}, {"method": "lora"}, {"method": "lora", "quantization": "nf4"}])
def test_checkpointing_computes_each_layer_twice(reentrant, settings, workload):
    made = workload(gradient_checkpointing="full", reentrant=reentrant, loop="raw", **settings)
    calls = []
    # The first product of the block: recomputing stops after the last tensor that backward needs.
    layer = module_named(made.model, "layers.0.mlp.gate_proj")
    layer.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    made.step(0, Recorder())
    assert calls == [not reentrant, True]
    trained = [parameter for parameter in made.model.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None for parameter in trained)


def test_without_checkpointing_each_layer_is_computed_once(workload, run_step):
    made = workload()
    calls = []
    made.model.model.layers[0].register_forward_hook(lambda *_: calls.append(1))
    run_step(made)
    assert calls == [1]


@pytest.mark.parametrize("attention", ["eager", "sdpa", "sdpa-math"])
def test_attention_is_what_was_asked_for(attention, workload, run_step):
    made = workload(attention=attention)
    assert made.config._attn_implementation == attention.removesuffix("-math")
    run_step(made)


@pytest.mark.parametrize(("use_cache", "keeps"), [(True, True), (False, False)])
def test_the_cache_is_kept_as_asked(use_cache, keeps, workload):
    made = workload(use_cache=use_cache)
    caches = []
    made.model.register_forward_hook(
        lambda _model, _inputs, outputs: caches.append(outputs.past_key_values is not None)
    )
    made.step(0, Recorder())
    assert caches == [keeps]


@pytest.mark.parametrize("method", ["full", "lora"])
def test_evaluation_and_saving_are_phases_that_leave_nothing(method, workload, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made, watch = workload(method=method, evaluation_batch_size=5), Recorder()
    shapes = []
    made.model.register_forward_hook(
        lambda model, _inputs, outputs: shapes.append((model.training, *outputs.logits.shape))
    )
    made.evaluate(watch)
    made.save(watch)
    assert watch.phases == [Phase.EVALUATION, Phase.SAVE]
    assert shapes == [(False, 5, 16, 256)]
    assert made.model.training
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("model", "task", "tokens"),
    [
        ("bert", "sequence-classification", (2, 32, 31)),
        ("llama", "sequence-classification", (2, 32, 31)),
        ("t5", "seq2seq-lm", (2, 32, 31)),
        ("vit", "image-classification", (2, None, None)),
        ("swin", "image-classification", (2, None, None)),
        ("mamba", "causal-lm", (2, 32, 31)),
    ],
)
@pytest.mark.parametrize("method", ["full", "lora"])
def test_every_task_trains(model, task, tokens, method, workload, run_step):
    targets = ["x_proj", "embeddings"] if model == "mamba" else "all-linear"
    options = {"target_modules": targets} if method == "lora" else {}
    made = workload(model, task=task, method=method, method_options=options)
    counted = run_step(made)
    assert (counted.samples, counted.tokens, counted.tokens_nonpad) == tokens
