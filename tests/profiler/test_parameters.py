import torch

from profiler.parameters import count_parameters
from profiler.spec import TrialSpec
from profiler.workload import Workload
from tests.tiny_models import write_model


def test_packed_weights_count_as_what_they_stand_for(tmp_path):
    plain = Workload(TrialSpec.parse({"model": write_model(tmp_path, "llama")}), torch.device("cpu"))
    packed = Workload(
        TrialSpec.parse({"model": write_model(tmp_path, "llama"), "method": "qlora"}), torch.device("cpu")
    )
    counts = count_parameters(packed.model)
    assert sum(p.numel() for p in packed.model.parameters()) < counts["total_parameters"]
    assert (
        counts["total_parameters"] - counts["trainable_parameters"]
        == count_parameters(plain.model)["total_parameters"]
    )
