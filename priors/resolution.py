"""Numbers are recorded to a finite precision: ages in years, prices in cents, sensor readings of ten bits.

Of everything that told prior tables from real ones, this told most (benchmarks/realism.md): half of the numeric columns
of real tables repeat their values, continuous draws never do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from priors.draw import bernoulli, log_uniform, nothing_in
from priors.task import TaskBatch
from priors.transform import Rate, check_range, check_rate, column_moments, draw_rate, is_constant


@dataclass(frozen=True)
class Resolution:
    """Rounds numeric columns, and regression targets, to a grid of their own.

    The grid has a log-uniform number of steps per standard deviation; all columns of a task draw around a level of the
    task, since a table is recorded with one kind of care. A column that would become constant stays as it is.
    """

    columns: Rate = (0.2, 1.0)
    """Chance that a numeric column is rounded; per task from the range."""
    targets: Rate = 0.6
    """Chance that a regression target is rounded."""
    steps: tuple[float, float] = (1.5, 100.0)
    """Range of a task's level: grid steps per standard deviation; columns differ from it by a factor up to 4."""

    def __post_init__(self):
        check_rate(self, "columns", 0, 1)
        check_rate(self, "targets", 0, 1)
        check_range(self, "steps", above=0)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        B, _, F = batch.X.shape
        g = generator
        level_B11 = log_uniform(*self.steps, (B, 1, 1), g)
        rounded_BF = bernoulli(draw_rate(self.columns, B, g), (B, F), g) & ~batch.is_categorical
        _, std_B1F = column_moments(batch.X)
        step_B1F = (std_B1F / (level_B11 * log_uniform(0.25, 4, (B, 1, F), g))).clamp_min(1e-12)
        grid_BRF = torch.round(batch.X / step_B1F) * step_B1F
        rounded_BF = rounded_BF & ~is_constant(grid_BRF)
        if not nothing_in(rounded_BF):
            batch = replace(batch, X=torch.where(rounded_BF[:, None], grid_BRF, batch.X))
        rounds_B1 = bernoulli(draw_rate(self.targets, B, g), (B, 1), g)
        step_B1 = log_uniform(*self.steps, (B, 1), g)
        if batch.n_classes is None and not nothing_in(rounds_B1):
            step_B1 = (batch.y.std(1, keepdim=True) / step_B1).clamp_min(1e-12)
            grid_BR = torch.round(batch.y / step_B1) * step_B1
            varied_B1 = grid_BR[:, : batch.n_context].std(1, keepdim=True) > 0
            batch = replace(batch, y=torch.where(rounds_B1 & varied_B1, grid_BR, batch.y))
        return batch
