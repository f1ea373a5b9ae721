"""Rows scattered around prototypes that decide their target: Gaussian mixtures."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from priors.draw import bernoulli, log_uniform, normal, standardise, student_t, uniform
from priors.features import as_columns
from priors.table import LatentTable, TablePrior
from priors.task import TaskShape


@dataclass(frozen=True)
class ClustersPrior(TablePrior):
    """Each row belongs to a hidden cluster; a cluster has a prototype row and a value for every output.

    Several clusters may share a class, as in the benchmarks of Guyon (2003, design of the NIPS 2003 variable
    selection challenge); spreads differ by column and cluster, some clusters are heavy-tailed, some columns carry no
    information. For regression a row's value is its prototype's plus, in half of the tasks, a slope inside the cluster.

    Args:
        max_clusters: most prototypes; their number is log-uniform per task.
    """

    max_clusters: int = 16

    def __post_init__(self):
        super().__post_init__()
        if self.max_clusters < 2:
            raise ValueError(f"max_clusters must be at least 2, got {self.max_clusters}.")

    def sample_latent(self, shape: TaskShape, n_outputs: int, generator: torch.Generator) -> LatentTable:
        B, R, F, K = shape.n_tasks, shape.n_rows, shape.n_features, self.max_clusters
        g = generator
        n_clusters_B1 = log_uniform(2, K + 0.99, (B, 1), g).floor()
        skew_B1 = uniform(1, 2.5, (B, 1), g)  # powers above 1 make some clusters rare
        cluster_BR = (uniform(0, 1, (B, R), g) ** skew_B1 * n_clusters_B1).long().clamp_max(K - 1)

        def of_own_cluster(values_BKX):
            return values_BKX.gather(1, cluster_BR[..., None].expand(-1, -1, values_BKX.shape[-1]))

        relevant_B1F = bernoulli(uniform(0.3, 1, (B, 1, 1), g), (B, 1, F), g)
        relevant_B1F[..., 0] = True
        spread_BKF = log_uniform(0.05, 0.8, (B, 1, 1), g) * log_uniform(0.5, 2, (B, K, F), g)
        scatter_BRF = normal((B, R, F), g)
        heavy_B = bernoulli(0.2, (B,), g)
        heavy_I = heavy_B.nonzero()[:, 0]
        n_heavy = len(heavy_I)
        if n_heavy:
            scatter_BRF[heavy_I] = student_t(log_uniform(2, 8, (n_heavy, 1, 1), g), (n_heavy, R, F), g)
        prototype_BKF = normal((B, K, F), g)
        Z_BRF = of_own_cluster(prototype_BKF) + scatter_BRF * of_own_cluster(spread_BKF)
        Z_BRF = standardise(torch.where(relevant_B1F, Z_BRF, scatter_BRF), 1)

        outputs_BRT = of_own_cluster(normal((B, K, n_outputs), g))
        slope_BFT = normal((B, F, n_outputs), g) * relevant_B1F.mT / F**0.5
        # Never zero: the slope also breaks ties where classes are cut at quantiles.
        steepness_B11 = torch.where(bernoulli(0.5, (B, 1, 1), g), uniform(0, 1, (B, 1, 1), g), 0.02)
        outputs_BRT = outputs_BRT + steepness_B11 * torch.einsum("brf,bft->brt", scatter_BRF.clamp(-5, 5), slope_BFT)

        columns = as_columns(Z_BRF, g)
        return LatentTable(columns.X, columns.is_categorical, outputs_BRT)
