"""Classes that are what was decided: outcomes of rules, one class or several of them each.

Cut at quantiles, outcomes would be halved by chance, and the largest of several scores of two outcomes ties.

Dimension key: B tasks, R rows, S outcomes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from priors.draw import bernoulli, gumbel, integers, log_uniform, uniform


@dataclass(frozen=True)
class Outcomes:
    """What the rules of a task decide about each row."""

    code: Tensor
    """(B, R) int64, from 0 to `most` - 1."""
    most: int
    in_order: Tensor
    """(B, 1) whether codes have an order, as counts and grades have."""
    max_strays: float = 0.15
    """Largest share of rows that do not follow, in half of the tasks."""

    def shares(self) -> Tensor:
        """(B, S) share of the rows that have each outcome."""
        B, R = self.code.shape
        ones_BR = torch.ones((B, R), device=self.code.device)
        return torch.zeros((B, self.most), device=self.code.device).scatter_add_(1, self.code, ones_BR) / R


def classes_of(outcomes: Outcomes, n_wanted_B1: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(B, R) classes and (B,) whether a task has the two outcomes that they need.

    Every class holds at least one outcome that occurs, common ones more likely by themselves; classes of ordered
    outcomes are runs of them. In half of the tasks all rows follow; in the others a fiftieth of `max_strays` to all of
    it is the share of those that take the class of a row at random.

    Args:
        n_wanted_B1: classes, (B, 1); fewer where fewer outcomes occur.
    """
    B, R = outcomes.code.shape
    S, g = outcomes.most, generator
    share_BS = outcomes.shares()
    occurs_BS = share_BS > 0
    key_BS = torch.where(occurs_BS, share_BS.clamp_min(1e-9).log() + gumbel((B, S), g), -torch.inf)
    # The lowest outcome opens the first run by itself.
    lowest_BS = occurs_BS & (occurs_BS.cumsum(1) == 1)
    key_BS = torch.where(outcomes.in_order & lowest_BS, torch.inf, key_BS)
    rank_BS = key_BS.argsort(1, descending=True).argsort(1)
    own_BS = occurs_BS & (rank_BS < n_wanted_B1)
    run_BS = own_BS.cumsum(1) - 1
    n_own_B1 = own_BS.sum(1, keepdim=True).clamp_min(1)
    joined_BS = (uniform(0, 1, (B, S), g) * n_own_B1).long().clamp(max=n_own_B1 - 1)
    class_BS = torch.where(outcomes.in_order, run_BS, torch.where(own_BS, rank_BS, joined_BS)).clamp_min(0)
    y_BR = class_BS.gather(1, outcomes.code)
    rate_B1 = outcomes.max_strays * log_uniform(0.02, 1, (B, 1), g) * bernoulli(0.5, (B, 1), g)
    strays_BR = bernoulli(rate_B1, (B, R), g)
    y_BR = torch.where(strays_BR, y_BR.gather(1, integers(0, R - 1, (B, R), g)), y_BR)
    return y_BR, occurs_BS.sum(1) > 1
