"""Gaussian processes: exact with a known posterior predictive, and random Fourier features for tables."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Normal

from priors.draw import bernoulli, log_uniform, normal, uniform
from priors.task import TaskBatch, TaskShape


@dataclass(frozen=True)
class GaussianProcessPrior:
    """A zero-mean Gaussian process with a stationary kernel, observed with noise.

    Hyper-parameters are fixed, so that the posterior predictive is exact; columns are standard normals and the
    length scale grows with the square root of the number of features, which keeps tasks comparably hard.

    Source:
        Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, algorithm 2.1 and section 4.2.
    """

    kernel: Literal["rbf", "matern12", "matern32", "matern52"] = "rbf"
    length_scale: float = 1.0
    """For one feature; multiplied by sqrt(n_features)."""
    signal_std: float = 1.0
    noise_std: float = 0.1

    def __post_init__(self):
        if self.kernel not in ("rbf", "matern12", "matern32", "matern52"):
            raise ValueError(f"kernel must be one of rbf, matern12, matern32, matern52; got {self.kernel!r}.")
        for name in ("length_scale", "signal_std", "noise_std"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")

    def sample(self, shape: TaskShape, generator: torch.Generator) -> TaskBatch:
        B, R, F = shape.n_tasks, shape.n_rows, shape.n_features
        X_BRF = normal((B, R, F), generator)
        # Cholesky in float64 with a tiny jitter: an RBF Gram matrix is numerically singular in float32.
        gram_BRR = self.covariance(X_BRF.double(), X_BRF.double())
        jitter = 1e-8 * self.signal_std**2 * torch.eye(R, dtype=torch.double, device=generator.device)
        f_BR = (torch.linalg.cholesky(gram_BRR + jitter) @ normal((B, R, 1), generator).double()).squeeze(-1)
        y_BR = f_BR.float() + self.noise_std * normal((B, R), generator)
        no_categories = torch.zeros(B, F, dtype=torch.bool, device=generator.device)
        return TaskBatch(X_BRF, y_BR, shape.n_context, no_categories)

    def covariance(self, left_BRF: Tensor, right_BSF: Tensor) -> Tensor:
        """(B, R, S) kernel matrix, without observation noise."""
        scale = self.length_scale * math.sqrt(left_BRF.shape[-1])
        d_BRS = torch.cdist(left_BRF, right_BSF, compute_mode="donot_use_mm_for_euclid_dist") / scale
        if self.kernel == "rbf":
            correlation = torch.exp(-0.5 * d_BRS.square())
        elif self.kernel == "matern12":
            correlation = torch.exp(-d_BRS)
        elif self.kernel == "matern32":
            d_BRS = math.sqrt(3) * d_BRS
            correlation = (1 + d_BRS) * torch.exp(-d_BRS)
        else:
            d_BRS = math.sqrt(5) * d_BRS
            correlation = (1 + d_BRS + d_BRS.square() / 3) * torch.exp(-d_BRS)
        return self.signal_std**2 * correlation

    def posterior_predictive(self, batch: TaskBatch) -> Normal:
        """The exact answer p(y_query | X, y_context), batch shape (B, M), in float64."""
        context_BNF, query_BMF = batch.X[:, : batch.n_context].double(), batch.X[:, batch.n_context :].double()
        noise = self.noise_std**2 * torch.eye(batch.n_context, dtype=torch.double, device=batch.X.device)
        factor_BNN = torch.linalg.cholesky(self.covariance(context_BNF, context_BNF) + noise)
        cross_BNM = self.covariance(context_BNF, query_BMF)
        weight_BN1 = torch.cholesky_solve(batch.y_context.double()[..., None], factor_BNN)
        mean_BM = (cross_BNM.mT @ weight_BN1).squeeze(-1)
        half_BNM = torch.linalg.solve_triangular(factor_BNN, cross_BNM, upper=False)
        variance_BM = self.signal_std**2 - half_BNM.square().sum(1) + self.noise_std**2
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
    column_scale_BF1 = log_uniform(0.1, 2, (B, F, 1), g)
    task_scale_B11 = log_uniform(0.3, 3, (B, 1, 1), g) / math.sqrt(F)
    frequency_BFK = frequency_BFK * column_scale_BF1 * task_scale_B11
    phase_B1K = uniform(0, 2 * math.pi, (B, 1, n_frequencies), g)
    waves_BRK = torch.cos(torch.einsum("brf,bfk->brk", V_BRF, frequency_BFK) + phase_B1K)
    return waves_BRK @ (normal((B, n_frequencies, n_outputs), g) * math.sqrt(2 / n_frequencies))
