"""Tables whose target is a random function of the columns: linear, smooth, additive, or ruled by trees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from priors.additive import draw_additive
from priors.draw import bernoulli, choice, log_uniform, standardise
from priors.features import draw_columns
from priors.gp import draw_fourier
from priors.linear import draw_linear
from priors.mlp import draw_mlp
from priors.table import LatentTable, TablePrior
from priors.task import TaskShape
from priors.tree import draw_trees

FUNCTIONS = {
    "linear": draw_linear,
    "additive": draw_additive,
    "mlp": draw_mlp,
    "gp": draw_fourier,
    "tree": draw_trees,
}


@dataclass(frozen=True)
class FunctionPrior(TablePrior):
    """Columns first, then `target = f(columns)`; half of the batches add two functions.

    Args:
        linear, additive, mlp, gp, tree: weights with which each kind of function is drawn.
    """

    linear: float = 2.5
    additive: float = 1.0
    mlp: float = 2.0
    gp: float = 1.5
    tree: float = 3.0

    def sample_latent(self, shape: TaskShape, n_outputs: int, generator: torch.Generator) -> LatentTable:
        columns = draw_columns(shape, generator)
        outputs_BRT = self._draw(columns.effect, n_outputs, generator)
        if bool(bernoulli(0.5, (), generator)):
            share_B11 = log_uniform(0.05, 1, (shape.n_tasks, 1, 1), generator)
            outputs_BRT = outputs_BRT + share_B11 * self._draw(columns.effect, n_outputs, generator)
        return LatentTable(columns.X, columns.is_categorical, outputs_BRT)

    def _draw(self, effect_BRF: Tensor, n_outputs: int, generator: torch.Generator) -> Tensor:
        weights = [getattr(self, name) for name in FUNCTIONS]
        name = list(FUNCTIONS)[int(choice(weights, (), generator))]
        return standardise(FUNCTIONS[name](effect_BRF, n_outputs, generator), 1)
