"""Targets read off cross-tabulations: cell means of two to four crossed factors, equal levels a case of their own.

Contingency tables, designed experiments, matches of two teams, raters who agree or do not: what decides is which levels
meet, and large counts often sit on the diagonal.

Dimension key: B tasks, R rows, F features, J factors, K levels, T outputs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from priors.columns import cut, level_shares
from priors.draw import bernoulli, integers, log_uniform, normal, permutation, standardise, uniform
from priors.features import draw_columns
from priors.linear import draw_linear
from priors.table import LatentTable, TablePrior
from priors.task import TaskShape


@dataclass(frozen=True)
class CrossedPrior(TablePrior):
    """Tables of crossed factors and covariates; main effects, one interaction, and an effect of equal levels.

    In half of the tasks all factors have the same levels, and the first two may act through being equal; in half of the
    tasks effects multiply, which makes targets as heavy-tailed as counts in a table are.

    Args:
        max_levels: most levels of a factor; log-uniform per batch.

    Source:
        Goodman (1979), Simple models for the analysis of association in cross-classifications having ordered
        categories, doi:10.2307/2286971, for diagonal and interaction effects.
    """

    max_levels: int = 20

    def __post_init__(self):
        super().__post_init__()
        if self.max_levels < 2:
            raise ValueError(f"max_levels must be at least 2, got {self.max_levels}.")

    def sample_latent(self, shape: TaskShape, n_outputs: int, generator: torch.Generator) -> LatentTable:
        B, R, F = shape.n_tasks, shape.n_rows, shape.n_features
        g = generator
        J = min(F, int(integers(2, 4, (), g)))
        K = int(log_uniform(2, min(self.max_levels, max(2, R // 4)) + 0.99, (), g))
        alike_B1 = bernoulli(0.5, (B, 1), g)
        n_levels_BJ = torch.where(alike_B1, K, integers(2, K, (B, J), g))
        ordinal_BJ = torch.where(alike_B1, bernoulli(0.5, (B, 1), g), bernoulli(0.5, (B, J), g))
        zipf_B1 = torch.where(bernoulli(0.5, (B, 1), g), 0.0, uniform(0, 1.5, (B, 1), g)).expand(B, J)
        n_levels_D1 = n_levels_BJ.reshape(-1, 1)
        level_DR = cut(uniform(0, 1, (B * J, R), g), level_shares(n_levels_D1, zipf_B1.reshape(-1, 1)), n_levels_D1)
        level_BJR = level_DR.view(B, J, R)

        outputs_BRT = self._effects(level_BJR, ordinal_BJ, alike_B1, K, n_outputs, g)
        # One shuffle per task: factors that have the same levels name them alike.
        key_BJK = uniform(0, 1, (B, 1, K), g).masked_fill(torch.arange(K, device=g.device) >= n_levels_BJ[..., None], 2)
        code_BJK = key_BJK.argsort(-1).argsort(-1)
        code_BJK = torch.where(ordinal_BJ[..., None], torch.arange(K, device=g.device), code_BJK)
        X_BRF = code_BJK.gather(2, level_BJR).mT.float()
        flagged_BF = ~ordinal_BJ & bernoulli(0.85, (B, J), g)
        if F > J:
            covariates = draw_columns(replace(shape, n_features=F - J), g)
            share_B11 = log_uniform(0.02, 1, (B, 1, 1), g)
            outputs_BRT = outputs_BRT + share_B11 * standardise(draw_linear(covariates.effect, n_outputs, g), 1)
            X_BRF = torch.cat([X_BRF, covariates.X], -1)
            flagged_BF = torch.cat([flagged_BF, covariates.is_categorical], -1)
        power_B11 = uniform(0.5, 2, (B, 1, 1), g)
        outputs_BRT = standardise(outputs_BRT, 1)
        grown_BRT = torch.exp((power_B11 * outputs_BRT).clamp(-8, 8))
        outputs_BRT = torch.where(bernoulli(0.5, (B, 1, 1), g), grown_BRT, outputs_BRT)

        order_BF = permutation((B, F), g)
        X_BRF = X_BRF.gather(2, order_BF[:, None].expand(B, R, F))
        return LatentTable(X_BRF, flagged_BF.gather(1, order_BF), outputs_BRT)

    def _effects(
        self, level_BJR: Tensor, ordinal_BJ: Tensor, alike_B1: Tensor, K: int, T: int, g: torch.Generator
    ) -> Tensor:
        B, J, R = level_BJR.shape
        main_BJKT = normal((B, J, K, T), g)
        # Along ordered levels effects move in small steps.
        main_BJKT = torch.where(ordinal_BJ[..., None, None], main_BJKT.cumsum(2) / K**0.5, main_BJKT)
        main_BJKT = main_BJKT * log_uniform(0.05, 1, (B, J, 1, 1), g)
        effect_BRT = main_BJKT.gather(2, level_BJR[..., None].expand(B, J, R, T)).sum(1)
        left_BR, right_BR = level_BJR[:, 0], level_BJR[:, min(1, J - 1)]
        cell_BR = left_BR * K + right_BR
        meeting_BXT = normal((B, K * K, T), g) * log_uniform(0.05, 2, (B, 1, 1), g)
        effect_BRT = effect_BRT + meeting_BXT.gather(1, cell_BR[..., None].expand(B, R, T))
        equal_BR1 = (left_BR == right_BR)[..., None] & (alike_B1 & bernoulli(0.5, (B, 1), g))[..., None]
        bonus_BKT = log_uniform(0.5, 4, (B, 1, 1), g) * (normal((B, 1, T), g) + 0.3 * normal((B, K, T), g))
        effect_BRT = effect_BRT + equal_BR1 * bonus_BKT.gather(1, left_BR[..., None].expand(B, R, T))
        # Cells alone tie many rows; where classes are cut at quantiles, ties would be broken by row number.
        return effect_BRT + 1e-3 * normal((B, R, T), g)
