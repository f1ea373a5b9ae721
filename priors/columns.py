"""What turns clean columns into a table's: categories, codes, flags, and columns that add nothing. X only.

Dimension key: B tasks, R rows, F features, K levels; D of the B x F columns are discrete.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from priors.draw import bernoulli, choice, log_uniform, normal, nothing_in, uniform
from priors.task import TaskBatch
from priors.transform import Rate, check_rate, draw_rate, ranks, standardised_cells

MAX_LEVELS = 200


def discretise(Z_BRF: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Turn some columns into levels.

    A column becomes binary, ordinal or nominal, with 2 to 200 levels whose sizes follow a Zipf law. A nominal column
    shows shuffled codes, while what the target may depend on is a random effect per level. A column that would hold a
    single level stays as it is.

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
    rate_B1 = apply_extremes(uniform(0, 1, (B, 1), g), choice([4, 1.5, 4], (B, 1), g))
    discrete_BF = bernoulli(rate_B1, (B, F), g)
    binary_BF = bernoulli(uniform(0, 0.8, (B, 1), g), (B, F), g)
    many_BF = bernoulli(uniform(0, 0.12, (B, 1), g), (B, F), g)
    nominal_BF = bernoulli(uniform(0, 1, (B, 1), g), (B, F), g)
    # Rare binary flags (a per cent or so) are common in medical tables and were missing from earlier priors.
    rare_BF = binary_BF & bernoulli(0.3, (B, F), g)
    no_flags_BF = torch.zeros_like(discrete_BF)
    b_D, f_D = discrete_BF.nonzero(as_tuple=True)
    D = len(b_D)
    if D == 0:
        return Z_BRF, Z_BRF, no_flags_BF
    Z_DR = Z_BRF[b_D, :, f_D]
    binary_D1, many_D1, nominal_D1, rare_D1 = (
        x_BF[b_D, f_D][:, None] for x_BF in (binary_BF, many_BF, nominal_BF, rare_BF)
    )
    # More levels than a third of the rows would be an identifier.
    most = min(MAX_LEVELS, max(12, R // 3))
    few_D1, more_D1 = log_uniform(3, 12.99, (D, 1), g).floor(), log_uniform(8, most + 0.99, (D, 1), g).floor()
    n_levels_D1 = torch.where(binary_D1, 2, torch.where(many_D1, more_D1, few_D1)).long()

    share_DK = level_shares(n_levels_D1, uniform(0, 1.5, (D, 1), g), g)
    rare_share_D1 = torch.where(rare_D1, log_uniform(0.01, 0.2, (D, 1), g), share_DK[:, :1])
    share_DK[:, :2] = torch.where(rare_D1, torch.cat([1 - rare_share_D1, rare_share_D1], 1), share_DK[:, :2])
    level_DR = cut(torch.special.ndtr(Z_DR), share_DK, n_levels_D1)

    K = share_DK.shape[1]
    flagged_D1 = torch.where(nominal_D1, ~bernoulli(0.15, (D, 1), g), bernoulli(0.3, (D, 1), g))
    code_DK = torch.where(nominal_D1, shuffled_codes(n_levels_D1, K, g), torch.arange(K, device=g.device)).float()
    # Codes stored as numbers: plain ones, or doses, years and grades with steps and an origin of their own.
    uneven_D1 = ~flagged_D1 & bernoulli(0.4, (D, 1), g)
    spaced_DK = log_uniform(0.3, 3, (D, K), g).cumsum(1) * log_uniform(0.1, 10, (D, 1), g) + 3 * normal((D, 1), g)
    code_DK = torch.where(uneven_D1, spaced_DK.gather(1, code_DK.long()), code_DK)
    ordinal_DK = (torch.arange(K, device=g.device) + 0.5) / n_levels_D1 * 3.4 - 1.7
    effect_DK = torch.where(nominal_D1, normal((D, K), g), ordinal_DK)

    alive_D1 = level_DR.amax(1, keepdim=True) > level_DR.amin(1, keepdim=True)
    shown_BFR, effect_BFR = Z_BRF.mT.clone(), Z_BRF.mT.clone()
    shown_BFR[b_D, f_D] = torch.where(alive_D1, code_DK.gather(1, level_DR), Z_DR)
    effect_BFR[b_D, f_D] = torch.where(alive_D1, effect_DK.gather(1, level_DR), Z_DR)
    is_categorical_BF = no_flags_BF.masked_scatter(discrete_BF, (flagged_D1 & alive_D1)[:, 0])
    return shown_BFR.mT, effect_BFR.mT, is_categorical_BF


def apply_extremes(rate: Tensor, kind: Tensor) -> Tensor:
    """0 where kind is 0, 1 where it is 1, else the rate itself."""
    return torch.where(kind == 0, 0.0, torch.where(kind == 1, 1.0, rate))


def level_shares(n_levels_D1: Tensor, zipf_D1: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """(D, K) shares proportional to rank^-zipf over the levels; with a generator, times a random factor each."""
    rank_K = torch.arange(1, int(n_levels_D1.max()) + 1, device=n_levels_D1.device)
    size_DK = rank_K ** (-zipf_D1)
    if generator is not None:
        size_DK = size_DK * log_uniform(0.5, 2, tuple(size_DK.shape), generator)
    size_DK = torch.where(rank_K <= n_levels_D1, size_DK, 0.0)
    return size_DK / size_DK.sum(1, keepdim=True)


def cut(u_DR: Tensor, share_DK: Tensor, n_levels_D1: Tensor) -> Tensor:
    """(D, R) levels by cutting uniform values at the cumulative shares."""
    return torch.minimum(torch.searchsorted(share_DK.cumsum(1), u_DR.contiguous()), n_levels_D1 - 1)


def shuffled_codes(n_levels_D1: Tensor, n_slots: int, generator: torch.Generator) -> Tensor:
    """(D, K) a random permutation of each column's codes; slots beyond its levels are never read."""
    key_DK = uniform(0, 1, (len(n_levels_D1), n_slots), generator)
    return torch.where(torch.arange(n_slots, device=key_DK.device) < n_levels_D1, key_DK, 2.0).argsort(1)


@dataclass(frozen=True)
class Categories:
    """A share of the numeric columns becomes categories of equal-law ranks: Zipf level sizes, shuffled codes."""

    columns: Rate = 0.3
    """Share of the numeric columns."""
    levels: tuple[int, int] = (2, 200)
    """Range of the number of levels, log-uniform per column."""
    zipf: tuple[float, float] = (0.0, 1.5)
    """Range of the exponent: the k-th largest level is expected to hold a share proportional to k^-zipf."""

    def __post_init__(self):
        check_rate(self, "columns", 0, 1)
        check_rate(self, "levels", 2, 10_000)
        check_rate(self, "zipf", 0, 10)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        g = generator
        hit_BF = bernoulli(draw_rate(self.columns, len(batch.X), g), tuple(batch.is_categorical.shape), g)
        # A gap has no rank, so columns with gaps stay: missingness is better applied after this.
        hit_BF = hit_BF & ~batch.is_categorical & ~batch.X.isnan().any(1)
        b_D, f_D = hit_BF.nonzero(as_tuple=True)
        D, R = len(b_D), batch.X.shape[1]
        if D == 0:
            return batch
        X_BFR = batch.X.mT.clone()
        n_levels_D1 = log_uniform(self.levels[0], self.levels[1] + 0.99, (D, 1), g).long().clamp_max(R)
        share_DK = level_shares(n_levels_D1, uniform(*self.zipf, (D, 1), g))
        # Ranks are uniform whatever the column looks like; noise in their place would break the column's order.
        u_DR = (ranks(X_BFR[b_D, f_D]) + uniform(0, 1, (D, 1), g)) / R
        level_DR = cut(u_DR, share_DK, n_levels_D1)
        code_DR = shuffled_codes(n_levels_D1, share_DK.shape[1], g).gather(1, level_DR).float()
        alive_D = code_DR.amax(1) > code_DR.amin(1)
        X_BFR[b_D, f_D] = torch.where(alive_D[:, None], code_DR, X_BFR[b_D, f_D])
        flagged_BF = torch.zeros_like(hit_BF).masked_scatter(hit_BF, alive_D)
        return replace(batch, X=X_BFR.mT, is_categorical=batch.is_categorical | flagged_BF)


@dataclass(frozen=True)
class DuplicateColumns:
    """A share of the columns is replaced by copies of other columns."""

    rate: Rate = 0.1

    def __post_init__(self):
        check_rate(self, "rate", 0, 1)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        _, source_BF = _choose(batch, self.rate, generator)
        X_BRF = batch.X.gather(2, source_BF[:, None].expand_as(batch.X))
        return replace(batch, X=X_BRF, is_categorical=batch.is_categorical.gather(1, source_BF))


@dataclass(frozen=True)
class CollinearColumns:
    """A share of the columns is replaced by weighted sums of up to three others plus noise; the result is numeric."""

    rate: Rate = 0.1
    noise: Rate = (0.01, 1.0)
    """Standard deviation of the noise, in units of the sum's: R^2 on the others is 1 / (1 + noise^2)."""

    def __post_init__(self):
        check_rate(self, "rate", 0, 1)
        check_rate(self, "noise", 0, 100)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        g, (B, R, F) = generator, batch.X.shape
        hit_BF, _ = _choose(batch, self.rate, g)
        if nothing_in(hit_BF):
            return batch
        weight_BFF = torch.zeros(B, F, F, device=g.device)
        for _ in range(3):
            _, source_BF = _choose(batch, self.rate, g, hit_BF)
            weight_BFF = weight_BFF.scatter_add(1, source_BF[:, None], normal((B, 1, F), g))
        sum_BRF = standardised_cells(torch.einsum("brf,bfh->brh", standardised_cells(batch.X), weight_BFF))
        noise_B11 = draw_rate(self.noise, B, g)[..., None]
        sum_BRF = sum_BRF + noise_B11 * normal((B, R, F), g)
        # With one column there is nothing to add up; with constant sources the sum would be constant.
        X_BRF = torch.where(hit_BF[:, None], sum_BRF, batch.X)
        return replace(batch, X=X_BRF, is_categorical=batch.is_categorical & ~hit_BF)


@dataclass(frozen=True)
class IrrelevantColumns:
    """In a share of the columns the rows are shuffled: the marginal stays, what it says about the rest is lost."""

    rate: Rate = 0.1

    def __post_init__(self):
        check_rate(self, "rate", 0, 1)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        g = generator
        hit_BF = bernoulli(draw_rate(self.rate, len(batch.X), g), tuple(batch.is_categorical.shape), g)
        b_D, f_D = hit_BF.nonzero(as_tuple=True)
        if len(b_D) == 0:
            return batch
        X_BFR = batch.X.mT.clone()
        chosen_DR = X_BFR[b_D, f_D]
        X_BFR[b_D, f_D] = chosen_DR.gather(1, uniform(0, 1, tuple(chosen_DR.shape), g).argsort(1))
        return replace(batch, X=X_BFR.mT)


def _choose(batch: TaskBatch, rate: Rate, g: torch.Generator, hit_BF: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Columns to replace, and for each column the one to read: itself, or a random one that is not replaced."""
    B, F = batch.is_categorical.shape
    if hit_BF is None:
        hit_BF = bernoulli(draw_rate(rate, B, g), (B, F), g)
        # One column at least must stay for the others to read.
        spared_BF = torch.arange(F, device=g.device) == (uniform(0, 1, (B, 1), g) * F).long().clamp_max(F - 1)
        hit_BF = hit_BF & ~(spared_BF & hit_BF.all(1, keepdim=True))
    read_BF = torch.multinomial((~hit_BF).float(), F, replacement=True, generator=g)
    return hit_BF, torch.where(hit_BF, read_BF, torch.arange(F, device=g.device))
