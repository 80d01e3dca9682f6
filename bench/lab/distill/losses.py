"""Divergences of the drafter's law q from the verifier's p, of which the K likeliest tokens were kept.

Both are fused with the head: the gradient is formed where the logits are, chunk by chunk, so no more than
CHUNK rows of logits exist at once.
"""
from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 128          # rows of logits; a chunk should stay in the cache of a CPU
LEAST = 1e-9         # probability below which the tail's share is not divided by


def forward_kl(p: Tensor, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """KL(p, q) with the tokens beyond the kept ones merged into one, a lower bound of the whole divergence.

    p, q: (rows, K), at the kept tokens. Returns the divergence (rows), and the gradient by the logits in the
    form dense · q + sparse: dense (rows, 1), and sparse (rows, K) added at the kept tokens."""
    p_tail = (1 - p.sum(-1, keepdim=True)).clamp(min=0)
    q_tail = (1 - q.sum(-1, keepdim=True)).clamp(min=LEAST)
    value = (torch.xlogy(p, p) - p * q.clamp(min=1e-30).log()).sum(-1)
    value += (torch.xlogy(p_tail, p_tail) - p_tail * q_tail.log()).squeeze(-1)
    dense = 1 - p_tail / q_tail
    return value, dense, q - p - dense * q


def total_variation(p: Tensor, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """1 − Σ min(p, q) over the kept tokens, an upper bound of D_TV(p, q): its complement is the acceptance
    that the kept tokens alone give. Forms as in forward_kl; where q reaches p, more of it gains nothing."""
    short = (q < p).to(q.dtype)
    value = 1 - torch.minimum(p, q).sum(-1)
    dense = (short * q).sum(-1, keepdim=True)
    return value, dense, -short * q


LOSSES = {"kl": forward_kl, "tv": total_variation}


class HeadLoss(torch.autograd.Function):
    """Mean loss over rows. states (N, d), weight (V, d); ids, p (N, K). half: the products of the gradient in
    bf16, sums in fp32. Returns the loss and, without a gradient, the mean acceptance Σ min(p, q) of the kept
    tokens."""

    @staticmethod
    def forward(ctx, states, weight, ids, p, name, temp, half):  # type: ignore[override]
        n = states.shape[0]
        kind = torch.bfloat16 if half else states.dtype
        narrow = weight.to(kind)
        d_states, d_weight = torch.empty_like(states), torch.zeros_like(weight)
        total, accepted = states.new_zeros(()), states.new_zeros(())
        logits = states.new_empty(min(CHUNK, n), weight.shape[0])
        for at in range(0, n, CHUNK):
            rows = slice(at, min(n, at + CHUNK))
            grad = logits[:rows.stop - at]
            torch.matmul(states[rows] / temp, weight.T, out=grad)
            torch.softmax(grad, -1, out=grad)
            q = grad.gather(-1, ids[rows])
            value, dense, sparse = LOSSES[name](p[rows], q)
            total += value.sum()
            accepted += torch.minimum(p[rows], q).sum()
            grad.mul_(dense).scatter_add_(-1, ids[rows], sparse)
            by_logits = grad.to(kind)
            d_states[rows] = by_logits @ narrow
            d_weight += by_logits.T @ states[rows].to(kind)
        ctx.save_for_backward(d_states, d_weight)
        ctx.scale = 1 / (n * temp)
        accepted /= n
        ctx.mark_non_differentiable(accepted)
        return total / n, accepted

    @staticmethod
    def backward(ctx, by_loss, _):  # type: ignore[override]
        d_states, d_weight = ctx.saved_tensors
        scale = by_loss * ctx.scale
        return d_states * scale, d_weight * scale, None, None, None, None, None
