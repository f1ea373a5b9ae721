"""Targets of what little tells columns apart: differences, ratios and shapes beside a size that all columns share.

Outlines and moments, prices of one day, counts of one place, doses and weights: columns repeat each other, and what is
asked is often what is left when the repetition is taken out. Functions of the columns as they are would hardly read it.

Dimension key: B tasks, R rows, F features, L shared factors, T outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from priors.draw import bernoulli, integers, log_uniform, normal, standardise, uniform
from priors.features import as_columns
from priors.function import FUNCTIONS
from priors.table import LatentTable, TablePrior
from priors.task import TaskShape
from priors.transform import check_range


@dataclass(frozen=True)
class ContrastsPrior(TablePrior):
    """Columns of a few shared factors and a small part of their own, which the target reads as loudly as the factors.

    Args:
        own: range of the standard deviation of what is a column's own, beside 1 of what it shares, log-uniform per
            task; a column differs from its task's by a factor up to 2.
        max_shared: most shared factors; never more than half as many as columns (one of one column), or they would
            tell nothing apart.

    Source:
        Jolliffe (1982), A note on the use of principal components in regression, doi:10.2307/2348005: components of
        small variance can be the ones that matter.
    """

    own: tuple[float, float] = (0.03, 1.0)
    max_shared: int = 4

    def __post_init__(self):
        super().__post_init__()
        check_range(self, "own", above=0)
        if self.max_shared < 1:
            raise ValueError(f"max_shared must be at least 1, got {self.max_shared}.")

    def sample_latent(self, shape: TaskShape, n_outputs: int, generator: torch.Generator) -> LatentTable:
        B, R, F = shape.n_tasks, shape.n_rows, shape.n_features
        g = generator
        L = int(integers(1, min(self.max_shared, max(1, F // 2)), (), g))
        shared_BRL, own_BRF = normal((B, R, L), g), normal((B, R, F), g)
        loading_BLF = normal((B, L, F), g)
        # One factor in half of the tasks: the size of all that was measured, of one sign.
        one_B11 = bernoulli(0.5, (B, 1, 1), g)
        first_L1 = (torch.arange(L, device=g.device) == 0)[:, None]
        loading_BLF = torch.where(one_B11, (loading_BLF.abs() + 0.5) * first_L1, loading_BLF)
        size_B1F = log_uniform(*self.own, (B, 1, 1), g) * log_uniform(0.5, 2, (B, 1, F), g)
        Z_BRF = standardise(standardise(shared_BRL @ loading_BLF, 1) + size_B1F * own_BRF, 1)

        # What is read: what columns have of their own, once more or beside what they share.
        read_BRL = torch.where(bernoulli(0.5, (B, 1, L), g), shared_BRL, own_BRF[..., :L])
        read_BRK = torch.cat([own_BRF, read_BRL], -1)
        name = list(FUNCTIONS)[int(integers(0, len(FUNCTIONS) - 1, (), g))]
        outputs_BRT = standardise(FUNCTIONS[name](read_BRK, n_outputs, g), 1)

        # Measured as it is, all on a scale of ratios, or each column in its own way.
        shown = as_columns(Z_BRF, g)
        grown_BRF = torch.exp(uniform(0.2, 1, (B, 1, 1), g) * Z_BRF)
        plain_BRF = torch.where(bernoulli(0.35, (B, 1, 1), g), grown_BRF, Z_BRF)
        own_way_B1 = bernoulli(0.2, (B, 1), g)
        X_BRF = torch.where(own_way_B1[..., None], shown.X, plain_BRF)
        return LatentTable(X_BRF, shown.is_categorical & own_way_B1, outputs_BRT)
