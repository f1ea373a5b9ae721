"""Which rows become context: covariate shift, label shift, and class imbalance.

The two shifts only permute the rows of a task, so the tables stay what they were; what changes is which rows carry
labels. Rows are chosen without replacement with weights exp(strength * score), by the N largest of score plus Gumbel
noise (Efraimidis & Spirakis 2006, doi:10.1016/j.ipl.2005.11.003). Where the score reads X only, p(y | x) is the same
among context and query; where it reads y only, p(x | y) is (Quinonero-Candela et al. 2009, Dataset Shift in Machine
Learning).

Dimension key: B tasks, R rows = N context + M query, F features, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from priors.draw import normal, standardise, uniform
from priors.task import TaskBatch
from priors.transform import Rate, check_rate, draw_rate, is_constant, ranks, row_score


@dataclass(frozen=True)
class CovariateShift:
    """Context and query differ in p(x), in a random direction of the cells; p(y | x) stays."""

    strength: Rate = 1.0
    """Log weight of a row in the context, per standard deviation of the direction."""

    def __post_init__(self):
        check_rate(self, "strength", 0, 20)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        strength_B1 = draw_rate(self.strength, len(batch.X), generator)
        return choose_context(batch, strength_B1 * row_score(batch.X, generator), generator)


@dataclass(frozen=True)
class LabelShift:
    """Context and query differ in p(y); p(x | y) stays.

    Each class has a standard normal score, or a regression target its own standardised value with a random sign.
    """

    strength: Rate = 1.0
    """Log weight of a row in the context, per unit of the score."""

    def __post_init__(self):
        check_rate(self, "strength", 0, 20)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        B = len(batch.y)
        if batch.n_classes is None:
            score_BR = standardise(batch.y, 1).clamp(-4, 4) * normal((B, 1), generator).sign()
        else:
            n_slots = int(batch.n_classes.max())
            score_BR = normal((B, n_slots), generator).gather(1, batch.y)
        return choose_context(batch, draw_rate(self.strength, B, generator) * score_BR, generator)


@dataclass(frozen=True)
class ClassImbalance:
    """One random class of each task becomes rare: at most `share` of the rows. Classification only.

    Surplus rows of that class are replaced by copies of other rows of their own side, context or query, so that no
    query row is a copy of a context row. The class keeps at least one context row; classes already rarer stay.

    Source:
        Elkan (2001), The foundations of cost-sensitive learning: what changes is the base rate alone.
    """

    share: Rate = (0.01, 0.3)

    def __post_init__(self):
        check_rate(self, "share", 0, 1)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        if batch.n_classes is None:
            return batch
        g, (B, R) = generator, batch.y.shape
        share_B1 = draw_rate(self.share, B, g)
        rare_B1 = (uniform(0, 1, (B, 1), g) * batch.n_classes[:, None]).long()
        rare_BR = batch.y == torch.minimum(rare_B1, batch.n_classes[:, None] - 1)
        key_BR = uniform(0, 1, (B, R), g)
        N = batch.n_context
        context_BN = _thin(rare_BR[:, :N], key_BR[:, :N], share_B1, 1, g)
        query_BM = _thin(rare_BR[:, N:], key_BR[:, N:], share_B1, 0, g)
        done = take_rows(batch, torch.cat([context_BN, N + query_BM], 1))
        # In a small table the rows that go may take a column's only other value with them: such tasks stay.
        dead_B = (is_constant(done.X) & ~is_constant(batch.X)).any(1)
        X_BRF = torch.where(dead_B[:, None, None], batch.X, done.X)
        return replace(batch, X=X_BRF, y=torch.where(dead_B[:, None], batch.y, done.y))


def _thin(rare_BS: Tensor, key_BS: Tensor, share_B1: Tensor, least: int, g: torch.Generator) -> Tensor:
    """(B, S) source row for each row of one side: itself, or a random other row where the rare class has too many."""
    B, S = rare_BS.shape
    # Rounded at random, so that the expected share is the one asked for.
    n_kept_B1 = (share_B1 * S + uniform(0, 1, (B, 1), g)).floor().clamp_min(least)
    rank_BS = ranks(torch.where(rare_BS, key_BS, 2.0))
    surplus_BS = rare_BS & (rank_BS >= n_kept_B1)
    # The other rows in random order come first; a draw below their number picks one of them.
    others_BS = torch.where(rare_BS, 2.0, key_BS).argsort(1)
    n_others_B1 = (~rare_BS).sum(1, keepdim=True)
    pick_BS = torch.minimum((uniform(0, 1, (B, S), g) * n_others_B1).long(), (n_others_B1 - 1).clamp_min(0))
    itself_S = torch.arange(S, device=rare_BS.device)
    return torch.where(surplus_BS & (n_others_B1 > 0), others_BS.gather(1, pick_BS), itself_S)


def choose_context(batch: TaskBatch, log_weight_BR: Tensor, generator: torch.Generator) -> TaskBatch:
    """The batch with a context chosen by weight; in tasks whose weights are all equal the rows stay where they are.

    The best row of each class is always chosen. It is chosen anyway unless the class would be absent from the context.
    """
    B, R = batch.y.shape
    gumbel_BR = -torch.log(-torch.log(uniform(0, 1, (B, R), generator).clamp(1e-9, 1 - 1e-7)))
    key_BR = log_weight_BR + gumbel_BR
    if batch.n_classes is not None:
        key_BR = key_BR + 1e3 * best_of_class(key_BR, batch.y, batch.n_classes)
    chosen_BN = key_BR.topk(batch.n_context, dim=1).indices
    late_BR = torch.ones_like(batch.y, dtype=torch.uint8).scatter_(1, chosen_BN, 0)
    # Stable: inside context and query the rows keep their order, which thus says nothing about the weights.
    order_BR = late_BR.argsort(dim=1, stable=True)
    plain_B1 = log_weight_BR.amax(1, keepdim=True) == log_weight_BR.amin(1, keepdim=True)
    return take_rows(batch, torch.where(plain_B1, torch.arange(R, device=order_BR.device), order_BR))


def best_of_class(key_BR: Tensor, y_BR: Tensor, n_classes_B: Tensor) -> Tensor:
    """(B, R) 1 for the row with the largest key of each class, 0 elsewhere."""
    slot_C = torch.arange(int(n_classes_B.max()), device=y_BR.device)
    key_BCR = torch.where(y_BR[:, None] == slot_C[:, None], key_BR[:, None], -torch.inf)
    exists_BC = (slot_C < n_classes_B[:, None]).to(key_BR.dtype)
    return torch.zeros_like(key_BR).scatter_reduce(1, key_BCR.argmax(-1), exists_BC, "amax")


def take_rows(batch: TaskBatch, source_BR: Tensor) -> TaskBatch:
    """The batch with row r of task b taken from row source[b, r]."""
    X_BRF = batch.X.gather(1, source_BR[..., None].expand_as(batch.X))
    return replace(batch, X=X_BRF, y=batch.y.gather(1, source_BR))
