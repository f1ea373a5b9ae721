"""Time drift: what is to be predicted comes after what is known, and the world has moved on.

Dimension key: B tasks, R rows = N context + M query, F features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from priors.draw import bernoulli, normal, standardise, uniform
from priors.shift import choose_context
from priors.task import TaskBatch
from priors.transform import Rate, check_rate, draw_rate, row_score

# Log weight of a row in the context from the first moment to the last: hardly any late row is known.
_STEEPNESS = 60.0


@dataclass(frozen=True)
class TimeDrift:
    """Rows get a moment; the context holds the earliest, the queries follow; columns and target drift with time.

    Numeric columns drift by up to `strength` standard deviations over the whole time, each by its own draw; so does a
    regression target, and how it depends on one random direction of the cells. Where there are classes, those that
    gain with time are frequent among the queries. In half of the tasks the moment is shown: it takes the place of one
    numeric column, so that the drift can be learnt from the context.

    Source:
        Cai & Ye (2025), Understanding the limits of deep tabular methods with temporal shift, arXiv:2502.20260.
    """

    strength: Rate = (0.1, 1.5)
    shown: float = 0.5
    """Chance that the moment is a column."""

    def __post_init__(self):
        check_rate(self, "strength", 0, 20)
        check_rate(self, "shown", 0, 1)

    def __call__(self, batch: TaskBatch, generator: torch.Generator) -> TaskBatch:
        g, (B, R, F) = generator, batch.X.shape
        strength_B1 = draw_rate(self.strength, B, g)
        time_BR = uniform(0, 1, (B, R), g)
        numeric_B1F = ~batch.is_categorical[:, None]
        spread_B1F = batch.X.nan_to_num().std(1, keepdim=True)
        path_B1F = strength_B1[..., None] * normal((B, 1, F), g) * bernoulli(0.5, (B, 1, F), g) * numeric_B1F
        X_BRF = batch.X + path_B1F * spread_B1F * time_BR[..., None]
        last_BF = torch.arange(F, device=g.device) == F - 1
        shown_B1 = bernoulli(self.shown, (B, 1), g) & (strength_B1 > 0) & ~batch.is_categorical[:, -1:]
        shown_B1F = (shown_B1 & last_BF)[:, None] & torch.full((B, 1, F), F > 1, device=g.device)
        X_BRF = torch.where(shown_B1F, time_BR[..., None], X_BRF)
        moved = replace(batch, X=X_BRF)
        weight_BR = -_STEEPNESS * time_BR * (strength_B1 > 0)
        if batch.n_classes is None:
            turn_BR = normal((B, 1), g) + normal((B, 1), g) * row_score(batch.X, g)
            y_BR = batch.y + strength_B1 * batch.y.std(1, keepdim=True) * time_BR * turn_BR
            moved = replace(moved, y=torch.where(strength_B1 > 0, y_BR, batch.y))
        else:
            n_slots = int(batch.n_classes.max())
            gain_BR = normal((B, n_slots), g).gather(1, batch.y)
            # A class that gains has moments that are late.
            weight_BR = weight_BR - strength_B1 * standardise(gain_BR, 1) * 3
        return choose_context(moved, weight_BR, g)
