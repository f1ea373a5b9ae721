"""Gaussian processes: exact with a known posterior predictive, and random Fourier features for tables."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Normal

from priors.draw import bernoulli, log_uniform, normal, uniform
from priors.kernels import Kernel, parse_kernel
from priors.task import TaskBatch, TaskShape


@dataclass(frozen=True)
class GaussianProcessPrior:
    """A zero-mean Gaussian process, observed with noise, over columns that are standard normals.

    Hyper-parameters are fixed, so that the posterior predictive is exact. Tables of more than `exact_rows` rows are
    drawn by random Fourier features: a sum of `n_features` random waves has the process's mean and covariance exactly
    and is Gaussian only in the limit, so the posterior predictive is that of the limit.

    Source:
        Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, algorithm 2.1; Rahimi & Recht (2007),
        Random Features for Large-Scale Kernel Machines.
    """

    kernel: str | Kernel = "rbf"
    """A kernel, or names of kernels joined by + and *: rbf, matern12, matern32, matern52, periodic, linear."""
    length_scale: float = 1.0
    """For one column, of the kernels given by name; multiplied by the root of the number of columns."""
    signal_std: float = 1.0
    noise_std: float = 0.1
    exact_rows: int = 512
    """Most rows for which draws use a Cholesky factor, which costs rows cubed."""
    n_features: int = 512
    """Random waves beyond `exact_rows`."""

    def __post_init__(self):
        for name in ("length_scale", "signal_std", "noise_std"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")
        if self.n_features < 1:
            raise ValueError(f"n_features must be at least 1, got {self.n_features}.")
        self._kernel  # noqa: B018  unknown names are refused now, not at the first draw

    @property
    def _kernel(self) -> Kernel:
        return parse_kernel(self.kernel, self.length_scale) if isinstance(self.kernel, str) else self.kernel

    def sample(self, shape: TaskShape, generator: torch.Generator) -> TaskBatch:
        B, R, F = shape.n_tasks, shape.n_rows, shape.n_features
        X_BRF = normal((B, R, F), generator)
        if self.exact_rows >= R:
            # Cholesky in float64 with a tiny jitter: an RBF Gram matrix is numerically singular in float32.
            gram_BRR = self.covariance(X_BRF.double(), X_BRF.double())
            size_B11 = gram_BRR.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
            jitter_BRR = 1e-8 * size_B11 * torch.eye(R, dtype=torch.double, device=generator.device)
            f_BR = (torch.linalg.cholesky(gram_BRR + jitter_BRR) @ normal((B, R, 1), generator).double()).squeeze(-1)
        else:
            weight_BK1 = normal((B, self.n_features, 1), generator) * self.signal_std / math.sqrt(self.n_features)
            f_BR = (self._kernel.features(X_BRF, self.n_features, generator) @ weight_BK1).squeeze(-1)
        y_BR = f_BR.float() + self.noise_std * normal((B, R), generator)
        no_categories = torch.zeros(B, F, dtype=torch.bool, device=generator.device)
        return TaskBatch(X_BRF, y_BR, shape.n_context, no_categories)

    def covariance(self, left_BRF: Tensor, right_BSF: Tensor) -> Tensor:
        """(B, R, S) covariance of function values, without observation noise."""
        return self.signal_std**2 * self._kernel.covariance(left_BRF, right_BSF)

    def posterior_predictive(self, batch: TaskBatch) -> Normal:
        """The exact answer p(y_query | X, y_context), batch shape (B, M), in float64."""
        context_BNF, query_BMF = batch.X[:, : batch.n_context].double(), batch.X[:, batch.n_context :].double()
        noise = self.noise_std**2 * torch.eye(batch.n_context, dtype=torch.double, device=batch.X.device)
        factor_BNN = torch.linalg.cholesky(self.covariance(context_BNF, context_BNF) + noise)
        cross_BNM = self.covariance(context_BNF, query_BMF)
        weight_BN1 = torch.cholesky_solve(batch.y_context.double()[..., None], factor_BNN)
        mean_BM = (cross_BNM.mT @ weight_BN1).squeeze(-1)
        half_BNM = torch.linalg.solve_triangular(factor_BNN, cross_BNM, upper=False)
        prior_BM = self.signal_std**2 * self._kernel.variance(query_BMF)
        variance_BM = prior_BM - half_BNM.square().sum(1) + self.noise_std**2
        return Normal(mean_BM, variance_BM.clamp_min(self.noise_std**2).sqrt())


def draw_fourier(V_BRF: Tensor, n_outputs: int, generator: torch.Generator, n_frequencies: int = 96) -> Tensor:
    """(B, R, n_outputs) approximate Gaussian-process draws with a random kernel per task.

    Frequencies are normal (RBF) or Student t (Matern), with a length scale per task and per column.

    Source:
        Rahimi & Recht (2007), Random Features for Large-Scale Kernel Machines.
    """
    B, _, F = V_BRF.shape
    g = generator
    frequency_BFK = normal((B, F, n_frequencies), g)
    # A multivariate t with 2 nu degrees of freedom is the spectral density of a Matern kernel.
    df_B11 = log_uniform(1, 8, (B, 1, 1), g)
    chi2_B1K = 2 * torch._standard_gamma((df_B11 / 2).expand(B, 1, n_frequencies).contiguous(), generator=g)
    tail_B1K = torch.rsqrt((chi2_B1K / df_B11).clamp_min(1e-3))
    frequency_BFK = torch.where(bernoulli(0.5, (B, 1, 1), g), frequency_BFK * tail_B1K, frequency_BFK)
    # A wiggly process over many columns cannot be learnt from a table; over two or three (maps, fields) it can.
    inequality_B11 = uniform(0, 1.5, (B, 1, 1), g)
    column_scale_BF1 = log_uniform(0.05, 2, (B, F, 1), g) ** inequality_B11
    rms_B11 = column_scale_BF1.square().mean(1, keepdim=True).sqrt()
    task_scale_B11 = log_uniform(0.2, 2 + 8 / F, (B, 1, 1), g) / (rms_B11 * math.sqrt(F))
    frequency_BFK = frequency_BFK * column_scale_BF1 * task_scale_B11
    phase_B1K = uniform(0, 2 * math.pi, (B, 1, n_frequencies), g)
    waves_BRK = torch.cos(torch.einsum("brf,bfk->brk", V_BRF, frequency_BFK) + phase_B1K)
    return waves_BRK @ (normal((B, n_frequencies, n_outputs), g) * math.sqrt(2 / n_frequencies))
