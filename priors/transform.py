"""What makes clean tasks dirty: a transform maps a batch to a batch, and composes with any prior.

Laws that every transform keeps (tests/priors/test_table_effects.py): rate 0 is the identity bit for bit; all
randomness comes from the generator; shapes and dtypes stay; every class still occurs among the context labels; what
is said to touch X only leaves y alone, and the reverse. A transform of regression targets passes classification
batches through, and the reverse, so one list serves both.

A `Rate` is a number, or a pair from which each task draws its own: log-uniform, or uniform if it starts at 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from priors.draw import bernoulli, log_uniform, normal, nothing_in, standardise, uniform, waits
from priors.task import Prior, TaskBatch, TaskShape

Rate = float | tuple[float, float]


@runtime_checkable
class Transform(Protocol):
    """Anything that maps a batch and a generator to a batch of the same shape."""

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch: ...


@dataclass(frozen=True)
class Transformed:
    """A prior followed by transforms: itself a prior.

    Each transform has a generator of its own, seeded after the tasks are drawn. So the clean tasks are those of the
    bare prior, and changing one transform's options leaves the draws of the others as they were.
    """

    prior: Prior
    transforms: list[Transform]

    def sample(self, shape: TaskShape, generator: torch.Generator) -> TaskBatch:
        batch = self.prior.sample(shape, generator)
        for transform, own in zip(self.transforms, spawn(generator, len(self.transforms))):
            batch = transform(batch, own)
        return batch


@dataclass(frozen=True)
class Sometimes:
    """Applies a transform to a random subset of the tasks of a batch."""

    transform: Transform
    probability: Rate = 0.5
    """Chance of each task, drawn independently."""

    def __post_init__(self):
        check_rate(self, "probability", 0, 1)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        n_tasks = len(batch.X)
        p_B1 = draw_rate(self.probability, n_tasks, generator)
        return apply_to(self.transform, batch, bernoulli(p_B1, (n_tasks, 1), generator)[:, 0], generator)


@dataclass(frozen=True)
class Messy:
    """Applies each transform to a random subset of the tasks; tables dirty in one way tend to be dirty in others.

    Task b suffers transform k where c z_b + sqrt(1 - c^2) e_bk falls below the normal quantile of probability k, with
    z and e standard normal: each marginal probability is exact whatever the correlation c^2 is.
    """

    transforms: list[Transform]
    probabilities: list[float]
    correlation: float = 0.3
    """Between the latent normals of two transforms in one task."""

    def __post_init__(self):
        if len(self.transforms) != len(self.probabilities):
            raise ValueError(
                f"one probability per transform is needed, got {len(self.transforms)} transforms and "
                f"{len(self.probabilities)} probabilities."
            )
        if not all(0 <= p <= 1 for p in self.probabilities) or not 0 <= self.correlation <= 1:
            raise ValueError(
                f"probabilities and correlation must lie in [0, 1], got {self.probabilities} and {self.correlation}."
            )

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        B, K = len(batch.X), len(self.transforms)
        shared_B1, own_BK = normal((B, 1), generator), normal((B, K), generator)
        mess_BK = self.correlation**0.5 * shared_B1 + (1 - self.correlation) ** 0.5 * own_BK
        hit_BK = torch.special.ndtr(mess_BK) < torch.tensor(self.probabilities, device=mess_BK.device)
        # Read at once: for each transform by itself an accelerator would be waited for.
        chosen = hit_BK.T.tolist()
        for k, own in enumerate(spawn(generator, K)):
            index = [b for b, hit in enumerate(chosen[k]) if hit]
            batch = _apply_at(self.transforms[k], batch, torch.tensor(index, device=own.device, dtype=torch.long), own)
        return batch


def apply_to(transform: Transform, batch: TaskBatch, chosen_B: Tensor, generator: torch.Generator) -> TaskBatch:
    """The batch with `transform` applied to the chosen tasks only, and computed for them only."""
    return _apply_at(transform, batch, chosen_B.nonzero()[:, 0], generator)


def _apply_at(transform: Transform, batch: TaskBatch, index_I: Tensor, generator: torch.Generator) -> TaskBatch:
    if len(index_I) == 0:
        return batch
    if len(index_I) == len(batch.X):
        return transform(batch, generator)
    names = ["X", "y", "is_categorical"] + (["n_classes"] if batch.n_classes is not None else [])
    part = replace(batch, **{name: getattr(batch, name)[index_I] for name in names})
    done = transform(part, generator)
    changed = [name for name in names if getattr(done, name) is not getattr(part, name)]
    return replace(batch, **{n: getattr(batch, n).index_copy(0, index_I, getattr(done, n)) for n in changed})


def spawn(generator: torch.Generator, n: int) -> list[torch.Generator]:
    """`n` generators on the same device, seeded by one draw from `generator`."""
    seeds = torch.randint(2**62, (n,), generator=generator, device=generator.device).tolist()
    return [torch.Generator(generator.device).manual_seed(seed) for seed in seeds]


def check_rate(owner: object, name: str, low: float, high: float) -> None:
    """Refuse a rate, or an end of a range of rates, outside [low, high]."""
    value = getattr(owner, name)
    first, last = value if isinstance(value, (tuple, list)) else (value, value)
    if not low <= first <= last <= high:
        raise ValueError(
            f"{type(owner).__name__}: {name} must be a number in [{low:g}, {high:g}] or a range (low, high) inside "
            f"it, got {value}."
        )


def check_range(owner: object, name: str, above: float = -math.inf, least: float = -math.inf) -> None:
    """Refuse what is no range (low, high) of two finite numbers, low > `above` and low >= `least`."""
    value = getattr(owner, name)
    is_pair = isinstance(value, (tuple, list)) and len(value) == 2
    if not (is_pair and all(map(math.isfinite, value)) and above < value[0] <= value[1] and least <= value[0]):
        limit = f"{above:g} < low" if above > -math.inf else f"{least:g} <= low" if least > -math.inf else "low"
        raise ValueError(
            f"{type(owner).__name__}: {name} must be a range (low, high) of finite numbers with {limit} <= high, "
            f"got {value}."
        )


def draw_rate(rate: Rate, n_tasks: int, generator: torch.Generator) -> Tensor:
    """(B, 1) rates: the number itself, or one draw per task from a range."""
    if not isinstance(rate, (tuple, list)):
        return torch.full((n_tasks, 1), float(rate), device=generator.device)
    low, high = rate
    return (uniform if low == 0 else log_uniform)(low, high, (n_tasks, 1), generator)


def column_moments(X_BRF: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 1, F) mean and standard deviation of the cells that are not missing."""
    seen_BRF = ~X_BRF.isnan()
    n_B1F = seen_BRF.sum(1, keepdim=True).clamp_min(1)
    mean_B1F = X_BRF.nan_to_num().sum(1, keepdim=True) / n_B1F
    centred_BRF = (X_BRF - mean_B1F).nan_to_num()
    return mean_B1F, (centred_BRF.square().sum(1, keepdim=True) / n_B1F).sqrt()


def standardised_cells(X_BRF: Tensor) -> Tensor:
    """Columns of mean 0 and standard deviation 1; missing cells are 0."""
    mean_B1F, std_B1F = column_moments(X_BRF)
    return ((X_BRF - mean_B1F) / std_B1F.clamp_min(1e-6)).nan_to_num()


def row_score(X_BRF: Tensor, generator: torch.Generator) -> Tensor:
    """(B, R) a random direction of the cells of each task, standardised; most of the weight sits on few columns."""
    B, _, F = X_BRF.shape
    weight_BF = normal((B, F), generator) * log_uniform(0.05, 1, (B, F), generator)
    return standardise(torch.einsum("brf,bf->br", standardised_cells(X_BRF), weight_BF), 1)


def modulate(rate: Tensor, weight: Tensor, dim: int) -> Tensor:
    """Probabilities that grow with `weight` (positive) along `dim` and whose mean there is exactly `rate`.

    They are proportional to the weights where the rate allows it. Where the largest would pass 1 they are pulled
    towards the rate just far enough, so no solver is needed.
    """
    ratio = weight / weight.mean(dim, keepdim=True)
    room = (1 / rate.clamp_min(1e-9) - 1) / (ratio.amax(dim, keepdim=True) - 1).clamp_min(1e-9)
    return rate * (1 + room.clamp_max(1) * (ratio - 1))


def restore_classes(y_BR: Tensor, batch: TaskBatch) -> Tensor:
    """Changed labels, except that a task that lost a class from its context gets one row per class back.

    The row is the first of the context that had the class in `batch`; other tasks are left as they are.
    """
    assert batch.n_classes is not None, "classes are restored in classification tasks only"
    n_slots = int(batch.n_classes.max())
    slot_C = torch.arange(n_slots, device=y_BR.device)
    exists_BC = slot_C < batch.n_classes[:, None]
    context_BN = y_BR[:, : batch.n_context]
    present_BC = torch.zeros_like(exists_BC).scatter_(1, context_BN, True)
    lost_B = (exists_BC & ~present_BC).any(1)
    if nothing_in(lost_B):
        return y_BR
    first_BC = (batch.y_context[:, None] == slot_C[:, None]).to(torch.uint8).argmax(-1)
    anchor_BR = torch.zeros_like(y_BR).scatter_reduce(1, first_BC, exists_BC.to(y_BR.dtype), "amax").bool()
    return torch.where(anchor_BR & lost_B[:, None], batch.y, y_BR)


def ranks(values: Tensor) -> Tensor:
    """0 for the smallest along the last axis, 1 for the next, ...; one sort and a scatter, half of two sorts."""
    order = values.argsort(-1)
    return torch.empty_like(order).scatter_(
        -1, order, torch.arange(order.shape[-1], device=order.device).expand_as(order)
    )


def is_constant(X_BRF: Tensor) -> Tensor:
    """(B, F) columns with fewer than two distinct values, missing cells aside."""
    if waits(X_BRF):
        low_BF = X_BRF.nan_to_num(nan=torch.inf).amin(1)
        return low_BF >= X_BRF.nan_to_num(nan=-torch.inf).amax(1)
    # Eight rows settle almost every column; only the others are read in full.
    first_B1F, others_BRF = X_BRF[:, :1], X_BRF[:, 1:8]
    differ_BRF = (others_BRF != first_B1F) & ~others_BRF.isnan() & ~first_B1F.isnan()
    constant_BF = ~differ_BRF.any(1)
    if constant_BF.any():
        columns_KR = X_BRF.mT[constant_BF]
        low_K, high_K = columns_KR.nan_to_num(nan=torch.inf).amin(1), columns_KR.nan_to_num(nan=-torch.inf).amax(1)
        constant_BF[constant_BF.clone()] = low_K >= high_K
    return constant_BF
