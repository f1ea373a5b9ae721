"""Tables with columns of many levels, most of them rare, each with an effect of its own: codes, places, people, parts.

Others' priors lack them, and models fail on them: what is to be learnt is a table of many small means, each from few
rows, and how far to shrink them.

Dimension key: B tasks, R rows, F features, J columns of levels, K levels, T outputs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from priors.columns import cut, level_shares, shuffled_codes
from priors.draw import bernoulli, integers, log_uniform, normal, permutation, standardise, uniform
from priors.features import draw_columns
from priors.linear import draw_linear
from priors.table import LatentTable, TablePrior
from priors.task import TaskShape
from priors.tree import draw_trees


@dataclass(frozen=True)
class LevelsPrior(TablePrior):
    """One or two columns of 10 to 200 levels by a Zipf law, with normal effects, beside ordinary columns.

    In half of the tasks effects come in groups of like levels, in a third a level also changes the slope of another
    column. The levels' share of the signal is a task-level draw.

    Args:
        max_levels: most levels of a column; log-uniform per batch, and at most a third of the rows.

    Source:
        Laird & Ware (1982), Random-effects models for longitudinal data, doi:10.2307/2529876.
    """

    max_levels: int = 200

    def __post_init__(self):
        super().__post_init__()
        if self.max_levels < 2:
            raise ValueError(f"max_levels must be at least 2, got {self.max_levels}.")

    def sample_latent(self, shape: TaskShape, n_outputs: int, generator: torch.Generator) -> LatentTable:
        B, R, F = shape.n_tasks, shape.n_rows, shape.n_features
        g = generator
        J = min(F, int(integers(1, 2, (), g)))
        most = max(2, min(self.max_levels, R // 3))
        K = int(log_uniform(min(10, most), most + 0.99, (), g))
        n_levels_D1 = torch.full((B * J, 1), K, device=g.device)
        share_DK = level_shares(n_levels_D1, uniform(0, 1.2, (B * J, 1), g), g)
        level_BJR = cut(uniform(0, 1, (B * J, R), g), share_DK, n_levels_D1).view(B, J, R)
        X_BRF = shuffled_codes(n_levels_D1, K, g).view(B, J, K).gather(2, level_BJR).mT.float()
        flagged_BF = bernoulli(0.9, (B, J), g)

        effect_BRT = self._effects(level_BJR, K, n_outputs, g)
        if F > J:
            others = draw_columns(replace(shape, n_features=F - J), g)
            linear_BRT = draw_linear(others.effect, n_outputs, g)
            rest_BRT = torch.where(bernoulli(0.5, (B, 1, 1), g), linear_BRT, draw_trees(others.effect, n_outputs, g))
            share_B11 = uniform(0.1, 0.9, (B, 1, 1), g)
            slope_BRT = normal((B, K, n_outputs), g).gather(1, level_BJR[:, 0, :, None].expand(B, R, n_outputs))
            moved_BRT = torch.where(bernoulli(0.33, (B, 1, 1), g), slope_BRT * others.effect[..., :1], 0.0)
            own_BRT = standardise(effect_BRT + 0.5 * moved_BRT, 1)
            effect_BRT = share_B11 * own_BRT + (1 - share_B11) * standardise(rest_BRT, 1)
            X_BRF = torch.cat([X_BRF, others.X], -1)
            flagged_BF = torch.cat([flagged_BF, others.is_categorical], -1)
        order_BF = permutation((B, F), g)
        X_BRF = X_BRF.gather(2, order_BF[:, None].expand(B, R, F))
        return LatentTable(X_BRF, flagged_BF.gather(1, order_BF), effect_BRT)

    def _effects(self, level_BJR: Tensor, K: int, T: int, g: torch.Generator) -> Tensor:
        B, J, R = level_BJR.shape
        own_BJKT = normal((B, J, K, T), g)
        # Like levels: each takes the effect of one of a few groups, up to a small effect of its own.
        group_BJK = integers(0, max(1, K // 8), (B, J, K), g)
        grouped_BJKT = own_BJKT.gather(2, group_BJK[..., None].expand(B, J, K, T)) + 0.2 * own_BJKT
        effect_BJKT = torch.where(bernoulli(0.5, (B, 1, 1, 1), g), grouped_BJKT, own_BJKT)
        effect_BRT = effect_BJKT.gather(2, level_BJR[..., None].expand(B, J, R, T)).sum(1)
        # Levels alone tie many rows; where classes are cut at quantiles, ties would be broken by row number.
        return effect_BRT + 1e-3 * normal((B, R, T), g)
