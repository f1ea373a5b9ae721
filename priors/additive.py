"""Targets that are sums of one-column curves."""

from __future__ import annotations

import torch
from torch import Tensor

from priors.draw import apply_by_kind, choice, log_uniform, normal, standardise
from priors.linear import draw_linear
from priors.mechanisms import ACTIVATIONS


def draw_additive(V_BRF: Tensor, n_outputs: int, generator: torch.Generator) -> Tensor:
    """Sums of one-column curves (a random generalised additive model, Hastie & Tibshirani 1986)."""
    B, R, F = V_BRF.shape
    kind_BF = choice([2] + [1] * (len(ACTIVATIONS) - 1), (B, F), generator)
    scale_B1F = log_uniform(0.5, 3, (B, 1, F), generator)
    Z_BRF = V_BRF * scale_B1F + normal((B, 1, F), generator)
    curves_BFR = standardise(apply_by_kind(Z_BRF.transpose(1, 2), kind_BF, ACTIVATIONS), 2)
    return draw_linear(curves_BFR.transpose(1, 2), n_outputs, generator)
