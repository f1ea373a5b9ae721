"""The steps every table-making prior shares: latent outputs -> target -> row order -> missing cells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from priors.draw import bernoulli, normal
from priors.missing import mask_cells
from priors.targets import TargetConfig, class_target, order_rows, regression_target
from priors.task import TaskBatch, TaskShape
from priors.transform import is_constant


@dataclass(frozen=True)
class LatentTable:
    """A table before its target is made: (B, R, F) cells, (B, F) flags, (B, R, T) latent outputs."""

    X: Tensor
    is_categorical: Tensor
    outputs: Tensor


@dataclass(frozen=True)
class TablePrior(ABC):
    """A family of tables: subclasses say how cells and latent outputs are drawn, this class does the rest.

    Args:
        task: kind of target.
        target: how targets are made.
        missing: share of the tasks with missing cells.
    """

    task: Literal["classification", "regression"] = "classification"
    target: TargetConfig = field(default_factory=TargetConfig)
    missing: float = 0.3

    def __post_init__(self):
        if self.task not in ("classification", "regression"):
            raise ValueError(f"task must be 'classification' or 'regression', got {self.task!r}.")
        if not 0 <= self.missing <= 1:
            raise ValueError(f"missing is a share of tasks in [0, 1], got {self.missing}.")

    @abstractmethod
    def sample_latent(self, shape: TaskShape, n_outputs: int, generator: torch.Generator) -> LatentTable:
        """Cells and `n_outputs` latent outputs, before noise; called once per batch."""

    def sample(self, shape: TaskShape, generator: torch.Generator) -> TaskBatch:
        classify = self.task == "classification"
        n_outputs = 2
        if classify and bool(bernoulli(0.5, (), generator)):
            n_outputs = self.target.max_classes  # argmax over many outputs costs more, so not in every batch
        latent = self.sample_latent(shape, n_outputs, generator)
        if classify:
            y_BR, n_classes_B = class_target(latent.outputs, shape.n_context, self.target, generator)
            order_BR = order_rows(y_BR, n_classes_B, self.target.max_classes, generator)
            y_BR = y_BR.gather(1, order_BR)
            X_BRF = latent.X.gather(1, order_BR[..., None].expand_as(latent.X))
        else:
            y_BR, n_classes_B = regression_target(latent.outputs, self.target, generator), None
            X_BRF = latent.X
        X_BRF, is_categorical_BF = _revive(X_BRF, latent.is_categorical, generator)
        X_BRF = mask_cells(X_BRF, generator, self.missing)
        return TaskBatch(X_BRF, y_BR, shape.n_context, is_categorical_BF, n_classes_B)


def _revive(X_BRF: Tensor, is_categorical_BF: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Constant columns (in small tables, rounding may leave one value) become numeric noise."""
    dead_BF = is_constant(X_BRF)
    if not dead_BF.any():
        return X_BRF, is_categorical_BF
    noise_BRF = normal(tuple(X_BRF.shape), generator)
    return torch.where(dead_BF[:, None], noise_BRF, X_BRF), is_categorical_BF & ~dead_BF
