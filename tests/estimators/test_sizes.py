"""Ledgers at sizes that were not traced equal those of a trace at them."""

import numpy as np
import pytest

from estimators.sizes import SizeModel, Vary
from estimators.symbolic.tracer import TraceRequest
from profiler.errors import NotPossibleError
from tests.estimators.ledgers import small_ledger
from tests.estimators.traces import A100
from tests.tiny_models import CONFIGS, write_model


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A tiny encoder of 512 positions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CONFIGS, "bert-512", {**CONFIGS["bert"], "max_position_embeddings": 512})
        return write_model(tmp_path_factory.mktemp("bert"), "bert-512")


def same_as_traced(model, spec, tracer, sizes, *, tolerance=0.0):
    """Compare with traces at some (batch size, length)."""
    changed = [spec.with_changes(batch_size=batch, sequence_length=length) for batch, length in sizes]
    traced = tracer.trace_all([TraceRequest(spec=one, target=A100) for one in changed])
    for (batch, length), ledger in zip(sizes, traced, strict=True):
        made = model.ledger(batch_size=batch, sequence_length=length)
        np.testing.assert_array_equal(made.events, ledger.events)
        np.testing.assert_allclose(made.sizes, ledger.sizes, rtol=tolerance)
        np.testing.assert_array_equal(made.owners, ledger.owners)
        assert made.marks == ledger.marks


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "lora", "padding_mask": False},
        {"method": "full", "gradient_checkpointing": "full", "precision": "amp-bf16"},
        {"method": "prompt-tuning", "method_options": {"num_virtual_tokens": 8}},
    ],
    ids=lambda settings: settings["method"],
)
def test_batch_size_and_length(tracer, trial, settings):
    spec = trial(**settings)
    model = SizeModel.of(spec, A100, tracer)
    assert model.vary is Vary.BOTH
    # The backward of embeddings sums whole runs of ten tokens, which no polynomial does.
    tolerance = 0.005 if settings["method"] == "full" else 0.0
    same_as_traced(model, spec, tracer, [(6, 1024), (25, 128)], tolerance=tolerance)


def test_an_encoder_with_a_mask_and_few_positions(tracer, trial, bert):
    spec = trial(bert, method="lora", method_options={"target_modules": ["query", "value"]})
    model = SizeModel.of(spec, A100, tracer)
    same_as_traced(model, spec, tracer, [(26, 128), (9, 384)])


def test_batch_size_alone(tracer, trial):
    spec = trial(method="lora", sequence_length=1000)  # no multiple of what kernels pad to
    model = SizeModel.of(spec, A100, tracer, vary=Vary.BATCH)
    assert model.coefficients.shape == (len(model.at_point.sizes), 2)
    same_as_traced(model, spec, tracer, [(5, 1000), (12, 1000)])


def test_length_alone(tracer, trial):
    spec = trial(method="head", batch_size=8)
    model = SizeModel.of(spec, A100, tracer, vary=Vary.LENGTH)
    assert model.coefficients.shape == (len(model.at_point.sizes), 3)
    same_as_traced(model, spec, tracer, [(8, 512), (8, 1152)])


def test_images_have_a_batch_size(tracer, trial):
    spec = trial("vit", method="full", batch_size=600)
    model = SizeModel.of(spec, A100, tracer, vary=Vary.BATCH)
    same_as_traced(model, spec, tracer, [(700, 16)])


@pytest.mark.parametrize(
    ("model", "settings", "vary", "says"),
    [
        ("llama", {"lengths": [16, 32]}, Vary.BATCH, "varying lengths or an evaluation has no one size"),
        ("llama", {"lengths": {16: 1, 32: 1}}, Vary.BOTH, "varying lengths or an evaluation has no one size"),
        ("llama", {"evaluation_batch_size": 2}, Vary.BATCH, "or an evaluation has no one size"),
        ("vit", {}, Vary.LENGTH, "images have no sequence length"),
        ("vit", {}, Vary.BOTH, "images have no sequence length"),
        ("gpt2", {}, Vary.BOTH, "has 64 positions, fewer than a sequence of"),
        (
            "llama",
            {"method": "freeze", "method_options": {"layers": 3}},
            Vary.BATCH,
            "has 2 layers, fewer than",
        ),
    ],
)
def test_what_has_no_one_size_is_refused(tracer, trial, model, settings, vary, says):
    with pytest.raises(NotPossibleError, match=says):
        SizeModel.of(trial(model, **{"method": "head", **settings}), A100, tracer, vary=vary)


class Tracing:
    """Stands in for a tracer: each request has a ledger whose sizes and events follow from its spec."""

    def __init__(self, events=lambda _batch, _length: [0, 1, ~1]):
        self._events = events
        self.asked = []

    def trace_all(self, requests):
        sizes = [(request.spec.batch_size, request.spec.sequence_length) for request in requests]
        self.asked += sizes
        return [
            small_ledger(
                events=np.array(self._events(*size), dtype=np.int32),
                sizes=np.array([self.bytes_of(*size), 7], dtype=np.int64),
            )
            for size in sizes
        ]

    def bytes_of(self, batch, length):
        raise NotImplementedError


@pytest.mark.parametrize("term", Vary.BOTH.value)
def test_two_traces_tell_which_term_it_is(trial, term):
    class OneTerm(Tracing):
        def bytes_of(self, batch, length):
            return 3 * batch ** term[0] * length ** term[1]

    tracing = OneTerm()
    model = SizeModel.of(trial(), A100, tracing)
    assert len(tracing.asked) == 2
    expected = [0.0] * 6
    expected[Vary.BOTH.value.index(term)] = 3.0
    assert model.coefficients[0].tolist() == expected
    assert model.ledger(batch_size=9, sequence_length=100).sizes.tolist() == [tracing.bytes_of(9, 100), 7]


def test_a_sum_of_terms_takes_as_many_traces_as_there_are(trial):
    class Sum(Tracing):
        def bytes_of(self, batch, length):
            return 5 + 2 * batch * (length + 8) + 3 * batch * length**2

    tracing = Sum()
    model = SizeModel.of(trial(), A100, tracing)
    assert len(set(tracing.asked)) == 6
    for batch, length in ((1, 1), (9, 100), (64, 4096)):
        assert model.ledger(batch_size=batch, sequence_length=length).sizes[0] == tracing.bytes_of(
            batch, length
        )


def test_other_events_at_another_size_are_refused(trial):
    class Unsteady(Tracing):
        def bytes_of(self, batch, length):
            return batch

    tracing = Unsteady(lambda batch, _length: [0] if batch > 300 else [0, 1])
    with pytest.raises(NotPossibleError, match="does not allocate in the same order at all sizes"):
        SizeModel.of(trial(), A100, tracing, vary=Vary.BATCH)
