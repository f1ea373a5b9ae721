"""Noise as transforms: in labels, in targets, and in cells.

Dimension key: B tasks, R rows, F features, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from priors.draw import bernoulli, log_uniform, normal, student_t, uniform
from priors.task import TaskBatch
from priors.transform import Rate, check_rate, column_moments, draw_rate, modulate, restore_classes, row_score


@dataclass(frozen=True)
class SymmetricLabelNoise:
    """Each label is, with probability `rate`, replaced by one of the other classes, all equally likely.

    Source:
        Angluin & Laird (1988), Learning from noisy examples, doi:10.1023/A:1022873112823.
    """

    rate: Rate = 0.1

    def __post_init__(self):
        check_rate(self, "rate", 0, 1)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        if batch.n_classes is None:
            return batch
        return _flip(batch, draw_rate(self.rate, len(batch.y), generator), generator)


@dataclass(frozen=True)
class InstanceDependentLabelNoise:
    """As the symmetric kind, but the chance of a flip depends on the row's cells; its mean over rows is `rate`.

    Source:
        Menon et al. (2018), Learning from binary labels with instance-dependent noise, doi:10.1007/s10994-018-5715-3.
    """

    rate: Rate = 0.1
    strength: float = 2.0
    """Slope of the log odds in a random direction of the standardised cells."""

    def __post_init__(self):
        check_rate(self, "rate", 0, 1)
        check_rate(self, "strength", 0, 20)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        if batch.n_classes is None:
            return batch
        weight_BR = torch.sigmoid(self.strength * row_score(batch.X, generator))
        return _flip(batch, modulate(draw_rate(self.rate, len(batch.y), generator), weight_BR, 1), generator)


@dataclass(frozen=True)
class ClassConditionalLabelNoise:
    """Class i is recorded as class j with probability T[i, j].

    Without a `matrix`, each task draws its own: every class has a flip rate of its own around `rate`, and mistakes go
    mostly to one or two of the other classes. With one, rows and columns beyond a task's classes are dropped and the
    rest is scaled back to sum to one; classes that the matrix does not know keep their labels.

    Source:
        Natarajan et al. (2013), Learning with noisy labels, NeurIPS.
    """

    rate: Rate = 0.1
    matrix: list[list[float]] | None = None

    def __post_init__(self):
        check_rate(self, "rate", 0, 0.5)
        rows = self.matrix or []
        for row in rows:
            if len(row) != len(rows) or min(row) < 0 or abs(sum(row) - 1) > 1e-6:
                raise ValueError(f"matrix must be square with rows that are probabilities, got {self.matrix}.")

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        if batch.n_classes is None:
            return batch
        B, R = batch.y.shape
        n_slots = int(batch.n_classes.max())
        exists_BC = torch.arange(n_slots, device=batch.y.device) < batch.n_classes[:, None]
        if self.matrix is None:
            transition_BCC = self._draw(exists_BC, generator)
        else:
            transition_BCC = _cut(self.matrix, exists_BC)
        upper_BRC = transition_BCC.cumsum(-1).gather(1, batch.y[..., None].expand(B, R, n_slots))
        u_BR1 = uniform(0, 1, (B, R, 1), generator)
        # Where rounding leaves the last sum below 1, the draw would fall off the end.
        y_BR = torch.minimum((u_BR1 >= upper_BRC).sum(-1), batch.n_classes[:, None] - 1)
        return replace(batch, y=restore_classes(y_BR, batch))

    def _draw(self, exists_BC: Tensor, g: torch.Generator) -> Tensor:
        B, C = exists_BC.shape
        rate_BC1 = (draw_rate(self.rate, B, g)[..., None] * uniform(0, 2, (B, C, 1), g)).clamp_max(1)
        to_BCC = log_uniform(1e-3, 1, (B, C, C), g) * exists_BC[:, None]
        to_BCC = to_BCC.masked_fill(torch.eye(C, dtype=torch.bool, device=g.device), 0)
        to_BCC = to_BCC / to_BCC.sum(-1, keepdim=True).clamp_min(1e-9)
        return (1 - rate_BC1) * torch.eye(C, device=g.device) + rate_BC1 * to_BCC


def _cut(matrix: list[list[float]], exists_BC: Tensor) -> Tensor:
    """`matrix` as far as a task has the classes; classes beyond it stay as they are."""
    n_slots, n_known = exists_BC.shape[1], min(exists_BC.shape[1], len(matrix))
    matrix_CC = torch.eye(n_slots, device=exists_BC.device)
    matrix_CC[:n_known, :n_known] = torch.tensor(matrix, device=exists_BC.device)[:n_known, :n_known]
    kept_BCC = matrix_CC * exists_BC[:, None]
    return kept_BCC / kept_BCC.sum(-1, keepdim=True).clamp_min(1e-9)


def _flip(batch: TaskBatch, p: Tensor, g: torch.Generator) -> TaskBatch:
    assert batch.n_classes is not None, "labels are flipped in classification tasks only"
    B, R = batch.y.shape
    n_B1 = batch.n_classes[:, None]
    # The product may round up to n - 1, hence the minimum.
    step_BR = 1 + torch.minimum((uniform(0, 1, (B, R), g) * (n_B1 - 1)).long(), n_B1 - 2)
    y_BR = torch.where(bernoulli(p, (B, R), g), (batch.y + step_BR) % n_B1, batch.y)
    return replace(batch, y=restore_classes(y_BR, batch))


@dataclass(frozen=True)
class HeteroskedasticNoise:
    """Gaussian target noise whose log standard deviation is linear in a random direction of the cells.

    The added variance, averaged over rows, is `std`^2 times the variance of y. Regression only.
    """

    std: Rate = 0.3
    strength: Rate = 1.0
    """Change of the log standard deviation per standard deviation of the direction; 0 is plain noise."""

    def __post_init__(self):
        check_rate(self, "std", 0, 100)
        check_rate(self, "strength", 0, 3)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        if batch.n_classes is not None:
            return batch
        B, R = batch.y.shape
        log_scale_BR = draw_rate(self.strength, B, generator) * row_score(batch.X, generator)
        scale_BR = log_scale_BR.clamp(-6, 6).exp()
        scale_BR = scale_BR / scale_BR.square().mean(1, keepdim=True).sqrt()
        std_B1 = draw_rate(self.std, B, generator) * spread(batch.y)
        return replace(batch, y=batch.y + std_B1 * scale_BR * normal((B, R), generator))


@dataclass(frozen=True)
class HeavyTailedNoise:
    """Target noise with a power tail: Student t on both sides, or Pareto (Lomax) on one. Regression only."""

    scale: Rate = 0.3
    """Scale parameter of the noise, in standard deviations of y."""
    tail: Rate = 3.0
    """Degrees of freedom, or Pareto's index: the survival function falls like a power with this exponent."""
    shape: Literal["student_t", "pareto"] = "student_t"

    def __post_init__(self):
        check_rate(self, "scale", 0, 100)
        check_rate(self, "tail", 1, 1000)
        if self.shape not in ("student_t", "pareto"):
            raise ValueError(f"shape must be 'student_t' or 'pareto', got {self.shape!r}.")

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        if batch.n_classes is not None:
            return batch
        B, R = batch.y.shape
        tail_B1 = draw_rate(self.tail, B, generator)
        if self.shape == "student_t":
            noise_BR = student_t(tail_B1, (B, R), generator)
        else:
            # rand lies in [0, 1); 1 - rand in (0, 1], so the power is finite.
            survival_BR = 1 - uniform(0, 1, (B, R), generator)
            side_B1 = torch.where(bernoulli(0.5, (B, 1), generator), 1.0, -1.0)
            noise_BR = side_B1 * (survival_BR ** (-1 / tail_B1) - 1)
        return replace(batch, y=batch.y + draw_rate(self.scale, B, generator) * spread(batch.y) * noise_BR)


@dataclass(frozen=True)
class TargetOutliers:
    """A share of the targets moves away by `distance` (1 + Exp(1)) standard deviations. Regression only.

    Source:
        Huber (1964), Robust estimation of a location parameter: the contamination model.
    """

    rate: Rate = 0.01
    distance: Rate = 5.0

    def __post_init__(self):
        check_rate(self, "rate", 0, 1)
        check_rate(self, "distance", 0, 1000)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        if batch.n_classes is not None:
            return batch
        B, R = batch.y.shape
        hit_BR = bernoulli(draw_rate(self.rate, B, generator), (B, R), generator)
        far_BR = draw_rate(self.distance, B, generator) * _beyond((B, R), generator)
        return replace(batch, y=torch.where(hit_BR, batch.y + spread(batch.y) * far_BR, batch.y))


@dataclass(frozen=True)
class CellOutliers:
    """A share of the numeric cells moves away by `distance` (1 + Exp(1)) standard deviations. X only."""

    rate: Rate = 0.01
    distance: Rate = 5.0
    columns: Rate = 1.0
    """Share of the columns that suffer."""

    def __post_init__(self):
        check_rate(self, "rate", 0, 1)
        check_rate(self, "distance", 0, 1000)
        check_rate(self, "columns", 0, 1)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        B, R, F = batch.X.shape
        rate_B11 = draw_rate(self.rate, B, generator)[..., None]
        distance_B1 = draw_rate(self.distance, B, generator)
        open_BF = _numeric_columns(batch, self.columns, generator)
        _, std_B1F = column_moments(batch.X)
        # Few cells move: only those are drawn for and written.
        b, r, f = (bernoulli(rate_B11, (B, R, F), generator) & open_BF[:, None]).nonzero(as_tuple=True)
        X_BRF = batch.X.clone()
        X_BRF[b, r, f] += std_B1F[b, 0, f] * distance_B1[b, 0] * _beyond((len(b),), generator)
        return replace(batch, X=X_BRF)


@dataclass(frozen=True)
class MeasurementError:
    """Classical measurement error: numeric columns get Gaussian noise, the target does not know. X only.

    A column's variance grows by the factor 1 + `std`^2.

    Source:
        Carroll et al. (2006), Measurement Error in Nonlinear Models, chapter 1.
    """

    std: Rate = 0.2
    """In standard deviations of the column."""
    columns: Rate = 1.0
    """Share of the columns that suffer."""

    def __post_init__(self):
        check_rate(self, "std", 0, 100)
        check_rate(self, "columns", 0, 1)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        std_B11 = draw_rate(self.std, len(batch.X), generator)[..., None]
        open_BF = _numeric_columns(batch, self.columns, generator)
        _, column_std_B1F = column_moments(batch.X)
        error_BRF = std_B11 * column_std_B1F * normal(tuple(batch.X.shape), generator)
        return replace(batch, X=torch.where(open_BF[:, None], batch.X + error_BRF, batch.X))


def spread(y_BR: Tensor) -> Tensor:
    """(B, 1) standard deviation of the targets."""
    return y_BR.std(1, keepdim=True, correction=0)


def _beyond(size: tuple[int, ...], g: torch.Generator) -> Tensor:
    """Random sign times 1 + Exp(1)."""
    sign = torch.where(bernoulli(0.5, size, g), 1.0, -1.0)
    return sign * (1 - torch.log1p(-uniform(0, 1, size, g)))


def _numeric_columns(batch: TaskBatch, share: Rate, g: torch.Generator) -> Tensor:
    """(B, F) a random share of the columns that are not categorical."""
    return bernoulli(draw_rate(share, len(batch.X), g), tuple(batch.is_categorical.shape), g) & ~batch.is_categorical
