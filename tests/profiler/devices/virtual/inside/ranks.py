"""One process for all ranks of a group, on a virtual GPU; run by test_one_rank.py."""

import os

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from profiler.devices.virtual import one_rank, values

WORLD = 8


@pytest.fixture(scope="module", autouse=True)
def installed():
    values.install()
    os.environ.update(one_rank.environment_variables(WORLD))
    one_rank.install(WORLD)


@pytest.fixture
def group(request):
    settings = getattr(request, "param", {"backend": "nccl"})
    dist.init_process_group(**settings)
    yield
    dist.destroy_process_group()


def on_gpu(*numbers):
    return torch.tensor(numbers, device="cuda")


@pytest.mark.parametrize(
    "group",
    [
        {},
        {"backend": "nccl", "device_id": torch.device("cuda:0")},
        {"backend": "cpu:gloo,cuda:nccl"},
        {"backend": "gloo"},
        {"backend": "nccl", "init_method": "tcp://10.0.0.1:1", "rank": 0, "world_size": WORLD},
        {"backend": "nccl", "init_method": "file:///no/such/folder/file", "rank": 0, "world_size": WORLD},
    ],
    ids=str,
    indirect=True,
)
def test_every_rendezvous_is_met_at_once(group):
    assert (dist.get_rank(), dist.get_world_size()) == (0, WORLD)
    dist.barrier()
    objects = [None] * WORLD
    dist.all_gather_object(objects, {"a": 1})
    assert objects == [{"a": 1}] * WORLD
    dist.all_reduce(torch.ones(1024, device="cuda"))


def test_objects_end_with_ones_own(group):
    objects = [None] * WORLD
    dist.gather_object("own", objects)
    assert objects == ["own"] * WORLD
    for source in (0, 3):
        sent = ["kept", 3]
        dist.broadcast_object_list(sent, src=source)
        assert sent == ["kept", 3]
    received = [None]
    dist.scatter_object_list(received, list(range(WORLD)))
    assert received == [0]
    dist.monitored_barrier(dist.new_group(backend="gloo"))


def test_integers_are_those_of_ranks_that_hold_the_same(group):
    total, most = on_gpu(3), on_gpu(3)
    dist.all_reduce(total)
    dist.all_reduce(most, op=dist.ReduceOp.MAX)
    assert (total.item(), most.item()) == (3 * WORLD, 3)
    gathered = [on_gpu(0, 0) for _ in range(WORLD)]
    dist.all_gather(gathered, on_gpu(1, 2))
    assert [part.tolist() for part in gathered] == [[1, 2]] * WORLD
    scattered = on_gpu(0, 0)
    dist.reduce_scatter_tensor(scattered, torch.arange(2 * WORLD, device="cuda"))
    assert scattered.tolist() == [0, WORLD]
    counts = torch.zeros(WORLD, dtype=torch.int64, device="cuda")
    dist.all_to_all_single(counts, torch.arange(5, 5 + WORLD, device="cuda"))
    assert counts.tolist() == [5] * WORLD
    pair = on_gpu(3)
    dist.all_reduce(pair, group=dist.new_group([0, 1]))
    assert pair.item() == 6


def test_a_mesh_has_groups_of_its_own_sizes(group):
    mesh = init_device_mesh("cuda", (2, WORLD // 2), mesh_dim_names=("replicate", "shard"))
    value = on_gpu(1)
    dist.all_reduce(value, group=mesh["shard"].get_group())
    assert value.item() == WORLD // 2


def test_ddp_keeps_a_second_copy_of_the_gradients(group):
    layer = torch.nn.Linear(1024, 1024, bias=False, device="cuda")
    before = torch.cuda.memory_allocated()
    parallel = torch.nn.parallel.DistributedDataParallel(layer, device_ids=[0])
    assert torch.cuda.memory_allocated() - before == pytest.approx(layer.weight.nbytes, rel=0.01)
    parallel(torch.ones(4, 1024, device="cuda")).sum().backward()
    assert layer.weight.grad.shape == (1024, 1024)


def test_fsdp_keeps_a_part_of_weights_gradients_and_states(group):
    model = torch.nn.Sequential(*[torch.nn.Linear(1024, 1024, bias=False) for _ in range(4)]).cuda()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    before = torch.cuda.memory_allocated() - 4 * parameters
    for part in (*model, model):
        fully_shard(part, mp_policy=policy)
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(2):
        model(torch.ones(4, 1024, device="cuda")).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    workspaces = 2 * 8_519_680
    kept = torch.cuda.memory_allocated() - before - workspaces
    assert kept == pytest.approx(12 * parameters / WORLD, rel=0.1)
