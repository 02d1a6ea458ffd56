"""Integers and booleans on a virtual L40S; run by test_values.py in a process that has one."""

import gc
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.devices.procfs import status_bytes
from profiler.devices.virtual.values import host, install, notes
from tests.profiler.devices.virtual.inside.conftest import forget
from tests.tiny_models import CONFIGS

MIB = 2**20
DTYPES = (torch.bool, torch.uint8, torch.int16, torch.int32, torch.int64)


def peak_of(run):
    """Return the bytes at the peak of a run above those before it, workspaces of libraries included."""
    gc.collect()
    torch._C._cuda_clearCublasWorkspaces()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated() - before


def train():
    """Train a small Llama for two steps, in which no value decides a shape."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(**CONFIGS["llama"])
    settings = {"dtype": torch.bfloat16, "attn_implementation": "eager"}  # else the mask decides
    model = AutoModelForCausalLM.from_config(config, **settings).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), fused=False)
    ids = torch.randint(1, 100, (2, 24)).cuda()
    for _ in range(2):
        model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def operate():
    """Run operators that take buffers of their own."""
    integers = torch.zeros(64, 300, dtype=torch.long, device="cuda")
    floats = torch.zeros(64, 300, device="cuda")
    for tensor in (integers, floats):
        tensor.sort(dim=-1)
        tensor.topk(7)
        tensor.t().contiguous().cumsum(0)
        tensor.sum(0), tensor.amax(), tensor.to(torch.int32), tensor.eq(0).any(-1)
    floats.index_put_((integers[0, :5],), floats[0].clone())
    integers.scatter_add_(0, integers.clone(), integers.clone())
    torch.nonzero(integers)


@pytest.fixture(autouse=True, scope="module")
def nothing_held():
    """What a test leaves does not matter to the next."""
    yield
    forget()


@pytest.fixture(scope="module")
def without():
    """The peaks of the two, taken before anything computes."""
    assert not install.cache_info().currsize
    return [peak_of(run) for run in (train, operate)]


@pytest.fixture(scope="module")
def installed(without):
    return install()


@pytest.fixture(autouse=True)
def handle(installed):
    installed.forget_notes()
    return installed


def test_memory_is_what_it_is_without(without):
    assert [peak_of(run) for run in (train, operate)] == without


def test_there_is_no_mode_and_one_handle(handle):
    assert torch._C._len_torch_dispatch_stack() == 0
    assert install() is handle


FEW_DIMENSIONS = st.integers(0, 3)


@st.composite
def integers(draw, dims=FEW_DIMENSIONS, dtypes=DTYPES):
    """Draw a tensor and one of its views: the same of both devices."""
    shape = draw(st.lists(st.integers(0, 5), min_size=(dim := draw(dims)), max_size=dim))
    dtype = draw(st.sampled_from(dtypes))
    high = 2 if dtype == torch.bool else 9
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    values = torch.randint(0, high, shape, generator=generator).to(dtype)
    kind = draw(st.sampled_from(["plain", "transposed", "strided", "expanded"]))
    if dim and kind == "transposed":
        return values.transpose(0, -1), values.cuda().transpose(0, -1)
    if dim and kind == "strided":
        return values[1::2], values.cuda()[1::2]
    if kind == "expanded":
        return values[None].expand(2, *shape), values.cuda()[None].expand(2, *shape)
    return values, values.cuda()


OPERATORS = {
    "arithmetic": lambda x: (x * 3 - x.long() + 1, x // 2, x % 3, x**2, 5 - x.int(), x.float() * 2),
    "compare": lambda x: (x == 1, x != x.flatten()[:1].sum(), x > 2.5, ~(x <= 3), x.isnan()),
    "reduce": lambda x: (x.sum(), x.any(), x.all(), x.count_nonzero(), x.bool().sum(-1), x.long().cumsum(-1)),
    "clone": lambda x: (x.clone(), x.contiguous(), x.to(torch.int32), x.long().masked_fill(x > 3, -100)),
    "nonzero": lambda x: (x.nonzero(), *x.nonzero(as_tuple=True), torch.argwhere(x > 2)),
    "select": lambda x: (x[x > 1], x.masked_select(x > 1), x[..., :1], torch.where(x > 1, x, 7)),
    "unique": lambda x: torch.unique(x, return_inverse=True, return_counts=True),
    "consecutive": lambda x: torch.unique_consecutive(x, return_inverse=True, return_counts=True),
    "sort": lambda x: (x.sort(dim=-1, stable=True), x.argsort(dim=-1, descending=True, stable=True)),
    "shape": lambda x: (torch.cat([x, x], -1), torch.stack([x, x]), x.flip(-1), x.repeat(*[2] * x.dim())),
    "pad": lambda x: (torch.nn.functional.pad(x, (1, 2), value=1), x.roll(1, -1), x.tile(2), x.diff(dim=-1)),
    "in place": lambda x: (x.clone().fill_(1), x.clone().zero_(), x.clone().mul_(2),
                           x.clone().index_fill_(0, x.new_zeros(min(1, x.shape[0]), dtype=torch.long), 3)),
    "put": lambda x: (put(x, x > 1, 4), put(x, x > 1, x[x > 1]),
                      x.scatter(-1, x.long() % max(x.shape[-1], 1), x)),
    "histogram": lambda x: (x.flatten().bincount(), torch.nn.functional.one_hot(x.long(), 9)),
    "repeat": lambda x: x.flatten().repeat_interleave(x.flatten().long()),
    "gather": lambda x: (x.gather(-1, x.long() % max(x.shape[-1], 1)),
                         x.flatten().index_select(0, x.new_zeros(2, dtype=torch.long)) if x.numel() else x),
}  # fmt: skip


def put(tensor, mask, values):
    result = tensor.clone()
    result[mask] = values
    return result


def outcome(operator, tensor):
    """Return what an operator gives, flattened, or that it refuses."""
    try:
        results = operator(tensor)
    except (RuntimeError, IndexError):
        return None
    return torch.utils._pytree.tree_leaves(results)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@settings(max_examples=30, deadline=None)
@given(pair=integers())
def test_an_operator_gives_what_the_cpu_gives(operator, pair):
    expected, found = (outcome(operator, tensor) for tensor in pair)
    if expected is None or found is None:
        assert found is expected
        return
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        if ours.dtype in host.INTEGERS:
            assert torch.equal(ours.cpu(), theirs)
    assert not [note for note in install().notes() if note.startswith("integers of")]


@settings(max_examples=50, deadline=None)
@given(pair=integers(), dtype=st.sampled_from(DTYPES))
def test_copies_between_host_and_gpu_are_carried_out(pair, dtype):
    here, there = pair
    assert torch.equal(there.cpu(), here)
    assert there.tolist() == here.tolist()
    assert torch.equal(there.to("cpu", dtype), here.to(dtype))
    assert torch.equal(here.to("cuda", dtype).cpu(), here.to(dtype))
    assert torch.equal(there.to("cpu", torch.float32), here.float())


def test_boolean_indices_of_floating_point_data_have_their_shapes():
    mask = torch.tensor([[1, 0, 1], [0, 1, 1]], device="cuda").bool()
    data = torch.randn(2, 3, 7, device="cuda", requires_grad=True)
    picked = data[mask]
    assert (picked.shape, picked.stride()) == ((4, 7), (7, 1))
    assert data[..., 0].masked_select(mask).shape == (4,)
    assert torch.zeros(2, 3, device="cuda").masked_scatter(mask, data.flatten()).shape == (2, 3)
    picked.sum().backward()
    assert data.grad.shape == data.shape
    assert torch.repeat_interleave(data[0, :, 0], torch.tensor([3, 0, 2], device="cuda")).shape == (5,)


def test_the_result_of_nonzero_is_laid_out_as_on_a_gpu():
    found = torch.ones(3, 4, device="cuda", dtype=torch.bool).nonzero()
    assert (found.shape, found.stride()) == ((12, 2), (1, 12))


def test_a_loss_over_the_labels_that_count():
    labels = torch.tensor([[-100, 3, 4], [5, -100, -100]]).cuda()
    logits = torch.randn(2, 3, 11, device="cuda", requires_grad=True)
    kept = labels != -100
    loss = torch.nn.functional.cross_entropy(logits[kept], labels[kept])
    loss.backward()
    assert logits[kept].shape == (3, 11)
    assert labels[kept].tolist() == [3, 4, 5]
    assert logits.grad.shape == logits.shape


def test_backward_and_other_threads_compute():
    counts, threads = [], set()

    class Count(torch.autograd.Function):
        @staticmethod
        def forward(ctx, data, mask):
            ctx.save_for_backward(mask)
            return data.clone()

        @staticmethod
        def backward(ctx, gradient):
            (mask,) = ctx.saved_tensors
            counts.append((mask.sum().item(), gradient[mask].shape[0], (mask & True).nonzero().shape[0]))
            threads.add(threading.get_ident())
            return gradient, None

    mask = torch.arange(40, device="cuda") % 3 == 0
    Count.apply(torch.zeros(40, device="cuda", requires_grad=True), mask).sum().backward()
    assert counts == [(14, 14, 14)]
    assert threading.get_ident() not in threads

    def add(number):
        sums[number] = sum((torch.arange(number, device="cuda") + 1).sum().item() for _ in range(50))

    sums = {}
    workers = [threading.Thread(target=add, args=(number,)) for number in range(1, 5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sums == {number: 50 * number * (number + 1) // 2 for number in range(1, 5)}


def test_batches_of_a_loader_with_a_worker():
    rows = [torch.arange(length) for length in (3, 5, 2)]

    def collate(batch):
        return torch.nn.utils.rnn.pad_sequence(batch, batch_first=True, padding_value=-1)

    loader = torch.utils.data.DataLoader(
        rows, batch_size=3, num_workers=1, collate_fn=collate, pin_memory=True, multiprocessing_context="fork"
    )
    (batch,) = (batch.to("cuda", non_blocking=True) for batch in loader)
    assert (batch >= 0).sum(-1).tolist() == [3, 5, 2]


@pytest.mark.parametrize(("padded", "is_masked"), [(0, False), (4, True)])
def test_padding_decides_which_attention_runs(padded, is_masked, monkeypatch):
    from transformers import AutoConfig, AutoModelForCausalLM

    seen, attend = [], torch.nn.functional.scaled_dot_product_attention

    def see(*arguments, attn_mask=None, **options):
        seen.append((attn_mask is not None, options["is_causal"]))
        return attend(*arguments, attn_mask=attn_mask, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", see)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**CONFIGS["llama"]), dtype=torch.bfloat16)
    ids = torch.randint(1, 100, (2, 24))
    mask = torch.ones_like(ids)
    mask[0, 24 - padded :] = 0
    model.cuda()(input_ids=ids.cuda(), attention_mask=mask.cuda())
    assert set(seen) == {(is_masked, not is_masked)}


def test_choices_by_floating_point_data_take_turns(handle):
    scores = torch.randn(8, 4, device="cuda")
    for chosen in (
        scores.topk(2).indices,
        scores.topk(1, largest=False, sorted=False).indices,
        scores.sort(descending=True).indices[:, :2],
        scores.argmax(-1),
        scores.max(-1).indices,
        torch.multinomial(scores.softmax(-1), 2),
        scores.t().topk(2, dim=0).indices,
    ):
        assert chosen.flatten().bincount(minlength=4).tolist() == [chosen.numel() // 4] * 4
    chosen = scores.topk(3).indices.tolist()
    assert all(len(set(row)) == 3 for row in chosen)
    assert torch.randn(5, device="cuda").sort().indices.tolist() == [0, 1, 2, 3, 4]
    assert scores.argmax().item() == 0
    assert notes.CHOSEN in handle.notes()


@pytest.mark.parametrize("experts", ["grouped_mm", "eager"])
@pytest.mark.parametrize("family", ["mixtral", "qwen2_moe", "qwen3_moe"])
def test_experts_get_as_many_tokens_each(family, experts, handle):
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "vocab_size": 64}
    sizes |= {"num_attention_heads": 2, "num_key_value_heads": 2, "num_experts_per_tok": 2}
    sizes |= (
        {"num_local_experts": 8} if family == "mixtral" else {"num_experts": 8, "moe_intermediate_size": 16}
    )
    config = AutoConfig.for_model(family, **sizes)
    model = AutoModelForCausalLM.from_config(
        config, dtype=torch.bfloat16, experts_implementation=experts
    ).cuda()
    routed = []
    for name, module in model.named_modules():
        if name.endswith("experts"):
            module.register_forward_pre_hook(lambda module, arguments: routed.append(arguments[1]))
    ids = torch.randint(1, 60, (2, 16)).cuda()
    model(input_ids=ids, labels=ids).loss.backward()
    assert [chosen.flatten().bincount().tolist() for chosen in routed] == [[8] * 8]
    assert handle.notes() == (notes.CHOSEN,)
    assert all(p.grad is not None for name, p in model.named_parameters() if "experts" in name)


def test_a_gradient_scaler_skips_no_step(handle):
    layer = torch.nn.Linear(4, 4, device="cuda")
    scaler, steps = torch.amp.GradScaler("cuda"), []
    optimizer = torch.optim.SGD(layer.parameters(), foreach=False)
    optimizer.register_step_post_hook(lambda *_: steps.append(1))
    with torch.autocast("cuda", torch.float16):
        loss = layer(torch.zeros(2, 4, device="cuda")).sum()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    assert (len(steps), handle.notes()) == (1, (notes.READ,))


def test_what_is_assumed_of_floating_point_data_is_noted_once(handle):
    data = torch.full((3,), 2.5, device="cuda")
    assert handle.notes() == ()
    for _ in range(2):
        assert data.long().tolist() == [0, 0, 0]
        assert (data == torch.ones(3, device="cuda")).all().item()
        assert not (data > 1).any().item()
        assert torch.isfinite(data.abs()).all().item()
        assert data.sum().item() == 0
    assert handle.notes() == (notes.CONVERTED, notes.TESTED, notes.READ)
    handle.forget_notes()
    assert torch.tensor([1.5, 2.5]).to("cuda", torch.long).tolist() == [1, 2]  # the host has the values
    assert handle.notes() == ()


def test_floating_point_data_never_shows_integers_that_were_there():
    for _ in range(3):
        integers = torch.full((1000,), -1, device="cuda")
        address = integers.data_ptr()
        del integers
        data = torch.empty(1000, dtype=torch.float64, device="cuda")
        assert data.data_ptr() == address
        assert data.cpu().tolist() == [0] * 1000
        assert data.sum().item() == data[5].item() == 0
        assert not data.isnan().any().item()
        del data


def test_a_mask_of_queries_and_keys_computes_and_more_does_not(handle):
    mask = torch.ones(2, 1, 8000, 8000, dtype=torch.bool, device="cuda").tril()  # 122 MiB
    assert (mask[0, 0, 7].sum().item(), mask.all().item()) == (8, False)
    assert handle.notes() == ()
    del mask
    torch.cuda.empty_cache()
    before = status_bytes("VmRSS")
    large = torch.ones(2**31, dtype=torch.bool, device="cuda")
    assert not (large & large).any().item()
    weights = torch.zeros(2**30, dtype=torch.uint8, device="cuda")
    assert weights[:5].cpu().tolist() == [0] * 5
    assert status_bytes("VmRSS") - before < 64 * MIB
    assert handle.notes() == (notes.LARGE,)


def test_zeros_of_a_large_tensor_are_written_without_its_pages():
    tensor = torch.ones(20 * MIB + 3, dtype=torch.bool, device="cuda")[3:]
    before = status_bytes("VmRSS")
    tensor.zero_()
    assert before - status_bytes("VmRSS") > 18 * MIB
    assert not tensor.any().item()


def test_a_seed_of_the_program_draws_what_it_draws_without():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    drawn = torch.randint(0, 5, (1000,), device="cuda")
    assert set(drawn.tolist()) == set(range(5))
    assert sorted(torch.randperm(9, device="cuda").tolist()) == list(range(9))
    assert torch.equal(torch.rand(4), expected)


def test_what_the_cpu_refuses_is_zeros_and_noted(handle):
    picked = torch.arange(3, 8, device="cuda")[torch.tensor([1, 9]).cuda()]  # an assertion on a real GPU
    assert picked.tolist() == [0, 0]
    (note,) = handle.notes()
    assert note.startswith("integers of index on the virtual GPU were taken as 0: index 9 is out of bounds")


def test_numbers_keep_their_type_beside_tensors_without_dimensions():
    for dtype in (torch.bfloat16, torch.float32, torch.int32, torch.bool):
        for number in (2, 2.5, True):
            for scalar in (torch.ones((), dtype=dtype), torch.ones(3, dtype=dtype)):
                for operator in (torch.add, torch.mul, torch.eq, torch.true_divide):
                    assert operator(scalar.cuda(), number).dtype == operator(scalar, number).dtype


def test_expandable_segments_compute():
    forget()
    torch._C._accelerator_setAllocatorSettings("expandable_segments:True")
    counts = torch.arange(3 * MIB, device="cuda")
    assert (counts % 2).sum().item() == 3 * MIB // 2
    assert counts[-1].item() == 3 * MIB - 1
    large = [part for part in torch.cuda.memory_snapshot() if part["total_size"] > 16 * MIB]
    assert [part["is_expandable"] for part in large] == [True]
    del counts
    forget()


def test_mapped_functions_compute():
    lengths = torch.tensor([2, 5, 0], device="cuda")
    positions = torch.arange(6, device="cuda")
    masks = torch.vmap(lambda length: torch.vmap(lambda position: position < length)(positions))(lengths)
    assert masks.sum(-1).tolist() == [2, 5, 0]
