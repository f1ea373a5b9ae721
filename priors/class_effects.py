"""Columns that the class drives: what is measured of a row because of what it is, as symptoms and pixels are.

In most other priors classes follow from columns (clusters, spectra and some causal models draw both from what is
hidden), which leaves little to go by where there are many of them: of the entropy of more than two classes, tasks of
the default mixture leave .73 open in the median, real tables .37 (`benchmarks/difficulty.md`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from priors.draw import bernoulli, integers, log_uniform, normal, nothing_in, uniform
from priors.task import TaskBatch
from priors.transform import Rate, check_range, check_rate, draw_rate


@dataclass(frozen=True)
class ClassEffects:
    """Moves the rows of each class along a part of the columns, by amounts of its own.

    Values change places within their column, so that each keeps its distribution, its ties and its gaps: normal scores
    of the ranks are shifted by class, and the old values dealt out in the new order. Classes differ in every column by
    itself, along one to three directions that the columns share, or one class from all others.
    """

    several: Rate = 0.6
    """Chance of a task of more than two classes."""
    two: Rate = 0.1
    """Chance of a task of two classes."""
    columns: Rate = (0.1, 1.0)
    """Chance of each column of such a task; per task from the range."""
    strength: tuple[float, float] = (0.1, 3.0)
    """Range of the standard deviation, over classes, of the shifts in units of the column's; log-uniform per task."""

    def __post_init__(self):
        for name in ("several", "two", "columns"):
            check_rate(self, name, 0, 1)
        check_range(self, "strength", above=0)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        if batch.n_classes is None:
            return batch
        B, _, F = batch.X.shape
        g = generator
        chance_B1 = torch.where(batch.n_classes[:, None] > 2, draw_rate(self.several, B, g), draw_rate(self.two, B, g))
        driven_BF = bernoulli(chance_B1, (B, 1), g) & bernoulli(draw_rate(self.columns, B, g), (B, F), g)
        shift_BFC = log_uniform(*self.strength, (B, 1, 1), g) * self._patterns(F, batch.n_classes, g)
        if nothing_in(driven_BF):
            return batch
        index_BFR = batch.y[:, None].expand(-1, F, -1)
        shift_BRF = shift_BFC.gather(2, index_BFR).mT
        return replace(batch, X=torch.where(driven_BF[:, None], _dealt(batch.X, shift_BRF, g), batch.X))

    @staticmethod
    def _patterns(F: int, n_classes_B: Tensor, g: torch.Generator) -> Tensor:
        """(B, F, C) shifts of about unit size."""
        B, C = len(n_classes_B), int(n_classes_B.max())
        own_BFC = normal((B, F, C), g)
        n_shared_B11 = integers(1, 3, (B, 1, 1), g)
        loading_BF3 = normal((B, F, 3), g) * (torch.arange(3, device=g.device) < n_shared_B11)
        shared_BFC = loading_BF3 @ normal((B, 3, C), g) * n_shared_B11.to(loading_BF3.dtype).rsqrt()
        # Of the task's own classes: a draw of the largest task of the batch would often mark a class that is not there.
        one_BF1 = (uniform(0, 1, (B, F, 1), g) * n_classes_B[:, None, None]).long()
        marked_BFC = (torch.arange(C, device=g.device) == one_BF1) * 2.0
        kind_BF1 = bernoulli(0.5, (B, 1, 1), g)
        pattern_BFC = torch.where(kind_BF1, shared_BFC, own_BFC)
        return torch.where(bernoulli(0.2, (B, F, 1), g), marked_BFC, pattern_BFC)


def _dealt(X_BRF: Tensor, shift_BRF: Tensor, g: torch.Generator) -> Tensor:
    """The values of each column in the order of their normal scores plus the shifts; gaps stay where they are."""
    R, gap_BRF = X_BRF.shape[1], X_BRF.isnan()
    # Equal values in random order: else a shift would split them by place.
    shuffled_BRF = uniform(0, 1, tuple(X_BRF.shape), g).argsort(1)
    by_value_BRF = X_BRF.gather(1, shuffled_BRF).sort(dim=1, stable=True)
    order_BRF = shuffled_BRF.gather(1, by_value_BRF.indices)
    # Places among what is there; gaps come last and get none.
    n_seen_B1F = (~gap_BRF).sum(1, keepdim=True).clamp_min(1)
    place_BRF = ((torch.arange(R, device=X_BRF.device) + 0.5)[:, None] / n_seen_B1F).to(X_BRF.dtype)
    score_BRF = torch.empty_like(X_BRF).scatter_(1, order_BRF, torch.special.ndtri(place_BRF.clamp_max(1)))
    moved_BRF = (score_BRF + shift_BRF).masked_fill(gap_BRF, torch.inf)
    return torch.empty_like(X_BRF).scatter_(1, moved_BRF.argsort(1), by_value_BRF.values)
