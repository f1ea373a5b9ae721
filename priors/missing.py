"""Missing cells: completely at random, at random, not at random, and in blocks. X only.

The share of missing cells in an affected column is exactly the rate asked for, in expectation over the draws and for
every table, whatever its columns look like. A column that would be left with fewer than two distinct values keeps its
cells. Mechanisms: Rubin (1976), Inference and missing data, doi:10.1093/biomet/63.3.581.

Dimension key: B tasks, R rows, F features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from priors.draw import bernoulli, choice, integers, log_uniform, normal, nothing_in, uniform
from priors.task import TaskBatch
from priors.transform import Rate, check_rate, draw_rate, is_constant, modulate, standardised_cells


@dataclass(frozen=True)
class MissingCompletelyAtRandom:
    """MCAR: a cell goes missing whatever the table says."""

    rate: Rate = 0.1
    """Share of missing cells in an affected column."""
    columns: Rate = 1.0
    """Share of the columns that have gaps."""

    def __post_init__(self):
        check_rate(self, "rate", 0, 1)
        check_rate(self, "columns", 0, 1)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        rate_B1F, _ = _draw_rates(self, batch.X, generator)
        return replace(batch, X=blank(batch.X, rate_B1F, generator))


@dataclass(frozen=True)
class MissingAtRandom:
    """MAR: a cell goes missing by the value of another column, which itself gets no gaps.

    One column of each task, at least, stays whole to drive the others; with a single column there is none, and cells
    go missing completely at random.
    """

    rate: Rate = 0.1
    columns: Rate = 1.0
    strength: Rate = 2.0
    """Slope of the log odds in the standardised driver."""

    def __post_init__(self):
        check_rate(self, "rate", 0, 1)
        check_rate(self, "columns", 0, 1)
        check_rate(self, "strength", 0, 20)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        B, _, F = batch.X.shape
        rate_B1F, open_B1F = _draw_rates(self, batch.X, generator)
        if F > 1:
            kept_B1 = integers(0, F - 1, (B, 1), generator)
            open_B1F = open_B1F.scatter(2, kept_B1[:, None], False)
            rate_B1F = rate_B1F * open_B1F
        driver_BF = torch.multinomial((~open_B1F[:, 0]).float() + 1e-12 * (F == 1), F, True, generator=generator)
        slope_B1F = _draw_slopes(self.strength, batch.X, generator) * (F > 1)
        return replace(batch, X=blank(batch.X, follow(batch.X, rate_B1F, slope_B1F, driver_BF), generator))


@dataclass(frozen=True)
class MissingNotAtRandom:
    """MNAR: a cell goes missing by its own value; in a random half of the columns high values hide, else low ones."""

    rate: Rate = 0.1
    columns: Rate = 1.0
    strength: Rate = 2.0
    """Slope of the log odds in the standardised value."""

    def __post_init__(self):
        check_rate(self, "rate", 0, 1)
        check_rate(self, "columns", 0, 1)
        check_rate(self, "strength", 0, 20)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        rate_B1F, _ = _draw_rates(self, batch.X, generator)
        slope_B1F = _draw_slopes(self.strength, batch.X, generator)
        return replace(batch, X=blank(batch.X, follow(batch.X, rate_B1F, slope_B1F), generator))


@dataclass(frozen=True)
class MissingBlocks:
    """A block of columns is missing together in a share of the rows, as a test that was not taken or a late sensor."""

    rate: Rate = 0.1
    """Share of the rows that lack the block."""
    columns: Rate = 0.3
    """Share of the columns in the block."""

    def __post_init__(self):
        check_rate(self, "rate", 0, 1)
        check_rate(self, "columns", 0, 1)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        B, R, _ = batch.X.shape
        row_BR1 = bernoulli(draw_rate(self.rate, B, generator), (B, R), generator)[..., None]
        open_B1F = _draw_open(self.columns, batch.X, generator)
        return replace(batch, X=_keep_alive(batch.X, batch.X.masked_fill(row_BR1 & open_B1F, torch.nan)))


@dataclass(frozen=True)
class CodedGaps:
    """In a share of the columns, gaps are stored as a number: 0, -1, 99 or -999, or as a further category."""

    columns: Rate = 0.5

    def __post_init__(self):
        check_rate(self, "columns", 0, 1)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        B, _, F = batch.X.shape
        coded_B1F = _draw_open(self.columns, batch.X, generator)
        # People use one code for a whole table.
        codes_K = torch.tensor([0.0, -1.0, 99.0, -999.0], device=batch.X.device)
        code_B11 = codes_K[integers(0, 3, (B, 1, 1), generator)]
        next_B1F = batch.X.nan_to_num(nan=-1.0).amax(1, keepdim=True) + 1
        code_B1F = torch.where(batch.is_categorical[:, None], next_B1F, code_B11)
        X_BRF = torch.where(coded_B1F & batch.X.isnan(), code_B1F, batch.X)
        # A flag whose gaps are all filled with its only other value would be constant.
        return replace(batch, X=_keep_alive(batch.X, X_BRF))


def mask_cells(X_BRF: Tensor, generator: torch.Generator, task_rate: float = 0.3) -> Tensor:
    """Blank cells in `task_rate` of the tasks: completely at random, by another column, or by the value itself.

    The rate is a task-level draw, log-uniform on [.01, .5], and columns scatter around it; in most tasks some
    columns are complete. Only affected tasks are touched.
    """
    g = generator
    index_I = bernoulli(task_rate, (len(X_BRF),), g).nonzero()[:, 0]
    if len(index_I) == 0:
        return X_BRF
    part_BRF = X_BRF[index_I]
    B, _, F = part_BRF.shape
    rate_B1F = (log_uniform(0.01, 0.5, (B, 1, 1), g) * uniform(0, 2, (B, 1, F), g)).clamp_max(0.9)
    complete_B11 = uniform(0, 0.8, (B, 1, 1), g)
    rate_B1F = torch.where(bernoulli(complete_B11, (B, 1, F), g), 0.0, rate_B1F)
    mechanism_B11 = choice([2, 1, 1], (B, 1, 1), g)  # MCAR, MAR, MNAR
    slope_B1F = torch.where(mechanism_B11 > 0, 2 * normal((B, 1, F), g), 0.0)
    itself_F = torch.arange(F, device=g.device)
    driver_BF = torch.where(mechanism_B11[:, 0] == 1, integers(0, F - 1, (B, F), g), itself_F)
    p_BRF = follow(part_BRF, rate_B1F, slope_B1F, driver_BF)
    return X_BRF.index_copy(0, index_I, blank(part_BRF, p_BRF, g))


def follow(X_BRF: Tensor, rate_B1F: Tensor, slope_B1F: Tensor, driver_BF: Tensor | None = None) -> Tensor:
    """(B, R, F) probabilities that follow a column (each its own without `driver_BF`) and keep the column's rate."""
    Z_BRF = standardised_cells(X_BRF)
    if driver_BF is not None:
        Z_BRF = Z_BRF.gather(2, driver_BF[:, None].expand_as(X_BRF))
    return modulate(rate_B1F, torch.sigmoid(slope_B1F * Z_BRF), 1)


def blank(X_BRF: Tensor, p: Tensor, generator: torch.Generator) -> Tensor:
    """X with cells missing with probability `p`, broadcast to its shape."""
    return _keep_alive(X_BRF, X_BRF.masked_fill(bernoulli(p, tuple(X_BRF.shape), generator), torch.nan))


def _keep_alive(X_BRF: Tensor, masked_BRF: Tensor) -> Tensor:
    dead_BF = is_constant(masked_BRF)
    return masked_BRF if nothing_in(dead_BF) else torch.where(dead_BF[:, None], X_BRF, masked_BRF)


def _draw_open(share: Rate, X_BRF: Tensor, g: torch.Generator) -> Tensor:
    B, _, F = X_BRF.shape
    return bernoulli(draw_rate(share, B, g)[..., None], (B, 1, F), g)


def _draw_rates(transform, X_BRF: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
    open_B1F = _draw_open(transform.columns, X_BRF, g)
    return draw_rate(transform.rate, len(X_BRF), g)[..., None] * open_B1F, open_B1F


def _draw_slopes(strength: Rate, X_BRF: Tensor, g: torch.Generator) -> Tensor:
    B, _, F = X_BRF.shape
    sign_B1F = torch.where(bernoulli(0.5, (B, 1, F), g), 1.0, -1.0)
    return draw_rate(strength, B, g)[..., None] * sign_B1F
