"""Targets ruled by logic over few columns: parity, conjunction, counts, look-up tables, comparisons, products.

These are the functions that smooth priors lack and real tables of game positions, admissions and diagnoses have.
Parity and look-up tables as tests of learners: Thrun et al. (1991), The MONK's problems.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from priors.draw import bernoulli, choice, integers, normal, permutation, uniform
from priors.features import draw_columns
from priors.outcomes import Outcomes
from priors.table import LatentTable, TablePrior
from priors.task import TaskShape


@dataclass(frozen=True)
class RulesPrior(TablePrior):
    """Tables whose target follows a rule over at most `max_columns` columns; the others are irrelevant.

    Args:
        max_columns: most columns that a rule reads.
        rule_noise: largest share of rows that follow another row's rule value, in half of the tasks.
    """

    max_columns: int = 4
    rule_noise: float = 0.15

    def __post_init__(self):
        super().__post_init__()
        if not 1 <= self.max_columns <= 8:
            raise ValueError(f"a rule reads 1 to 8 columns, got max_columns={self.max_columns}.")
        if not 0 <= self.rule_noise < 1:
            raise ValueError(f"rule_noise is a share of rows in [0, 1), got {self.rule_noise}.")

    def sample_latent(self, shape: TaskShape, n_outputs: int, generator: torch.Generator) -> LatentTable:
        columns = draw_columns(shape, generator)
        ruled = draw_rules(columns.effect, n_outputs, generator, self.max_columns, self.rule_noise)
        return LatentTable(columns.X, columns.is_categorical, *ruled)


def draw_rules(
    V_BRF: Tensor, n_outputs: int, generator: torch.Generator, max_columns: int = 4, rule_noise: float = 0.15
) -> tuple[Tensor, Outcomes]:
    """(B, R, n_outputs) random scores of a rule's outcome, and the outcomes before any row strays.

    Every row has one of 2^max_columns outcomes, every outcome a score per output. The first output also carries a
    small multiple of one more column: quantiles that cut inside an outcome then make a conjunction, not noise.
    """
    B, R, F = V_BRF.shape
    g = generator
    K = min(max_columns, F)
    column_BF = permutation((B, F), g)
    read_BRK = V_BRF.gather(2, column_BF[:, None, :K].expand(B, R, K))
    n_read_B1 = integers(min(2, K), K, (B, 1), g)
    live_B1K = (torch.arange(K, device=g.device) < n_read_B1)[:, None]
    # Near the mean, so that both answers occur even in a column of two values.
    spread_B1K = read_BRK.std(1, keepdim=True)
    threshold_B1K = read_BRK.mean(1, keepdim=True) + 0.3 * spread_B1K * normal((B, 1, K), g).clamp(-2, 2)
    bit_BRK = ((read_BRK > threshold_B1K) ^ bernoulli(0.5, (B, 1, K), g)) & live_B1K
    code_BR = bit_BRK.long().mul(2 ** torch.arange(K, device=g.device)).sum(-1)
    count_BR = bit_BRK.sum(-1)
    product_BR = torch.where(live_B1K, read_BRK - threshold_B1K, 1.0).prod(-1)
    outcomes = [
        count_BR % 2,  # parity
        (count_BR == n_read_B1).long(),  # conjunction
        count_BR,  # how many of the conditions hold
        code_BR,  # look-up table
        (read_BRK[..., 0] > read_BRK[..., -1]).long(),  # one column against another
        (product_BR > 0).long(),
    ]
    kind_B = choice([2, 1, 1, 2, 1, 1], (B, 1, 1), g)
    outcome_BR = torch.stack(outcomes, -1).gather(2, kind_B.expand(B, R, 1)).squeeze(-1)
    # A row that does not follow the rule takes the outcome of another row, which keeps the shares of outcomes.
    rate_B1 = torch.where(bernoulli(0.5, (B, 1), g), uniform(0, rule_noise, (B, 1), g), 0.0)
    strays_BR = bernoulli(rate_B1, (B, R), g)
    followed = Outcomes(outcome_BR, max(2**K, K + 1), kind_B[:, :, 0] == 2, rule_noise)
    outcome_BR = torch.where(strays_BR, outcome_BR.gather(1, integers(0, R - 1, (B, R), g)), outcome_BR)

    score_BOT = normal((B, 2**K, n_outputs), g)
    # Two outcomes that score alike would hide the rule.
    score_BOT[:, 0], score_BOT[:, 1] = score_BOT[:, 0] - 1, score_BOT[:, 0] + 1
    outputs_BRT = score_BOT.gather(1, outcome_BR[..., None].expand(B, R, n_outputs)).clone()
    outputs_BRT[..., 0] += 0.1 * read_BRK[..., 0] + 0.02 * product_BR.clamp(-3, 3)
    return outputs_BRT, followed
