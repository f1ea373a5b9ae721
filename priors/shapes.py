"""Which shapes of tasks are seen: rows, features and context share, rounded to few distinct values."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch

from priors.draw import log_uniform, uniform
from priors.task import TaskShape

# Few distinct shapes: kernels are compiled or planned per shape, and varying ones make CPU memory grow.
_GRID = sorted({round(2 ** (k / 2)) for k in range(32)} - {1} | {3, 5})


@dataclass(frozen=True)
class ShapeSampler:
    """Rows log-uniform, features skewed to few, context share uniform; as many tasks as fit into `n_cells`."""

    n_cells: int = 6_000
    """Cells (tasks x rows x features) of one batch; what keeps the cost of a step even."""
    rows: tuple[int, int] = (24, 1024)
    """Range of context + query rows."""
    features: tuple[int, int] = (2, 100)
    mean_features: float = 8.0
    """Features are the minimum plus an exponential draw with this mean, cut at the maximum."""
    context_share: tuple[float, float] = (0.3, 0.9)
    max_tasks: int = 32
    most_cells: int | None = None
    """Rows x features of one task at most. Where both are drawn large, one of them, by a coin, gives way: so tall tasks
    and wide ones are let in, and no step costs many times the mean one."""
    first_cells: int | None = None
    """Cells of a batch at step 0; they grow geometrically to `n_cells` over `ramp_steps`. Small batches learn faster
    early on."""
    first_rows: int | None = None
    """Most rows at step 0; grows geometrically to that of `rows` over `ramp_steps`."""
    first_features: int | None = None
    """Most features at step 0; grows geometrically to that of `features` over `ramp_steps`."""
    ramp_steps: int = 0

    def __post_init__(self):
        for name in ("n_cells", "max_tasks", "mean_features"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")
        if self.most_cells is not None and self.most_cells < self.rows[0] * self.features[0]:
            raise ValueError(
                f"most_cells must leave room for the smallest task, got {self.most_cells} for at least {self.rows[0]} "
                f"rows of {self.features[0]} features."
            )
        for name in ("rows", "features", "context_share"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be a range (low, high) with 0 < low <= high, got {(low, high)}.")
        if self.rows[0] < 8:
            raise ValueError(f"rows must start at 8 or more, so that context and query exist; got {self.rows}.")
        if self.context_share[1] >= 1:
            raise ValueError(f"context_share is a range of fractions below 1, got {self.context_share}.")
        if self.first_rows is not None and self.first_rows < self.rows[0]:
            raise ValueError(f"first_rows must be at least the least of rows, got {self.first_rows} and {self.rows}.")
        if self.first_features is not None and self.first_features < self.features[0]:
            raise ValueError(
                f"first_features must be at least the least of features, got {self.first_features} and {self.features}."
            )

    def at_step(self, step: int) -> ShapeSampler:
        """The sampler as it is at an optimiser step of the curriculum."""
        firsts = (self.first_cells, self.first_rows, self.first_features)
        if step >= self.ramp_steps or firsts == (None, None, None):
            return self
        share = step / self.ramp_steps

        def between(first: int | None, last: int) -> int:
            return last if first is None else round(first * (last / first) ** share)

        rows = (self.rows[0], between(self.first_rows, self.rows[1]))
        features = (self.features[0], between(self.first_features, self.features[1]))
        cells = between(self.first_cells, self.n_cells)
        settled: dict[str, Any] = {"first_rows": None, "first_cells": None, "first_features": None, "ramp_steps": 0}
        return replace(self, rows=rows, features=features, n_cells=cells, **settled)

    def sample(self, generator: torch.Generator) -> TaskShape:
        n_rows = _round_to_grid(float(log_uniform(*self.rows, (), generator)), *self.rows)
        low, high = self.features
        skewed = low - math.log(1 - float(torch.rand((), generator=generator))) * self.mean_features
        n_features = _round_to_grid(min(skewed, high), low, high)
        if self.most_cells is not None and n_rows * n_features > self.most_cells:
            n_rows, n_features = self._within(n_rows, n_features, bool(torch.rand((), generator=generator) < 0.5))
        share = round(float(uniform(*self.context_share, (), generator)) * 8) / 8
        n_context = min(max(round(n_rows * share), 4), n_rows - 4)
        n_tasks = max(1, min(self.max_tasks, self.n_cells // (n_rows * n_features)))
        return TaskShape(n_tasks, n_rows, n_context, n_features)

    def _within(self, n_rows: int, n_features: int, keeps_rows: bool) -> tuple[int, int]:
        """Rows and features of the grid whose product is at most `most_cells`."""
        assert self.most_cells is not None  # asked before
        if keeps_rows and self.most_cells >= n_rows * self.features[0]:
            return n_rows, _grid_below(self.most_cells // n_rows, *self.features)
        n_rows = min(n_rows, _grid_below(max(self.rows[0], self.most_cells // n_features), *self.rows))
        return n_rows, min(n_features, _grid_below(max(self.features[0], self.most_cells // n_rows), *self.features))


def _round_to_grid(value: float, low: int, high: int) -> int:
    """The grid value next in ratio, kept inside the range."""
    candidates = {low, high, *(g for g in _GRID if low <= g <= high)}
    return min(sorted(candidates), key=lambda g: abs(math.log(g / value)))


def _grid_below(most: int, low: int, high: int) -> int:
    """The largest grid value in the range that is at most `most`."""
    return max({low, *(g for g in (*_GRID, high) if low <= g <= min(most, high))})
