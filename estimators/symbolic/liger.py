"""Liger's fused linear cross-entropy, whose package need not be installed: what its kernels allocate.

From src/liger_kernel/ops/fused_linear_cross_entropy.py of Liger-Kernel (commit 00eba63, 2026): the logits of
a chunk of tokens at a time, turned in place into their gradient, from which the hidden states' follows.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch.nn import functional

import profiler.workload.step
from profiler.errors import NotPossibleError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def liger() -> Iterator[None]:
    """Let the workload find the package on a GPU."""
    with mock.patch.object(profiler.workload.step, "apply_liger", _apply):
        yield


def _apply(model: Any, device: torch.device) -> None:
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    head = base.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear) or "CausalLM" not in type(base).__name__:
        raise NotPossibleError(f"loss_kernel liger is for causal language models, not {type(base).__name__}")

    def loss(logits: torch.Tensor, labels: torch.Tensor, vocab_size: int, **settings: Any) -> Any:
        targets = functional.pad(labels, (0, 1), value=-100)[..., 1:].contiguous()
        hidden = logits.reshape(-1, logits.shape[-1])
        return _FusedLoss.apply(hidden, head.weight, targets.view(-1))

    head.forward = _hidden_states  # type: ignore[method-assign,assignment]
    base.loss_function = loss


def _hidden_states(hidden: torch.Tensor) -> torch.Tensor:
    return hidden  # the loss multiplies them with the head's weight itself


class _FusedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        tokens, width = hidden.shape
        parts = -(-weight.shape[0] // width)
        chunk = min(1 << (-(-tokens // parts) - 1).bit_length(), tokens)
        grad_hidden = torch.zeros_like(hidden)
        grad_weight = torch.zeros_like(weight) if weight.requires_grad else None
        losses = torch.zeros(tokens, dtype=torch.float32, device=hidden.device)
        for start in range(0, tokens, chunk):
            rows = hidden[start : start + chunk]
            logits = torch.mm(rows, weight.t())
            grad_hidden[start : start + chunk] = torch.mm(logits, weight)
            if grad_weight is not None:
                grad_weight.addmm_(logits.t(), rows)
            del logits
        ctx.save_for_backward(grad_hidden, grad_weight)
        return losses.sum()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden, grad_weight, None
