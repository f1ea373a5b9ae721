"""Targets that are sums of curves of one column, with or without a few products of two."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from priors.draw import apply_by_kind, bernoulli, choice, integers, log_uniform, normal, standardise
from priors.features import draw_columns
from priors.linear import draw_linear
from priors.mechanisms import ACTIVATIONS
from priors.table import LatentTable, TablePrior
from priors.task import TaskShape


@dataclass(frozen=True)
class AdditivePrior(TablePrior):
    """Generalised additive models; some batches add smooth interactions of two columns.

    Args:
        pairs: share of the batches with interactions.

    Source:
        Hastie & Tibshirani (1986), Generalized Additive Models; interactions as in Lou et al. (2013, GA2M).
    """

    pairs: float = 0.3

    def sample_latent(self, shape: TaskShape, n_outputs: int, generator: torch.Generator) -> LatentTable:
        columns = draw_columns(shape, generator)
        outputs_BRT = standardise(draw_additive(columns.effect, n_outputs, generator), 1)
        if bool(bernoulli(self.pairs, (), generator)):
            weight_B11 = log_uniform(0.1, 1, (shape.n_tasks, 1, 1), generator)
            outputs_BRT = outputs_BRT + weight_B11 * draw_pairs(columns.effect, n_outputs, generator)
        return LatentTable(columns.X, columns.is_categorical, outputs_BRT)


def draw_additive(V_BRF: Tensor, n_outputs: int, generator: torch.Generator) -> Tensor:
    """(B, R, n_outputs) sums of one-column curves of unequal weight."""
    return draw_linear(_curves(V_BRF, generator), n_outputs, generator)


def draw_pairs(V_BRF: Tensor, n_outputs: int, generator: torch.Generator, max_pairs: int = 4) -> Tensor:
    """(B, R, n_outputs) sums of products of curves of two columns each, standardised."""
    B, R, F = V_BRF.shape
    column_BK = integers(0, F - 1, (B, 2 * max_pairs), generator)
    curves_BRK = _curves(V_BRF.gather(2, column_BK[:, None].expand(B, R, -1)), generator)
    left_BRK, right_BRK = curves_BRK.chunk(2, -1)
    return standardise(draw_linear(left_BRK * right_BRK, n_outputs, generator), 1)


def _curves(V_BRF: Tensor, g: torch.Generator) -> Tensor:
    """A random curve of each column, standardised."""
    B, _, F = V_BRF.shape
    kind_BF = choice([2] + [1] * (len(ACTIVATIONS) - 1), (B, F), g)
    Z_BRF = V_BRF * log_uniform(0.5, 3, (B, 1, F), g) + normal((B, 1, F), g)
    return standardise(apply_by_kind(Z_BRF.transpose(1, 2), kind_BF, ACTIVATIONS), 2).transpose(1, 2)
