"""Mechanisms of structural causal models, and the activations that random functions are built from.

A mechanism maps the columns of earlier nodes to those of W new nodes with D columns each, reading parents only. It is
drawn once, without data; its first call measures centres, scales and thresholds, which later calls reuse. So the
same mechanism answers for other rows and under interventions.

Dimension key: B tasks, P columns of earlier nodes, W nodes, D columns of a node, R rows. Rows come last here: columns
are then contiguous, and look-ups copy whole columns.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as nnf
from einops import rearrange
from torch import Tensor

from priors.draw import apply_by_kind, bernoulli, choice, integers, log_uniform, normal, uniform

Mechanism = Callable[[Tensor], Tensor]

ACTIVATIONS = (
    lambda z: z,
    torch.tanh,
    nnf.relu,
    nnf.silu,
    torch.sin,
    torch.abs,
    lambda z: z.square().clamp_max(9),
    lambda z: torch.exp(-z.square()),
    lambda z: (z > 0).to(z.dtype),
    torch.sign,
    lambda z: z.round().clamp(-3, 3),
    lambda z: nnf.softplus(2 * z),
    lambda z: z.clamp(-1, 1),
    lambda z: z.sign() * torch.log1p(z.abs()),
    lambda z: torch.exp(z.clamp_max(3)),
    lambda z: (z.abs() < 1).to(z.dtype),
)


def activate(Z_BRH: Tensor, generator: torch.Generator, same_within_task: float = 0.5) -> Tensor:
    """A random activation per node, or one for the whole task with probability `same_within_task`."""
    B, _, H = Z_BRH.shape
    n = len(ACTIVATIONS)
    kind_BH = integers(0, n - 1, (B, H), generator)
    shared_B1 = integers(0, n - 1, (B, 1), generator)
    kind_BH = torch.where(bernoulli(same_within_task, (B, 1), generator), shared_B1, kind_BH)
    return apply_by_kind(Z_BRH.transpose(1, 2), kind_BH, ACTIVATIONS).transpose(1, 2)


class Style(NamedTuple):
    """What the nodes of a task have in common; each node's own hyper-parameters are drawn around it.

    Shapes: gain (B, 1, 1), how far activations are driven from linear; palette (B, 4), the activations in use;
    peak (B, 1, 1), how unequal the weights of a node's parents are; importance (B, P) of every column as a parent.
    """

    gain: Tensor
    palette: Tensor
    peak: Tensor
    importance: Tensor

    def first(self, n_columns: int) -> Style:
        """For mechanisms that see only the first columns."""
        return self._replace(importance=self.importance[:, :n_columns])


def draw_style(n_tasks: int, n_nodes: int, n_dims: int, generator: torch.Generator) -> Style:
    g, B = generator, n_tasks
    distinct_B4 = integers(0, len(ACTIVATIONS) - 1, (B, 4), g)
    # One to four different activations per task.
    slot_B4 = torch.minimum(torch.arange(4, device=g.device), integers(0, 3, (B, 1), g))
    spread_B1 = uniform(0, 1.5, (B, 1), g)
    importance_BH = torch.exp(spread_B1 * normal((B, n_nodes), g))
    return Style(
        gain=log_uniform(0.4, 3, (B, 1, 1), g),
        palette=distinct_B4.gather(1, slot_B4),
        peak=uniform(0, 1.5, (B, 1, 1), g),
        importance=importance_BH.repeat_interleave(n_dims, 1),
    )


class Standardiser:
    """Mean 0 and standard deviation 1 on the rows of the first call; the same affine map ever after."""

    def __init__(self):
        self.loc = self.scale = None

    def __call__(self, Z_BCR: Tensor) -> Tensor:
        # torch.std_mean takes ten times as long on a CPU.
        if self.loc is None:
            self.loc = Z_BCR.mean(-1, keepdim=True)
        centred_BCR = Z_BCR - self.loc
        if self.scale is None:
            self.scale = centred_BCR.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-6)
        return centred_BCR.div_(self.scale)


def weighted_sum(parents_BPW: Tensor, n_dims: int, style: Style, g: torch.Generator) -> Mechanism:
    """Standardised sums (B, W * n_dims, R) of the parents' columns with unequal weights."""
    B, P, W = parents_BPW.shape
    strength_BPW = parents_BPW * style.importance[..., None] * torch.exp(style.peak * normal((B, P, W), g))
    weight_BPWD = strength_BPW[..., None] * normal((B, P, W, n_dims), g)
    weight_BCP = rearrange(weight_BPWD, "b p w d -> b (w d) p").contiguous()
    standardise = Standardiser()
    return lambda V_BPR: standardise(weight_BCP @ V_BPR)


def linear(parents_BPW: Tensor, D: int, style: Style, g: torch.Generator) -> Mechanism:
    return weighted_sum(parents_BPW, D, style, g)


def _activation(n_columns: int, style: Style, g: torch.Generator) -> Mechanism:
    B = len(style.palette)
    kind_BC = style.palette.gather(1, integers(0, 3, (B, n_columns), g))
    gain_BC1 = style.gain * log_uniform(0.7, 1.4, (B, n_columns, 1), g)
    shift_BC1 = normal((B, n_columns, 1), g)
    return lambda Z_BCR: apply_by_kind(Z_BCR * gain_BC1 + shift_BC1, kind_BC, ACTIVATIONS)


def activated(parents_BPW: Tensor, D: int, style: Style, g: torch.Generator) -> Mechanism:
    """One layer: activations of weighted sums."""
    total = weighted_sum(parents_BPW, D, style, g)
    activation = _activation(parents_BPW.shape[2] * D, style, g)
    return lambda V_BPR: activation(total(V_BPR))


def network(parents_BPW: Tensor, D: int, style: Style, g: torch.Generator) -> Mechanism:
    """Two to four layers; hidden units belong to one node, so that a node reads nothing but its parents."""
    B, _, W = parents_BPW.shape
    width, n_hidden = int(integers(3, 6, (), g)), int(integers(1, 3, (), g))
    first = activated(parents_BPW, width, style, g)
    sizes = [width] * n_hidden + [D]
    weights = [normal((B, W, new, old), g) for old, new in pairwise(sizes)]
    scales = [Standardiser() for _ in weights]
    activations = [_activation(W * new, style, g) for new in sizes[1:-1]]

    def apply(V_BPR: Tensor) -> Tensor:
        H_BCR = first(V_BPR)
        for k, weight_BWNO in enumerate(weights):
            Z_BWNR = weight_BWNO @ rearrange(H_BCR, "b (w o) r -> b w o r", w=W)
            H_BCR = scales[k](rearrange(Z_BWNR, "b w n r -> b (w n) r"))
            if k < len(activations):
                H_BCR = activations[k](H_BCR)
        return H_BCR

    return apply


def trees(parents_BPW: Tensor, D: int, style: Style, g: torch.Generator) -> Mechanism:
    """Sums of one to three oblivious trees per node; thresholds are values of rows seen at the first call."""
    B, P, W = parents_BPW.shape
    T, depth = int(integers(1, 3, (), g)), int(integers(1, 5, (), g))
    weight_BPW = parents_BPW * style.importance[..., None] + 1e-20  # nodes without parents read something, times 0
    column_BWQ = torch.multinomial(weight_BPW.mT.reshape(B * W, P), T * depth, replacement=True, generator=g)
    column_BQ = column_BWQ.view(B, W * T * depth)
    quantile_BQ1 = uniform(0, 1, (B, W * T * depth, 1), g)
    leaf_BWDL = normal((B, W, D, T * 2**depth), g)
    offset_T1 = (torch.arange(T, device=g.device) * 2**depth)[:, None]
    power_D1 = (2 ** torch.arange(depth, device=g.device, dtype=torch.int32))[:, None]
    threshold_BQ1 = None

    def apply(V_BPR: Tensor) -> Tensor:
        nonlocal threshold_BQ1
        R = V_BPR.shape[-1]
        value_BQR = V_BPR.gather(1, column_BQ[..., None].expand(-1, -1, R))
        if threshold_BQ1 is None:
            threshold_BQ1 = value_BQR.gather(2, (quantile_BQ1 * R).long().clamp_max(R - 1))
        bit_BWTDR = (value_BQR > threshold_BQ1).view(B, W, T, depth, R)
        index_BWTR = (bit_BWTDR * power_D1).sum(-2, dtype=torch.int32).long() + offset_T1
        index_BWDX = index_BWTR.view(B, W, 1, T * R).expand(B, W, D, T * R)
        return leaf_BWDL.gather(-1, index_BWDX).view(B, W, D, T, R).sum(3).reshape(B, W * D, R)

    return apply


def centres(parents_BPW: Tensor, D: int, style: Style, g: torch.Generator) -> Mechanism:
    """Discretisation: the value of the nearest of 2-10 centres, which are rows seen at the first call."""
    B, _, W = parents_BPW.shape
    n_centres, n_coords = int(integers(2, 10, (), g)), int(integers(1, 3, (), g))
    coordinates = weighted_sum(parents_BPW, n_coords, style, g)
    quantile_BWK = uniform(0, 1, (B, W, n_centres), g)
    value_BWDK = normal((B, W, D, n_centres), g)
    centre_BWOK = None

    def apply(V_BPR: Tensor) -> Tensor:
        nonlocal centre_BWOK
        point_BWOR = rearrange(coordinates(V_BPR), "b (w o) r -> b w o r", w=W)
        R = point_BWOR.shape[-1]
        if centre_BWOK is None:
            row_BWOK = (quantile_BWK * R).long().clamp_max(R - 1)[:, :, None].expand(-1, -1, n_coords, -1)
            centre_BWOK = point_BWOR.gather(-1, row_BWOK)
        # |c|^2 - 2 c.x orders centres as the distance does.
        score_BWKR = centre_BWOK.square().sum(2)[..., None] - 2 * centre_BWOK.mT @ point_BWOR
        nearest_BWDR = score_BWKR.argmin(2, keepdim=True).expand(B, W, D, R)
        return value_BWDK.gather(-1, nearest_BWDR).reshape(B, W * D, R)

    return apply


def quadratic(parents_BPW: Tensor, D: int, style: Style, g: torch.Generator) -> Mechanism:
    """A product of two weighted sums plus a third: quadratic forms of low rank."""
    B, W = parents_BPW.shape[0], parents_BPW.shape[2]
    left, right, plain = (weighted_sum(parents_BPW, D, style, g) for _ in range(3))
    share_BC1 = uniform(0, 1, (B, W * D, 1), g)
    return lambda V_BPR: left(V_BPR) * right(V_BPR) + share_BC1 * plain(V_BPR)


def product(parents_BPW: Tensor, D: int, style: Style, g: torch.Generator) -> Mechanism:
    """An activated sum times a gate that opens with another sum."""
    total, gate = activated(parents_BPW, D, style, g), weighted_sum(parents_BPW, D, style, g)
    return lambda V_BPR: total(V_BPR) * torch.sigmoid(3 * style.gain * gate(V_BPR))


def extremum(parents_BPW: Tensor, D: int, style: Style, g: torch.Generator) -> Mechanism:
    """The largest of two to four weighted sums, or their log-sum-exp."""
    sums = [weighted_sum(parents_BPW, D, style, g) for _ in range(int(integers(2, 4, (), g)))]
    pool = torch.logaddexp if bool(bernoulli(0.3, (), g)) else torch.maximum

    def apply(V_BPR: Tensor) -> Tensor:
        out_BCR = sums[0](V_BPR)
        for other in sums[1:]:
            out_BCR = pool(out_BCR, other(V_BPR))
        return out_BCR

    return apply


def waves(parents_BPW: Tensor, D: int, style: Style, g: torch.Generator, n_waves: int = 12) -> Mechanism:
    """Gaussian-process-like functions of weighted sums, by random Fourier features (Rahimi & Recht 2007)."""
    B, _, W = parents_BPW.shape
    n_coords = int(integers(1, 3, (), g))
    coordinates = weighted_sum(parents_BPW, n_coords, style, g)
    frequency_BWKO = normal((B, W, n_waves, n_coords), g) * style.gain[..., None]
    phase_BWK1 = uniform(0, 2 * torch.pi, (B, W, n_waves, 1), g)
    weight_BWDK = normal((B, W, D, n_waves), g)

    def apply(V_BPR: Tensor) -> Tensor:
        point_BWOR = rearrange(coordinates(V_BPR), "b (w o) r -> b w o r", w=W)
        wave_BWKR = torch.cos(frequency_BWKO @ point_BWOR + phase_BWK1)
        return rearrange(weight_BWDK @ wave_BWKR, "b w d r -> b (w d) r")

    return apply


MECHANISMS: dict[str, tuple[Callable[..., Mechanism], float]] = {
    "linear": (linear, 1.0),
    "activated": (activated, 3.0),
    "network": (network, 2.0),
    "trees": (trees, 3.0),
    "centres": (centres, 1.0),
    "quadratic": (quadratic, 0.7),
    "product": (product, 0.7),
    "extremum": (extremum, 0.7),
    "waves": (waves, 0.7),
}
"""Every mechanism and the weight with which a level of a graph draws it."""


def draw_mechanism(parents_BPW: Tensor, n_dims: int, style: Style, generator: torch.Generator) -> Mechanism:
    """One kind for all the nodes of a level, with parameters of their own for every task and node."""
    draws, weights = zip(*MECHANISMS.values())
    draw = draws[int(choice(weights, (), generator))]
    return draw(parents_BPW, n_dims, style.first(parents_BPW.shape[1]), generator)
