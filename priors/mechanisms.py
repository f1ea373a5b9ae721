"""Activations that random functions are built from."""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from torch import Tensor

from priors.draw import apply_by_kind, bernoulli, integers

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
