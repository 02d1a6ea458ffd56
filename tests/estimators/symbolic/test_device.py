"""The symbolic device by itself: values, casts, views and sparse matrices, without any model."""

import torch

from estimators.allocator import EMPTY_CACHE
from estimators.target import Target
from tests.estimators.symbolic import children
from tests.estimators.traces import A100


def test_integers_keep_the_values_that_follow_from_the_host(in_child):
    found, _, _ = in_child(children.run, children.known_values)
    assert found == {
        "item": 3,
        "host": [[0, 1, 1], [0, 1, 2]],
        "decision": True,
        "nonzero": (5, 2),
        "selected": (5,),
        "indexed": (5, 5),
        "repeated": [0, 1, 1, 2, 2, 2],
        "unique": [0, 1],
        "view": [1, 1, 1],
        "made": [0, 1, 2],
        "float_mask": 5.0,
    }


def test_a_value_changed_in_place_is_the_new_one_or_not_known(in_child):
    found, _, _ = in_child(children.run, children.overwritten_values)
    assert found == {"known": [11, 12], "sum_is_zero": 0}


def test_weights_have_no_values_and_nothing_about_them_is_special(in_child):
    found, _, _ = in_child(children.run, children.unknown_values)
    assert found == {
        "item": 0.0,
        "decision": False,
        "host": ((4, 8), torch.float32, True),  # random numbers
        "same": True,
        "indexed": (32,),  # a mask is taken as true everywhere
        "nonzero": (0, 2),
    }


def test_tensors_are_where_they_were_made_or_moved(in_child):
    found, names, sizes = in_child(children.run, children.placement)
    assert found == {
        "made": "symbolic",
        "moved": "symbolic",
        "back": "cpu",
        "host_sum": [2.0, 2.0],
        "literal": "cpu",
        "like": "symbolic",
    }
    assert sizes == [8, 8, 8]
    assert "aten.add.Tensor" not in names  # the host's operators are nobody's business


def test_a_storage_is_one_tensor_and_dies_with_the_last_view(in_child):
    events, sizes = in_child(children.events_of, children.lives)
    assert sizes == [4096]
    assert events == [0, ~0]
    assert EMPTY_CACHE not in events


def test_autocast_casts_a_trained_weight_once_in_each_region_and_others_each_time(in_child):
    found, names, sizes = in_child(children.run, children.autocast_of_products)
    assert found["kinds"] == [torch.bfloat16] * 8
    assert names.count("aten.mm.default") == 8
    assert names.count("aten._to_copy.default") == 2 * (1 + 2)
    assert sizes.count(2 * 8 * 8) == 2 * (1 + 2)


def test_autocast_has_the_lists_of_cuda(in_child):
    found, _, _ = in_child(children.run, children.autocast_of_others)
    assert found == {
        "linear": torch.bfloat16,
        "softmax": torch.float32,
        "softmax_as_told": torch.bfloat16,
        "layer_norm": torch.float32,
        "sum": torch.float32,
        "cat": torch.float32,
        "cat_of_half": torch.bfloat16,
        "add": torch.bfloat16,
        "gelu": torch.bfloat16,
        "double": torch.float64,
    }


def test_autocast_casts_the_last_argument_first(in_child):
    _, _, sizes = in_child(children.run, children.autocast_of_a_layer)
    assert sizes[3:6] == [2 * 4, 2 * 4 * 8, 2 * 16 * 8]


def test_autocast_casts_nothing_inside_attention(in_child):
    found, _, sizes = in_child(children.run, children.autocast_of_attention)
    assert found is torch.bfloat16
    assert 4 * 2 * 32 * 32 in sizes  # scores in fp32, as without autocast
    assert sizes.count(2 * 2 * 32 * 32) == 1  # the probabilities that it returns beside its output


def test_an_operator_with_a_kernel_of_its_own_is_one(in_child):
    _, names, _ = in_child(children.run, children.gated)
    assert "aten.silu_backward.default" in names
    assert "aten.sigmoid.default" not in names


def test_states_in_managed_memory_are_not_the_allocators(in_child):
    state = 400 * 400
    assert in_child(children.sizes_of_states, False, A100).count(state) == 2
    assert in_child(children.sizes_of_states, True, A100).count(state) == 0
    assert in_child(children.sizes_of_states, True, Target.cpu()).count(state) == 2  # which has none


def test_softmax_of_fp16_into_fp32_makes_no_copy_of_its_input(in_child):
    found, names, sizes = in_child(children.run, children.fused_softmax)
    assert found == [torch.float32, torch.float16, torch.float32, torch.bfloat16]
    # bf16 is cast first, and its gradient back.
    assert names.count("aten._to_copy.default") == 2
    assert names.count("aten._softmax.default") == 2
    assert sizes.count(2 * 32) == 2 + 2  # the inputs and their gradients


def test_sparse_matrices_have_gradients_at_their_elements(in_child):
    found, _, sizes = in_child(children.run, children.sparse)
    assert found == {
        "nonzero": 3,
        "product": (4, 5),
        "dense": (4, 3),
        "gradients": ((3,), (3, 5)),
        "on_host": True,
    }
    # The matrix and its sorted copy: indices and values; and the gradients of the values, one for each use.
    assert sizes[:4] == [8 * 2 * 3, 4 * 3, 8 * 2 * 3, 4 * 3]
    assert 4 * 4 * 5 in sizes


def test_what_is_remembered_is_what_was_seen(in_child):
    found, _, _ = in_child(children.run, children.memo_of_views)
    assert found["second"] == found["first"]
    assert found["first"] == (
        (6, 4), (1, 6), True, False, 2, torch.float32, torch.int32, True,
    )  # fmt: skip


def test_gradients_are_added_in_place_where_autograd_alone_holds_the_first(in_child):
    found = in_child(children.sums_of_gradients)
    assert found == {"own": 2, "passed_on": 0, "kept_elsewhere": 0, "expanded": 0, "recomputed": 2}
