"""Targets decided by short tests of many columns: lists of rules, alternatives, votes, grades of grades.

Endgames of chess, tic-tac-toe, cars that a committee graded, diagnoses by criteria: mostly columns of few levels,
hardly any noise, and no smooth trend to begin with. Where other rules read four columns (`priors.rules`), these read
many.

Dimension key: B tasks, R rows, F features, S rules, K conditions of a rule, Q = S x K, J graded columns, O outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from priors.columns import cut, level_shares, shuffled_codes
from priors.draw import bernoulli, choice, gumbel, integers, log_uniform, normal, permutation, standardise, uniform
from priors.features import Columns, draw_columns, draw_latent_features, vary
from priors.outcomes import Outcomes
from priors.table import LatentTable, TablePrior
from priors.task import TaskShape
from priors.transform import ranks

GRADES = 4


@dataclass(frozen=True)
class DecisionsPrior(TablePrior):
    """Tables whose target is decided by rules over many columns.

    Args:
        max_rules: most rules of a task; at least 2.
        max_conditions: most conditions of a rule.
        coarse: share of the batches all of whose columns have two to five levels; the others have columns as other
            families do.

    Sources:
        Rivest (1987), Learning decision lists, doi:10.1007/BF00058680;
        Bohanec & Rajkovic (1990), DEX: an expert system shell for decision support (grades of grades).
    """

    max_rules: int = 12
    max_conditions: int = 3
    coarse: float = 0.6

    def __post_init__(self):
        super().__post_init__()
        if self.max_rules < 2:
            raise ValueError(f"max_rules must be at least 2, got {self.max_rules}.")
        if self.max_conditions < 1:
            raise ValueError(f"max_conditions must be at least 1, got {self.max_conditions}.")
        if not 0 <= self.coarse <= 1:
            raise ValueError(f"coarse is a share of batches in [0, 1], got {self.coarse}.")

    def sample_latent(self, shape: TaskShape, n_outputs: int, generator: torch.Generator) -> LatentTable:
        g = generator
        is_coarse = bool(bernoulli(self.coarse, (), g))
        columns = draw_coarse_columns(shape, g) if is_coarse else draw_columns(shape, g)
        decided = draw_decisions(columns.effect, n_outputs, g, self.max_rules, self.max_conditions)
        return LatentTable(columns.X, columns.is_categorical, *decided)


def draw_coarse_columns(shape: TaskShape, generator: torch.Generator) -> Columns:
    """Columns of two to five levels, by name or in order, of as many in every column in half of the tasks.

    In half of the batches columns depend on each other as those of other families do.
    """
    B, R, F = shape.n_tasks, shape.n_rows, shape.n_features
    g = generator
    D = B * F
    n_levels_B1 = integers(2, 5, (B, 1), g)
    rate_B1 = torch.where(bernoulli(0.5, (B, 1), g), uniform(0, 1, (B, 1), g), 0.0)
    n_levels_D1 = torch.where(bernoulli(rate_B1, (B, F), g), integers(2, 5, (B, F), g), n_levels_B1).view(D, 1)
    if bool(bernoulli(0.5, (), g)):
        Z_BRF = draw_latent_features(shape, g)
        u_DR = (ranks(Z_BRF.mT.reshape(D, R)) + 0.5) / R
    else:
        u_DR = uniform(0, 1, (D, R), g)
    level_DR = cut(u_DR, level_shares(n_levels_D1, uniform(0, 1, (D, 1), g), g), n_levels_D1)
    named_D1 = bernoulli(uniform(0, 1, (B, 1), g), (B, F), g).view(D, 1)
    code_DR = torch.where(named_D1, shuffled_codes(n_levels_D1, 5, g).gather(1, level_DR), level_DR)
    level_BRF, X_BRF = (x.view(B, F, R).mT.float() for x in (level_DR, code_DR))
    flagged_BF = (named_D1 & ~bernoulli(0.15, (D, 1), g)).view(B, F)
    return Columns(
        vary(X_BRF, torch.special.ndtri(u_DR.clamp(1e-6, 1 - 1e-6)).view(B, F, R).mT, g), flagged_BF, level_BRF
    )


def draw_decisions(
    V_BRF: Tensor, n_outputs: int, generator: torch.Generator, max_rules: int = 12, max_conditions: int = 3
) -> tuple[Tensor, Outcomes]:
    """(B, R, n_outputs) scores of what is decided, and the decisions.

    The first output also carries a small multiple of one column, so that quantiles which cut inside a decision make one
    more condition. Where all rows would be decided alike, the decision is whether the first column is above average.
    """
    B, R, _ = V_BRF.shape
    g = generator
    fires_BRS = _fires(V_BRF, max_rules, max_conditions, g)
    S = fires_BRS.shape[2]
    n_live_B1 = integers(2, S, (B, 1), g)
    live_BRS = fires_BRS & (torch.arange(S, device=g.device) < n_live_B1)[:, None]
    ranks_S = torch.arange(S, 0, -1, device=g.device)
    count_BR = live_BRS.sum(-1)
    decisions = [
        S - (live_BRS * ranks_S).amax(-1),  # the first rule that fires; S if none does
        _any(fires_BRS, g),
        count_BR,  # how many
        _graded(V_BRF, g),
    ]
    kind_B11 = choice([3, 2, 1.5, 2], (B, 1, 1), g)
    decided_BR = torch.stack(decisions, -1).gather(2, kind_B11.expand(B, R, 1)).squeeze(-1)
    alike_B1 = decided_BR.eq(decided_BR[:, :1]).all(1, keepdim=True)
    high_BR = (V_BRF[..., 0] > V_BRF[..., 0].mean(1, keepdim=True)).long()
    decided_BR = torch.where(alike_B1, high_BR, decided_BR)

    n_scores = max(S, GRADES) + 1
    score_BSO = normal((B, n_scores, n_outputs), g)
    # Counts and grades have an order, which the first output keeps in most tasks.
    in_order_B1 = (kind_B11[..., 0] >= 2) & bernoulli(0.8, (B, 1), g)
    steps_BS = log_uniform(0.3, 3, (B, n_scores), g).cumsum(1)
    score_BSO[..., 0] = torch.where(in_order_B1, steps_BS, score_BSO[..., 0])
    # Two decisions that score alike would hide the rules.
    apart_BS = torch.arange(n_scores, device=g.device) * 2.0 - 1
    score_BSO[..., 0] = torch.where((kind_B11[..., 0] == 1) | alike_B1, apart_BS, score_BSO[..., 0])
    outputs_BRO = score_BSO.gather(1, decided_BR[..., None].expand(B, R, n_outputs)).clone()
    outputs_BRO[..., 0] += 0.05 * standardise(V_BRF[..., 0], 1)
    # Columns that are constant decide nothing.
    still_B1 = outputs_BRO[..., 0].eq(outputs_BRO[:, :1, 0]).all(1, keepdim=True)
    outputs_BRO[..., 0] += still_B1 * normal((B, R), g)
    return outputs_BRO, Outcomes(decided_BR, n_scores, in_order_B1)


def _any(fires_BRS: Tensor, g: torch.Generator) -> Tensor:
    """(B, R) whether any of the first rules fires, of so many that a wanted share of the rows is hit."""
    B, R, S = fires_BRS.shape
    any_BRS = fires_BRS.long().cummax(2).values
    wanted_B1 = uniform(0.1, 0.9, (B, 1), g)
    nearest_B11 = (any_BRS.float().mean(1) - wanted_B1).abs().argmin(1).view(B, 1, 1)
    return any_BRS.gather(2, nearest_B11.expand(B, R, 1)).squeeze(-1)


def _fires(V_BRF: Tensor, max_rules: int, max_conditions: int, g: torch.Generator) -> Tensor:
    """(B, R, S) which rules hold: conjunctions of conditions about different columns.

    Unless it is negated, a condition holds for one row, the same for all conditions of a rule: equal to its value, at
    least, or at most. In some tasks conditions compare with another column instead.
    """
    B, R, F = V_BRF.shape
    S = int(log_uniform(2, max_rules + 0.99, (), g))
    K = int(integers(1, min(max_conditions, F), (), g))
    Q = S * K
    importance_B1F = normal((B, 1, F), g) * uniform(0, 2, (B, 1, 1), g)
    column_BQ = (importance_B1F + gumbel((B, S, F), g)).topk(K, -1).indices.reshape(B, Q)
    value_BRQ = V_BRF.gather(2, column_BQ[:, None].expand(B, R, Q))
    told_B1Q = integers(0, R - 1, (B, 1, S, 1), g).expand(B, 1, S, K).reshape(B, 1, Q)
    told_B1Q = value_BRQ.gather(1, told_B1Q)
    between_B11 = bernoulli(0.25, (B, 1, 1), g) * uniform(0, 0.6, (B, 1, 1), g)
    other_BQ = integers(0, F - 1, (B, Q), g)
    against_BRQ = torch.where(
        bernoulli(between_B11, (B, 1, Q), g), V_BRF.gather(2, other_BQ[:, None].expand(B, R, Q)), told_B1Q
    )
    same_BRQ = value_BRQ == against_BRQ
    # Equality says something of columns of few values; a task's rules speak mostly of equal values, or of bounds.
    equal_B1Q = bernoulli(uniform(0, 1, (B, 1, 1), g), (B, 1, Q), g) & (same_BRQ.float().mean(1, keepdim=True) > 0.05)
    bound_BRQ = torch.where(bernoulli(0.5, (B, 1, Q), g), value_BRQ >= against_BRQ, value_BRQ <= against_BRQ)
    holds_BRQ = torch.where(equal_B1Q, same_BRQ, bound_BRQ)
    negated_B11 = bernoulli(0.5, (B, 1, 1), g) * uniform(0, 0.5, (B, 1, 1), g)
    holds_BRQ = holds_BRQ ^ bernoulli(negated_B11, (B, 1, Q), g)
    # In half of the tasks all rules are as long as each other.
    most_B111 = integers(1, K, (B, 1, 1, 1), g)
    own_B1S1 = (uniform(0, 1, (B, 1, S, 1), g) * most_B111).long() + 1
    n_asked_B1S1 = torch.where(bernoulli(0.5, (B, 1, 1, 1), g), most_B111, own_B1S1)
    idle_B1SK = torch.arange(K, device=g.device) >= n_asked_B1S1
    return (holds_BRQ.view(B, R, S, K) | idle_B1SK).all(-1)


def _graded(V_BRF: Tensor, g: torch.Generator) -> Tensor:
    """(B, R) grade from 0 to GRADES - 1 of a row: columns are graded, pairs of grades become one, and so on."""
    B, R, F = V_BRF.shape
    J = 2 ** int(integers(1, 3, (), g))
    column_BJ = permutation((B, max(F, J)), g)[:, :J] % F  # again where there are too few
    value_BRJ = V_BRF.gather(2, column_BJ[:, None].expand(B, R, J))
    bound_BGJ = value_BRJ.gather(1, integers(0, R - 1, (B, GRADES - 1, J), g))
    grade_BRJ = (value_BRJ[:, :, None] > bound_BGJ[:, None]).sum(2)
    grade_BRJ = torch.where(bernoulli(0.3, (B, 1, J), g), GRADES - 1 - grade_BRJ, grade_BRJ)
    while grade_BRJ.shape[2] > 1:
        a, b = grade_BRJ[..., ::2], grade_BRJ[..., 1::2]
        ways = [torch.minimum(a, b), torch.maximum(a, b), (a + b + 1) // 2, torch.where(b == 0, 0, a)]
        kind_B1J = integers(0, len(ways) - 1, (B, 1, a.shape[2]), g)
        grade_BRJ = torch.stack(ways, -1).gather(3, kind_B1J[..., None].expand(*a.shape, 1)).squeeze(-1)
    return grade_BRJ[..., 0]
