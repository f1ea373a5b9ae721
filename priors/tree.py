"""Targets ruled by axis-aligned thresholds: sums of oblivious trees, as bit-index look-ups.

An oblivious tree asks the same question of every row at each depth (Prokhorenkova et al. 2018, CatBoost), so a tree
of depth D is D comparisons and one look-up in a table of 2^D leaves: batched, with no loop over tasks or trees.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from priors.draw import integers, log_uniform, normal, uniform
from priors.features import draw_columns
from priors.table import LatentTable, TablePrior
from priors.task import TaskShape


@dataclass(frozen=True)
class TreePrior(TablePrior):
    """Tables whose target is a sum of oblivious trees over the columns.

    Args:
        max_trees: most trees of a sum; the number is log-uniform per batch.
    """

    max_trees: int = 48

    def sample_latent(self, shape: TaskShape, n_outputs: int, generator: torch.Generator) -> LatentTable:
        columns = draw_columns(shape, generator)
        outputs_BRT = draw_trees(columns.effect, n_outputs, generator, self.max_trees)
        # A lone tree whose thresholds are maxima has one leaf; such a task follows its columns' mean instead.
        single_leaf_B11 = outputs_BRT.eq(outputs_BRT[:, :1]).all(1, keepdim=True).any(2, keepdim=True)
        mean_BR1 = columns.effect.mean(2, keepdim=True) + 1e-3 * normal((*columns.effect.shape[:2], 1), generator)
        outputs_BRT = torch.where(single_leaf_B11, mean_BR1, outputs_BRT)
        return LatentTable(columns.X, columns.is_categorical, outputs_BRT)


def draw_trees(V_BRF: Tensor, n_outputs: int, generator: torch.Generator, max_trees: int = 24) -> Tensor:
    """(B, R, n_outputs) sums of random oblivious trees over the columns `V_BRF`.

    Thresholds are values of random rows, so splits follow the data; a task-level importance decides which columns
    are asked, so that some columns are irrelevant. Depth (1-6) is a task-level draw; shallower trees repeat a bit.
    """
    B, R, F = V_BRF.shape
    g = generator
    n_trees = int(log_uniform(1, max_trees + 0.99, (), g))
    max_depth = int(integers(1, 6, (), g))
    depth_B11 = integers(1, max_depth, (B, 1, 1), g)
    importance_BF = torch.softmax(normal((B, F), g) * uniform(0, 3, (B, 1), g), -1)
    n_questions = n_trees * max_depth
    column_BQ = torch.multinomial(importance_BF, n_questions, replacement=True, generator=g)
    row_BQ = integers(0, R - 1, (B, n_questions), g)
    value_BRQ = V_BRF.gather(2, column_BQ[:, None, :].expand(B, R, n_questions))
    threshold_B1Q = value_BRQ.gather(1, row_BQ[:, None, :])
    bit_BRTD = (value_BRQ > threshold_B1Q).view(B, R, n_trees, max_depth)
    live_B1TD = torch.arange(max_depth, device=g.device) < depth_B11[..., None]
    power_D = 2 ** torch.arange(max_depth, device=g.device)
    leaf_BRT = (bit_BRTD & live_B1TD).long().mul(power_D).sum(-1)

    leaves_BTLO = normal((B, n_trees, 2**max_depth, n_outputs), g)
    decay_T = torch.arange(1, n_trees + 1, device=g.device) ** (-uniform(0, 1, (), g))
    leaves_BTLO = leaves_BTLO * decay_T[:, None, None]
    flat_BXO = leaves_BTLO.flatten(1, 2)
    offset_T = torch.arange(n_trees, device=g.device) * 2**max_depth
    index_BY = (leaf_BRT + offset_T).flatten(1)
    picked_BYO = flat_BXO.gather(1, index_BY[..., None].expand(-1, -1, n_outputs))
    return picked_BYO.view(B, R, n_trees, n_outputs).sum(2)
