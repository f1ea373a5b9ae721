"""Latent features: correlated, clustered and heavy-tailed columns, and how they become the cells of a table."""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from priors.columns import discretise
from priors.draw import (
    apply_by_kind,
    bernoulli,
    choice,
    integers,
    log_uniform,
    normal,
    nothing_in,
    standardise,
    student_t,
    uniform,
)
from priors.task import TaskShape


class Columns(NamedTuple):
    """Cells (B, R, F) as shown, flags (B, F), and what a target should read of each cell (B, R, F)."""

    X: Tensor
    is_categorical: Tensor
    effect: Tensor


def draw_columns(shape: TaskShape, generator: torch.Generator) -> Columns:
    """Columns of a table: latent features, some cut into levels, the others in the units of something measured."""
    return as_columns(draw_latent_features(shape, generator), generator)


def as_columns(Z_BRF: Tensor, generator: torch.Generator) -> Columns:
    """Cells from latent columns of mean 0 and standard deviation 1; no column is constant."""
    shown_BRF, effect_BRF, is_categorical_BF = discretise(Z_BRF, generator)
    numeric_BF = (shown_BRF == Z_BRF).all(1)
    X_BRF = torch.where(numeric_BF[:, None], warp_columns(shown_BRF, generator), shown_BRF)
    return Columns(vary(X_BRF, Z_BRF, generator), is_categorical_BF, effect_BRF)


def vary(X_BRF: Tensor, Z_BRF: Tensor, generator: torch.Generator) -> Tensor:
    """Split every constant column in two values, by whether its latent value is above average.

    Rare flags and rounding leave constant columns in short tables; they would cost a model cells and teach nothing.
    """
    constant_B1F = X_BRF.eq(X_BRF[:, :1]).all(1, keepdim=True)
    if nothing_in(constant_B1F):
        return X_BRF
    # The tiny noise splits a latent column that is itself constant.
    key_BRF = Z_BRF + 1e-4 * normal(tuple(Z_BRF.shape), generator)
    step_BRF = (key_BRF > key_BRF.mean(1, keepdim=True)).to(X_BRF.dtype)
    return torch.where(constant_B1F, X_BRF.clamp(-1e6, 1e6) + step_BRF, X_BRF)


def draw_latent_features(shape: TaskShape, generator: torch.Generator) -> Tensor:
    """(B, R, F) columns of mean 0 and standard deviation 1.

    Each column is a mix of its own noise, a few factors shared by the task, and, in a third of the tasks, cluster
    centres. How strongly columns correlate is a task-level draw, so tables are coherent rather than average.
    """
    B, R, F = shape.n_tasks, shape.n_rows, shape.n_features
    n_factors = int(log_uniform(1, 2 + min(F, 6), (), generator))
    own_BRF = normal((B, R, F), generator)
    heavy_B = bernoulli(0.15, (B,), generator)
    heavy_I = heavy_B.nonzero()[:, 0]
    n_heavy = len(heavy_I)
    if n_heavy:
        df_B1F = log_uniform(2.0, 8.0, (n_heavy, 1, F), generator)
        own_BRF[heavy_I] = student_t(df_B1F, (n_heavy, R, F), generator)
    # sqrt(3) erf(z / sqrt(2)) of a standard normal is uniform with variance 1.
    flat_B1F = bernoulli(0.2, (B, 1, F), generator)
    own_BRF = torch.where(flat_B1F, 1.73 * torch.erf(own_BRF * 0.7071), own_BRF)

    factors_BRK = normal((B, R, n_factors), generator)
    loadings_BKF = normal((B, n_factors, F), generator) * log_uniform(0.05, 1.0, (B, n_factors, 1), generator)
    shared_BRF = standardise(torch.einsum("brk,bkf->brf", factors_BRK, loadings_BKF), 1)
    # The root moves tables towards strong dependence: the largest |r| of half of the real tables is above .8, and one
    # direction in 30 holds a third of their variance.
    task_B11 = uniform(0, 1, (B, 1, 1), generator).sqrt()
    strength_B1F = (task_B11 * uniform(0.2, 1.4, (B, 1, F), generator)).clamp(0, 0.98)
    Z_BRF = (1 - strength_B1F).sqrt() * own_BRF + strength_B1F.sqrt() * shared_BRF

    clustered_B = bernoulli(0.3, (B, 1, 1), generator)
    max_clusters = 8
    n_clusters_B = integers(2, max_clusters, (B, 1), generator)
    cluster_BR = (uniform(0, 1, (B, R), generator).square() * n_clusters_B).long()
    centres_BKF = normal((B, max_clusters, F), generator) * log_uniform(0.3, 4.0, (B, 1, F), generator)
    shift_BRF = torch.gather(centres_BKF, 1, cluster_BR[:, :, None].expand(B, R, F))
    return standardise(Z_BRF + clustered_B * shift_BRF, 1)


def warp_columns(Z_BRF: Tensor, generator: torch.Generator) -> Tensor:
    """Give each column a marginal shape by a monotone or rounding map, as measurement units do."""
    B, _, F = Z_BRF.shape
    strength = log_uniform(0.3, 1.5, (), generator)
    kind_BF = choice([3, 3, 1, 1, 1, 1], (B, F), generator)
    step = log_uniform(0.1, 1.0, (), generator)
    columns_BFR = apply_by_kind(
        rearrange(Z_BRF, "b r f -> b f r"),
        kind_BF,
        [
            lambda z: z,
            lambda z: torch.exp((strength * z).clamp(-8, 8)),
            lambda z: z.sign() * z.abs() ** (1 + strength),
            lambda z: torch.special.ndtr(z) ** (1 / strength),
            lambda z: torch.round(z / step) * step,
            lambda z: z.clamp_min(0),
        ],
    )
    return rearrange(columns_BFR, "b f r -> b r f")
