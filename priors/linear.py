"""Linear targets: conjugate Bayesian regression with its exact posterior predictive, and random linear functions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import StudentT

from priors.draw import log_uniform, normal, uniform
from priors.task import TaskBatch, TaskShape


@dataclass(frozen=True)
class LinearPrior:
    """y = b0 + X b + noise with a normal-inverse-gamma prior on (b0, b) and the noise variance.

    noise variance ~ InverseGamma(a, b); coefficients given it ~ N(0, noise variance * coefficient_std^2);
    columns are independent standard normals.

    Source:
        Bishop (2006), Pattern Recognition and Machine Learning, exercise 3.12 and section 3.3.
    """

    coefficient_std: float = 2.0
    """Standard deviation of a coefficient, in units of the noise."""
    noise_shape: float = 3.0
    """`a` of the inverse gamma; larger means the noise variance is better known."""
    noise_scale: float = 2.0
    """`b` of the inverse gamma; the prior mean of the noise variance is b / (a - 1)."""

    def __post_init__(self):
        for name in ("coefficient_std", "noise_shape", "noise_scale"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")

    def sample(self, shape: TaskShape, generator: torch.Generator) -> TaskBatch:
        B, R, F = shape.n_tasks, shape.n_rows, shape.n_features
        X_BRF = normal((B, R, F), generator)
        a_B1 = torch.full((B, 1), self.noise_shape, device=generator.device)
        variance_B1 = self.noise_scale / torch._standard_gamma(a_B1, generator=generator)
        weight_BP = normal((B, F + 1), generator) * self.coefficient_std * variance_B1.sqrt()
        mean_BR = torch.einsum("brp,bp->br", _with_intercept(X_BRF), weight_BP)
        y_BR = mean_BR + variance_B1.sqrt() * normal((B, R), generator)
        no_categories = torch.zeros(B, F, dtype=torch.bool, device=generator.device)
        return TaskBatch(X_BRF, y_BR, shape.n_context, no_categories)

    def posterior_predictive(self, batch: TaskBatch) -> StudentT:
        """The exact answer p(y_query | X, y_context), batch shape (B, M), in float64."""
        X_BRP = _with_intercept(batch.X.double())
        context_BNP, query_BMP = X_BRP[:, : batch.n_context], X_BRP[:, batch.n_context :]
        y_BN = batch.y_context.double()
        prior_precision = torch.eye(X_BRP.shape[-1], dtype=torch.double, device=X_BRP.device)
        precision_BPP = context_BNP.mT @ context_BNP + prior_precision / self.coefficient_std**2
        factor_BPP = torch.linalg.cholesky(precision_BPP)
        moment_BP1 = context_BNP.mT @ y_BN[..., None]
        mean_BP1 = torch.cholesky_solve(moment_BP1, factor_BPP)
        a = self.noise_shape + batch.n_context / 2
        b_B = self.noise_scale + (y_BN.square().sum(1) - (moment_BP1 * mean_BP1).sum((1, 2))) / 2
        spread_BPM = torch.linalg.solve_triangular(factor_BPP, query_BMP.mT, upper=False)
        scale_BM = ((b_B / a)[:, None] * (1 + spread_BPM.square().sum(1))).sqrt()
        loc_BM = (query_BMP @ mean_BP1).squeeze(-1)
        return StudentT(2 * a, loc_BM, scale_BM)


def _with_intercept(X_BRF: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(X_BRF[..., :1]), X_BRF], -1)


def draw_linear(V_BRF: Tensor, n_outputs: int, generator: torch.Generator) -> Tensor:
    """Linear outputs; how unequal the columns' weights are is a draw per task, from all alike to a few that rule."""
    B, _, F = V_BRF.shape
    inequality_B11 = uniform(0, 1.5, (B, 1, 1), generator)
    weight_BFT = normal((B, F, n_outputs), generator) * log_uniform(0.05, 1, (B, F, 1), generator) ** inequality_B11
    return torch.einsum("brf,bft->brt", V_BRF, weight_BFT)
