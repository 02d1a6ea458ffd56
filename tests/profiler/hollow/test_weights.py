"""Weights of a hollow checkpoint are read without memory, whatever type is asked for."""

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from safetensors import safe_open

from profiler.hollow.folder import MARKER
from profiler.hollow.sparse_file import write_sparse_file
from profiler.hollow.substitution import weights

_GIB = 2**30


@pytest.fixture
def guarded():
    """What transformers reads with, guarded."""

    def materialize(tensor, device=None, dtype=None):
        return tensor[...].to(device=device, dtype=dtype)

    module = SimpleNamespace(safe_open=safe_open, _materialize_copy=materialize)
    weights.guard_reading(module)
    weights.guard_conversion(module)
    return module


@pytest.fixture
def stored(tmp_path):
    """A file of one large weight, one small and one that is a number."""
    path = tmp_path / "model.safetensors"
    tensors = {
        "large": torch.empty(_GIB // 2, 1, dtype=torch.bfloat16, device="meta"),
        "small": torch.empty(2, 3, dtype=torch.int8, device="meta"),
        "number": torch.empty((), dtype=torch.float32, device="meta"),
    }
    write_sparse_file(tensors, path, {"format": "pt"})
    return path


def test_a_file_without_a_marker_is_opened_as_ever(guarded, stored):
    assert type(guarded.safe_open(stored, framework="pt")) is safe_open


def test_a_large_weight_takes_no_memory_in_another_type(guarded, stored):
    (stored.parent / MARKER).touch()
    before = psutil.Process().memory_info().rss
    with guarded.safe_open(stored, framework="pt") as file:
        made = guarded._materialize_copy(file.get_slice("large"), "cpu", torch.float32)
    assert (made.shape, made.dtype, made.device.type) == ((_GIB // 2, 1), torch.float32, "cpu")
    assert psutil.Process().memory_info().rss - before < _GIB / 8
    assert made[-1].item() == 0
    made[5] = 7
    assert made[4:7].tolist() == [[0], [7], [0]]


def test_every_weight_has_its_shape_and_type(guarded, stored):
    (stored.parent / MARKER).touch()
    with guarded.safe_open(stored, framework="pt") as file, safe_open(stored, framework="pt") as plain:
        assert set(file.keys()) == {"large", "small", "number"}
        assert file.metadata() == {"format": "pt"}
        for name in ("small", "number"):
            assert torch.equal(file.get_tensor(name), plain.get_tensor(name))
            assert file.get_tensor(name).dtype == plain.get_tensor(name).dtype
            assert file.get_slice(name).get_shape() == plain.get_slice(name).get_shape()
        assert file.get_slice("small")[:1].shape == (1, 3)
        assert guarded._materialize_copy(file.get_slice("small"), "meta").device.type == "meta"


def test_what_is_no_slice_of_a_hollow_file_is_read(guarded):
    tensor = torch.ones(3)
    assert torch.equal(guarded._materialize_copy(tensor, dtype=torch.float64), tensor.double())


def test_transformers_reads_with_what_is_guarded():
    import transformers.core_model_loading as loading
    import transformers.modeling_utils as modeling

    assert modeling.safe_open is safe_open
    assert "_materialize_copy(tensor, device, dtype)" in Path(loading.__file__).read_text()
