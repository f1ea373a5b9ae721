"""Targets that are random neural networks of the columns."""

from __future__ import annotations

import torch
from torch import Tensor

from priors.draw import bernoulli, integers, log_uniform, normal, standardise, uniform
from priors.linear import draw_linear
from priors.mechanisms import activate


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
