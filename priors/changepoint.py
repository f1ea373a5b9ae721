"""Levels that switch at hidden points of one column, with the exact Bayes rule.

Dimension key: B tasks, R rows = N context + M query, F features, L levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, MixtureSameFamily, Normal

from priors.draw import integers, normal, uniform
from priors.task import TaskBatch, TaskShape

_ROUNDS = 64


@dataclass(frozen=True)
class ChangepointPrior:
    """y depends on a hidden level that switches along one hidden column (time, say) and is flat in between.

    Columns are uniform on [0, 1]; which one matters is unknown. Switches are a Poisson process along it, and at each
    the level is drawn anew from a grid. Regression: y = level + normal noise. Classification: y = 1 with probability
    `level`; only tasks whose context shows both classes are kept, which leaves the posterior predictive as it is.

    The exact answer sums over all sets of switch points by forward and backward messages, which cost N L because a
    switch forgets the level before it, and over the columns by their marginal likelihoods.

    Source:
        Barry & Hartigan (1992), Product Partition Models for Change Point Problems; messages: Rabiner (1989).
    """

    task: Literal["classification", "regression"] = "regression"
    rate: float = 3.0
    """Expected number of switches over a whole column."""
    n_levels: int = 32
    """Size of the grid: midpoints of equal shares of a standard normal (regression) or of [0, 1] (classification)."""
    noise_std: float = 0.3
    """Of regression; the levels' standard deviation is about 1."""

    def __post_init__(self):
        if self.task not in ("classification", "regression"):
            raise ValueError(f"task must be 'classification' or 'regression', got {self.task!r}.")
        if self.rate <= 0 or self.noise_std <= 0:
            raise ValueError(f"rate and noise_std must be positive, got {self.rate} and {self.noise_std}.")
        if self.n_levels < 2:
            raise ValueError(f"n_levels must be at least 2, got {self.n_levels}.")

    def sample(self, shape: TaskShape, generator: torch.Generator) -> TaskBatch:
        B, R, F, N = shape.n_tasks, shape.n_rows, shape.n_features, shape.n_context
        X_BRF = uniform(0, 1, (B, R, F), generator)
        y_BR = self._targets(X_BRF, generator)
        n_classes = None
        if self.task == "classification":
            y_BR = self._redraw_single_class(X_BRF, y_BR, N, generator)
            n_classes = torch.full((B,), 2, device=generator.device)
        no_categories = torch.zeros(B, F, dtype=torch.bool, device=generator.device)
        return TaskBatch(X_BRF, y_BR, N, no_categories, n_classes)

    def posterior_predictive(self, batch: TaskBatch) -> Distribution:
        """The exact answer p(y_query | X, y_context), batch shape (B, M), in float64: a mixture or class chances."""
        X_BFR = batch.X.double().mT
        time_BFN, order_BFN = X_BFR[..., : batch.n_context].sort(-1)
        y_BFN = batch.y_context[:, None].expand_as(order_BFN).gather(-1, order_BFN)
        likelihood_BFNL = self._log_likelihood(y_BFN)
        forward_BFNL, evidence_BF = self._messages(time_BFN, likelihood_BFNL)
        backward_BFNL, _ = self._messages(-time_BFN.flip(-1), likelihood_BFNL.flip(2))

        # The messages of the context rows on either side of each query; beyond the ends, the flat prior.
        query_BFM = X_BFR[..., batch.n_context :].contiguous()
        place_BFM = torch.searchsorted(time_BFN.contiguous(), query_BFM)
        before_BFML = self._carry(place_BFM, query_BFM, time_BFN, forward_BFNL)
        n_after_BFM = batch.n_context - place_BFM
        after_BFML = self._carry(n_after_BFM, -query_BFM, -time_BFN.flip(-1), backward_BFNL)
        level_BFML = before_BFML * after_BFML  # the flat prior of levels would divide: a constant
        level_BFML = level_BFML / level_BFML.sum(-1, keepdim=True)
        level_BML = torch.einsum("bf,bfml->bml", torch.softmax(evidence_BF, 1), level_BFML)

        if self.task == "classification":
            p_BM = level_BML @ self._levels(level_BML)
            return Categorical(probs=torch.stack([1 - p_BM, p_BM], -1))
        levels_BML = self._levels(level_BML).expand_as(level_BML)
        return MixtureSameFamily(Categorical(probs=level_BML), Normal(levels_BML, self.noise_std))

    def _levels(self, like: Tensor) -> Tensor:
        share_L = (torch.arange(self.n_levels, dtype=like.dtype, device=like.device) + 0.5) / self.n_levels
        return share_L if self.task == "classification" else torch.special.ndtri(share_L)

    def _targets(self, X_BRF: Tensor, g: torch.Generator) -> Tensor:
        B, R, F = X_BRF.shape
        column_B11 = integers(0, F - 1, (B, 1, 1), g)
        time_BR = X_BRF.gather(2, column_B11.expand(B, R, 1)).squeeze(-1)
        # More gaps than switches could fit: a Poisson count exceeds its mean by 30 + 9 roots about never.
        n_gaps = int(self.rate + 9 * self.rate**0.5 + 30)
        switch_BS = (-torch.log1p(-uniform(0, 1, (B, n_gaps), g)) / self.rate).cumsum(1)
        segment_BR = torch.searchsorted(switch_BS, time_BR.contiguous())
        level_BS = self._levels(X_BRF)[integers(0, self.n_levels - 1, (B, n_gaps + 1), g)]
        level_BR = level_BS.gather(1, segment_BR)
        if self.task == "classification":
            return (uniform(0, 1, (B, R), g) < level_BR).long()
        return level_BR + self.noise_std * normal((B, R), g)

    def _redraw_single_class(self, X_BRF: Tensor, y_BR: Tensor, N: int, g: torch.Generator) -> Tensor:
        for _ in range(_ROUNDS):
            single_B = (y_BR[:, :N] == y_BR[:, :1]).all(1)
            if not single_B.any():
                return y_BR
            y_BR = y_BR.index_put((single_B,), self._targets(X_BRF[single_B], g))
        single_B = (y_BR[:, :N] == y_BR[:, :1]).all(1)
        return torch.cat([y_BR[:, :1] ^ single_B[:, None].long(), y_BR[:, 1:]], 1)

    def _log_likelihood(self, y_BFN: Tensor) -> Tensor:
        levels_L = self._levels(y_BFN.double())
        if self.task == "classification":
            return torch.where(y_BFN[..., None] == 1, levels_L.log(), (1 - levels_L).log())
        return Normal(levels_L, self.noise_std).log_prob(y_BFN.double()[..., None])

    def _stay(self, gap: Tensor) -> Tensor:
        return torch.exp(-self.rate * gap)[..., None]

    def _messages(self, time_BFN: Tensor, likelihood_BFNL: Tensor) -> tuple[Tensor, Tensor]:
        """Level probabilities (B, F, N + 1, L) after 0, 1, ..., N rows, and the log evidence (B, F)."""
        message_BFL = torch.full_like(likelihood_BFNL[:, :, 0], 1 / self.n_levels)
        messages, evidence_BF = [message_BFL], torch.zeros_like(message_BFL[..., 0])
        for n in range(time_BFN.shape[-1]):
            stay = self._stay(time_BFN[..., n] - time_BFN[..., max(n - 1, 0)])
            predicted_BFL = stay * message_BFL + (1 - stay) / self.n_levels
            top_BF1 = likelihood_BFNL[:, :, n].amax(-1, keepdim=True)
            joint_BFL = predicted_BFL * torch.exp(likelihood_BFNL[:, :, n] - top_BF1)
            total_BF1 = joint_BFL.sum(-1, keepdim=True)
            message_BFL = joint_BFL / total_BF1
            evidence_BF = evidence_BF + (total_BF1.log() + top_BF1).squeeze(-1)
            messages.append(message_BFL)
        return torch.stack(messages, 2), evidence_BF

    def _carry(self, n_seen_BFM: Tensor, query_BFM: Tensor, time_BFN: Tensor, messages_BFNL: Tensor) -> Tensor:
        """The message after `n_seen` rows, carried from the last of them to the query."""
        index_BFML = n_seen_BFM[..., None].expand(*n_seen_BFM.shape, self.n_levels)
        message_BFML = messages_BFNL.gather(2, index_BFML)
        last_BFM = time_BFN.gather(2, (n_seen_BFM - 1).clamp_min(0))
        stay = self._stay((query_BFM - last_BFM).clamp_min(0))
        return stay * message_BFML + (1 - stay) / self.n_levels
