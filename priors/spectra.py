"""Tables whose columns are points of one smooth curve: spectra, outlines, moments of shapes, readings along an axis.

Neighbouring columns nearly repeat each other, and what tells the classes apart are a few factors that all columns
share: many columns, many classes, little noise.

Dimension key: B tasks, R rows, F features along the axis, L factors, T outputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from priors.draw import bernoulli, integers, log_uniform, normal, permutation, standardise, uniform
from priors.table import LatentTable, TablePrior
from priors.task import TaskShape


@dataclass(frozen=True)
class SpectraPrior(TablePrior):
    """Smooth curves of a few factors; an output is how near the factors lie to a prototype of its own.

    Args:
        max_factors: most factors of a curve; log-uniform per batch.
    """

    max_factors: int = 12

    def __post_init__(self):
        super().__post_init__()
        if self.max_factors < 1:
            raise ValueError(f"max_factors must be at least 1, got {self.max_factors}.")

    def sample_latent(self, shape: TaskShape, n_outputs: int, generator: torch.Generator) -> LatentTable:
        B, R, F = shape.n_tasks, shape.n_rows, shape.n_features
        g = generator
        L = int(log_uniform(1, self.max_factors + 0.99, (), g))
        # Rows lie around the prototypes, from heaps that hardly touch to a single cloud.
        prototype_BTL = normal((B, n_outputs, L), g)
        spread_B11 = log_uniform(0.15, 1.5, (B, 1, 1), g) * math.sqrt(L) ** 0.5
        own_BR = integers(0, n_outputs - 1, (B, R), g)
        centre_BRL = prototype_BTL.gather(1, own_BR[..., None].expand(B, R, L))
        z_BRL = centre_BRL + spread_B11 * normal((B, R, L), g)

        # A factor is a wave, a bump or a slope along the axis; a third of the tasks bend the factors first.
        place_F = torch.linspace(0, 1, F, device=g.device) if F > 1 else torch.full((1,), 0.5, device=g.device)
        rate_BL1, phase_BL1 = log_uniform(0.3, 6, (B, L, 1), g), uniform(0, 2 * math.pi, (B, L, 1), g)
        wave_BLF = torch.sin(2 * math.pi * rate_BL1 * place_F + phase_BL1)
        width_BL1 = log_uniform(0.05, 0.5, (B, L, 1), g)
        bump_BLF = torch.exp(-((place_F - uniform(0, 1, (B, L, 1), g)) / width_BL1).square())
        basis_BLF = torch.where(bernoulli(0.5, (B, L, 1), g), wave_BLF, bump_BLF) * log_uniform(0.2, 1, (B, L, 1), g)
        bent_BRL = torch.where(bernoulli(0.33, (B, 1, 1), g), torch.tanh(1.5 * z_BRL) + 0.2 * z_BRL.square(), z_BRL)
        X_BRF = standardise(bent_BRL @ basis_BLF, 1) + log_uniform(0.005, 0.5, (B, 1, 1), g) * normal((B, R, F), g)
        # A scale for all columns of a row, as brightness or size has it.
        gain_BR1 = torch.exp(0.5 * normal((B, R, 1), g)).where(bernoulli(0.25, (B, 1, 1), g), torch.ones(()).to(X_BRF))
        X_BRF = X_BRF * gain_BR1
        # In half of the tasks the columns come in another order than along the axis.
        order_BF = torch.where(bernoulli(0.5, (B, 1), g), permutation((B, F), g), torch.arange(F, device=g.device))
        X_BRF = X_BRF.gather(2, order_BF[:, None].expand(B, R, F))

        near_BRT = -torch.cdist(z_BRL, prototype_BTL).square() / L
        line_BRT = z_BRL @ normal((B, L, n_outputs), g) / math.sqrt(L)
        outputs_BRT = torch.where(bernoulli(0.7, (B, 1, 1), g), near_BRT, line_BRT)
        return LatentTable(X_BRF, torch.zeros((B, F), dtype=torch.bool, device=g.device), outputs_BRT)
