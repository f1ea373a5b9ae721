"""What turns latent outputs into a target: class labels, or a number in realistic units.

Dimension key: B tasks, R rows, T latent outputs, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

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
from priors.outcomes import Outcomes, classes_of
from priors.task import TaskBatch
from priors.transform import Rate, check_range, check_rate, draw_rate, modulate, ranks


@dataclass(frozen=True)
class TargetConfig:
    """How targets are made from latent outputs."""

    max_classes: int = 10
    """Most classes a task may have; half of the tasks are drawn with two, the others with three or more alike. Classes
    that no row falls into are closed up, and contexts of under twelve rows have two."""
    min_class_share: float = 0.01
    """Smallest expected share of the rarest class in binary tasks."""
    noise: tuple[float, float] = (0.005, 0.7)
    """Range of the noise standard deviation, in units of the signal's, log-uniform per task."""
    max_label_noise: float = 0.2
    """Largest share of flipped labels, in the seventh of the tasks that have flips."""
    sharpness: tuple[float, float] = (2.0, 100.0)
    """Range of the log-odds of a class per standard deviation of its output, log-uniform per task, where classes are
    the largest of several outputs; at 1,000 hardly a label is left to chance."""
    ordered: tuple[float, float] = (0.55, 0.55)
    """Share of the tasks of two classes, and of those of more, whose classes are ranges of one output, ages say, so
    that each blurs into the next; those of the others are the largest of several outputs, each on its own. Over all
    batches of a prior: see `class_target`."""
    offsets: tuple[float, float] = (0.0, 1.0)
    """Range of the standard deviation, over classes, of what is added to each output of which the largest is the class,
    in units of the output's; uniform per task. The larger, the rarer some classes are."""

    def __post_init__(self):
        if self.max_classes < 2:
            raise ValueError(f"max_classes must be at least 2, got {self.max_classes}.")
        if not 0 < self.min_class_share < 0.5:
            raise ValueError(f"min_class_share must lie in (0, .5), got {self.min_class_share}.")
        for name in ("noise", "sharpness"):
            check_range(self, name, above=0)
        check_range(self, "offsets", least=0)
        if len(self.ordered) != 2 or not all(0 <= share <= 1 for share in self.ordered):
            raise ValueError(f"TargetConfig: ordered must be two shares from 0 to 1, got {self.ordered}.")


def draw_noise(size: tuple[int, ...], config: TargetConfig, generator: torch.Generator) -> Tensor:
    """Noise (B, R, ...) whose level is one draw per task and whose shape is Gaussian or, in a fifth, Student t."""
    per_task = (size[0],) + (1,) * (len(size) - 1)
    std_B = log_uniform(*config.noise, per_task, generator)
    df_B = log_uniform(2.0, 10.0, per_task, generator)
    noise = normal(size, generator)
    heavy_I = bernoulli(0.2, (size[0],), generator).nonzero()[:, 0]
    if len(heavy_I):
        noise[heavy_I] = student_t(df_B[heavy_I], (len(heavy_I), *size[1:]), generator)
    return std_B * noise


def regression_target(outputs_BRT: Tensor, config: TargetConfig, generator: torch.Generator) -> Tensor:
    """(B, R) float targets: the first output plus noise, warped as measured quantities are.

    A fifth of the tasks are heteroskedastic: the second output drives the log of the noise level.
    """
    B, R, _ = outputs_BRT.shape
    g = generator
    signal_BR = standardise(outputs_BRT[..., 0], 1)
    noise_BR = draw_noise((B, R), config, g)
    log_scale_BR = standardise(outputs_BRT[..., -1], 1).clamp(-3, 3) * uniform(0, 1, (B, 1), g)
    noise_BR = noise_BR * torch.where(bernoulli(0.2, (B, 1), g), log_scale_BR.exp(), 1.0)
    y_BR = standardise(signal_BR + noise_BR, 1)

    strength = log_uniform(0.2, 1.5, (), g)
    n_steps = log_uniform(2, 30, (), g)
    kind_B = choice([10, 3, 1, 1.5, 1, 1, 1], (B,), g)
    y_BR = apply_by_kind(
        y_BR,
        kind_B,
        [
            lambda y: y,
            lambda y: torch.exp((strength * y).clamp(-8, 8)),  # log-normal: prices, counts of people
            lambda y: y.sign() * y.abs() ** (1 + strength),
            lambda y: torch.round(y * n_steps / 3),  # scores, ages, grades
            lambda y: y.clamp_min(0),  # zero-inflated amounts
            lambda y: torch.special.ndtr(y) ** (1 / strength),  # bounded shares
            lambda y: torch.round(torch.exp((strength * y).clamp(-8, 5)) * 3),  # counts
        ],
    )
    return y_BR


def class_target(
    outputs_BRT: Tensor,
    n_context: int,
    config: TargetConfig,
    generator: torch.Generator,
    outcomes: Outcomes | None = None,
) -> tuple[Tensor, Tensor]:
    """Class labels by cutting one output at quantiles, or by a noisy argmax over several, or by outcomes of rules.

    Three classes and more by argmax need as many outputs, which `TablePrior` draws in half of the batches: these hold
    twice their share of such tasks, the other half none, so that over both the shares are those of `config`.

    Args:
        outputs_BRT: latent outputs; at most T classes come from the argmax.
        n_context: labels of classes that would be absent everywhere are closed up; see `order_rows` for the context.
        outcomes: if given, four of five tasks of two outcomes and more have classes of them (`priors.outcomes`).
    Returns:
        y_BR: int64 labels in 0..n_classes-1, every class present among the rows.
        n_classes_B: int64.
    """
    B, R, T = outputs_BRT.shape
    g = generator
    limit = max(2, min(config.max_classes, n_context // 4))
    of_two, of_several = config.ordered if T > 1 else (1.0, 1.0)
    rivals = 0.5 * (1 - of_several) if limit > 2 else 0.0  # share of the tasks of more than two classes by argmax
    several_B1 = integers(min(3, limit), limit, (B, 1), g)
    rival_B1 = bernoulli(2 * rivals if T > 2 else 0.0, (B, 1), g)
    # Half of all tasks have two classes; rivals are no part of that half.
    n_wanted_B1 = torch.where(bernoulli(0.5 / (1 - rivals), (B, 1), g) & ~rival_B1, 2, several_B1)
    cut_B = torch.where(n_wanted_B1 == 2, bernoulli(of_two, (B, 1), g), ~rival_B1)[:, 0]
    y_BR = torch.zeros(B, R, dtype=torch.long, device=g.device)
    # Each way is computed only for the tasks that go it.
    cut_I, other_I = cut_B.nonzero()[:, 0], (~cut_B).nonzero()[:, 0]
    if len(cut_I):
        y_BR[cut_I] = _cut_at_quantiles(outputs_BRT[..., 0][cut_I], n_wanted_B1[cut_I], limit, config, g)
    if len(other_I):
        y_BR[other_I] = _noisy_argmax(outputs_BRT[other_I], n_wanted_B1[other_I], config, g)
    if outcomes is not None:
        decided_BR, can_B = classes_of(outcomes, n_wanted_B1, g)
        y_BR = torch.where((can_B & bernoulli(0.8, (B,), g))[:, None], decided_BR, y_BR)

    flip_rate_B1 = torch.where(bernoulli(0.15, (B, 1), g), uniform(0, config.max_label_noise, (B, 1), g), 0.0)
    # The product may round up to n_wanted, hence the minimum.
    random_BR = torch.minimum((uniform(0, 1, (B, R), g) * n_wanted_B1).long(), n_wanted_B1 - 1)
    y_BR = torch.where(bernoulli(flip_rate_B1, (B, R), g), random_BR, y_BR)

    y_BR, n_classes_B = _close_up(y_BR, max(limit, T))
    # A task with a single class teaches nothing: fall back to a median split of the first output.
    single_B = n_classes_B < 2
    if not nothing_in(single_B):
        half_BR = (ranks(outputs_BRT[..., 0]) >= R // 2).long()
        y_BR = torch.where(single_B[:, None], half_BR, y_BR)
        n_classes_B = torch.where(single_B, 2, n_classes_B)
    # Labels are names: class slots are shuffled so that no slot means "rare" or "high".
    slots_BC = torch.rand((B, max(limit, T)), generator=g, device=g.device)
    valid_BC = torch.arange(slots_BC.shape[1], device=g.device) < n_classes_B[:, None]
    slots_BC = torch.where(valid_BC, slots_BC, 2.0).argsort(1).argsort(1)
    return slots_BC.gather(1, y_BR), n_classes_B


def order_rows(y_BR: Tensor, n_classes_B: Tensor, max_classes: int, generator: torch.Generator) -> Tensor:
    """(B, R) row order: random, but one row of each class comes first, so that the context knows every class.

    Real protocols split by class for the same reason.
    """
    B, R = y_BR.shape
    key_BR = torch.rand((B, R), generator=generator, device=y_BR.device)
    key_BCR = torch.where(
        y_BR[:, None, :] == torch.arange(max_classes, device=y_BR.device)[:, None], key_BR[:, None, :], 3.0
    )
    first_BC = key_BCR.argmin(-1)
    exists_BC = torch.arange(max_classes, device=y_BR.device) < n_classes_B[:, None]
    bonus_BR = torch.zeros_like(key_BR).scatter_reduce(1, first_BC, exists_BC.to(key_BR.dtype), "amax")
    return (key_BR - bonus_BR).argsort(1)


def _cut_at_quantiles(
    output_BR: Tensor, n_classes_B1: Tensor, limit: int, config: TargetConfig, g: torch.Generator
) -> Tensor:
    B, R = output_BR.shape
    y_BR = standardise(output_BR, 1)
    y_BR = y_BR + draw_noise((B, R), config, g)
    concentration_B1 = log_uniform(0.5, 8, (B, 1), g)
    share_BC = torch._standard_gamma(concentration_B1.expand(B, limit).contiguous(), generator=g) + 0.02
    share_BC = torch.where(torch.arange(limit, device=g.device) < n_classes_B1, share_BC, 0.0)
    # Binary: half the tasks are imbalanced, log-uniform down to min_class_share.
    rare_B = bernoulli(0.5, (B,), g) & (n_classes_B1[:, 0] == 2)
    minority_B = log_uniform(config.min_class_share, 0.5, (B,), g)
    pair_BC = torch.zeros_like(share_BC)
    pair_BC[:, 0], pair_BC[:, 1] = minority_B, 1 - minority_B
    flip_B = bernoulli(0.5, (B,), g)
    pair_BC[:, :2] = torch.where(flip_B[:, None], pair_BC[:, :2].flip(1), pair_BC[:, :2])
    share_BC = torch.where(rare_B[:, None], pair_BC, share_BC)
    upper_BC = (share_BC.cumsum(1) / share_BC.sum(1, keepdim=True)).contiguous()
    rank_BR = (ranks(y_BR).to(upper_BC.dtype) + 0.5) / R
    return torch.minimum(torch.searchsorted(upper_BC, rank_BR), n_classes_B1 - 1)


def _noisy_argmax(outputs_BRT: Tensor, n_classes_B1: Tensor, config: TargetConfig, g: torch.Generator) -> Tensor:
    B, _, T = outputs_BRT.shape
    scores_BRT = standardise(outputs_BRT, 1) * log_uniform(*config.sharpness, (B, 1, 1), g)
    offset_B1T = normal((B, 1, T), g) * uniform(*config.offsets, (B, 1, 1), g)
    scores_BRT = scores_BRT + offset_B1T * scores_BRT.std(1, keepdim=True)
    u_BRT = uniform(0, 1, tuple(scores_BRT.shape), g)
    gumbel_BRT = -torch.log((-torch.log(u_BRT.clamp_min(1e-9))).clamp_min(1e-9))
    allowed_B1T = (torch.arange(T, device=g.device) < n_classes_B1)[:, None, :]
    return (scores_BRT + gumbel_BRT).masked_fill(~allowed_B1T, -torch.inf).argmax(-1)


def _close_up(y_BR: Tensor, n_slots: int) -> tuple[Tensor, Tensor]:
    """Renumber the classes that occur as 0..n_classes-1."""
    present_BC = torch.zeros(y_BR.shape[0], n_slots, dtype=torch.long, device=y_BR.device).scatter_(1, y_BR, 1)
    rank_BC = present_BC.cumsum(1) - 1
    return rank_BC.gather(1, y_BR), present_BC.sum(1)


@dataclass(frozen=True)
class RoundedTarget:
    """Targets on a grid, as instruments and people record them. Regression only.

    Rounding adds step^2 / 12 of variance where the step is small (Sheppard 1898).
    """

    step: Rate = (0.01, 1.0)
    """In standard deviations of y; 0 leaves the task alone."""

    def __post_init__(self):
        check_rate(self, "step", 0, 10)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        if batch.n_classes is not None:
            return batch
        step_B1 = draw_rate(self.step, len(batch.y), generator) * batch.y.std(1, keepdim=True, correction=0)
        rounded_BR = torch.round(batch.y / step_B1.clamp_min(1e-9)) * step_B1
        return _with_target(batch, torch.where(step_B1 > 0, rounded_BR, batch.y))


@dataclass(frozen=True)
class CensoredTarget:
    """The lowest and highest shares of the targets are recorded as the bound they passed. Regression only.

    Source:
        Tobin (1958), Estimation of relationships for limited dependent variables, doi:10.2307/1907382.
    """

    lower: Rate = 0.1
    upper: Rate = 0.0

    def __post_init__(self):
        check_rate(self, "lower", 0, 0.5)
        check_rate(self, "upper", 0, 0.49)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        if batch.n_classes is not None:
            return batch
        B, R = batch.y.shape
        sorted_BR = batch.y.sort(1).values
        n_low_B1 = (draw_rate(self.lower, B, generator) * R).round().long()
        n_high_B1 = (draw_rate(self.upper, B, generator) * R).round().long()
        floor_B1 = sorted_BR.gather(1, (n_low_B1 - 1).clamp_min(0))
        ceiling_B1 = sorted_BR.gather(1, (R - n_high_B1).clamp_max(R - 1))
        return _with_target(batch, torch.minimum(torch.maximum(batch.y, floor_B1), ceiling_B1))


@dataclass(frozen=True)
class CountTarget:
    """Counts whose log rate is linear in the clean target: Poisson, or negative binomial. Regression only.

    The counts' mean over the rows is `mean`; given its rate m, a count has variance m + dispersion m^2.

    Source:
        Cameron & Trivedi (2013), Regression Analysis of Count Data, chapter 3.
    """

    mean: Rate = (0.5, 50.0)
    strength: Rate = (0.3, 1.5)
    """Change of the log rate per standard deviation of y."""
    dispersion: Rate = (0.0, 1.0)

    def __post_init__(self):
        check_rate(self, "mean", 0.01, 1e6)
        check_rate(self, "strength", 0, 3)
        check_rate(self, "dispersion", 0, 10)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        if batch.n_classes is not None:
            return batch
        B, R = batch.y.shape
        g = generator
        ratio_BR = (draw_rate(self.strength, B, g) * standardise(batch.y, 1).clamp(-4, 4)).exp()
        rate_BR = draw_rate(self.mean, B, g) * ratio_BR / ratio_BR.mean(1, keepdim=True)
        dispersion_B1 = draw_rate(self.dispersion, B, g)
        shape_BR = (1 / dispersion_B1.clamp_min(1e-3)).expand(B, R).contiguous()
        mixed_BR = torch._standard_gamma(shape_BR, generator=g) / shape_BR
        rate_BR = rate_BR * torch.where(dispersion_B1 > 1e-3, mixed_BR, 1.0)
        return _with_target(batch, torch.poisson(rate_BR, generator=g))


@dataclass(frozen=True)
class ZeroInflatedTarget:
    """Amounts that are often exactly zero: claims, rainfall, spending. Regression only.

    The target is measured from its minimum; a share `rate` of the rows is set to zero, low amounts more often.

    Source:
        Cragg (1971), Some statistical models for limited dependent variables, doi:10.2307/1909582.
    """

    rate: Rate = 0.3
    strength: Rate = 1.0
    """Slope of the log odds of an amount, in standard deviations of y; 0 sets zeros at random."""

    def __post_init__(self):
        check_rate(self, "rate", 0, 0.95)
        check_rate(self, "strength", 0, 20)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        if batch.n_classes is not None:
            return batch
        B, R = batch.y.shape
        rate_B1 = draw_rate(self.rate, B, generator)
        weight_BR = torch.sigmoid(-draw_rate(self.strength, B, generator) * standardise(batch.y, 1))
        zero_BR = bernoulli(modulate(rate_B1, weight_BR, 1), (B, R), generator)
        amount_BR = torch.where(zero_BR, 0.0, batch.y - batch.y.amin(1, keepdim=True))
        return _with_target(batch, torch.where(rate_B1 > 0, amount_BR, batch.y))


@dataclass(frozen=True)
class BoundedTarget:
    """Shares, scores and probabilities: the target squashed into (low, high) by a logistic curve. Regression only."""

    low: float = 0.0
    high: float = 1.0
    slope: Rate = (0.5, 4.0)
    """Per standard deviation of y; a steep curve piles targets up at both bounds."""

    def __post_init__(self):
        check_rate(self, "slope", 0.01, 100)
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}.")

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        if batch.n_classes is not None:
            return batch
        slope_B1 = draw_rate(self.slope, len(batch.y), generator)
        share_BR = torch.sigmoid(slope_B1 * standardise(batch.y, 1))
        return _with_target(batch, self.low + (self.high - self.low) * share_BR)


@dataclass(frozen=True)
class LevelEffects:
    """A random intercept for each level of one categorical column of the task, if it has one. Regression only.

    The effects are normal with standard deviation `std` times that of y: the expected share of the variance of y
    that lies between levels, once they are added, is about std^2 / (1 + std^2).

    Source:
        Laird & Ware (1982), Random-effects models for longitudinal data, doi:10.2307/2529876.
    """

    std: Rate = 0.5

    def __post_init__(self):
        check_rate(self, "std", 0, 10)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        if batch.n_classes is not None:
            return batch
        B, R = batch.y.shape
        has_B1 = batch.is_categorical.any(1, keepdim=True)
        column_B1 = torch.multinomial((batch.is_categorical | ~has_B1).float(), 1, generator=generator)
        code_BR = batch.X.gather(2, column_B1[:, None].expand(B, R, 1))[..., 0]
        code_BR = torch.where(has_B1, code_BR, 0.0)
        # A missing code is a level of its own, the last.
        n_codes = int(code_BR.nan_to_num().max()) + 2
        level_BR = code_BR.nan_to_num(nan=n_codes - 1).long()
        effect_BR = normal((B, n_codes), generator).gather(1, level_BR)
        std_B1 = draw_rate(self.std, B, generator) * batch.y.std(1, keepdim=True, correction=0) * has_B1
        return replace(batch, y=batch.y + std_B1 * effect_BR)


def _with_target(batch: TaskBatch, y_BR: Tensor) -> TaskBatch:
    """The batch with a new target, except in tasks where it would be constant."""
    alive_B1 = y_BR.amax(1, keepdim=True) > y_BR.amin(1, keepdim=True)
    return replace(batch, y=torch.where(alive_B1, y_BR, batch.y))
