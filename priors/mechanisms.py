"""Smooth random functions of several columns, and the activations they are built from."""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from torch import Tensor

from priors.draw import apply_by_kind, bernoulli, choice, integers, log_uniform, normal, standardise, uniform

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
)


def activate(Z_BRH: Tensor, generator: torch.Generator, same_within_task: float = 0.5) -> Tensor:
    """A random activation per node, or one for the whole task with probability `same_within_task`."""
    B, _, H = Z_BRH.shape
    n = len(ACTIVATIONS)
    kind_BH = integers(0, n - 1, (B, H), generator)
    shared_B1 = integers(0, n - 1, (B, 1), generator)
    kind_BH = torch.where(bernoulli(same_within_task, (B, 1), generator), shared_B1, kind_BH)
    return apply_by_kind(Z_BRH.transpose(1, 2), kind_BH, ACTIVATIONS).transpose(1, 2)


def draw_linear(V_BRF: Tensor, n_outputs: int, generator: torch.Generator) -> Tensor:
    """Linear outputs with unequal, partly sparse coefficients."""
    B, _, F = V_BRF.shape
    weight_BFT = normal((B, F, n_outputs), generator) * log_uniform(0.05, 1, (B, F, 1), generator)
    return torch.einsum("brf,bft->brt", V_BRF, weight_BFT)


def draw_mlp(V_BRF: Tensor, n_outputs: int, generator: torch.Generator) -> Tensor:
    """A random network of one to three hidden layers (the Bayesian-network prior of Mueller et al. 2022)."""
    B, _, F = V_BRF.shape
    width = int(log_uniform(4, 48, (), generator))
    H_BRH = V_BRF * log_uniform(0.1, 1, (B, 1, F), generator)
    for _ in range(int(integers(1, 3, (), generator))):
        weight_BFH = normal((B, H_BRH.shape[-1], width), generator)
        kept = bernoulli(uniform(0.3, 1, (B, 1, 1), generator), tuple(weight_BFH.shape), generator)
        Z_BRH = standardise(torch.einsum("brf,bfh->brh", H_BRH, weight_BFH * kept), 1)
        gain_B11 = log_uniform(0.5, 3, (B, 1, 1), generator)
        H_BRH = activate(Z_BRH * gain_B11 + normal((B, 1, width), generator), generator)
    return draw_linear(H_BRH, n_outputs, generator)


def draw_additive(V_BRF: Tensor, n_outputs: int, generator: torch.Generator) -> Tensor:
    """Sums of one-column curves (a random generalised additive model, Hastie & Tibshirani 1986)."""
    B, R, F = V_BRF.shape
    kind_BF = choice([2] + [1] * (len(ACTIVATIONS) - 1), (B, F), generator)
    scale_B1F = log_uniform(0.5, 3, (B, 1, F), generator)
    Z_BRF = V_BRF * scale_B1F + normal((B, 1, F), generator)
    curves_BFR = standardise(apply_by_kind(Z_BRF.transpose(1, 2), kind_BF, ACTIVATIONS), 2)
    return draw_linear(curves_BFR.transpose(1, 2), n_outputs, generator)
