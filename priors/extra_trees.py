"""Extremely randomised trees of many tasks at once, each labelled row answered by the trees that did not see it.

A batched counterpart of `icl.prediction.companions.trees`: all trees of all tasks go down one level at a time, by
gathers and sums over nodes, with no loop over tasks, trees or nodes.

Source:
    Geurts, Ernst & Wehenkel (2006), doi:10.1007/s10994-006-6226-1. Here each tree sees 63 % of the rows once, as many
    as differ in a bootstrap sample, and a threshold lies between two rows of its node.

Dimension key: B tasks, R rows = N context + M query, F columns, T targets, E trees, S rows that a tree sees, V nodes of
a level, K candidates of a node.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from priors.draw import normal, uniform

_SEEN = 0.63
_MOST_CANDIDATES, _MOST_DEPTH = 8, 11


def extra_trees(X_BRF: Tensor, Y_BNT: Tensor, n_tried: int, n_trees: int, generator: torch.Generator) -> Tensor:
    """(B, R, T) mean answers of the trees to every row.

    A query row is answered by as many trees as a context row: else it would be answered better than those by which the
    answers' worth is judged. With 200 trees that makes no difference, with two dozen it does.

    Args:
        X_BRF: cells; gaps go with the small ones.
        Y_BNT: targets of the context rows.
        n_tried: candidates of a node, each a column and a threshold.
    """
    B, R, F = X_BRF.shape
    N, T = Y_BNT.shape[1:]
    g, E = generator, n_trees
    n_seen = max(2, round(_SEEN * N))
    place_BEN = uniform(0, 1, (B, E, N), g).argsort(-1)
    seen_BES = place_BEN[..., :n_seen]
    low = X_BRF.nan_to_num(nan=-torch.inf).clamp(-1e30, 1e30)
    # Rows of all tasks one below the other, so that a place is one number.
    cells_XF = low.reshape(B * R, F)
    first_B11 = torch.arange(B, device=X_BRF.device)[:, None, None] * R
    row_BES = seen_BES + first_B11
    asked_BEA = torch.arange(R, device=X_BRF.device).expand(B, E, R) + first_B11
    Y_BEST = Y_BNT[:, None].expand(B, E, N, T).gather(2, seen_BES[..., None].expand(B, E, n_seen, T))
    node_BES = torch.zeros_like(seen_BES)
    node_BEA = torch.zeros_like(asked_BEA)
    depth = min(_MOST_DEPTH, math.ceil(math.log2(n_seen)) + 2)
    n_tried = min(n_tried, _MOST_CANDIDATES)
    for level in range(depth):
        V = 2**level
        column_BEVK = torch.randint(F, (B, E, V, n_tried), generator=g, device=g.device)
        threshold_BEVK = _thresholds(cells_XF, row_BES, node_BES, column_BEVK, g)
        # Of several classes each level looks at one random contrast.
        z_BES = (Y_BEST * normal((B, E, 1, T), g)).sum(-1) if T > 1 else Y_BEST[..., 0]
        right_BESK = _ask(cells_XF, row_BES, node_BES, column_BEVK, threshold_BEVK)
        best_BEV1, splits_BEV1 = _best(right_BESK, z_BES, node_BES, V)
        column_BEV1 = column_BEVK.gather(-1, best_BEV1)
        # A node that nothing parts sends all of its rows one way.
        threshold_BEV1 = threshold_BEVK.gather(-1, best_BEV1).masked_fill(~splits_BEV1, torch.inf)
        node_BES = 2 * node_BES + _ask(cells_XF, row_BES, node_BES, column_BEV1, threshold_BEV1)[..., 0].long()
        node_BEA = 2 * node_BEA + _ask(cells_XF, asked_BEA, node_BEA, column_BEV1, threshold_BEV1)[..., 0].long()
    ones_BES1 = torch.ones_like(Y_BEST[..., :1])
    sums_BEVT = _sums(torch.cat([Y_BEST, ones_BES1], -1), node_BES, 2**depth)
    leaf_BEVT = sums_BEVT[..., :T] / sums_BEVT[..., T:].clamp_min(1.0)
    answer_BEAT = leaf_BEVT.gather(2, node_BEA[..., None].expand(B, E, R, T))
    free_BEA = uniform(0, 1, (B, E, R), g) > _SEEN
    free_BEA[..., :N] = torch.ones_like(free_BEA[..., :N]).scatter(2, seen_BES, False)
    weight_BEA1 = free_BEA[..., None].to(answer_BEAT.dtype)
    n_answers_BA1 = weight_BEA1.sum(1)
    mean_B1T = Y_BNT.mean(1, keepdim=True)
    return torch.where(n_answers_BA1 > 0, (answer_BEAT * weight_BEA1).sum(1) / n_answers_BA1.clamp_min(1), mean_B1T)


def _thresholds(cells_XF: Tensor, row_BES: Tensor, node_BES: Tensor, column_BEVK: Tensor, g: torch.Generator) -> Tensor:
    """(B, E, V, K) between the cells of two random rows of the node; nonsense for nodes without rows."""
    B, E, S = row_BES.shape
    V, K = column_BEVK.shape[2:]
    order_BES = (node_BES + uniform(0, 0.999, (B, E, S), g)).argsort(-1)
    count_BEV = torch.zeros((B, E, V), dtype=torch.long, device=g.device)
    count_BEV.scatter_add_(2, node_BES, torch.ones_like(node_BES))
    start_BEV = count_BEV.cumsum(-1) - count_BEV
    draw_BEV2K = uniform(0, 1, (B, E, V, 2 * K), g)
    place_BEV2K = start_BEV[..., None] + (draw_BEV2K * count_BEV[..., None]).long()
    place_BEW = place_BEV2K.flatten(2).clamp_max(S - 1)
    row_BEV2K = row_BES.gather(2, order_BES.gather(2, place_BEW)).view(B, E, V, 2 * K)
    ends_BEV2K = cells_XF[row_BEV2K, column_BEVK.repeat(1, 1, 1, 2)]
    share_BEVK = uniform(0, 1, (B, E, V, K), g)
    return torch.lerp(ends_BEV2K[..., :K], ends_BEV2K[..., K:], share_BEVK)


def _ask(cells_XF: Tensor, row_BES: Tensor, node_BES: Tensor, column_BEVK: Tensor, threshold_BEVK: Tensor) -> Tensor:
    """(B, E, S, K) whether each row lies above each threshold of its node."""
    K = column_BEVK.shape[-1]
    index_BESK = node_BES[..., None].expand(*node_BES.shape, K)
    value_BESK = cells_XF[row_BES[..., None], column_BEVK.gather(2, index_BESK)]
    return value_BESK > threshold_BEVK.gather(2, index_BESK)


def _best(right_BESK: Tensor, z_BES: Tensor, node_BES: Tensor, n_nodes: int) -> tuple[Tensor, Tensor]:
    """(B, E, V, 1) the candidate that removes most of the variance of z, and whether any parts the node."""
    right = right_BESK.to(z_BES.dtype)
    n_BEVK = _sums(right, node_BES, n_nodes)
    sum_BEVK = _sums(right * z_BES[..., None], node_BES, n_nodes)
    all_BEV2 = _sums(torch.stack([torch.ones_like(z_BES), z_BES], -1), node_BES, n_nodes)
    n_left, sum_left = all_BEV2[..., :1] - n_BEVK, all_BEV2[..., 1:] - sum_BEVK
    parts_BEVK = (n_BEVK > 0.5) & (n_left > 0.5)
    gain_BEVK = sum_BEVK.square() / n_BEVK.clamp_min(1) + sum_left.square() / n_left.clamp_min(1)
    gain_BEVK = gain_BEVK.masked_fill(~parts_BEVK, -1.0)
    best_BEV1 = gain_BEVK.argmax(-1, keepdim=True)
    return best_BEV1, parts_BEVK.gather(-1, best_BEV1)


def _sums(values_BESK: Tensor, node_BES: Tensor, n_nodes: int) -> Tensor:
    """(B, E, V, K) sums over the rows of each node."""
    B, E, _, K = values_BESK.shape
    out = torch.zeros((B, E, n_nodes, K), dtype=values_BESK.dtype, device=values_BESK.device)
    return out.scatter_add_(2, node_BES[..., None].expand_as(values_BESK), values_BESK)
