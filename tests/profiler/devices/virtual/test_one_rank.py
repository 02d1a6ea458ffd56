"""One process that stands for all ranks of a group."""

import ast
import sys
from pathlib import Path

import pytest

from profiler.devices.virtual import core, one_rank

INSIDE = Path(__file__).parent / "inside"


@pytest.mark.parametrize(("world", "local"), [(1, 1), (2, 2), (8, 8), (12, 12), (64, 8)])
def test_the_variables_are_those_of_rank_0(world, local):
    variables = one_rank.environment_variables(world)
    assert (variables["RANK"], variables["WORLD_SIZE"]) == ("0", str(world))
    assert int(variables["LOCAL_WORLD_SIZE"]) == local
    assert int(variables["GROUP_WORLD_SIZE"]) * local == world


@pytest.mark.parametrize("module", [core, one_rank], ids=lambda module: module.__name__)
def test_it_can_be_loaded_by_path(module):
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) if not node.level}
    roots = {name.partition(".")[0] for name in names}
    assert roots - {"torch"} <= set(sys.stdlib_module_names)


def test_on_a_virtual_gpu(on_virtual_gpu):
    done = on_virtual_gpu("-m", "pytest", "-q", "-p", "no:cacheprovider", str(INSIDE / "ranks.py"))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]


_FULL_FINE_TUNE = """
import os, sys, torch
from profiler.devices.virtual import one_rank, values
world = int(sys.argv[1])
os.environ.update(one_rank.environment_variables(world))
values.install()
one_rank.install(world)
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from transformers import AutoModelForCausalLM, LlamaConfig
torch.distributed.init_process_group("nccl")
config = LlamaConfig(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
                     num_key_value_heads=8, vocab_size=128256, head_dim=128)
with torch.device("meta"):
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
for part in (*model.model.layers, model):
    fully_shard(part, mp_policy=policy)
model.to_empty(device="cuda")
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
for _ in range(2):
    ids = torch.randint(0, 1000, (1, 2048)).cuda()
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
print(sum(parameter.numel() for parameter in model.parameters()), torch.cuda.memory_allocated(),
      torch.cuda.max_memory_allocated())
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.parametrize("world", [8, 64])
def test_a_full_fine_tune_of_8b_on_many_gpus(world, on_virtual_gpu):
    done = on_virtual_gpu("-c", _FULL_FINE_TUNE, str(world), gpu="h100")
    parameters, resident, peak = map(int, done.stdout.split()[-3:])
    # Weights and two states in fp32; in the peak a gradient besides, and what is gathered for one layer.
    assert resident == pytest.approx(12 * parameters / world, rel=0.05, abs=2**28)
    assert 16 * parameters / world < peak < 16 * parameters / world + 20 * 2**30
