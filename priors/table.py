"""The steps every table-making prior shares, and the effects that make any prior's tasks look like found tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from priors import columns, noise, shift, targets
from priors.draw import bernoulli, normal, nothing_in
from priors.drift import TimeDrift
from priors.missing import CodedGaps, MissingBlocks, mask_cells
from priors.outcomes import Outcomes
from priors.targets import TargetConfig, class_target, order_rows, regression_target
from priors.task import TaskBatch, TaskShape
from priors.transform import Messy, Transform, is_constant


@dataclass(frozen=True)
class LatentTable:
    """A table before its target is made: (B, R, F) cells, (B, F) flags, (B, R, T) latent outputs."""

    X: Tensor
    is_categorical: Tensor
    outputs: Tensor
    outcomes: Outcomes | None = None
    """What rules decided, where the outputs score that."""


@dataclass(frozen=True)
class TablePrior(ABC):
    """A family of tables: subclasses say how cells and latent outputs are drawn, this class does the rest.

    Latent outputs become a target, rows are put in order, cells go missing. `TableEffects` adds what else found
    tables suffer from.

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
            y_BR, n_classes_B = class_target(latent.outputs, shape.n_context, self.target, generator, latent.outcomes)
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
    if nothing_in(dead_BF):
        return X_BRF, is_categorical_BF
    noise_BRF = normal(tuple(X_BRF.shape), generator)
    return torch.where(dead_BF[:, None], noise_BRF, X_BRF), is_categorical_BF & ~dead_BF


# (share of the tasks, transform), in the order in which things happen to a table: its columns, its target, the way both
# are recorded, which rows were labelled, what got lost. Rates are those of the recipe, or guesses where it is silent.
_RAREST = 0.01
_EFFECTS: list[tuple[float, Transform]] = [
    (0.10, columns.IrrelevantColumns(rate=(0.05, 0.5))),
    (0.25, columns.CollinearColumns(rate=(0.05, 0.5), noise=(0.01, 1.0))),
    (0.06, columns.DuplicateColumns(rate=(0.02, 0.2))),
    (0.06, columns.Categories(columns=(0.1, 0.6))),
    (0.10, targets.LevelEffects(std=(0.1, 1.0))),
    (0.10, noise.HeteroskedasticNoise(std=(0.05, 0.5), strength=(0.3, 1.5))),
    (0.06, noise.HeavyTailedNoise(scale=(0.02, 0.3), tail=(1.5, 6.0))),
    (0.04, noise.HeavyTailedNoise(scale=(0.02, 0.3), tail=(1.5, 6.0), shape="pareto")),
    (0.06, noise.TargetOutliers(rate=(0.001, 0.03), distance=(3.0, 20.0))),
    (0.06, targets.CountTarget()),
    (0.05, targets.BoundedTarget()),
    (0.05, targets.ZeroInflatedTarget(rate=(0.05, 0.7))),
    (0.05, targets.CensoredTarget(lower=(0.0, 0.3), upper=(0.0, 0.2))),
    (0.06, targets.RoundedTarget(step=(0.01, 0.5))),
    (0.06, noise.ClassConditionalLabelNoise(rate=(0.01, 0.2))),
    (0.06, noise.InstanceDependentLabelNoise(rate=(0.01, 0.2))),
    (0.10, noise.MeasurementError(std=(0.02, 0.5), columns=(0.1, 1.0))),
    (0.12, noise.CellOutliers(rate=(0.0005, 0.02), distance=(3.0, 30.0), columns=(0.1, 1.0))),
    (0.12, shift.ClassImbalance(share=(_RAREST, 0.3))),
    (0.10, shift.CovariateShift(strength=(0.2, 2.0))),
    (0.06, shift.LabelShift(strength=(0.2, 1.5))),
    (0.05, MissingBlocks(rate=(0.02, 0.5), columns=(0.1, 0.6))),
    (0.06, CodedGaps(columns=(0.2, 1.0))),
]


@dataclass(frozen=True)
class TableEffects:
    """All table effects at rates that suit pretraining, each in a share of the tasks; dirt comes together."""

    amount: float = 1.0
    """Multiplies the share of tasks that suffer each effect; 0 leaves every task clean."""
    correlation: float = 0.3
    """How strongly tables dirty in one way are dirty in others; see `Messy`."""
    missing: float = 0.0
    """Share of the tasks with missing cells, for priors that make none themselves."""
    drift: float = 0.0
    """Share of the tasks whose queries come later than their context (`priors.drift`)."""
    rarest: float = _RAREST
    """Least share of a class that was made rare."""

    def __post_init__(self):
        if not 0 < self.rarest <= 0.3 or not 0 <= self.drift <= 1:
            raise ValueError(f"rarest must lie in (0, .3], drift in [0, 1]; got {self.rarest} and {self.drift}.")
        most = 1 / max(share for share, _ in _EFFECTS)
        if not 0 <= self.amount <= most:
            raise ValueError(f"amount must lie in [0, {most:g}], got {self.amount}.")
        if not 0 <= self.missing <= 1 or not 0 <= self.correlation <= 1:
            raise ValueError(f"missing and correlation must lie in [0, 1], got {self.missing}, {self.correlation}.")

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        batch = replace(batch, X=mask_cells(batch.X, generator, self.missing))
        effects = [(self.amount * share, effect) for share, effect in _EFFECTS]
        if self.rarest != _RAREST:
            rarer = shift.ClassImbalance(share=(self.rarest, 0.3))
            effects = [(p, rarer if isinstance(effect, shift.ClassImbalance) else effect) for p, effect in effects]
        if self.drift:
            effects.append((self.drift, TimeDrift()))
        return Messy([effect for _, effect in effects], [p for p, _ in effects], self.correlation)(batch, generator)
