"""Keeps tasks whose target depends on their features, by one batched test on the device; no forest is fitted.

Dimension key: B tasks, R rows, F features, K random features, T target columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from priors.draw import bernoulli, log_uniform, nothing_in, permutation, uniform
from priors.task import Prior, TaskBatch, TaskShape


@dataclass(frozen=True)
class Learnable:
    """Tasks of `prior`, with those redrawn whose target cannot be predicted, or hardly.

    A task passes if its held-out gain over a constant is beyond chance, and then with a chance that grows with its
    skill: people keep tables from which something can be learnt. The tasks that fail are redrawn together, at most
    `rounds` times; what still fails stays, so shapes never change. A batch remains a function of the generator alone.

    Source:
        Qu et al. (2026), TabICLv2, filter tasks by fitting trees on a CPU; ridge regression on random features
        (Rahimi & Recht 2007) asks the same question in one batch.
    """

    prior: Prior
    threshold: float = 1.0
    """Least t value of the held-out gain over a constant; about one task in twenty of pure noise passes 1.0."""
    sure_skill: float = 0.5
    """Skill (share of the held-out squared error of a constant that is removed) from which a task surely passes; below
    it the chance is proportional to the skill. 0 asks for no skill."""
    rounds: int = 2
    max_rows: int = 256
    """Rows the test looks at."""

    def __post_init__(self):
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, got {self.rounds}.")
        if not 0 <= self.sure_skill <= 1:
            raise ValueError(f"sure_skill must lie in [0, 1], got {self.sure_skill}.")
        if self.max_rows < 8:
            raise ValueError(f"max_rows must be at least 8, got {self.max_rows}.")

    def sample(self, shape: TaskShape, generator: torch.Generator) -> TaskBatch:
        batch = self.prior.sample(shape, generator)
        failed_B = self._fails(batch, generator)
        for round in range(self.rounds):
            failed_I = failed_B.nonzero()[:, 0]
            if len(failed_I) == 0:
                break
            spare = self.prior.sample(replace(shape, n_tasks=len(failed_I)), generator)
            # A mixture may answer with the other kind of target, which cannot stand in the same batch.
            if (spare.n_classes is None) == (batch.n_classes is None):
                batch = _replaced(batch, failed_I, spare)
            if round + 1 < self.rounds:
                failed_B = failed_B.index_put((failed_I,), self._fails(spare, generator))
        return batch

    def _fails(self, batch: TaskBatch, generator: torch.Generator) -> Tensor:
        found = dependence(batch, generator, self.max_rows)
        asked_B = self.sure_skill * uniform(0, 1, found.skill.shape, generator)
        return (found.t < self.threshold) | (found.skill < asked_B)


class Dependence(NamedTuple):
    """Gain in held-out squared error over a constant, each (B,): its t value, and its share of the constant's error."""

    t: Tensor
    skill: Tensor


def dependence(
    batch: TaskBatch, generator: torch.Generator, max_rows: int = 256, n_features: int = 128, ridge: float = 0.1
) -> Dependence:
    """How much of the target a ridge regression on random features predicts, fitted on one half of the rows, tried on
    the other, and the reverse.

    Features are waves with Cauchy frequencies, whose kernel falls with the sum of the columns' distances, so it sees
    thresholds of single columns as well as smooth surfaces; codes of categorical columns enter as hashed levels.
    Numbers are compared by rank, classes by indicators that weigh rare classes up.
    """
    g = generator
    B, R, F = batch.X.shape
    n = min(R, max_rows) // 2 * 2
    row_Bn = permutation((B, R), g)[:, :n]
    X_BRF = batch.X.gather(1, row_Bn[..., None].expand(B, n, F))
    y_Bn = batch.y.gather(1, row_Bn)

    Z_BnG = _numeric_columns(X_BRF, batch.is_categorical, g)
    phi_BnK = _waves(Z_BnG, n_features, g)
    target_BnT = _target_columns(y_Bn, batch.n_classes)

    gain_Bn, null_B = [], torch.zeros(len(X_BRF), device=g.device)
    for fit, held_out in ((slice(0, n // 2), slice(n // 2, n)), (slice(n // 2, n), slice(0, n // 2))):
        phi_BmK, target_BmT = phi_BnK[:, fit], target_BnT[:, fit]
        centre_B1K, mean_B1T = phi_BmK.mean(1, keepdim=True), target_BmT.mean(1, keepdim=True)
        phi_BmK = phi_BmK - centre_B1K
        penalty_KK = ridge * n / 2 * torch.eye(phi_BmK.shape[-1], device=g.device)
        factor_BKK = torch.linalg.cholesky_ex(phi_BmK.mT @ phi_BmK + penalty_KK)[0]
        weight_BKT = torch.cholesky_solve(phi_BmK.mT @ (target_BmT - mean_B1T), factor_BKK)
        residual_BmT = target_BnT[:, held_out] - mean_B1T
        error_BmT = residual_BmT - (phi_BnK[:, held_out] - centre_B1K) @ weight_BKT
        null_B = null_B + residual_BmT.square().sum((1, 2))
        gain_Bn.append((residual_BmT.square() - error_BmT.square()).sum(-1))
    std_B, mean_B = torch.std_mean(torch.cat(gain_Bn, 1), 1)
    return Dependence(mean_B / (std_B / math.sqrt(n)).clamp_min(1e-9), n * mean_B / null_B.clamp_min(1e-9))


def _numeric_columns(X_BRF: Tensor, is_categorical_BF: Tensor, g: torch.Generator) -> Tensor:
    """Standardised columns with gaps at the mean, followed by a hash of each categorical column's codes."""
    B, _, F = X_BRF.shape
    known_BRF = X_BRF.isfinite()
    count_B1F = known_BRF.sum(1, keepdim=True).clamp_min(1)
    filled_BRF = torch.where(known_BRF, X_BRF, 0.0)
    mean_B1F = filled_BRF.sum(1, keepdim=True) / count_B1F
    centred_BRF = torch.where(known_BRF, X_BRF - mean_B1F, 0.0)
    scale_B1F = (centred_BRF.square().sum(1, keepdim=True) / count_B1F).sqrt().clamp_min(1e-6)
    Z_BRF = (centred_BRF / scale_B1F).clamp(-5, 5)
    if nothing_in(is_categorical_BF):
        return Z_BRF
    # cos(w c + p) with w uniform on a circle makes different integer codes uncorrelated.
    angle_BRF = filled_BRF * uniform(0, 2 * math.pi, (B, 1, F), g) + uniform(0, 2 * math.pi, (B, 1, F), g)
    hash_BRF = torch.where(is_categorical_BF[:, None] & known_BRF, math.sqrt(2) * torch.cos(angle_BRF), 0.0)
    return torch.cat([Z_BRF, hash_BRF], -1)


def _waves(Z_BRG: Tensor, K: int, g: torch.Generator) -> Tensor:
    """(B, R, K + G): waves of unit total variance, and the columns themselves."""
    B, _, G = Z_BRG.shape
    # Each wave looks at few columns or at all, at its own scale.
    share_B1K = log_uniform(min(1.0, 1.5 / G), 1, (B, 1, K), g)
    seen_BGK = bernoulli(share_B1K, (B, G, K), g)
    cauchy_BGK = torch.tan(math.pi * (uniform(0.005, 0.995, (B, G, K), g) - 0.5))
    frequency_BGK = cauchy_BGK * seen_BGK * log_uniform(0.2, 2, (B, 1, K), g) / (share_B1K * G).clamp_min(1)
    phase_B1K = uniform(0, 2 * math.pi, (B, 1, K), g)
    waves_BRK = torch.cos(Z_BRG @ frequency_BGK + phase_B1K) * math.sqrt(2 / K)
    return torch.cat([waves_BRK, Z_BRG / math.sqrt(G)], -1)


def _target_columns(y_BR: Tensor, n_classes_B: Tensor | None) -> Tensor:
    if n_classes_B is None:
        # Equal numbers get equal ranks: ranks of a constant plateau would be noise.
        sorted_BR = y_BR.sort(1).values.contiguous()
        rank_BR = (torch.searchsorted(sorted_BR, y_BR) + torch.searchsorted(sorted_BR, y_BR, right=True)).float()
        return (rank_BR - rank_BR.mean(1, keepdim=True))[..., None] / rank_BR.shape[1]
    one_hot_BRC = torch.nn.functional.one_hot(y_BR, int(n_classes_B.max())).float()
    return one_hot_BRC * torch.rsqrt(one_hot_BRC.mean(1, keepdim=True).clamp_min(1 / y_BR.shape[1]))


def _replaced(batch: TaskBatch, failed_I: Tensor, spare: TaskBatch) -> TaskBatch:
    changed: dict[str, Any] = {
        name: value.index_put((failed_I,), getattr(spare, name))
        for name, value in vars(batch).items()
        if isinstance(value, Tensor)
    }
    return replace(batch, **changed)


def noise_only(batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
    """The same tasks with targets shuffled among the rows of the context and among those of the queries.

    What a learnability test must refuse: every marginal is kept and nothing can be learnt.
    """
    B, R = batch.y.shape
    key_BR = torch.rand((B, R), generator=generator, device=batch.y.device)
    key_BR[:, batch.n_context :] += 1
    return replace(batch, y=batch.y.gather(1, key_BR.argsort(1)))
