"""Matrix products, and attention for prediction: float32 on a CPU through oneDNN, everything else through PyTorch.

PyTorch sends float32 products on a CPU to MKL, which uses half the vector width on AMD processors: on an EPYC (Zen 5)
15,000 rows times a 96 x 96 weight ran at 46-55 GFLOP/s a core there and at 180-199 in oneDNN. oneDNN ships with every
x86 build of PyTorch; its operator takes no gradient, so those of a product are written out here.

Dimension key: B tasks, L query rows, K key rows, T tokens per row, H heads, D width of a head, I inputs, O outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as nnf
from einops import rearrange
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# Score entries (L x K) worked on at once: they are written once and read twice, so they should stay in the cache.
TILE = 2**20
# Powers of scores up to this, either sign, and sums of a million of them times values, are far from float32's limits.
_SAFE_SCORE = 40.0
_LOG2_E = 1 / math.log(2)
# Below this many rows the calls into oneDNN cost more than they save.
_MIN_ROWS = 128
# Up to so many tokens, sums of products are faster than a fused kernel (0.8 against 1.3 ms for 1,000 rows of 3 tokens);
# with 5 they take as long, with more longer.
_FEW_TOKENS = 3
_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _suits_onednn(x: Tensor) -> bool:
    suits = _HAS_ONEDNN and x.dtype == torch.float32 and x.is_cpu and x.numel() > 0
    return suits and not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()


def linear(x: Tensor, layer: nn.Linear, gelu: bool = False) -> Tensor:
    """`layer(x)`, then exact GELU if asked; x: (..., in_features)."""
    return product(x, layer.weight, layer.bias, gelu)


def product(x: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None, gelu: bool = False) -> Tensor:
    """x @ weight.T + bias, then exact GELU if asked; x: (..., I)."""
    if not _suits_onednn(x):
        out = nnf.linear(x, weight_OI, bias_O)
    elif torch.is_grad_enabled():
        out = _Product.apply(x, weight_OI, bias_O)
    else:
        return _onednn(x, weight_OI, bias_O, *(("gelu", [], "none") if gelu else _PLAIN))
    return nnf.gelu(out) if gelu else out


_PLAIN: tuple[str, list[float], str] = ("none", [], "")


def _onednn(x: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None, *after) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight_OI, bias_O, *(after or _PLAIN))


class _Product(torch.autograd.Function):
    """x @ weight.T + bias and its gradients, three products in oneDNN."""

    @staticmethod
    def forward(ctx, x: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight_OI)
        return _onednn(x, weight_OI, bias_O)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight_OI = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        # oneDNN answers from slow reference code where the second factor is a slice of wider rows: copies are cheap.
        grad_RO, x_RI = (a.reshape(-1, a.shape[-1]).contiguous() for a in (grad, x))
        grad_x = _onednn(grad, weight_OI.t()) if needs_x else None
        grad_weight = _onednn(grad_RO.t(), x_RI.t()) if needs_weight else None
        return grad_x, grad_weight, grad_RO.sum(0) if needs_bias else None


MOST_ROWS = {"cuda": 65_535}
"""Rows (Z) that a device's attention takes at a time."""


def without_autocast(device: torch.device) -> AbstractContextManager:
    """Products in the precision of their factors, on every device ("meta" knows no autocast)."""
    known = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if known else nullcontext()


def fused_attention(q_ZHLD: Tensor, k_ZHKD: Tensor, v_ZHKD: Tensor) -> Tensor:
    """softmax(q k' / sqrt(D)) v with gradients, (Z, H, L, D).

    In one kernel of PyTorch's, except in bf16 on a CPU, where that kernel multiplies matrices of a few columns one by
    one: there by products of all tasks and heads at once (`_by_products`). The result has the type of the queries, or
    that of autocast.
    """
    short = torch.bfloat16
    if q_ZHLD.is_cpu and q_ZHLD.dtype is torch.float32 and torch.is_autocast_enabled("cpu"):
        by_products = torch.get_autocast_dtype("cpu") is short
    else:
        by_products = q_ZHLD.is_cpu and short in (q_ZHLD.dtype, k_ZHKD.dtype)
    if by_products:
        with without_autocast(q_ZHLD.device):
            if q_ZHLD.shape[:3].numel() * k_ZHKD.shape[2] <= MOST_SCORES:
                return _by_products(q_ZHLD, k_ZHKD, v_ZHKD)
            return nnf.scaled_dot_product_attention(q_ZHLD.float(), k_ZHKD.float(), v_ZHKD.float()).to(short)
    most = MOST_ROWS.get(q_ZHLD.device.type)
    if most is not None and q_ZHLD.shape[0] > most:
        parts = zip(q_ZHLD.split(most), k_ZHKD.split(most), v_ZHKD.split(most))
        return torch.cat([nnf.scaled_dot_product_attention(*part) for part in parts])
    return nnf.scaled_dot_product_attention(q_ZHLD, k_ZHKD, v_ZHKD)


MOST_SCORES = 2**28
"""Scores of one attention that backward may find kept (half a gigabyte); more are made anew, by PyTorch's kernel."""


def _by_products(q_ZHLD: Tensor, k_ZHKD: Tensor, v_ZHKD: Tensor) -> Tensor:
    """The same in bf16, by one product for as many tasks and heads as the cache holds scores of; keeps the weights."""
    Z, H, _, D = q_ZHLD.shape
    q_PLD, k_PKD, v_PKD = (x.to(torch.bfloat16).flatten(0, 1) for x in (q_ZHLD / math.sqrt(D), k_ZHKD, v_ZHKD))
    return _weighed(q_PLD, k_PKD, v_PKD)[0].unflatten(0, (Z, H))


# An operator of its own, so that `torch.compile` does not unroll the loop, which is of another length in every batch.
@torch.library.custom_op("icl::weighed", mutates_args=())
def _weighed(q_PLD: Tensor, k_PKD: Tensor, v_PKD: Tensor) -> tuple[Tensor, Tensor]:
    """softmax(q k') v, (P, L, width of v), and the weights, (P, L, K), which take no gradient."""
    P, L, _ = q_PLD.shape
    K = k_PKD.shape[1]
    out_PLD, weights_PLK = q_PLD.new_empty(P, L, v_PKD.shape[2]), q_PLD.new_empty(P, L, K)
    scores_SLK = q_PLD.new_empty(min(_tile(L, K), P), L, K)
    for part in _tiles(P, L, K):
        scores = scores_SLK[: part.stop - part.start]
        torch.bmm(q_PLD[part], k_PKD[part].transpose(1, 2), out=scores)
        torch.softmax(scores, -1, out=weights_PLK[part])
        torch.bmm(weights_PLK[part], v_PKD[part], out=out_PLD[part])
    return out_PLD, weights_PLK


@_weighed.register_fake
def _(q_PLD: Tensor, k_PKD: Tensor, v_PKD: Tensor) -> tuple[Tensor, Tensor]:
    P, L, _ = q_PLD.shape
    return q_PLD.new_empty(P, L, v_PKD.shape[2]), q_PLD.new_empty(P, L, k_PKD.shape[1])


@torch.library.custom_op("icl::weighed_backward", mutates_args=())
def _weighed_backward(
    grad_PLD: Tensor, q_PLD: Tensor, k_PKD: Tensor, v_PKD: Tensor, weights_PLK: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k and v."""
    P, L, K = weights_PLK.shape
    grad_PLD = grad_PLD.contiguous()
    grads = torch.empty_like(q_PLD), torch.empty_like(k_PKD), torch.empty_like(v_PKD)
    scores_SLK = q_PLD.new_empty(min(_tile(L, K), P), L, K)
    for part in _tiles(P, L, K):
        weights, grad, scores = weights_PLK[part], grad_PLD[part], scores_SLK[: part.stop - part.start]
        torch.bmm(weights.transpose(1, 2), grad, out=grads[2][part])
        torch.bmm(grad, v_PKD[part].transpose(1, 2), out=scores)
        of_scores = torch._softmax_backward_data(scores, weights, -1, weights.dtype)
        torch.bmm(of_scores, k_PKD[part], out=grads[0][part])
        torch.bmm(of_scores.transpose(1, 2), q_PLD[part], out=grads[1][part])
    return grads


@_weighed_backward.register_fake
def _(
    grad_PLD: Tensor, q_PLD: Tensor, k_PKD: Tensor, v_PKD: Tensor, weights_PLK: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(q_PLD), torch.empty_like(k_PKD), torch.empty_like(v_PKD)


def _keep(ctx, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*inputs, output[1])


def _back(ctx, grad_PLD: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _weighed_backward(grad_PLD, *ctx.saved_tensors)


_weighed.register_autograd(_back, setup_context=_keep)


def _tile(n_queries: int, n_keys: int) -> int:
    return max(1, TILE // max(1, n_queries * n_keys))  # without queries or keys, one part


def _tiles(n_products: int, n_queries: int, n_keys: int) -> Iterator[slice]:
    """So many products at once that the cache holds their scores."""
    step = _tile(n_queries, n_keys)
    return (slice(start, min(start + step, n_products)) for start in range(0, n_products, step))


def attend_within(q_ZQHD: Tensor, k_ZTHD: Tensor, v_ZTHD: Tensor) -> Tensor:
    """softmax(q k' / sqrt(D)) v over the few tokens of each row, (Z, Q, H, D); Z rows, Q of their T tokens ask."""
    T, D = k_ZTHD.shape[1], k_ZTHD.shape[3]
    if T > _FEW_TOKENS or torch.is_grad_enabled() or not q_ZQHD.is_cpu:
        q, k, v = (x.transpose(1, 2) for x in (q_ZQHD, k_ZTHD, v_ZTHD))
        out = nnf.scaled_dot_product_attention(q, k, v)
        return out.transpose(1, 2)
    scores_ZQTH = (q_ZQHD[:, :, None] * k_ZTHD[:, None]).sum(-1) / math.sqrt(D)
    return (scores_ZQTH.softmax(2)[..., None] * v_ZTHD[:, None]).sum(2)


def attend(q_BLTHD: Tensor, k_BTHKD: Tensor, v_BTHKD: Tensor) -> Tensor:
    """softmax(q k') v over the key rows, (B, L, T, H, D): each token attends to the rows of its own column.

    The queries come scaled. Takes no gradient.
    """
    B, L, T, H, D = q_BLTHD.shape
    K = k_BTHKD.shape[3]
    if min(L, K) < _MIN_ROWS or torch.is_grad_enabled() or not _suits_onednn(q_BLTHD):
        # Merging b and t is a view for a single task, else a copy.
        out = nnf.scaled_dot_product_attention(
            rearrange(q_BLTHD, "b l t h d -> (b t) h l d"),
            k_BTHKD.flatten(0, 1),
            v_BTHKD.flatten(0, 1),
            scale=1.0,
        )
        return rearrange(out, "(b t) h l d -> b l t h d", b=B)
    # As in `_Product`: where a head is a slice of wider rows oneDNN would be a thousand times slower.
    k_BTHKD, v_BTHKD = k_BTHKD.contiguous(), v_BTHKD.contiguous()
    out_BLTHD = torch.empty_like(q_BLTHD)
    step = min(max(TILE // K // 64 * 64, 128), L)
    # No score is larger than the product of the norms: small scores need no maximum subtracted, and powers of two take
    # a third of the time of torch.softmax.
    largest_BTH = q_BLTHD.norm(dim=-1).amax(1) * k_BTHKD.norm(dim=-1).amax(-1)
    bounded_BTH = (largest_BTH < _SAFE_SCORE).tolist()
    for b in range(B):
        for t in range(T):
            for h in range(H):
                q_LD, k_KD, v_DK = q_BLTHD[b, :, t, h], k_BTHKD[b, t, h], v_BTHKD[b, t, h].t()
                for start in range(0, L, step):
                    rows = slice(start, start + step)
                    if bounded_BTH[b][t][h]:
                        power_LK = _onednn(q_LD[rows] * _LOG2_E, k_KD).exp2_()
                        out_BLTHD[b, rows, t, h] = _onednn(power_LK, v_DK) / power_LK.sum(-1, keepdim=True)
                    else:
                        out_BLTHD[b, rows, t, h] = _onednn(torch.softmax(_onednn(q_LD[rows], k_KD), -1), v_DK)
    return out_BLTHD
