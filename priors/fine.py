"""Targets of fine structure: many small cells or waves of one to three columns, as of soils or repeated visits.

Maps, time tables, batches, people known by their age: what neighbouring values share ends after an eighth of the
column or much less, and a value is worth what its nearest rows say. A forest reads that at once.

Dimension key: B tasks, R rows, F features, J fine columns, C cells, W waves, T outputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from priors.draw import bernoulli, integers, log_uniform, normal, permutation, standardise, uniform
from priors.features import draw_columns
from priors.linear import draw_linear
from priors.table import LatentTable, TablePrior
from priors.task import TaskShape
from priors.tree import draw_trees

_N_WAVES = 64
_FEWEST_CELLS = 8
# Cells are numbered together, two for each column at least.
_MOST_COLUMNS = 8


@dataclass(frozen=True)
class FinePrior(TablePrior):
    """Up to three columns whose joint or separate cells, or whose rough field, the target follows; the others as usual.

    The fine columns of a task have 8 cells together at least, and one to `rows_per_cell` rows at most. Cells may be
    joint (all fine columns together), apart (a sum over the columns), or no cells but a field with a period for every
    four of them. In half of the tasks with cells a column records its cell, so that values repeat, in a third of these
    in no order; in a third of the tasks a cell also changes the slope of another column. The share of the signal is a
    task-level draw.

    Args:
        max_columns: most fine columns of a task.
        rows_per_cell: rows of a cell, on average, where cells are finest.

    Source:
        Grinsztajn, Oyallon & Varoquaux (2022), Why do tree-based models still outperform deep learning on typical
        tabular data?, arXiv:2207.08815: networks are biased to overly smooth solutions.
    """

    max_columns: int = 3
    rows_per_cell: float = 5.0

    def __post_init__(self):
        super().__post_init__()
        if self.max_columns not in range(1, _MOST_COLUMNS + 1):
            raise ValueError(f"max_columns is a whole number from 1 to {_MOST_COLUMNS}, got {self.max_columns}.")
        if not 1 <= self.rows_per_cell < math.inf:
            raise ValueError(f"rows_per_cell must be a finite number of at least 1, got {self.rows_per_cell}.")

    def sample_latent(self, shape: TaskShape, n_outputs: int, generator: torch.Generator) -> LatentTable:
        B, R, F = shape.n_tasks, shape.n_rows, shape.n_features
        g = generator
        J = min(F, int(integers(1, self.max_columns, (), g)))
        most = max(_FEWEST_CELLS + 0.01, R / self.rows_per_cell)
        n_cells_B11 = log_uniform(_FEWEST_CELLS, most, (B, 1, 1), g)
        place_BRJ = uniform(0, 1, (B, R, J), g)
        joint_B11 = bernoulli(0.5, (B, 1, 1), g)
        # Of each column: the root of all where they count together, its part where they count apart.
        fewest = next(n for n in range(2, _FEWEST_CELLS + 1) if n**J >= _FEWEST_CELLS)
        each_B11 = torch.where(joint_B11, n_cells_B11 ** (1 / J), n_cells_B11 / J).floor().clamp_min(fewest)
        cell_BRJ = torch.minimum((place_BRJ * each_B11).floor(), each_B11 - 1).long()

        power_J = torch.arange(J, device=g.device)
        number_BR1 = (cell_BRJ * each_B11.long() ** power_J).sum(-1, keepdim=True)
        K = int(most) + 1
        C = max(K, fewest**J)  # those apart are more together, and share what lies beyond
        together_BRT = _looked_up(number_BR1.clamp(max=C - 1), C, n_outputs, g)
        apart_BRT = torch.stack([_looked_up(cell_BRJ[..., j : j + 1], K, n_outputs, g) for j in range(J)]).sum(0)
        in_cells_BRT = torch.where(joint_B11, together_BRT, standardise(apart_BRT, 1))
        is_field_B11 = bernoulli(0.35, (B, 1, 1), g)
        fine_BRT = torch.where(is_field_B11, _field(place_BRJ, each_B11, n_outputs, g), in_cells_BRT)

        recorded_B1J = bernoulli(0.5, (B, 1, J), g) & ~is_field_B11
        in_order_B1J = bernoulli(0.67, (B, 1, J), g)
        code_BJK = normal((B, J, K), g)
        coded_BRJ = code_BJK.gather(2, cell_BRJ.mT).mT
        middle_BRJ = torch.erfinv(2 * (cell_BRJ + 0.5) / each_B11 - 1)
        X_BRF = torch.where(recorded_B1J, torch.where(in_order_B1J, middle_BRJ, coded_BRJ), _shown(place_BRJ, g))
        flagged_BF = torch.zeros((B, J), dtype=torch.bool, device=g.device)
        outputs_BRT = fine_BRT
        if F > J:
            others = draw_columns(replace(shape, n_features=F - J), g)
            linear_BRT = draw_linear(others.effect, n_outputs, g)
            rest_BRT = torch.where(bernoulli(0.5, (B, 1, 1), g), linear_BRT, draw_trees(others.effect, n_outputs, g))
            slope_BRT = _looked_up(number_BR1.clamp(max=C - 1), C, n_outputs, g) * others.effect[..., :1]
            moved_BRT = torch.where(bernoulli(0.33, (B, 1, 1), g) & ~is_field_B11, slope_BRT, 0.0)
            share_B11 = uniform(0.3, 1.0, (B, 1, 1), g)
            outputs_BRT = share_B11 * standardise(fine_BRT + 0.5 * moved_BRT, 1)
            outputs_BRT = outputs_BRT + (1 - share_B11) * standardise(rest_BRT, 1)
            X_BRF = torch.cat([X_BRF, others.X], -1)
            flagged_BF = torch.cat([flagged_BF, others.is_categorical], -1)
        order_BF = permutation((B, F), g)
        X_BRF = X_BRF.gather(2, order_BF[:, None].expand(B, R, F))
        return LatentTable(X_BRF, flagged_BF.gather(1, order_BF), standardise(outputs_BRT, 1))


def _looked_up(number_BR1: Tensor, C: int, n_outputs: int, g: torch.Generator) -> Tensor:
    """(B, R, T) standardised: what each row's cell is worth, a normal draw for each of `C` cells."""
    B, R, _ = number_BR1.shape
    worth_BCT = normal((B, C, n_outputs), g)
    return standardise(worth_BCT.gather(1, number_BR1.expand(B, R, n_outputs)), 1)


def _field(place_BRJ: Tensor, each_B11: Tensor, n_outputs: int, g: torch.Generator) -> Tensor:
    """(B, R, T) standardised: a random field over the fine columns."""
    B, _, J = place_BRJ.shape
    frequency_BJW = each_B11 / 4 * normal((B, J, _N_WAVES), g)
    phase_B1W = uniform(0, 2 * math.pi, (B, 1, _N_WAVES), g)
    waves_BRW = torch.cos(2 * math.pi * (place_BRJ @ frequency_BJW) + phase_B1W)
    return standardise(waves_BRW @ normal((B, _N_WAVES, n_outputs), g), 1)


def _shown(place_BRJ: Tensor, g: torch.Generator) -> Tensor:
    """Even places as columns: even, normal or skewed."""
    B, _, J = place_BRJ.shape
    bell_BRJ = torch.erfinv((2 * place_BRJ - 1).clamp(-0.9999, 0.9999))
    skewed_BRJ = torch.where(bernoulli(0.4, (B, 1, J), g), torch.exp(bell_BRJ), bell_BRJ)
    return torch.where(bernoulli(0.4, (B, 1, J), g), place_BRJ, skewed_BRJ)
