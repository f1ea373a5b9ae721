"""What turns clean columns into a table: categories, binary and ordinal columns, missing cells."""

from __future__ import annotations

import torch
from torch import Tensor

from priors.draw import bernoulli, choice, integers, log_uniform, normal, uniform

MAX_LEVELS = 64


def discretise(Z_BRF: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Turn some columns into levels.

    A column becomes binary, ordinal or nominal. Level sizes follow a Zipf law; a nominal column shows shuffled
    codes, while what the target may depend on is a random effect per level.

    Args:
        Z_BRF: (B, R, F) latent columns, roughly standard normal.
    Returns:
        shown_BRF: codes for discrete columns, the latent value for the others.
        effect_BRF: what a target function should read: level effects, or the latent value.
        is_categorical_BF: columns flagged as categorical.
    """
    B, R, F = Z_BRF.shape
    g = generator
    # Task-level rates first: real tables are mostly numeric, mostly categorical, or truly mixed.
    rate_B = apply_extremes(uniform(0, 1, (B, 1), g), choice([4, 1.5, 4], (B, 1), g))
    discrete_BF = bernoulli(rate_B, (B, F), g)
    binary_BF = bernoulli(uniform(0, 0.8, (B, 1), g), (B, F), g)
    few_BF = log_uniform(3, 12, (B, F), g).long()
    many_BF = log_uniform(8, MAX_LEVELS, (B, F), g).long()
    n_levels_BF = torch.where(binary_BF, 2, torch.where(bernoulli(0.15, (B, F), g), many_BF, few_BF))

    rank_K = torch.arange(1, MAX_LEVELS + 1, device=g.device)
    zipf_BF1 = uniform(0, 1.5, (B, F, 1), g)
    size_BFK = rank_K ** (-zipf_BF1) * log_uniform(0.5, 2, (B, F, MAX_LEVELS), g)
    size_BFK = torch.where(rank_K <= n_levels_BF[..., None], size_BFK, 0)
    share_BFK = (size_BFK.cumsum(-1) / size_BFK.sum(-1, keepdim=True)).contiguous()
    # Rare binary flags (a per cent or so) are common in medical tables and were missing from earlier priors.
    rare_BF = binary_BF & bernoulli(0.3, (B, F), g)
    share_BFK[..., 0] = torch.where(rare_BF, 1 - log_uniform(0.01, 0.2, (B, F), g), share_BFK[..., 0])
    level_BFR = torch.searchsorted(share_BFK, torch.special.ndtr(Z_BRF).transpose(1, 2).contiguous())
    level_BFR = torch.minimum(level_BFR, n_levels_BF[..., None] - 1)

    nominal_BF = discrete_BF & bernoulli(uniform(0, 1, (B, 1), g), (B, F), g)
    code_BFK = torch.where(rank_K <= n_levels_BF[..., None], uniform(0, 1, (B, F, MAX_LEVELS), g), 2.0).argsort(-1)
    effect_BFK = normal((B, F, MAX_LEVELS), g)
    code_BFR = torch.where(nominal_BF[..., None], code_BFK.gather(-1, level_BFR), level_BFR).to(Z_BRF.dtype)
    ordinal_BFR = (level_BFR - n_levels_BF[..., None] / 2) / n_levels_BF[..., None] * 3
    effect_BFR = torch.where(nominal_BF[..., None], effect_BFK.gather(-1, level_BFR), ordinal_BFR)

    pick = discrete_BF[:, None, :]
    shown_BRF = torch.where(pick, code_BFR.transpose(1, 2), Z_BRF)
    effect_BRF = torch.where(pick, effect_BFR.transpose(1, 2), Z_BRF)
    # People store some codes as numbers and some flags as categories.
    flagged_BF = torch.where(nominal_BF, ~bernoulli(0.15, (B, F), g), bernoulli(0.3, (B, F), g))
    return shown_BRF, effect_BRF, discrete_BF & flagged_BF


def apply_extremes(rate: Tensor, kind: Tensor) -> Tensor:
    """0 where kind is 0, 1 where it is 1, else the rate itself."""
    return torch.where(kind == 0, 0.0, torch.where(kind == 1, 1.0, rate))


def mask_cells(X_BRF: Tensor, generator: torch.Generator, task_rate: float = 0.3) -> Tensor:
    """Blank cells in `task_rate` of the tasks: completely at random, by another column, or by the value itself.

    The marginal rate per task is log-uniform on [.01, .5]; within a task, columns differ. Where a cell goes
    missing by a logistic rule, the rule's mean keeps the column's rate.
    """
    B, R, F = X_BRF.shape
    g = generator
    affected_B = bernoulli(task_rate, (B,), g)
    if not affected_B.any():
        return X_BRF
    rate_B1F = log_uniform(0.01, 0.5, (B, 1, 1), g) * uniform(0, 2, (B, 1, F), g)
    rate_B1F = torch.where(bernoulli(0.4, (B, 1, F), g), 0.0, rate_B1F).clamp(0, 0.9)
    mechanism_B = choice([2, 1, 1], (B, 1, 1), g)  # MCAR, MAR, MNAR
    scaled_BRF = (X_BRF - X_BRF.mean(1, keepdim=True)) / X_BRF.std(1, keepdim=True).clamp_min(1e-6)
    driver_BRF = torch.where(
        mechanism_B == 1, scaled_BRF.gather(2, integers(0, F - 1, (B, 1, F), g).expand(B, R, F)), scaled_BRF
    )
    odds_BRF = torch.sigmoid(normal((B, 1, F), g) * 2 * driver_BRF.clamp(-3, 3))
    odds_BRF = odds_BRF / odds_BRF.mean(1, keepdim=True)
    p_BRF = torch.where(mechanism_B == 0, rate_B1F.expand(B, R, F), (rate_B1F * odds_BRF).clamp(0, 1))
    missing_BRF = bernoulli(p_BRF, (B, R, F), g) & affected_B[:, None, None]
    return X_BRF.masked_fill(missing_BRF, torch.nan)
